package config

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/source"
)

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(minimalFile))
	archive, err := txtar.ParseFile(errorsFile)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, ".yaml") {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("fuzz.yaml", data, env)
		if err != nil {
			var problems strictyaml.Errors
			if cfg != nil || !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("config %v with error %T: %v", cfg, err, err)
			}
			return
		}
		if len(cfg.Streams) == 0 || len(cfg.Outputs) == 0 {
			t.Fatal("a config without streams or outputs")
		}
		outputs := cfg.Transforms()
		for _, s := range cfg.Streams {
			if _, err := source.NewGrid(s.Interval); err != nil || s.Name == "" || len(s.Outputs) == 0 {
				t.Fatalf("stream %+v: %v", s, err)
			}
			for _, name := range s.Outputs {
				if outputs[name] == nil {
					t.Fatalf("stream %s has no output %q", s.Name, name)
				}
			}
		}
		for name, o := range outputs {
			if err := o.Spec.Validate(); err != nil {
				t.Fatalf("output %s: %v", name, err)
			}
		}
	})
}
