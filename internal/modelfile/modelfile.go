// Package modelfile reads the files in which models say how their pictures are prepared, and
// returns the spec that prepares them so.
//
//	found, err := modelfile.Read(data)
//	if cannot := (*modelfile.CannotError)(nil); errors.As(err, &cannot) {
//		// it is known what the model needs, and that a spec cannot say it
//	}
//
// It reads the preprocessor_config.json of Hugging Face's transformers, the config.json of
// timm, the printed transforms of torchvision's weights, the metadata.yaml of Ultralytics'
// exports, ONNX models, TFLite models with their metadata, the xml of an OpenVINO IR, and the
// config.pbtxt of Triton.
package modelfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// MaxBytes is the most of a file that is needed to read it. ONNX models may be larger.
const MaxBytes = 4 << 30

// A Found is what a file says.
type Found struct {
	// Kind is what the file is.
	Kind string
	// Spec is what it asks for. What it does not say is as in the preset none.
	Spec transform.Spec
	// Notes are what else there is to know.
	Notes []string
}

func (f *Found) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// A CannotError says what a file asks for that a spec cannot say.
type CannotError struct {
	Kind    string
	Reasons []string
}

// Error implements error.
func (e *CannotError) Error() string {
	return fmt.Sprintf("%s asks for what an output cannot do:\n  %s", e.Kind, strings.Join(e.Reasons, "\n  "))
}

// cannot collects reasons.
type cannot []string

func (c *cannot) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// err returns nil if there are no reasons.
func (c cannot) err(kind string) error {
	if len(c) == 0 {
		return nil
	}
	return &CannotError{Kind: kind, Reasons: c}
}

// errUnknown says what can be read.
var errUnknown = errors.New("this is no file that is known: a preprocessor_config.json of Hugging Face, a config.json of timm, " +
	"the printed transforms of torchvision's weights, a metadata.yaml of Ultralytics, an ONNX or TFLite model, the xml of an OpenVINO IR, or a config.pbtxt of Triton")

// Read reads a file, whatever it is. The error is a [*CannotError] if the file is understood.
func Read(data []byte) (*Found, error) {
	text := bytes.TrimSpace(data)
	found, err := read(text, data)
	if err != nil {
		return nil, err
	}
	if err := found.Spec.Validate(); err != nil {
		return nil, &CannotError{Kind: found.Kind, Reasons: []string{err.Error()}}
	}
	return found, nil
}

func read(text, data []byte) (*Found, error) {
	switch {
	case isTFLite(data):
		return readTFLite(data)
	case openvino.Match(text):
		return readOpenVINO(text)
	case bytes.HasPrefix(text, []byte("{")):
		return readJSON(text)
	case printed.Match(text):
		return readTorchvision(string(text))
	case bytes.Contains(text, []byte("Ultralytics")) && imgsz.Match(text):
		return readUltralytics(lines(string(text)))
	case pbtxt.Match(text):
		return readTriton(string(text))
	}
	if model, ok := parseONNX(data); ok {
		return readONNX(model)
	}
	return nil, errUnknown
}

// readJSON tells the kinds of JSON apart.
func readJSON(text []byte) (*Found, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, fmt.Errorf("the file is not JSON: %w", err)
	}
	for _, key := range []string{"image_processor", "preprocessor"} {
		if inner, ok := keys[key]; ok && bytes.HasPrefix(inner, []byte("{")) {
			return readJSON(inner) // a processor_config.json
		}
	}
	has := func(key string) bool { return keys[key] != nil }
	switch {
	case has("pretrained_cfg") || has("input_size") && has("interpolation"):
		return readTimm(text)
	case has("image_processor_type") || has("feature_extractor_type") || has("do_resize") || has("image_mean"):
		return readProcessor(text)
	}
	return nil, errUnknown
}

// none returns the spec that a file starts with: no size, and pixels from 0 to 1.
func none() transform.Spec {
	s, _ := transform.Preset("none") // a test has it
	return s
}

// pillow are the filters of Pillow by the names that libraries have for them.
var pillow = map[string]transform.Resize{
	"bilinear": transform.PillowBilinear, "bicubic": transform.PillowBicubic, "lanczos": transform.PillowLanczos,
}
