package kinesistest

import (
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
	offset   int // entries on earlier pages
	empties  int // empty pages in a row just before this one
}

func (q imagesQuery) producer() bool { return q.selector == producerTimestamp }

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
	q := imagesQuery{selector: f.text("ImageSelectorType"), token: f.text("NextToken")}
	format, err := parseFormat(f)
	if err != nil {
		return q, err
	}
	q.format = format
	if q.wanted, err = parseLimit(f); err != nil {
		return q, err
	}
	q.limit = min(q.wanted, poll.PageSlots)
	if q.selector != serverTimestamp && q.selector != producerTimestamp {
		return q, firstError(f, invalidValue("imageSelectorType", q.selector,
			"Member must satisfy enum value set: [SERVER_TIMESTAMP, PRODUCER_TIMESTAMP]"))
	}
	q.window, err = parseWindow(f)
	return q, err
}

// parseWindow reads the range and the sampling interval.
func parseWindow(f *fields) (poll.Window, error) {
	start, hasStart := f.instant("StartTimestamp")
	end, hasEnd := f.instant("EndTimestamp")
	ms, ok := field[int32](f, "SamplingInterval")
	if !ok {
		ms = 3000
	}
	w := poll.Window{Start: start, End: end, Interval: time.Duration(ms) * time.Millisecond}
	switch {
	case f.err != nil:
		return w, f.err
	case !hasStart:
		return w, invalidValue("startTimestamp", "null", "Member must not be null")
	case !hasEnd:
		return w, invalidValue("endTimestamp", "null", "Member must not be null")
	case w.Interval < source.MinInterval:
		return w, invalidArgument("SamplingInterval %d is below the minimum of 200 milliseconds.", ms)
	case start > end:
		return w, invalidArgument("StartTimestamp must not be after EndTimestamp.")
	case end.Sub(start) > poll.MaxWindow:
		return w, &ErrorResponse{
			Code:    "IllegalArgumentException",
			Message: "The time range between StartTimestamp and EndTimestamp is more than 300 seconds.",
		}
	}
	return w, nil
}

func parseLimit(f *fields) (int, error) {
	limit, ok := field[int64](f, "MaxResults")
	if !ok {
		return poll.PageSlots, f.err
	}
	if limit < 1 || limit > limits.MaxResults {
		return 0, firstError(f, invalidValue("maxResults", limit, "Member must have value between 1 and 100"))
	}
	return int(limit), nil
}

// parseFormat reads how the pictures are to be encoded.
func parseFormat(f *fields) (scene.Format, error) {
	p := scene.Format{Encoding: f.text("Format"), Quality: 80}
	config, _ := field[map[string]string](f, "FormatConfig")
	width, hasWidth := field[int32](f, "WidthPixels")
	height, hasHeight := field[int32](f, "HeightPixels")
	p.Width, p.Height = int(width), int(height)
	switch {
	case f.err != nil:
		return p, f.err
	case p.Encoding != scene.JPEG && p.Encoding != scene.PNG:
		return p, invalidValue("format", p.Encoding, "Member must satisfy enum value set: [JPEG, PNG]")
	case hasWidth != hasHeight:
		return p, invalidValue("widthPixels, heightPixels", "one alone", "Member must come with the other")
	case hasWidth && (width < 1 || width > poll.MaxWidth):
		return p, invalidValue("widthPixels", width, "Member must have value between 1 and 3840")
	case hasHeight && (height < 1 || height > poll.MaxHeight):
		return p, invalidValue("heightPixels", height, "Member must have value between 1 and 2160")
	}
	for key, value := range config {
		if key != "JPEGQuality" {
			return p, invalidValue("formatConfig", key, "Map keys must satisfy enum value set: [JPEGQuality]")
		}
		quality, err := strconv.Atoi(value)
		if err != nil || quality < 1 || quality > 100 {
			return p, invalidArgument("JPEGQuality %q is not a whole number from 1 to 100.", value)
		}
		p.Quality = quality
	}
	return p, nil
}

// firstError returns the error of a field of the wrong type, if any, as err may follow
// from it.
func firstError(f *fields, err error) error {
	if f.err != nil {
		return f.err
	}
	return err
}
