package clients

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A room is memory in which the feeder makes tensors that are full of their number.
type room struct {
	dir     string
	ring    *memory.Ring
	handoff *handoff.Delivery
	buffers transform.Buffers
	made    int
}

// inMemory is a request for Count more tensors that lie in memory.
type inMemory struct {
	Stream string
	Count  int
}

// memory publishes tensors, and replies with where they are and how many were published in which
// way so far.
func (f *feeder) memory(ctx context.Context, r inMemory) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room == nil {
		if err := f.makeRoom(ctx); err != nil {
			return nil, err
		}
	}
	ask := tensors{
		Stream: r.Stream, Output: "detector", Width: 100, Height: 100, DType: transform.Uint8, Layout: transform.NHWC,
		Color: transform.Gray, Affine: transform.Affine{1, 0, 0, 0, 1, 0}, Std: [3]float64{1, 1, 1}, Fingerprint: "3f2a",
	}
	for range r.Count {
		plain := ask.tensor(1767323045200)
		t, _ := f.room.buffers.Tensor(len(plain.Data), transform.Padding{})
		for i := range t.Data {
			t.Data[i] = byte(f.room.made)
		}
		t.Stream, t.Slot, t.Capture, t.Output = plain.Stream, plain.Slot, plain.Capture, plain.Output
		t.Shape, t.Source, t.Affines = plain.Shape, plain.Source, plain.Affines
		f.room.made++
		err := f.room.handoff.Publish(ctx, publish.NewMessage("cvf.t."+r.Stream+".detector", t))
		t.Release()
		if err != nil {
			return nil, err
		}
	}
	counts := f.room.handoff.Counts()
	return map[string]any{"Dir": f.room.dir, "InMemory": counts.Memory, "AsPayload": counts.Payload, "Held": f.room.ring.Stats().Held}, f.conn.Flush(ctx)
}

func (f *feeder) makeRoom(ctx context.Context) error {
	dir := filepath.Join(f.t.TempDir(), "memory")
	ring, err := memory.Open(ctx, memory.Options{Dir: dir, Bytes: 8 * 12288, SlotBytes: 10_000, Grace: -1})
	if err != nil {
		return err
	}
	f.room = &room{dir: dir, ring: ring, handoff: handoff.New(f.live, handoff.Options{Host: ring.Host, OnUnknown: func(err error) { f.t.Log(err) }})}
	f.room.buffers.Shared = ring
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var serving sync.WaitGroup
	serving.Go(func() { f.room.handoff.Serve(ctx) })
	f.t.Cleanup(func() {
		stop()
		serving.Wait()
		_ = ring.Close() // its directory goes with the test
	})
	return nil
}
