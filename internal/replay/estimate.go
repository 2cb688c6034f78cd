package replay

import (
	"fmt"
	"strings"
	"time"
)

// overlap is how many more images than slots are asked for, because windows overlap: for
// fragments of some seconds, as measured with package poll/ahead.
const overlap = 0.04

// Parallel is how many streams of a job are read at a time.
const Parallel = 8

// An Estimate is what a job takes.
type Estimate struct {
	Streams int    `json:"streams"`
	Slots   uint64 `json:"slots"`
	// Images are those that are asked for, overlap included.
	Images uint64 `json:"images"`
	// Money is what they cost, in Currency.
	Money    float64 `json:"money"`
	Currency string  `json:"currency"`
	// Bytes are those of the tensors, as far as their size does not depend on the picture.
	Bytes uint64 `json:"bytes"`
	// Time is how long the streams' quota makes it take, at least: cores may be slower.
	Time time.Duration `json:"time_ns"`
}

// Prices are what an estimate needs to know besides the job.
type Prices struct {
	PerMillionImages float64
	Currency         string
	// PerSecond is how many images the quota of a stream allows in a second.
	PerSecond float64
	// Bytes returns the size of the tensors of one slot of a stream.
	Bytes func(stream string) uint64
}

// Estimate returns what a job takes.
func (j *Job) estimate(p Prices) Estimate {
	e := Estimate{Streams: len(j.Streams), Currency: p.Currency}
	var longest, sum time.Duration
	for _, part := range j.Streams {
		slots := j.slots(part)
		images := slots + uint64(overlap*float64(slots)) + 25
		e.Slots, e.Images, e.Bytes = e.Slots+slots, e.Images+images, e.Bytes+slots*p.Bytes(part.Stream)
		took := time.Duration(float64(images) / (j.Quota * p.PerSecond) * float64(time.Second))
		longest, sum = max(longest, took), sum+took
	}
	e.Time = max(longest, sum/Parallel).Round(time.Second)
	e.Money = float64(e.Images) / 1e6 * p.PerMillionImages
	return e
}

// Plan fills in what the job is expected to take.
func (j *Job) Plan(p Prices) { j.Estimate = j.estimate(p) }

// String tells what a job takes in a line for people.
func (e Estimate) String() string {
	return fmt.Sprintf("%d streams, %s slots, about %s images (%.2f %s), %s of tensors, at least %v by the streams' quota",
		e.Streams, group(e.Slots), group(e.Images), e.Money, e.Currency, size(e.Bytes), e.Time)
}

// group writes a number with spaces between the thousands.
func group(n uint64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func size(n uint64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	return fmt.Sprintf("%.4g %s", f, unit)
}
