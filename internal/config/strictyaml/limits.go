package strictyaml

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is how many bytes a file may have.
const MaxSize = 4 << 20

// What a file may have, because the YAML library needs memory and time that grow with the
// square of the depth, and of the keys of a mapping, and aliases of aliases grow without end. Ten thousand streams, each with its
// own keys, have about 160,000 marks and 100,000 values.
const (
	maxMarks      = 500_000 // characters with a meaning in YAML, and lines
	maxOpen       = 1000    // brackets that are open, those in texts included
	maxDepth      = 64      // lists and mappings within one another
	maxReferences = 50_000  // aliases, merges included
	maxValues     = 500_000 // values that are read, those of aliases each time
	maxKey        = 1 << 10 // bytes of a key
	maxKeys       = 5000    // of a mapping
	maxProblems   = 200     // that are reported
)

// marks are the characters with a meaning in YAML.
const marks = "[]{},:-?&*!|>'\"#\n\r"

// ReadFile reads a file as far as is needed to tell that it is too large.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// checkText returns what is wrong with a text that must not even be split into tokens, ""
// for nothing.
func checkText(data []byte) string {
	if len(data) > MaxSize {
		return fmt.Sprintf("larger than %d bytes", MaxSize)
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return fmt.Sprintf("line %d has a NUL character, at which the file would end; remove it", 1+bytes.Count(data[:i], []byte("\n")))
	}
	open, found := 0, 0
	for _, c := range data {
		if bytes.IndexByte([]byte(marks), c) < 0 {
			continue
		}
		found++
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		}
		if open > maxOpen {
			return fmt.Sprintf("more than %d brackets are open", maxOpen)
		}
		if found > maxMarks {
			return fmt.Sprintf("more than %d lines and punctuation marks", maxMarks)
		}
	}
	return ""
}

// tokens splits a text, and returns what is wrong with the whole of it, "" for nothing.
func tokens(data []byte) (token.Tokens, string) {
	all := lexer.Tokenize(string(data))
	var open []block
	line, flow, references := 0, 0, 0
	for _, t := range all {
		switch t.Type {
		case token.CommentType:
			continue
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.AliasType:
			references++
		}
		begins := t.Position.Line != line || t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType
		if line = t.Position.Line; begins && flow == 0 {
			open = begin(open, t)
			if open[len(open)-1].keys > maxKeys {
				return nil, fmt.Sprintf("line %d: more than %d keys in a mapping", line, maxKeys)
			}
		}
		if len(open)+flow > maxDepth {
			return nil, fmt.Sprintf("line %d: more than %d lists and mappings within one another", line, maxDepth)
		}
		if references > maxReferences {
			return nil, fmt.Sprintf("line %d: more than %d aliases", line, maxReferences)
		}
	}
	return all, ""
}

// A block is a list or a mapping that is open, without brackets.
type block struct {
	column int
	keys   int // at most
}

// begin returns the blocks that are open after a token that begins a line or an entry.
func begin(open []block, t *token.Token) []block {
	for len(open) > 0 && open[len(open)-1].column > t.Position.Column {
		open = open[:len(open)-1]
	}
	if len(open) == 0 || open[len(open)-1].column < t.Position.Column {
		open = append(open, block{column: t.Position.Column})
	}
	if t.Type != token.SequenceEntryType {
		open[len(open)-1].keys++
	}
	return open
}

// spend counts values that are read, and returns false once there are too many.
func (d *decoder) spend(values int) bool {
	*d.spent += values
	return *d.spent <= maxValues
}
