package consume

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
)

// An assembly puts together what comes from a JetStream consumer.
//
// Unlike on a plain subscription, what comes need not be in order: messages that
// were not acknowledged in time come again, between others. So each tensor is
// joined for itself, and other messages on its subject do not end it. It is given
// up when later ones have come and then, after the consumer's AckWait, its own
// parts come again: by then every part that there is would have come.
type assembly struct {
	joiner     *publish.Joiner
	held       map[string]*heldParts // by the name that the joiner knows the tensor by
	most       int                   // parts that can wait for each other; 0 or less: any number
	incomplete *atomic.Int64
}

// heldParts are the messages of a tensor of which some are missing.
type heldParts struct {
	subject  string
	messages []jetstream.Msg
	last     uint64 // sequence in the stream
	passed   bool   // something later has come on the subject
}

func newAssembly(incomplete *atomic.Int64, maxAckPending int) *assembly {
	a := &assembly{held: make(map[string]*heldParts), most: maxAckPending, incomplete: incomplete}
	a.joiner = &publish.Joiner{OnDrop: func(name string) { delete(a.held, name) }} // to come again
	return a
}

// add takes a message and returns what it completes, if anything. The error is a
// [*MessageError], and the message will not come again.
func (a *assembly) add(m jetstream.Msg) (Delivery, bool, error) {
	in := message(m)
	meta, err := m.Metadata()
	if err != nil {
		return Delivery{}, false, &MessageError{in.Subject, err}
	}
	name := in.Subject
	if in.Kind() == publish.KindPart {
		if name, err = a.name(in); err != nil {
			return Delivery{}, false, giveUp(m, err)
		}
	}
	a.pass(name, in.Subject, meta.Sequence.Stream)
	if in.Kind() != publish.KindPart {
		return deliver(in, []jetstream.Msg{m})
	}
	if meta.NumDelivered > 1 {
		if a.abandon(name, meta.Sequence.Stream) {
			return Delivery{}, false, nil
		}
		if !a.joiner.Open(name) {
			a.joiner.Forget(name) // it was whole before, but was not acknowledged
		}
	}
	return a.join(name, in, m, meta.Sequence.Stream)
}

func (a *assembly) join(name string, in publish.Message, m jetstream.Msg, sequence uint64) (Delivery, bool, error) {
	subject := in.Subject
	in.Subject = name
	whole, ok, err := a.joiner.Add(in)
	switch {
	case err != nil:
		in.Subject = subject
		return Delivery{}, false, giveUp(m, err)
	case !ok && !a.joiner.Open(name):
		_ = m.Ack() // one part too many; at worst it comes again
		return Delivery{}, false, nil
	}
	h := a.held[name]
	if h == nil {
		h = &heldParts{subject: subject}
		a.held[name] = h
	}
	h.messages = append(h.messages, m)
	h.last = max(h.last, sequence)
	if !ok {
		return Delivery{}, false, nil
	}
	delete(a.held, name)
	whole.Subject = subject
	return deliver(whole, h.messages)
}

// name returns what tells the tensor of a part from all others.
func (a *assembly) name(m publish.Message) (string, error) {
	p, err := publish.ParsePosition(m.Header)
	if err != nil {
		return "", err
	}
	if a.most > 0 && p.Parts > a.most {
		return "", fmt.Errorf("the tensor has %d parts, but no more than %d may be unacknowledged: raise the consumer's max_ack_pending", p.Parts, a.most)
	}
	return fmt.Sprintf("%s %x/%d", m.Subject, p.Tensor, p.Parts), nil
}

// pass notes that something with the given sequence has come on a subject.
func (a *assembly) pass(name, subject string, sequence uint64) {
	for other, h := range a.held {
		if other != name && h.subject == subject && sequence > h.last {
			h.passed = true
		}
	}
}

// abandon gives up a tensor whose part has come again, where its missing parts
// cannot come any more, and tells whether it has.
func (a *assembly) abandon(name string, sequence uint64) bool {
	h := a.held[name]
	if h == nil || !h.passed || sequence > h.last {
		return false
	}
	again := false
	for _, m := range h.messages {
		meta, err := m.Metadata()
		again = again || err == nil && meta.Sequence.Stream == sequence
	}
	if !again {
		return false
	}
	a.incomplete.Add(1)
	_ = settle(h.messages, jetstream.Msg.Term) // at worst they come again
	a.joiner.Forget(name)
	return true
}

// deliver makes the delivery of a whole message from the parts that it came in.
func deliver(m publish.Message, parts []jetstream.Msg) (Delivery, bool, error) {
	d, err := newDelivery(m)
	if err != nil {
		return Delivery{}, false, errors.Join(err, settle(parts, jetstream.Msg.Term))
	}
	d.parts = parts
	return d, true, nil
}

// giveUp returns the error of a message that is broken, and would be whenever it
// came.
func giveUp(m jetstream.Msg, err error) error {
	_ = m.Term() // at worst it comes again
	return &MessageError{m.Subject(), err}
}
