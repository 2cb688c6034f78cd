// Package cores tells how many cores the process may use, and whether it lacks some: whether
// work that could have been done was not, and what took the cores away.
//
//	watch := cores.New(os.DirFS("/"))
//	workers := watch.Workers()
//	for range time.Tick(time.Second) {
//		watch.Look()
//	}
//	lack := watch.Lack() // of the last ten seconds
//
// How busy the workers are does not say it: a process that is stopped for nine tenths of
// each tenth of a second finds its workers idle as often as busy.
package cores

import (
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// over is the number of looks, a second apart, that a [Lack] is taken over: media comes in
// bursts of a fragment.
const over = 10

// The shares from which on cores are lacking. A frame that waits for a quarter of its time
// is not late yet; a machine on which that lasts is close to it.
const (
	tooThrottled = 0.25
	tooCrowded   = 0.5
)

// A Lack is the share of the work that could have been done, in the last ten seconds, and was
// not, from 0 to 1, by what was in its way.
type Lack struct {
	// Quota is the share of the periods of the CPU quota in which that was used up, and the
	// process stopped.
	Quota float64
	// Machine is the share of the time that threads waited for a core: the quota, or other
	// processes, had them all.
	Machine float64
	// Process is the share of the time that goroutines waited for a thread: the process itself
	// has more to do at once than GOMAXPROCS allows.
	Process float64
	// Cores is how many the process may use.
	Cores float64
}

// Text says in a sentence that there are too few cores, and how it shows; it is "" if there
// are enough. Whoever catches up with a backlog uses all that there is, too: then it means
// that this takes longer.
func (l Lack) Text() string {
	switch {
	case l.Quota >= tooThrottled:
		return fmt.Sprintf("too few cores: the CPU quota of %.2g cores is used up in %.0f%% of its periods, and the process is stopped until the next",
			l.Cores, 100*l.Quota)
	case l.Machine >= tooCrowded:
		return fmt.Sprintf("too few cores: threads that could run wait for a core in %.0f%% of their time, because others use them", 100*l.Machine)
	}
	return ""
}

// A Watch looks at the cores. Its methods are safe for concurrent use.
type Watch struct {
	fsys  fs.FS
	group cgroup

	mu    sync.Mutex
	looks []look // newest last
	lack  Lack
}

// A look is what the kernel and Go's scheduler have counted up to an instant.
type look struct {
	quota
	ran, waited, queued time.Duration
}

// New returns a watch that reads the files of the host in fsys, whose root is /.
func New(fsys fs.FS) *Watch {
	w := &Watch{fsys: fsys, group: findCgroup(fsys)}
	w.lack.Cores = w.limit(w.group.quota())
	return w
}

// limit returns how many cores the process may use: what the quota allows, and no more than
// Go uses at once. Go sets that by the quota, the affinity and the number of cores, but to 2
// at least where the machine has as many.
func (w *Watch) limit(q quota) float64 {
	most := float64(runtime.GOMAXPROCS(0))
	if q.cores > 0 {
		return min(q.cores, most)
	}
	return most
}

// Limit returns how many cores the process may use now. A quota may be a fraction.
func (w *Watch) Limit() float64 { return w.limit(w.group.quota()) }

// Workers returns how many workers keep these cores busy, 1 at least.
func (w *Watch) Workers() int { return max(1, int(math.Ceil(w.Limit()))) }

// Look takes note of what has been counted by now. It is called every second.
func (w *Watch) Look() {
	l := look{quota: w.group.quota(), queued: queued()}
	l.ran, l.waited = threads(w.fsys)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, l)
	if len(w.looks) > over+1 {
		w.looks = w.looks[1:]
	}
	w.lack = since(w.looks[0], l)
	w.lack.Cores = w.limit(l.quota)
}

// Lack returns what was lacking in the last ten seconds.
func (w *Watch) Lack() Lack {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lack
}

// since returns what was lacking between two looks.
func since(first, last look) Lack {
	var l Lack
	if last.periods > first.periods && last.throttled >= first.throttled {
		l.Quota = min(float64(last.throttled-first.throttled)/float64(last.periods-first.periods), 1)
	}
	ran := max(last.ran-first.ran, 0)
	l.Machine = share(last.waited-first.waited, ran)
	l.Process = share(last.queued-first.queued, ran)
	return l
}

// enough is the least time in ten seconds that was spent waiting and matters: a fifth of a
// core. A process that has little to do waits on a busy machine, too, and is not late.
const enough = 2 * time.Second

// share returns the share of a time that was spent waiting.
func share(waited, ran time.Duration) float64 {
	if waited < enough {
		return 0
	}
	return float64(waited) / float64(waited+ran)
}

// queued returns how long goroutines have waited for a thread since the process began, all of
// them together.
func queued() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h, seconds := sample[0].Value.Float64Histogram(), 0.0
	for i, n := range h.Counts {
		low, high := h.Buckets[i], h.Buckets[i+1]
		switch {
		case math.IsInf(low, -1):
			low = 0
		case math.IsInf(high, 1):
			high = low
		}
		seconds += float64(n) * (low + high) / 2
	}
	return time.Duration(seconds * float64(time.Second))
}
