// Package confirm asks the user of a command whether to go on with what costs something.
package confirm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// IsTerminal tells whether a stream is a terminal, at which somebody can see and answer.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Ask prints what is about to be done, and unless the user has agreed already, asks whether to go
// on. It returns refused if the answer is not yes.
func Ask(what string, agreed bool, in io.Reader, out io.Writer, refused error) error {
	if agreed {
		_, err := fmt.Fprint(out, what)
		return err
	}
	if _, err := fmt.Fprint(out, what+"Go on? [y/N] "); err != nil {
		return err
	}
	answer, _ := bufio.NewReader(in).ReadString('\n') // the end is an answer, too: no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return refused
}
