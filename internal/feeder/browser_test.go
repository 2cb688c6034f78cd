package feeder_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/web/webtest"
)

// browserTime is longer than any test of the page takes.
const browserTime = 10 * time.Minute

// A browser is a tab of Chromium, for a test.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // how chromedp names a tab

	mu       sync.Mutex
	problems []string // exceptions, and what the page's policy kept from loading
}

// newBrowser starts a Chromium that lasts as long as the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	feedertest.Long(t, "starts a browser")
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs the program chromium: .ci/deps.sh test installs it")
	}
	ctx := webtest.NewTab(t, program, browserTime)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) hear(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = fmt.Sprintf("%+v", e.ExceptionDetails)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			problem = e.Entry.Text
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// check reports what went wrong in the page.
func (b *browser) check() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Errorf("the page: %s", p)
	}
}

// do takes steps, each with a minute.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// until waits until a JavaScript expression is true.
func (b *browser) until(what, js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		// While a page loads, there may be nothing to evaluate it in.
		if is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](js)); err == nil && is {
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	b.t.Fatalf("never: %s\n%s\n%s", what, js, eval[string](b, "document.body.innerText"))
}

// scheme has the system be light or dark.
func (b *browser) scheme(name string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// narrow makes sure that nothing has to be scrolled sideways.
func (b *browser) narrow(what string, width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 800))
	if over := eval[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		b.t.Errorf("%s: at a width of %d, %d pixels are beyond it", what, width, over)
	}
}
