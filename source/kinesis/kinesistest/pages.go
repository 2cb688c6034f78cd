package kinesistest

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// An entry is one element of GetImages's answer: a picture or an error.
type entry struct {
	slot  source.Slot // what was asked for
	stamp time.Time   // what the service says
	data  []byte
	error string
}

// A pager fills the pages of one request.
type pager struct {
	server *Server
	stream *stream
	query  imagesQuery
	now    time.Time
	rolls  dice // of the request
}

// fill returns the page's entries, and how many slots they are for: as many as
// there is room for.
func (p *pager) fill(ctx context.Context, slots []source.Slot) (entries []entry, done int, err error) {
	faults := p.stream.faults
	room := p.query.limit
	stray := p.rolls.on(ofOutside).falls(faults.Outside) && room > 1
	if stray {
		room--
	}
	entries = make([]entry, 0, len(slots)+1)
	for _, slot := range slots {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		of := p.stream.media.rolls.on(ofDuplicates, uint64(slot))
		twice := of.falls(faults.Duplicates) && room > 1
		if len(entries) == room || twice && len(entries)+1 == room {
			break
		}
		e := p.entry(slot)
		entries = append(entries, e)
		if twice {
			e.stamp = p.stamp(e, 1)
			entries = append(entries, e)
		}
		done++
	}
	if stray {
		entries = p.addStray(entries)
	}
	if order := p.rolls.on(ofUnordered); order.falls(faults.Unordered) {
		shuffle(order, entries)
	}
	return entries, done, nil
}

// entry makes the entry of one slot.
func (p *pager) entry(slot source.Slot) entry {
	e := entry{slot: slot, stamp: slot.Time(), error: "NO_MEDIA"}
	f, ok := p.stream.media.find(slot, p.query.window.Start, p.query.producer(), p.now)
	if !ok {
		return e
	}
	e.error = "MEDIA_ERROR"
	if !p.stream.media.broken(f) {
		// The camera sees what is there at that time, whatever its clock says.
		at := slot - (p.stream.media.begin(f, p.query.producer()) - f.start)
		if data := p.picture(at.Time()); data != nil {
			e.data, e.error = data, ""
		}
	}
	e.stamp = p.stamp(e, 0)
	return e
}

// picture returns the encoded picture at t, nil where none can be made.
func (p *pager) picture(t time.Time) []byte {
	data, err := p.server.pictures.get(p.stream.Name, t, p.query.format)
	if err != nil || base64.StdEncoding.EncodedLen(len(data)) > limits.MaxContent {
		return nil
	}
	if p.server.opts.Corrupt != nil {
		data = p.server.opts.Corrupt(p.stream.Name, t, append([]byte{}, data...))
	}
	return data
}

// stamp returns the timestamp of the given copy of an entry.
func (p *pager) stamp(e entry, copied uint64) time.Time {
	limit := p.stream.faults.OffGrid
	if limit == 0 {
		return e.slot.Time()
	}
	return (e.slot + p.stream.media.rolls.on(ofOffGrid, uint64(e.slot), copied).around(limit)).Time()
}

// maxStray is how many intervals an image from outside of the window is away.
const maxStray = 5

// addStray puts an image from before or after the window somewhere, where there
// is media.
func (p *pager) addStray(entries []entry) []entry {
	w := p.query.window
	away := time.Duration(1+p.rolls.on(ofOutside, 1).below(maxStray)) * w.Interval
	slot := w.Start.Add(-away)
	if p.rolls.on(ofOutside, 2).falls(0.5) {
		slot = w.Start.Add(time.Duration(w.Slots()-1)*w.Interval + away)
	}
	outer := *p
	outer.query.window.Start -= source.Slot(time.Minute.Milliseconds()) // so that no fragment is cut
	e := outer.entry(slot)
	if e.data == nil {
		return entries
	}
	at := p.rolls.on(ofOutside, 3).below(int64(len(entries)) + 1)
	return slices.Insert(entries, int(at), e)
}
