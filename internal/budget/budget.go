// Package budget keeps what images cost within limits: those of each stream, and those of all
// streams together, for a day and for a month of UTC.
//
//	b := budget.New(budget.Options{All: budget.Limits{ImagesPerDay: 1_000_000}, PerImage: 10e-6, Now: now})
//	b.Spend("cam-1", 25)
//	pace := b.Pace("cam-1", 200*time.Millisecond) // negative: nothing may be asked for
//
// It counts the images that are asked for, retries and overlap included, because at most
// these are billed. What is under way when a limit is met is not cut short, so a limit may be
// exceeded by the images of a window for each stream.
package budget

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Warn is the part of a limit that is used from which on it is told.
const Warn = 0.8

// slower is how many times as long the interval of a stream becomes with [Limits.Slow], and
// slowest how long it becomes at least.
const (
	slower  = 10
	slowest = 10 * time.Second
)

// Limits are what images may cost. The zero value has none.
type Limits struct {
	// ImagesPerDay is how many images may be asked for in a day; 0 is no limit.
	ImagesPerDay int
	// MoneyPerMonth is what they may cost in a month, in the currency of the price; 0 is no
	// limit.
	MoneyPerMonth float64
	// Slow says that streams go on at a tenth of their rate, or one slot in ten seconds if that
	// is less, when a limit is met. Otherwise nothing more is asked for.
	Slow bool
}

// Options are those of a [Budget].
type Options struct {
	// All are the limits of all streams together. The action is that of All, too, for a
	// stream that has met no limit of its own.
	All Limits
	// PerImage is the price of an image.
	PerImage float64
	// Now returns the present, and Known whether that is certain: until it is, no day or month
	// ends, as a clock that is wrong at the start would have what was spent be forgotten.
	// Default: time.Now, and always.
	Now   func() time.Time
	Known func() bool
}

// A Budget counts images. It is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	opts    Options
	streams map[string]*account
	all     count
	dirty   bool // since Counts was last called
}

// An account is that of a stream.
type account struct {
	limits Limits
	count
}

// A count is how many images were asked for in the present day and month.
type count struct{ day, month span }

// A span is how many images there were in a day or a month, which began at a time.
type span struct {
	began  time.Time
	images int64
}

// New returns a budget of which nothing is spent.
func New(o Options) *Budget {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Known == nil {
		o.Known = func() bool { return true }
	}
	return &Budget{opts: o, streams: map[string]*account{}}
}

// SetAll replaces the limits of all streams together, and the price of an image.
func (b *Budget) SetAll(l Limits, perImage float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opts.All, b.opts.PerImage = l, perImage
}

// Set replaces the limits of a stream. What it has spent stays.
func (b *Budget) Set(stream string, l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(stream).limits = l
}

// Forget drops what is known of a stream that is no longer read and has no limits. What one with
// limits has spent counts when it is read again.
func (b *Budget) Forget(stream string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.streams[stream]; a != nil && a.limits == (Limits{}) {
		delete(b.streams, stream)
	}
}

func (b *Budget) of(stream string) *account {
	a := b.streams[stream]
	if a == nil {
		a = &account{}
		b.streams[stream] = a
	}
	return a
}

// Spend takes note of images that were asked for.
func (b *Budget) Spend(stream string, images uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range []*count{&b.all, &b.of(stream).count} {
		b.turn(c)
		c.day.images += int64(images)
		c.month.images += int64(images)
	}
	b.dirty = true
}

// turn begins another day, and another month. The caller has locked b.
func (b *Budget) turn(c *count) {
	if b.opts.Known() {
		now := b.opts.Now().UTC()
		c.day.turn(now, dayOf(now))
		c.month.turn(now, monthOf(now))
	}
}

// jitter is how far a clock may be set back without a day or a month beginning again, which
// would make what was spent be forgotten.
const jitter = 24 * time.Hour

// turn begins another span, unless the present one goes on. What was counted before the time was
// known belongs to the first.
func (s *span) turn(now, began time.Time) {
	switch {
	case s.began.IsZero():
		s.began = began
	case began.After(s.began), now.Before(s.began.Add(-jitter)):
		*s = span{began: began}
	}
}

func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func monthOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// A Use is how much of the limits is used.
type Use struct {
	// Limit is the config key of the limit of which the largest part is used, such as
	// images_per_day, "" if there is none.
	Limit string
	// All says that it is one of all streams together.
	All bool
	// Used is the part of it that is used: 1 and more if it is met.
	Used float64
	// Until is when the limit begins anew.
	Until time.Time
	// Slow is that of the limits.
	Slow bool
}

// Spent tells whether a limit is met.
func (u Use) Spent() bool { return u.Limit != "" && u.Used >= 1 }

// Low tells whether a limit will be met soon.
func (u Use) Low() bool { return u.Limit != "" && u.Used >= Warn && u.Used < 1 }

// String says it in a few words: "images_per_day of all streams is used up until 2026-01-03".
func (u Use) String() string {
	if u.Limit == "" {
		return "no limit"
	}
	of := ""
	if u.All {
		of = " of all streams"
	}
	if u.Spent() {
		return fmt.Sprintf("%s%s is used up until %s", u.Limit, of, u.Until.Format("2006-01-02 15:04 MST"))
	}
	return fmt.Sprintf("%.0f%% of %s%s is used; it begins anew at %s", u.Used*100, u.Limit, of, u.Until.Format("2006-01-02 15:04 MST"))
}

// Use returns how much of the limits of a stream and of all streams is used: that of the limit
// of which the largest part is.
func (b *Budget) Use(stream string) Use {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := b.use(b.opts.All, &b.all)
	most.All = most.Limit != ""
	if a := b.streams[stream]; a != nil {
		if own := b.use(a.limits, &a.count); own.Limit != "" && (own.Used > most.Used || most.Limit == "" || own.Spent() && !own.Slow) {
			most = own
		}
	}
	return most
}

// UseOfAll returns how much of the limits of all streams together is used.
func (b *Budget) UseOfAll() Use {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.use(b.opts.All, &b.all)
	u.All = u.Limit != ""
	return u
}

// UseOfOwn returns how much of the limits of a stream itself is used.
func (b *Budget) UseOfOwn(stream string) (u Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.streams[stream]; a != nil {
		u = b.use(a.limits, &a.count)
	}
	return u
}

// use returns how much of some limits is used. The caller has locked b.
func (b *Budget) use(l Limits, c *count) (most Use) {
	b.turn(c)
	consider := func(limit string, used float64, until time.Time) {
		if most.Limit == "" || used > most.Used {
			most = Use{Limit: limit, Used: used, Until: until, Slow: l.Slow}
		}
	}
	if l.ImagesPerDay > 0 {
		consider("images_per_day", float64(c.day.images)/float64(l.ImagesPerDay), c.day.began.AddDate(0, 0, 1))
	}
	if l.MoneyPerMonth > 0 {
		consider("money_per_month", float64(c.month.images)*b.opts.PerImage/l.MoneyPerMonth, c.month.began.AddDate(0, 1, 0))
	}
	return most
}

// Pace returns how far apart the slots of a stream may be asked for at present: 0 for its
// interval, and a negative duration if nothing may be.
func (b *Budget) Pace(stream string, interval time.Duration) time.Duration {
	switch u := b.Use(stream); {
	case !u.Spent():
		return 0
	case u.Slow:
		return max(slower*interval, slowest)
	}
	return -1
}

// An Account is what one stream, or all, have asked for.
type Account struct {
	// Stream is the name, "" for all.
	Stream string `json:"stream,omitempty"`
	// Day and Month are when the present ones began.
	Day   time.Time `json:"day"`
	Month time.Time `json:"month"`
	// Today and ThisMonth are the images that were asked for since then.
	Today     int64 `json:"today"`
	ThisMonth int64 `json:"this_month"`
}

// Counts returns what was asked for, by all streams and by each that has a limit, and whether
// that has changed since the last call.
func (b *Budget) Counts() (all []Account, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed, b.dirty = b.dirty, false
	all = []Account{b.all.account("")}
	for name, a := range b.streams {
		if a.limits.ImagesPerDay > 0 || a.limits.MoneyPerMonth > 0 {
			all = append(all, a.account(name))
		}
	}
	slices.SortFunc(all, func(a, b Account) int { return cmp.Compare(a.Stream, b.Stream) })
	return all, changed
}

func (c *count) account(stream string) Account {
	return Account{stream, c.day.began, c.month.began, c.day.images, c.month.images}
}

// Add adds what was asked for before the process began. It is called before anything is spent.
func (b *Budget) Add(before []Account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, was := range before {
		c := &b.all
		if was.Stream != "" {
			c = &b.of(was.Stream).count
		}
		c.day.add(was.Day, was.Today)
		c.month.add(was.Month, was.ThisMonth)
	}
}

// add adds to a span what was counted in the one that began then. Of two, the later one stays.
func (s *span) add(began time.Time, images int64) {
	switch {
	case s.began.IsZero(), s.began.Equal(began):
		s.began, s.images = began, s.images+max(images, 0)
	case began.After(s.began):
		*s = span{began: began, images: max(images, 0)}
	}
}

// Error says that a limit is met.
type Error struct{ Use Use }

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("the budget does not allow it: %v: ask again then, or raise limits", e.Use)
}

// Allow returns an [*Error] if nothing more may be asked for of a stream, or only little.
func (b *Budget) Allow(stream string) error {
	if u := b.Use(stream); u.Spent() {
		return &Error{u}
	}
	return nil
}

// Month returns what the images of a stream, "" for all, cost since the month began.
func (b *Budget) Month(stream string) (images int64, money float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.all
	if stream != "" {
		c = &count{}
		if a := b.streams[stream]; a != nil {
			c = &a.count
		}
	}
	b.turn(c)
	return c.month.images, float64(c.month.images) * b.opts.PerImage
}
