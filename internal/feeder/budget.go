package feeder

import (
	"context"
	"iter"
	"log/slog"
	"os"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/budget"
	"github.com/cvfeeder/cvfeeder/internal/checkpoint"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// saveBudgetEvery is how often it is saved what was spent. What is asked for between that and a
// kill is not counted.
const saveBudgetEvery = 5 * time.Second

// limitsOf returns the limits of a config.
func limitsOf(l config.Limits) budget.Limits {
	return budget.Limits{ImagesPerDay: l.ImagesPerDay, MoneyPerMonth: l.MoneyPerMonth, Slow: l.Then == config.ThenSlow}
}

// A purse is the budget, and where it is kept what was spent.
type purse struct {
	*budget.Budget
	all     config.Limits
	price   float64                                // of an image
	kept    *checkpoint.Document[[]budget.Account] // nil where it is not kept
	members func() int                             // how many replicas share the limits
	log     *slog.Logger
}

// A clock tells the time, and whether that is known for certain.
type clock interface {
	Now() time.Time
	TimeKnown() bool
}

// newPurse returns that of a config, with what was spent before.
func newPurse(cfg *config.Config, c clock, members func() int, log *slog.Logger) *purse {
	p := &purse{all: cfg.Limits, price: cfg.Price.PerMillionImages / 1e6, members: members, log: log}
	p.Budget = budget.New(budget.Options{All: limitsOf(cfg.Limits), PerImage: p.price, Now: c.Now, Known: c.TimeKnown})
	if cfg.State != "" {
		p.load(cfg.State)
	} else if limited(cfg) {
		log.Warn("there is no state directory, so what images cost counts from the start of the process: set state, so that a restart does not begin the limits anew")
	}
	if limited(cfg) {
		all, _ := p.Counts()
		log.Info("what images may cost is limited", "spent_today", all[0].Today, "spent_this_month", all[0].ThisMonth)
	}
	return p
}

// load makes the purse keep what is spent in a directory, and adds what was spent before.
func (p *purse) load(dir string) {
	kept := checkpoint.NewDocument[[]budget.Account](dir, "budget.json")
	p.kept = &kept
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		var before []budget.Account
		before, err = kept.Load()
		p.Add(before)
	}
	if err != nil {
		p.log.Error("it is not known what was spent before: the limits begin anew", "err", err)
	}
}

// limited tells whether a config has limits.
func limited(cfg *config.Config) bool {
	some := cfg.Limits.Any()
	for _, s := range cfg.Streams {
		some = some || s.Limits.Any()
	}
	return some
}

// keep saves what is spent until ctx ends, and once more then. It also shares the limits of all
// streams out among the replicas.
func (p *purse) keep(ctx context.Context) {
	t := time.NewTicker(saveBudgetEvery)
	defer t.Stop()
	outage := pacing.Outage{Every: time.Minute}
	for {
		select {
		case <-ctx.Done():
			p.save(&outage)
			return
		case <-t.C:
			p.share()
			p.save(&outage)
		}
	}
}

// share gives this replica its part of the limits of all streams.
func (p *purse) share() {
	n := max(p.members(), 1)
	l := limitsOf(p.all)
	if l.ImagesPerDay > 0 {
		l.ImagesPerDay = max(l.ImagesPerDay/n, 1)
	}
	l.MoneyPerMonth /= float64(n)
	p.SetAll(l, p.price)
}

func (p *purse) save(outage *pacing.Outage) {
	all, changed := p.Counts()
	if p.kept == nil || !changed {
		return
	}
	switch err := p.kept.Save(all); {
	case err == nil:
		if outage.Recovered() {
			p.log.Info("what was spent is saved again")
		}
	case outage.Failed():
		p.log.Error("what was spent could not be saved: after a restart it does not count", "err", err)
	}
}

// budgetOf returns how much of a limit is used as package health needs it.
func budgetOf(u budget.Use) health.Budget {
	of := health.Budget{Spent: u.Spent(), Slow: u.Slow, Low: u.Low()}
	if of.Spent || of.Low { // nobody asks otherwise, and this is done every second for every stream
		of.Detail = u.String()
	}
	return of
}

// ofAll returns the part of the limits of all streams that is used, and false without such limits.
func (p *purse) ofAll() (used float64, some bool) {
	u := p.UseOfAll()
	return u.Used, u.Limit != ""
}

// own is ofAll for the limits of a stream itself.
func (p *purse) own(stream string) (used float64, some bool) {
	u := p.UseOfOwn(stream)
	return u.Used, u.Limit != ""
}

// month returns the images of a stream, or of all for "", since the month began.
func (p *purse) month(stream string) int64 {
	images, _ := p.Month(stream)
	return images
}

// paces returns how far apart the slots of a stream may be asked for, nil if nothing limits it.
func (p *purse) paces(c config.Stream) func() time.Duration {
	p.Set(c.Name, limitsOf(c.Limits))
	if !c.Limits.Any() && !p.all.Any() {
		return nil
	}
	return func() time.Duration { return p.Pace(c.Name, c.Interval) }
}

// spend returns what counts frames on request of a stream besides, by next.
func (p *purse) spend(stream string, next func(images int) error) func(images int) error {
	return func(images int) error {
		if err := p.Allow(stream); err != nil {
			return overBudget{err}
		}
		return next(images)
	}
}

// guard returns a fetcher that asks for nothing while images of the stream may not cost more. Whoever
// uses it tries again until they may.
func (p *purse) guard(stream string, f poll.Fetcher) poll.Fetcher { return guarded{f, p, stream} }

type guarded struct {
	poll.Fetcher
	purse  *purse
	stream string
}

// Images implements [poll.Fetcher].
func (g guarded) Images(ctx context.Context, w poll.Window) iter.Seq2[poll.Image, error] {
	if err := g.purse.Allow(g.stream); err != nil {
		return func(yield func(poll.Image, error) bool) { yield(poll.Image{}, err) }
	}
	return g.Fetcher.Images(ctx, w)
}

// Unwrap returns the fetcher that is guarded, which may be able to do more.
func (g guarded) Unwrap() poll.Fetcher { return g.Fetcher }

// overBudget is the error of a request that would cost more than the limits allow. It is
// [ondemand.ErrSpent], with a text of its own.
type overBudget struct{ error }

func (overBudget) Is(target error) bool { return target == ondemand.ErrSpent }
