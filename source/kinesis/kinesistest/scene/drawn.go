package scene

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// Drawn is a street on which cars pass by. Above it are the stream's name and the time of
// the picture as text, in the middle is a time code: see [ReadTimeCode]. A picture depends
// on the stream's name and the time, and on nothing else.
//
// Painting and encoding a picture takes a few milliseconds, because what does not move is
// the same for all streams and is encoded once.
type Drawn struct {
	size       image.Point
	background canvas
	tiler      *tiler
}

// NewDrawn returns a scene of that size in pixels: 320x180 to 3840x2160, and neither
// narrower than 9:16 nor wider than 2:1, so that a centre crop keeps the time code.
func NewDrawn(size image.Point) (*Drawn, error) {
	if size.X < 320 || size.Y < 180 || size.X > poll.MaxWidth || size.Y > poll.MaxHeight {
		return nil, fmt.Errorf("size %dx%d: a drawn scene has 320x180 to 3840x2160 pixels", size.X, size.Y)
	}
	if size.X > 2*size.Y || 16*size.X < 9*size.Y {
		return nil, fmt.Errorf("size %dx%d: a drawn scene is from 9:16 to 2:1", size.X, size.Y)
	}
	d := &Drawn{size: size, background: newCanvas(size), tiler: newTiler()}
	d.paintBackground()
	return d, nil
}

// Key implements [Scene].
func (d *Drawn) Key(stream string, t time.Time) string {
	return stream + "@" + strconv.FormatInt(t.UnixMilli(), 10)
}

// Picture implements [Scene].
func (d *Drawn) Picture(stream string, t time.Time) (image.Image, error) {
	return d.paint(stream, t).YCbCr, nil
}

func (d *Drawn) encodeJPEG(stream string, t time.Time, quality int) ([]byte, error) {
	return d.tiler.encode(d.paint(stream, t).YCbCr, quality)
}

func (d *Drawn) paint(stream string, t time.Time) canvas {
	c := d.background.clone()
	d.paintCars(c, stream, t)
	d.paintCode(c, TimeCode{t, StreamHash(stream)})
	d.paintText(c, stream, t)
	return c
}

// at returns the pixel at (x, y), in fractions of the picture's size.
func (d *Drawn) at(x, y float64) image.Point {
	return image.Pt(int(math.Round(x*float64(d.size.X))), int(math.Round(y*float64(d.size.Y))))
}

// area returns the rectangle at (x, y) of size w x h, in fractions of the picture's size.
func (d *Drawn) area(x, y, w, h float64) image.Rectangle {
	return image.Rectangle{d.at(x, y), d.at(x+w, y+h)}
}

const (
	horizon = 0.36
	roadTop = 0.74
	roadEnd = 0.96
)

// paintBackground paints what does not move: sky, hills, meadow and road. Grain like a
// camera's makes the JPEGs as large as a camera's.
func (d *Drawn) paintBackground() {
	random := rand.New(rand.NewPCG(1, 2))
	for py := range d.size.Y {
		y := float64(py) / float64(d.size.Y)
		for px := range d.size.X {
			x := float64(px) / float64(d.size.X)
			col, grain := landscape(x, y)
			col.Y = uint8(min(max(float64(col.Y)+float64(grain*random.NormFloat64()), 0), 255))
			d.background.set(px, py, col)
		}
	}
	for i := range 12 { // the line between the lanes
		d.background.fill(d.area(float64(i)/12+0.02, (roadTop+roadEnd)/2-0.004, 0.045, 0.008), ycc(225, 220, 200))
	}
	d.background.fill(d.area(codeLeft-blockWidth/2, codeTop-blockHeight/2,
		blockWidth*(codeColumns+1), blockHeight*(codeRows+1)), ycc(128, 128, 128))
}

// landscape returns the colour at (x, y), in fractions, and how grainy it is.
func landscape(x, y float64) (col color.YCbCr, grain float64) {
	hill := horizon - 0.05 - float64(0.04*math.Sin(float64(5*x)+1)) - float64(0.025*math.Sin(13*x))
	switch {
	case y > roadTop && y < roadEnd:
		return ycc(86, 86, 92), 7
	case y > horizon:
		return blend(ycc(104, 142, 74), ycc(66, 110, 52), (y-horizon)/(1-horizon)), 9
	case y > hill:
		return blend(ycc(92, 120, 110), ycc(78, 112, 80), (y-hill)/(horizon-hill)), 6
	default:
		return blend(ycc(84, 140, 206), ycc(196, 216, 232), y/horizon), 3
	}
}

func blend(a, b color.YCbCr, f float64) color.YCbCr {
	mix := func(p, q uint8) uint8 { return uint8(math.Round(float64(float64(p)*(1-f)) + float64(float64(q)*f))) }
	return color.YCbCr{Y: mix(a.Y, b.Y), Cb: mix(a.Cb, b.Cb), Cr: mix(a.Cr, b.Cr)}
}

const (
	cars     = 5
	carWidth = 0.13 // of the picture's width
)

// paintCars paints the stream's cars where they are at t. Those of the upper lane go left,
// the others right; all cars of a lane have the same speed.
func (d *Drawn) paintCars(c canvas, stream string, t time.Time) {
	const lap = 1 + carWidth
	random := rand.New(rand.NewPCG(uint64(StreamHash(stream)), 3))
	start := float64(random.Float64()) // a product, once it is inlined
	speeds := [2]float64{-0.06 - float64(0.06*random.Float64()), 0.08 + float64(0.08*random.Float64())}
	for i := range cars {
		lane := i % 2
		x := math.Mod(start+float64(i)/cars+float64(speeds[lane]*float64(t.UnixMilli())/1000), lap)
		if x < 0 {
			x += lap
		}
		y := roadTop + 0.005 + float64(float64(lane)*(roadEnd-roadTop)/2)
		d.paintCar(c, x-carWidth, y, speeds[lane], ycc(shade(random), shade(random), shade(random)))
	}
}

func shade(random *rand.Rand) uint8 { return uint8(40 + random.IntN(200)) }

// paintCar paints a car with its top-left corner at (x, y).
func (d *Drawn) paintCar(c canvas, x, y, speed float64, col color.YCbCr) {
	const w = carWidth
	c.fill(d.area(x, y+0.035, w, 0.045), col)     // body
	c.fill(d.area(x+w*0.2, y, w*0.55, 0.04), col) // cabin
	glass, light := ycc(40, 52, 64), ycc(250, 240, 180)
	c.fill(d.area(x+w*0.24, y+0.008, w*0.2, 0.025), glass)
	c.fill(d.area(x+w*0.5, y+0.008, w*0.2, 0.025), glass)
	front := x
	if speed > 0 {
		front = x + w*0.95
	}
	c.fill(d.area(front, y+0.045, w*0.05, 0.014), light)
	for _, wheel := range []float64{0.22, 0.78} {
		c.disc(d.at(x+float64(w*wheel), y+0.08), d.size.Y/48, ycc(24, 24, 26))
		c.disc(d.at(x+float64(w*wheel), y+0.08), d.size.Y/110, ycc(150, 150, 155))
	}
}

func (d *Drawn) paintCode(c canvas, code TimeCode) {
	bits := code.bits()
	for i := range codeColumns * codeRows {
		level := uint8(codeBlack)
		if bits[i/8]&(0x80>>(i%8)) != 0 {
			level = codeWhite
		}
		x := codeLeft + float64(blockWidth*float64(i%codeColumns))
		y := codeTop + float64(blockHeight*float64(i/codeColumns))
		c.fill(d.area(x, y, blockWidth, blockHeight), ycc(level, level, level))
	}
}

// paintText writes the stream's name and the time, each centred on a line of its own.
func (d *Drawn) paintText(c canvas, stream string, t time.Time) {
	const layout = "2006-01-02 15:04:05.000"
	scale := max(1, min(d.size.Y/240, d.size.X/(len(layout)+2)/7))
	line := textSize("m", scale)
	if fit := d.size.X/line.X - 2; len(stream) > fit {
		stream = stream[:fit]
	}
	middle, top := d.size.X/2, d.size.Y/12
	panel := image.Pt((len(layout)+1)*line.X/2, 2*line.Y+line.Y/2)
	c.fill(image.Rect(middle-panel.X, top-line.Y/4, middle+panel.X, top-line.Y/4+panel.Y), ycc(20, 22, 26))
	for i, text := range []string{stream, t.UTC().Format(layout)} {
		at := image.Pt(middle-textSize(text, scale).X/2, top+i*line.Y)
		c.text(at, text, scale, ycc(245, 245, 240))
	}
}
