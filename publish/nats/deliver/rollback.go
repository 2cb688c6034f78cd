package deliver

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// markFor is how long it is remembered which slots a stream has acknowledged. By default
	// a server writes its files to disk every two minutes, and so loses no more than that.
	markFor = 150 * time.Second
	// maxMarks bounds the same for each subject: 24 bytes each.
	maxMarks = 1024
)

// A record is what the server has acknowledged since it made the stream. Each message has a
// higher sequence than all before it. If one does not, or if the stream ends before what it
// has acknowledged, the server has lost the newest messages: its store is that of an
// earlier time.
type record struct {
	made    time.Time // when the server made the stream, as last seen
	reached uint64    // the highest sequence
	ends    []uint64  // where the stream ended each time that it had lost messages
}

// recorded returns what is on record now.
func (s *Stored) recorded() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// seen takes note of when the stream was made. If that has changed, the stream is another
// one, which holds nothing of what the one before held.
func (s *Stored) seen(made time.Time) {
	s.mu.Lock()
	another := !s.record.made.IsZero() && !s.record.made.Equal(made)
	s.record.made = made
	if another {
		s.record.reached = 0
	}
	s.mu.Unlock()
	if another {
		s.conn.Remade("stream " + s.cfg.Name)
	}
}

// reached compares a look at the stream with the record of before.
func (s *Stored) reached(before record, last lastMessage) {
	if last.created.Equal(before.made) && last.reached < before.reached {
		s.rolledBack(before, last.reached)
	}
}

// acknowledged takes note of a message that was sent after before. The error is that of
// lost.
func (s *Stored) acknowledged(t *subjectState, before record, ack *jetstream.PubAck, subject string, first source.Slot) error {
	seq := ack.Sequence
	s.mu.Lock()
	same := s.record.made.Equal(before.made) && len(s.record.ends) == len(before.ends)
	if same {
		s.record.reached = max(s.record.reached, seq)
	}
	s.mu.Unlock()
	if same && !ack.Duplicate && seq <= before.reached {
		s.rolledBack(before, seq-1)
	}
	t.marks.add(seq, first)
	return s.lost(t, subject)
}

// rolledBack takes note of where the stream ended after it had lost messages, unless that
// has been noted since before.
func (s *Stored) rolledBack(before record, end uint64) {
	s.mu.Lock()
	first := len(s.record.ends) == len(before.ends)
	if first {
		s.record.ends = append(s.record.ends, end)
		s.record.reached = end
	}
	s.mu.Unlock()
	if first {
		s.conn.RolledBack("stream "+s.cfg.Name, before.reached, end)
	}
}

// A mark is a message that the server has acknowledged.
type mark struct {
	seq   uint64
	first source.Slot
	at    int64 // the second
}

// marks are the newest messages on one subject that the server has acknowledged, in order.
type marks struct {
	all  []mark
	seen int // how many ends of the stream have been compared with them
}

// add appends a message, and drops those that are too old or too many.
func (m *marks) add(seq uint64, first source.Slot) {
	if n := len(m.all); n > 0 && seq <= m.all[n-1].seq {
		return // it is known, or is an earlier one
	}
	now := time.Now().Unix()
	m.all = append(m.all, mark{seq, first, now})
	old := max(len(m.all)-maxMarks, 0)
	for old < len(m.all) && m.all[old].at < now-int64(markFor/time.Second) {
		old++
	}
	// The slice moves on, and is copied only now and then.
	m.all = m.all[old:]
}

// lost returns a [*publish.LostError] if the stream has lost messages on the subject since
// the last call, of those that are remembered. From then on it is as if they had never been
// published.
func (s *Stored) lost(t *subjectState, subject string) error {
	ends := s.recorded().ends
	if t.marks.seen == len(ends) {
		return nil
	}
	end := slices.Min(ends[t.marks.seen:])
	t.marks.seen, t.known = len(ends), false
	i := slices.IndexFunc(t.marks.all, func(m mark) bool { return m.seq > end })
	if i < 0 {
		return nil
	}
	from := t.marks.all[i].first
	t.marks.all = t.marks.all[:i]
	if t.pos = t.held; t.pos.Last >= from { // of before the loss
		t.pos = publish.Position{First: from - 1, Last: from - 1, Part: 1, Parts: 1}
	}
	t.gap = false
	return &publish.LostError{Subject: subject, From: from}
}
