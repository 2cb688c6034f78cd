package status

import (
	"cmp"
	"slices"
	"strings"
)

// order sorts rows by a column, and those that are equal in it by name.
func order(rows []row, by string, reverse bool) {
	slices.SortStableFunc(rows, func(a, b row) int {
		c := 0
		switch by {
		case "age":
			c = cmp.Compare(b.Freshness, a.Freshness)
		case "gaps":
			c = cmp.Compare(b.Lost, a.Lost)
		case "latency":
			c = cmp.Compare(b.Latency, a.Latency)
		case "state":
			c = cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.Lost, a.Lost))
		}
		c = cmp.Or(c, compareNames(a.Stream, b.Stream))
		if reverse {
			c = -c
		}
		return c
	})
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
