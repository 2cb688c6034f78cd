package consume

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
)

// An assembly puts together the tensors of a JetStream consumer.
//
// Unlike on a plain subscription, messages can arrive out of order: those that were not
// acknowledged in time are delivered again, between others. So each tensor is joined on
// its own, and other messages on its subject do not end it. It is given up when later
// messages have arrived and then, after the consumer's AckWait, its own parts are
// delivered again: by then all existing parts would have arrived.
type assembly struct {
	joiner     *publish.Joiner
	held       map[string]*heldParts // by the joiner's name for the tensor
	most       int                   // how many parts can wait for each other; 0 or less: any number
	incomplete *atomic.Int64
	fetch      func(publish.Message) publish.Message // what lies in memory
}

// heldParts are the parts of an incomplete tensor.
type heldParts struct {
	subject   string
	messages  []jetstream.Msg
	last      uint64 // sequence in the stream
	overtaken bool   // a later message has arrived on the subject
}

func newAssembly(incomplete *atomic.Int64, maxAckPending int) *assembly {
	a := &assembly{held: make(map[string]*heldParts), most: maxAckPending, incomplete: incomplete}
	a.joiner = &publish.Joiner{OnDrop: func(name string) { delete(a.held, name) }} // to be delivered again
	return a
}

// add adds a message, and returns the delivery that it completes, if any. The error is a
// [*MessageError]; then the message will not be delivered again.
func (a *assembly) add(m jetstream.Msg) (Delivery, bool, error) {
	in := message(m)
	if a.fetch != nil {
		in = copied(a.fetch(in))
	}
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
	a.overtake(name, in.Subject, meta.Sequence.Stream)
	if in.Kind() != publish.KindPart {
		return deliver(in, []jetstream.Msg{m})
	}
	if meta.NumDelivered > 1 {
		if a.abandon(name, meta.Sequence.Stream) {
			return Delivery{}, false, nil
		}
		if !a.joiner.Open(name) {
			a.joiner.Forget(name) // it was complete before, but not acknowledged
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
		_ = m.Ack() // a duplicate part; at worst it is delivered again
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

// name returns a name for the tensor of a part that no other tensor has.
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

// overtake notes that a message with the given sequence has arrived on a subject.
func (a *assembly) overtake(name, subject string, sequence uint64) {
	for other, h := range a.held {
		if other != name && h.subject == subject && sequence > h.last {
			h.overtaken = true
		}
	}
}

// abandon gives up a tensor, one of whose parts was delivered again, if its missing parts
// cannot arrive any more. It tells whether it did.
func (a *assembly) abandon(name string, sequence uint64) bool {
	h := a.held[name]
	if h == nil || !h.overtaken || sequence > h.last {
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
	_ = settle(h.messages, jetstream.Msg.Term) // at worst they are delivered again
	a.joiner.Forget(name)
	return true
}

// deliver makes the delivery of a whole message, which came in parts.
func deliver(m publish.Message, parts []jetstream.Msg) (Delivery, bool, error) {
	d, err := newDelivery(m)
	if err != nil {
		return Delivery{}, false, errors.Join(err, settle(parts, jetstream.Msg.Term))
	}
	d.parts = parts
	return d, true, nil
}

// giveUp returns the error of a malformed message, which is not to be delivered again.
func giveUp(m jetstream.Msg, err error) error {
	_ = m.Term() // at worst it is delivered again
	return &MessageError{m.Subject(), err}
}
