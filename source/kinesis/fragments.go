package kinesis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	by := types.FragmentSelectorTypeServerTimestamp
	if s.opts.Producer {
		by = types.FragmentSelectorTypeProducerTimestamp
	}
	fragments, err := s.fragments(ctx, s.fragmentsInput(by, from, to))
	if err != nil {
		return nil, err
	}
	var spans []poll.Span
	for _, f := range fragments {
		if span, ok := s.span(f); ok && span.Start >= from && span.Start <= to {
			spans = append(spans, span)
		}
	}
	slices.SortFunc(spans, func(a, b poll.Span) int { return cmp.Compare(a.Start, b.Start) })
	return spans, nil
}

// Producer implements [poll.Trailer].
func (s *Stream) Producer() bool { return s.opts.Producer }

// Trail implements [poll.Trailer]. It needs the permission kinesisvideo:ListFragments. Of
// the fragments that were received, the one whose timestamps are the least behind counts:
// a camera may upload older footage beside the present.
func (s *Stream) Trail(ctx context.Context, from, to source.Slot) (time.Duration, bool, error) {
	fragments, err := s.fragments(ctx, s.fragmentsInput(types.FragmentSelectorTypeServerTimestamp, from, to))
	if err != nil {
		return 0, false, err
	}
	least, ok := time.Duration(0), false
	for _, f := range fragments {
		if f.ServerTimestamp == nil || f.ProducerTimestamp == nil ||
			source.CheckTime(*f.ServerTimestamp) != nil || source.CheckTime(*f.ProducerTimestamp) != nil {
			continue
		}
		if trail := f.ServerTimestamp.Sub(*f.ProducerTimestamp).Round(time.Millisecond); !ok || trail < least {
			least, ok = trail, true
		}
	}
	return least, ok, nil
}

// fragments lists fragments, in any order.
func (s *Stream) fragments(ctx context.Context, in *media.ListFragmentsInput) ([]types.Fragment, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	known := s.endpoint(control.APINameListFragments).usable() != ""
	if !known && !s.client.locates.spare() {
		return nil, errors.New("the account has no request left to look up where fragments are listed")
	}
	fragments, url, err := s.listFragments(ctx, in)
	switch {
	case known && refusalOf(err) == noPermission:
		// A dead endpoint may give the same answer.
		fragments, _, err = s.listFragments(ctx, in)
	case err == nil && (len(fragments) == 0 || s.endpoint(control.APINameListFragments).quiet()):
		// It may also have an empty list, or always the same one.
		old := s.client.Now().Sub(*in.FragmentSelector.TimestampRange.EndTimestamp) > oldAfter
		var moved bool
		if moved, err = s.confirm(ctx, control.APINameListFragments, url, old); moved {
			fragments, _, err = s.listFragments(ctx, in)
		}
	}
	if err != nil {
		return nil, s.client.unlisted(err)
	}
	return fragments, nil
}

// unlisted returns the error of a list in plain words. It wraps [source.ErrRefused] only if
// the permission is missing, because lists are then never asked for again: credentials that
// are not accepted say nothing about that.
func (c *Client) unlisted(err error) error {
	told := c.refused(err)
	if errors.Is(told, source.ErrRefused) && refusalOf(err) != noPermission {
		return errors.New(told.Error())
	}
	return told
}

// listFragments returns the fragments of all pages, in any order, and which endpoint was
// asked.
func (s *Stream) listFragments(ctx context.Context, in *media.ListFragmentsInput) (all []types.Fragment, endpoint string, err error) {
	endpoint, err = s.dataEndpoint(ctx, control.APINameListFragments)
	if err != nil {
		return nil, "", err
	}
	pages := media.NewListFragmentsPaginator(s.service().media, in,
		func(o *media.ListFragmentsPaginatorOptions) { o.StopOnDuplicateToken = true })
	for n := 0; pages.HasMorePages(); n++ {
		if n == maxFragmentsPages {
			return nil, endpoint, fmt.Errorf("the list has still more pages after %d", n)
		}
		if err := s.budget.waitListing(ctx, fragmentsPage); err != nil {
			return nil, endpoint, err
		}
		out, err := pages.NextPage(ctx, func(o *media.Options) {
			useEndpoint(o, endpoint)
			o.APIOptions = append(o.APIOptions, observe(s.budget.answered), patience{listingTime, s.client.warn}.deadline)
		})
		if err == nil && len(out.Fragments) > 10*fragmentsPage {
			err = fmt.Errorf("%s answered ListFragments with %d fragments, and %d were asked for", endpoint, len(out.Fragments), fragmentsPage)
		}
		if err == nil && out.Fragments == nil {
			err = fmt.Errorf("%s answered ListFragments without Fragments: it is not this stream's data endpoint", endpoint)
		}
		if err != nil {
			if code(err) != codeLimit {
				s.forget(control.APINameListFragments, endpoint)
			}
			return nil, endpoint, err
		}
		for _, f := range out.Fragments {
			s.note(control.APINameListFragments, endpoint, aws.ToTime(f.ServerTimestamp))
		}
		all = append(all, out.Fragments...)
	}
	return all, endpoint, nil
}

func (s *Stream) fragmentsInput(by types.FragmentSelectorType, from, to source.Slot) *media.ListFragmentsInput {
	selector := &types.FragmentSelector{
		FragmentSelectorType: by,
		TimestampRange:       &types.TimestampRange{StartTimestamp: aws.Time(from.Time()), EndTimestamp: aws.Time(to.Time())},
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
	if begin == nil || source.CheckTime(*begin) != nil || length <= 0 || length > poll.MaxWindow.Milliseconds() {
		return poll.Span{}, false
	}
	start := source.SlotAt(begin.Round(time.Millisecond))
	return poll.Span{Start: start, End: start + source.Slot(length)}, true
}
