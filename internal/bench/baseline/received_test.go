package baseline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
)

const (
	// tolerance is how far values may differ: one step of a pixel, because the programs
	// have different versions of OpenCV, and a little for rounding.
	tolerance = 1.0/255 + 1e-6
	// fastTolerance is how far values may differ on average when pictures are decoded at
	// a smaller scale, because the programs choose different scales.
	fastTolerance = 4.0 / 255
)

// sample says that the tensors of every sample-th slot are compared.
const sample = 40

// published is what a program published.
type published struct {
	count   int
	slots   map[string]bool
	tensors map[string][]byte // of some slots
}

// received collects what is published.
type received struct {
	sub  *consume.Subscription
	mu   sync.Mutex
	got  published
	news chan struct{}
}

// collect reads until the subscription is closed.
func collect(sub *consume.Subscription) *received {
	r := &received{sub: sub, news: make(chan struct{}, 1)}
	r.take()
	go func() {
		for {
			m, err := sub.Next(context.Background())
			if err != nil {
				return
			}
			r.add(m)
		}
	}()
	return r
}

func (r *received) add(m publish.Message) {
	at := m.Header[publish.HeaderTime][0]
	key := m.Subject + " " + at
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.count++
	r.got.slots[key] = true
	if t, err := time.Parse(publish.TimeFormat, at); err == nil && t.UnixMilli()/interval.Milliseconds()%sample == 0 {
		r.got.tensors[key] = m.Data
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// take returns what has come since the last call.
func (r *received) take() published {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = published{slots: map[string]bool{}, tensors: map[string][]byte{}}
	return got
}

// settle waits until want tensors have come.
func (r *received) settle(ctx context.Context, want int) error {
	timeout := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		count := r.got.count
		r.mu.Unlock()
		if count >= want {
			return nil
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("%d tensors arrived, want %d; %d were not read in time", count, want, r.sub.Missed())
		}
	}
}

// same returns an error unless p and q have the same slots, and the same values as far
// as the way of decoding allows.
func (p published) same(q published, decode string) error {
	if p.count != q.count || len(p.slots) != len(q.slots) || len(p.tensors) == 0 || len(p.tensors) != len(q.tensors) {
		return fmt.Errorf("%d and %d tensors of %d and %d slots", p.count, q.count, len(p.slots), len(q.slots))
	}
	for slot := range p.slots {
		if !q.slots[slot] {
			return fmt.Errorf("%s was published by only one", slot)
		}
	}
	for slot, a := range p.tensors {
		worst, mean, err := difference(a, q.tensors[slot])
		if err == nil && (decode == "exact" && !(worst <= tolerance) || !(mean <= fastTolerance)) {
			err = fmt.Errorf("values differ by up to %.4f, by %.4f on average", worst, mean)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", slot, err)
		}
	}
	return nil
}

// difference returns the largest and the mean difference of two tensors of float32.
func difference(a, b []byte) (worst, mean float64, err error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, 0, fmt.Errorf("tensors of %d and %d bytes", len(a), len(b))
	}
	for i := 0; i < len(a); i += 4 {
		d := math.Abs(value(a[i:]) - value(b[i:]))
		worst = max(worst, d)
		mean += d
	}
	return worst, mean / float64(len(a)/4), nil
}

func value(b []byte) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}
