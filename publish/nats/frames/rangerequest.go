package frames

import (
	"strconv"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
	"github.com/cvfeeder/cvfeeder/source"
)

// A RangeRequest asks for the tensors of the slots in a span of time.
type RangeRequest struct {
	Stream, Output string
	// The slots are those at or after From and before To.
	From, To source.Slot
	// Interval is the time between the slots; 0 is the stream's own.
	Interval time.Duration
	// Credit is how many messages the requester can take unread.
	Credit int
	// Asker is who asks: the first two tokens of the reply subject.
	Asker string
}

const rangeExample = `{"stream": "cam-1", "output": "detector", "from": "2026-01-02T03:04:05Z", "to": "2026-01-02T03:05:05Z", "interval": "1s", "credit": 8}`

// rangeJSON is a request on the wire.
type rangeJSON struct {
	Stream   string `json:"stream"`
	Output   string `json:"output"`
	From     string `json:"from"`
	To       string `json:"to"`
	Interval string `json:"interval,omitempty"`
	Credit   int    `json:"credit,omitempty"`
}

func parseRangeRequest(data []byte) (RangeRequest, error) {
	var j rangeJSON
	if err := parseRequest(data, &j, rangeExample); err != nil {
		return RangeRequest{}, err
	}
	for _, field := range []struct{ name, value string }{{"stream", j.Stream}, {"output", j.Output}, {"from", j.From}, {"to", j.To}} {
		if field.value == "" {
			return RangeRequest{}, badRequest("%s is missing: a request is like %s", field.name, rangeExample)
		}
	}
	r := RangeRequest{Stream: j.Stream, Output: j.Output, Credit: j.Credit}
	for _, field := range []struct {
		name, value string
		slot        *source.Slot
	}{{"from", j.From, &r.From}, {"to", j.To, &r.To}} {
		at, err := source.ParseSlot(field.value)
		if err != nil {
			return RangeRequest{}, badRequest("%s %.40q is not in RFC 3339, like 2026-01-02T03:04:05.200Z, or not between 1970 and 2199", field.name, field.value)
		}
		*field.slot = at
	}
	if r.To <= r.From {
		return RangeRequest{}, badRequest("to %s is not after from %s", j.To, j.From)
	}
	if r.Credit < 0 || r.Credit > reply.MaxCredit {
		return RangeRequest{}, badRequest("credit %s is not within 1 to %d messages", strconv.Itoa(r.Credit), reply.MaxCredit)
	}
	if j.Interval == "" {
		return r, nil
	}
	interval, err := time.ParseDuration(j.Interval)
	if err == nil {
		_, err = source.NewGrid(interval)
	}
	if err != nil {
		return RangeRequest{}, badRequest("interval %.40q: %v: it is a duration like 1s or 500ms", j.Interval, err)
	}
	r.Interval = interval
	return r, nil
}

// wire returns the request as it is sent.
func (r RangeRequest) wire() rangeJSON {
	j := rangeJSON{Stream: r.Stream, Output: r.Output, From: r.From.String(), To: r.To.String(), Credit: r.Credit}
	if r.Interval > 0 {
		j.Interval = r.Interval.String()
	}
	return j
}
