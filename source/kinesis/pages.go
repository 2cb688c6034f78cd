package kinesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	control "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// entrySize is how many bytes an entry counts at least, so that entries without a picture
// do not come without end.
const entrySize = 1 << 10

// pageAgain is how often a page is asked for again if its answer breaks off, or its token is
// refused: the service sometimes refuses a good one. The window would cost more, and with many
// small pages hardly one would come to its end.
const pageAgain = 3

// pages asks for one page after the other until there are no more, or yield returns false.
// A page may hold any number of images, even none: tokens are followed as long as they
// lead on. The time bounds how long no page with an image comes, and the size of the window
// how many do, and the bytes: however small the pages are, and however slowly they come, a
// window comes to its end. got keeps what the last page tells of the endpoint.
func (s *Stream) pages(ctx context.Context, time *timeout, in *media.GetImagesInput, w poll.Window, got *reply, yield func(page.Image) bool) error {
	left := w.Slots() // images that are still to come
	bytes, most, again := 0, w.Slots()*limits.MaxContent, 0
	for {
		images := 0 // on this page
		*got = reply{}
		due := bill{window: w, first: w.Slots() - left, again: again > 0}
		token, err := s.getImages(ctx, in, left, &due, got, func(img page.Image) bool {
			images++
			bytes += max(len(img.Data), entrySize)
			if isMedia(img) && within(img.Time, w) && s.note(control.APINameGetImages, got.url, s.timestamp(in, img)) {
				got.news = true
			}
			return bytes <= most && yield(img)
		})
		switch {
		case err != nil && in.NextToken != nil && again < pageAgain && (code(err) == noAnswer || isRefusal(err)) && ctx.Err() == nil:
			again++
			continue
		case err != nil:
			return err
		case bytes > most:
			return fmt.Errorf("GetImages has more than %d bytes for %d images", most, w.Slots())
		case token == "":
			return nil
		case images == 0 && in.NextToken != nil && *in.NextToken == token:
			return errors.New("GetImages answers an empty page with the token that it was asked by")
		}
		again = 0
		s.sizes.add(images)
		if left = max(left-images, 0); images > 0 && left > 0 {
			time.renew()
		}
		in.NextToken = &token
	}
}

// isMedia tells whether an entry shows that there is media.
func isMedia(img page.Image) bool {
	return len(img.Data) > 0 || img.Error != "" && img.Error != string(types.ImageErrorNoMedia)
}

// timestamp returns the time of an image by the service's clock. By the camera's, which may
// be set back, any image counts as new.
func (s *Stream) timestamp(in *media.GetImagesInput, img page.Image) time.Time {
	if in.ImageSelectorType == types.ImageSelectorTypeProducerTimestamp {
		return s.client.Now()
	}
	return img.Time
}

// within tells whether an instant belongs to a window: answers may have others.
func within(t time.Time, w poll.Window) bool {
	return !t.Before(w.Start.Add(-w.Interval).Time()) && !t.After(w.End.Add(w.Interval).Time())
}

// getImages asks the stream's data endpoint for one page, of the given number of images at
// most, and yields them. It returns the token of the next page, "" if there is none or
// yield has returned false.
func (s *Stream) getImages(ctx context.Context, in *media.GetImagesInput, left int, due *bill, got *reply, yield func(page.Image) bool) (string, error) {
	endpoint, err := s.dataEndpoint(ctx, control.APINameGetImages)
	if err != nil {
		return "", s.explain(err)
	}
	got.url = endpoint
	left = min(left, poll.PageSlots)
	if err := s.budget.wait(ctx, left); err != nil {
		return "", s.explain(err)
	}
	images := 0 // that the answer has
	decode := decoder{pool: &s.client.decoders, patience: patience{answerTime, s.client.warn}, yield: func(img page.Image) bool {
		images++
		due.got(img)
		return yield(img)
	}}
	out, err := s.service().media.GetImages(ctx, in, func(o *media.Options) {
		useEndpoint(o, endpoint)
		o.APIOptions = append(o.APIOptions, decodeWith(&decode))
		o.APIOptions = append(o.APIOptions, observe(func(code string) {
			s.budget.answered(code)
			asked := left
			if decode.token != "" {
				asked = min(left, images) // the rest is asked for by the token
			}
			if code != codeNotFound { // that has to be found out first
				s.observed(code, due, asked)
			}
		}))
	})
	if err == nil && out.Images == nil {
		err = fmt.Errorf("%s answered GetImages without Images: it is not this stream's data endpoint", endpoint)
	}
	if err != nil && !isAnswer(err) {
		s.forget(control.APINameGetImages, endpoint)
	}
	first := in.NextToken == nil
	got.refused = err != nil && first && isRefusal(err) && !isEmpty(err)
	if err != nil && isEmpty(err) && !first {
		// The first page had media: another endpoint answers now.
		s.forget(control.APINameGetImages, endpoint)
		s.observed(codeNotFound, due, left)
		return "", fmt.Errorf("the rest of an answer is gone: %s", plain(err).Error())
	}
	if err != nil && isEmpty(err) {
		// The service gives the same answer for a stream without media in the window and
		// for one that does not exist.
		err = s.notFound(ctx, err)
		if errors.Is(err, poll.ErrEmptyWindow) {
			s.observed(nothingThere, due, left)
		} else {
			s.observed(codeNotFound, due, left)
		}
		return "", err
	}
	if err != nil {
		return "", s.explain(err)
	}
	return aws.ToString(out.NextToken), nil
}

// observed tells the outcome of an attempt of GetImages.
func (s *Stream) observed(code string, due *bill, images int) {
	asked, came := due.asked(images)
	if s.opts.Observe != nil {
		s.opts.Observe(code, asked, came)
	}
}

// PageSlots implements [poll.Pager].
func (s *Stream) PageSlots() int { return s.sizes.usual() }

// pageSizes are how many images the last pages had that were followed by more. Its zero
// value is ready to use, and it is safe for concurrent use.
type pageSizes struct {
	mu   sync.Mutex
	last []int
}

// pageSample is how many pages tell the usual size. Single ones may hold fewer.
const pageSample = 8

// add takes note of a page that was followed by another. Empty ones say nothing.
func (p *pageSizes) add(images int) {
	if images == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last, images)
	if len(p.last) > pageSample {
		p.last = slices.Delete(p.last, 0, 1)
	}
}

// usual returns how many images a page is likely to hold.
func (p *pageSizes) usual() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) == 0 {
		return poll.PageSlots
	}
	return slices.Max(p.last)
}
