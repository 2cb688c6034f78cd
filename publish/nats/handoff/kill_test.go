package handoff_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

var killFor = flag.Duration("kill-for", 0, "how long TestKill kills; 0 is a few rounds")

const (
	killSubject = "cvf.t.cam-1.detector"
	killRounds  = 8
	killReaders = 3
	killSlots   = 8
	killBytes   = 300 * 300 // of a tensor
	killKeep    = 4         // a reader lets go of one in so many tensors that it holds, for each new one
	killStep    = 20        // tensors after which a reader says so
	killDoubt   = 200       // tensors within which it is known why one is missing
	killGrace   = 10 * time.Millisecond
	// killWait is longer than a busy machine lets a process with a low priority stand still.
	killWait  = 5 * time.Minute
	killEvery = 2 * time.Millisecond
	lifeSlots = 1_000_000 // of one life of the feeder
	// killPatience is how long the feeder bears that the machine, or a reader, stands still.
	killPatience = time.Minute
)

// TestKill kills the feeder and its readers again and again, with SIGKILL. No reader ever sees a
// tensor that is not whole, or misses one that it is not told of, and no slot and no file is
// left over from the dead.
func TestKill(t *testing.T) {
	url := natstest.Serve(t, embedded.Options{}).ClientURL()
	dir := filepath.Join(killDir(t), "memory")
	y := &yard{t: t, url: url, dir: dir, faults: make(chan string, 100)}
	y.startFeeder()
	for range killReaders {
		y.readers = append(y.readers, y.start("reader", ""))
	}
	defer func() {
		for _, c := range append(y.readers, y.feeder) {
			c.kill()
		}
	}()
	begun, feeders := time.Now(), 0
	for round := 0; *killFor == 0 && round < killRounds || time.Since(begun) < *killFor; round++ {
		for i := range 1 + rand.IntN(4) {
			y.readers[(round+i)%killReaders].progress()
		}
		if round%2 == 0 {
			y.feeder.kill()
			y.startFeeder()
			feeders++
		} else {
			i := rand.IntN(killReaders)
			y.readers[i].kill()
			y.readers[i] = y.start("reader", "")
		}
		y.delay(round % killReaders)
	}
	var tensors, gaps, broken int // of the readers that have lived to the end
	for _, c := range y.readers {
		c.progress()
		n, g, b := c.end()
		tensors, gaps, broken = tensors+n, gaps+g, broken+b
	}
	y.readers = nil
	natstest.Within(t, func() error {
		held, inMemory, payloads := y.feeder.stats()
		if held > 0 {
			return fmt.Errorf("%d slots are held by nobody", held)
		}
		t.Logf("%d feeders were killed; the last readers got %d tensors and %d gaps, and missed %d for broken connections; the last feeder published %d in memory and %d as payload", feeders, tensors, gaps, broken, inMemory, payloads)
		return nil
	})
	if files, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(files) != 1 {
		t.Errorf("there are %v (%v), not the file of the one feeder", files, err)
	}
}

// killDir returns a directory in memory, where there is: a disk that is full ends a feeder.
func killDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cvfeeder-kill")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A yard is where the processes live.
type yard struct {
	t        *testing.T
	url, dir string
	lives    int
	faults   chan string // what children have said that ended by themselves
	feeder   *child
	readers  []*child
}

func (y *yard) startFeeder() {
	y.lives++
	y.feeder = y.start("feeder", strconv.Itoa(y.lives))
}

// A child is a process of its own.
type child struct {
	t     *testing.T
	role  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of its standard output
	ended sync.WaitGroup

	faults <-chan string // of all children

	mu       sync.Mutex
	expected bool   // its end
	last     []byte // of its standard error
}

// Write implements [io.Writer], as the standard error of the child.
func (c *child) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = append(c.last, p...)
	c.last = c.last[max(0, len(c.last)-8<<10):]
	return os.Stderr.Write(p)
}

// expect says that the child ends now, as it should.
func (c *child) expect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = true
}

// wait waits for the end of the child, and tells the yard if it was not expected.
func (c *child) wait(faults chan<- string) {
	_ = c.cmd.Wait() // see below
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.expected {
		faults <- fmt.Sprintf("the %s ended by itself: %v, having said %q", c.role, c.cmd.ProcessState, c.last)
	}
}

func (y *yard) start(role, life string) *child {
	y.t.Helper()
	c := &child{t: y.t, role: role, cmd: exec.Command(os.Args[0], "-test.run=^TestChild$"), lines: make(chan string, 1<<16), faults: y.faults}
	c.cmd.Env = append(os.Environ(), "HANDOFF_ROLE="+role, "HANDOFF_URL="+y.url, "HANDOFF_DIR="+y.dir, "HANDOFF_LIFE="+life)
	c.cmd.Stderr = c
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		y.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		y.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		y.t.Fatal(err)
	}
	c.ended.Go(func() {
		defer close(c.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			c.lines <- scan.Text()
		}
		c.wait(y.faults)
	})
	return c
}

// next returns the next line that begins with a word. A line that says that something is wrong
// fails the test.
func (c *child) next(word string) string {
	c.t.Helper()
	limit := time.After(killWait)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatal(<-c.faults)
			}
			if strings.HasPrefix(line, "wrong") {
				c.t.Fatalf("%s: %s", c.role, line)
			}
			if rest, found := strings.CutPrefix(line, word+" "); found {
				return rest
			}
		case fault := <-c.faults:
			c.t.Fatal(fault)
		case <-limit:
			c.t.Fatalf("%s: no word of %q within %v", c.role, word, killWait)
		}
	}
}

// delay lets a reader stand still for some time, so that it comes too late for many tensors.
func (y *yard) delay(i int) {
	y.t.Helper()
	y.readers[i].progress()
	y.readers[i].signal(syscall.SIGSTOP)
	y.readers[(i+1)%killReaders].progress()
	y.readers[(i+1)%killReaders].progress()
	y.readers[i].signal(syscall.SIGCONT)
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) progress() { c.t.Helper(); c.next("progress") }

func (c *child) kill() {
	c.expect()
	_ = c.cmd.Process.Kill() // it may have ended
	c.ended.Wait()
}

// end ends a reader in the proper way, and returns what it got.
func (c *child) end() (tensors, gaps, broken int) {
	c.t.Helper()
	c.expect()
	_ = c.in.Close()
	if _, err := fmt.Sscan(c.next("got"), &tensors, &gaps, &broken); err != nil {
		c.t.Fatal(err)
	}
	c.ended.Wait()
	return tensors, gaps, broken
}

func (c *child) stats() (held, inMemory, payloads int) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "stats\n"); err != nil {
		c.t.Fatal(err)
	}
	if _, err := fmt.Sscan(c.next("stats"), &held, &inMemory, &payloads); err != nil {
		c.t.Fatal(err)
	}
	return held, inMemory, payloads
}

// TestChild is the processes of TestKill.
func TestChild(t *testing.T) {
	role := os.Getenv("HANDOFF_ROLE")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	run := map[string]func(context.Context, *bufio.Scanner) error{"feeder": feed, "reader": read}[role]
	if run == nil {
		t.Skip("only as a process of TestKill")
	}
	if err := run(ctx, bufio.NewScanner(os.Stdin)); err != nil {
		fmt.Println("wrong", err)
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
}

// feed publishes tensors until it is killed.
func feed(ctx context.Context, commands *bufio.Scanner) error {
	life, err := strconv.Atoi(os.Getenv("HANDOFF_LIFE"))
	if err != nil {
		return err
	}
	ring, err := memory.Open(ctx, memory.Options{Dir: os.Getenv("HANDOFF_DIR"), Bytes: killSlots * 90112, SlotBytes: killBytes, Grace: killGrace})
	if err != nil {
		return err
	}
	// What is on its way when a connection is given up is lost, as in any way of live. So each
	// tensor says how often that has happened.
	var connected atomic.Int64
	conn, err := dial.Dial(dial.Options{
		URL: os.Getenv("HANDOFF_URL"), WriteTimeout: killPatience, OnConnect: func(int) { connected.Add(1) },
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		err = conn.WaitConnected(ctx)
	}
	if err != nil {
		return err
	}
	d := handoff.New(deliver.NewLive(conn, publish.InlineGaps), handoff.Options{Host: ring.Host, OnUnknown: func(err error) { fmt.Fprintln(os.Stderr, "feeder:", err) }})
	go d.Serve(ctx)
	go func() {
		for commands.Scan() {
			fmt.Println("stats", ring.Stats().Held, d.Counts().Memory, d.Counts().Payload)
		}
	}()
	spec, err := transform.Preset("raw")
	if err != nil {
		return err
	}
	spec.DType, spec.Color = transform.Uint8, transform.Gray
	output := &transform.Output{Name: "detector", Spec: spec, Fingerprint: "test"}
	buffers := transform.Buffers{Shared: ring}
	var gap *publish.Gap // that was not told yet
	for n, tick := 0, time.NewTicker(killEvery); ; n++ {
		<-tick.C
		slot := source.Slot((life*lifeSlots + n) * 200)
		t, _ := buffers.Tensor(killBytes, transform.Padding{})
		fill(t.Data, uint64(slot))
		t.Stream, t.Slot, t.Output = "cam-1", slot, output
		t.Capture = slot.Time().Add(time.Duration(connected.Load()) * time.Second)
		t.Shape, t.Source, t.Affines = []int{1, 300, 300, 1}, image.Pt(300, 300), []transform.Affine{{1, 0, 0, 0, 1, 0}}
		var err error
		if gap != nil {
			err = d.Gap(ctx, *gap, []publish.Route{{Output: output, Subject: killSubject}})
		}
		if err == nil {
			gap = nil
			err = d.Publish(ctx, publish.NewMessage(killSubject, t))
		}
		t.Release()
		var dropped *publish.DropError
		switch {
		case errors.As(err, &dropped): // as the pipeline does
			if gap == nil {
				gap = &publish.Gap{Stream: "cam-1", From: slot, Reason: string(source.Dropped)}
				fmt.Fprintln(os.Stderr, "feeder: a tensor is dropped:", err)
			}
			gap.To = slot
			gap.Slots++
		case err != nil && !errors.Is(err, publish.ErrUnwatched):
			return err
		}
	}
}

// fill makes a tensor that says by its checksum whether it is whole.
func fill(data []byte, seed uint64) {
	body := data[:len(data)-4]
	binary.LittleEndian.PutUint64(body, seed)
	for i := 8; i < len(body); i++ {
		body[i] = body[i-8]*31 + byte(i)
	}
	binary.LittleEndian.PutUint32(data[len(body):], crc32.ChecksumIEEE(body))
}

func check(d consume.Delivery) error {
	body := d.Data[:len(d.Data)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(d.Data[len(body):]) || binary.LittleEndian.Uint64(body) != uint64(d.Time.UnixMilli()) {
		return fmt.Errorf("the tensor of %v is torn", d.Time)
	}
	return nil
}

// A doubt is about tensors that are missing. Only a connection that broke explains it, which may
// be known only a moment later.
type doubt struct {
	before, missing int
	connected       int64 // times, of the reader
	feeder          epoch
	patience        int // tensors
}

// An epoch is one connection of one feeder.
type epoch struct {
	life    int
	connect time.Duration // times, as seconds
}

// A tally finds out whether all have come.
type tally struct {
	missed    func() int    // by the reader's own count
	connected *atomic.Int64 // times

	// lives are the last tensors of each feeder, and when it published them. The last words of one
	// that was killed may come after the first of the next one: they are two publishers.
	lives           map[int]life
	known           int64 // times connected when nothing was missing
	missing, broken int   // tensors that have not come, and those of them that a broken connection explains
	doubt           *doubt
}

// A life is what has come of a feeder.
type life struct {
	last    int
	connect time.Duration
}

// see takes note of what has come. A gap may stand for more than one tensor.
func (l *tally) see(d consume.Delivery) error {
	first := int(d.Time.UnixMilli() / 200)
	of := first / lifeSlots
	before, some := l.lives[of]
	now := life{first, d.Capture.Sub(d.Time)}
	if d.Gap != nil {
		now = life{int(d.Gap.To.Time().UnixMilli() / 200), before.connect}
	}
	if first <= before.last {
		return fmt.Errorf("%d comes after %d", first, before.last)
	}
	l.lives[of] = now
	if some {
		l.missing += first - before.last - 1
	}
	lacking := l.missing - l.broken - l.missed()
	switch {
	case lacking <= 0:
		l.doubt, l.known = nil, l.connected.Load()
		return nil
	case l.doubt == nil:
		l.doubt = &doubt{before: first, connected: l.known, feeder: epoch{of, before.connect}, patience: killDoubt}
	}
	l.doubt.missing = lacking
	return l.judge(epoch{of, now.connect})
}

// judge ends the doubt if it is known why tensors are missing.
func (l *tally) judge(now epoch) error {
	d := l.doubt
	d.patience--
	switch {
	case l.connected.Load() != d.connected, now.life == d.feeder.life && now != d.feeder:
		l.broken += d.missing
		l.doubt, l.known = nil, l.connected.Load()
	case d.patience == 0:
		return fmt.Errorf("%d tensors are missing before %d without a gap, and no connection broke", d.missing, d.before)
	}
	return nil
}

// read reads tensors until its standard input ends or it is killed. Each is looked at when it
// comes, and again when it is let go.
func read(ctx context.Context, commands *bufio.Scanner) error {
	var connected atomic.Int64
	o := dial.Options{URL: os.Getenv("HANDOFF_URL"), OnConnect: func(int) { connected.Add(1) }}
	sub, err := consume.Open(o, consume.Options{Memory: os.Getenv("HANDOFF_DIR"), Borrow: true}, "cvf.t.>")
	if err != nil {
		return err
	}
	defer sub.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		for commands.Scan() {
		}
	}()
	var held []consume.Delivery
	tensors, gaps := 0, 0
	tally := &tally{missed: sub.Missed, connected: &connected, lives: map[int]life{}}
	for d, err := range sub.Tensors(ctx) {
		if err != nil {
			return err
		}
		if err := tally.see(d); err != nil {
			return err
		}
		if d.Gap != nil {
			gaps++
			continue
		}
		if err := check(d); err != nil {
			return err
		}
		held = append(held, d)
		held = slices.DeleteFunc(held, func(one consume.Delivery) bool {
			if rand.IntN(killKeep) > 0 {
				return false
			}
			if wrong := check(one); wrong != nil {
				err = fmt.Errorf("while it was held: %w", wrong)
			}
			one.Release()
			return true
		})
		if err != nil {
			return err
		}
		if tensors++; tensors%killStep == 0 {
			fmt.Println("progress", tensors)
		}
	}
	fmt.Println("got", tensors, gaps, tally.broken)
	return nil
}
