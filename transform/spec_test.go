package transform

import (
	"errors"
	"fmt"
	"image"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// preset returns the spec of a preset.
func preset(t *testing.T, name string) Spec {
	t.Helper()
	s, err := Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPresetsAreValid(t *testing.T) {
	for _, name := range PresetNames() {
		s := preset(t, name)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Preset("yolov8"); err == nil {
		t.Error("unknown preset is accepted")
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Spec)
		want   []string // one for each error, its key and a part of it
	}{
		{"nothing", func(*Spec) {}, nil},
		{"one side", func(s *Spec) { s.Width = 0 }, []string{"size: 0x640: width and height must be 1 to 8192"}},
		{"too large", func(s *Spec) { s.Height = 9000 }, []string{"size: 640x9000"}},
		{"fit", func(s *Spec) { s.Fit = "fill" }, []string{`fit: unknown "fill": one of [letterbox stretch crop short-side long-side smart-resize]`}},
		{"resize", func(s *Spec) { s.Resize = "" }, []string{`resize: unknown ""`}},
		{"roi", func(s *Spec) { s.ROI = ROI{X: 1, W: 0.5, H: 2} }, []string{"roi: 0.5 is not a whole number"}},
		{"numbers", func(s *Spec) {
			s.Scale, s.Mean[1], s.Std[2] = 0, math.NaN(), 0
		}, []string{"scale: 0 must be", "mean: NaN is not", "std: 0 must be"}},
		{"words", func(s *Spec) {
			s.Color, s.DType, s.Layout, s.Decode = "RGB", "int16", "chw", "slow"
		}, []string{"color: ", "dtype: ", "layout: ", "decode: "}},
		{"half range", func(s *Spec) {
			s.DType, s.Scale, s.Std[1] = Float16, 1, 0.001
		}, []string{"dtype: float16 cannot hold 255000, which a pixel of 255 becomes: it ends at 65504"}},
		{"float range", func(s *Spec) { s.Scale = 1e38 }, []string{"dtype: float32 cannot hold"}},
		{"range of bytes", func(s *Spec) { s.DType, s.Scale = Uint8, 1e38 }, nil},
		{"brain range", func(s *Spec) { s.DType, s.Scale = BFloat16, 1e36 }, nil},
		{"torch only", func(s *Spec) { s.NoAntialias, s.ResizeDType = true, Float32 }, []string{"antialias: it belongs to resize: torch-bilinear", "resize_dtype: it belongs to resize: torch"}},
		{"floats as bytes", func(s *Spec) { s.Resize, s.ResizeDType, s.DType = TorchBicubic, Float32, Uint8 }, []string{"resize_dtype: dtype: uint8 cannot hold"}},
		{"floats as pictures", func(s *Spec) { s.Resize, s.ResizeDType, s.Encode = TorchBicubic, Float32, EncodeJPEG }, []string{"resize_dtype: encode: jpeg makes pictures of bytes"}},
		{"floats of half", func(s *Spec) { s.Resize, s.ResizeDType = TorchBicubic, Float16 }, []string{`resize_dtype: unknown "float16"`}},
		{"quantized floats of torch", func(s *Spec) {
			s.Resize, s.ResizeDType, s.DType, s.QuantScale, s.NoAntialias = TorchBilinear, Float32, Int8, 1, true
		}, nil},
		{"no quantization", func(s *Spec) { s.DType = Int8 }, []string{"quant_scale: dtype: int8 needs it"}},
		{"quantized floats", func(s *Spec) { s.QuantScale = 1 }, []string{"quant_scale: dtype: float32 is not quantized"}},
		{"quantization", func(s *Spec) { s.DType, s.QuantScale = Int8, -1 }, []string{"quant_scale: -1 is not a positive number"}},
		{"tiny quantization", func(s *Spec) { s.DType, s.QuantScale = Uint8, 1e-60 }, []string{"quant_scale: 1e-60 is not"}},
		{"zero point", func(s *Spec) { s.DType, s.QuantScale, s.QuantZeroPoint = Int8, 1, 128 }, []string{"quant_zero_point: 128 is out of the range of int8: -128 to 127"}},
		{"only a zero point", func(s *Spec) { s.DType, s.QuantZeroPoint = Uint8, 1 }, []string{"quant_zero_point: it belongs to quant_scale"}},
		{"what is clamped", func(s *Spec) {
			s.DType, s.QuantScale, s.PadNormalized, s.Mean[1] = Uint8, 1, true, 1e6
		}, nil},
		{"unused channels", func(s *Spec) {
			s.DType, s.Color, s.Scale, s.Std[2] = Float16, Gray, 1, 0.001
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := preset(t, "yolo")
			tt.change(&s)
			var errs []error
			if joined, ok := s.Validate().(interface{ Unwrap() []error }); ok {
				errs = joined.Unwrap()
			}
			if len(errs) != len(tt.want) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(tt.want), errs)
			}
			for i, err := range errs {
				key, _, _ := strings.Cut(tt.want[i], ":")
				var f *FieldError
				if !errors.As(err, &f) || f.Key != key || !strings.HasPrefix(err.Error(), tt.want[i]) {
					t.Errorf("%v, want %s", err, tt.want[i])
				}
			}
		})
	}
}

func TestShapeAndBytes(t *testing.T) {
	tests := []struct {
		preset string
		change func(*Spec)
		shape  []int
		bytes  int
	}{
		{"yolo", func(*Spec) {}, []int{1, 3, 640, 640}, 4915200},
		{"yolo", func(s *Spec) { s.DType, s.Layout, s.Width = Float16, NHWC, 320 }, []int{1, 640, 320, 3}, 1228800},
		{"yolo", func(s *Spec) { s.DType, s.Color = Uint8, Gray }, []int{1, 1, 640, 640}, 409600},
		{"raw", func(*Spec) {}, []int{1, 70, 90, 3}, 0},
	}
	for _, tt := range tests {
		s := preset(t, tt.preset)
		tt.change(&s)
		g, err := s.Geometry(image.Pt(90, 70))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.shape, s.Shape(1, g)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.preset, diff)
		}
		if n, known := s.Bytes(); n != tt.bytes || known != (tt.bytes > 0) {
			t.Errorf("%s: %d bytes, known %v, want %d", tt.preset, n, known, tt.bytes)
		}
	}
}

// TestFingerprintIsStable fails where a change would make every consumer believe
// that the pixels have changed. Raise the number in canonical if they have.
func TestFingerprintIsStable(t *testing.T) {
	const engine = "opencv 4.6.0, libjpeg-turbo 2.1.5, gocv 0.43.0"
	want := map[string]string{
		"clip":     "149d5542bd78dc28",
		"fast":     "210d38adbc9fde43",
		"imagenet": "b37e62471a920158",
		"none":     "5e9078ebc2e445f9",
		"raw":      "f723a424047448c5",
		"yolo":     "61ba1e7583d6c57d",
	}
	got := map[string]string{}
	for name := range want {
		s := Spec{}
		if name == "fast" {
			s = preset(t, "yolo")
			s.Decode = DecodeFast
		} else {
			s = preset(t, name)
		}
		got[name] = s.Fingerprint(engine)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFingerprintSeesEveryField changes each field of the spec in turn.
func TestFingerprintSeesEveryField(t *testing.T) {
	base := preset(t, "imagenet")
	seen := []string{base.Fingerprint("a"), base.Fingerprint("b")}
	var visit func(v reflect.Value, s *Spec)
	visit = func(v reflect.Value, s *Spec) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch v.Kind() {
		case reflect.Struct:
			if roi, ok := v.Addr().Interface().(*ROI); ok {
				*roi = ROI{X: 0.25, Y: 0.25, W: 0.5, H: 0.5, Fraction: true}
				seen = append(seen, s.Fingerprint("a"))
				*roi = ROI{X: 1, Y: 2, W: 3, H: 4}
			}
			for i := range v.NumField() {
				if v.Type() != reflect.TypeFor[ROI]() || i < v.NumField()-1 {
					visit(v.Field(i), s)
				}
			}
			v.Set(old)
			return
		case reflect.Array:
			for i := range v.Len() {
				visit(v.Index(i), s)
			}
			return
		case reflect.Int:
			v.SetInt(v.Int() + 1)
		case reflect.Uint8:
			v.SetUint(v.Uint() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.5)
		case reflect.String:
			v.SetString("other")
		default:
			t.Fatalf("teach the test about %v", v.Kind())
		}
		seen = append(seen, s.Fingerprint("a"))
		v.Set(old)
	}
	s := base
	for i := range reflect.TypeFor[Spec]().NumField() {
		visit(reflect.ValueOf(&s).Elem().Field(i), &s)
	}
	if s != base {
		t.Fatal("the test left a change behind")
	}
	slices.Sort(seen)
	if distinct := len(slices.Compact(slices.Clone(seen))); distinct != len(seen) {
		t.Errorf("%d specs have only %d fingerprints", len(seen), distinct)
	}
}

func TestDecodeError(t *testing.T) {
	cause := fmt.Errorf("it ends")
	err := &DecodeError{Reason: ReasonTruncated, Err: cause}
	if err.Error() != "undecodable (truncated): it ends" || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}
