package opencv

import (
	"bytes"
	"encoding/json"
	"image"
	imagepng "image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A lensCase is a lens and a picture, as testdata/lens.py reads them.
type lensCase struct {
	Model      transform.LensModel `json:"model"`
	Source     [2]int              `json:"source"`
	Size       [2]int              `json:"size"`
	Matrix     [4]float64          `json:"matrix"`
	New        [4]float64          `json:"new"`
	Distortion []float64           `json:"distortion"`
	Plane      [9]float64          `json:"plane"`
	Pixels     []byte              `json:"pixels"`
	Points     [][2]float64        `json:"points"`
}

func lensCases(rng *rand.Rand) (all []lensCase) {
	near := func(v float64) float64 { return v * (1 + 0.1*(rng.Float64()-0.5)) }
	for i := range 24 {
		w, h := 24+rng.IntN(40), 20+rng.IntN(30)
		c := lensCase{Source: [2]int{w, h}, Size: [2]int{w, h}, Distortion: []float64{}}
		f := float64(w) * (0.5 + rng.Float64())
		c.Matrix = [4]float64{near(f), near(f), near(float64(w) / 2), near(float64(h) / 2)}
		c.New = [4]float64{near(0.8 * f), near(0.8 * f), near(float64(w) / 2), near(float64(h) / 2)}
		switch i % 3 {
		case 0:
			c.Model = transform.Pinhole
			for _, most := range []float64{0.4, 0.2, 0.01, 0.01, 0.1, 0.1, 0.05, 0.02}[:[]int{4, 5, 8}[i/3%3]] {
				c.Distortion = append(c.Distortion, most*(2*rng.Float64()-1))
			}
		case 1:
			c.Model = transform.Fisheye
			for _, most := range []float64{0.1, 0.05, 0.02, 0.01} {
				c.Distortion = append(c.Distortion, most*(2*rng.Float64()-1))
			}
		default:
			c.Model, c.Size = transform.Homography, [2]int{24 + rng.IntN(40), 20 + rng.IntN(30)}
			c.Plane = [9]float64{
				near(1), 0.2 * (rng.Float64() - 0.5), 20 * (rng.Float64() - 0.5),
				0.2 * (rng.Float64() - 0.5), near(1), 20 * (rng.Float64() - 0.5),
				0.01 * (rng.Float64() - 0.5), 0.01 * (rng.Float64() - 0.5), 1,
			}
		}
		c.Pixels = make([]byte, 3*w*h)
		for i := range c.Pixels {
			c.Pixels[i] = uint8(rng.Uint32())
		}
		for range 20 {
			c.Points = append(c.Points, [2]float64{float64(rng.IntN(c.Size[0])), float64(rng.IntN(c.Size[1]))})
		}
		all = append(all, c)
	}
	return all
}

// lens returns the lens of a case, as if it had been calibrated with pictures n times as large.
func (c *lensCase) lens(n int) *transform.Lens {
	larger := func(m [4]float64) [4]float64 {
		k := float64(n)
		return [4]float64{m[0] * k, m[1] * k, (m[2]+0.5)*k - 0.5, (m[3]+0.5)*k - 0.5}
	}
	l := &transform.Lens{
		Model: c.Model, Size: image.Pt(n*c.Source[0], n*c.Source[1]), Distortion: c.Distortion,
		Plane: c.Plane, Output: image.Pt(c.Size[0], c.Size[1]),
	}
	if c.Model != transform.Homography {
		l.Matrix, l.New, l.Output = larger(c.Matrix), larger(c.New), image.Point{}
	}
	return l
}

// png returns the picture.
func (c *lensCase) png(t *testing.T) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, c.Source[0], c.Source[1]))
	for i := range len(c.Pixels) / 3 {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = c.Pixels[3*i+2], c.Pixels[3*i+1], c.Pixels[3*i], 255
	}
	var b bytes.Buffer
	if err := imagepng.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A lensAnswer is what cv2 makes of a case: the rectified pixels, and the sources of the points.
type lensAnswer struct {
	Pixels []byte       `json:"pixels"`
	Points [][2]float64 `json:"points"`
}

// lensAnswers returns what cv2 4 made of the cases. If CVFEEDER_LENS_PYTHON names a Python that has
// it, it is asked again.
func lensAnswers(t *testing.T, cases []lensCase) (answers []lensAnswer) {
	t.Helper()
	const file = "testdata/lens.json"
	if python := os.Getenv("CVFEEDER_LENS_PYTHON"); python != "" {
		in, err := json.Marshal(cases)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), python, "testdata/lens.py")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answers); err != nil || len(answers) != len(cases) {
		t.Fatal(err, len(answers))
	}
	return answers
}

// TestLensIsOpenCVs: rectified pictures are those of cv2.initUndistortRectifyMap and cv2.remap, of
// cv2.fisheye, and of cv2.warpPerspective; and points map to the source as cv2 says.
func TestLensIsOpenCVs(t *testing.T) {
	cases := lensCases(rand.New(rand.NewPCG(1, 9)))
	answers := lensAnswers(t, cases)
	d := newDecoders(t, Options{})
	raw := newOutput(t, "raw", func(s *transform.Spec) { s.Color = transform.BGR })
	differ, all := 0, 0
	for i, c := range cases {
		camera := &transform.Camera{Lens: c.lens(1)}
		if err := camera.Lens.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, w := range []*Worker{d.rows, d.whole, d.plain} {
			got := seen(w, c.png(t), camera, []*transform.Output{raw})[0]
			if len(got.data) != len(answers[i].Pixels) {
				t.Fatalf("%s: %d bytes, want %d: %s", c.Model, len(got.data), len(answers[i].Pixels), got.err)
			}
			for k, v := range got.data {
				all++
				if by := int(v) - int(answers[i].Pixels[k]); by != 0 {
					differ++
					if by > 16 || by < -16 { // a 32nd of a pixel, of noise
						t.Errorf("%s: a value differs by %d", c.Model, by)
					}
				}
			}
		}
		r := camera.Rectified(image.Pt(c.Source[0], c.Source[1]))
		again, err := transform.ParseRectification(r.String())
		if err != nil {
			t.Fatal(err)
		}
		for k, p := range c.Points {
			x, y := again.ToSource(p[0]+0.5, p[1]+0.5)
			want := answers[i].Points[k]
			if math.Hypot(x-0.5-want[0], y-0.5-want[1]) > 0.01 {
				t.Errorf("%s: %v is shown at %v, %v, want %v", c.Model, p, x, y, want)
			}
		}
	}
	t.Logf("%d of %d values differ", differ, all)
	if differ*100000 > all { // other versions of OpenCV may round otherwise
		t.Errorf("%d of %d values differ", differ, all)
	}
}

// TestLensIsScaled: a lens that was calibrated with pictures of another size makes the same of
// these.
func TestLensIsScaled(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	raw := newOutput(t, "raw", nil)
	for _, c := range lensCases(rand.New(rand.NewPCG(2, 9))) {
		if c.Model == transform.Homography {
			continue
		}
		one := seen(w, c.png(t), &transform.Camera{Lens: c.lens(1)}, []*transform.Output{raw})[0]
		two := seen(w, c.png(t), &transform.Camera{Lens: c.lens(2)}, []*transform.Output{raw})[0]
		if differ := differences(one.data, two.data); differ*1000 > len(one.data) || one.err != "" {
			t.Errorf("%s: %d of %d differ %s", c.Model, differ, len(one.data), one.err)
		}
	}
}

func differences(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// TestRectifiedIsAsASource: what is made of a rectified picture is what is made of that picture,
// whatever the output; and what is under masks is not in it.
func TestRectifiedIsAsASource(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	d := newDecoders(t, Options{})
	raw := newOutput(t, "raw", nil)
	for _, c := range lensCases(rng) {
		camera := &transform.Camera{Lens: c.lens(1), Masks: []transform.Mask{randomMask(rng)}}
		p := pixelPair(t, rng, camera, image.Pt(c.Source[0], c.Source[1]))
		shown := seen(d.rows, p.a, camera, []*transform.Output{raw})[0]
		m := image.NewNRGBA(image.Rect(0, 0, c.Size[0], c.Size[1]))
		for i := range len(shown.data) / 3 {
			copy(m.Pix[4*i:], append(bytes.Clone(shown.data[3*i:3*i+3]), 255))
		}
		var rectified bytes.Buffer
		if err := imagepng.Encode(&rectified, m); err != nil {
			t.Fatal(err)
		}
		outs := randomOutputs(rng, 90)
		want := results(d.plain, rectified.Bytes(), outs)
		for _, w := range []*Worker{d.rows, d.whole, d.plain} {
			a, b := seen(w, p.a, camera, outs), seen(w, p.b, camera, outs)
			for i := range outs {
				if !bytes.Equal(a[i].data, want[i].data) || a[i].err != want[i].err {
					t.Fatalf("%s, %s: %+v differs from that of the rectified picture: %s, %s", c.Model, p.kind, outs[i].Spec, a[i].err, want[i].err)
				}
				if !bytes.Equal(a[i].data, b[i].data) {
					t.Fatalf("%s, %s: %+v shows what is under the mask", c.Model, p.kind, outs[i].Spec)
				}
			}
		}
		if luma, size, err := d.rows.Luma(source.Frame{Data: p.a}, camera); err == nil {
			before, hidden := bytes.Clone(luma.Pix), camera.Hidden(size)
			other, _, err := d.rows.Luma(source.Frame{Data: p.b}, camera)
			if err != nil || size != image.Pt(c.Size[0], c.Size[1]) || len(hidden) != len(before) {
				t.Fatal(err, size, len(hidden), len(before))
			}
			for i := range before {
				if !hidden[i] && before[i] != other.Pix[i] {
					t.Fatalf("%s: a gate sees block %d", c.Model, i)
				}
			}
		}
		f := source.Frame{Data: p.a}
		compareMeasuredOf(t, p.kind, f, camera, outs)
	}
}
