package status

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// order sorts entries by a column, and those that are equal in it by name.
func order(all []*entry, by string, reverse bool, now time.Time) {
	slices.SortFunc(all, func(a, b *entry) int {
		c := 0
		switch by {
		case "age":
			c = cmp.Compare(b.age(now), a.age(now))
		case "gaps":
			c = cmp.Compare(b.lost, a.lost)
		case "latency":
			c = cmp.Compare(b.latency, a.latency)
		case "state":
			c = cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.lost, a.lost))
		}
		c = cmp.Or(c, cmp.Compare(a.natural, b.natural))
		if reverse {
			c = -c
		}
		return c
	})
}

// age is that of the newest tensor, 0 for a stream that has not begun.
func (e *entry) age(now time.Time) time.Duration {
	if e.waiting {
		return 0
	}
	return e.Freshness(now)
}

// compareNames compares names, and the numbers in them as numbers: cam-9 is before cam-10.
func compareNames(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		n, m := digits(x), digits(y)
		if n > 0 && m > 0 {
			p, q := strings.TrimLeft(x[:n], "0"), strings.TrimLeft(y[:m], "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); c != 0 {
				return c
			}
			x, y = x[n:], y[m:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits returns the number of digits that s begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
