package consume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

// A Delivery is what a consumer gets: a tensor, or the news that there is none.
type Delivery struct {
	// Tensor is the zero value but for its Subject, Stream, Output, Time and Spec
	// where Gap is set.
	tensor.Tensor
	// Gap tells of a run of slots that have no tensor; nil where there is one. Its
	// Output and Spec are empty where it is a gap of all of the stream's outputs.
	Gap *publish.InlineGap

	parts []jetstream.Msg // what to acknowledge; none without JetStream
}

// Ack tells JetStream that the delivery is done with, and must be called for each
// one from [Consumer.Deliveries]; what is not acknowledged within
// [ConsumerOptions.AckWait] comes again. It does nothing for others.
func (d Delivery) Ack() error { return settle(d.parts, jetstream.Msg.Ack) }

// Nak asks JetStream to deliver it again at once. It does nothing for a delivery
// from a [Subscription].
func (d Delivery) Nak() error { return settle(d.parts, jetstream.Msg.Nak) }

func settle(messages []jetstream.Msg, how func(jetstream.Msg) error) error {
	var errs []error
	for _, m := range messages {
		if err := how(m); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// A MessageError says that one message is not what it says it is. Those after it
// may be fine.
type MessageError struct {
	Subject string
	Err     error
}

// Error implements error.
func (e *MessageError) Error() string {
	return fmt.Sprintf("broken message on %.80q: %v", e.Subject, e.Err)
}

// Unwrap returns the cause.
func (e *MessageError) Unwrap() error { return e.Err }

// newDelivery reads a whole message of any kind.
func newDelivery(m publish.Message) (Delivery, error) {
	var gap publish.InlineGap
	var err error
	switch m.Kind() {
	case publish.KindGapEvent:
		gap.Gap, err = publish.ParseGap(m.Data)
	case publish.KindInlineGap:
		gap, err = publish.ParseInlineGap(m.Header)
	default:
		t, err := tensor.Parse(m)
		if err != nil {
			return Delivery{}, &MessageError{m.Subject, err}
		}
		return Delivery{Tensor: t}, nil
	}
	if err != nil {
		return Delivery{}, &MessageError{m.Subject, err}
	}
	envelope := publish.Envelope{Stream: gap.Stream, Output: gap.Output, Time: gap.From.Time(), Spec: gap.Spec}
	return Delivery{Tensor: tensor.Tensor{Envelope: envelope, Subject: m.Subject}, Gap: &gap}, nil
}

// Tensors returns what comes, until ctx ends or the subscription is closed:
// tensors, put together where they came in parts, and gaps, where the subjects
// include those of the gap events or the feeder tells of them inline. A
// [*MessageError] is one bad message, after which the loop can go on.
//
//	for d, err := range sub.Tensors(ctx) {
//		switch {
//		case err != nil:
//			log.Print(err)
//		case d.Gap != nil:
//			log.Printf("%s: nothing from %v to %v", d.Stream, d.Gap.From, d.Gap.To)
//		default:
//			detect(d.Tensor)
//		}
//	}
//
// Only one loop may run at a time, and Next must not be called meanwhile.
func (s *Subscription) Tensors(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		joiner := countingJoiner(&s.incomplete)
		for {
			m, err := s.Next(ctx)
			if err != nil {
				return // the end of ctx, or Close
			}
			whole, ok, err := joiner.Add(m)
			var d Delivery
			switch {
			case err != nil:
				err = &MessageError{m.Subject, err}
			case !ok:
				continue
			default:
				d, err = newDelivery(whole)
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// Incomplete returns how many tensors were given up because not all of their
// parts came.
func (s *Subscription) Incomplete() int { return int(s.incomplete.Load()) }

func countingJoiner(incomplete *atomic.Int64) *publish.Joiner {
	return &publish.Joiner{OnDrop: func(string) { incomplete.Add(1) }}
}
