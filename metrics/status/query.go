package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/internal/health"
)

// A query is the parameters of /api/streams.
type query struct {
	name          string // in lower case
	stream        string // the whole name, "" for any
	states        []string
	full          map[string]bool // nil for all
	sort          string
	reverse       bool
	limit, offset int
}

func parseQuery(values map[string][]string) (q query, err error) {
	for key, all := range values {
		if err := q.set(key, all[len(all)-1]); err != nil {
			return q, err
		}
	}
	return q, nil
}

// set sets a parameter to a value.
func (q *query) set(key, value string) error {
	switch key {
	case "name":
		q.name = strings.ToLower(value)
	case "stream":
		q.stream = value
	case "full":
		q.full = map[string]bool{}
		for name := range strings.SplitSeq(value, ",") {
			q.full[name] = true
		}
	case "state":
		return q.setStates(value)
	case "sort":
		if q.sort = value; !slices.Contains([]string{"name", "state", "age", "gaps", "latency"}, value) {
			return fmt.Errorf("sort %.40q is none of name, state, age, gaps, latency", value)
		}
	case "order":
		if q.reverse = value == "desc"; !q.reverse && value != "asc" {
			return fmt.Errorf("order %.40q is neither asc nor desc", value)
		}
	case "limit":
		return parseNumber(key, value, &q.limit)
	case "offset":
		return parseNumber(key, value, &q.offset)
	default:
		return fmt.Errorf("%.40q is none of name, stream, state, sort, order, limit, offset, full", key)
	}
	return nil
}

func (q *query) setStates(value string) error {
	if value == "" {
		return nil
	}
	q.states = strings.Split(value, ",")
	for _, s := range q.states {
		if !slices.Contains(health.States(), health.State(s)) {
			return fmt.Errorf("state %.40q is none of %v", s, health.States())
		}
	}
	return nil
}

func parseNumber(key, value string, to *int) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return fmt.Errorf("%s %.40q is not a number", key, value)
	}
	*to = int(n)
	return nil
}

// matches tells whether a stream passes the filters.
func (q *query) matches(e *entry) bool {
	return (q.stream == "" || e.Name == q.stream) &&
		(q.name == "" || strings.Contains(strings.ToLower(e.Name), q.name)) &&
		(q.states == nil || slices.Contains(q.states, string(e.is.State)))
}
