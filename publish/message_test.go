package publish_test

import (
	"image"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// tensor returns a tensor of a preset at the given size.
func tensor(t testing.TB, preset string, change func(*transform.Spec)) *transform.Tensor {
	t.Helper()
	spec, err := transform.Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	spec.Width, spec.Height = 6, 4
	if change != nil {
		change(&spec)
	}
	c := spec.Color.Channels()
	shape := []int{1, c, spec.Height, spec.Width}
	if spec.Layout == transform.NHWC {
		shape = []int{1, spec.Height, spec.Width, c}
	}
	slot := time.Date(2026, 1, 2, 3, 4, 5, 200e6, time.UTC)
	return &transform.Tensor{
		Stream: "front-door", Slot: source.SlotAt(slot), Capture: slot.Add(7 * time.Millisecond),
		Output: &transform.Output{Name: "detector", Spec: spec, Fingerprint: "3f2a"},
		Shape:  shape, Source: image.Pt(1920, 1080),
		Affines: []transform.Affine{{3, 0, 0, 0, 3, -420}},
		Data:    make([]byte, spec.Width*spec.Height*c*spec.DType.Size()),
	}
}

func TestNewMessageHeaders(t *testing.T) {
	tests := map[string]struct {
		tensor *transform.Tensor
		want   map[string]string // beside those that all have
	}{
		"yolo": {
			tensor(t, "yolo", nil),
			map[string]string{
				"Cvf-Dtype": "FP32", "Cvf-Shape": "1,3,4,6", "Cvf-Layout": "NCHW", "Cvf-Color": "RGB",
				"Cvf-Scale": "0.00392156862745098", "Cvf-Mean": "0,0,0", "Cvf-Std": "1,1,1",
			},
		},
		"imagenet, half, bgr": {
			tensor(t, "imagenet", func(s *transform.Spec) { s.DType, s.Color = transform.Float16, transform.BGR }),
			map[string]string{
				"Cvf-Dtype": "FP16", "Cvf-Shape": "1,3,4,6", "Cvf-Layout": "NCHW", "Cvf-Color": "BGR",
				"Cvf-Scale": "0.00392156862745098", "Cvf-Mean": "0.485,0.456,0.406", "Cvf-Std": "0.229,0.224,0.225",
			},
		},
		"raw gray": {
			tensor(t, "raw", func(s *transform.Spec) { s.Color = transform.Gray }),
			map[string]string{
				"Cvf-Dtype": "UINT8", "Cvf-Shape": "1,4,6,1", "Cvf-Layout": "NHWC", "Cvf-Color": "GRAY",
				"Cvf-Scale": "1", "Cvf-Mean": "0", "Cvf-Std": "1", "Cvf-Normalized": "false",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := map[string][]string{
				"Cvf-Version": {"1"},
				"Cvf-Stream":  {"front-door"}, "Cvf-Output": {"detector"},
				"Cvf-Time": {"2026-01-02T03:04:05.200Z"}, "Cvf-Capture": {"2026-01-02T03:04:05.207Z"},
				"Cvf-Source": {"1920x1080"}, "Cvf-Affine": {"3,0,0,0,3,-420"}, "Cvf-Spec": {"3f2a"},
				"Nats-Msg-Id": {"front-door/1767323045200/detector/3f2a"},
			}
			for k, v := range tt.want {
				want[k] = []string{v}
			}
			m := publish.NewMessage("cvf.t.front-door.detector", tt.tensor)
			if diff := cmp.Diff(want, m.Header); diff != "" {
				t.Error(diff)
			}
			if m.Subject != "cvf.t.front-door.detector" || &m.Data[0] != &tt.tensor.Data[0] {
				t.Error("subject or data is not what was given")
			}
		})
	}
}

func TestNumbersReadBackExactly(t *testing.T) {
	x := tensor(t, "yolo", func(s *transform.Spec) { s.Mean = [3]float64{0.1, 1.0 / 3, 1e-300} })
	x.Affines = []transform.Affine{{math.Pi, -1e21, 5e-324, math.MaxFloat64, 0.1 + 0.2, 2}}
	e, err := publish.ParseEnvelope(publish.NewMessage("s", x).Header)
	if err != nil {
		t.Fatal(err)
	}
	if e.Affine != x.Affines[0] || e.Scale != 1.0/255 || e.Mean[1] != 1.0/3 || e.Mean[2] != 1e-300 {
		t.Errorf("got %v %v %v", e.Affine, e.Scale, e.Mean)
	}
}

func TestNamesCannotForgeHeaders(t *testing.T) {
	x := tensor(t, "yolo", nil)
	x.Stream, x.Output.Name = "a\r\nCvf-Scale: 7", " padded "
	m := publish.NewMessage("s", x)
	for name, values := range m.Header {
		if strings.ContainsAny(values[0], "\r\n") || strings.TrimSpace(values[0]) != values[0] {
			t.Errorf("%s: %q", name, values[0])
		}
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	if e.Stream != "a__Cvf-Scale: 7" || e.Output != "_padded_" {
		t.Errorf("got %q %q", e.Stream, e.Output)
	}
}

func TestMessageIDIsUnique(t *testing.T) {
	names := []string{"", "a", "a/", "/a", "a/1", "1", "1/a", "a%2F", "%", "a.b", "a b", "ä", "\n"}
	seen := map[string]string{}
	for _, stream := range names {
		for slot := range source.Slot(2) {
			for _, output := range names {
				for _, spec := range names {
					id := publish.MessageID(stream, slot, output, spec)
					tuple := strings.Join([]string{strconv.Quote(stream), slot.String(), strconv.Quote(output), strconv.Quote(spec)}, ",")
					if other, taken := seen[id]; taken {
						t.Fatalf("%s and %s have the id %s", other, tuple, id)
					}
					seen[id] = tuple
				}
			}
		}
	}
}

func TestSize(t *testing.T) {
	m := publish.Message{Data: make([]byte, 10)}
	if got := publish.Size(m); got != 10 {
		t.Errorf("without headers: %d", got)
	}
	m.Header = map[string][]string{"A": {"bc"}, "De": {" f ", ""}}
	const block = "NATS/1.0\r\n" + "A: bc\r\n" + "De: f\r\n" + "De: \r\n" + "\r\n"
	if got := publish.Size(m); got != 10+len(block) {
		t.Errorf("got %d, want %d", got, 10+len(block))
	}
}

func TestSizeErrorNamesNumbersAndWaysOut(t *testing.T) {
	if err := publish.CheckSize(100, 100); err != nil {
		t.Error(err)
	}
	text := publish.CheckSize(4_915_800, 1<<20).Error()
	for _, want := range []string{"4915800", "1048576", "max_payload to at least 4915800", "float16", "uint8", "smaller size"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	if text := publish.CheckSize(65<<20, 1<<20).Error(); strings.Contains(text, "at least") {
		t.Errorf("%q proposes what no server allows", text)
	}
}
