package assumptions

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // the formats of pictures
	_ "image/png"

	"golang.org/x/image/draw"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// clearly is how much smaller the difference from one way of resizing has to be than those
// from all others.
const clearly = 0.6

// askAspect asks for one picture as it is, and resized to another aspect.
func askAspect(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	found := a.found()
	at := found[len(found)-1]
	w := poll.Window{Start: a.window.Start, End: at, Interval: at.Sub(a.window.Start)}
	picture := func(size image.Point) (image.Image, error) {
		got, err := s.askSized(ctx, w, poll.PageSlots, size)
		if err != nil {
			return nil, err
		}
		img, _, err := image.Decode(bytes.NewReader(got.pictures[at].Data))
		if err != nil {
			return nil, untoldf("there was no picture that can be decoded")
		}
		return img, nil
	}
	whole, err := picture(image.Point{})
	if err != nil {
		return "", false, err
	}
	size := image.Pt(160, 160)
	if from := whole.Bounds().Size(); from.X*5 > from.Y*4 && from.X*4 < from.Y*5 {
		size.X *= 2 // it is nearly a square
	}
	resized, err := picture(size)
	if err != nil {
		return "", false, err
	}
	if got := resized.Bounds().Size(); got != size {
		return fmt.Sprintf("%dx%d was asked for, and %dx%d came", size.X, size.Y, got.X, got.Y), false, nil
	}
	way, ok := wayOf(whole, resized)
	if !ok {
		return "", false, untoldf("the picture has too little in it to tell how it was resized")
	}
	return way, way == stretched, nil
}

const stretched = "it is stretched to exactly that size"

// wayOf returns in which way a picture was resized, false if several are possible.
func wayOf(whole, resized image.Image) (string, bool) {
	from, size := whole.Bounds(), resized.Bounds().Size()
	to := image.Rectangle{Max: size}
	ways := map[string]*image.RGBA{}
	add := func(name string, into, of image.Rectangle) {
		img := image.NewRGBA(to)
		draw.Draw(img, to, image.NewUniform(color.Black), image.Point{}, draw.Src)
		draw.BiLinear.Scale(img, into, whole, of, draw.Src, nil)
		ways[name] = img
	}
	add(stretched, to, from)
	add("it is cut to that aspect", to, centred(from, size))
	add("it is padded to that aspect", centred(to, from.Size()), from)
	best, name, next := 0.0, "", 0.0
	for way, img := range ways {
		switch d := difference(img, resized); {
		case name == "" || d < best:
			best, name, next = d, way, best
		case next == 0 || d < next:
			next = d
		}
	}
	return name, best < clearly*next
}

// centred returns the largest rectangle of the given aspect in the middle of r.
func centred(r image.Rectangle, aspect image.Point) image.Rectangle {
	size := r.Size()
	if size.X*aspect.Y > size.Y*aspect.X {
		size.X = size.Y * aspect.X / aspect.Y
	} else {
		size.Y = size.X * aspect.Y / aspect.X
	}
	corner := r.Min.Add(r.Size().Sub(size).Div(2))
	return image.Rectangle{Min: corner, Max: corner.Add(size)}
}

// difference returns the mean difference of the brightness of two pictures of the same
// size.
func difference(a, b image.Image) float64 {
	size := a.Bounds().Size()
	sum := 0.0
	for y := range size.Y {
		for x := range size.X {
			p := color.GrayModel.Convert(a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y)).(color.Gray).Y
			q := color.GrayModel.Convert(b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y)).(color.Gray).Y
			sum += max(float64(p)-float64(q), float64(q)-float64(p))
		}
	}
	return sum / float64(size.X*size.Y)
}
