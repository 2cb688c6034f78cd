package gatetest

import (
	"image"
	"math"
	"math/rand/v2"
)

// A View is what a camera sees for hours, a frame a second, in which it is known whether the camera
// sees well. It is drawn at an eighth of the size, so that a day takes seconds.
type View struct {
	Name string
	// noise is the standard deviation of a pixel, in levels.
	noise float64
	light func(i int) float64          // of all in second i; nil for 1
	veil  func(i int) float64          // how much of all is hidden behind an even gray; nil for nothing
	boxes func(i int) []box            // what stands before the background
	lamps func(i int) []box            // what shines by itself
	scene func(i int) (scene int)      // which of the pictures is seen; nil for the first
	after func(i int, cells []float32) // what the camera does to the picture
	still func(i int) (same bool)      // the picture is that of the second before
}

// The pictures of a view.
const (
	usualScene    = iota
	infraredScene // the same place, lit by infrared
	otherScene    // another part of the place
	scenes
)

// The pictures of a view are half as large as those of a scene, so a block of them shows side x
// side of their pixels.
const (
	side                 = 16
	cellsWide, cellsHigh = Width / side, Height / side
)

const (
	hour = 3600
	day  = 24 * hour
)

// sun is how bright it is in second i of the day that begins at midnight, 0.15 to 1.
func sun(i int) float64 {
	return max(0.15, min(1, 0.5-1.3*math.Cos(2*math.Pi*float64(i%day)/day)))
}

// passers are people who walk through the picture, more of them by day.
func passers(i int) []box {
	var all []box
	for k := range 3 {
		at := (i*(k+2) + k*37) % (90 + 60*k)
		if at < 40 {
			all = append(all, box{float64(at)*18 - 60, 110 + 30*float64(k), 56, 150, 30 + 70*float64(k)})
		}
	}
	return all
}

// Healthy returns views of cameras that see well, all day long.
func Healthy() []View {
	traffic := func(i int) []box {
		var all []box
		for k := range 2 {
			if at := (i + 17*k) % (23 + 30*k); at < 9 {
				all = append(all, box{float64(at)*90 - 90, 200 + 60*float64(k), 60, 40, 700}, box{float64(at)*90 - 150, 240 + 50*float64(k), 200, 30, 150})
			}
		}
		return all
	}
	return []View{
		{Name: "day and night", noise: 5, light: sun, boxes: passers},
		{
			Name: "rain", noise: 6, light: sun, boxes: passers, after: streaks,
			veil: func(i int) float64 { return 0.25 + 0.2*math.Sin(float64(i)/900) },
		},
		{Name: "people", noise: 4, boxes: passers, light: func(i int) float64 { return 1 + 0.1*math.Sin(float64(i)/300) }},
		{Name: "headlights at night", noise: 12, light: func(int) float64 { return 0.15 }, lamps: traffic},
		{Name: "empty and still", noise: 1},
		{Name: "empty and still, a good sensor", noise: 0.5},
		{Name: "clouds", noise: 4, light: func(i int) float64 { return 0.8 + 0.3*math.Sin(float64(i)/25)*math.Sin(float64(i)/7) }},
		{Name: "lamps of the mains", noise: 4, boxes: passers, light: func(i int) float64 { return 1 + 0.04*math.Sin(float64(i)*2.4) }},
		{
			Name: "infrared at night", noise: 6, boxes: passers,
			light: func(i int) float64 {
				if infrared(i) {
					return 0.7
				}
				return max(0.25, sun(i))
			},
			scene: func(i int) int {
				if infrared(i) {
					return infraredScene
				}
				return usualScene
			},
		},
		{Name: "a lamp that is turned on and off", noise: 4, light: func(i int) float64 {
			if i/600%2 == 1 {
				return 0.4
			}
			return 1
		}},
	}
}

// infrared tells whether the camera sees by infrared.
func infrared(i int) bool { return sun(i) < 0.2 }

// streaks draws drops that fall before the lens.
func streaks(i int, cells []float32) {
	rng := rand.New(rand.NewPCG(uint64(i), 5))
	for range 25 {
		x, y, bright := rng.IntN(cellsWide), rng.IntN(cellsHigh), float32(8+rng.IntN(20))
		for k := range 3 {
			if y+k < cellsHigh {
				cells[(y+k)*cellsWide+x] += bright
			}
		}
	}
}

// A Fault is what is wrong with a camera from a second on.
type Fault struct {
	View
	// Kind is its name: that of a condition of package camerahealth.
	Kind string
}

// Faults returns views in which something is wrong from the given second on.
func Faults(from int) []Fault {
	since := func(i int) bool { return i >= from }
	after := func(do func(i int, cells []float32)) func(int, []float32) {
		return func(i int, cells []float32) {
			if since(i) {
				do(i, cells)
			}
		}
	}
	night := func(int) float64 { return 0.2 }
	var all []Fault
	add := func(kind string, v View) { all = append(all, Fault{v, kind}) }
	dark := after(func(_ int, cells []float32) {
		for k := range cells {
			cells[k] *= 0.02
		}
	})
	add("black", View{Name: "no light", noise: 4, boxes: passers, after: dark})
	add("black", View{Name: "no light, with a noisy sensor and a clock in the picture", noise: 14, after: func(i int, cells []float32) {
		dark(i, cells)
		clock(i, cells)
	}})
	add("frozen", View{Name: "the same picture", noise: 4, boxes: passers, still: since})
	add("frozen", View{Name: "the same picture but for a clock", noise: 4, boxes: passers, still: since, after: func(i int, cells []float32) { clock(i, cells) }})
	for _, radius := range []int{1, 2, 3} {
		add("blurred", View{Name: "out of focus", noise: 4, boxes: passers, after: after(func(_ int, cells []float32) { blur(cells, radius) })})
	}
	add("covered", View{Name: "a cap", noise: 4, after: after(func(_ int, cells []float32) { cover(cells, 60, 0) })})
	add("covered", View{Name: "a cap at night", noise: 12, light: night, after: after(func(_ int, cells []float32) { cover(cells, 30, 0) })})
	add("covered", View{Name: "a hand that light shines past", noise: 4, boxes: passers, after: after(func(_ int, cells []float32) { cover(cells, 40, 90) })})
	other := func(i int) int {
		if since(i) {
			return otherScene
		}
		return usualScene
	}
	add("turned", View{Name: "another view", noise: 4, boxes: passers, scene: other})
	add("turned", View{Name: "another view at night", noise: 12, light: night, scene: other})
	for _, size := range []float64{0.2, 0.5} {
		add("flickering", View{Name: "brightness that jumps", noise: 4, boxes: passers, light: func(i int) float64 {
			if since(i) && i%2 == 1 {
				return 1 - size
			}
			return 1
		}})
	}
	add("flickering", View{Name: "an exposure that hunts", noise: 4, light: func(i int) float64 {
		if since(i) {
			return 1 + 0.3*math.Sin(float64(i)*2.6)
		}
		return 1
	}})
	return all
}

// clock writes something into a corner that is different each second.
func clock(i int, cells []float32) {
	for x := 1; x < 7; x++ {
		cells[cellsWide+x] = float32(20 + 200*((i>>(x%5))&1))
	}
}

// cover hides the picture behind something that is out of focus, so bright, and brighter by glow
// at one of its sides.
func cover(cells []float32, bright, glow float64) {
	for k := range cells {
		side := float64(k%cellsWide) / cellsWide
		cells[k] = float32(bright + glow*side*side + 0.01*float64(cells[k]))
	}
}

// blur sets each cell to the mean of those around it, twice.
func blur(cells []float32, radius int) {
	other := make([]float32, len(cells))
	for range 2 {
		mean(other, cells, radius, cellsWide, cellsHigh, 1, cellsWide)
		mean(cells, other, radius, cellsHigh, cellsWide, cellsWide, 1)
	}
}

// mean sets the cells of lines to the mean of those near to them. The cells of a line are step
// apart, and the lines far.
func mean(dst, src []float32, radius, length, lines, step, far int) {
	for line := range lines {
		for at := range length {
			from, to, sum := max(0, at-radius), min(length-1, at+radius), float32(0)
			for k := from; k <= to; k++ {
				sum += src[line*far+k*step]
			}
			dst[line*far+at*step] = sum / float32(to-from+1)
		}
	}
}

// A Camera draws the frames of a view, one after the other.
type Camera struct {
	View
	rng        *rand.Rand
	grain      []float32
	background [scenes][]float32
	cells      []float32
	luma       *image.Gray
	kept       []float32
}

// Open returns what draws the view, whose noise is the same for the same seed.
func (v View) Open(seed uint64) *Camera {
	d := Scene{}.Draw(seed)
	c := &Camera{View: v, rng: d.rng, grain: d.grain, cells: make([]float32, cellsWide*cellsHigh), luma: image.NewGray(image.Rect(0, 0, cellsWide, cellsHigh))}
	pictures := [scenes]*image.Gray{d.background, reflected(d.background), elsewhere()}
	for k, m := range pictures {
		c.background[k] = exactMeans(m)
	}
	return c
}

// exactMeans returns the means of a picture's cells. They are not rounded: where noise is added to
// whole numbers, small noise changes nothing.
func exactMeans(m *image.Gray) []float32 {
	means := make([]float32, cellsWide*cellsHigh)
	for y := range cellsHigh * side {
		for x, v := range m.Pix[y*m.Stride:][:cellsWide*side] {
			means[y/side*cellsWide+x/side] += float32(v) / (side * side)
		}
	}
	return means
}

// reflected returns a place as it is lit by infrared, in which other surfaces are bright.
func reflected(m *image.Gray) *image.Gray {
	r := image.NewGray(m.Rect)
	for i, v := range m.Pix {
		x, y := i%Width, i/Width
		r.Pix[i] = uint8(float64(v) * 0.6)
		if (x/80+y/60)%3 == 1 {
			r.Pix[i] = uint8(min(255, float64(v)*1.5))
		}
	}
	return r
}

// elsewhere draws what is beside what [background] draws.
func elsewhere() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, Width, Height))
	for y := range Height {
		for x := range Width {
			v := 105 + 45*math.Sin(float64(x+210)/47)*math.Cos(float64(y+25)/31)
			if ((x+210)/80+(y+25)/60)%3 == 0 {
				v += 40
			}
			m.Pix[y*Width+x] = uint8(v)
		}
	}
	return m
}

// Luma draws the brightness of the blocks in second i. It is the camera's until the next call.
func (c *Camera) Luma(i int) *image.Gray {
	if c.still == nil || !c.still(i) || c.kept == nil {
		c.draw(i)
		c.kept = append(c.kept[:0], c.cells...)
	}
	cells := append(c.cells[:0], c.kept...)
	if c.after != nil {
		c.after(i, cells)
	}
	if c.still == nil || !c.still(i) {
		grain := c.grain[c.rng.IntN(len(c.grain)-len(cells)):]
		for k := range cells { // a block has 64 pixels, and so an eighth of the noise of one
			cells[k] += float32(c.noise/8) * grain[k]
		}
	}
	for k, v := range cells {
		c.luma.Pix[k] = uint8(max(0, min(255, v+0.5)))
	}
	return c.luma
}

// draw draws what there is to be seen in second i, without noise.
func (c *Camera) draw(i int) {
	scene, light, veil := 0, 1.0, 0.0
	if c.scene != nil {
		scene = c.scene(i)
	}
	copy(c.cells, c.background[scene])
	if c.boxes != nil {
		c.put(c.boxes(i))
	}
	if c.light != nil {
		light = c.light(i)
	}
	if c.veil != nil {
		veil = c.veil(i)
	}
	for k, v := range c.cells {
		c.cells[k] = float32(light) * (v*float32(1-veil) + 120*float32(veil))
	}
	if c.lamps != nil {
		c.put(c.lamps(i))
	}
}

func (c *Camera) put(boxes []box) {
	for _, b := range boxes {
		at := image.Rect(0, 0, b.w, b.h).Add(image.Pt(int(b.x), int(b.y)))
		for y := max(0, at.Min.Y/side); y < min(cellsHigh, at.Max.Y/side); y++ {
			for x := max(0, at.Min.X/side); x < min(cellsWide, at.Max.X/side); x++ {
				c.cells[y*cellsWide+x] = float32(b.bright)
			}
		}
	}
}
