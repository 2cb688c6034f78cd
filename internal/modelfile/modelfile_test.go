package modelfile

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

const processors = "../../transform/opencv/testdata/processors"

// TestProcessorsAreThePresets: what is read of each recorded file of a processor is the preset
// of the same name, which "make fidelity" compares with the processor itself.
func TestProcessorsAreThePresets(t *testing.T) {
	files, err := filepath.Glob(processors + "/*.json")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		want, err := transform.Preset(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := readFile(t, file); got.Spec != want {
			t.Errorf("%s:\n%+v, want\n%+v", name, got.Spec, want)
		}
	}
	rows := 0
	for _, row := range transform.Presets() {
		if row.Family == "transformers" {
			rows++
		}
	}
	if rows != len(files) {
		t.Errorf("%d presets of transformers, and %d files", rows, len(files))
	}
}

func readFile(t *testing.T, path string) *Found {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Read(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return found
}

// TestFiles reads the files that libraries and tools write.
func TestFiles(t *testing.T) {
	for file, want := range map[string]struct{ settings, note string }{
		"config.pbtxt":         {"size: 640x640, dtype: float16", "max_batch_size is 8"},
		"deeplab.txt":          {"fit: short-side, resize: pillow-bilinear, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize_to: 520", ""},
		"detection.txt":        {"fit: stretch", "the model resizes"},
		"metadata.yaml":        {"size: 640x384, dtype: float16", "multiples of 32"},
		"plain.onnx":           {"size: 224x224, dtype: uint8, layout: nhwc", "begins with Cast"},
		"resnet50.txt":         {"size: 224x224, fit: short-side, resize: pillow-bilinear, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize_to: 232", ""},
		"timm-convnextv2.json": {"size: 224x224, fit: short-side, resize: pillow-bicubic, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], crop: 0.875", "test_input_size [3 288 288]"},
		"timm-resnet50.txt":    {"size: 224x224, fit: short-side, resize: pillow-bicubic, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize_to: 235", ""},
		"timm-vit.json":        {"size: 384x384, fit: stretch, resize: pillow-bicubic, mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711], crop: 1", ""},
		"yolo.onnx":            {"size: 640x480", ""},

		"mobilenet.tflite":         {"size: 224x224, scale: 1, mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5], layout: nhwc", "fit and resize are not in the file"},
		"efficientnet-int8.tflite": {"size: 224x224, scale: 1, mean: [127, 127, 127], std: [128, 128, 128], dtype: int8, layout: nhwc, quant_scale: 0.012566017, quant_zero_point: -1", ""},
		"detector-uint8.tflite":    {"size: 320x320, scale: 1, mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5], dtype: uint8, layout: nhwc, quant_scale: 0.0078125, quant_zero_point: 127", "the pixels as they are"},
		"bare.tflite":              {"size: 96x96, dtype: int8, layout: nhwc, quant_scale: 0.003921569, quant_zero_point: -128", "shape and type only"},
		"embedded.xml":             {"scale: 1, dtype: uint8, layout: nhwc", "the model itself converts the type, reverses the channels, resizes (linear), subtracts a mean, multiplies by a scale, changes the layout"},
		"normalizing.xml":          {"size: 224x224, scale: 1", "normalizes them itself"},
		"model-api.xml":            {"size: 640x480, scale: 1, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375]", ""},
		"plain.xml":                {"size: 32x32, color: gray", "shape and type only"},
	} {
		found := readFile(t, filepath.Join("testdata", file))
		var settings []string
		base := none()
		for _, s := range found.Spec.Settings(base) {
			settings = append(settings, s.Key+": "+s.Value)
		}
		if got := strings.Join(settings, ", "); got != want.settings {
			t.Errorf("%s: %s, want %s", file, got, want.settings)
		}
		if notes := strings.Join(found.Notes, "\n"); !strings.Contains(notes, want.note) {
			t.Errorf("%s: the notes %q lack %q", file, notes, want.note)
		}
	}
}

// TestCannot: what cannot be done is said, and not left out.
func TestCannot(t *testing.T) {
	full := `"do_resize": true, "resample": 2, "size": {"height": 64, "width": 64}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]`
	for text, want := range map[string]string{
		`{"image_processor_type": "Owlv2ImageProcessor", ` + full + `}`:                                                       "Gaussian filter",
		`{"image_processor_type": "Siglip2ImageProcessorFast", ` + full + `}`:                                                 "NaFlex",
		`{"image_processor_type": "NewImageProcessor", ` + full + `}`:                                                         "not known here",
		`{"image_processor_type": "ViTImageProcessor", "resample": 0, "size": 64, "do_normalize": false}`:                     "resample 0 (nearest)",
		`{"image_processor_type": "ViTImageProcessor", "size": 64, "do_normalize": false}`:                                    "resample is missing",
		`{"image_processor_type": "ViTImageProcessor", "size": 64, "resample": 2, "do_normalize": true}`:                      "do_normalize without image_mean",
		`{"image_processor_type": "ViTImageProcessor", "resample": 2, "image_mean": [0, 0], "image_std": [1, 1], "size": 64}`: "image_mean [0 0]",
		`{"image_processor_type": "DPTImageProcessor", "keep_aspect_ratio": true, "ensure_multiple_of": 14, ` + full + `}`:    "ensure_multiple_of",
		`{"image_processor_type": "Gemma3ImageProcessor", "do_pan_and_scan": true, ` + full + `}`:                             "do_pan_and_scan",
		`{"input_size": [1, 28, 28], "interpolation": "bilinear"}`:                                                            "3 channels",
		`{"input_size": [3, 224, 224], "interpolation": "nearest"}`:                                                           `interpolation "nearest"`,
		`{"input_size": [3, 448, 448], "interpolation": "bicubic", "crop_mode": "border", "crop_pct": 0.9}`:                   `crop_mode "border"`,
		"VideoClassification(\n    crop_size=[112]\n)":                                                                        "several pictures",
		"Compose(\n    Resize(size=256, interpolation=bilinear)\n    FiveCrop(size=224)\n)":                                   "the step FiveCrop",
		"input [ { name: \"x\" data_type: TYPE_INT64 dims: [ 3, 8, 8 ] } ]":                                                   "type INT64",
		"input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 16, 3, 8, 8 ] } ]":                                                "batch of 16",
		"input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 5, 8, 8 ] } ]":                                                    "5 channels",
		"description: Ultralytics\nimgsz: 640\nchannels: 1\n":                                                                 "1 channels",
	} {
		_, err := Read([]byte(text))
		var cannot *CannotError
		if !errors.As(err, &cannot) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.90s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"", "{}", "{", "hello", "\x08\x01", `{"architectures": ["ViT"]}`} {
		if found, err := Read([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, found)
		}
	}
}

// TestDamagedFiles: whatever a file holds, reading it ends, and what it returns is valid.
func TestDamagedFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob(processors + "/*.json")
	rng := rand.New(rand.NewPCG(1, 2))
	for _, file := range append(files, more...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			damaged := append([]byte(nil), data[:rng.IntN(len(data)+1)]...)
			if len(damaged) == len(data) || rng.IntN(2) == 0 {
				damaged = append([]byte(nil), data...)
			}
			for range 1 + rng.IntN(4) {
				if len(damaged) > 0 {
					damaged[rng.IntN(len(damaged))] = byte(rng.IntN(256))
				}
			}
			found, err := Read(damaged)
			if err != nil {
				continue
			}
			if err := found.Spec.Validate(); err != nil {
				t.Errorf("%s damaged: %v", file, err)
			}
		}
	}
}
