package publish

import (
	"crypto/sha256"
	"maps"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Position says where a message belongs in the order of its subject.
type Position struct {
	// First and Last are the slots that the message covers. They differ only for gaps.
	First, Last source.Slot
	// Part is the number of the part, from 1 to Parts. A whole message is part 1 of 1.
	Part, Parts int
	// Tensor identifies the tensor that a part belongs to: other versions or another spec
	// may make different tensors for the same slot. It is zero for a whole message.
	Tensor [sha256.Size]byte
}

// ParsePosition reads the position of a tensor, a part or an inline gap from its
// headers.
func ParsePosition(h map[string][]string) (Position, error) {
	f := fields{header: h}
	f.version()
	p := Position{First: f.slot(HeaderTime), Part: 1, Parts: 1}
	p.Last = p.First
	if _, ok := h[HeaderGap]; ok {
		p.Last = f.slot(HeaderGapTo)
		if f.err == nil && p.Last < p.First {
			f.fail(HeaderGapTo, "is %v, before the start at %v", p.Last, p.First)
		}
	} else if _, ok := h[HeaderChunk]; ok {
		p.Part, p.Parts = f.chunk()
		_, p.Tensor = wholeHeader(h, p.Part, p.Parts)
	}
	if f.err != nil {
		return Position{}, f.err
	}
	return p, nil
}

// An Origin says which tensors a message belongs to. It is the same for all messages of a
// feeder on a subject.
type Origin struct {
	Stream, Output, Spec string
	// Job is the id of the replay job, "" for what is not of one.
	Job string
}

// OriginOf returns the origin that a message's headers name.
func OriginOf(h map[string][]string) Origin {
	value := func(name string) string {
		if v := h[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	return Origin{value(HeaderStream), value(HeaderOutput), value(HeaderSpec), value(HeaderReplay)}
}

// Owns reports whether a message at a position is one of this origin: its headers name the
// same stream, output and spec, and its identity is the one that follows from them.
func (o Origin) Owns(h map[string][]string, p Position) bool {
	id := MessageID(o.Stream, p.First, o.Output, o.Spec) + replayed(o.Job)
	if p.Parts > 1 {
		id += "/" + partOf(p.Part, p.Parts)
	}
	return OriginOf(h) == o && len(h[HeaderMsgID]) == 1 && (h[HeaderMsgID][0] == id || h[HeaderMsgID][0] == id+renamed)
}

// renamed ends the identity of a message whose own was taken.
const renamed = "/renamed"

// Renamed returns a message with another identity, for a broker that has seen its own on a
// message of somebody else. A message that is renamed again has the same identity.
func Renamed(m Message) Message {
	m.Header = maps.Clone(m.Header)
	if id := m.Header[HeaderMsgID]; len(id) == 1 {
		m.Header[HeaderMsgID] = []string{id[0] + renamed}
	}
	return m
}

// AtOrAfter reports whether a subject whose last message is at p no longer needs the
// message at q. A tensor is complete when its last part is there. Parts of another
// tensor for the same slot, or of one that was cut into another number of parts, do not
// count, because consumers do not mix them.
func (p Position) AtOrAfter(q Position) bool {
	if p.Last != q.Last {
		return p.Last > q.Last
	}
	return p.Part == p.Parts || p.Tensor == q.Tensor && p.Parts == q.Parts && p.Part >= q.Part
}
