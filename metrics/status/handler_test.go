package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// testOptions are those of a page with four streams, one of which has not started.
func testOptions(t *testing.T) Options {
	streams := []Stream{example(t, "cam-1", "PPP"), example(t, "cam-2", "PPNNPP"), example(t, "door", "P")}
	return Options{
		Version: "v1", Mode: "live", NATS: "nats://localhost",
		Streams: func() []Stream { return streams },
		Waiting: func() []string { return []string{"late"} },
		Connections: func() []metrics.Connection {
			return []metrics.Connection{{Name: "data", Connected: true, Reconnects: 2}}
		},
		Health: func() health.Report {
			return health.Report{
				Reasons: []health.Reason{{Code: health.ClockBehind, Since: at.Time(), Detail: "by 40 s"}},
				Streams: map[string]health.StreamReport{
					"cam-1": {State: health.OK, Flows: true},
					"cam-2": {State: health.SomeLost, Reasons: []health.Reason{{Code: health.Gaps, Since: at.Add(2 * time.Second).Time(), Detail: "2 no media"}}},
					"door":  {State: health.CannotBeRead, Reasons: []health.Reason{{Code: health.Refused, Since: at.Time(), Detail: "no permission"}}},
				},
			}
		},
		Busy: func() float64 { return 0.97 },

		ClockOffset: func() time.Duration { return -40120 * time.Millisecond },
		Picture:     pictureOf,
		Frame: func(ctx context.Context, from string, r PictureRequest) (Picture, error) {
			if r.Output == "often" {
				return Picture{}, fmt.Errorf("%w from %s", ErrTooMany, from)
			}
			return pictureOf(ctx, r)
		},
		FramePrice: FramePrice{Images: 2, Price: 0.00002, Currency: "USD"},
		Bill: func(stream string) (asked, came source.Bill) {
			if stream == "cam-1" {
				return asked, came
			}
			return source.Bill{source.ForLive: 80, source.ForOverlap: 20}, source.Bill{source.ForLive: 79}
		},
		Price:  0.00001,
		Links:  Links{Runbook: "https://runbook.example/", Grafana: "https://grafana.example/{stream}"},
		Config: func(stream string) (string, bool) { return "streams:\n- name: " + stream + "\n", stream == "cam-1" },
	}
}

// pictureOf makes pictures of the stream cam-1.
func pictureOf(_ context.Context, r PictureRequest) (Picture, error) {
	switch {
	case r.Stream != "cam-1":
		return Picture{}, fmt.Errorf("%w: %s", ErrNotFound, r.Stream)
	case r.Output == "busy":
		return Picture{}, ErrBusy
	case r.Output == "dark":
		return Picture{}, ErrNoFrame
	}
	p := Picture{
		Stream: r.Stream, Output: r.Output, Time: r.Slot.String(), Outcome: "published",
		Tensor: &Image{Data: []byte("jpeg")}, Source: &Image{Data: []byte("frame"), Type: "image/jpeg"},
	}
	if r.NPY {
		p.NPY = []byte("npy")
	}
	return p, nil
}

// ask returns the answer to a request.
func ask(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	method, path, some := strings.Cut(path, " ")
	if !some {
		method, path = http.MethodGet, method
	}
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(at.Add(8 * time.Second).Time()))
		h := Handler(testOptions(t))
		for _, tc := range []struct {
			query, want string
			found       int
		}{
			{"", "cam-1 cam-2 door late", 4},
			{"?sort=state", "door late cam-2 cam-1", 4},
			{"?sort=name&order=desc", "late door cam-2 cam-1", 4},
			{"?sort=gaps", "cam-2 cam-1 door late", 4},
			{"?sort=age", "door cam-1 cam-2 late", 4},
			{"?sort=latency&limit=1&offset=1", "cam-2", 4},
			{"?name=CAM", "cam-1 cam-2", 2},
			{"?name=nothing", "", 0},
			{"?offset=9", "", 4},
			{"?state=gaps,cannot_be_read", "cam-2 door", 2},
			{"?stream=cam-1", "cam-1", 1},
			{"?stream=cam", "", 0},
		} {
			var o overview
			w := ask(t, h, "/api/streams"+tc.query)
			if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
				t.Fatalf("%s: %v", tc.query, err)
			}
			var names []string
			for _, r := range o.Streams {
				names = append(names, r.Stream)
			}
			if got := strings.Join(names, " "); got != tc.want || o.Found != tc.found {
				t.Errorf("%s: %d found, %q; want %d, %q", tc.query, o.Found, got, tc.found, tc.want)
			}
		}
		for _, query := range []string{"?sort=size", "?state=bad", "?limit=-1", "?order=up", "?streams=a", "?offset=x"} {
			if w := ask(t, h, "/api/streams"+query); w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d", query, w.Code)
			}
		}
	})
}

// TestFullRows: only the streams that are asked for come with all that is known of them, also
// those that the list does not have.
func TestFullRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(at.Add(8 * time.Second).Time()))
		var o overview
		w := ask(t, Handler(testOptions(t)), "/api/streams?sort=state&limit=3&full=cam-2,cam-1,nobody")
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range append(o.Streams, o.Others...) {
			got = append(got, fmt.Sprintf("%s %v %d", r.Stream, r.Timeline != nil, r.Lost))
		}
		if want := "door false 0, late false 0, cam-2 true 2, cam-1 true 0"; strings.Join(got, ", ") != want || len(o.Others) != 1 {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestViewersShareTheCost: whoever asks within a second of another sees the same.
func TestViewersShareTheCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		opts := testOptions(t)
		streams := opts.Streams
		opts.Streams = func() []Stream { looks++; return streams() }
		h := Handler(opts)
		for range 20 {
			ask(t, h, "/api/streams")
			ask(t, h, "/api/streams/cam-1")
			time.Sleep(100 * time.Millisecond)
		}
		if looks != 2 {
			t.Errorf("%d looks in two seconds, want 2", looks)
		}
	})
}

const wantStream = `{
 "stream": "cam-2", "state": "gaps", "code": "gaps",
 "reason": "slots lost: 2 no media", "since": "2026-01-02T03:04:07.000Z",
 "reasons": [{"code": "gaps", "text": "slots lost: 2 no media", "since": "2026-01-02T03:04:07.000Z"}],
 "interval_seconds": 1, "cursor": "2026-01-02T03:04:11.000Z", "newest": "2026-01-02T03:04:10.000Z",
 "freshness_seconds": 3, "latency_seconds": 2, "lost": 2, "lag_seconds": 2, "overlap_seconds": 0, "producer_offset_seconds": 0,
 "expected": 9, "pending": 3,
 "outcomes": {"dropped": 0, "media_error": 0, "no_media": 2, "published": 4, "skipped": 0, "stale": 0, "unchanged": 0, "undecodable": 0, "unwatched": 0},
 "outputs": [{"output": "detector", "subject": "cvf.t.cam-2.detector"}],
 "timeline": {"from": "2026-01-02T02:54:15.000Z", "cell_seconds": 5, "cells": "CELLS"},
 "latencies": {"from": "2026-01-02T02:54:15.000Z", "every_seconds": 10, "seconds": [POINTS]},
 "images": {"asked": {"live": 80, "overlap": 20}, "paid": {"live": 79}, "cost": 0.001, "month": 100, "month_cost": 0.001, "currency": "USD"},
 "gaps": [{"from": "2026-01-02T03:04:07.000Z", "to": "2026-01-02T03:04:08.000Z", "slots": 2, "reason": "no_media"}],
 "slots": {"from": "2026-01-02T03:04:05.000Z", "cell_seconds": 1, "cells": "PPNNPP"}
}`

// TestStreamIsStable: the names in the API stay as they are.
func TestStreamIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(at.Add(8 * time.Second).Time()))
		w := ask(t, Handler(testOptions(t)), "/api/streams/cam-2")
		text := strings.NewReplacer("CELLS", strings.Repeat("-", cellCount-2)+"NP", "POINTS", strings.Repeat("0,", 59)+"2").Replace(wantStream)
		var got, want any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOverview(t *testing.T) {
	w := ask(t, Handler(testOptions(t)), "/api/streams?limit=1", "Accept-Encoding", "br, gzip")
	if w.Header().Get("Content-Encoding") != "gzip" {
		t.Error("not compressed")
	}
	w = ask(t, Handler(testOptions(t)), "/api/streams?limit=1")
	for _, want := range []string{
		`"version":"v1"`, `"mode":"live"`, `"ready":false`, `"not_ready":["clock_behind: `, `"refused: stream door: `, `"reasons":[{"code":"clock_behind","text":"`, `(by 40 s)","since":"2026-01-02T03:04:05.000Z"}]`,
		`"reason_counts":{"clock_behind":1,"gaps":1,"refused":1}`, `"workers_busy_ratio":0.97`,
		`"clock_offset_seconds":-40.12`,
		`"frame_request":{"images":2,"price":0.00002,"currency":"USD"},"links":{"runbook":"https://runbook.example/","grafana":"https://grafana.example/{stream}"}`,
		`"nats":{"url":"nats://localhost","connected":true,"connections":[{"name":"data","connected":true,"reconnects":2,"unconfirmed":0}]}`,
		`"streams":4`, `"published":8`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in %s", want, w.Body)
		}
	}
}

func TestPictures(t *testing.T) {
	h := Handler(testOptions(t))
	const slot = "2026-01-02T03:04:05.000Z"
	for path, want := range map[string]string{
		"/api/streams/cam-1/picture?output=detector":                   `200 "outcome":"published"`,
		"/api/streams/cam-1/picture?output=detector&from=" + slot:      `200 "time":"` + slot,
		"/api/streams/cam-1/picture?output=detector&from=noon":         "400 RFC 3339",
		"/api/streams/cam-1/picture?output=detector&as=bmp":            "400 json, npy, frame",
		"/api/streams/cam-1/picture?output=detector&as=npy":            "200 npy",
		"/api/streams/cam-1/picture?output=detector&as=frame":          "200 frame",
		"/api/streams/cam-1/picture?output=busy":                       "429 busy",
		"/api/streams/cam-1/picture?output=dark":                       "504 no frame",
		"/api/streams/nobody/picture?output=a":                         "404 nobody",
		"/api/streams/nobody":                                          "404 nobody",
		"/api/streams/cam-1/config":                                    "200 - name: cam-1",
		"/api/streams/nobody/config":                                   "404 nobody",
		"/api/streams/cam-1/thumbnail?output=detector&show=tensor":     `200 "tensor":`,
		"/api/streams/cam-1/thumbnail?output=detector":                 "400 neither tensor nor frame",
		"POST /api/streams/cam-1/frame?output=detector&time=" + slot:   `200 "time":"` + slot,
		"POST /api/streams/cam-1/frame?output=detector":                "400 time is missing",
		"POST /api/streams/cam-1/frame?output=often&time=" + slot:      "429 from 192.0.2.1",
		"POST /api/streams/cam-1/frame?output=a&as=npy&time=" + slot:   "200 npy",
		"POST /api/streams/cam-1/frame?output=a&as=frame&time=" + slot: "200 frame",
		"GET /api/streams/cam-1/frame?output=detector&time=" + slot:    "405 Method Not Allowed",
	} {
		w := ask(t, h, path)
		code, body, _ := strings.Cut(want, " ")
		if fmt.Sprint(w.Code) != code || !strings.Contains(w.Body.String(), body) {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	w := ask(t, h, "/api/streams/cam-1/picture?output=a&as=npy&from="+slot)
	if got, want := w.Header().Get("Content-Disposition"), "attachment; filename*=UTF-8''cam-1.a.2026-01-02T03:04:05.000Z.npy"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// Another site cannot have a browser spend images.
	if w := ask(t, h, "POST /api/streams/cam-1/frame?output=a&time="+slot, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", w.Code)
	}
}

// TestWallIsBounded: who looks at the same picture shares it, no more than ten are made in a
// second, and a large frame is not shown.
func TestWallIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		opts := testOptions(t)
		opts.Picture = func(_ context.Context, r PictureRequest) (Picture, error) {
			made.Add(1)
			time.Sleep(300 * time.Millisecond)
			p := Picture{Tensor: &Image{Data: make([]byte, 10<<10)}, Source: &Image{Data: make([]byte, thumbnailFrame)}}
			if r.Stream == "large" {
				p.Source.Data = make([]byte, thumbnailFrame+1)
			}
			return p, nil
		}
		h := newHandler(opts)
		wall := h.routes()
		var looking sync.WaitGroup
		for range 20 {
			looking.Go(func() {
				if w := ask(t, wall, "/api/streams/cam-1/thumbnail?output=a&show=frame"); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		looking.Wait()
		if n := made.Load(); n != 1 {
			t.Errorf("%d pictures for 20 viewers", n)
		}
		if w := ask(t, wall, "/api/streams/large/thumbnail?output=a&show=frame"); !strings.Contains(w.Body.String(), "larger than the wall shows") {
			t.Errorf("%.100s", w.Body)
		}
		made.Store(0)
		begin := time.Now()
		for i := 0; time.Since(begin) < 10*time.Second; i++ {
			looking.Go(func() { ask(t, wall, fmt.Sprintf("/api/streams/cam-%d/thumbnail?output=a&show=frame", i)) })
			time.Sleep(10 * time.Millisecond)
		}
		looking.Wait()
		if n := made.Load(); n > 11*thumbnailRate || n < 9*thumbnailRate {
			t.Errorf("%d pictures in 10 s", n)
		}
		if h.small.bytes > thumbnailBytes || len(h.small.kept) > 20 {
			t.Errorf("%d bytes of %d pictures are kept", h.small.bytes, len(h.small.kept))
		}
	})
}

func TestPageAndText(t *testing.T) {
	h := Handler(testOptions(t))
	if w := ask(t, h, "/"); !regexp.MustCompile(`(?m)^cannot_be_read +door .* refused by AWS: no permission; check .*, since 2026-01-02T03:04:05.000Z$`).MatchString(w.Body.String()) {
		t.Errorf("text: %s", w.Body)
	}
	page := ask(t, h, "/", "Accept", "text/html,*/*").Body.String()
	if !strings.Contains(page, "changes nothing") {
		t.Error("the page does not say that it changes nothing")
	}
	// The page loads nothing from elsewhere, and has nothing inline.
	files := regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(files) != 3 || strings.Contains(page, "style=") || regexp.MustCompile(`<script>|https?://`).MatchString(page) {
		t.Errorf("files %v in %s", files, page)
	}
	for _, f := range files {
		w := ask(t, h, f[1])
		if w.Code != http.StatusOK || strings.Contains(w.Header().Get("Content-Type"), "plain") {
			t.Errorf("%s: %d %s", f[1], w.Code, w.Header())
		}
		again := ask(t, h, f[1], "If-None-Match", w.Header().Get("ETag"))
		if body, _ := io.ReadAll(again.Body); again.Code != http.StatusNotModified || len(body) > 0 {
			t.Errorf("%s again: %d", f[1], again.Code)
		}
	}
	if w := ask(t, h, "/static/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

// TestRestingHasNoNewest: what ends while nobody listens is no tensor.
func TestRestingHasNoNewest(t *testing.T) {
	o := testOptions(t)
	streams := o.Streams()
	streams[0].Resting = true
	o.Streams = func() []Stream { return streams }
	text := ask(t, Handler(o), "/").Body.String()
	if !regexp.MustCompile(`(?m)^ok +cam-1 +none `).MatchString(text) || regexp.MustCompile(`(?m)^gaps +cam-2 +none `).MatchString(text) {
		t.Error(text)
	}
}
