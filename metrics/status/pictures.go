package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/cvfeeder/cvfeeder/source"
)

// asked returns the request of a picture, whose slot is in a parameter.
func asked(r *http.Request, slot string) (PictureRequest, error) {
	q := r.URL.Query()
	p := PictureRequest{Stream: r.PathValue("name"), Output: q.Get("output"), NPY: q.Get("as") == "npy"}
	switch q.Get("as") {
	case "", "json", "npy", "frame":
	default:
		return p, fmt.Errorf("as %.40q is none of json, npy, frame", q.Get("as"))
	}
	text := q.Get(slot)
	if text == "" {
		return p, nil
	}
	var err error
	if p.Slot, err = source.ParseSlot(text); err != nil {
		return p, fmt.Errorf("%s %.40q is not in RFC 3339, like 2026-01-02T03:04:05.200Z, or not between 1970 and 2199", slot, text)
	}
	return p, nil
}

// picture answers /api/streams/{name}/picture.
func (h *handler) picture(w http.ResponseWriter, r *http.Request) {
	if h.opts.Picture == nil {
		http.Error(w, "there are no pictures", http.StatusNotFound)
		return
	}
	want, err := asked(r, "from")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p, err := h.opts.Picture(r.Context(), want)
	writePicture(w, r, p, err)
}

// frame answers /api/streams/{name}/frame.
func (h *handler) frame(w http.ResponseWriter, r *http.Request) {
	if h.opts.Frame == nil {
		http.Error(w, "there are no frames on request", http.StatusNotFound)
		return
	}
	want, err := asked(r, "time")
	if err == nil && want.Slot == 0 {
		err = errors.New("time is missing: it is that of the slot, like 2026-01-02T03:04:05.200Z")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	p, err := h.opts.Frame(r.Context(), from, want)
	writePicture(w, r, p, err)
}

// thumbnail answers /api/streams/{name}/thumbnail.
func (h *handler) thumbnail(w http.ResponseWriter, r *http.Request) {
	if h.opts.Picture == nil {
		http.Error(w, "there are no pictures", http.StatusNotFound)
		return
	}
	q := r.URL.Query()
	show := q.Get("show")
	if show != "tensor" && show != "frame" {
		http.Error(w, fmt.Sprintf("show %.40q is neither tensor nor frame", show), http.StatusBadRequest)
		return
	}
	output := q.Get("output")
	if e := h.index(h.opts.Now()).byName[r.PathValue("name")]; output == "" && e != nil && e.Outputs != nil {
		if all := e.Outputs(); len(all) > 0 {
			output = all[0].Name
		}
	}
	p, err := h.small.get(r.Context(), thumbnailKey{r.PathValue("name"), output, show == "frame"}, h.opts.Picture)
	writePicture(w, r, p, err)
}

// config answers /api/streams/{name}/config.
func (h *handler) config(w http.ResponseWriter, r *http.Request) {
	if h.opts.Config != nil {
		if text, known := h.opts.Config(r.PathValue("name")); known {
			w.Header().Set("Content-Type", "application/yaml")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write([]byte(text))
			return
		}
	}
	http.Error(w, fmt.Sprintf("the config of a stream %q is not known", r.PathValue("name")), http.StatusNotFound)
}

// writePicture answers with a picture or a file, or says why there is none.
func writePicture(w http.ResponseWriter, r *http.Request, p Picture, err error) {
	switch {
	case err == nil:
		writeAs(w, r, p)
	case errors.Is(err, ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrTooMany):
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case errors.Is(err, ErrNoFrame), errors.Is(err, context.DeadlineExceeded):
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func writeAs(w http.ResponseWriter, r *http.Request, p Picture) {
	name := p.Stream + "." + p.Time
	switch as := r.URL.Query().Get("as"); {
	case as == "npy" && p.NPY != nil:
		writeFile(w, p.Stream+"."+p.Output+"."+p.Time+".npy", "application/octet-stream", p.NPY)
	case as == "frame" && p.Source != nil && p.Source.Type == "image/png":
		writeFile(w, name+".png", p.Source.Type, p.Source.Data)
	case as == "frame" && p.Source != nil:
		writeFile(w, name+".jpg", p.Source.Type, p.Source.Data)
	case as == "npy" || as == "frame":
		http.Error(w, fmt.Sprintf("slot %s of stream %s ended as %s: %s", p.Time, p.Stream, p.Outcome, p.Reason), http.StatusNotFound)
	default:
		writeJSON(w, r, p)
	}
}

// writeFile answers with a file to download.
func writeFile(w http.ResponseWriter, name, kind string, data []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(name))
	_, _ = w.Write(data)
}
