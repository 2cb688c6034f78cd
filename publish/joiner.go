package publish

import (
	"cmp"
	"container/list"
	"fmt"
)

// The limits of a [Joiner] unless a test sets others.
const (
	maxJoinerBytes    = 256 << 20
	maxJoinerSubjects = 1 << 14
)

// A Joiner puts the parts of tensors together again: see [Split]. Subjects are
// independent of each other. All messages of a subject must go through it, in the order
// in which they came: when a message is not of the incomplete tensor, the missing parts
// of that one are lost.
//
// Whatever it is sent, a Joiner holds at most 256 MiB of incomplete tensors, and
// remembers at most 16384 subjects. To make room it gives up the tensor that has waited
// longest for a part. The zero value is ready for use, by one goroutine at a time.
type Joiner struct {
	// OnDrop, if not nil, is called with the subject of each incomplete tensor that is
	// given up.
	OnDrop func(subject string)

	maxBytes    int64 // 0: maxJoinerBytes
	maxSubjects int   // 0: maxJoinerSubjects

	subjects   map[string]*list.Element // of *joint
	open, done list.List                // the most recently used in front
	bytes      int64
}

// A joint is the newest tensor of a subject that came in parts.
type joint struct {
	part
	data    []byte // nil once the tensor is complete and was returned
	have    []bool // by part, from 0
	missing int
}

// cost returns an upper bound of the bytes that an incomplete tensor takes.
func (p part) cost() int64 { return p.total + int64(p.parts+HeaderSize(p.header)) }

// Add takes the next message. With ok it returns a whole message: m itself unless it is
// a part, or the tensor that m completed. That one has a payload of its own, and the
// headers of the format as they were before [Split]; other headers are left out.
// A repeated part is ignored. The error says that m is not a valid part; then the
// incomplete tensor of its subject is given up, too.
func (j *Joiner) Add(m Message) (whole Message, ok bool, err error) {
	if m.Kind() != KindPart {
		j.Forget(m.Subject)
		return m, true, nil
	}
	p, err := parsePart(m)
	if err != nil {
		j.Forget(m.Subject)
		return Message{}, false, err
	}
	t := j.find(p)
	if t == nil {
		j.Forget(m.Subject)
		if t, err = j.start(p); err != nil {
			return Message{}, false, err
		}
	}
	if t.missing == 0 || t.have[p.index] {
		return Message{}, false, nil
	}
	copy(t.data[p.index*t.size:], m.Data)
	t.have[p.index] = true
	t.missing--
	if t.missing > 0 {
		return Message{}, false, nil
	}
	return j.finish(t), true, nil
}

// Open reports whether some but not all parts of a tensor have come on subject.
func (j *Joiner) Open(subject string) bool {
	e := j.subjects[subject]
	return e != nil && e.Value.(*joint).missing > 0
}

// Forget gives up the incomplete tensor of subject, if there is one. Call it when
// messages of the subject may have been lost.
func (j *Joiner) Forget(subject string) {
	e := j.subjects[subject]
	if e == nil {
		return
	}
	delete(j.subjects, subject)
	t := e.Value.(*joint)
	if t.missing == 0 {
		j.done.Remove(e)
		return
	}
	j.open.Remove(e)
	j.bytes -= t.cost()
	if j.OnDrop != nil {
		j.OnDrop(subject)
	}
}

// find returns the tensor that p belongs to, or nil.
func (j *Joiner) find(p part) *joint {
	e := j.subjects[p.subject]
	if e == nil {
		return nil
	}
	t := e.Value.(*joint)
	if t.parts != p.parts || t.size != p.size || t.sum != p.sum {
		return nil
	}
	j.open.MoveToFront(e) // each does nothing if e is in the other list
	j.done.MoveToFront(e)
	return t
}

// start makes room for the tensor of p, and remembers it.
func (j *Joiner) start(p part) (*joint, error) {
	maxBytes := cmp.Or(j.maxBytes, maxJoinerBytes)
	maxSubjects := cmp.Or(j.maxSubjects, maxJoinerSubjects)
	if p.cost() > maxBytes {
		return nil, fmt.Errorf("a tensor of %d bytes in parts needs more than the %d bytes that are reserved for incomplete tensors", p.total, maxBytes)
	}
	for len(j.subjects) >= maxSubjects {
		e := j.done.Back()
		if e == nil {
			e = j.open.Back()
		}
		j.Forget(e.Value.(*joint).subject)
	}
	for j.bytes+p.cost() > maxBytes {
		j.Forget(j.open.Back().Value.(*joint).subject)
	}
	t := &joint{part: p, data: make([]byte, p.total), have: make([]bool, p.parts), missing: p.parts}
	if j.subjects == nil {
		j.subjects = make(map[string]*list.Element)
	}
	j.subjects[p.subject] = j.open.PushFront(t)
	j.bytes += p.cost()
	return t, nil
}

// finish returns the tensor of t. It remembers just enough to recognize repeated parts.
func (j *Joiner) finish(t *joint) Message {
	j.open.Remove(j.subjects[t.subject])
	j.bytes -= t.cost()
	whole := Message{Subject: t.subject, Header: t.header, Data: t.data}
	t.header, t.data, t.have = nil, nil, nil
	j.subjects[t.subject] = j.done.PushFront(t)
	return whole
}
