package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

var (
	matrixAll   = flag.Bool("matrix", false, "let TestMatrix run all cells, which takes ten minutes, instead of a few")
	matrixTable = flag.Bool("matrix-table", false, "let TestMatrix write its table into docs/reliability.md")
	matrixWidth = flag.Int("matrix-width", 8, "how many cells of TestMatrix run at the same time")
)

// backWithin is how soon after a fault all is well again, and smallBackWithin the same in
// "make test", on machines that have much else to do.
const (
	backWithin      = 30 * time.Second
	smallBackWithin = 90 * time.Second
)

// A mode is how tensors are delivered.
type mode struct {
	name     string
	delivery string // the config's
	feeders  int
	jet      bool // there is a stream
	durable  bool
	queue    bool // consumed messages are deleted
}

func modes() []mode {
	const durable = "{mode: durable, stream: {max_bytes: 64MiB, retention: %s}}"
	return []mode{
		{name: "live", delivery: "{mode: live}", feeders: 1},
		{name: "ring", delivery: "{mode: ring}", feeders: 1, jet: true},
		{name: "durable, workqueue", delivery: fmt.Sprintf(durable, "workqueue"), feeders: 1, jet: true, durable: true, queue: true},
		{name: "durable, limits", delivery: fmt.Sprintf(durable, "limits"), feeders: 1, jet: true, durable: true},
		{name: "group of three", delivery: fmt.Sprintf(durable, "limits"), feeders: 3, jet: true, durable: true},
	}
}

// small are the cells of "make test".
var small = map[string][]string{
	"store wiped":       {"group of three"},
	"store rolled back": {"durable, workqueue", "durable, limits"},
	"permissions taken": {"durable, limits"},
}

// TestMatrix lets each fault happen in each mode, with real processes. While a fault lasts
// that keeps tensors from being delivered, the feeder is not ready. When it is over, all
// streams flow again soon, without a restart; every slot is accounted for, none is lost
// unseen, and none comes twice.
func TestMatrix(t *testing.T) {
	feedertest.Long(t, "runs feeders and servers for half a minute")
	results := map[string]string{}
	var mu sync.Mutex
	width := make(chan struct{}, *matrixWidth)
	t.Cleanup(func() {
		report(t, results)
		_ = os.RemoveAll(clockBuild.dir)
	})
	for _, f := range faults() {
		for _, m := range modes() {
			if !*matrixAll && !slices.Contains(small[f.name], m.name) {
				continue
			}
			key := f.name + "/" + m.name
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				width <- struct{}{}
				defer func() { <-width }()
				said := "**fails**"
				defer func() {
					mu.Lock()
					results[key] = said
					mu.Unlock()
				}()
				if why := f.without(m); why != "" {
					said = why
					return
				}
				y := newYard(t, m, f)
				if y.cannot != "" {
					said = "cannot be done here: " + y.cannot
					t.Log(said)
					return
				}
				said = y.suffer()
				if t.Failed() {
					said = "**fails**: " + said
				}
			})
		}
	}
}

// suffer has the fault happen, and returns what was seen of it.
func (y *yard) suffer() string {
	y.await("the streams flow at first", smallBackWithin, y.flowing(time.Time{}))
	f := y.fault
	y.mark()
	struck := time.Now()
	f.strike(y)
	pause(f.hold)
	if f.breaks != nil && f.breaks(y.mode) {
		y.await("a feeder is not ready", smallBackWithin, func() string {
			if y.notReadySince(struck) == "" {
				return "all are ready"
			}
			return ""
		})
		pause(2 * time.Second)
	}
	healed := time.Now()
	if f.heal != nil {
		f.heal(y)
	}
	limit := smallBackWithin
	if *matrixAll {
		limit = backWithin
	}
	y.await("the streams flow again", limit, y.flowing(healed))
	back := time.Since(healed)
	reason := y.notReadySince(struck)
	pause(3 * time.Second) // in which what is behind may come
	if *matrixAll {
		y.await("the log says that all is over", overWithin, y.allIsOver)
	}
	y.checkLog(time.Since(struck))
	y.finish()
	said := fmt.Sprintf("%.0f s", back.Seconds())
	if reason != "" {
		said += ", " + reason
	}
	return said
}

// pause lets a fault last.
func pause(d time.Duration) { <-time.After(d) }

// report logs the table, and writes it into the documentation.
func report(t *testing.T, results map[string]string) {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, m := range modes() {
		fmt.Fprintf(&b, " %s |", m.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(modes())) + "\n")
	for _, f := range faults() {
		fmt.Fprintf(&b, "| %s |", f.title)
		for _, m := range modes() {
			cell := results[f.name+"/"+m.name]
			if cell == "" {
				cell = "not run"
			}
			fmt.Fprintf(&b, " %s |", strings.ReplaceAll(cell, "|", "/"))
		}
		b.WriteString("\n")
	}
	t.Logf("\n%s", b.String())
	if !*matrixTable {
		return
	}
	const begin, end = "<!-- matrix -->\n", "<!-- end of matrix -->"
	file := filepath.Join("..", "..", "docs", "reliability.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Errorf("%s has no place for the table", file)
		return
	}
	if err := os.WriteFile(file, []byte(head+begin+b.String()+end+tail), 0o600); err != nil {
		t.Error(err)
	}
}
