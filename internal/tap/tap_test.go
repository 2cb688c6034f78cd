package tap

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var slotTime = time.Date(2026, 1, 2, 3, 4, 5, 200e6, time.UTC)

// message returns a white tensor of a stream.
func message(stream string) publish.Message {
	return publish.NewMessage("cvf.t.cam-1.detector", &transform.Tensor{
		Stream: stream, Slot: source.SlotAt(slotTime), Capture: slotTime,
		Output: &transform.Output{Name: "detector", Fingerprint: "3f2a", Spec: transform.Spec{
			Color: transform.RGB, DType: transform.Uint8, Layout: transform.NHWC, Scale: 1, Std: [3]float64{1, 1, 1},
		}},
		Shape: []int{1, 4, 6, 3}, Source: image.Pt(12, 8), Affines: []transform.Affine{{2, 0, 0, 0, 2, 1.0 / 3}},
		Data: bytes.Repeat([]byte{255}, 72),
	})
}

// watched is a buffer that other goroutines can read, and wait for text in, while it is
// written.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newWatched() *watched { return &watched{more: make(chan struct{}, 1)} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watched) waitFor(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.more:
		case <-timeout:
			t.Fatalf("no %q within 10s in:\n%s", text, w)
		}
	}
}

// session is a running tap with a server of its own.
type session struct {
	live     *deliver.Live
	out, err *watched
	stop     context.CancelFunc
	result   chan error
	summary  Summary
}

func start(t *testing.T, o Options) *session {
	t.Helper()
	return startWith(t, o, func(*dial.Conn, string) {})
}

// startWith is start, and calls before with a connection to the server before the tap
// starts.
func startWith(t *testing.T, o Options, before func(conn *dial.Conn, url string)) *session {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := dial.Dial(dial.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	before(conn, server.ClientURL())
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{live: deliver.NewLive(conn, publish.GapEvents), out: newWatched(), err: newWatched(), stop: cancel, result: make(chan error, 1)}
	o.URL, o.Out, o.Err = server.ClientURL(), s.out, s.err
	if o.now == nil {
		o.now = func() time.Time { return slotTime.Add(1250 * time.Millisecond) }
	}
	go func() {
		var err error
		s.summary, err = Run(ctx, o)
		s.result <- err
	}()
	t.Cleanup(cancel)
	s.err.waitFor(t, "reading")
	return s
}

func (s *session) publish(t *testing.T, messages ...publish.Message) {
	t.Helper()
	for _, m := range messages {
		if err := s.live.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *session) end(t *testing.T, want Summary) {
	t.Helper()
	select {
	case err := <-s.result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the tap does not end")
	}
	if diff := cmp.Diff(want, s.summary); diff != "" {
		t.Error(diff)
	}
}

const tensorText = "cvf.t.cam-1.detector 2026-01-02T03:04:05.200Z age 1.25s uint8 1x4x6x3 nhwc rgb from 12x8 72 B " +
	"affine 2,0,0,0,2,0.33333 min 255 max 255 mean 255\n"

func TestLinesOfTensorsGapsAndBrokenMessages(t *testing.T) {
	s := start(t, Options{})
	foreign := publish.Message{Subject: "cvf.t.x.y", Data: []byte("hello")}
	short := message("cam-1")
	short.Data = short.Data[1:]
	noGap := publish.Message{Subject: "cvf.gap.cam-1", Data: []byte("{")}
	s.publish(t, foreign, short, message("cam-1"))
	s.out.waitFor(t, "\n") // tensors and gaps are in no order to each other
	gap, err := publish.NewGapMessage(publish.Gap{
		Stream: "cam-1", From: source.SlotAt(slotTime), To: source.SlotAt(slotTime) + 600, Slots: 4, Reason: "no_\x1bmedia",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(t, noGap, gap)
	s.out.waitFor(t, "cvf.gap")
	s.stop()
	s.end(t, Summary{Tensors: 1, Gaps: 1, Broken: 3})
	want := tensorText + `cvf.gap.cam-1 gap "no_\x1bmedia" 4 slots 2026-01-02T03:04:05.200Z to 2026-01-02T03:04:05.800Z` + "\n"
	if diff := cmp.Diff(want, s.out.String()); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"Cvf-Version", "71 bytes", "gap event", "subject=cvf.t.x.y"} {
		if !strings.Contains(s.err.String(), want) {
			t.Errorf("no %q in:\n%s", want, s.err)
		}
	}
}

// TestPartsAndInlineGaps: a tensor that comes in parts is shown as one, and a gap among
// the tensors like a gap event.
func TestPartsAndInlineGaps(t *testing.T) {
	s := start(t, Options{})
	whole := message("cam-1")
	spec := transform.Spec{Color: transform.Gray, DType: transform.Uint8, Layout: transform.NCHW, Scale: 1, Std: [3]float64{1, 1, 1}}
	big := publish.NewMessage(whole.Subject, &transform.Tensor{
		Stream: "cam-1", Slot: source.SlotAt(slotTime), Capture: slotTime,
		Output: &transform.Output{Name: "detector", Fingerprint: "3f2a", Spec: spec},
		Shape:  []int{1, 1, 64, 64}, Source: image.Pt(64, 64), Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}},
		Data: make([]byte, 4096),
	})
	parts, err := publish.Split(big, 3000)
	if err != nil {
		t.Fatal(err)
	}
	gap := publish.NewInlineGap(whole.Subject, publish.Gap{
		Stream: "cam-1", From: source.SlotAt(slotTime), To: source.SlotAt(slotTime) + 600, Slots: 4, Reason: "no_media",
	}, &transform.Output{Name: "detector", Fingerprint: "3f2a"})
	s.publish(t, parts...)
	s.publish(t, gap, parts[0], whole)
	s.out.waitFor(t, "uint8 1x4x6x3")
	s.stop()
	s.end(t, Summary{Tensors: 2, Gaps: 1, Incomplete: 1})
	want := "cvf.t.cam-1.detector 2026-01-02T03:04:05.200Z age 1.25s uint8 1x1x64x64 nchw gray from 64x64 4096 B " +
		"affine 1,0,0,0,1,0 min 0 max 0 mean 0\n" +
		"cvf.t.cam-1.detector gap no_media 4 slots 2026-01-02T03:04:05.200Z to 2026-01-02T03:04:05.800Z\n" + tensorText
	if diff := cmp.Diff(want, s.out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestSilence: a wrong subject is silent, so the tap says what there is.
func TestSilence(t *testing.T) {
	many := []string{"cvf.t.a.x", "cvf.t.b.x", "cvf.t.c.x", "cvf.t.d.x", "cvf.t.e.x", "cvf.t.f.x"}
	for _, tt := range []struct {
		name, subject, want string
		published           []string
	}{
		{"nobody answers", "cvf.t.cam-2.>", "no cvfeeder answers on cvf.svc.streams", nil},
		{"wrong subject", "cvf.t.cam-2.>", `published="cvf.t.a.x, cvf.t.b.x"`, many[:2]},
		{"many", "cvf.t.cam-2.>", "cvf.t.e.x, …", many},
		{"right subject", "cvf.t.a.*", `have no new frames" subject=cvf.t.a.* published=cvf.t.a.x`, many},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startWith(t, Options{Subject: tt.subject, Count: 1, quiet: time.Millisecond}, func(conn *dial.Conn, url string) {
				serveStreams(t, conn, url, tt.published)
			})
			s.err.waitFor(t, "nothing comes")
			s.err.waitFor(t, tt.want)
			m := message("cam-1")
			m.Subject = strings.NewReplacer(">", "x", "*", "x").Replace(tt.subject)
			s.publish(t, m) // it goes on
			s.end(t, Summary{Tensors: 1})
		})
	}
}

// TestWhatThereIs: without a subject, the subjects are told at once.
func TestWhatThereIs(t *testing.T) {
	s := startWith(t, Options{}, func(conn *dial.Conn, url string) {
		serveStreams(t, conn, url, []string{"cvf.t.b.x", "cvf.t.a.x"})
	})
	s.err.waitFor(t, `msg=published subjects=2 names="cvf.t.a.x, cvf.t.b.x"`)
	s.stop()
	s.end(t, Summary{})
}

// TestAgeOfTheFirstTensor: an old one is a warning, and neither is told twice.
func TestAgeOfTheFirstTensor(t *testing.T) {
	s := start(t, Options{Count: 2, Subject: "cvf.t.>"})
	s.publish(t, message("cam-1"), message("cam-1"))
	s.end(t, Summary{Tensors: 2})
	if text := s.err.String(); strings.Count(text, `level=INFO msg="the first tensor has come" age=1.3s`) != 1 {
		t.Error(text)
	}
	s = start(t, Options{Count: 2, Subject: "cvf.t.>", now: func() time.Time { return slotTime.Add(232 * time.Second) }})
	s.publish(t, message("cam-1"), message("cam-1"))
	s.end(t, Summary{Tensors: 2})
	if text := s.err.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "age=3m52s") {
		t.Error(text)
	}
}

// serveStreams answers as a cvfeeder with these subjects does; without any it does not.
func serveStreams(t *testing.T, conn *dial.Conn, url string, subjects []string) {
	t.Helper()
	if len(subjects) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- frames.Serve(ctx, conn, frames.Options{Version: "1.0.0", Streams: func(string) (any, error) {
			type output struct {
				Subject string `json:"subject"`
			}
			type stream struct {
				Outputs []output `json:"outputs"`
			}
			var all []stream
			for _, s := range subjects {
				all = append(all, stream{[]output{{s}}})
			}
			return all, nil
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	deadline := time.After(10 * time.Second)
	for len(published(t.Context(), dial.Options{URL: url}, 100*time.Millisecond)) == 0 {
		select {
		case <-deadline:
			t.Fatal("the service does not answer")
		default:
		}
	}
}

func TestCount(t *testing.T) {
	s := start(t, Options{Count: 2, Subject: "cvf.t.cam-1.*"})
	s.publish(t, message("cam-1"), message("cam-1"), message("cam-1"))
	s.end(t, Summary{Tensors: 2})
	if got := s.out.String(); got != tensorText+tensorText {
		t.Errorf("got %s", got)
	}
}

// TestPictures: an encoded picture has a line of its own, and is saved as it is.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Count: 1, Save: dir})
	x := &transform.Tensor{
		Stream: "cam-1", Slot: source.SlotAt(slotTime), Capture: slotTime, Output: &transform.Output{Name: "archive", Fingerprint: "3f2a"},
		ContentType: transform.TypeWebP, Shape: []int{4, 6, 3}, Source: image.Pt(12, 8), Affines: []transform.Affine{{2, 0, 0, 0, 2, 0}},
		Data: []byte("RIFF of a picture"),
	}
	s.publish(t, publish.NewMessage("cvf.t.cam-1.archive", x))
	s.end(t, Summary{Tensors: 1})
	want := " image/webp 6x4 rgb from 12x8 17 B\n"
	if got := s.out.String(); !strings.HasPrefix(got, "cvf.t.cam-1.archive 2026-01-02T03:04:05.200Z age ") || !strings.HasSuffix(got, want) {
		t.Errorf("the line is %q", got)
	}
	data, err := os.ReadFile(filepath.Join(dir, "cam-1.archive.20260102T030405.200Z.webp"))
	if err != nil || !bytes.Equal(data, x.Data) {
		t.Errorf("saved %q, %v", data, err)
	}
}

func TestSave(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a", "b")
	s := start(t, Options{Count: 2, Save: dir})
	s.publish(t, message("cam-1"), message("../../Tür\x00/"+strings.Repeat("x", 300)))
	s.end(t, Summary{Tensors: 2})

	var files []string
	err := filepath.WalkDir(parent, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			relative, _ := filepath.Rel(dir, path)
			files = append(files, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	long := "______Tür__" + strings.Repeat("x", 80-len("______Tür__")) + ".detector.20260102T030405.200Z"
	want := []string{
		long + ".npy", long + ".png",
		"cam-1.detector.20260102T030405.200Z.npy", "cam-1.detector.20260102T030405.200Z.png",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Fatal(diff)
	}
	file, err := os.Open(filepath.Join(dir, want[3]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	img, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	if r, _, _, _ := img.At(5, 3).RGBA(); img.Bounds() != image.Rect(0, 0, 6, 4) || r != 0xffff {
		t.Errorf("a picture of %v with %v", img.Bounds(), img.At(5, 3))
	}
	npy, err := os.ReadFile(filepath.Join(dir, want[2]))
	if err != nil {
		t.Fatal(err)
	}
	if len(npy) != 128+72 || !bytes.Contains(npy, []byte("'shape': (1, 4, 6, 3)")) {
		t.Errorf("%d bytes: %q", len(npy), npy)
	}
}

func TestWaitsForTheServerAndSaysSoOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := newWatched()
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Options{URL: "nats://127.0.0.1:1", Out: io.Discard, Err: log})
		done <- err
	}()
	log.waitFor(t, "NATS is not reachable, retrying")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

func TestWrongOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Subject: "cvf t"}, "spaces"},
		{Options{Subject: "cvf..t"}, "extra dot"},
		{Options{Subject: "cvf.>.t"}, "must come last"},
		{Options{Count: -1}, "negative"},
		{Options{URL: "http://x"}, "scheme"},
		{Options{Save: file}, "not a directory"},
	} {
		tt.o.Out, tt.o.Err = io.Discard, io.Discard
		if _, err := Run(t.Context(), tt.o); err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%+v: error %v does not tell %q", tt.o, err, tt.want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestShowReturnsErrorsOfWriting(t *testing.T) {
	x := &tap{out: fullDisk{}, log: newLog(io.Discard), now: time.Now}
	m := message("cam-1")
	whole, err := tensor.Parse(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.show(consume.Delivery{Tensor: whole}); err == nil {
		t.Error("no error")
	}
}

func TestSubjects(t *testing.T) {
	for subject, want := range map[string][]string{
		"cvf.t.>":          {"cvf.t.>", "cvf.gap.>"},
		"cvf.t.cam-1.>":    {"cvf.t.cam-1.>", "cvf.gap.cam-1"},
		"cvf.t.*.detector": {"cvf.t.*.detector", "cvf.gap.*"},
		"site.>":           {"site.>", "cvf.gap.>"},
		"cvf.*.cam-1":      {"cvf.*.cam-1"},
		">":                {">"},
		"cvf.>":            {"cvf.>"},
		"cvf.gap.cam-1":    {"cvf.gap.cam-1"},
	} {
		if diff := cmp.Diff(want, subjects(subject)); diff != "" {
			t.Errorf("%s: %s", subject, diff)
		}
	}
}
