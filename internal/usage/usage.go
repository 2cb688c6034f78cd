// Package usage says what is wrong with a command line, in the words of the program, and
// names what the user may have meant.
package usage

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

// see ends an error with the command that shows what is right.
func see(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s: see %q", fmt.Sprintf(format, args...), cmd.CommandPath()+" --help")
}

// FlagError returns what is wrong with a flag, where err is the flag library's. Give it to
// [cobra.Command.SetFlagErrorFunc].
func FlagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		invalid *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
	)
	switch words := cmd.Flags().Args(); {
	case cmd.HasSubCommands() && len(words) > 0:
		// The flags after a misspelt command are not those of its parent.
		return Unknown(cmd, words[0])
	case errors.As(err, &invalid):
		return see(cmd, "--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid.GetFlag(), err))
	case errors.As(err, &missing):
		return see(cmd, "--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return see(cmd, "unknown flag -%.1s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		name := unknown.GetSpecifiedName()
		return see(cmd, "unknown flag --%s%s", name, meant(name, "--", names))
	}
	return see(cmd, "%v", err)
}

// wanted says what the value of a flag must be.
func wanted(f *pflag.Flag, err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return "the number is out of range"
	}
	switch kind := f.Value.Type(); {
	case strings.HasPrefix(kind, "int"):
		return "it must be a whole number, such as 4"
	case strings.HasPrefix(kind, "uint"):
		return "it must be a whole number that is not negative, such as 7"
	case strings.HasPrefix(kind, "float"):
		return "it must be a number, such as 0.5"
	case kind == "duration":
		return "it must be a duration with its unit, such as 200ms, 30s or 5m"
	case kind == "bool":
		return "it must be true or false"
	}
	return err.Error()
}

// Unknown says that a command has no such subcommand, and which one may be meant.
func Unknown(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return see(cmd, "unknown command %q%s", word, meant(word, "", names))
}

// meant asks whether the most similar of the names is meant, where one is similar. Each is
// typed with the prefix.
func meant(word, prefix string, names []string) string {
	if best := strictyaml.Closest(word, names); best != "" {
		return fmt.Sprintf("; did you mean %s%s?", prefix, best)
	}
	return ""
}

// Words is the annotation of a command that takes arguments though it has subcommands.
const Words = "words"

// Arguments returns the check of a command's arguments that also says how to find out what
// is right. A command that has subcommands takes nothing else.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && len(args) > 0 && cmd.Annotations[Words] == "" {
			return Unknown(cmd, args[0])
		}
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return see(cmd, "%v", err)
		}
		return nil
	}
}

// None is the check of a command that takes flags only.
func None(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: the command takes flags only", args[0])
	}
	return nil
}

// File returns the check of a command that takes one file, as an argument or by the flag,
// if it has one, whose value is at file. An argument is stored there.
func File(flag string, file *string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case len(args) > 1:
			return fmt.Errorf("unexpected argument %q: the command takes one file", args[1])
		case flag != "" && cmd.Flags().Changed(flag):
			return fmt.Errorf("unexpected argument %q: --%s names the file already", args[0], flag)
		}
		*file = args[0]
		return nil
	}
}
