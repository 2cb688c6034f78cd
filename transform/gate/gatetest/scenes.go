// Package gatetest draws scenes of which it is known what changes in them, to measure gates
// with.
package gatetest

import (
	"image"
	"math"
	"math/rand/v2"
	"time"
)

// The size of the pictures in pixels.
const (
	Width  = 640
	Height = 360
)

// A Scene is a camera's view in which it is known what happens.
type Scene struct {
	Name   string
	Frames int
	// Quiet says that nothing happens in it but noise and light.
	Quiet bool
	// Change is the share of the picture from which on a change is to be seen.
	Change float64
	// noise is the standard deviation of a pixel, in levels.
	noise float64
	// dark is what the brightness is multiplied by.
	dark  float64
	light func(i int) float64             // of all in frame i; nil for none
	bands func(i, y int) float64          // added to row y; nil for none
	boxes func(i int) []box               // what stands before the background
	sway  func(i int) (r image.Rectangle) // where leaves move; nil for none
}

// A box is somebody or something: of one brightness, with some texture.
type box struct {
	x, y   float64
	w, h   int
	bright float64
}

// Scenes returns all scenes.
func Scenes() []Scene {
	person := func(x, y float64, bright float64) box { return box{x, y, 56, 150, bright} }
	crossing := func(i int) []box {
		if i%100 < 30 || i%100 > 60 {
			return nil
		}
		return []box{person(float64(i%100-30)*24-60, 140, 30)}
	}
	return []Scene{
		{Name: "still", Frames: 600, Quiet: true, Change: 0.02, noise: 4},
		{Name: "night noise", Frames: 600, Quiet: true, Change: 0.02, noise: 14, dark: 0.25},
		{Name: "lighting drift", Frames: 600, Quiet: true, Change: 0.02, noise: 4, light: func(i int) float64 { return 1 + 0.3*math.Sin(float64(i)/95) }},
		{
			Name: "flicker", Frames: 600, Quiet: true, Change: 0.02, noise: 4,
			light: func(i int) float64 { return 1 + 0.04*math.Sin(float64(i)*2.4) },
			bands: func(i, y int) float64 { return 3 * math.Sin(float64(y)/30+float64(i)*1.9) },
		},
		{Name: "person crossing", Frames: 600, Change: 0.02, noise: 4, boxes: crossing},
		{Name: "person at night", Frames: 600, Change: 0.02, noise: 14, dark: 0.25, boxes: func(i int) []box {
			b := crossing(i)
			for k := range b {
				b[k].bright = 280 // lit by the camera: 70 of 255
			}
			return b
		}},
		{Name: "crossing in drift and flicker", Frames: 600, Change: 0.02, noise: 4, boxes: crossing, light: func(i int) float64 {
			return 1 + 0.25*math.Sin(float64(i)/95) + 0.03*math.Sin(float64(i)*2.4)
		}},
		{Name: "auto exposure", Frames: 600, Change: 0.02, noise: 4, boxes: crossing, light: func(i int) float64 {
			if n := i % 100; n >= 30 && n < 60 { // the camera answers to who enters
				return 1 + 0.18*min(1, float64(n-30)/5)
			}
			return 1
		}},
		{Name: "small mover", Frames: 600, Change: 0.002, noise: 4, boxes: func(i int) []box {
			return []box{{float64(i%60) * 12, 60 + 40*math.Sin(float64(i)/9), 26, 26, 220}}
		}},
		{Name: "slow mover", Frames: 600, Change: 0.01, noise: 4, boxes: func(i int) []box {
			return []box{{40 + float64(i)*0.6, 120, 60, 150, 35}}
		}},
		{Name: "parked car", Frames: 600, Change: 0.02, noise: 4, boxes: func(i int) []box {
			return []box{{min(250, -180+float64(i-60)*30), 170, 180, 90, 225}}
		}},
		{Name: "lamp", Frames: 400, Change: 0.02, noise: 4, light: func(i int) float64 {
			if i/100%2 == 1 {
				return 0.55
			}
			return 1
		}},
		{Name: "leaves in the wind", Frames: 600, Quiet: true, Change: 0.02, noise: 4, sway: func(int) image.Rectangle { return image.Rect(0, 0, 200, 120) }},
	}
}

// A Drawer draws the frames of a scene.
type Drawer struct {
	Scene
	rng        *rand.Rand
	grain      []float32
	background *image.Gray
}

// background draws what always is there.
func background() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, Width, Height))
	for y := range Height {
		for x := range Width {
			v := 110 + 45*math.Sin(float64(x)/47)*math.Cos(float64(y)/31)
			if (x/80+y/60)%3 == 0 {
				v += 40
			}
			m.Pix[y*Width+x] = uint8(v)
		}
	}
	return m
}

// Draw returns a drawer, whose noise is the same for the same seed.
func (s Scene) Draw(seed uint64) *Drawer {
	d := &Drawer{Scene: s, rng: rand.New(rand.NewPCG(seed, 77)), grain: make([]float32, 1<<17), background: background()}
	for i := range d.grain {
		d.grain[i] = float32(d.rng.NormFloat64())
	}
	return d
}

// Clean draws what is there in frame i, without noise and without the light.
func (d *Drawer) Clean(i int) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, Width, Height))
	copy(m.Pix, d.background.Pix)
	if d.boxes == nil {
		return m
	}
	for _, b := range d.boxes(i) {
		at := image.Rect(0, 0, b.w, b.h).Add(image.Pt(int(math.Round(b.x)), int(math.Round(b.y))))
		for y := max(0, at.Min.Y); y < min(Height, at.Max.Y); y++ {
			for x := max(0, at.Min.X); x < min(Width, at.Max.X); x++ {
				m.Pix[y*Width+x] = uint8(max(0, min(255, b.bright+8*math.Sin(float64(x-at.Min.X)/5)*math.Cos(float64(y-at.Min.Y)/7))))
			}
		}
	}
	return m
}

// Seen draws frame i as the camera sees it: what Clean draws, in its light, with noise.
func (d *Drawer) Seen(i int, clean *image.Gray) *image.Gray {
	m := image.NewGray(clean.Rect)
	light := 1.0
	if d.light != nil {
		light = d.light(i)
	}
	if d.dark > 0 {
		light *= d.dark
	}
	var leaves image.Rectangle
	if d.sway != nil {
		leaves = d.sway(i)
	}
	var levels [256]float32
	for v := range levels {
		levels[v] = float32(float64(v) * light)
	}
	for y := range Height {
		band := float32(0)
		if d.bands != nil {
			band = float32(d.bands(i, y))
		}
		grain := d.grain[d.rng.IntN(len(d.grain)-Width):]
		for x := range Width {
			v := levels[clean.Pix[y*Width+x]] + band + float32(d.noise)*grain[x]
			if image.Pt(x, y).In(leaves) {
				v += float32(10 * math.Sin(float64(i)*1.7+float64(x)/11) * math.Cos(float64(y)/9+float64(i)))
			}
			m.Pix[y*Width+x] = uint8(max(0, min(255, v+0.5)))
		}
	}
	return m
}

// Differs returns the share of the pixels that differ by what can be seen between two clean
// pictures.
func Differs(a, b *image.Gray) float64 {
	const visible = 20
	n := 0
	for i, v := range a.Pix {
		if d := int(v) - int(b.Pix[i]); d > visible || d < -visible {
			n++
		}
	}
	return float64(n) / float64(len(a.Pix))
}

// Means returns the mean of each block of 8x8 pixels, which is what a JPEG's DC coefficients
// hold.
func Means(m *image.Gray) *image.Gray {
	w, h := (m.Rect.Dx()+7)/8, (m.Rect.Dy()+7)/8
	means := image.NewGray(image.Rect(0, 0, w, h))
	for by := range h {
		for bx := range w {
			sum, n := 0, 0
			for y := by * 8; y < min(by*8+8, m.Rect.Dy()); y++ {
				for x := bx * 8; x < min(bx*8+8, m.Rect.Dx()); x++ {
					sum += int(m.Pix[y*m.Stride+x])
					n++
				}
			}
			means.Pix[by*w+bx] = uint8((sum + n/2) / n)
		}
	}
	return means
}

// A Tally is how a gate did in a scene.
type Tally struct {
	Frames, Passed int
	// Changes counts the frames that show a change, Seen those of them that passed.
	Changes, Seen int
	// Due counts the frames that passed because nothing else did, Idle those that passed
	// for another reason although less than half of what is a change can be seen.
	Due, Idle int
}

// relit is by how much the light has to change to be a change of its own.
const relit = 0.4

// Run passes the frames of a scene to decide, with the time since its begin. A frame shows a
// change if it differs from the last one that passed, as whoever sees only those would say.
func (d *Drawer) Run(frames int, interval time.Duration, decide func(at time.Duration, seen *image.Gray) (pass, due bool)) (t Tally) {
	var last *image.Gray
	lastLight := 1.0
	for i := range frames {
		clean, light := d.Clean(i), d.Light(i)
		pass, due := decide(time.Duration(i)*interval, d.Seen(i, clean))
		t.Frames++
		if last != nil {
			share := Differs(clean, last)
			change := share >= d.Change || math.Abs(light/lastLight-1) >= relit
			switch {
			case change:
				t.Changes++
				if pass {
					t.Seen++
				}
			case pass && due:
				t.Due++
			case pass && share < d.Change/2:
				t.Idle++
			}
		}
		if pass {
			t.Passed++
			last, lastLight = clean, light
		}
	}
	return t
}

// Light tells how bright frame i is: a lamp that is turned on changes the whole picture.
func (d *Drawer) Light(i int) float64 {
	if d.light == nil {
		return 1
	}
	return d.light(i)
}
