package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Most is how many lines with the same level and message are written in a second.
const Most = 10

// maxEvents is how many different events are limited separately.
const maxEvents = 1000

// An event is what limited lines have in common.
type event struct {
	level   slog.Level
	message string
}

// A window is the second that begins with an event's first line.
type window struct {
	begin   time.Time
	written int
	leftOut int
	streams map[string]bool // that the lines left out were about
}

// A limit is shared by the handlers of a logger.
type limit struct {
	out    slog.Handler // without attributes, for summaries
	mu     sync.Mutex
	events map[event]*window
	timer  *time.Timer // runs while a window has left out lines
	ended  bool
}

// limited is a handler whose lines are limited.
type limited struct {
	slog.Handler
	limit  *limit
	stream string // from the logger's attributes, or ""
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
	if r.Level < slog.LevelInfo || h.limit.admit(h, r) {
		return h.Handler.Handle(ctx, r)
	}
	return nil
}

// admit reports whether a line may be written. Otherwise it counts the line.
func (l *limit) admit(h *limited, r slog.Record) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.window(event{r.Level, r.Message}, time.Now())
	if w.written < Most || l.ended {
		w.written++
		return true
	}
	if w.leftOut++; w.streams == nil {
		w.streams = map[string]bool{}
	}
	if stream := streamOf(h, r); stream != "" {
		w.streams[stream] = true
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Second, l.tick)
	}
	return false
}

// window returns the current window of an event. If there are too many different events,
// new ones share a window.
func (l *limit) window(of event, now time.Time) *window {
	if l.events[of] == nil && len(l.events) >= maxEvents {
		l.closeExpired(now)
		if len(l.events) >= maxEvents {
			of.message = "many different messages"
		}
	}
	w := l.events[of]
	if w != nil && now.Sub(w.begin) >= time.Second {
		l.summarize(of, w, now)
		w = nil
	}
	if w == nil {
		w = &window{begin: now}
		l.events[of] = w
	}
	return w
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

// tick closes the windows of events that have no new lines.
func (l *limit) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.closeExpired(time.Now()) && !l.ended {
		l.timer = time.AfterFunc(time.Second, l.tick)
	}
}

// closeExpired closes the windows that are over. It reports whether any of the others
// has left out lines.
func (l *limit) closeExpired(now time.Time) (more bool) {
	for of, w := range l.events {
		if now.Sub(w.begin) < time.Second {
			more = more || w.leftOut > 0
			continue
		}
		l.summarize(of, w, now)
		delete(l.events, of)
	}
	return more
}

// summarize logs how many lines a window has left out, if any.
func (l *limit) summarize(of event, w *window, now time.Time) {
	if w.leftOut == 0 {
		return
	}
	r := slog.NewRecord(now, of.level, "more of the same, left out", 0)
	r.Add("what", of.message, "lines", w.leftOut)
	if len(w.streams) > 0 {
		r.Add("streams", len(w.streams))
	}
	_ = l.out.Handle(context.Background(), r) // an error of the log cannot be logged
}

// end closes all windows. Later lines are not limited.
func (l *limit) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.closeExpired(time.Now().Add(time.Second))
}
