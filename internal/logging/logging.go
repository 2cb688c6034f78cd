// Package logging makes the program's logger, which writes text or JSON.
//
//	log := logging.New(os.Stderr, logging.Options{Level: slog.LevelInfo, JSON: true})
//	defer logging.End(log)
//
// A burst of errors does not fill the disk: at most [Most] lines with the same level and
// message are written in a second. Then one line says how many more there were, and of
// how many streams. Lines below [slog.LevelInfo] are not limited. Users, passwords and
// tokens in URLs are masked, and text is cut and cleaned, wherever it came from.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
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
	options := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return shown(a) }}
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

// shown returns an attribute that is fit to be shown, without the users and the passwords of
// URLs.
func shown(a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		switch v := v.Any().(type) {
		case error:
			text = v.Error()
		case fmt.Stringer:
			text = v.String()
		case []string:
			text = fmt.Sprint(v)
		default:
			return a
		}
	default:
		return a
	}
	text = sanitize.Text(text)
	if strings.Contains(text, "://") && strings.Contains(text, "@") {
		text = userOfURL.ReplaceAllString(text, "${1}xxxxx@")
	}
	return slog.String(a.Key, text)
}
