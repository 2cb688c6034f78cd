package usage

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func command(file *string) *cobra.Command {
	run := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{Use: "prog", RunE: run, SilenceErrors: true, SilenceUsage: true}
	root.SetFlagErrorFunc(FlagError)
	check := &cobra.Command{Use: "check", RunE: run, Args: Arguments(File("config", file))}
	check.Flags().StringVarP(file, "config", "c", "", "")
	check.Flags().Float64("share", 0, "")
	hidden := &cobra.Command{Use: "chekc", RunE: run, Hidden: true, Args: Arguments(None)}
	root.AddCommand(check, hidden)
	root.Args = Arguments(nil)
	return root
}

func TestErrors(t *testing.T) {
	for line, want := range map[string]string{
		"chek":                 `unknown command "chek"; did you mean check?: see "prog --help"`,
		"chek -c a":            `unknown command "chek"; did you mean check?: see "prog --help"`,
		"fly":                  `unknown command "fly": see "prog --help"`,
		"--chek":               `unknown flag --chek: see "prog --help"`,
		"check -x a":           `unknown flag -x: see "prog check --help"`,
		"check --config":       `--config needs a value: see "prog check --help"`,
		"check --confg a":      `unknown flag --confg; did you mean --config?: see "prog check --help"`,
		"check --share half":   `--share "half": it must be a number, such as 0.5: see "prog check --help"`,
		"check --share 1e999":  `--share "1e999": the number is out of range: see "prog check --help"`,
		"check a b":            `unexpected argument "b": the command takes one file: see "prog check --help"`,
		"check a --config=b":   `unexpected argument "a": --config names the file already: see "prog check --help"`,
		"chekc a":              `unexpected argument "a": the command takes flags only: see "prog chekc --help"`,
		"check --=x":           `bad flag syntax: --=x: see "prog check --help"`,
		"check a --share=0.25": "",
	} {
		var file string
		cmd := command(&file)
		cmd.SetArgs(strings.Fields(line))
		err := cmd.Execute()
		switch {
		case want == "" && (err != nil || file != "a"):
			t.Errorf("%s: %v, file %q", line, err, file)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
