package kinesistest

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

func (s *Server) getImages(c *call) (answer, error) {
	q, err := parseImagesQuery(c.fields)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	q.limit = min(q.limit, st.faults.PageSize)
	if st.faults.ExcludeEnd && q.window.End > q.window.Start {
		q.window.End--
	}
	if err := s.checkEndpoint(c, q.page()); err != nil {
		return nil, err
	}
	// A token continues the same request: only the page size may change.
	request := fmt.Sprintf("images %s %v %s %v", st.Name, q.window, q.selector, q.format)
	if err := s.resume(&q, request, c); err != nil {
		return nil, err
	}
	slots := q.page()
	c.record.Start, c.record.End, c.record.Interval = q.window.Start.Time(), q.window.End.Time(), q.window.Interval
	c.record.Producer, c.record.Offset, c.record.Asked = q.producer(), q.offset, len(slots)
	if err := s.admit(c, min(q.wanted, q.window.Slots()-q.offset)); err != nil {
		return nil, err
	}
	if q.token != "" && c.rng.derive(ofBadTokens).chance(st.faults.BadTokens) {
		c.record.Fault = "bad-token"
		return nil, invalidValue("nextToken", q.token, "The timestamps of the token do not match those of the request")
	}
	if err := checkMedia(st, q, c.record.Time); err != nil {
		return nil, err
	}
	if c.rng.derive(ofHidden).chance(st.faults.Hidden) {
		c.record.Fault = "hidden"
		if c.rng.derive(ofHidden, 1).chance(0.5) {
			return nil, noFragments(st.faults.EmptyRefused)
		}
		q.hidden = true
	}
	return s.imagesPage(c, q, request, slots)
}

// imagesPage answers with the page that has the given slots.
func (s *Server) imagesPage(c *call, q imagesQuery, request string, slots []source.Slot) (answer, error) {
	p := &pager{server: s, stream: c.stream, query: q, now: c.record.Time, rng: c.rng}
	var entries []entry
	done := 0
	empties := 0
	if p.empty() {
		c.record.Fault = "empty-page"
		empties = q.empties + 1
	} else {
		var err error
		if entries, done, err = p.fill(c.Context(), slots); err != nil {
			return nil, err
		}
	}
	c.record.Asked = done
	for _, e := range entries {
		if e.data != nil {
			c.record.Images = append(c.record.Images, e.slot.Time())
		}
	}
	c.record.Made = len(c.record.Images)
	next := ""
	if done += q.offset; done < q.window.Slots() {
		next = s.tokens.issue(request, fmt.Sprintf(imagesWhere, done, empties), c.record.Time)
	}
	return func(w io.Writer) error { return writeImages(w, entries, next) }, nil
}

// imagesWhere is what a token of GetImages holds: how many slots were on earlier pages,
// and how many empty pages came since.
const imagesWhere = "%d %d"

// resume reads from the token where to continue.
func (s *Server) resume(q *imagesQuery, request string, c *call) error {
	if q.token == "" {
		return nil
	}
	where, err := s.where(c, request, q.token)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(where, imagesWhere, &q.offset, &q.empties); err != nil {
		return invalidToken()
	}
	return nil
}

// checkMedia refuses windows in which the service finds no media at all.
func checkMedia(st *stream, q imagesQuery, now time.Time) error {
	switch {
	case st.retention(now) == 0:
		return &ErrorResponse{
			Code:    "NoDataRetentionException",
			Message: fmt.Sprintf("Stream %s does not retain data: its DataRetentionInHours is 0.", st.Name),
		}
	case !q.producer() && q.window.End.Time().Before(now.Add(-st.retention(now))):
		return invalidArgument("End timestamp %d is outside of the stream retention period.", q.window.End)
	case !st.faults.EmptyEntries && !st.media.any(q, now):
		return noFragments(st.faults.EmptyRefused)
	}
	return nil
}

// noFragments is the answer to a window without media.
func noFragments(refused bool) *ErrorResponse {
	if refused {
		return invalidArgument("No fragments found in the stream for the given time range.")
	}
	return &ErrorResponse{
		Status: http.StatusNotFound, Code: "ResourceNotFoundException",
		Message: "No fragments found in the stream for the given time range.",
	}
}

// imageContent precedes the base64 of an image.
const imageContent = `,"ImageContent":"`

// emptyContent is a content without an image. By its space it is not taken for one.
const emptyContent = `,"ImageContent": ""`

// writeImages writes the answer one image at a time, so that no more than one image's
// base64 is held.
func writeImages(w io.Writer, entries []entry, next string) error {
	buf := []byte(`{"Images":[`)
	for i, e := range entries {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendSeconds(append(buf, `{"TimeStamp":`...), e.stamp)
		if e.error != "" {
			buf = append(append(append(buf, `,"Error":"`...), e.error...), `"}`...)
			continue
		}
		if e.data == nil {
			buf = append(append(buf, e.rest...), '}')
			continue
		}
		buf = base64.StdEncoding.AppendEncode(append(buf, imageContent...), e.data)
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
