package budget

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A rig is a budget in a time that is passed in.
type rig struct {
	*Budget
	now time.Time
}

func newRig(o Options) *rig {
	r := &rig{now: time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)}
	o.Now = func() time.Time { return r.now }
	r.Budget = New(o)
	return r
}

func (r *rig) check(t *testing.T, what, stream string, want time.Duration, text string) {
	t.Helper()
	if got := r.Pace(stream, time.Second); got != want {
		t.Errorf("%s: pace of %s is %v, want %v", what, stream, got, want)
	}
	if got := r.Use(stream).String(); !strings.Contains(got, text) {
		t.Errorf("%s: %s says %q, want %q", what, stream, got, text)
	}
	if err := r.Allow(stream); (err != nil) != (want != 0) {
		t.Errorf("%s: %s: %v", what, stream, err)
	}
}

func TestDay(t *testing.T) {
	r := newRig(Options{All: Limits{ImagesPerDay: 1000}})
	r.Set("stop", Limits{ImagesPerDay: 100})
	r.Set("slow", Limits{ImagesPerDay: 100, Slow: true})
	r.check(t, "nothing spent", "stop", 0, "0% of images_per_day of all streams")
	r.Spend("stop", 79)
	if r.Use("stop").Low() {
		t.Error("79% is not much")
	}
	r.Spend("stop", 1)
	r.Spend("slow", 100)
	if !r.Use("stop").Low() {
		t.Error("80% is much")
	}
	r.check(t, "80 of 100", "stop", 0, "80% of images_per_day is used; it begins anew at 2026-02-01 00:00 UTC")
	r.check(t, "100 of 100", "slow", 10*time.Second, "images_per_day is used up until 2026-02-01 00:00 UTC")
	r.Spend("stop", 20)
	r.check(t, "100 of 100", "stop", -1, "images_per_day is used up")
	r.check(t, "no limit of its own", "other", 0, "20% of images_per_day of all streams")
	r.Spend("other", 800)
	for _, stream := range []string{"other", "stop", "slow"} {
		r.check(t, "1000 of 1000 in all", stream, -1, "used up")
	}
	r.now = r.now.Add(59 * time.Minute)
	r.check(t, "a minute before midnight", "other", -1, "of all streams is used up until 2026-02-01")
	r.now = r.now.Add(time.Minute)
	for _, stream := range []string{"other", "stop", "slow"} {
		r.check(t, "the next day", stream, 0, "0% of")
	}
}

func TestMonth(t *testing.T) {
	r := newRig(Options{All: Limits{MoneyPerMonth: 1, Slow: true}, PerImage: 1e-3})
	r.now = time.Date(2026, 12, 30, 12, 0, 0, 0, time.UTC)
	r.Spend("a", 500)
	r.now = r.now.AddDate(0, 0, 1)
	r.Spend("b", 500)
	r.check(t, "both days", "a", 10*time.Second, "money_per_month of all streams is used up until 2027-01-01 00:00 UTC")
	if images, money := r.Month("a"); images != 500 || money != 0.5 {
		t.Errorf("a: %d images, %v", images, money)
	}
	if images, money := r.Month(""); images != 1000 || money != 1 {
		t.Errorf("all: %d images, %v", images, money)
	}
	r.now = r.now.AddDate(0, 0, 1)
	r.check(t, "the next month", "a", 0, "0% of money_per_month of all streams")
}

// TestRestart: what was spent before counts, as far as its day and month go on. A limit of
// stop holds though a limit of slow is met further.
func TestRestart(t *testing.T) {
	r := newRig(Options{All: Limits{ImagesPerDay: 100, Slow: true}})
	r.Set("a", Limits{ImagesPerDay: 60})
	r.Spend("a", 60)
	r.Spend("b", 90)
	before, changed := r.Counts()
	if _, again := r.Counts(); !changed || again || len(before) != 2 {
		t.Errorf("changed %v, then %v: %+v", changed, again, before)
	}
	next := newRig(Options{All: Limits{ImagesPerDay: 100, Slow: true}})
	next.Set("a", Limits{ImagesPerDay: 60})
	next.Add(before)
	next.check(t, "after a restart", "a", -1, "images_per_day is used up")
	next.check(t, "after a restart", "b", 10*time.Second, "images_per_day of all streams is used up")
	next.Forget("a")
	next.check(t, "stopped meanwhile", "a", -1, "images_per_day is used up")
	var limit *Error
	if err := next.Allow("a"); !errors.As(err, &limit) || !limit.Use.Until.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%v", err)
	}
	late := newRig(Options{All: Limits{ImagesPerDay: 100}})
	late.now = late.now.AddDate(0, 0, 1)
	late.Add(before)
	late.check(t, "a day later", "b", 0, "0% of")
}

// TestClockIsSetBack: a clock that is off by less than a day does not begin a day twice, and one
// that was far ahead does not keep its day.
func TestClockIsSetBack(t *testing.T) {
	r := newRig(Options{All: Limits{ImagesPerDay: 100}})
	r.now = time.Date(2026, 2, 1, 0, 0, 5, 0, time.UTC)
	r.Spend("a", 100)
	r.now = r.now.Add(-10 * time.Second)
	r.check(t, "before midnight again", "a", -1, "used up")
	r.now = r.now.Add(10 * time.Second)
	r.check(t, "after midnight again", "a", -1, "used up")
	r.now = r.now.AddDate(1, 0, 0)
	r.Spend("a", 100)
	r.now = r.now.AddDate(-1, 0, 0)
	r.check(t, "a year back", "a", 0, "0% of")
}

// TestWrongClockAtTheStart: until the time is known, what was spent before is kept, however wrong the
// host's clock is. Once it is known, what belongs to another day no longer counts.
func TestWrongClockAtTheStart(t *testing.T) {
	today := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	before := func() []Account {
		was := newRig(Options{})
		was.now = today
		was.Set("a", Limits{ImagesPerDay: 100})
		was.Spend("a", 90)
		all, _ := was.Counts()
		return all
	}()
	for _, wrong := range []time.Time{time.Unix(0, 0), today.AddDate(-3, 0, 0), today.AddDate(20, 0, 0), today} {
		for _, step := range []struct {
			now  time.Time
			want time.Duration
		}{{today, -1}, {today.AddDate(0, 0, 1), 0}} {
			known := false
			r := newRig(Options{Known: func() bool { return known }})
			r.now = wrong
			r.Set("a", Limits{ImagesPerDay: 100})
			r.Add(before)
			if !r.Use("a").Low() {
				t.Errorf("%v: %v at the start", wrong, r.Use("a"))
			}
			r.Spend("a", 5)
			r.now, known = step.now, true
			r.Spend("a", 5)
			if got := r.Pace("a", time.Second); got != step.want {
				t.Errorf("%v, then %v: pace %v, want %v: %v", wrong, step.now, got, step.want, r.Use("a"))
			}
		}
	}
}
