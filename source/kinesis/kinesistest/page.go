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
	slot  source.Slot // that was asked for
	shown source.Slot // of the picture
	stamp time.Time   // the timestamp in the answer
	data  []byte
	error string
	rest  string // of the JSON, if there is neither
}

// noMedia is the error of an instant without media.
const noMedia = "NO_MEDIA"

// A pager makes the pages of one request.
type pager struct {
	server *Server
	stream *stream
	query  imagesQuery
	now    time.Time
	rng    rng // of the request
}

// fill returns the entries of the page, and how many slots they are for: as many as fit.
func (p *pager) fill(ctx context.Context, slots []source.Slot) (entries []entry, done int, err error) {
	faults := p.stream.faults
	room := p.query.limit
	stray := p.rng.derive(ofOutside).chance(faults.Outside) && room > 1
	if stray {
		room--
	}
	entries = make([]entry, 0, len(slots)+1)
	for _, slot := range slots {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		of := p.stream.media.rng.derive(ofDuplicates, uint64(slot))
		twice := of.chance(faults.Duplicates) && room > 1
		after := !twice && p.stream.media.rng.derive(ofErrorFirst, uint64(slot)).chance(faults.ErrorFirst) && room > 1
		if len(entries) == room || (twice || after) && len(entries)+1 == room {
			break
		}
		e := p.entry(slot)
		if faults.OmitMissing && e.error == noMedia {
			done++
			continue
		}
		if faults.BareEntries && e.error == noMedia {
			e.error = ""
		}
		if after && e.data != nil {
			entries = append(entries, entry{slot: slot, stamp: e.stamp, error: "MEDIA_ERROR"})
		}
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
	if order := p.rng.derive(ofUnordered); order.chance(faults.Unordered) {
		shuffle(order, entries)
	}
	return entries, done, nil
}

// empty tells whether the page is one that has nothing but a token.
func (p *pager) empty() bool {
	faults := p.stream.faults
	if p.query.empties > 0 {
		return p.query.empties < faults.EmptyRun
	}
	return p.rng.derive(ofEmptyPages).chance(faults.EmptyPages)
}

// entry makes the entry of one slot.
func (p *pager) entry(slot source.Slot) entry {
	e := entry{slot: slot, shown: slot, stamp: slot.Time(), error: noMedia}
	f, ok := p.stream.media.find(slot, p.query.opened(), p.query.producer(), p.now)
	hidden := p.rng.derive(ofHiddenFragments, uint64(f.start)).chance(p.stream.faults.HiddenFragments)
	if !ok || hidden || p.query.hidden {
		return e
	}
	// The picture shows what is there at that time, whatever the camera's clock says.
	at, shown, ok := p.stream.media.shown(f, slot, p.query.window.Interval, p.query.producer())
	if !ok {
		return e
	}
	e.shown = shown
	e.stamp, e.error = p.stamp(e, 0), "MEDIA_ERROR"
	if p.early(f, &e) || p.lacking(&e) {
		return e
	}
	if !p.stream.media.broken(f) {
		if data := p.picture(at.Time()); data != nil {
			e.data, e.error = data, ""
		}
	}
	return e
}

// early makes the entry one without a picture, if there are none of the fragment yet.
func (p *pager) early(f fragment, e *entry) bool {
	m := p.stream.media
	visible, _ := m.visibleFrom(f)
	if !p.now.Before(m.picturesFrom(f, visible)) {
		return false
	}
	switch m.early(f) {
	case earlyBare:
		e.error = ""
	case earlyEmpty:
		e.error, e.rest = "", emptyContent
	}
	return true
}

// lacking makes the entry one without a picture, if this answer happens to have none.
func (p *pager) lacking(e *entry) bool {
	of := p.rng.derive(ofNoPicture, uint64(e.slot))
	if !of.chance(p.stream.faults.NoPicture) {
		return false
	}
	switch of.derive(1).below(3) {
	case 0:
		e.error = ""
	case 1:
		e.error, e.rest = "", emptyContent
	}
	return true
}

// picture returns the encoded picture at t, nil if none can be made.
func (p *pager) picture(t time.Time) []byte {
	format := p.query.format
	format.KeepAspect = p.stream.faults.KeepAspect
	data, err := p.server.encoder.Encode(p.stream.Name, t, format)
	if err != nil || base64.StdEncoding.EncodedLen(len(data)) > limits.MaxContent {
		return nil
	}
	if p.server.opts.Corrupt != nil {
		data = p.server.opts.Corrupt(p.stream.Name, t, append([]byte{}, data...))
	}
	return data
}

// stamp returns the timestamp of an entry, or of its given copy.
func (p *pager) stamp(e entry, copied uint64) time.Time {
	limit := p.stream.faults.OffGrid
	if limit == 0 {
		return e.shown.Time()
	}
	return (e.shown + p.stream.media.rng.derive(ofOffGrid, uint64(e.slot), copied).around(limit)).Time()
}

// maxStray is how many intervals outside of the window a stray image is, at most.
const maxStray = 5

// addStray inserts an image from before or after the window somewhere, if there is media.
func (p *pager) addStray(entries []entry) []entry {
	w := p.query.window
	away := time.Duration(1+p.rng.derive(ofOutside, 1).below(maxStray)) * w.Interval
	slot := w.Start.Add(-away)
	if p.rng.derive(ofOutside, 2).chance(0.5) {
		slot = w.Start.Add(time.Duration(w.Slots()-1)*w.Interval + away)
	}
	outer := *p
	outer.query.window.Start -= source.Slot(time.Minute.Milliseconds()) // so that its fragment starts within
	e := outer.entry(slot)
	if e.data == nil {
		return entries
	}
	at := p.rng.derive(ofOutside, 3).below(int64(len(entries)) + 1)
	return slices.Insert(entries, int(at), e)
}
