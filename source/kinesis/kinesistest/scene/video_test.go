package scene_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// makeMedia has ffmpeg make a file out of one of its own sources.
func makeMedia(t *testing.T, name, source string) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("the program ffmpeg is not installed: videos cannot be tested")
	}
	file := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// shades is a video whose brightness tells its second: 40, 80, 120, 160.
const shades = `color=c=black:s=320x180:r=10:d=4,format=gray,geq=lum='40*(1+floor(T))'`

func TestVideo(t *testing.T) {
	video, err := scene.NewVideo(t.Context(), makeMedia(t, "-shades 1.mp4", shades), image.Point{})
	if err != nil {
		t.Fatal(err)
	}
	if got := video.Length(); got != 4*time.Second {
		t.Fatalf("the video is %v long, want 4s", got)
	}
	encoder := scene.NewEncoder(video, 1<<20)
	from := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	seen := make(map[string][]int)
	for _, stream := range []string{"cam-1", "cam-2"} {
		for i := range 25 {
			data, err := encoder.Encode(stream, from.Add(time.Duration(i)*200*time.Millisecond), scene.Format{Encoding: scene.JPEG, Quality: 80})
			if err != nil {
				t.Fatal(err)
			}
			img, format, err := image.Decode(bytes.NewReader(data))
			if err != nil || format != "jpeg" || img.Bounds() != image.Rect(0, 0, 320, 180) {
				t.Fatalf("a %s of %v, %v", format, img.Bounds(), err)
			}
			y := img.(*image.YCbCr).Y[90*320+160]
			seen[stream] = append(seen[stream], int(y+20)/40)
		}
	}
	changes := 0
	for i, shade := range seen["cam-1"][1:] {
		switch before := seen["cam-1"][i]; {
		case shade == before:
		case shade == before%4+1:
			changes++
		default:
			t.Errorf("shade %d follows %d: %v", shade, before, seen["cam-1"])
		}
	}
	if changes < 4 || changes > 5 {
		t.Errorf("%d changes in 4.8 s: %v", changes, seen["cam-1"])
	}
	for i := range 5 { // 20 frames later it is the same again
		if a := seen["cam-1"]; a[i] != a[i+20] {
			t.Errorf("it does not loop: %v", a)
		}
	}
	if video.Key("cam-1", from) == video.Key("cam-2", from) {
		t.Error("two streams show the same")
	}
}

func TestVideoIsShrunk(t *testing.T) {
	video, err := scene.NewVideo(t.Context(), makeMedia(t, "test.mp4", "testsrc=s=640x360:r=5:d=1"), image.Pt(320, 320))
	if err != nil {
		t.Fatal(err)
	}
	img, err := video.Picture("cam-1", time.UnixMilli(-1))
	if err != nil || img.Bounds().Size() != image.Pt(320, 180) {
		t.Errorf("got %v, %v, want 320x180", img.Bounds(), err)
	}
}

func TestVideoRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.mp4")
	if err := os.WriteFile(text, []byte("no video at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	playlist := filepath.Join(t.TempDir(), "list.m3u8")
	if err := os.WriteFile(playlist, []byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sound := makeMedia(t, "sound.wav", "sine=d=1")
	for _, tt := range []struct{ file, want string }{
		{filepath.Join(t.TempDir(), "gone.mp4"), "no such file"},
		{text, "Invalid data found"},
		{sound, "does not contain any stream"},
		{t.TempDir(), "ffmpeg cannot read it"},
		{playlist, "ffmpeg cannot read it"},
	} {
		_, err := scene.NewVideo(t.Context(), tt.file, image.Point{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file) {
			t.Errorf("%s: %v, want %q", tt.file, err, tt.want)
		}
	}
	if _, err := scene.NewVideo(t.Context(), text, image.Pt(1, 1)); err == nil || !strings.Contains(err.Error(), "1x1") {
		t.Errorf("size 1x1: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scene.NewVideo(ctx, sound, image.Point{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestVideoWithoutFFmpeg(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.mp4")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err := scene.NewVideo(t.Context(), file, image.Point{})
	if err == nil || !strings.Contains(err.Error(), "apt-get install ffmpeg") || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := scene.NewVideo(t.Context(), file+"x", image.Point{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
