package feeder_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
)

// dot is a GIF of one pixel.
const dot = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

// A shown is a page with streams whose health a test decides.
type shown struct {
	url   string
	ill   atomic.Pointer[string] // the name of the stream that cannot be read
	asked atomic.Int32           // requests for the frame of a slot

	mu     sync.Mutex
	looked []string // the streams whose pictures were asked for
}

// showStreams serves the page of n streams, of which the third has a long name.
func showStreams(t *testing.T, n int) *shown {
	t.Helper()
	s := &shown{}
	streams := manyStreams(t, n)
	streams[2].Name = "third-floor-stairs-camera-28"
	data, err := base64.StdEncoding.DecodeString(dot)
	if err != nil {
		t.Fatal(err)
	}
	picture := func(r status.PictureRequest) status.Picture {
		image := &status.Image{Width: 160, Height: 90, Type: "image/gif", Data: data}
		return status.Picture{
			Stream: r.Stream, Output: r.Output, Time: r.Slot.String(), Outcome: "published",
			Tensor: image, Source: image, Affines: [][6]float64{{1, 0, 0, 0, 1, 0}}, Columns: 1, Shape: "1 3 90 160 uint8 rgb",
		}
	}
	page := status.Handler(status.Options{
		Version: "test", Mode: "live", Streams: func() []status.Stream { return streams },
		Connections: func() []metrics.Connection { return []metrics.Connection{{Name: "data", Connected: true}} },
		Health: func() health.Report {
			r := health.Report{Ready: true, Streams: map[string]health.StreamReport{}}
			for _, one := range streams {
				r.Streams[one.Name] = health.StreamReport{State: health.OK, Flows: true}
			}
			if ill := s.ill.Load(); ill != nil {
				r.Streams[*ill] = health.StreamReport{
					State:   health.CannotBeRead,
					Reasons: []health.Reason{{Code: health.Refused, Since: time.Now(), Detail: "the permission kinesisvideo:GetImages is missing"}},
				}
			}
			return r
		},
		Picture: func(_ context.Context, r status.PictureRequest) (status.Picture, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.looked = append(s.looked, r.Stream)
			return picture(r), nil
		},
		Frame: func(_ context.Context, _ string, r status.PictureRequest) (status.Picture, error) {
			s.asked.Add(1)
			return picture(r), nil
		},
		FramePrice: status.FramePrice{Images: 2, Price: 0.00002, Currency: "USD"},
		Links:      status.Links{Runbook: "https://runbook.example/reasons", Grafana: "https://grafana.example/?stream={stream}"},
		Config:     func(name string) (string, bool) { return "streams:\n- name: " + name + "\n", true },
	})
	srv := httptest.NewServer(web.Handler(web.Options{Metrics: http.NotFoundHandler(), Ready: func() (bool, []string) { return true, nil }, Status: page}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// named makes sure that whatever can be used or is a picture has a name for those who do not
// see it.
func (b *browser) named(what string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			return err
		}
		seen := 0
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil || !slices.Contains([]string{`"button"`, `"link"`, `"image"`, `"img"`, `"textbox"`, `"searchbox"`, `"combobox"`, `"slider"`}, string(n.Role.Value)) {
				continue
			}
			if seen++; n.Name == nil || len(n.Name.Value) <= len(`""`) {
				b.t.Errorf("%s: a %s has no name", what, n.Role.Value)
			}
		}
		if seen < 5 {
			b.t.Errorf("%s: only %d elements have a role", what, seen)
		}
		return nil
	}))
}

// point moves the mouse to the middle of an element.
func (b *browser) point(element string) {
	b.t.Helper()
	at := eval[[]float64](b, `(() => { const r = `+element+`.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()`)
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
}

// TestPageKeepsItsPlace: rows stay under the pointer, a link opens its stream alone, the URL
// has the filters, and a name of 28 characters can be read.
func TestPageKeepsItsPlace(t *testing.T) {
	b := newBrowser(t)
	s := showStreams(t, 12)
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(s.url+"/?sort=state#camera-1"))
	b.until("opens that stream, and lists no other", names+` === "camera-1" && document.querySelector(".slots rect") !== null`)
	b.named("an open stream")
	b.do(chromedp.Click(chromedp.CSS("#all")))
	b.until("lists all", `document.querySelectorAll("#streams > li").length === 12`)
	if cut := eval[bool](b, `[...document.querySelectorAll("#streams h2 button")].some((n) => n.scrollWidth > n.clientWidth)`); cut {
		t.Error("a name is cut")
	}
	b.do(chromedp.Evaluate[chromedp.Void](`document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }))`))
	b.until("it closes", `document.querySelector(".detail") === null && location.hash === ""`)

	first := eval[string](b, names)
	b.point(rowOf("camera-5") + `.querySelector(".cell-time")`)
	top := eval[float64](b, rowOf("camera-5")+`.getBoundingClientRect().top`)
	ill := "camera-9"
	s.ill.Store(&ill)
	b.until("the state is shown", rowOf(ill)+`.dataset.state === "cannot_be_read" && !document.querySelector("#held").hidden`)
	if got := eval[string](b, names); got != first {
		t.Errorf("the rows have moved: %s, were %s", got, first)
	}
	if now := eval[float64](b, rowOf("camera-5")+`.getBoundingClientRect().top`); now != top {
		t.Errorf("the row under the pointer was at %v, and is at %v", top, now)
	}
	b.point(`document.querySelector("footer")`)
	b.until("then the worst comes first", names+`.startsWith("camera-9,")`)
	b.until("the cause comes first", rowOf(ill)+`.querySelector(".why").textContent.includes("refused by AWS: the permission")`)

	b.do(chromedp.Click(chromedp.CSS(`#states [data-state="cannot_be_read"]`)))
	b.until("the URL has the state", names+` === "camera-9" && location.search === "?state=cannot_be_read"`)
	b.do(chromedp.Navigate(s.url + "/?state=ok&sort=name&name=camera-1"))
	b.until("and is obeyed", names+` === "camera-1,camera-10,camera-11,camera-12" && document.querySelector("#name").value === "camera-1" && document.querySelector("#sort").value === "name"`)
	b.check()
}

// TestSlotIsAskedForOnPurpose: choosing a slot costs nothing, and the button names its price.
func TestSlotIsAskedForOnPurpose(t *testing.T) {
	b := newBrowser(t)
	s := showStreams(t, 3)
	ill := "camera-1"
	s.ill.Store(&ill)
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(s.url+"/#camera-1"))
	b.until("the cells have their times", `document.querySelectorAll(".slots rect").length === 600 && /^\d\d:\d\d:\d\d$/.test(document.querySelector(".times span")?.textContent) && document.querySelector(".columns").textContent.includes("+")`)
	b.until("the reason links to the runbook", `document.querySelector(".whole a").href === "https://runbook.example/reasons#refused"`)
	b.until("and the stream to Grafana", `document.querySelector('a[href="https://grafana.example/?stream=camera-1"]') !== null`)
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { const r = document.querySelectorAll(".slots rect")[30].getBoundingClientRect();
		document.querySelector(".slider").dispatchEvent(new MouseEvent("click", { clientX: r.x + r.width / 2, clientY: r.y + r.height / 2, bubbles: true })) })()`))
	b.until("a cell is chosen", `document.querySelector(".slider").ariaValueNow === "30" && document.querySelector(".pick button").textContent === "Ask Kinesis for its picture (2 images, 0.00002 USD)"`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".slider").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }))`))
	b.until("or the next one", `document.querySelector(".slider").ariaValueNow === "31"`)
	if n := s.asked.Load(); n != 0 {
		t.Errorf("%d pictures were asked for before the button was pressed", n)
	}
	b.do(chromedp.Click(chromedp.CSS(".pick button")))
	b.until("its picture appears", `[...document.querySelectorAll(".asked img")].map((i) => i.naturalWidth).join() === "1,1"`)
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d pictures were asked for", n)
	}
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".compare summary").click()`))
	b.until("offers others to compare with", `document.querySelectorAll(".compare option").length >= 2`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".compare .tools button").click()`))
	b.until("shows the same slot twice", `/^Both are of slot/.test(document.querySelector(".compare .say").textContent) && document.querySelectorAll(".sides img[src]").length === 4`)
	b.named("a chosen slot")
	b.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll(".tools button")].find((x) => x.textContent === "Copy its config").click()`))
	b.until("shows the config", `document.querySelector("pre").textContent.includes("name: camera-1")`)
	b.narrow("a chosen slot", 320)
	b.check()
}

// TestWallLoadsWhatIsInView: pictures are made only of the cameras that can be seen, and a
// hidden tab loads nothing at all.
func TestWallLoadsWhatIsInView(t *testing.T) {
	b := newBrowser(t)
	s := showStreams(t, 90)
	ill := "camera-2"
	s.ill.Store(&ill)
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(s.url+"/?view=wall&sort=name"))
	const loaded = `document.querySelectorAll("#wall img[src]").length`
	b.until("pictures appear", loaded+` >= 10`)
	b.until("the one that cannot be read says so", `document.querySelectorAll("#wall li")[1].textContent.includes("Cannot be read")`)
	b.named("the wall")
	tiles := eval[int](b, `[...document.querySelectorAll("#wall li")].filter((l) => l.getBoundingClientRect().top < innerHeight + 50).length`)
	b.until("all that can be seen, but that one", fmt.Sprintf("%s === %d", loaded, tiles-1))
	b.until("they are loaded again", `performance.getEntriesByType("resource").filter((r) => r.name.includes("/camera-1/thumbnail")).length >= 2`)
	s.mu.Lock()
	looked := slices.Compact(slices.Sorted(slices.Values(s.looked)))
	s.looked = nil
	s.mu.Unlock()
	if len(looked) != tiles-1 || slices.Contains(looked, ill) || tiles > 60 {
		t.Errorf("%d of %d tiles were loaded: %s", len(looked), tiles, strings.Join(looked, " "))
	}
	for _, width := range []int64{390, 320} {
		b.narrow("the wall", width)
	}
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Click(chromedp.CSS(`#shows [data-show="frame"]`)))
	b.until("or the camera's frame", `document.querySelector("#wall img[src]").alt === "The camera’s frame" && location.search === "?sort=name&view=wall&show=frame"`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#wall a").click()`))
	b.until("a click opens the camera", names+` === "camera-1" && document.querySelector(".live img[src]") !== null && document.querySelector("#wall").hidden`)
	// As if the tab were hidden: two polls later, nothing more has been loaded.
	const requests = `performance.getEntriesByType("resource").length`
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { Object.defineProperty(document, "hidden", { value: true }); document.dispatchEvent(new Event("visibilitychange")); window.hid = Date.now() })()`))
	b.until("what was under way has arrived", `Date.now() - hid > 1000`)
	before := eval[int](b, requests)
	b.until("two polls later", `Date.now() - hid > 5500`)
	if after := eval[int](b, requests); after != before {
		t.Errorf("%d requests of a hidden tab", after-before)
	}
	b.check()
}
