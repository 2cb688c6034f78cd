package kinesistest

import (
	"image"
	"time"
)

// A Scene is what the cameras see. It is called concurrently.
type Scene interface {
	// Key identifies the picture of the stream at t: equal keys mean equal
	// pictures, which are encoded once.
	Key(stream string, t time.Time) string
	// Picture returns it. Nobody changes the image afterwards. An error is answered
	// as the service answers media that it cannot make a picture of: MEDIA_ERROR.
	Picture(stream string, t time.Time) (image.Image, error)
}

// A jpegScene encodes its pictures of the original size itself, because it knows
// a cheaper way.
type jpegScene interface {
	encodeJPEG(stream string, t time.Time, quality int) ([]byte, error)
}
