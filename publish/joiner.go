package publish

import (
	"container/list"
	"fmt"
)

// Defaults of [Joiner].
const (
	defaultJoinerBytes    = 256 << 20
	defaultJoinerSubjects = 1 << 14
)

// A Joiner puts the parts of tensors together again, for each subject on its own:
// see [Split]. All messages of the subjects go through it, in the order in which
// they came, since any other message ends a tensor whose parts are not all there.
//
// What it holds is bounded whatever the sender says. The zero value is ready for
// use, by one goroutine at a time.
type Joiner struct {
	// MaxBytes bounds the tensors that are incomplete, each counted in full; the
	// one that has waited longest is dropped for a new one. Default: 256 MiB.
	MaxBytes int64
	// MaxSubjects is how many subjects are remembered. Default: 16384.
	MaxSubjects int
	// OnDrop is called with the subject of each incomplete tensor that is given
	// up. Default: nobody is told.
	OnDrop func(subject string)

	subjects   map[string]*list.Element // of *joint
	open, done list.List                // the subject that was heard of last in front
	bytes      int64
	dropped    int
}

// A joint is the tensor of one subject whose parts came last.
type joint struct {
	part
	data    []byte // nil once the tensor is whole and handed out
	have    []bool // by part, from 0
	missing int
}

// cost returns an upper bound of the bytes that the joint holds while it is open.
func (p part) cost() int64 { return p.total + int64(p.parts+HeaderSize(p.header)) }

// Add takes the next message. It returns ok with a message that is whole: m
// itself where it is no part, and the tensor that m completed, with a payload of
// its own and the headers of the format as they were before [Split]. A part that was there
// before is ignored. The error says that m is a part that cannot be one; the
// tensor that was incomplete on its subject is dropped with it.
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

// Open tells whether some parts of a tensor, but not all, have come on subject.
func (j *Joiner) Open(subject string) bool {
	e := j.subjects[subject]
	return e != nil && e.Value.(*joint).missing > 0
}

// Forget drops what has come on subject, as after an interruption.
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
	j.dropped++
	if j.OnDrop != nil {
		j.OnDrop(subject)
	}
}

// Dropped returns how many tensors were given up because parts were missing.
func (j *Joiner) Dropped() int { return j.dropped }

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
	j.open.MoveToFront(e) // does nothing where e is in the other list
	j.done.MoveToFront(e)
	return t
}

// start makes room for the tensor of p, and remembers it.
func (j *Joiner) start(p part) (*joint, error) {
	maxBytes, maxSubjects := int64(defaultJoinerBytes), defaultJoinerSubjects
	if j.MaxBytes > 0 {
		maxBytes = j.MaxBytes
	}
	if j.MaxSubjects > 0 {
		maxSubjects = j.MaxSubjects
	}
	if p.cost() > maxBytes {
		return nil, fmt.Errorf("a tensor of %d bytes in parts needs more than the %d bytes that are kept for such", p.total, maxBytes)
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

// finish hands out the tensor of t, of which it keeps no more than it takes to
// know its parts again.
func (j *Joiner) finish(t *joint) Message {
	j.open.Remove(j.subjects[t.subject])
	j.bytes -= t.cost()
	whole := Message{Subject: t.subject, Header: t.header, Data: t.data}
	t.header, t.data, t.have = nil, nil, nil
	j.subjects[t.subject] = j.done.PushFront(t)
	return whole
}
