package opencv_test

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
	"github.com/cvfeeder/cvfeeder/transform/gate/gatetest"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

var gates = flag.Bool("gates", false, "measure all scenes and the footage, and write the table in docs/gates.md")

const (
	gatesBegin = "<!-- gates -->\n"
	gatesEnd   = "<!-- end of gates -->"
	// footage is where the clips are that the project does not contain.
	footage = "../../../shared/footage"
)

// A measured line of the table.
type measured struct {
	name string
	gatetest.Tally
	still bool // nothing happens in it
}

// TestGates: of the JPEGs of made scenes, every change that can be seen passes, and of scenes
// in which nothing happens one frame in twenty at most. With -gates, all of the scenes are
// measured, and the footage where there is any.
func TestGates(t *testing.T) {
	w := opencv.NewWorker(opencv.Options{})
	defer w.Close()
	quick := []string{"night noise", "crossing in drift and flicker", "parked car"}
	var all []measured
	for _, s := range gatetest.Scenes() {
		if !*gates && !slices.Contains(quick, s.Name) {
			continue
		}
		frames := s.Frames
		if !*gates {
			frames = 150
		}
		look := lookThrough(t, w, gate.Options{Change: s.Change, Every: 10 * time.Second})
		tally := s.Draw(2).Run(frames, 200*time.Millisecond, func(at time.Duration, seen *image.Gray) (pass, due bool) {
			return look(at, encoded(t, seen))
		})
		all = append(all, measured{s.Name, tally, s.Quiet})
	}
	if *gates {
		all = append(all, ofFootage(t, w)...)
	}
	changes, seen := 0, 0
	for _, m := range all {
		t.Logf("%s: %+v", m.name, m.Tally)
		changes, seen = changes+m.Changes, seen+m.Seen
		if m.still && m.Passed*20 > m.Frames {
			t.Errorf("%s: %d of %d frames passed where nothing happens", m.name, m.Passed, m.Frames)
		}
	}
	if changes < 20 || float64(seen) < 0.995*float64(changes) {
		t.Errorf("%d of %d changes passed", seen, changes)
	}
	if *gates {
		document(t, all)
	}
}

// lookThrough returns what has a gate decide about a JPEG.
func lookThrough(t *testing.T, w *opencv.Worker, o gate.Options) func(at time.Duration, data []byte) (pass, due bool) {
	t.Helper()
	g := gate.New(o)
	return func(at time.Duration, data []byte) (pass, due bool) {
		luma, _, err := w.Luma(source.Frame{Data: data}, nil)
		if err != nil {
			t.Fatal(err)
		}
		v := g.Decide(time.Unix(1_700_000_000, 0).Add(at), 0, luma, nil, luma.Rect)
		return v.Pass, v.Why == gate.Due
	}
}

func encoded(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A clip is footage, with what a person who looked at its frames has noted.
type clip struct {
	file, rate string
	interval   time.Duration
	// changes are the frames in which somebody or something has come, gone or moved clearly
	// since the frame before.
	changes []int
	// still are the frames in which nothing is to be seen but the place.
	still [][2]int
}

var clips = []clip{
	{
		file: "one-by-one-person-detection.mp4", rate: "1", interval: time.Second,
		changes: []int{6, 7, 18, 19, 20, 23, 24, 44, 45, 50, 51, 52, 69, 70, 75, 76, 85, 86, 87, 92, 93, 118, 119, 120, 124, 125, 134, 135, 136},
		still:   [][2]int{{1, 5}, {46, 49}, {88, 91}},
	},
	{
		file: "car-detection.mp4", rate: "2", interval: 500 * time.Millisecond,
		changes: []int{9, 10, 11, 12, 13, 14, 15, 16, 30, 31, 32, 33, 34, 35, 36, 37, 51, 52, 53, 54, 55},
		still:   [][2]int{{1, 8}, {20, 28}, {41, 49}},
	},
}

// ofFootage measures the clips, where they and ffmpeg are there.
func ofFootage(t *testing.T, w *opencv.Worker) (all []measured) {
	t.Helper()
	for _, c := range clips {
		file := filepath.Join(footage, c.file)
		if _, err := os.Stat(file); err != nil {
			t.Skipf("no footage: %v", err)
		}
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", file, "-vf", "fps="+c.rate, "-q:v", "5", filepath.Join(dir, "%04d.jpg"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		frames, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
		if err != nil || len(frames) == 0 {
			t.Fatal(frames, err)
		}
		look := lookThrough(t, w, gate.Options{Change: 0.02, Every: 10 * time.Second})
		moving, still := measured{name: c.file}, measured{name: c.file + ", nobody there"}
		for i, name := range frames {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			pass, due := look(time.Duration(i)*c.interval, data)
			changed := slices.Contains(c.changes, i)
			moving.add(pass, changed)
			if slices.ContainsFunc(c.still, func(s [2]int) bool { return i >= s[0] && i <= s[1] }) {
				still.add(pass && !due, false)
			}
			if changed && !pass {
				t.Logf("%s: frame %d does not pass", c.file, i)
			}
		}
		all = append(all, moving, still)
	}
	return all
}

func (m *measured) add(pass, changed bool) {
	m.Frames++
	if changed {
		m.Changes++
	}
	if pass {
		m.Passed++
		if changed {
			m.Seen++
		}
	}
}

// document writes the table.
func document(t *testing.T, all []measured) {
	t.Helper()
	var b strings.Builder
	b.WriteString("| scene | frames | changes | of these published | share of the bytes |\n|---|---:|---:|---:|---:|\n")
	for _, m := range all {
		recall := "–"
		if m.Changes > 0 {
			recall = fmt.Sprintf("%.1f%%", 100*float64(m.Seen)/float64(m.Changes))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %.1f%% |\n", m.name, m.Frames, m.Changes, recall, 100*float64(m.Passed)/float64(m.Frames))
	}
	const name = "../../docs/gates.md"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), gatesBegin)
	_, after, closed := strings.Cut(rest, gatesEnd)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", name)
	}
	if err := os.WriteFile(name, []byte(before+gatesBegin+b.String()+gatesEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkGateVsFrame compares the processor time of a frame that is held back with that of
// one of an output without a gate, whose tensor is written to a socket. The result is that of the picture for
// which it is worse: a drawn one of 1920x1080 with a sensor's noise, and a smooth one, such as
// footage mostly is.
func BenchmarkGateVsFrame(b *testing.B) {
	spec, err := transform.Preset("yolo")
	if err != nil {
		b.Fatal(err)
	}
	out := &transform.Output{Name: "yolo", Spec: spec}
	conn := sink(b)
	w := opencv.NewWorker(opencv.Options{})
	defer w.Close()
	runtime.LockOSThread() // the time is that of the thread
	defer runtime.UnlockOSThread()
	kinds := []struct {
		name string
		data []byte
	}{{"drawn", drawn(b, 6)}, {"smooth", drawn(b, 0.8)}}
	var held, whole [2][]time.Duration
	for b.Loop() {
		for i, k := range kinds {
			f := source.Frame{Data: k.data}
			g := gate.New(gate.Options{Change: 0.02})
			look := func(at int64) {
				luma, _, err := w.Luma(f, nil)
				if err != nil {
					b.Error(err)
					return
				}
				g.Decide(time.Unix(at, 0), 0, luma, nil, luma.Rect)
				w.Rest()
			}
			look(1)
			held[i] = append(held[i], spent(func() { look(2) }))
			whole[i] = append(whole[i], spent(func() {
				if err := w.Decode(f, nil, []*transform.Output{out}); err != nil {
					b.Error(err)
					return
				}
				t, err := w.Tensor(out)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := conn.Write(t.Data); err != nil {
					b.Error(err)
				}
				t.Release()
			}))
		}
	}
	worst := 0.0
	for i, k := range kinds {
		h, f := middle(held[i]), middle(whole[i])
		b.ReportMetric(float64(h.Microseconds())/1000, k.name+"-held-ms")
		b.ReportMetric(float64(f.Microseconds())/1000, k.name+"-frame-ms")
		worst = max(worst, float64(h)/float64(f))
	}
	b.ReportMetric(worst, "gate-vs-frame")
}

// drawn returns a JPEG of 1920x1080 with noise of a standard deviation.
func drawn(b *testing.B, noise float64) []byte {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	for y := range 1080 {
		for x := range 1920 {
			shade := 110 + 60*math.Sin(float64(x)/190)*math.Cos(float64(y)/130)
			if (x/240+y/180)%3 == 0 {
				shade += 45
			}
			shade += rng.NormFloat64() * noise
			at := func(v float64) uint8 { return uint8(max(0, min(255, v))) }
			m.SetRGBA(x, y, color.RGBA{at(shade), at(shade*0.9 + 10), at(shade*0.7 + 30), 255})
		}
	}
	return encoded(b, m)
}

// sink returns a connection over loopback whose other end reads all that is written.
func sink(b *testing.B) net.Conn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, other)
	}()
	b.Cleanup(func() {
		_ = conn.Close()
		<-done
		_ = other.Close()
	})
	return conn
}

// spent returns how much processor time of this thread f takes.
func spent(f func()) time.Duration {
	begin := threadTime()
	f()
	return threadTime() - begin
}

func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
