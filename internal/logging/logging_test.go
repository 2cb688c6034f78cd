package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A sink is written to by the test and by the limit's timer.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) lines(t *testing.T) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(s.text.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// TestStorm: 10,000 streams fail at once, and again each second.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		log := logging.New(&out, logging.Options{JSON: true})
		const streams, seconds = 10_000, 5
		for range seconds {
			for i := range streams {
				log.With("stream", fmt.Sprintf("cam-%d", i)).Warn("the stream could not be read", "err", errors.New("refused \"x\"\nby us"))
			}
			log.Info("something else")
			time.Sleep(time.Second)
		}
		logging.End(log)
		lines := out.lines(t)
		if want := seconds * (logging.Most + 2); len(lines) != want {
			t.Errorf("%d lines, want %d", len(lines), want)
		}
		reported := 0.0
		for _, l := range lines {
			if l["msg"] != "more of the same, left out" {
				continue
			}
			reported += l["lines"].(float64)
			delete(l, "time")
			if diff := cmp.Diff(map[string]any{
				"level": "WARN", "msg": "more of the same, left out", "what": "the stream could not be read",
				"lines": float64(streams - logging.Most), "streams": float64(streams - logging.Most),
			}, l); diff != "" {
				t.Fatal(diff)
			}
		}
		if want := float64(seconds * (streams - logging.Most)); reported != want {
			t.Errorf("%v lines are reported as left out, want %v", reported, want)
		}
	})
}

// TestBurst: the summary is logged even if no other line follows.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		log := logging.New(&out, logging.Options{JSON: true})
		defer logging.End(log)
		for i := range logging.Most + 5 {
			log.Error("broken", "stream", fmt.Sprint(i%2))
		}
		time.Sleep(3 * time.Second)
		lines := out.lines(t)
		if len(lines) != logging.Most+1 || lines[logging.Most]["lines"] != 5.0 || lines[logging.Most]["streams"] != 2.0 {
			t.Errorf("%v", lines)
		}
		// After the summary, lines are written again.
		log.Error("broken")
		if n := len(out.lines(t)); n != logging.Most+2 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestEnd: End logs what was left out, and all later lines are written.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		log := logging.New(&out, logging.Options{JSON: true})
		for range logging.Most + 1 {
			log.Warn("broken")
		}
		logging.End(log)
		for range logging.Most + 1 {
			log.Warn("the end")
		}
		if n := len(out.lines(t)); n != 2*logging.Most+2 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestManyMessages: messages that never repeat, because they contain text from outside,
// are limited too.
func TestManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		log := logging.New(&out, logging.Options{JSON: true})
		defer logging.End(log)
		for i := range 5000 {
			log.Warn(fmt.Sprint("message ", i))
		}
		time.Sleep(2 * time.Second)
		if n := len(out.lines(t)); n != 1000+logging.Most+1 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestDebugIsNotLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		log := logging.New(&out, logging.Options{JSON: true, Level: slog.LevelDebug})
		defer logging.End(log)
		for range 100 {
			log.Debug("detail")
		}
		if n := len(out.lines(t)); n != 100 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestNoSecrets(t *testing.T) {
	for _, format := range []bool{true, false} {
		var out sink
		log := logging.New(&out, logging.Options{JSON: format})
		log.Warn("not reachable", "server", "nats://me:s3cret@host:4222", "other", "tls://s3cret@host",
			"err", fmt.Errorf("dial %w", errors.New(`Get "https://a:s3cret@host/x?mail=a@b": refused`)), "plain", "a@b", "url", "https://host/a@b")
		logging.End(log)
		text := out.text.String()
		if strings.Contains(text, "s3cret") || !strings.Contains(text, "nats://xxxxx@host:4222") || !strings.Contains(text, "https://host/a@b") {
			t.Error(text)
		}
	}
}

// TestTextFromOutside: whatever an error, a name or a list says, it is one short line.
func TestTextFromOutside(t *testing.T) {
	bad := "\x1b[2J\r\nfake=line\x00" + strings.Repeat("x", 4<<20)
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		log := logging.New(&out, logging.Options{JSON: asJSON})
		log.With("stream", bad).WithGroup("g").Warn("failed", "err", errors.New(bad), "owner", bad, "list", []string{bad, bad}, "url", &url.URL{Path: bad})
		if text := out.String(); len(text) > 16<<10 || strings.ContainsAny(text, "\x1b\r\x00") || strings.Count(text, "\n") != 1 || !strings.Contains(text, "fake=line") ||
			strings.Contains(text, `\u001b`) || strings.Contains(text, `\x1b`) {
			t.Errorf("JSON %v: %d bytes: %.300q", asJSON, len(text), text)
		}
	}
}
