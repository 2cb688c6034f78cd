package opencv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	fidelityTable = "testdata/fidelity.md"
	fidelityDoc   = "../../docs/fidelity.md"
)

// A fidelityCase is an entry of the cases.json that testdata/fidelity.py writes.
type fidelityCase struct {
	Row, Reference, Picture string
	Output                  goldenOutput
}

// A fidelityRow is a row of the table: all pictures of one preset and reference.
type fidelityRow struct {
	name, reference  string
	pictures         map[string]bool
	pixels, differ   int
	largest, element float64 // of 255, and as the tensor has it
	squares          float64 // sum over the values, of 255
	speedup          float64 // 0: not measured
}

// add compares two tensors of the same picture and spec.
func (r *fidelityRow) add(s *transform.Spec, want, got []float64) {
	channels := s.Color.Channels()
	n := len(got) / channels
	differs := make([]bool, n)
	for i := range got {
		channel, pixel := i/n, i%n
		if s.Layout == transform.NHWC {
			channel, pixel = i%channels, i/channels
		}
		value := func(v float64) float64 {
			if s.DType == transform.Uint8 {
				return v
			}
			return math.Round((v*s.Std[channel] + s.Mean[channel]) / s.Scale)
		}
		r.element = max(r.element, math.Abs(want[i]-got[i]))
		d := math.Abs(value(want[i]) - value(got[i]))
		if s.ResizesFloats() && math.Abs((want[i]-got[i])*s.Std[channel]/s.Scale) < 0.5 {
			d = 0 // there are values between pixels
		}
		if d > 0 {
			differs[pixel] = true
			r.largest = max(r.largest, d)
			r.squares += d * d
		}
	}
	r.pixels += n
	for _, d := range differs {
		if d {
			r.differ++
		}
	}
}

func (r *fidelityRow) share() float64 { return float64(r.differ) / float64(r.pixels) }

func (r *fidelityRow) String() string {
	share, psnr, speedup := "none", "", ""
	if r.differ > 0 {
		share = fmt.Sprintf("%.2g%%", 100*r.share())
		psnr = fmt.Sprintf("%.0f dB", 10*math.Log10(255*255/(r.squares/float64(3*r.pixels))))
	}
	if r.speedup > 0 {
		speedup = fmt.Sprintf("%.1f×", r.speedup)
	}
	return fmt.Sprintf("| %s | %s | %d | %s | %.0f | %.1g | %s | %s |\n",
		r.name, r.reference, len(r.pictures), share, r.largest, r.element, psnr, speedup)
}

// TestFidelity compares tensors with those that testdata/fidelity.py has written to the
// directory that CVFEEDER_FIDELITY names, and writes the table, also to
// docs/fidelity.md: "make fidelity".
func TestFidelity(t *testing.T) {
	directory := os.Getenv("CVFEEDER_FIDELITY")
	if directory == "" {
		t.Skip("needs the reference libraries: `make fidelity`")
	}
	rows := compareReferences(t, directory)
	for _, r := range rows {
		switch {
		case strings.HasPrefix(r.reference, "CLIPImageProcessor "):
			// It uses PyTorch's resampling, which rounds differently. The table shows how much.
		case strings.HasPrefix(r.name, "mediapipe-"):
			// It samples at the corners of pixels, as the reference of the row says.
		case strings.HasPrefix(r.name, "resize: opencv") || strings.HasPrefix(r.name, "yolo") || strings.HasPrefix(r.name, "rtdetr-"):
			if r.largest > 1 || r.share() > 0.001 {
				t.Errorf("more than 1 in 0.1%% of the pixels: %v", r)
			}
		case r.differ > 0:
			t.Errorf("not exact: %v", r)
		}
	}
	rows = append(rows, compareFast(t, filepath.Join(directory, "pictures"))...)
	var table strings.Builder
	table.WriteString("| what | reference | pictures | pixels that differ | by at most, of 255 | in the tensor | PSNR | speed-up |\n" +
		"|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		table.WriteString(r.String())
	}
	fmt.Print(table.String())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(fidelityTable, table.String())
	before, _, after := cutTable(t)
	write(fidelityDoc, before+table.String()+after)
}

// compareReferences compares every case, in the order of the file.
func compareReferences(t *testing.T, directory string) []*fidelityRow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(directory, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []fidelityCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	d := newDecoders(t, Options{})
	var rows []*fidelityRow
	for i, c := range cases {
		at := slices.IndexFunc(rows, func(r *fidelityRow) bool { return r.name == c.Row && r.reference == c.Reference })
		if at < 0 {
			at = len(rows)
			rows = append(rows, &fidelityRow{name: c.Row, reference: c.Reference, pictures: map[string]bool{}})
		}
		npy, err := os.ReadFile(filepath.Join(directory, fmt.Sprintf("%d.npy", i)))
		if err != nil {
			t.Fatal(err)
		}
		want, err := parseNPY(npy)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := os.ReadFile(c.Picture)
		if err != nil {
			t.Fatal(err)
		}
		spec := c.Output.spec(t)
		got, plain := makeTensor(t, d.rows, picture, spec), makeTensor(t, d.plain, picture, spec)
		if !bytes.Equal(got.Data, plain.Data) {
			t.Errorf("%+v: another tensor without the row decoder", c)
		}
		plain.Release()
		if !slices.Equal(got.Shape, want.shape) {
			t.Errorf("%+v: shape %v, want %v", c, got.Shape, want.shape)
			continue
		}
		rows[at].add(&spec, want.elements(t), array{descr: want.descr, data: got.Data}.elements(t))
		rows[at].pictures[c.Picture] = true
		got.Release()
	}
	return rows
}

// compareFast compares the scaled decode with the exact one, and their speeds.
func compareFast(t *testing.T, pictures string) []*fidelityRow {
	t.Helper()
	w := NewWorker(Options{})
	defer w.Close()
	var rows []*fidelityRow
	for _, preset := range []string{"yolo", "imagenet", "clip"} {
		for _, picture := range []string{"1280x720.jpg", "1920x1080.jpg", "2304x1296.jpg"} {
			data, err := os.ReadFile(filepath.Join(pictures, picture))
			if err != nil {
				t.Fatal(err)
			}
			exact := newOutput(t, preset, nil)
			fast := newOutput(t, preset, func(s *transform.Spec) { s.Decode = transform.DecodeFast })
			size, _, _ := strings.Cut(picture, ".")
			width, height, err := transform.ParseSize(size)
			if err != nil {
				t.Fatal(err)
			}
			r := &fidelityRow{
				name:      fmt.Sprintf("%s, `decode: fast` of %s at %d/8", preset, size, eighths(image.Pt(width, height), []*transform.Output{fast})),
				reference: "`decode: exact`", pictures: map[string]bool{picture: true},
			}
			a, b := makeTensor(t, w, data, exact.Spec), makeTensor(t, w, data, fast.Spec)
			r.add(&exact.Spec, floats32(a.Data), floats32(b.Data))
			least := [2]time.Duration{math.MaxInt64, math.MaxInt64} // other programs slow down some turns
			for range 50 {
				for i, o := range []*transform.Output{exact, fast} {
					least[i] = min(least[i], timed(func() { makeTensor(t, w, data, o.Spec).Release() }))
				}
			}
			r.speedup = float64(least[0]) / float64(least[1])
			rows = append(rows, r)
		}
	}
	return rows
}

// cutTable returns docs/fidelity.md in three parts: up to the table, the table, and the rest.
func cutTable(t *testing.T) (before, table, after string) {
	t.Helper()
	const begin, end = "<!-- fidelity: made by make fidelity -->\n", "<!-- end of fidelity -->\n"
	text, err := os.ReadFile(fidelityDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(text), begin)
	table, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("docs/fidelity.md does not have the markers %q and %q", begin, end)
	}
	return before + begin, table, end + after
}

// TestManualShowsFidelity: docs/fidelity.md shows the table that was measured last, and
// the table names the versions that are pinned.
func TestManualShowsFidelity(t *testing.T) {
	want, err := os.ReadFile(fidelityTable)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := cutTable(t); got != string(want) {
		t.Error("docs/fidelity.md does not show testdata/fidelity.md as it is: run `make fidelity`")
	}
	for _, name := range []string{"requirements.in", "requirements-fidelity.in", "requirements-nodeps.in"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^([\w-]+)==(\S+)$`).FindAllStringSubmatch(string(text), -1) {
			named := strings.Contains(string(want), m[1]+" "+m[2])
			if !named && m[1] != "numpy" && m[1] != "torch" { // the others are built on them
				t.Errorf("testdata/fidelity.md does not name %s %s of %s: run `make fidelity`", m[1], m[2], name)
			}
		}
	}
}
