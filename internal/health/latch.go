package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
)

// latches are the reasons that were so lately, by code.
type latches map[Code]*latch

// A latch keeps a reason from flapping.
type latch struct {
	Reason
	seen time.Time // when it was last so
	told bool
}

// settle takes note of the reasons that are so at an instant, and returns those that are
// told from now on, and those that are over.
func (l *latches) settle(at time.Time, now []Reason) []Change {
	if *l == nil {
		if len(now) == 0 {
			return nil
		}
		*l = latches{}
	}
	for _, r := range now {
		has := (*l)[r.Code]
		if has == nil || !has.told && at.Sub(has.seen) >= over { // it was over, though nobody looked
			has = &latch{Reason: Reason{Code: r.Code, Since: at}}
			(*l)[r.Code] = has
		}
		has.Detail, has.seen = sanitize.Text(r.Detail), at // it may quote what AWS and NATS say
		if !r.Since.IsZero() {
			has.Since = r.Since
		}
	}
	var changes []Change
	for code, has := range *l {
		rule := code.rule()
		wait := over
		if rule.blocks && rule.silent {
			wait = 0
		}
		switch {
		case !has.seen.Equal(at) && at.Sub(has.seen) >= wait:
			delete(*l, code)
			if has.told {
				changes = append(changes, Change{Reason: has.Reason, Over: true})
			}
		case !has.told && has.seen.Equal(at) && at.Sub(has.Since) >= rule.raise:
			has.told = true
			changes = append(changes, Change{Reason: has.Reason})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Code.rank(), b.Code.rank()) })
	return changes
}

// told returns the reasons that are told, worst first.
func (l latches) told() []Reason { return l.reasons(func(has *latch) bool { return has.told }) }

// all returns the reasons that may be told soon, too.
func (l latches) all() []Reason { return l.reasons(func(*latch) bool { return true }) }

func (l latches) reasons(which func(*latch) bool) []Reason {
	var all []Reason
	for _, has := range l {
		if which(has) {
			all = append(all, has.Reason)
		}
	}
	slices.SortFunc(all, func(a, b Reason) int { return cmp.Compare(a.Code.rank(), b.Code.rank()) })
	return all
}
