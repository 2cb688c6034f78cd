package kinesistest

import (
	"math"
	"strconv"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	serverTimestamp   = "SERVER_TIMESTAMP"
	producerTimestamp = "PRODUCER_TIMESTAMP"
)

// An imagesQuery is a valid request of GetImages.
type imagesQuery struct {
	window   poll.Window
	selector string
	format   scene.Format
	wanted   int // MaxResults
	limit    int // entries of a page: at most what the service ever gives
	token    string
	offset   int  // entries on earlier pages
	hidden   bool // nothing is found
	empties  int  // empty pages in a row just before this one
}

func (q imagesQuery) producer() bool { return q.selector == producerTimestamp }

// opened returns the time from which on fragments must start so that the query finds their
// images. A range that is shorter than the sampling interval asks for one image, and the
// service promises the one at its start, whenever the fragment started.
func (q imagesQuery) opened() source.Slot {
	if q.window.End.Sub(q.window.Start) < q.window.Interval {
		return math.MinInt64
	}
	return q.window.Start
}

// page returns the slots of the requested page.
func (q imagesQuery) page() []source.Slot {
	n := min(q.limit, q.window.Slots()-q.offset)
	slots := make([]source.Slot, 0, max(n, 0))
	for i := range n {
		slots = append(slots, q.window.Start.Add(time.Duration(q.offset+i)*q.window.Interval))
	}
	return slots
}

// parseImagesQuery checks the request as the service does: first against the constraints
// of the service's model (ValidationException), then for what makes sense.
func parseImagesQuery(f *fields) (imagesQuery, error) {
	q := imagesQuery{format: parseFormat(f), token: f.text("NextToken", mediaTokenShape), wanted: poll.PageSlots}
	if limit, ok := number[int64](f, "MaxResults", 1, limits.MaxResults); ok {
		q.wanted = int(limit)
	}
	q.limit = min(q.wanted, poll.PageSlots)
	q.selector = parseSelectorType(f, "ImageSelectorType")
	q.window = poll.Window{
		Start: f.instant("StartTimestamp"), End: f.instant("EndTimestamp"), Interval: 3 * time.Second,
	}
	if ms, ok := field[int32](f, "SamplingInterval"); ok {
		q.window.Interval = time.Duration(ms) * time.Millisecond
	}
	if err := f.check(); err != nil {
		return q, err
	}
	return q, q.checkSense()
}

// parseSelectorType reads whose timestamps count.
func parseSelectorType(f *fields, name string) string {
	kind, ok := f.oneOf(name, producerTimestamp, serverTimestamp)
	f.required(name, ok)
	return kind
}

// checkSense checks what the service's model does not say.
func (q imagesQuery) checkSense() error {
	switch w := q.window; {
	case q.format.Quality < 1 || q.format.Quality > 100:
		return invalidArgument("JPEGQuality must be a whole number from 1 to 100.")
	case w.Interval < source.MinInterval:
		return invalidArgument("SamplingInterval %d is below the minimum of 200 milliseconds.", w.Interval.Milliseconds())
	case w.Start > w.End:
		return invalidArgument("StartTimestamp must not be after EndTimestamp.")
	case w.End.Sub(w.Start) > poll.MaxWindow:
		return &ErrorResponse{
			Code:    "IllegalArgumentException",
			Message: "The time range between StartTimestamp and EndTimestamp is more than 300 seconds.",
		}
	}
	return nil
}

const qualityKey = "JPEGQuality"

// parseFormat reads how the pictures are to be encoded. The quality is 0 if it is not a
// number.
func parseFormat(f *fields) scene.Format {
	p := scene.Format{Quality: 80}
	var ok bool
	p.Encoding, ok = f.oneOf("Format", scene.JPEG, scene.PNG)
	f.required("Format", ok)

	config, ok := field[map[string]string](f, "FormatConfig")
	if ok && len(config) != 1 {
		f.violated("FormatConfig", config, "Member must have length between 1 and 1")
	}
	for key, value := range config {
		if key != qualityKey {
			f.violated("FormatConfig", config, "Map keys must satisfy constraint: [Member must satisfy enum value set: ["+qualityKey+"]]")
		}
		f.checkText("FormatConfig", value, formatValueShape)
		p.Quality, _ = strconv.Atoi(value)
	}

	width, hasWidth := number[int32](f, "WidthPixels", 1, poll.MaxWidth)
	height, hasHeight := number[int32](f, "HeightPixels", 1, poll.MaxHeight)
	if hasWidth != hasHeight {
		f.violated("WidthPixels, HeightPixels", "one alone", "Member must come with the other")
	}
	p.Width, p.Height = int(width), int(height)
	return p
}
