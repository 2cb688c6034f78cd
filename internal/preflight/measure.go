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
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

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

// measure returns the CPU time that it takes on this machine to decode a picture of the
// stream and make its tensors. Unlike the time on the clock, it does not depend on what else
// the machine does.
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
	sight := s.Camera()
	worker := opencv.NewWorker(feeder.Decoder(switches, c.cfg))
	defer worker.Close()
	runtime.LockOSThread() // whose CPU time it is
	defer runtime.UnlockOSThread()
	var took []time.Duration
	for begin := time.Now(); len(took) < measureFrames || time.Since(begin) < measureTime; {
		start, err := cpuTime()
		if err != nil {
			return 0, err
		}
		if err := worker.Decode(source.Frame{Stream: s.Name, Data: bytes.Clone(picture)}, sight, outputs); err != nil {
			return 0, err
		}
		for _, o := range outputs {
			t, err := worker.Tensor(o)
			if err != nil {
				return 0, fmt.Errorf("output %s: %w", o.Name, err)
			}
			t.Release()
		}
		end, err := cpuTime()
		if err != nil {
			return 0, err
		}
		took = append(took, end-start)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// cpuTime returns the CPU time that the thread has used.
func cpuTime() (time.Duration, error) {
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		return 0, fmt.Errorf("CPU time: %w", err)
	}
	return time.Duration(used.Nano()), nil
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
