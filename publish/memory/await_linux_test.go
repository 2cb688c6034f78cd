package memory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const subject = "cvf.t.cam-1.detector"

func await(t *testing.T, r *Reader, subjects ...string) *Awaited {
	t.Helper()
	a, err := r.Await(subjects...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// openSlow returns a ring that never overwrites what somebody expects.
func openSlow(t *testing.T, slots int64) (*Ring, *Reader) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "memory")
	r, err := Open(t.Context(), Options{Dir: dir, Bytes: slots * 3 * page, SlotBytes: tensorBytes, Grace: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	reader := NewReader(dir)
	t.Cleanup(func() { _ = r.Close(); reader.Close() })
	return r, reader
}

// putOn shares a tensor that is told of on a subject.
func putOn(t *testing.T, r *Ring, subject string) Place {
	t.Helper()
	s, ok := r.Slot(tensorBytes)
	if !ok {
		t.Fatal("there is no slot")
	}
	defer s.Release()
	p, err := ParsePlace(s.Share(subject))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// receive holds a tensor for a moment, and says that it was received.
func receive(t *testing.T, r *Reader, a *Awaited, subject string, p Place) {
	t.Helper()
	h, err := r.Hold(p)
	if err != nil {
		t.Fatal(err)
	}
	a.Received(subject, h)
	h.Release()
}

func full(r *Ring) bool {
	s, ok := r.Slot(tensorBytes)
	if ok {
		s.Release()
	}
	return !ok
}

// TestThroughput: readers that keep up let the feeder use each slot at once, however many tensors
// there are in a second.
func TestThroughput(t *testing.T) {
	ring, one := openSlow(t, 3)
	other := NewReader(one.dir)
	defer other.Close()
	ones, others := await(t, one, "cvf.t.>"), await(t, other, subject)
	for range 1000 {
		p := putOn(t, ring, subject)
		receive(t, one, ones, subject, p)
		receive(t, other, others, subject, p)
	}
	if n := ring.Stats().None; n > 0 {
		t.Errorf("%d tensors found no slot", n)
	}
}

// TestExpected: what one reader has received, another one still may expect.
func TestExpected(t *testing.T) {
	ring, reader := openSlow(t, 4)
	slow := NewReader(reader.dir)
	defer slow.Close()
	quick, awaited := await(t, reader, subject), await(t, slow, subject)
	var places []Place
	for range 4 {
		p := putOn(t, ring, subject)
		places = append(places, p)
		receive(t, reader, quick, subject, p)
	}
	if !full(ring) {
		t.Fatal("a tensor is overwritten that somebody expects")
	}
	receive(t, slow, awaited, subject, places[1]) // the first was lost on its way
	putOn(t, ring, subject)
	putOn(t, ring, subject)
	if !full(ring) {
		t.Error("a tensor is overwritten that comes after what was received")
	}
	quick.Close()
	awaited.Close() // or it has died
	if full(ring) {
		t.Error("what was expected by somebody who is gone is still kept")
	}
}

// TestLanes: each subject has an order of its own, and who expects one does not keep the others.
func TestLanes(t *testing.T) {
	ring, reader := openSlow(t, 3)
	awaited := await(t, reader, "cvf.t.cam-1.detector", "cvf.t.cam-2.detector")
	first := putOn(t, ring, "cvf.t.cam-1.detector")
	for range 10 {
		putOn(t, ring, "cvf.t.cam-3.detector")
		p := putOn(t, ring, "cvf.t.cam-2.detector")
		receive(t, reader, awaited, "cvf.t.cam-2.detector", p)
	}
	receive(t, reader, awaited, "cvf.t.cam-1.detector", first)
	pattern := await(t, NewReader(reader.dir), "cvf.t.*.plain")
	if full(ring) {
		t.Error("who expects another output keeps a tensor")
	}
	pattern.Close()
	pattern = await(t, NewReader(reader.dir), "cvf.t.*.detector")
	if !full(ring) {
		t.Error("what a pattern may stand for is overwritten")
	}
	pattern.Close()
	ring.sequences[laneOf("cvf.t.cam-1.detector", ring.number)] = maxSequence
	for range 3 {
		receive(t, reader, awaited, "cvf.t.cam-1.detector", putOn(t, ring, "cvf.t.cam-1.detector"))
	}
	if !full(ring) {
		t.Error("what is behind the end of a lane is overwritten, though nobody can say that it was received")
	}
}

// TestAnotherFeeder: a tensor of a feeder that has only now come is expected, too, and what is
// received of one feeder says nothing of another one.
func TestAnotherFeeder(t *testing.T) {
	ring, reader := openSlow(t, 2)
	awaited := await(t, reader, subject)
	second, err := Open(t.Context(), Options{Dir: reader.dir, Bytes: 2 * 3 * page, SlotBytes: tensorBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for range 20 {
		receive(t, reader, awaited, subject, putOn(t, ring, subject))
	}
	for range 2 {
		putOn(t, second, subject)
	}
	if !full(second) {
		t.Error("a tensor of the second feeder is overwritten that somebody expects")
	}
}

// TestLanesOfOtherLanguages: the test of the Python client has the same numbers.
func TestLanesOfOtherLanguages(t *testing.T) {
	for pattern, want := range map[string][2]int64{
		"cvf.t.front-door.detector": {1869463336823816192, 274877906944},
		"cvf.t.*.detector":          {1801439850948198400, 72057594037927936},
		"cvf.t.>":                   {0, 4611686018427387904},
	} {
		if from, n := lanesOf(pattern); [2]int64{from, n} != want {
			t.Errorf("%s: %d, %d", pattern, from, n)
		}
	}
}

// TestNumbersComeAgain: the number of a feeder's file is used again at some time, and what was
// received of the one is not of the other.
func TestNumbersComeAgain(t *testing.T) {
	ring, reader := openSlow(t, 2)
	awaited := await(t, reader, subject)
	for range 20 {
		receive(t, reader, awaited, subject, putOn(t, ring, subject))
	}
	if reader.Sweep() {
		t.Error("a file is swept that is there")
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	if !reader.Sweep() || reader.Sweep() {
		t.Error("a file is not swept that was removed")
	}
	if err := awaited.Again(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(reader.dir, lockFile), fmt.Appendf(nil, "%d", ring.number-1+1<<numberBits), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Options{Dir: reader.dir, Bytes: 2 * 3 * page, SlotBytes: tensorBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if laneOf(subject, second.number) != laneOf(subject, ring.number) {
		t.Fatalf("the number %d follows", second.number)
	}
	for range 2 {
		putOn(t, second, subject)
	}
	if !full(second) {
		t.Error("a tensor is overwritten that somebody expects")
	}
}

// TestManyExpected: however much is expected, looking for a slot ends soon.
func TestManyExpected(t *testing.T) {
	const slots = 4 * maxLooks
	ring, reader := openSlow(t, slots)
	awaited := await(t, reader, "cvf.t.>")
	for i := range slots {
		putOn(t, ring, fmt.Sprintf("cvf.t.cam-%d.detector", i))
	}
	look := glance{ring: ring}
	for _, s := range ring.free {
		if look.now = s.since; !look.expected(s) {
			t.Fatal("a tensor is overwritten that somebody expects")
		}
	}
	if look.looks != maxLooks {
		t.Errorf("%d looks", look.looks)
	}
	awaited.Close()
}

// TestAwaitedIsCurrent: whoever expects something notices that the directory is another one.
func TestAwaitedIsCurrent(t *testing.T) {
	ring, reader := openSlow(t, 1)
	awaited := await(t, reader, subject)
	if awaited.Host() != ring.Host() || !awaited.Current() {
		t.Errorf("the host is %q, not %q", awaited.Host(), ring.Host())
	}
	if err := os.Remove(filepath.Join(reader.dir, readersFile)); err != nil {
		t.Fatal(err)
	}
	if awaited.Current() {
		t.Error("it is not noticed that the directory is another one")
	}
	if _, err := reader.Await(subject); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a feeder: %v", err)
	}
}
