package assumptions

import (
	"context"
	"errors"
	"image"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

var errSpent = errors.New("the images that may be asked for are used up: allow more with --images")

// spend takes images out of the purse.
func (s *subject) spend(images int) error {
	if s.purse.Spend(images) != nil {
		return errSpent
	}
	return nil
}

const (
	// roughRange and roughStep are those of the window by which a stream is looked over.
	roughRange, roughStep = time.Minute, 3 * time.Second
	// fine is the least interval, and fineSlots how many slots with pictures are looked at
	// more closely.
	fine      = source.MinInterval
	fineSlots = 30
	// enough is how many pictures most questions need, and few how many are the least.
	enough, few = fineSlots / 2, 3
)

// A subject is a stream that is asked. What several questions need is found out once.
type subject struct {
	opts   Options
	size   image.Point // that is configured; zero for the video's
	stream *kinesis.Stream
	purse  *forecast.Purse

	rough, sample *answer
	dark          bool   // it has no media
	refused       string // how the service refuses to give as many images as possible, "" if it does not
}

func newSubject(o Options, s kinesis.StreamOptions, p *forecast.Purse) *subject {
	return &subject{opts: o, stream: o.Client.Stream(s), size: image.Pt(s.Width, s.Height), purse: p}
}

func (s *subject) now() source.Slot { return source.SlotAt(s.opts.Client.Now()) }

// An answer is what a window was answered with.
type answer struct {
	window poll.Window
	pages  []kinesis.Page
	// pictures are the entries with a picture by slot, and errors the error codes of the
	// others; "" is an entry with neither.
	pictures map[source.Slot]page.Image
	errors   map[source.Slot]string
	// asked is when it was asked for.
	asked source.Slot
}

// slot returns the slot that an image stands for, false for one from outside of the window.
func (a *answer) slot(img page.Image) (source.Slot, bool) {
	at := a.window.Start.Add(source.SlotAt(img.Time).Sub(a.window.Start).Round(a.window.Interval))
	return at, at >= a.window.Start && at <= a.window.End
}

// slots returns the slots of the window.
func (a *answer) slots() []source.Slot {
	all := make([]source.Slot, a.window.Slots())
	for i := range all {
		all[i] = a.window.Start.Add(time.Duration(i) * a.window.Interval)
	}
	return all
}

// found returns the slots with pictures, in order.
func (a *answer) found() []source.Slot {
	var found []source.Slot
	for _, at := range a.slots() {
		if _, ok := a.pictures[at]; ok {
			found = append(found, at)
		}
	}
	return found
}

func (a *answer) add(p kinesis.Page) {
	a.pages = append(a.pages, p)
	for _, img := range p.Images {
		at, ok := a.slot(img)
		switch {
		case !ok:
		case len(img.Data) > 0:
			a.pictures[at] = img
		default:
			a.errors[at] = img.Error
		}
	}
}

// ask asks for a window with all its pages, as "cvfeeder run" does. If the service has
// nothing in the whole window, the answer has no pages.
func (s *subject) ask(ctx context.Context, w poll.Window, most int) (*answer, error) {
	return s.askSized(ctx, w, most, s.size)
}

// askSized asks for images of another size than the configured one.
func (s *subject) askSized(ctx context.Context, w poll.Window, most int, size image.Point) (*answer, error) {
	a := &answer{window: w, pictures: map[source.Slot]page.Image{}, errors: map[source.Slot]string{}, asked: s.now()}
	if err := s.spend(w.Slots()); err != nil {
		return nil, err
	}
	r := kinesis.PageRequest{Window: w, MaxResults: most, Width: size.X, Height: size.Y}
	if err := s.read(ctx, r, a); err != nil {
		return nil, err
	}
	return a, nil
}

// read reads all pages of an answer, however many there are: ctx has a deadline.
func (s *subject) read(ctx context.Context, r kinesis.PageRequest, a *answer) error {
	for {
		p, err := s.page(ctx, r)
		if err != nil && kinesis.IsEmpty(err) {
			return nil
		}
		if err != nil {
			return err
		}
		a.add(p)
		if p.Token == "" {
			return nil
		}
		r.Token = p.Token
	}
}

// notFound is the service's code for a window without media.
const notFound = "ResourceNotFoundException"

// page sends a request, and again after failures that pass.
func (s *subject) page(ctx context.Context, r kinesis.PageRequest) (kinesis.Page, error) {
	for retry := (pacing.Backoff{Min: time.Second, Max: 4 * time.Second}); ; {
		p, err := s.stream.Page(ctx, r)
		if err == nil || !passing(err) {
			return p, err
		}
		if pacing.Sleep(ctx, retry.Next()) != nil {
			return p, err
		}
	}
}

// passing tells whether a failure may pass.
func passing(err error) bool {
	switch kinesis.Label(err) {
	case throttled, "ThrottlingException", "InternalFailure", "ServiceUnavailable", "HTTP 500", "HTTP 502", "HTTP 503", "HTTP 504", noAnswer:
		return true
	}
	return false
}

// look returns what there is of the last minute, roughly: the newest slot with a picture,
// and an instant from which on a window finds media.
func (s *subject) look(ctx context.Context) (edge, from source.Slot, err error) {
	if s.dark {
		return 0, 0, forecast.ErrNoMedia
	}
	if s.rough == nil {
		now := s.now()
		a, err := s.ask(ctx, poll.Window{Start: now.Add(-roughRange), End: now, Interval: roughStep}, poll.PageSlots)
		if err != nil {
			return 0, 0, err
		}
		if len(a.pictures) == 0 {
			s.dark = true
			return 0, 0, forecast.ErrNoMedia
		}
		s.rough = a
	}
	found := s.rough.found()
	// A fragment begins between the first slot with a picture and the one before.
	return slices.Max(found), max(found[0].Add(-roughStep), s.rough.window.Start), nil
}

// closely returns the answer to a window, of five instants a second, which has pictures but
// perhaps for its first three seconds. The pages may hold as many images as possible. With
// fewer pictures than least it cannot be told what was asked.
func (s *subject) closely(ctx context.Context, least int) (*answer, error) {
	edge, from, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if s.sample == nil {
		w := poll.Window{Start: from, End: min(from.Add(roughStep+fineSlots*fine), edge), Interval: fine}
		a, err := s.ask(ctx, w, limits.MaxResults)
		if err != nil && !errors.Is(err, errSpent) && ctx.Err() == nil {
			s.refused = kinesis.Label(err)
			a, err = s.ask(ctx, w, poll.PageSlots)
		}
		if err != nil {
			return nil, err
		}
		s.sample = a
	}
	if n := len(s.sample.pictures); n < least {
		return nil, untoldf("there were only %d pictures in %v: too few to tell", n, s.sample.window.End.Sub(s.sample.window.Start))
	}
	return s.sample, nil
}

// clear returns the slots with pictures of an answer up to the first that has none.
func (a *answer) clear() []source.Slot {
	found := a.found()
	for i, at := range found {
		if i > 0 && at.Sub(found[i-1]) > a.window.Interval {
			return found[:i]
		}
	}
	return found
}
