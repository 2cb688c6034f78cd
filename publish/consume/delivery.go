package consume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

// A Delivery is what a consumer gets: a tensor, a gap, or the end of a replay.
type Delivery struct {
	// Tensor has only its Subject, Stream, Output, Time and Spec if Gap or End is set.
	tensor.Tensor
	// Gap is a run of slots without tensors, and nil if there is a tensor. Its Output
	// and Spec are empty if it is a gap in all outputs of the stream.
	Gap *publish.InlineGap
	// End says that a replay job has nothing more on the subject, and is nil otherwise.
	End *publish.End
	// InMemory says that the tensor came in the feeder's memory, not over NATS.
	InMemory bool

	parts   []jetstream.Msg // to acknowledge; none without JetStream
	release func()          // nil where the memory is not used again
}

// Release says that nothing of the tensor's data is used any more, neither by the caller
// nor by what was made of it without a copy, such as by [tensor.Tensor.Float32s]. Its memory
// then receives a later tensor, or is the feeder's again if it is borrowed: see [Options].
// What was received and is not released is left to the garbage collector, which takes longer
// than to receive a tensor does.
func (d Delivery) Release() {
	if d.release != nil {
		d.release()
	}
}

// Ack tells JetStream that the delivery was processed. Call it for each delivery of
// [Consumer.Deliveries]: without an ack within [ConsumerOptions.AckWait] it is delivered
// again. For a delivery of a [Subscription], Ack does nothing.
func (d Delivery) Ack() error { return settle(d.parts, jetstream.Msg.Ack) }

// Nak asks JetStream for a new delivery at once. For a delivery of a [Subscription], Nak
// does nothing.
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

// A MessageError says that a message is malformed. Later ones may be fine.
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

// newDelivery parses a whole message of any kind.
func newDelivery(m publish.Message) (Delivery, error) {
	var gap publish.InlineGap
	var err error
	switch m.Kind() {
	case publish.KindEnd:
		end, err := publish.ParseEnd(m.Header)
		if err != nil {
			return Delivery{}, &MessageError{m.Subject, err}
		}
		envelope := publish.Envelope{Stream: end.Stream, Output: end.Output, Time: end.To.Time()}
		return Delivery{Tensor: tensor.Tensor{Envelope: envelope, Subject: m.Subject}, End: &end}, nil
	case publish.KindGapEvent:
		gap.Gap, err = publish.ParseGap(m.Data)
	case publish.KindInlineGap:
		if gap, err = publish.ParseInlineGap(m.Header); err == nil && len(m.Data) > 0 {
			err = fmt.Errorf("header %s: with a payload of %d bytes", publish.HeaderGap, len(m.Data))
		}
	default:
		t, err := tensor.Parse(m)
		if err != nil {
			release(m)
			return Delivery{}, &MessageError{m.Subject, err}
		}
		return Delivery{Tensor: t, InMemory: m.Memory != "", release: m.Release}, nil
	}
	if err != nil {
		return Delivery{}, &MessageError{m.Subject, err}
	}
	envelope := publish.Envelope{Stream: gap.Stream, Output: gap.Output, Time: gap.From.Time(), Spec: gap.Spec}
	return Delivery{Tensor: tensor.Tensor{Envelope: envelope, Subject: m.Subject}, Gap: &gap}, nil
}

// Tensors returns the deliveries until ctx ends or the subscription is closed. They
// include gaps if the subjects include those of gap events, or if the feeder announces
// gaps inline. After a [*MessageError], which is about one message, the loop can go on.
//
//	for d, err := range sub.Tensors(ctx) {
//		switch {
//		case err != nil:
//			log.Print(err)
//		case d.Gap != nil:
//			log.Printf("%s: no frames from %v to %v", d.Stream, d.Gap.From, d.Gap.To)
//		default:
//			detect(d.Tensor)
//		}
//	}
//
// Only one loop can run at a time, and Next must not be called during it.
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
				s.releasable(&d)
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// releasable has the memory of a payload used again once it is released.
func (s *Subscription) releasable(d *Delivery) {
	if data := d.Data; d.release == nil && len(data) > 0 {
		d.release = sync.OnceFunc(func() { s.store.Release(data) })
	}
}

// Incomplete returns how many tensors were given up because parts of them were missing.
func (s *Subscription) Incomplete() int { return int(s.incomplete.Load()) }

func countingJoiner(incomplete *atomic.Int64) *publish.Joiner {
	return &publish.Joiner{OnDrop: func(string) { incomplete.Add(1) }}
}
