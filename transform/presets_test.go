package transform

import (
	"bytes"
	"encoding/json"
	"image"
	"slices"
	"strings"
	"testing"
)

// TestPresetTable checks every row of the table.
func TestPresetTable(t *testing.T) {
	var rows []PresetRow
	d := json.NewDecoder(bytes.NewReader(presetsFile))
	d.DisallowUnknownFields()
	if err := d.Decode(&rows); err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(presetsFile, []byte("\n")); lines != len(rows)+2 {
		t.Errorf("%d rows in %d lines: want one a line", len(rows), lines)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if r.Name == "" || r.Family == "" || r.About == "" || r.Reference == "" || !strings.HasPrefix(r.Source, "https://") {
			t.Errorf("%+v is not whole", r)
		}
		names := r.Models
		if !slices.Contains(r.Models, r.Name) {
			names = append(names, r.Name)
		}
		for _, name := range names {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if model := strings.Contains(r.Name, "/"); model != (len(r.Models) > 0) {
			t.Errorf("%s has the models %v", r.Name, r.Models)
		}
		s, err := r.Spec()
		if err != nil {
			t.Error(err)
			continue
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		if _, err := s.Geometry(image.Pt(1920, 1080)); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if len(rows) < 200 || len(seen) < 3000 {
		t.Errorf("there are %d rows with %d names", len(rows), len(seen))
	}
}

// TestSettingsMakeTheSpecAgain: what Settings writes of a preset is read back as it.
func TestSettingsMakeTheSpecAgain(t *testing.T) {
	base := preset(t, "none")
	for _, r := range Presets() {
		want, got := preset(t, r.Name), base
		for _, s := range want.Settings(base) {
			if err := got.Set(s.Key, strings.Trim(s.Value, `"`)); err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", r.Name, got, want)
		}
	}
}

// TestPresetsOfModels: models are found by their names, with and without the weights.
func TestPresetsOfModels(t *testing.T) {
	for name, want := range map[string]string{
		"torchvision/resnet50":                       "232",
		"torchvision/ResNet50_Weights.IMAGENET1K_V2": "232",
		"torchvision/ResNet50_Weights.IMAGENET1K_V1": "256",
	} {
		if s := preset(t, name); FormatBox(s.ResizeTo) != want || s.Width != 224 {
			t.Errorf("%s: %+v, want resize_to %s", name, s, want)
		}
	}
	if a, b := preset(t, "timm/resnet50.a1_in1k"), preset(t, "timm/resnet50"); a != b || a.CropRatio != 0.95 {
		t.Errorf("%+v, %+v", a, b)
	}
}

func TestPresetsAreSeparate(t *testing.T) {
	if a, b := preset(t, "imagenet"), preset(t, "imagenet"); a != b {
		t.Errorf("%+v and %+v", a, b)
	}
	if names := PresetNames(); !slices.Equal(names[:5], []string{"yolo", "imagenet", "clip", "raw", "none"}) {
		t.Errorf("the first presets are %v", names[:5])
	}
}
