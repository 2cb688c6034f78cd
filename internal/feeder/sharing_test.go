package feeder

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestAGroupGoesOnAtTheCursor turns a durable cvfeeder into a group: what came while
// it was stopped is not to be left out.
func TestAGroupGoesOnAtTheCursor(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	conn, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	now := source.SlotAt(time.Now())
	cursor := now.Add(-time.Hour)
	cursors := deliver.NewCursors(conn, 1)
	if err := cursors.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	cursors.Set("cam", cursor)
	if err := cursors.Flush(t.Context(), "cam"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key  string
		want source.Slot
	}{{"cam", cursor}, {"another", now}, {"", now}} {
		got, err := firstOf(t.Context(), conn, nil, pipeline.Stream{Name: "cam", Key: test.key, From: now})
		if err != nil || got != test.want {
			t.Errorf("with the key %q it begins at %v (%v), want %v", test.key, got, err, test.want)
		}
	}
}

// TestClaimBesideAnother: two feeders begin the same range. That one of them has
// published some of it already is no reason for the other to refuse the range.
func TestClaimBesideAnother(t *testing.T) {
	conn := storing(t)
	stored := deliver.NewStored(conn, deliver.StoredOptions{Stream: deliver.StreamOptions{
		Kind: deliver.Durable, Name: "yard", Subjects: []string{"cvf.t.>"}, MaxBytes: 1 << 20,
	}})
	one, other := deliver.NewCursors(conn, 1), deliver.NewCursors(conn, 1)
	for _, open := range []func(context.Context) error{stored.Open, one.Open, other.Open} {
		if err := open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o := &transform.Output{Name: "a", Fingerprint: "test"}
	s := pipeline.Stream{
		Name: "cam", Key: "cam@", Backfill: true, From: source.SlotAt(time.Now().Add(-time.Hour)), Grid: grid(t),
		Routes: []publish.Route{{Output: o, Subject: "cvf.t.cam.a"}},
	}
	m := publish.NewMessage("cvf.t.cam.a", &transform.Tensor{Stream: "cam", Slot: s.From.Add(time.Second), Output: o, Shape: []int{1, 1, 1, 1}, Data: []byte{1}})
	if err := stored.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := claim(t.Context(), conn, stored, other, s); !errors.Is(err, errRange) {
		t.Errorf("of a range that nobody has begun, but whose subject holds tensors: %v", err)
	}
	if err := claim(t.Context(), conn, stored, one, pipeline.Stream{Name: "cam", Key: s.Key, From: s.From}); err != nil {
		t.Fatal(err)
	}
	if err := claim(t.Context(), conn, stored, other, s); err != nil {
		t.Errorf("of a range that another feeder has begun: %v", err)
	}
}

// storing returns a connection to a server with JetStream, for the length of the test.
func storing(t *testing.T) *dial.Conn {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	conn, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// grid returns one of a second.
func grid(t *testing.T) source.Grid {
	t.Helper()
	g, err := source.NewGrid(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestLostCursorOfARange: a range of which the stream holds tensors, but whose cursor is
// lost, goes on after them, in a group as well. A range that lies before what the stream
// holds is refused all the same.
func TestLostCursorOfARange(t *testing.T) {
	conn := storing(t)
	from := source.SlotAt(time.Now().Add(-time.Hour).Truncate(time.Second))
	at := func(seconds int) source.Slot { return from.Add(time.Duration(seconds) * time.Second) }
	for _, tc := range []struct {
		name        string
		limits      bool
		held        [2][2]int // the first and the last second that each subject holds; none if equal
		from, to    int
		remade      bool // the bucket, after that
		want        int
		wantRefused bool
	}{
		{name: "own-beginning", limits: true, held: [2][2]int{{0, 9}, {0, 9}}, to: 60, want: 9},
		{name: "two-outputs", limits: true, held: [2][2]int{{0, 9}, {0, 5}}, to: 60, want: 5},
		{name: "one-output-without", limits: true, held: [2][2]int{{0, 9}, {0, 0}}, to: 60, want: 0},
		{name: "no-end", limits: true, held: [2][2]int{{0, 9}, {0, 9}}, want: 9},
		{name: "all-of-it", limits: true, held: [2][2]int{{0, 60}, {0, 60}}, to: 60, want: 60},
		{name: "consumed", held: [2][2]int{{4, 9}, {0, 0}}, to: 60, remade: true, want: 9},
		{name: "later-ones", limits: true, held: [2][2]int{{30, 39}, {30, 39}}, to: 60, wantRefused: true},
		{name: "later-ones-no-end", limits: true, held: [2][2]int{{30, 39}, {30, 39}}, wantRefused: true},
		{name: "before-all", limits: true, held: [2][2]int{{0, 90}, {0, 90}}, to: 60, wantRefused: true},
		{name: "before-all-remade", held: [2][2]int{{70, 90}, {70, 90}}, to: 60, remade: true, wantRefused: true},
		{name: "after-all", limits: true, held: [2][2]int{{0, 9}, {0, 9}}, from: 20, to: 60, want: 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stored := deliver.NewStored(conn, deliver.StoredOptions{Stream: deliver.StreamOptions{
				Kind: deliver.Durable, Name: tc.name, Subjects: []string{tc.name + ".>"}, MaxBytes: 1 << 20, Limits: tc.limits,
			}})
			cursors := deliver.NewCursors(conn, 1)
			for _, open := range []func(context.Context) error{stored.Open, cursors.Open} {
				if err := open(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s := pipeline.Stream{Name: "cam", Key: "cam@" + tc.name, Backfill: true, From: at(tc.from), Grid: grid(t)}
			if tc.to != 0 {
				s.To = at(tc.to)
			}
			for i, held := range tc.held {
				o := &transform.Output{Name: []string{"a", "b"}[i], Fingerprint: "test"}
				r := publish.Route{Output: o, Subject: tc.name + "." + o.Name}
				s.Routes = append(s.Routes, r)
				for n := held[0]; n < held[1]; n++ {
					m := publish.NewMessage(r.Subject, &transform.Tensor{Stream: "cam", Slot: at(n), Output: o, Shape: []int{1, 1, 1, 1}, Data: []byte{1}})
					if err := stored.Publish(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tc.remade {
				if err := conn.Control().JetStream().DeleteKeyValue(t.Context(), deliver.CursorBucket); err != nil {
					t.Fatal(err)
				}
				cursors = deliver.NewCursors(conn, 1)
				if err := cursors.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			err := claim(t.Context(), conn, stored, cursors, s)
			if tc.wantRefused {
				if !errors.Is(err, errRange) {
					t.Errorf("it is not refused: %v", err)
				}
				return
			}
			first, begun := cursors.Load(s.Key)
			if got := s.Grid.Ceil(first); err != nil || !begun || got != at(tc.want) {
				t.Errorf("it begins at %v (%v), want %v", got, err, at(tc.want))
			}
			inGroup, err := rangeStart(t.Context(), conn, stored, s, deliver.CursorBucket)
			if got := s.Grid.Ceil(inGroup); err != nil || got != at(tc.want) {
				t.Errorf("in a group it begins at %v (%v), want %v", got, err, at(tc.want))
			}
		})
	}
}
