package kinesis

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	control "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	fragmentsPage     = 100 // fragments of a page, which costs as many points even if it has fewer
	maxFragmentsPages = 40
	// listTime bounds how long a listing may take, with retries. Without the list,
	// images are found all the same.
	listTime = 10 * time.Second
)

// Fragments implements [poll.Lister]. It needs the permission kinesisvideo:ListFragments;
// without it, the error wraps [source.ErrRefused].
func (s *Stream) Fragments(ctx context.Context, from, to source.Slot) ([]poll.Span, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	s.mu.Lock()
	known := s.endpoints[control.APINameListFragments] != ""
	s.mu.Unlock()
	if !known && !s.client.locates.spare() {
		return nil, fmt.Errorf("stream %s: the account has no request left to look up where fragments are listed", s)
	}
	spans, err := s.listFragments(ctx, from, to)
	if known && refused(err) {
		// A dead endpoint may give the same answer.
		spans, err = s.listFragments(ctx, from, to)
	}
	switch {
	case refused(err):
		return nil, fmt.Errorf("%w: stream %s: no permission kinesisvideo:ListFragments: %w", source.ErrRefused, s, err)
	case expired(err):
		return nil, fmt.Errorf("stream %s: %w", s, s.client.expiredError(err))
	case err != nil:
		return nil, fmt.Errorf("stream %s: listing fragments: %w", s, err)
	}
	slices.SortFunc(spans, func(a, b poll.Span) int { return cmp.Compare(a.Start, b.Start) })
	return spans, nil
}

// refused tells whether a permission is missing. Expired credentials say nothing about
// that.
func refused(err error) bool {
	st := status(err)
	return (st == http.StatusUnauthorized || st == http.StatusForbidden) && !expired(err)
}

// listFragments returns the fragments of all pages, in any order.
func (s *Stream) listFragments(ctx context.Context, from, to source.Slot) ([]poll.Span, error) {
	endpoint, err := s.dataEndpoint(ctx, control.APINameListFragments)
	if err != nil {
		return nil, err
	}
	// The service selects fragments by their start.
	in := s.fragmentsInput(from.Add(-poll.MaxFragment), to)
	pages := media.NewListFragmentsPaginator(s.service().media, in,
		func(o *media.ListFragmentsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var spans []poll.Span
	for n := 0; pages.HasMorePages(); n++ {
		if n == maxFragmentsPages {
			return nil, fmt.Errorf("the list has still more pages after %d", n)
		}
		if err := s.budget.waitListing(ctx, fragmentsPage); err != nil {
			return nil, err
		}
		out, err := pages.NextPage(ctx, func(o *media.Options) {
			useEndpoint(o, endpoint)
			o.APIOptions = append(o.APIOptions, observe(s.budget.answered), patience{listingTime, s.client.warn}.deadline)
		})
		if err == nil && out.Fragments == nil {
			err = fmt.Errorf("%s answered ListFragments without Fragments: it is not this stream's data endpoint", endpoint)
		}
		if err != nil {
			if !isAnswer(err) {
				s.forget(control.APINameListFragments, endpoint)
			}
			return nil, err
		}
		for _, f := range out.Fragments {
			if span, ok := s.span(f); ok && span.End > from {
				spans = append(spans, span)
			}
		}
	}
	return spans, nil
}

func (s *Stream) fragmentsInput(from, to source.Slot) *media.ListFragmentsInput {
	selector := &types.FragmentSelector{
		FragmentSelectorType: types.FragmentSelectorTypeServerTimestamp,
		TimestampRange:       &types.TimestampRange{StartTimestamp: aws.Time(from.Time()), EndTimestamp: aws.Time(to.Time())},
	}
	if s.opts.Producer {
		selector.FragmentSelectorType = types.FragmentSelectorTypeProducerTimestamp
	}
	return &media.ListFragmentsInput{
		StreamName: s.name(), StreamARN: s.arn(), FragmentSelector: selector, MaxResults: aws.Int64(fragmentsPage),
	}
}

// span returns the time of a fragment by the clock by which images are asked for, and
// false if the answer does not say.
func (s *Stream) span(f types.Fragment) (poll.Span, bool) {
	begin := f.ServerTimestamp
	if s.opts.Producer {
		begin = f.ProducerTimestamp
	}
	length := f.FragmentLengthInMilliseconds
	if begin == nil || length <= 0 || length > poll.MaxWindow.Milliseconds() {
		return poll.Span{}, false
	}
	start := source.SlotAt(begin.Round(time.Millisecond))
	return poll.Span{Start: start, End: start + source.Slot(length)}, true
}
