package feeder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// listEvery is how often the prefixes are looked up. The quota of ListStreams is the
	// account's, which others use as well.
	listEvery = 30 * time.Second
	// listSoon is the same while there is a prefix of which nothing is known yet.
	listSoon = 5 * time.Second
	// listWait limits one look-up, which may have to read a page for every ten streams.
	listWait = 5 * time.Minute
	// checkWait limits the look-up at the start, which only finds out whether a permission
	// is missing.
	checkWait = 10 * time.Second
	// removeAtOnce is how many streams are stopped at the same time: each may have to
	// wait for its frames in flight.
	removeAtOnce = 64
)

// A wanted stream is one that should run: listed in the config, or found by one of its
// prefixes.
type wanted struct {
	stream  config.Stream // has a name, also where a prefix found it
	outputs []config.Output
}

// A follower starts and stops streams so that those run that the config wants. What the
// prefixes find changes over time, and the config changes with its file.
type follower struct {
	builder *builder
	cfg     *config.Config
	log     *slog.Logger
	changes changes

	running map[string]wanted
	found   map[string][]string // names by prefix, as of the last look-up
	refused map[string]bool     // names that have been logged as refused

	mu      sync.Mutex
	unfound map[string]string // prefixes that have never been looked up, and why not
	sought  []string          // all prefixes
}

// changes are how a follower learns of another config, and what becomes of it.
type changes struct {
	file   *config.File     // nil where the config stays as it is
	hangup <-chan os.Signal // says when to read the file again at once
	// accept returns why a new plan cannot be used.
	accept func(context.Context, Plan) error
	// told is called with the outcome of each reading.
	told func(error)
}

// newFollower returns a follower for the plan of a builder, whose named streams are
// running already.
func newFollower(b *builder, c changes, log *slog.Logger) *follower {
	f := &follower{
		builder: b, cfg: b.plan.Config, log: log, changes: c,
		running: map[string]wanted{}, found: map[string][]string{}, refused: map[string]bool{},
		unfound: map[string]string{},
	}
	f.running = f.want()
	f.expect()
	return f
}

// expect notes which of the config's prefixes have never been looked up.
func (f *follower) expect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.unfound
	f.unfound, f.sought = map[string]string{}, nil
	for _, c := range f.cfg.Prefixes() {
		f.sought = append(f.sought, c.Prefix)
		if _, known := f.found[c.Prefix]; !known {
			f.unfound[c.Prefix] = cmp.Or(before[c.Prefix], "not answered yet")
		}
	}
}

// notFound returns which prefixes have never been looked up, and why, so that nobody knows
// which streams to run.
func (f *follower) notFound() []string {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var why []string
	for _, prefix := range slices.Sorted(maps.Keys(f.unfound)) {
		why = append(why, fmt.Sprintf("prefix %s: %s", prefix, f.unfound[prefix]))
	}
	return why
}

// prefixes returns the config's.
func (f *follower) prefixes() []string {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sought
}

// idle reports whether nothing can change.
func (f *follower) idle() bool { return f.changes.file == nil && len(f.cfg.Prefixes()) == 0 }

// follow keeps the streams of set up to date until ctx ends.
func (f *follower) follow(ctx context.Context, set pipeline.Set) {
	list, look := time.NewTicker(listEvery), time.NewTicker(config.PollInterval)
	defer list.Stop()
	defer look.Stop()
	f.update(ctx, set)
	list.Reset(f.pace())
	for {
		select {
		case <-ctx.Done():
			return
		case <-list.C:
			f.update(ctx, set)
			list.Reset(f.pace())
		case <-look.C:
			if f.changes.file == nil {
				continue
			}
			if text, changed, err := f.changes.file.Changed(); changed || err != nil {
				f.reload(ctx, set, text, err)
			}
		case <-f.changes.hangup:
			text, err := f.changes.file.Read()
			f.reload(ctx, set, text, err)
		}
	}
}

// pace returns how long to wait until the prefixes are looked up again.
func (f *follower) pace() time.Duration {
	if len(f.notFound()) > 0 {
		return listSoon
	}
	return listEvery
}

// update looks up all prefixes, then starts new streams and stops those that are gone.
func (f *follower) update(ctx context.Context, set pipeline.Set) {
	for _, c := range f.cfg.Prefixes() {
		f.find(ctx, c.Prefix)
	}
	f.apply(ctx, set)
}

// find looks up a prefix. Where that fails, the streams of the last look-up stay.
func (f *follower) find(ctx context.Context, prefix string) {
	names, err := f.list(ctx, prefix, listWait)
	if ctx.Err() != nil {
		return
	}
	f.builder.metrics.PrefixLookup(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, never := f.unfound[prefix]
	switch {
	case err == nil:
		f.found[prefix] = names
		delete(f.unfound, prefix)
	case never:
		f.unfound[prefix] = sanitize.Text(err.Error())
	}
	if err != nil {
		f.log.Warn("streams could not be looked up, trying again", "prefix", prefix, "err", err)
	}
}

// want returns the streams that should run, by name: those that the config lists, and
// those that its prefixes have found, except those whose NATS subjects another stream
// uses already.
func (f *follower) want() map[string]wanted {
	want, tokens := map[string]wanted{}, map[string]string{}
	for _, name := range f.cfg.BatchNames() {
		tokens[publish.SubjectToken(name)] = name
	}
	for _, c := range f.cfg.Streams {
		if c.Prefix == "" {
			want[c.Name], tokens[publish.SubjectToken(c.Name)] = f.wanted(c), c.Name
		}
	}
	found := map[string]config.Stream{}
	for _, c := range f.cfg.Prefixes() {
		for _, name := range f.found[c.Prefix] {
			if _, taken := found[name]; !taken {
				found[name] = c
			}
		}
	}
	// What is gone may come back under the same name, and is then told again.
	maps.DeleteFunc(f.refused, func(name string, _ bool) bool {
		_, known := found[name]
		_, named := want[name]
		return !known && !named
	})
	// Of two streams with the same subjects, the one that is running already stays.
	names := slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.rank(a), f.rank(b)), cmp.Compare(a, b))
	})
	for _, name := range names {
		token := publish.SubjectToken(name)
		if other, taken := tokens[token]; taken {
			if _, named := want[name]; !named && !f.refused[name] {
				f.refused[name] = true
				f.log.Error("the stream is left out: it would share its NATS subjects with another; rename one",
					"stream", name, "other", other)
			}
			continue
		}
		c := found[name]
		c.Name, c.Prefix = name, ""
		want[name], tokens[token] = f.wanted(c), name
	}
	return want
}

func (f *follower) rank(name string) int {
	if _, running := f.running[name]; running {
		return 0
	}
	return 1
}

func (f *follower) wanted(c config.Stream) wanted {
	w := wanted{stream: c}
	for _, name := range c.Outputs {
		w.outputs = append(w.outputs, f.cfg.Outputs[name])
	}
	return w
}

// apply stops and starts streams until those that are wanted run. A stream whose config
// has changed is stopped and started again at its cursor.
func (f *follower) apply(ctx context.Context, set pipeline.Set) {
	if ctx.Err() != nil {
		return
	}
	want := f.want()
	var stop []string
	for name, w := range f.running {
		if is, still := want[name]; !still || !reflect.DeepEqual(w, is) {
			stop = append(stop, name)
		}
	}
	left := f.remove(ctx, set, stop)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, runs := f.running[name]; !runs {
			f.add(ctx, set, want[name], left[name])
		}
	}
}

// A stopped stream has left off at its cursor, where a stream of the same name resumes.
type stopped struct {
	cursor source.Slot
	from   config.Start
}

// remove stops streams, and returns where they left off, by name.
func (f *follower) remove(ctx context.Context, set pipeline.Set, names []string) map[string]*stopped {
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(removeAtOnce)
	left := map[string]*stopped{}
	for _, name := range names {
		from := f.running[name].stream.From
		delete(f.running, name)
		all.Go(func() error {
			// Frames in flight are finished even when the process is ending.
			cursor, ok := set.Remove(context.WithoutCancel(ctx), name)
			f.builder.forget(name)
			if ok {
				mu.Lock()
				defer mu.Unlock()
				left[name] = &stopped{cursor, from}
			}
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	return left
}

// add starts a stream. It resumes where the stopped one left off, unless its config now
// says to begin elsewhere.
func (f *follower) add(ctx context.Context, set pipeline.Set, w wanted, left *stopped) {
	c := w.stream
	s, err := f.builder.stream(c, f.builder.service.Now())
	if err == nil {
		err = f.builder.claim(ctx, s)
	}
	if err != nil {
		if !f.refused[c.Name] && ctx.Err() == nil {
			f.refused[c.Name] = true
			f.log.Error("the stream is left out", "stream", c.Name, "err", err)
		}
		return
	}
	if left != nil && (c.From == left.from || c.From.Kind == config.StartResume) {
		s.From = left.cursor
	}
	f.running[c.Name] = w
	set.Add(s)
}

// check returns an error where the credentials do not allow looking up a prefix, which
// trying again would not change.
func (f *follower) check(ctx context.Context) error {
	for _, c := range f.cfg.Prefixes() {
		if _, err := f.list(ctx, c.Prefix, checkWait); errors.Is(err, source.ErrRefused) {
			return fmt.Errorf("prefix %s: %w", c.Prefix, err)
		}
	}
	return nil
}

func (f *follower) list(ctx context.Context, prefix string, limit time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f.builder.service.List(ctx, prefix)
}
