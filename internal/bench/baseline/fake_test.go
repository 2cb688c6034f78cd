package baseline

import (
	"context"
	"fmt"
	"image"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// loop is a scene that repeats and is the same for all cameras, so that the fake service
// can cache all pictures. Drawing each picture would cost as much as what is measured.
type loop struct {
	scene.Scene
	length time.Duration
}

func (l loop) at(t time.Time) time.Time {
	return time.UnixMilli(0).Add(t.Sub(time.UnixMilli(0)) % l.length)
}

// Key implements [scene.Scene].
func (l loop) Key(_ string, t time.Time) string { return l.Scene.Key("", l.at(t)) }

// Picture implements [scene.Scene].
func (l loop) Picture(_ string, t time.Time) (image.Image, error) {
	return l.Scene.Picture("", l.at(t))
}

// newScene returns a drawn street of 1920x1080, whose pictures are JPEGs of about
// 330 KB, or the video that CVFEEDER_BENCH_VIDEO names.
func newScene(ctx context.Context) (scene.Scene, error) {
	if video := os.Getenv("CVFEEDER_BENCH_VIDEO"); video != "" {
		return scene.NewVideo(ctx, video, image.Point{})
	}
	drawn, err := scene.NewDrawn(image.Pt(1920, 1080))
	return loop{drawn, 10 * time.Second}, err
}

// serve runs the fake service until it is interrupted.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	scene, err := newScene(ctx)
	if err != nil {
		return err
	}
	srv, err := kinesistest.New(kinesistest.Options{Scene: scene, Streams: kinesistest.Cameras(cameras), CacheBytes: 256 << 20})
	if err != nil {
		return err
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(endpoint.URL)
	<-ctx.Done()
	return endpoint.Close()
}

// startFake starts the fake service as a process of its own, and returns its URL.
func startFake(b *testing.B) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+fake)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	return started(b, cmd, out, regexp.MustCompile(`^(http\S+)`))
}
