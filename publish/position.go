package publish

import (
	"crypto/sha256"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Position is the place of a message on its subject.
type Position struct {
	// First and Last are the slots that the message tells of: the same one but
	// for gaps.
	First, Last source.Slot
	// Part is which part of Parts this is, counted from 1; a whole message is
	// part 1 of 1.
	Part, Parts int
	// Tensor tells which one a part is of, among those that may be made for the same
	// slot: by other versions, or with another spec. It is zero for a whole message.
	Tensor [sha256.Size]byte
}

// ParsePosition reads the place of a message, whole or part, tensor or inline
// gap, from its headers.
func ParsePosition(h map[string][]string) (Position, error) {
	f := fields{header: h}
	f.version()
	p := Position{First: f.slot(HeaderTime), Part: 1, Parts: 1}
	p.Last = p.First
	if _, gap := h[HeaderGap]; gap {
		p.Last = f.slot(HeaderGapTo)
		if f.err == nil && p.Last < p.First {
			f.fail(HeaderGapTo, "is %v, before the start at %v", p.Last, p.First)
		}
	} else if _, part := h[HeaderChunk]; part {
		p.Part, p.Parts = f.chunk()
		_, p.Tensor = wholeHeader(h, p.Part, p.Parts)
	}
	if f.err != nil {
		return Position{}, f.err
	}
	return p, nil
}

// AtOrAfter tells whether a subject whose last message is at p has no need of the
// one at q any more. A tensor is there when its last part is; parts of another tensor
// for the slot, or cut in another number than q's, do not count, since consumers do
// not mix them.
func (p Position) AtOrAfter(q Position) bool {
	if p.Last != q.Last {
		return p.Last > q.Last
	}
	return p.Part == p.Parts || p.Tensor == q.Tensor && p.Parts == q.Parts && p.Part >= q.Part
}
