// Package scene has what the cameras of the fake service see: pictures of a stream at any
// time, and their encoding.
//
// [Drawn] paints a street with the time in it, both readable and as a code that
// [ReadTimeCode] reads back from a picture. [Video] loops a video file. Any other [Scene]
// will do. An [Encoder] turns the pictures of a scene into JPEG or PNG.
package scene

import (
	"image"
	"time"
)

// A Scene is what the cameras see. Its methods are called concurrently.
type Scene interface {
	// Key identifies the picture of the stream at t: equal keys mean equal pictures,
	// which are encoded once.
	Key(stream string, t time.Time) string
	// Picture returns the picture, which is not changed afterwards. The service answers
	// an error as it answers media that it cannot make a picture of: MEDIA_ERROR.
	Picture(stream string, t time.Time) (image.Image, error)
}

// A jpegEncoder is a scene that has a cheaper way to encode its pictures at their
// original size.
type jpegEncoder interface {
	encodeJPEG(stream string, t time.Time, quality int) ([]byte, error)
}
