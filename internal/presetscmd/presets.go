// Package presetscmd is the command "presets": it lists the preprocessing that cvfeeder knows
// by name, shows it as a config, and reads it from a model's own file.
package presetscmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/internal/modelfile"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/transform"
)

// New returns the command. Wrong marks an error as wrong usage.
func New(wrong func(error) error) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "presets [WORD...]",
		Short: "List the preprocessing of models, by name",
		Long: "Presets lists the values of an output's preset, and the models of torchvision and timm\n" +
			"whose names are values, too. Of several words, all have to be in a line.",
		Example: "  cvfeeder presets\n  cvfeeder presets resnet50\n  cvfeeder presets show timm/resnet50.a1_in1k\n" +
			"  cvfeeder presets from preprocessor_config.json",
		Args:        cobra.ArbitraryArgs,
		Annotations: map[string]string{usage.Words: "true"},
		RunE:        func(cmd *cobra.Command, words []string) error { return list(cmd.OutOrStdout(), words, all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "print all lines, also where they are many")
	cmd.AddCommand(newShow(wrong), newFrom(wrong))
	return cmd
}

// most is how many models are listed unless all are asked for.
const most = 40

// list prints the presets that have all words in their line.
func list(out io.Writer, words []string, all bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	matches := func(text string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(strings.ToLower(text), strings.ToLower(word)) })
	}
	found, models := 0, 0
	for _, row := range transform.Presets() {
		names := row.Models
		if len(names) == 0 {
			names = []string{row.Name}
		}
		for _, name := range names {
			if len(words) == 0 && len(row.Models) > 0 || !matches(name+" "+row.Family+" "+row.About) {
				continue
			}
			if len(row.Models) > 0 {
				if models++; models > most && !all {
					continue
				}
			}
			found++
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", name, row.Family, row.About)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var err error
	switch {
	case found == 0:
		_, err = fmt.Fprintf(out, "no preset has %s in its line; a model's own file may say more: cvfeeder presets from FILE\n", sanitize.Text(strings.Join(words, " ")))
	case len(words) == 0:
		_, err = fmt.Fprintf(out, "\nand %d names of models of torchvision and timm: cvfeeder presets resnet50\n", len(transform.PresetModels()))
	case models > most && !all:
		_, err = fmt.Fprintf(out, "and %d more: name more words, or --all\n", models-most)
	}
	return err
}

func newShow(wrong func(error) error) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Print a preset as a config",
		Long:    "Show prints a preset as the part of a config file, with what it equals and where that is\nfound.",
		Example: "  cvfeeder presets show clip-hf\n  cvfeeder presets show timm/resnet50.a1_in1k",
		Args:    one(wrong, "a preset"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return append(transform.PresetNames(), transform.PresetModels()...), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			row, err := transform.PresetOf(args[0])
			if err != nil {
				return wrong(unknown(args[0]))
			}
			return show(cmd.OutOrStdout(), args[0], row)
		},
	}
}

// unknown says which preset may have been meant.
func unknown(name string) error {
	hint := ""
	if near := strictyaml.Closest(name, append(transform.PresetNames(), transform.PresetModels()...)); near != "" {
		hint = fmt.Sprintf(" did you mean %s?", near)
	}
	return fmt.Errorf("there is no preset %.60q;%s \"cvfeeder presets\" lists them", name, hint)
}

// show prints a preset.
func show(out io.Writer, name string, row *transform.PresetRow) error {
	spec, err := row.Spec()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# equals %s\n# %s\n", row.About, row.Reference, row.Source)
	if others := len(row.Models) - 1; others > 0 {
		fmt.Fprintf(&b, "# the same as %d other models\n", others)
	}
	fmt.Fprintf(&b, "outputs:\n  model:\n    preset: %s\n", name)
	comment := "    # which sets these keys:\n"
	for _, s := range settings(spec) {
		b.WriteString(comment + "    #   " + s.Key + ": " + s.Value + "\n")
		comment = ""
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// settings returns the keys that make a spec, beside the defaults.
func settings(spec transform.Spec) []transform.Setting {
	base, _ := transform.Preset("none") // a test has it
	return spec.Settings(base)
}

func newFrom(wrong func(error) error) *cobra.Command {
	return &cobra.Command{
		Use:   "from FILE",
		Short: "Print the config for a model's own preprocessing file",
		Long: "From reads the file in which a model says how its pictures are prepared, and prints the\n" +
			"part of a config file for it, or what cannot be done: a preprocessor_config.json of\n" +
			"Hugging Face, a config.json of timm, what Python prints of the transforms of\n" +
			"torchvision's weights, a metadata.yaml of Ultralytics, an ONNX or TFLite model, the xml\n" +
			"of an OpenVINO IR, or a config.pbtxt of Triton. \"-\" is the standard input.",
		Example: "  cvfeeder presets from preprocessor_config.json\n" +
			"  python -c 'from torchvision.models import *; print(ResNet50_Weights.DEFAULT.transforms())' | cvfeeder presets from -",
		Args: one(wrong, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := read(args[0], cmd.InOrStdin())
			if err != nil {
				return wrong(err)
			}
			found, err := modelfile.Read(data)
			if err != nil {
				return wrong(fmt.Errorf("%s: %w", args[0], err))
			}
			return from(cmd.OutOrStdout(), args[0], found)
		},
	}
}

// one accepts one argument.
func one(wrong func(error) error, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrong(fmt.Errorf("%d arguments: name %s, as in %q", len(args), what, cmd.CommandPath()+" "+strings.Fields(cmd.Use)[1]))
		}
		return nil
	}
}

// read returns the bytes of a file. Of a model of gigabytes, all have to be read: its inputs
// come after its weights.
func read(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it is only read
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, modelfile.MaxBytes+1))
	if err == nil && len(data) > modelfile.MaxBytes {
		err = errors.New("the file is larger than 4 GiB")
	}
	return data, err
}

// from prints what a file says.
func from(out io.Writer, name string, found *modelfile.Found) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# from %s, %s\n", sanitize.Text(name), found.Kind)
	for _, note := range found.Notes {
		fmt.Fprintf(&b, "# note: %s\n", sanitize.Text(note))
	}
	b.WriteString("outputs:\n  model:\n")
	if same := sameAs(found.Spec); same != "" {
		fmt.Fprintf(&b, "    # the same as preset: %s\n", same)
	}
	b.WriteString("    preset: none\n")
	for _, s := range settings(found.Spec) {
		fmt.Fprintf(&b, "    %s: %s\n", s.Key, s.Value)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// sameAs returns the name of the first preset with a spec, or "".
func sameAs(spec transform.Spec) string {
	for _, row := range transform.Presets() {
		if s, err := row.Spec(); err == nil && s == spec && row.Name != "none" {
			return row.Name
		}
	}
	return ""
}
