package publish_test

import (
	"image"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestParseEnvelope(t *testing.T) {
	x := tensor(t, "raw", func(s *transform.Spec) { s.Mean, s.Std = [3]float64{1, 2, 3}, [3]float64{4, 5, 6} })
	h := publish.NewMessage("s", x).Header
	h[publish.HeaderSince] = []string{"2026-01-02T03:03:55.200Z"}
	got, err := publish.ParseEnvelope(h)
	if err != nil {
		t.Fatal(err)
	}
	want := publish.Envelope{
		Stream: "front-door", Output: "detector",
		Time:    time.Date(2026, 1, 2, 3, 4, 5, 200e6, time.UTC),
		Capture: time.Date(2026, 1, 2, 3, 4, 5, 207e6, time.UTC),
		Since:   time.Date(2026, 1, 2, 3, 3, 55, 200e6, time.UTC),
		DType:   transform.Uint8, Shape: []int{1, 4, 6, 3}, Layout: transform.NHWC, Color: transform.RGB,
		Source: image.Pt(1920, 1080), Affine: transform.Affine{3, 0, 0, 0, 3, -420},
		Affines: []transform.Affine{{3, 0, 0, 0, 3, -420}},
		Scale:   1, Mean: []float64{1, 2, 3}, Std: []float64{4, 5, 6}, Normalized: false, Spec: "3f2a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Width() != 6 || got.Height() != 4 {
		t.Errorf("%dx%d", got.Width(), got.Height())
	}
}

func TestEnvelopeOfQuantized(t *testing.T) {
	h := publish.NewMessage("s", tensor(t, "yolo", func(s *transform.Spec) {
		s.DType, s.QuantScale, s.QuantZeroPoint = transform.Int8, 0.0078125, -128
	})).Header
	e, err := publish.ParseEnvelope(h)
	if err != nil || e.DType != transform.Int8 || e.QuantScale != 0.0078125 || e.QuantZeroPoint != -128 || !e.Normalized {
		t.Errorf("%+v, %v", e, err)
	}
	for _, tt := range []struct{ name, value string }{
		{"Cvf-Quant-Scale", "0"},
		{"Cvf-Quant-Scale", "-1"},
		{"Cvf-Quant-Scale", "x"},
		{"Cvf-Quant-Zero-Point", ""},
		{"Cvf-Quant-Zero-Point", "0.5"},
		{"Cvf-Quant-Zero-Point", "300"},
		{"Cvf-Dtype", "FP32"},
	} {
		changed := maps.Clone(h)
		changed[tt.name] = []string{tt.value}
		if tt.name == "Cvf-Dtype" {
			changed["Cvf-Shape"] = []string{"1,3,1,1"}
		}
		if _, err := publish.ParseEnvelope(changed); err == nil || !strings.Contains(err.Error(), "Cvf-Quant-") {
			t.Errorf("%s %q: %v", tt.name, tt.value, err)
		}
	}
}

func TestEnvelopeCheck(t *testing.T) {
	for _, preset := range []string{"yolo", "imagenet", "raw"} {
		x := tensor(t, preset, nil)
		e, err := publish.ParseEnvelope(publish.NewMessage("s", x).Header)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Check(len(x.Data)); err != nil {
			t.Errorf("%s: %v", preset, err)
		}
		for _, n := range []int{0, len(x.Data) - 1, len(x.Data) + 1} {
			if e.Check(n) == nil {
				t.Errorf("%s: %d bytes instead of %d are taken", preset, n, len(x.Data))
			}
		}
	}
	if err := (publish.Envelope{}).Check(1); err == nil {
		t.Error("the zero value takes a payload")
	}
}

func TestParseEnvelopeErrors(t *testing.T) {
	valid := publish.NewMessage("s", tensor(t, "yolo", nil)).Header
	for name := range valid {
		if name == publish.HeaderMsgID {
			continue // for the server, not for consumers
		}
		for _, values := range [][]string{nil, {}, {""}, {"1", "1"}, {strings.Repeat("1", 2000)}} {
			h := maps.Clone(valid)
			h[name] = values
			if _, err := publish.ParseEnvelope(h); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %.20q: error %v does not name the header", name, values, err)
			}
		}
	}
	for _, tt := range []struct{ name, value string }{
		{"Cvf-Version", "2"},
		{"Cvf-Time", "2026-01-02 03:04:05"},
		{"Cvf-Capture", "now"},
		{"Cvf-Since", "long ago"},
		{"Cvf-Dtype", "float32"},
		{"Cvf-Shape", "1,3,640"},
		{"Cvf-Shape", "1,3,640,640,1"},
		{"Cvf-Shape", "1,3,-640,640"},
		{"Cvf-Shape", "1,3,0,640"},
		{"Cvf-Shape", "1,3,640,0x10"},
		{"Cvf-Shape", "1,3,65537,1"},
		{"Cvf-Shape", "1,3,65536,65536"},
		{"Cvf-Shape", "1,3,99999999999999999999,1"},
		{"Cvf-Shape", "2000,3,4,6"},
		{"Cvf-Shape", "1,4,6,3"}, // NHWC under NCHW
		{"Cvf-Shape", "1,1,4,6"},
		{"Cvf-Layout", "nchw"},
		{"Cvf-Color", "YUV"},
		{"Cvf-Source", "1920"},
		{"Cvf-Source", "1920x0"},
		{"Cvf-Affine", "1,0,0,0,1"},
		{"Cvf-Affine", "1,0,0,0,1,NaN"},
		{"Cvf-Affine", "1,0,0,0,1,0;"},
		{"Cvf-Affine", "1,0,0,0,1,0;1,0,0,0,1,0"},
		{"Cvf-Scale", "0"},
		{"Cvf-Scale", "1/255"},
		{"Cvf-Scale", "Inf"},
		{"Cvf-Mean", "0"},
		{"Cvf-Std", "1,0,1"},
		{"Cvf-Std", "1,1,1e999"},
		{"Cvf-Normalized", "no"},
	} {
		h := maps.Clone(valid)
		h[tt.name] = []string{tt.value}
		if _, err := publish.ParseEnvelope(h); err == nil || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s %q: error %v does not name the header", tt.name, tt.value, err)
		}
	}
}

func FuzzParseEnvelope(f *testing.F) {
	for _, preset := range []string{"yolo", "imagenet", "raw"} {
		m := publish.NewMessage("s", tensor(f, preset, nil))
		f.Add(block(m.Header), len(m.Data))
	}
	f.Fuzz(func(t *testing.T, headers string, n int) {
		h := map[string][]string{}
		for line := range strings.SplitSeq(headers, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			h[name] = append(h[name], value)
		}
		e, err := publish.ParseEnvelope(h)
		if err != nil {
			return
		}
		size := e.Bytes()
		if size < 1 || size > 1<<30 || e.Scale == 0 || len(e.Mean) != len(e.Std) || len(e.Mean) != e.Color.Channels() {
			t.Errorf("impossible envelope %+v", e)
		}
		if (e.Check(n) == nil) != (int64(n) == size) {
			t.Errorf("%d bytes for %v", n, e.Shape)
		}
	})
}

// block joins headers as FuzzParseEnvelope splits them.
func block(h map[string][]string) string {
	var b strings.Builder
	for name, values := range h {
		b.WriteString(name + ": " + values[0] + "\n")
	}
	return b.String()
}

// TestTiles: a tensor of several pictures has a map for each of them.
func TestTiles(t *testing.T) {
	x := tensor(t, "none", nil)
	x.Shape = []int{2, 3, 4, 6}
	x.Affines = []transform.Affine{{3, 0, 0, 0, 3, 0}, {3, 0, 18.5, 0, 3, -1e-7}}
	x.Data = make([]byte, 2*3*4*6*4)
	m := publish.NewMessage("a", x)
	if got := m.Header[publish.HeaderAffine][0]; got != "3,0,0,0,3,0;3,0,18.5,0,3,-1e-07" {
		t.Errorf("the maps are %q", got)
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.Affines, e.Affines); diff != "" || e.Affine != x.Affines[0] || e.Pictures() != 2 {
		t.Errorf("%d pictures, maps (-want +got):\n%s", e.Pictures(), diff)
	}
	if e.Check(2*3*4*6*4) != nil || e.Check(3*4*6*4) == nil {
		t.Errorf("%d bytes are needed", e.Bytes())
	}
}

// TestPictures: an encoded picture is described by what it is, and not by what a tensor has.
func TestPictures(t *testing.T) {
	x := tensor(t, "none", nil)
	x.ContentType, x.Shape, x.Data = transform.TypeJPEG, []int{720, 1280, 3}, make([]byte, 83211)
	m := publish.NewMessage("a", x)
	for _, name := range []string{publish.HeaderDType, publish.HeaderLayout, publish.HeaderScale, publish.HeaderMean, publish.HeaderStd} {
		if m.Header[name] != nil {
			t.Errorf("it has %s", name)
		}
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	want := publish.Envelope{
		ContentType: "image/jpeg", Length: 83211, Stream: "front-door", Output: "detector",
		Time: x.Slot.Time(), Capture: x.Capture, Shape: []int{720, 1280, 3}, Color: transform.RGB,
		Source: image.Pt(1920, 1080), Affine: x.Affines[0], Affines: x.Affines, Spec: "3f2a",
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e.Width() != 1280 || e.Height() != 720 || e.Pictures() != 1 || e.Bytes() != 83211 || e.Check(83210) == nil {
		t.Errorf("%d pictures of %dx%d with %d bytes", e.Pictures(), e.Width(), e.Height(), e.Bytes())
	}
	for name, value := range map[string]string{
		publish.HeaderType: "text/html", publish.HeaderLength: "0", publish.HeaderShape: "1,3,720,1280", publish.HeaderColor: "GRAY",
	} {
		h := maps.Clone(m.Header)
		h[name] = []string{value}
		if _, err := publish.ParseEnvelope(h); err == nil || !strings.Contains(err.Error(), name) && name != publish.HeaderColor {
			t.Errorf("%s %q: %v", name, value, err)
		}
	}
	var joiner publish.Joiner
	parts, err := publish.Split(m, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range parts {
		whole, ok, err := joiner.Add(part)
		if err != nil || ok != (i == len(parts)-1) {
			t.Fatalf("part %d of %d: %v, %v", i, len(parts), ok, err)
		}
		if ok {
			if diff := cmp.Diff(m.Header, whole.Header); diff != "" || len(whole.Data) != 83211 {
				t.Errorf("%d bytes, headers (-want +got):\n%s", len(whole.Data), diff)
			}
		}
	}
}

// TestClips: a clip has a slot for each frame, one map for all, and a shape of five axes.
func TestClips(t *testing.T) {
	x := tensor(t, "none", nil)
	x.Output.Spec.Layout, x.Output.Spec.Clip = transform.NCTHW, transform.Clip{Frames: 2}
	x.Shape, x.Data = []int{1, 3, 2, 4, 6}, make([]byte, 3*2*4*6*4)
	x.Clip = []transform.ClipFrame{{Slot: x.Slot - 200, Missing: transform.MissingRepeat}, {Slot: x.Slot}}
	m := publish.NewMessage("a", x)
	if got := m.Header[publish.HeaderClip][0]; got != "2026-01-02T03:04:05.000Z!repeat,2026-01-02T03:04:05.200Z" {
		t.Errorf("the frames are %q", got)
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.Clip, e.Clip); diff != "" || e.Pictures() != 2 || e.Width() != 6 || e.Height() != 4 || e.Check(len(x.Data)) != nil {
		t.Errorf("%d frames of %dx%d, %d bytes, frames (-want +got):\n%s", e.Pictures(), e.Width(), e.Height(), e.Bytes(), diff)
	}
	for name, value := range map[string]string{
		publish.HeaderShape: "1,3,3,4,6", publish.HeaderLayout: "NTCHW", publish.HeaderClip: "2026-01-02T03:04:05.000Z!blue,2026-01-02T03:04:05.200Z",
	} {
		h := maps.Clone(m.Header)
		h[name] = []string{value}
		if _, err := publish.ParseEnvelope(h); err == nil {
			t.Errorf("%s %q is accepted", name, value)
		}
	}
}
