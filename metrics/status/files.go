package status

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
)

//go:embed static
var embedded embed.FS

// files are what the page is made of, by name.
type files struct {
	content map[string][]byte
	etag    map[string]string
	version string // changes when any of them does
}

func newFiles() files {
	f := files{content: map[string][]byte{}, etag: map[string]string{}}
	all := sha256.New()
	entries, err := fs.ReadDir(embedded, "static")
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, e := range entries {
		data, err := embedded.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		_, _ = all.Write(data)
		f.content[e.Name()] = data
		f.etag[e.Name()] = `"` + hex.EncodeToString(sum[:8]) + `"`
	}
	f.version = hex.EncodeToString(all.Sum(nil)[:8])
	return f
}

func (f files) index(w http.ResponseWriter, r *http.Request) { f.write(w, r, "index.html") }

// serve serves a file of /static/.
func (f files) serve(w http.ResponseWriter, r *http.Request) { f.write(w, r, r.PathValue("file")) }

// write answers with a file. The browser may cache it, but must ask whether it has changed.
func (f files) write(w http.ResponseWriter, r *http.Request, name string) {
	data, ok := f.content[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.etag[name])
	if r.Header.Get("If-None-Match") == f.etag[name] {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(data)
}
