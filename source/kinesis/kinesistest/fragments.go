package kinesistest

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	fragmentsPage    = 100
	maxFragmentsPage = 1000
)

// A fragmentsQuery is what ListFragments asks for, checked.
type fragmentsQuery struct {
	from, to source.Slot
	producer bool
	limit    int
	next     source.Slot // the end of earlier pages, by when fragments were recorded
}

// fragmentInfo is what the service says about a fragment.
type fragmentInfo struct {
	FragmentNumber               string
	FragmentSizeInBytes          int64
	ProducerTimestamp            json.Number
	ServerTimestamp              json.Number
	FragmentLengthInMilliseconds int64
}

func (s *Server) listFragments(c *call) (answer, error) {
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if err := s.checkEndpoint(c, nil); err != nil {
		return nil, err
	}
	if st.faults.DenyListFragments {
		return nil, NotAuthorized("kinesisvideo:ListFragments")
	}
	request := "fragments " + st.Name
	q, err := s.parseFragmentsQuery(c, request)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, q.limit); err != nil {
		return nil, err
	}
	out := struct {
		Fragments []fragmentInfo
		NextToken string `json:",omitempty"`
	}{Fragments: []fragmentInfo{}}
	limit := q.limit
	if most := st.faults.ListPage; most > 0 {
		limit = min(limit, most)
	}
	for f := range st.media.within(q, c.record.Time) {
		if len(out.Fragments) >= limit {
			out.NextToken = s.tokens.issue(request, fmt.Sprintf(fragmentsWhere, q.from, q.to, q.producer, f.start), c.record.Time)
			break
		}
		info := st.fragmentInfo(f)
		out.Fragments = append(out.Fragments, info)
		if st.media.listedTwice(f) {
			out.Fragments = append(out.Fragments, info)
		}
	}
	if ends := c.rng.derive(ofListEnds); ends.chance(st.faults.ListEnds) {
		out.Fragments, out.NextToken = out.Fragments[:len(out.Fragments)/2], ""
	}
	if order := c.rng.derive(ofUnordered); order.chance(st.faults.Unordered) {
		shuffle(order, out.Fragments)
	}
	return answerJSON(out), nil
}

// within returns the fragments that a query finds at now, after those of earlier pages.
func (m media) within(q fragmentsQuery, now time.Time) iter.Seq[fragment] {
	// Nothing is visible outside of these bounds, and clocks are off by at most this much.
	off := m.clockRange(q.producer)
	from := max(q.from, source.SlotAt(now.Add(-m.retention))-off)
	to := min(q.to, source.SlotAt(now)+off)
	if !m.since.IsZero() {
		from = max(from, source.SlotAt(m.since)-off)
	}
	return func(yield func(fragment) bool) {
		for f := range m.starting(from, to, q.producer) {
			if f.start >= q.next && m.listed(f, now) && !yield(f) {
				return
			}
		}
	}
}

func (st *stream) fragmentInfo(f fragment) fragmentInfo {
	// About 1 Mbit/s.
	size := int64(f.end-f.start) * (100 + st.media.rng.derive(ofSize, uint64(f.start)).below(50))
	off := st.media.listedOff(f)
	return fragmentInfo{
		FragmentNumber:               fmt.Sprintf("91343852333181%033d", f.start),
		FragmentSizeInBytes:          size,
		ProducerTimestamp:            seconds(st.media.begin(f, true).Add(off).Time()),
		ServerTimestamp:              seconds(st.media.begin(f, false).Add(off).Time()),
		FragmentLengthInMilliseconds: st.media.listedLength(f),
	}
}

// fragmentsWhere is what a token of ListFragments holds: the range, whether it is by the
// producer's clock, and where to continue. So the request need not repeat the range.
const fragmentsWhere = "%d %d %t %d"

func (s *Server) parseFragmentsQuery(c *call, request string) (fragmentsQuery, error) {
	f, q := c.fields, fragmentsQuery{limit: fragmentsPage}
	if limit, ok := number[int64](f, "MaxResults", 1, maxFragmentsPage); ok {
		q.limit = int(limit)
	}
	token := f.text("NextToken", mediaTokenShape)
	selector, ok := f.nested("FragmentSelector")
	if ok {
		q.readSelector(selector)
	}
	if err := f.check(); err != nil {
		return q, err
	}
	switch {
	case token != "":
		where, err := s.where(c, request, token)
		if err != nil {
			return q, err
		}
		if _, err := fmt.Sscanf(where, fragmentsWhere, &q.from, &q.to, &q.producer, &q.next); err != nil {
			return q, invalidToken()
		}
	case !ok:
		return q, invalidArgument("FragmentSelector must be specified where NextToken is not.")
	case q.from > q.to:
		return q, invalidArgument("StartTimestamp must not be after EndTimestamp.")
	}
	return q, nil
}

func (q *fragmentsQuery) readSelector(f *fields) {
	q.producer = parseSelectorType(f, "FragmentSelectorType") == producerTimestamp
	times, ok := f.nested("TimestampRange")
	f.required("TimestampRange", ok)
	if ok {
		q.from, q.to = times.instant("StartTimestamp"), times.instant("EndTimestamp")
	}
	q.next = math.MinInt64
}
