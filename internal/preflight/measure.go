package preflight

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// A measurement takes at least this long, and at least this many frames.
const (
	measureTime   = 300 * time.Millisecond
	measureFrames = 5
)

// measure returns how long one core of this machine takes to decode a picture of the
// stream and make its tensors.
func (c *checker) measure(s checked, size image.Point) (time.Duration, error) {
	picture := s.picture
	if picture == nil {
		var err error
		if picture, err = synthetic(size, s.Request); err != nil {
			return 0, err
		}
	}
	outputs := make([]*transform.Output, len(s.Outputs))
	for i, name := range s.Outputs {
		outputs[i] = c.plan.Outputs[name]
	}
	switches, err := feeder.ReadSwitches(os.Getenv)
	if err != nil {
		return 0, err
	}
	worker := opencv.NewWorker(feeder.Decoder(switches, c.cfg))
	defer worker.Close()
	var took []time.Duration
	for begin := time.Now(); len(took) < measureFrames || time.Since(begin) < measureTime; {
		start := time.Now()
		if err := worker.Decode(source.Frame{Stream: s.Name, Data: bytes.Clone(picture)}, outputs); err != nil {
			return 0, err
		}
		for _, o := range outputs {
			t, err := worker.Tensor(o)
			if err != nil {
				return 0, fmt.Errorf("output %s: %w", o.Name, err)
			}
			t.Release()
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// synthetic returns a picture of waves and noise, which takes about as long to decode as
// a camera's.
func synthetic(size image.Point, request config.Request) ([]byte, error) {
	img := image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420)
	rng := rand.New(rand.NewPCG(1, 2))
	for y := range size.Y {
		for x := range size.X {
			wave := 128 + 60*math.Sin(float64(x)/37)*math.Cos(float64(y)/23)
			img.Y[y*img.YStride+x] = uint8(wave + 10*rng.NormFloat64())
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(118+rng.IntN(4)), uint8(132+rng.IntN(4))
	}
	var out bytes.Buffer
	if request.Format == config.FormatPNG {
		err := png.Encode(&out, img)
		return out.Bytes(), err
	}
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: request.Quality})
	return out.Bytes(), err
}
