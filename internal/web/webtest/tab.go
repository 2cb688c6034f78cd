// Package webtest starts a real browser for tests of pages.
package webtest

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// NewTab starts the Chromium at a path for the length of the test, and returns the context of
// its tab, which ends after limit.
func NewTab(t *testing.T, program string, limit time.Duration) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	// Before the allocator ends, so that nothing of the browser is left.
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	return ctx
}
