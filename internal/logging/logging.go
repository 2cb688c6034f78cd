// Package logging makes the program's logger, which writes text or JSON.
//
//	log := logging.New(os.Stderr, logging.Options{Level: slog.LevelInfo, JSON: true})
//	defer logging.End(log)
//
// A burst of errors does not fill the disk: at most [Most] lines with the same level and
// message are written in a second. Then one line says how many more there were, and of
// how many streams. Lines below [slog.LevelInfo] are not limited. Users, passwords and
// tokens in URLs are masked.
package logging

import (
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// Options configure the logger of [New].
type Options struct {
	// Level is the lowest level that is logged.
	Level slog.Level
	// JSON writes JSON instead of text.
	JSON bool
}

// New returns a logger that writes to w.
func New(w io.Writer, o Options) *slog.Logger {
	options := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return withoutSecrets(a) }}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if o.JSON {
		h = slog.NewJSONHandler(w, options)
	}
	l := &limit{out: h, events: map[event]*window{}}
	return slog.New(&limited{Handler: h, limit: l})
}

// End logs how many lines a logger of [New] has left out so far. Later lines are not
// limited.
func End(log *slog.Logger) {
	if h, ok := log.Handler().(*limited); ok {
		h.limit.end()
	}
}

// userOfURL matches the scheme, user and password of a URL.
var userOfURL = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@"']+@`)

// withoutSecrets masks the user and the password of every URL in an attribute.
func withoutSecrets(a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return a
	}
	return slog.String(a.Key, userOfURL.ReplaceAllString(text, "${1}xxxxx@"))
}
