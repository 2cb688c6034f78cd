package kinesistest

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	maxRange   = 300 * time.Second
	pageSize   = 25
	maxContent = 6_291_456 // characters of base64, as the service's model says
)

// An entry is one element of GetImages's answer: a picture or an error.
type entry struct {
	time  time.Time
	data  []byte
	error string
}

func (s *Server) getImages(c *call) (answer, error) {
	q, err := parseImagesQuery(c.fields)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	// A token continues the same request; only the size of its pages may change.
	request := fmt.Sprintf("images %s %v %s %v", st.Name, q.window, q.selector, q.format)
	if q.offset, err = s.tokens.offset(request, q.token); err != nil {
		return nil, err
	}
	slots := q.page()
	c.record.Start, c.record.End, c.record.Interval = q.window.Start.Time(), q.window.End.Time(), q.window.Interval
	c.record.Offset, c.record.Asked = q.offset, len(slots)
	if err := s.intercept(c); err != nil {
		return nil, err
	}
	if err := checkMedia(st, q, c.record.Time); err != nil {
		return nil, err
	}
	entries, err := s.entries(c.Context(), st, q, slots, c.record.Time)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.data != nil {
			c.record.Images = append(c.record.Images, e.time)
		}
	}
	next := ""
	if done := q.offset + len(slots); done < q.window.Slots() {
		next = s.tokens.issue(request, done)
	}
	return func(w io.Writer) error { return writeImages(w, entries, next) }, nil
}

// checkMedia refuses windows in which the service finds no media at all.
func checkMedia(st *stream, q imagesQuery, now time.Time) error {
	switch {
	case st.Retention == 0:
		return &Fault{
			Code:    "NoDataRetentionException",
			Message: fmt.Sprintf("Stream %s does not retain data: its DataRetentionInHours is 0.", st.Name),
		}
	case q.selector == serverTimestamp && q.window.End.Time().Before(now.Add(-st.Retention)):
		return invalidArgument("End timestamp %d is outside of the stream retention period.", q.window.End)
	case !st.media.any(q.window, now):
		return &Fault{
			Status: http.StatusNotFound, Code: "ResourceNotFoundException",
			Message: "No fragments found in the stream for the given time range.",
		}
	}
	return nil
}

// entries makes the page's entries: one for each slot.
func (s *Server) entries(ctx context.Context, st *stream, q imagesQuery, slots []source.Slot, now time.Time) ([]entry, error) {
	entries := make([]entry, len(slots))
	for i, slot := range slots {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries[i].time = slot.Time()
		if !st.media.has(slot, q.window, now) {
			entries[i].error = "NO_MEDIA"
			continue
		}
		data, err := s.pictures.get(st.Name, slot.Time(), q.format)
		if err != nil || base64.StdEncoding.EncodedLen(len(data)) > maxContent {
			entries[i].error = "MEDIA_ERROR"
			continue
		}
		if s.opts.Corrupt != nil {
			data = s.opts.Corrupt(st.Name, slot.Time(), append([]byte{}, data...))
		}
		entries[i].data = data
	}
	return entries, nil
}

// writeImages writes the answer an image at a time, so that one image's base64 is
// all that is held besides the cache.
func writeImages(w io.Writer, entries []entry, next string) error {
	buf := []byte(`{"Images":[`)
	for i, e := range entries {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendSeconds(append(buf, `{"TimeStamp":`...), e.time)
		if e.error != "" {
			buf = append(append(append(buf, `,"Error":"`...), e.error...), `"}`...)
			continue
		}
		buf = base64.StdEncoding.AppendEncode(append(buf, `,"ImageContent":"`...), e.data)
		buf = append(buf, `"}`...)
		if _, err := w.Write(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	buf = append(buf, ']')
	if next != "" {
		buf = append(append(append(buf, `,"NextToken":"`...), next...), '"')
	}
	_, err := w.Write(append(buf, '}'))
	return err
}
