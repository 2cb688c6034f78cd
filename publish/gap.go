package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// maxGapBytes is the length of the longest event that [ParseGap] reads. A real one
// has about 200 bytes.
const maxGapBytes = 64 << 10

// shortest is the least distance of two slots.
const shortest = source.Slot(source.MinInterval / time.Millisecond)

// A Gap is a run of slots of one stream that all ended without a tensor, for the same
// reason.
type Gap struct {
	Stream string
	// From is the first slot of the gap and To the last one; the gap includes both.
	From, To source.Slot
	// Slots is how many slots the gap has, at least 1.
	Slots int
	// Reason is the outcome of the slots, as [source.Outcome] names it.
	Reason string
}

// gapJSON is a gap event on the wire, with times in TimeFormat.
type gapJSON struct {
	Stream string `json:"stream"`
	From   string `json:"from"`
	To     string `json:"to"`
	Slots  int    `json:"slots"`
	Reason string `json:"reason"`
}

// NewGapMessage returns the event that announces g: JSON on the subject
// [GapSubject], without headers.
//
//	{"stream":"front-door","from":"2026-01-02T03:04:05.200Z",
//	 "to":"2026-01-02T03:04:05.800Z","slots":4,"reason":"no_media"}
//
// The gap includes the slot at "to".
func NewGapMessage(g Gap) (Message, error) {
	data, err := json.Marshal(gapJSON{g.Stream, g.From.String(), g.To.String(), g.Slots, g.Reason})
	if err != nil {
		return Message{}, fmt.Errorf("gap event: %w", err)
	}
	return Message{Subject: GapSubject(g.Stream), Data: data}, nil
}

// ParseGap reads the payload of a gap event.
func ParseGap(data []byte) (Gap, error) {
	if len(data) > maxGapBytes {
		return Gap{}, fmt.Errorf("gap event: it has %d bytes, more than %d", len(data), maxGapBytes)
	}
	var j gapJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Gap{}, fmt.Errorf("gap event: %w", err)
	}
	from, errFrom := source.ParseSlot(j.From)
	to, errTo := source.ParseSlot(j.To)
	if err := errors.Join(errFrom, errTo); err != nil {
		return Gap{}, fmt.Errorf("gap event: %w", err)
	}
	g := Gap{Stream: j.Stream, From: from, To: to, Slots: j.Slots, Reason: j.Reason}
	if err := g.validate(); err != nil {
		return Gap{}, fmt.Errorf("gap event: %w", err)
	}
	return g, nil
}

func (g Gap) validate() error {
	switch {
	case g.Stream == "":
		return errors.New("no stream")
	case g.Reason == "":
		return errors.New("no reason")
	case g.Slots < 1:
		return fmt.Errorf("%d slots", g.Slots)
	case g.To < g.From:
		return fmt.Errorf("it ends at %v, before its start at %v", g.To, g.From)
	case int64(g.Slots)-1 > int64((g.To-g.From)/shortest):
		return fmt.Errorf("%d slots do not fit between %v and %v", g.Slots, g.From, g.To)
	}
	return nil
}
