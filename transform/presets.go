package transform

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// presetsFile is the table of presets: one row a line. opencv/testdata/presets.py writes the
// rows of torchvision and timm from what the libraries say, and leaves the others.
//
//go:embed presets.json
var presetsFile []byte

// A PresetRow is a row of the table of presets: the preprocessing of some models.
type PresetRow struct {
	// Name is what a config file calls it, "imagenet", or the first of the models.
	Name string `json:"name"`
	// Family is the library or the kind of model that it is of.
	Family string `json:"family"`
	// About says what it does, in a few words.
	About string `json:"about"`
	// Reference is what it equals, in words, and Source where that is found.
	Reference string `json:"reference"`
	Source    string `json:"source"`
	// Output holds the keys of the config file that make it, beside the defaults.
	Output map[string]json.RawMessage `json:"output"`
	// Models are the names of models that have this preprocessing, each with its library:
	// "timm/resnet50.a1_in1k". They are names of the preset, too.
	Models []string `json:"models,omitempty"`
}

// Spec returns the preprocessing.
func (r *PresetRow) Spec() (Spec, error) {
	s := Spec{
		Fit: Letterbox, Resize: OpenCVLinear, Pad: 114, Color: RGB,
		Scale: 1.0 / 255, Std: [3]float64{1, 1, 1},
		DType: Float32, Layout: NCHW, Decode: DecodeExact,
	}
	for key, value := range r.Output {
		text := string(value)
		if err := json.Unmarshal(value, &text); err != nil {
			text = string(value) // a number, a list, true or false
		}
		if err := s.Set(key, text); err != nil {
			return Spec{}, fmt.Errorf("preset %s: %w", r.Name, err)
		}
	}
	return s, nil
}

// presets returns the table, and the number of the row by each name that it has.
//
//nolint:gochecknoglobals // the table is in the program, and read once
var presets = sync.OnceValue(func() (table struct {
	rows   []PresetRow
	byName map[string]int
},
) {
	if err := json.Unmarshal(presetsFile, &table.rows); err != nil {
		panic(fmt.Sprintf("the table of presets in the program: %v", err)) // a test reads it
	}
	table.byName = map[string]int{}
	for i := range table.rows {
		r := &table.rows[i]
		if r.Name == "none" {
			table.byName[""] = i
		}
		table.byName[r.Name] = i
		for _, model := range r.Models {
			table.byName[model] = i
		}
	}
	return table
})

// Presets returns the table of presets. Do not change it.
func Presets() []PresetRow { return presets().rows }

// PresetNames returns the names of the presets that are not the names of models.
func PresetNames() []string {
	var names []string
	for _, r := range Presets() {
		if !strings.Contains(r.Name, "/") {
			names = append(names, r.Name)
		}
	}
	return names
}

// PresetModels returns the names of the models that are names of presets, in the order of the
// table.
func PresetModels() []string {
	var names []string
	for _, r := range Presets() {
		if strings.Contains(r.Name, "/") && !slices.Contains(r.Models, r.Name) {
			names = append(names, r.Name)
		}
		names = append(names, r.Models...)
	}
	return names
}

// PresetOf returns the row of the preset with a name, which may be that of a model.
func PresetOf(name string) (*PresetRow, error) {
	table := presets()
	i, known := table.byName[name]
	if !known {
		return nil, fmt.Errorf("unknown preset %q: there are %v, and models of torchvision and timm by their names, such as timm/resnet50.a1_in1k", name, PresetNames())
	}
	return &table.rows[i], nil
}

// Preset returns the preprocessing of a family of models or of a model: a row of the table,
// which [Presets] returns. "none" and "" are the defaults of the config file, without a size.
func Preset(name string) (Spec, error) {
	row, err := PresetOf(name)
	if err != nil {
		return Spec{}, err
	}
	return row.Spec()
}
