package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Most is how many lines an event may have in a second.
const Most = 10

// maxEvents bounds the events that are told apart.
const maxEvents = 1000

// An event is what lines have in common.
type event struct {
	level   slog.Level
	message string
}

// A second is what became of an event since its first line.
type second struct {
	begin   time.Time
	lines   int
	more    int // that were not written
	streams map[string]bool
}

// A limit is shared by the handlers of a logger.
type limit struct {
	out    slog.Handler // without attributes, for what is told of many lines
	mu     sync.Mutex
	events map[event]*second
	timer  *time.Timer // runs while lines are left out
	ended  bool
}

// limited is a handler within a limit.
type limited struct {
	slog.Handler
	limit  *limit
	stream string // of the logger's attributes
}

// WithAttrs implements [slog.Handler].
func (h *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	stream := h.stream
	for _, a := range attrs {
		if a.Key == "stream" {
			stream = a.Value.String()
		}
	}
	return &limited{h.Handler.WithAttrs(attrs), h.limit, stream}
}

// WithGroup implements [slog.Handler].
func (h *limited) WithGroup(name string) slog.Handler {
	return &limited{h.Handler.WithGroup(name), h.limit, h.stream}
}

// Handle implements [slog.Handler].
func (h *limited) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo || h.limit.take(h, r) {
		return h.Handler.Handle(ctx, r)
	}
	return nil
}

// take tells whether a line is to be written, or counts it.
func (l *limit) take(h *limited, r slog.Record) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, now := event{r.Level, r.Message}, time.Now()
	if l.events[of] == nil && len(l.events) >= maxEvents {
		l.flush(now)
		if len(l.events) >= maxEvents {
			of.message = "many different messages"
		}
	}
	s := l.events[of]
	if s != nil && now.Sub(s.begin) >= time.Second {
		l.tell(of, s, now)
		s = nil
	}
	if s == nil {
		s = &second{begin: now}
		l.events[of] = s
	}
	if s.lines < Most || l.ended {
		s.lines++
		return true
	}
	if s.more++; s.streams == nil {
		s.streams = map[string]bool{}
	}
	if stream := streamOf(h, r); stream != "" {
		s.streams[stream] = true
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Second, l.tick)
	}
	return false
}

func streamOf(h *limited, r slog.Record) string {
	stream := h.stream
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stream" {
			stream = a.Value.String()
		}
		return stream == ""
	})
	return stream
}

// tick tells what was left out, also where nothing more happens.
func (l *limit) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.flush(time.Now()) && !l.ended {
		l.timer = time.AfterFunc(time.Second, l.tick)
	}
}

// flush tells of the events whose second is over, and forgets them. It reports whether
// some have left out lines since.
func (l *limit) flush(now time.Time) (more bool) {
	for of, s := range l.events {
		if now.Sub(s.begin) < time.Second {
			more = more || s.more > 0
			continue
		}
		l.tell(of, s, now)
		delete(l.events, of)
	}
	return more
}

func (l *limit) tell(of event, s *second, now time.Time) {
	if s.more == 0 {
		return
	}
	r := slog.NewRecord(now, of.level, "more of the same, left out", 0)
	r.Add("what", of.message, "lines", s.more)
	if len(s.streams) > 0 {
		r.Add("streams", len(s.streams))
	}
	// There is nobody to tell that the log cannot be written.
	_ = l.out.Handle(context.Background(), r)
}

// end tells what was left out so far. Later lines are not limited.
func (l *limit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.flush(time.Now().Add(time.Second))
}
