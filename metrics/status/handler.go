package status

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
)

// Reasons why [Options.Picture] returns no picture.
var (
	// ErrNotFound: there is no such stream, or the stream has no such output.
	ErrNotFound = errors.New("not found")
	// ErrBusy: the largest allowed number of pictures is being made already.
	ErrBusy = errors.New("busy")
	// ErrNoFrame: no frame came in time.
	ErrNoFrame = errors.New("no frame")
	// ErrTooMany: a limit of requests for frames is met.
	ErrTooMany = errors.New("too many requests")
)

type handler struct {
	opts    Options
	files   files
	indexer indexer
	small   thumbnails
}

// Handler serves
//
//   - /: the page, or a plain text table for clients that do not accept HTML
//   - /api/streams: the state of the streams, see below
//   - /api/streams/{name}: that of one stream, with its last slots
//   - /api/streams/{name}/picture?output=NAME: the next frame as the model sees it, or the
//     first one from a time on (from); as files with as=npy and as=frame
//   - /api/streams/{name}/thumbnail?output=NAME&show=tensor: a small picture for the wall,
//     or show=frame, which those who look share
//   - POST /api/streams/{name}/frame?output=NAME&time=T: the frame of a slot that has passed,
//     asked for again, which the service bills; as=npy and as=frame as above
//   - /api/streams/{name}/config: what the config file says of the stream
//   - /static/: the files of the page
//
// The parameters of /api/streams are name (a part of the name, in upper or lower case),
// stream (the whole name), state (comma-separated), sort (name, state, age, gaps or latency),
// order (asc or desc), limit and offset, and full (comma-separated names: only these streams
// come with timelines, gaps and the like, also those that are not in the list).
//
// What the answers hold is at most a second old, and looked up once for all who ask meanwhile.
func Handler(opts Options) http.Handler { return newHandler(opts).routes() }

func newHandler(opts Options) *handler {
	if opts.Started.IsZero() {
		opts.Started = time.Now()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.At == nil {
		opts.At = func(t time.Time) time.Time { return t }
	}
	return &handler{opts: opts, files: newFiles(), small: newThumbnails()}
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.page)
	mux.HandleFunc("GET /static/{file}", h.files.serve)
	mux.HandleFunc("GET /api/streams", h.streams)
	mux.HandleFunc("GET /api/streams/{name}", h.stream)
	mux.HandleFunc("GET /api/streams/{name}/picture", h.picture)
	mux.HandleFunc("GET /api/streams/{name}/thumbnail", h.thumbnail)
	mux.HandleFunc("GET /api/streams/{name}/config", h.config)
	// A page of another site could have a browser spend images with a GET.
	mux.Handle("POST /api/streams/{name}/frame", http.NewCrossOriginProtection().Handler(http.HandlerFunc(h.frame)))
	return mux
}

// page answers a browser with the page, and other clients with a table.
func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.files.index(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	h.table(w, h.opts.Now())
}

// table writes the streams as plain text.
func (h *handler) table(out http.ResponseWriter, now time.Time) {
	x := h.index(now)
	o, all := h.overview(x, now), x.matching(query{})
	order(all, "state", false, now)
	ready := "ready"
	if !o.Ready {
		ready = "not ready: " + strings.Join(o.NotReady, "; ")
	}
	_, _ = fmt.Fprintf(out, "cvfeeder %s, %s, %s\n\n", o.Version, o.Mode, ready)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "STATE\tSTREAM\tNEWEST TENSOR\tLOST IN %s\tREASON\n", health.Span(timelineLength))
	for _, e := range all {
		r := h.brief(e, now)
		age, since := "none", ""
		if r.Newest != "" {
			age = health.Span(time.Duration(r.Freshness*float64(time.Second))) + " old"
		}
		if r.Since != "" && r.State != health.OK {
			since = ", since " + r.Since
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s%s\n", r.State, r.Stream, age, r.Lost, r.Reason, since)
	}
	_ = w.Flush()
	_, _ = fmt.Fprint(out, "\n/metrics  Prometheus metrics\n/healthz  the process works\n/readyz   what is expected flows\n/api/streams  this table as JSON\n")
}

// streams answers /api/streams.
func (h *handler) streams(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := h.opts.Now()
	x := h.index(now)
	all := x.matching(q)
	order(all, q.sort, q.reverse, now)
	o := h.overview(x, now)
	o.Found, o.Offset = len(all), min(q.offset, len(all))
	all = all[o.Offset:]
	if q.limit > 0 && q.limit < len(all) {
		all = all[:q.limit]
	}
	o.Streams = make([]row, len(all))
	for i, e := range all {
		if q.full == nil || q.full[e.Name] {
			o.Streams[i] = h.full(e, now)
			delete(q.full, e.Name)
		} else {
			o.Streams[i] = h.brief(e, now)
		}
	}
	for name := range q.full {
		if e := x.byName[name]; e != nil {
			o.Others = append(o.Others, h.full(e, now))
		}
	}
	writeJSON(w, r, o)
}

// matching returns the entries that pass the filters.
func (x *index) matching(q query) []*entry {
	all := make([]*entry, 0, len(x.entries))
	for i := range x.entries {
		if q.matches(&x.entries[i]) {
			all = append(all, &x.entries[i])
		}
	}
	return all
}

// stream answers /api/streams/{name}.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	now := h.opts.Now()
	e := h.index(now).byName[r.PathValue("name")]
	if e == nil || e.waiting {
		http.Error(w, fmt.Sprintf("there is no stream %q", r.PathValue("name")), http.StatusNotFound)
		return
	}
	one := h.full(e, now)
	from, cells := e.History.lastSlots()
	one.Slots = &timeline{from.String(), e.Interval.Seconds(), cells}
	writeJSON(w, r, one)
}

// writeJSON answers with v, compressed if the client accepts that: it may be a phone.
func writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_ = json.NewEncoder(w).Encode(v)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	_ = json.NewEncoder(z).Encode(v)
	_ = z.Close()
}
