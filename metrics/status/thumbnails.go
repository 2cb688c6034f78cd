package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// What the wall costs at most, whoever looks at it and however many do.
const (
	// thumbnailRate is how many pictures are made in a second. One takes a few milliseconds
	// of a core.
	thumbnailRate = 10
	// thumbnailAge is how long a picture is shown to all who ask for it.
	thumbnailAge = 2 * time.Second
	// thumbnailFrame is the size in bytes of the largest camera frame on the wall, and
	// thumbnailBytes that of all pictures that are kept.
	thumbnailFrame = 512 << 10
	thumbnailBytes = 8 << 20
)

// A thumbnailKey says of what a picture is: of the camera's frame, or of an output's tensor.
type thumbnailKey struct {
	stream, output string
	frame          bool
}

// A thumbnail is a picture that was made.
type thumbnail struct {
	key     thumbnailKey
	picture Picture
	made    time.Time
}

func (t *thumbnail) size() int {
	n := 1 << 10
	for _, image := range []*Image{t.picture.Source, t.picture.Tensor} {
		if image != nil {
			n += len(image.Data)
		}
	}
	return n
}

// thumbnails are the pictures of the wall. Those who look at the same one share it.
type thumbnails struct {
	making *singleflight.Group
	rate   *rate.Limiter

	mu    sync.Mutex
	kept  []*thumbnail // oldest first
	bytes int          // of these
}

func newThumbnails() thumbnails {
	return thumbnails{making: new(singleflight.Group), rate: rate.NewLimiter(thumbnailRate, thumbnailRate)}
}

// get returns a picture that is at most two seconds old. It waits for one that somebody else
// waits for, and makes one if the rate allows it. The error may wrap [ErrBusy].
func (t *thumbnails) get(ctx context.Context, k thumbnailKey, picture func(context.Context, PictureRequest) (Picture, error)) (Picture, error) {
	if p, found := t.find(k); found {
		return p, nil
	}
	// It belongs to all who wait, so that it does not end with the first of them. What makes
	// it has a deadline.
	making := context.WithoutCancel(ctx)
	made := t.making.DoChan(fmt.Sprintf("%q %q %v", k.stream, k.output, k.frame), func() (any, error) {
		if p, found := t.find(k); found {
			return p, nil
		}
		if !t.rate.Allow() {
			return Picture{}, fmt.Errorf("%w: %d pictures of the wall are made in a second; ask again", ErrBusy, thumbnailRate)
		}
		p, err := picture(making, PictureRequest{Stream: k.stream, Output: k.output, Small: true})
		if err != nil {
			return Picture{}, err
		}
		return t.keep(k, p), nil
	})
	select {
	case r := <-made:
		return r.Val.(Picture), r.Err
	case <-ctx.Done():
		return Picture{}, ctx.Err()
	}
}

// find returns a picture that is kept.
func (t *thumbnails) find(k thumbnailKey) (Picture, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	for _, one := range t.kept {
		if one.key == k {
			return one.picture, true
		}
	}
	return Picture{}, false
}

// keep keeps of a picture what the key says.
func (t *thumbnails) keep(k thumbnailKey, p Picture) Picture {
	if k.frame {
		p.Tensor = nil
		if p.Source != nil && len(p.Source.Data) > thumbnailFrame {
			p.Reason = fmt.Sprintf("the frame of %d KiB is larger than the wall shows (%d KiB)", len(p.Source.Data)>>10, thumbnailFrame>>10)
			p.Source = nil
		}
	} else {
		p.Source = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	one := &thumbnail{k, p, time.Now()}
	t.kept = append(t.kept, one)
	t.bytes += one.size()
	t.forget()
	return p
}

// forget drops the pictures that are old, or too many. Its caller holds the lock.
func (t *thumbnails) forget() {
	for len(t.kept) > 0 && (t.bytes > thumbnailBytes || time.Since(t.kept[0].made) >= thumbnailAge) {
		t.bytes -= t.kept[0].size()
		t.kept = append(t.kept[:0:0], t.kept[1:]...)
	}
}
