package starter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func answers() Answers {
	return Answers{Streams: []string{"cam"}, Interval: time.Second, Preset: "yolo", NATS: "nats://127.0.0.1:4222", Mode: "live"}
}

// TestTextIsACheckedConfig: every preset and mode that can be chosen makes a good file, and
// what makes none is an error.
func TestTextIsACheckedConfig(t *testing.T) {
	for preset, output := range map[string]string{"yolo": "detector", "imagenet": "classifier", "clip": "embedder", "raw": "frames", "none": "frames"} {
		for _, mode := range Modes() {
			a := answers()
			a.Preset, a.Mode = preset, mode
			_, cfg, err := a.Text("test.yaml")
			if err != nil {
				t.Errorf("%s, %s: %v", preset, mode, err)
				continue
			}
			if _, ok := cfg.Outputs[output]; !ok || cfg.Streams[0].Name != "cam" || cfg.Streams[0].Interval != time.Second {
				t.Errorf("%s, %s: %+v", preset, mode, cfg)
			}
		}
	}
	for _, spoil := range []func(*Answers){
		func(a *Answers) { a.Streams = nil },
		func(a *Answers) { a.Streams = []string{`a"b`} },
		func(a *Answers) { a.Streams = []string{"a\nnats: {url: embedded}"} },
		func(a *Answers) { a.Preset = "nothing" },
		func(a *Answers) { a.Mode = "later" },
		func(a *Answers) { a.NATS = "http://127.0.0.1" },
		func(a *Answers) { a.Endpoint = "nowhere" },
	} {
		a := answers()
		spoil(&a)
		if text, _, err := a.Text("test.yaml"); err == nil {
			t.Errorf("no error for:\n%s", text)
		}
	}
}

func TestWriteOverwritesNothingUnasked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.yaml")
	if err := Write(name, []byte("first"), false); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, []byte("second"), false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("an existing file: %v", err)
	}
	if text, err := os.ReadFile(name); string(text) != "first" || err != nil {
		t.Errorf("it holds %q, %v", text, err)
	}
	if err := Write(name, []byte("new"), true); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(name); string(text) != "new" || err != nil {
		t.Errorf("it holds %q, %v", text, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
