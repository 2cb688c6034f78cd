package presetscmd

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/transform"
)

// run runs the command, and returns what it prints.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := New(func(err error) error { return errors.Join(errWrong, err) })
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

var errWrong = errors.New("wrong usage")

func TestList(t *testing.T) {
	for args, want := range map[string][]string{
		"":                 {"yolo ", "clip-hf ", "names of models of torchvision and timm"},
		"RESNET50 tv_in1k": {"timm/resnet50.tv_in1k ", "224 out of 256"},
		"vit bicubic":      {"more: name more words, or --all"},
		"nonesuch":         {"no preset has nonesuch in its line"},
	} {
		out, err := run(t, strings.Fields(args)...)
		for _, text := range want {
			if err != nil || !strings.Contains(out, text) {
				t.Errorf("presets %s lacks %q: %v\n%s", args, text, err, out)
			}
		}
	}
	some, _ := run(t, "vit", "bicubic")
	all, _ := run(t, "vit", "bicubic", "--all")
	if strings.Count(some, "\n") != most+1 || strings.Count(all, "\n") < 2*most {
		t.Errorf("%d lines, and %d of all", strings.Count(some, "\n"), strings.Count(all, "\n"))
	}
}

// parse returns the spec of the printed part of a config.
func parse(t *testing.T, text string) transform.Spec {
	t.Helper()
	c, err := config.Parse("printed.yaml", []byte("streams: [{name: a, outputs: [model]}]\n"+text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c.Outputs["model"].Spec()
}

// TestShowIsAConfig: what is printed of every preset is a config for it, with the comments'
// keys in place of the preset, too.
func TestShowIsAConfig(t *testing.T) {
	for _, row := range transform.Presets() {
		want, err := row.Spec()
		if err != nil {
			t.Fatal(err)
		}
		text, err := run(t, "show", row.Name)
		if err != nil || !strings.Contains(text, row.Reference) || !strings.Contains(text, row.Source) {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := parse(t, text); got != want {
			t.Errorf("%s: %+v, want %+v", row.Name, got, want)
		}
		spelled := strings.ReplaceAll(strings.Replace(text, "preset: "+row.Name, "preset: none", 1), "    #   ", "    ")
		if got := parse(t, spelled); got != want {
			t.Errorf("%s spelled out: %+v, want %+v\n%s", row.Name, got, want, spelled)
		}
	}
}

func TestFromIsAConfig(t *testing.T) {
	files, err := filepath.Glob("../../transform/opencv/testdata/processors/*.json")
	more, _ := filepath.Glob("../modelfile/testdata/*[^o].*") // all but the video
	if err != nil || len(files) < 25 || len(more) < 8 {
		t.Fatal(len(files), len(more), err)
	}
	for _, file := range append(files, more...) {
		text, err := run(t, "from", file)
		if err != nil {
			t.Fatal(err)
		}
		spec := parse(t, text)
		if name, ok := strings.CutSuffix(filepath.Base(file), ".json"); ok && !strings.HasPrefix(name, "timm") {
			if want, _ := transform.Preset(name); spec != want || !strings.Contains(text, "# the same as preset: ") {
				t.Errorf("%s: %+v, want %+v\n%s", file, spec, want, text)
			}
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"show":                                 "0 arguments: name a preset",
		"show clip-hff":                        "did you mean clip-hf?",
		"from":                                 "name a file",
		"from nonesuch":                        "no such file",
		"from presets.go":                      "this is no file that is known",
		"from ../modelfile/testdata/video.txt": "several pictures at once",
	} {
		if _, err := run(t, strings.Fields(args)...); !errors.Is(err, errWrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("presets %s: %v, want %q", args, err, want)
		}
	}
}
