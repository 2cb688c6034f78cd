package kinesistest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"image"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// overPipe serves over a pipe until stop is called, and returns a client for it.
func overPipe(tb testing.TB, opts kinesistest.Options) (srv *kinesistest.Server, net *http.Client, stop func()) {
	tb.Helper()
	srv, err := kinesistest.New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	pipe := kinesistest.NewPipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, pipe) }()
	net = pipe.Client()
	return srv, net, func() {
		net.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	}
}

// piped serves over a pipe in the bubble of the test.
func piped(t *testing.T, opts kinesistest.Options) *client {
	t.Helper()
	if opts.Scene == nil {
		opts.Scene = small(t)
	}
	srv, net, stop := overPipe(t, opts)
	t.Cleanup(stop)
	c := connect(t, "http://fake.example", access{transport: net.Transport})
	c.Server = srv
	return c
}

// pattern returns a page as text: # is a picture, . NO_MEDIA, ! MEDIA_ERROR.
func pattern(images []types.Image) string {
	var b strings.Builder
	for _, im := range images {
		switch {
		case im.ImageContent != nil && im.Error == "":
			b.WriteByte('#')
		case im.Error == types.ImageErrorNoMedia:
			b.WriteByte('.')
		case im.Error == types.ImageErrorMediaError:
			b.WriteByte('!')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// The media of a stream with fragments of 2 s and a delay of 500 ms, asked for every 200 ms
// from start to end, several times. All times are in seconds after the clock's beginning,
// which is a whole minute.
func TestFragments(t *testing.T) {
	zero := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where a bubble's clock begins
	at := func(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }
	const empty = "ResourceNotFoundException"
	for _, tt := range []struct {
		name            string
		stream          kinesistest.Stream
		now, start, end float64
		want            string
	}{
		{"whole fragments", kinesistest.Stream{}, 100, 10, 13.8, strings.Repeat("#", 20)},
		{"the running fragment is skipped", kinesistest.Stream{}, 100, 10.2, 12.4, ".........###"},
		{"and alone it is nothing", kinesistest.Stream{}, 100, 10.2, 11.8, empty},
		{"the last slot's fragment counts", kinesistest.Stream{}, 100, 10.2, 12, ".........#"},
		{"not visible yet", kinesistest.Stream{}, 12.499, 10, 11, empty},
		{"visible half a second later", kinesistest.Stream{}, 12.5, 10, 11, "######"},
		{"the live edge", kinesistest.Stream{}, 13, 10, 13, "##########......"},
		{"the future", kinesistest.Stream{}, 20, 19, 24, empty},
		{"since", kinesistest.Stream{Since: at(12)}, 100, 11.6, 12.4, "..###"},
		{"since amid a fragment", kinesistest.Stream{Since: at(11)}, 100, 10, 12.2, "..........##"},
		{"outage", kinesistest.Stream{Outages: []kinesistest.Interval{{From: at(13.9), To: at(14)}}}, 100, 11.6, 14.4, "............###"},
		{"retention", kinesistest.Stream{Retention: time.Hour}, 3600 + 11, 10, 12.4, "..........###"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.stream.Name = "cam-1"
				c := piped(t, kinesistest.Options{Streams: []kinesistest.Stream{tt.stream}})
				time.Sleep(time.Until(at(tt.now)))
				out, err := c.data.GetImages(t.Context(), ask(at(tt.start), at(tt.end)))
				if tt.want == empty {
					wantCode(t, err, empty)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := pattern(out.Images); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// An audio scene has no picture in the second half of every second.
type audio struct{ scene.Scene }

func (a audio) Picture(stream string, t time.Time) (image.Image, error) {
	if t.Nanosecond() >= 5e8 {
		return nil, errors.New("nothing but sound")
	}
	return a.Scene.Picture(stream, t)
}

func TestMediaErrors(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: audio{small(t)}})
	from := minute()
	if got := pattern(c.images(t.Context(), t, ask(from, from.Add(2*time.Second))).Images); got != "###!!###!!#" {
		t.Errorf("got %s", got)
	}
}

// A noise scene is as large as a PNG can be.
type noise struct{}

func (noise) Key(string, time.Time) string { return "" }

func (noise) Picture(string, time.Time) (image.Image, error) {
	m := image.NewRGBA(image.Rect(0, 0, 1500, 1100))
	_, err := rand.Read(m.Pix)
	return m, err
}

func TestTooLargePictures(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: noise{}})
	from := minute()
	in := ask(from, from)
	if got := pattern(c.images(t.Context(), t, in).Images); got != "#" {
		t.Errorf("JPEG: got %s", got)
	}
	in.Format = types.FormatPng
	if got := pattern(c.images(t.Context(), t, in).Images); got != "!" {
		t.Errorf("PNG: got %s", got)
	}
}

// A client that follows the live edge fragment by fragment sees each appear on time.
func TestFragmentsAppearOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, kinesistest.Options{Fragment: 1500 * time.Millisecond, Delay: -1})
		first := time.Now()
		time.Sleep(1499 * time.Millisecond)
		_, err := c.data.GetImages(t.Context(), ask(first, first.Add(time.Second)))
		wantCode(t, err, "ResourceNotFoundException")
		for i := range 5 {
			time.Sleep(time.Until(first.Add(time.Duration(i+1) * 1500 * time.Millisecond)))
			out := c.images(t.Context(), t, ask(first, first.Add(4*time.Second)))
			want := min(len(out.Images), (1500*(i+1)+199)/200)
			if got := strings.Count(pattern(out.Images), "#"); got != want {
				t.Errorf("after fragment %d: %d images, want %d", i, got, want)
			}
		}
	})
}
