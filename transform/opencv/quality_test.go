package opencv_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// looksOf is of how many frames one is looked at, at any interval: at the default one, of five.
const looksOf = 3

// BenchmarkQualityVsTransform compares what it takes to look at a camera's picture with what it
// takes to make tensors of the frames for which one is, in processor time. The result is that of the picture for which it is worse: see BenchmarkGateVsFrame.
func BenchmarkQualityVsTransform(b *testing.B) {
	spec, err := transform.Preset("yolo")
	if err != nil {
		b.Fatal(err)
	}
	outs := []*transform.Output{{Name: "yolo", Spec: spec}}
	w := opencv.NewWorker(opencv.Options{})
	defer w.Close()
	runtime.LockOSThread() // the time is that of the thread
	defer runtime.UnlockOSThread()
	kinds := []struct {
		name string
		data []byte
	}{{"drawn", drawn(b, 6)}, {"smooth", drawn(b, 0.8)}}
	var plain, kept, looked [2][]time.Duration
	watch := camerahealth.New(camerahealth.Default())
	at := time.Unix(1_700_000_000, 0)
	decode := func(data []byte, keep bool) func() {
		return func() {
			w.KeepLuma(keep)
			if err := w.Decode(source.Frame{Data: data}, nil, outs); err != nil {
				b.Error(err)
			}
		}
	}
	for b.Loop() {
		for i, k := range kinds {
			plain[i] = append(plain[i], ran(func() {
				decode(k.data, false)()
				t, err := w.Tensor(outs[0])
				if err != nil {
					b.Error(err)
					return
				}
				t.Release()
			}))
			// The difference is small: the same is compared with the same, one right behind the other.
			with, without := ran(decode(k.data, true)), ran(decode(k.data, false))
			decode(k.data, true)()
			kept[i] = append(kept[i], with-without)
			looked[i] = append(looked[i], ran(func() {
				at = at.Add(time.Second)
				luma, _ := w.KeptLuma()
				if l, ok := quality.Measure(luma, nil); ok {
					watch.Look(at, &l)
				}
			}))
		}
	}
	worst := 0.0
	for i, k := range kinds {
		whole, more := middle(plain[i]), max(0, middle(kept[i]))+middle(looked[i])
		b.ReportMetric(float64(middle(kept[i]).Nanoseconds())/1000, k.name+"-keep-µs")
		b.ReportMetric(float64(middle(looked[i]).Nanoseconds())/1000, k.name+"-look-µs")
		b.ReportMetric(float64(whole.Nanoseconds())/1000, k.name+"-transform-µs")
		worst = max(worst, float64(more)/float64(whole))
	}
	b.ReportMetric(worst, "quality-each-frame")
	b.ReportMetric(worst/float64(looksOf), "quality-vs-transform")
}

// ran returns the processor time that f takes, to the nanosecond.
func ran(f func()) time.Duration {
	begin := threadClock()
	f()
	return threadClock() - begin
}

func threadClock() time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		return 0
	}
	return time.Duration(at.Nano())
}
