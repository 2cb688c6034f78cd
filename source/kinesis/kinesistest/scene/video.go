package scene

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"mime/multipart"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// The limits of what is kept of a video.
const (
	videoStep   = 200 * time.Millisecond // between frames: the shortest interval of GetImages
	videoLength = time.Minute
	videoBytes  = 128 << 20
)

// Video is a scene that loops a video file. Each stream starts at another point of it.
type Video struct {
	frames [][]byte // high-quality JPEGs, videoStep apart
}

// NewVideo reads the first minute of the video with the program ffmpeg, which must be
// installed. Frames larger than size, in pixels, are shrunk to fit into it and keep their
// aspect ratio; the zero size means 1920x1080. Reading stops when ctx ends.
func NewVideo(ctx context.Context, file string, size image.Point) (*Video, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("video: %w", err)
	}
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fmt.Errorf("video %s: the program ffmpeg, which reads it, is not installed "+
			"(Debian, Ubuntu: apt-get install ffmpeg; macOS: brew install ffmpeg): %w", file, err)
	}
	size = cmp.Or(size, image.Pt(1920, 1080))
	if size.X < 16 || size.Y < 16 || size.X > poll.MaxWidth || size.Y > poll.MaxHeight {
		return nil, fmt.Errorf("video %s: its frames cannot be brought to %dx%d: from 16x16 to 3840x2160 is possible",
			file, size.X, size.Y)
	}
	frames, err := decodeVideo(ctx, program, file, size)
	if err != nil {
		return nil, fmt.Errorf("video %s: %w", file, err)
	}
	return &Video{frames}, nil
}

// Length returns how long the video is until it repeats.
func (v *Video) Length() time.Duration { return time.Duration(len(v.frames)) * videoStep }

// Key implements [Scene].
func (v *Video) Key(stream string, t time.Time) string { return strconv.Itoa(v.index(stream, t)) }

// Picture implements [Scene].
func (v *Video) Picture(stream string, t time.Time) (image.Image, error) {
	return jpeg.Decode(bytes.NewReader(v.frames[v.index(stream, t)]))
}

// index returns the frame of the stream at t.
func (v *Video) index(stream string, t time.Time) int {
	n := int64(len(v.frames))
	i := (t.UnixMilli()/videoStep.Milliseconds() + int64(StreamHash(stream))) % n
	return int((i + n) % n)
}

const boundary = "frame"

// decodeVideo has ffmpeg write the frames as JPEGs in a multipart message.
func decodeVideo(ctx context.Context, program, file string, size image.Point) ([][]byte, error) {
	run, stop := context.WithCancel(ctx)
	defer stop()
	fit := fmt.Sprintf("scale=w='min(%d,iw)':h='min(%d,ih)':force_original_aspect_ratio=decrease:force_divisible_by=2", size.X, size.Y)
	cmd := exec.CommandContext(run, program,
		"-nostdin", "-hide_banner", "-loglevel", "error",
		// Only the file itself: a playlist must not make ffmpeg open addresses.
		"-protocol_whitelist", "file", "-t", strconv.Itoa(int(videoLength.Seconds())), "-i", "file:"+file,
		"-map", "0:v:0?", "-vf", fmt.Sprintf("fps=%d,%s", time.Second/videoStep, fit),
		"-pix_fmt", "yuvj420p", "-q:v", "2", "-f", "mpjpeg", "-boundary_tag", boundary, "pipe:1")
	var complaints tail
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	frames, full, readErr := readFrames(out)
	if full || readErr != nil {
		stop() // otherwise ffmpeg would wait for a reader
	}
	err = cmd.Wait()
	switch {
	case full:
		return frames, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case readErr != nil:
		return nil, readErr
	case err != nil:
		return nil, fmt.Errorf("ffmpeg cannot read it: %s", cmp.Or(complaints.last(), err.Error()))
	case len(frames) == 0:
		return nil, errors.New("there is no frame in it")
	}
	return frames, nil
}

// readFrames reads to the end, or until there are enough frames.
func readFrames(r io.Reader) (frames [][]byte, full bool, err error) {
	parts := multipart.NewReader(r, boundary)
	for total := 0; ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return frames, false, nil // ffmpeg does not write the last boundary
		}
		if err != nil {
			return nil, false, fmt.Errorf("ffmpeg's output: %w", err)
		}
		frame, err := readFrame(part)
		if err != nil {
			return nil, false, err
		}
		frames = append(frames, frame)
		if total += len(frame); total > videoBytes || len(frames) >= int(videoLength/videoStep) {
			return frames, true, nil
		}
	}
}

func readFrame(part *multipart.Part) ([]byte, error) {
	frame, err := io.ReadAll(io.LimitReader(part, videoBytes))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // as above
		return nil, fmt.Errorf("ffmpeg's output: %w", err)
	}
	if _, err := jpeg.DecodeConfig(bytes.NewReader(frame)); err != nil {
		return nil, fmt.Errorf("ffmpeg's output: %w", err)
	}
	return frame, nil
}

// A tail keeps the end of what is written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-4096):]
	return len(p), nil
}

// last returns the last line of it.
func (t *tail) last() string {
	text := strings.TrimSpace(string(t.data))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
