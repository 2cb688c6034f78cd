package opencv

import (
	"bytes"
	"encoding/binary"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A pillowCase is a picture, what to make of it, and the part that is visible.
type pillowCase struct {
	spec transform.Spec
	from image.Point
	part image.Rectangle
	data []byte
}

// randomPillow returns a random case. Some sizes stay in one direction; some change by so much
// that Pillow begins with the columns.
func randomPillow(rng *rand.Rand) pillowCase {
	side := func() int { return 1 + rng.IntN(pick(rng, []int{4, 40, 200})) }
	c := pillowCase{from: image.Pt(side(), side())}
	c.spec.Width, c.spec.Height = side(), side()
	c.spec.Resize = pick(rng, []transform.Resize{transform.PillowBilinear, transform.PillowBicubic, transform.PillowLanczos})
	c.spec.Color = pick(rng, []transform.Color{transform.BGR, transform.Gray})
	switch rng.IntN(6) {
	case 0:
		c.spec.Width = c.from.X
	case 1:
		c.spec.Height = c.from.Y
	}
	x, y := rng.IntN(c.spec.Width), rng.IntN(c.spec.Height)
	c.part = image.Rect(x, y, x+1+rng.IntN(c.spec.Width-x), y+1+rng.IntN(c.spec.Height-y))
	c.data = make([]byte, c.from.X*c.from.Y*c.spec.Color.Channels())
	extreme := rng.IntN(3) == 0
	for i := range c.data {
		c.data[i] = uint8(rng.Uint32())
		if extreme {
			c.data[i] = -(c.data[i] & 1)
		}
	}
	return c
}

// geometry returns the geometry that makes the part.
func (c pillowCase) geometry() transform.Geometry {
	return transform.Geometry{
		Source: c.from, Region: image.Rectangle{Max: c.from}, Resized: image.Pt(c.spec.Width, c.spec.Height),
		Offset: image.Point{}.Sub(c.part.Min), Size: c.part.Size(),
	}
}

// TestPillow resizes random pictures as Pillow does, and with it.
func TestPillow(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with Pillow: `make test` makes one")
	}
	rng := rand.New(rand.NewPCG(13, 13))
	cases := make([]pillowCase, 600)
	var in, failure bytes.Buffer
	for i := range cases {
		c := randomPillow(rng)
		cases[i] = c
		how := map[transform.Resize]int32{transform.PillowLanczos: 1, transform.PillowBilinear: 2, transform.PillowBicubic: 3}[c.spec.Resize]
		for _, n := range []int{int(how), c.spec.Color.Channels(), c.from.X, c.from.Y, c.spec.Width, c.spec.Height} {
			_ = binary.Write(&in, binary.LittleEndian, int32(n)) // to memory
		}
		in.Write(c.data)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/pillow.py")
	cmd.Stdin, cmd.Stderr = &in, &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, failure.Bytes())
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, c := range cases {
		n := c.spec.Width * c.spec.Height * c.spec.Color.Channels()
		comparePillow(t, w, c, out[:n])
		out = out[n:]
	}
}

// comparePillow makes the part of a case, and compares it with all that Pillow made.
func comparePillow(t *testing.T, w *Worker, c pillowCase, want []byte) {
	t.Helper()
	channels, g := c.spec.Color.Channels(), c.geometry()
	src, err := w.pixels.picture(c.from, channels)
	if err != nil {
		t.Fatal(err)
	}
	copy(src.bytes(), c.data)
	p, err := w.feed(&w.rows, src, picture{}, []resizing{ownResizing(of{spec: &c.spec}, image.Rectangle{Max: g.Region.Size()}, g)})
	if err != nil {
		t.Fatal(err)
	}
	for y := range c.part.Dy() {
		at := ((c.part.Min.Y+y)*c.spec.Width + c.part.Min.X) * channels
		n := c.part.Dx() * channels
		if got := p.resized[0].bytes()[y*n:][:n]; !bytes.Equal(got, want[at:at+n]) {
			t.Fatalf("%v to %+v, part %v, row %d: %v, want %v", c.from, c.spec, c.part, y, got, want[at:at+n])
		}
	}
}
