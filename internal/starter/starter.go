// Package starter writes the first config file of a user, with comments, from a few
// answers.
package starter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// Answers are what the file is made of. The names of cameras may be given as Streams, as a
// Prefix that all of them begin with, or both.
type Answers struct {
	Region, Endpoint string // "" leaves them to the AWS SDK
	Streams          []string
	Prefix           string
	Interval         time.Duration
	Preset           string
	// Output is the name of the output. Default: one that suits the preset.
	Output string
	NATS   string
	Mode   string
}

// outputs are the default names of outputs, by preset.
var outputs = map[string]string{
	"yolo": "detector", "imagenet": "classifier", "clip": "embedder",
}

// stateDir is where the embedded server stores messages.
const stateDir = "cvfeeder-state"

var file = template.Must(template.New("config").Parse( //nolint:gochecknoglobals // it is parsed once
	`# A config file of cvfeeder, made by "cvfeeder init". Run it with
#
#   cvfeeder run -c {{.File}}
#
# docs/configuration.md has all keys; the others have their defaults. ${VAR} in a value is
# taken from the environment, which is the place for passwords.

aws:
  region: {{printf "%q" .Region}}{{if not .Region}}   # "" leaves it to the SDK's own chain, which also finds the credentials{{end}}
{{- if .Endpoint}}
  endpoint: {{printf "%q" .Endpoint}}   # instead of AWS{{end}}

nats:
  url: {{printf "%q" .NATS}}   # a list with commas, or "embedded" for a server in this process
{{if .State}}
state: {{.State}}   # where the embedded server stores messages
{{end}}
delivery:
  mode: {{.Mode}}   # live: the newest, at most once | ring: the last few of each subject | durable: each slot once

streams:
{{- range .Streams}}
  - name: {{printf "%q" .}}
    interval: {{$.Interval}}   # between pictures; each picture costs
    outputs: [{{printf "%q" $.Output}}]
{{- end}}
{{- if .Prefix}}
  - prefix: {{printf "%q" .Prefix}}   # all streams whose names begin with it, new ones too
    interval: {{.Interval}}   # between pictures; each picture costs
    outputs: [{{printf "%q" .Output}}]
{{- end}}

outputs:
  {{printf "%q" .Output}}:   # tensors come on the subjects cvf.t.<stream>.{{.Output}}
    preset: {{.Preset}}   # yolo | imagenet | clip | raw | none; size, dtype, layout and more can be set beside it
`))

// Text returns the contents of the config file with the given name, and the config. The
// error says what is wrong with the answers.
func (a Answers) Text(name string) ([]byte, *config.Config, error) {
	if len(a.Streams) == 0 && a.Prefix == "" {
		return nil, nil, errors.New("no camera: name it with --stream NAME, or many with --prefix PREFIX")
	}
	if a.Output == "" {
		a.Output = outputs[a.Preset]
	}
	if a.Output == "" {
		a.Output = "frames"
	}
	state := ""
	if a.NATS == config.Embedded && config.Mode(a.Mode).Stored() {
		state = stateDir
	}
	var text bytes.Buffer
	if err := file.Execute(&text, struct {
		Answers
		File, State string
	}{a, name, state}); err != nil {
		return nil, nil, err
	}
	cfg, err := config.Parse(name, text.Bytes(), os.LookupEnv)
	return text.Bytes(), cfg, err
}

// Exists says that there is such a file already, unless it may be replaced.
func Exists(name string, replace bool) error {
	if _, err := os.Lstat(name); err == nil && !replace {
		return exists(name)
	}
	return nil
}

func exists(name string) error {
	return fmt.Errorf("%s exists already: name another file, or replace it with --force", name)
}

// Write writes the file. A file that exists stays as it is, unless it may be replaced.
func Write(name string, text []byte, replace bool) error {
	how := os.O_EXCL
	if replace {
		how = os.O_TRUNC
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return exists(name)
	}
	if err != nil {
		return fmt.Errorf("the config file cannot be written: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("the config file cannot be written: %w", err)
	}
	return nil
}

// some returns the first names of a list, and how many more there are.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
