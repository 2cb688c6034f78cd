// Package page reads the service's answer to GetImages while it is still arriving: every
// image is handed over as soon as its entry is complete.
//
//	var d page.Decoder
//	token, err := d.Decode(resp.Body, func(img page.Image) bool {
//		…
//		return true // false stops reading
//	})
//
// Base64 is decoded as it arrives. Memory is bounded by one image, whatever is sent: the
// body, which may be hostile, is never held as a whole. What is read is bounded, too, by as
// many images as a page may have, and a MiB beside them.
//
// The result is the same as that of the SDK's own deserializer: keys come in any order, the
// last of equal keys wins, unknown keys are skipped, null means absent, and what follows
// the answer is ignored. These differences are deliberate:
//
//   - Anything beyond the limits of this package, which are far beyond what the service
//     sends, is an error that wraps [ErrLimit].
//   - A value of the wrong type is an error even if its key comes again.
//   - A second Images is an error: the images of the first have been handed over.
package page

import (
	"errors"
	"fmt"
	"io"
	"time"

	smithytime "github.com/aws/smithy-go/time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
)

// The limits, in bytes as sent unless stated otherwise.
const (
	maxContent = limits.MaxContent
	maxText    = 16 << 10 // a key, an Error, a NextToken
	maxNumber  = 64
	maxImages  = limits.MaxResults // entries of a page
	maxDepth   = 32                // of a value that is skipped
	maxOther   = 1 << 20           // all that is no content: white space, keys, unknown values
)

var (
	// ErrNoImages is returned for an answer without Images.
	ErrNoImages = errors.New("no Images in the answer")
	// ErrLimit is wrapped by the error for an answer beyond the limits.
	ErrLimit = errors.New("beyond the limit")
)

// An Image is one entry of an answer.
type Image struct {
	// Time is its TimeStamp, in milliseconds; zero if it has none.
	Time time.Time
	// Error is the service's code for why there is no picture, "" if it gives none.
	Error string
	// Data is the decoded ImageContent; nil if there is none or it is not base64. It
	// belongs to the receiver.
	Data []byte
	// Recycle, where set, hands the memory of Data back to [Decoder.Buffers]. Calling it
	// is optional.
	Recycle func()
	// Err tells why the ImageContent could not be decoded.
	Err error
}

// A Decoder decodes one answer after the other, and keeps its buffers in between. Its zero
// value is ready to use. It must not be used by two goroutines at once.
type Decoder struct {
	// Buffers, where set, provide the memory of images. Decoders may share them.
	Buffers *source.Buffers[struct{}]

	scanner
	image []byte // the part of an ImageContent that has been decoded
}

// Decode reads one answer from r and calls yield with each image, in the order of the
// answer. It returns the NextToken, "" if there is none. When yield returns false, Decode
// returns at once without an error, and leaves the rest unread.
//
// An error says where in the answer it was found; images that were yielded before it are
// valid. An answer that ends too early is [io.ErrUnexpectedEOF].
func (d *Decoder) Decode(r io.Reader, yield func(Image) bool) (nextToken string, err error) {
	d.reset(r)
	defer d.reset(nil)
	switch c, err := d.peek(); {
	case errors.Is(d.err, io.EOF) && err != nil:
		return "", ErrNoImages // an empty body, which the SDK accepts
	case err != nil:
		return "", err
	case c == 'n':
		if err := d.literal(); err != nil {
			return "", err
		}
		return "", ErrNoImages
	}
	found := false
	err = d.object(func(key string) error {
		switch key {
		case "Images":
			if found {
				return d.errorf("a second Images")
			}
			var err error
			found, err = d.images(yield)
			return err
		case "NextToken":
			var err error
			nextToken, err = d.text("NextToken")
			return err
		}
		return d.skip(0)
	})
	switch {
	case errors.Is(err, errStopped):
		return "", nil
	case err != nil:
		return "", err
	case !found:
		return "", ErrNoImages
	}
	return nextToken, nil
}

// errStopped ends the decoding when yield has returned false.
var errStopped = errors.New("stopped")

// images reads the list and yields its images. It returns false for null.
func (d *Decoder) images(yield func(Image) bool) (bool, error) {
	if null, err := d.null(); null || err != nil {
		return false, err
	}
	n := 0
	return true, d.array("Images", func() error {
		if n++; n > maxImages {
			return d.errorf("%w of %d images", ErrLimit, maxImages)
		}
		img, err := d.entry()
		if err != nil {
			return err
		}
		if !yield(img) {
			return errStopped
		}
		return nil
	})
}

// entry reads one image. null is an image without any member.
func (d *Decoder) entry() (img Image, err error) {
	if null, err := d.null(); null || err != nil {
		return img, err
	}
	contents := 0
	return img, d.object(func(key string) (err error) {
		switch key {
		case "TimeStamp":
			img.Time, err = d.timestamp()
		case "Error":
			img.Error, err = d.text("Error")
		case "ImageContent":
			img.Data, img.Recycle, img.Err = nil, nil, nil
			contents++
			err = d.allow(contents == 1, func() error { return d.content(&img) })
		default:
			err = d.skip(0)
		}
		return err
	})
}

// timestamp reads epoch seconds, or null.
func (d *Decoder) timestamp() (time.Time, error) {
	if null, err := d.null(); null || err != nil {
		return time.Time{}, err
	}
	seconds, err := d.number()
	if err != nil {
		return time.Time{}, fmt.Errorf("TimeStamp: %w", err)
	}
	return smithytime.ParseEpochSeconds(seconds), nil
}
