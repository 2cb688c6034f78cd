package feeder_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const reloadConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
delivery: {mode: %s}
streams:
%s
outputs:
  small: {preset: yolo, size: %s, dtype: uint8}
  other: {preset: yolo, size: 16x16, dtype: uint8}
`

// A reloading is a feeder that runs, whose config file is replaced.
type reloading struct {
	t      *testing.T
	fake   *kinesistest.Server
	text   func(size string, streams ...string) string
	file   string
	hangup chan os.Signal
	log    natstest.Log
	http   string
	seen   *seen
	end    func() error
}

// seen collects the slots of each subject.
type seen struct {
	mu    sync.Mutex
	slots map[string][]time.Time
}

func (s *seen) count(subject string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots[subject])
}

func startReloading(t *testing.T, mode config.Mode, streams ...string) *reloading {
	t.Helper()
	fake, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(4), Fragment: time.Second})
	natsURL := feedertest.ServeNATS(t)
	r := &reloading{
		t: t, fake: fake, file: filepath.Join(t.TempDir(), "cvfeeder.yaml"), hangup: make(chan os.Signal, 1),
		seen: &seen{slots: map[string][]time.Time{}},
		text: func(size string, streams ...string) string {
			return fmt.Sprintf(reloadConfig, fakeURL, natsURL, mode, strings.Join(streams, "\n"), size)
		},
	}
	r.listen(natsURL)
	r.replace(r.text("32x32", streams...))
	cfg, watch, err := config.LoadWatched(r.file, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	o := feeder.Options{
		Config: cfg, File: watch, Hangup: r.hangup, Log: logging.New(&r.log, logging.Options{}),
		AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		Started: func(_ context.Context, run feeder.Running) {
			r.http = run.HTTP
			close(started)
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feeder.New(o).Run(ctx) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("%v\n%s", err, r.log.String())
	}
	r.end = func() error {
		stop()
		return <-done
	}
	return r
}

// listen collects all tensors.
func (r *reloading) listen(url string) {
	sub := feedertest.Subscribe(r.t, url, "cvf.t.>")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.Next(r.t.Context())
			if err != nil {
				return
			}
			at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
			if err != nil {
				r.t.Error(err)
			}
			r.seen.mu.Lock()
			r.seen.slots[m.Subject] = append(r.seen.slots[m.Subject], at)
			r.seen.mu.Unlock()
		}
	}()
	r.t.Cleanup(func() {
		sub.Close()
		<-done
	})
}

// replace puts another file in the place of the config.
func (r *reloading) replace(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for something to come true.
func (r *reloading) until(what string, met func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !met(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("it never came true that %s\n%s", what, r.log.String())
		}
	}
}

// comes waits for some more tensors of a subject.
func (r *reloading) comes(subject string) {
	r.t.Helper()
	before := r.seen.count(subject)
	r.until(subject+" goes on", func() bool { return r.seen.count(subject) >= before+6 })
}

// says waits until the log says something for the nth time.
func (r *reloading) says(text string, n int) {
	r.t.Helper()
	r.until("the log says "+text, func() bool { return strings.Count(r.log.String(), text) >= n })
}

// checkSlots checks that the slots of a subject came in order, none missing and none
// twice.
func (r *reloading) checkSlots(subject string, interval time.Duration) {
	r.t.Helper()
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	slots := r.seen.slots[subject]
	for i, at := range slots[1:] {
		if !at.Equal(slots[i].Add(interval)) {
			r.t.Errorf("%s: %v follows %v", subject, at, slots[i])
		}
	}
	if len(slots) == 0 {
		r.t.Errorf("%s: nothing came", subject)
	}
}

// asked counts the requests for a stream.
func (r *reloading) asked(operation, stream string) (n int) {
	for _, req := range r.fake.Requests() {
		if req.Operation == operation && req.Stream == stream {
			n++
		}
	}
	return n
}

// TestReload changes one stream, adds one and removes one, while another goes on as
// if nothing had happened; in every mode, without a state directory.
func TestReload(t *testing.T) {
	feedertest.Long(t, "waits for tensors after each change, in all modes")
	for name, mode := range map[string]config.Mode{
		"live": config.ModeLive, "ring": config.ModeRing, "durable": config.ModeDurable,
		"a replica": config.ModeDurable + "}\ncluster: {group: yard, lease: 3s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const (
				steady  = "  - {name: cam-1, outputs: [other]}"
				plain   = "  - {name: cam-2, outputs: [small]}"
				changed = "  - {name: cam-2, outputs: [small], request: {quality: 60}}"
				added   = "  - {name: cam-3, interval: 400ms, outputs: [other]}"
			)
			r := startReloading(t, mode, steady, plain)
			r.comes("cvf.t.cam-1.other")
			r.comes("cvf.t.cam-2.small")

			r.replace(r.text("32x32", steady, changed, added)) // a stream of its own accord
			r.says("the config file is read again", 1)
			r.comes("cvf.t.cam-2.small")
			r.comes("cvf.t.cam-3.other")
			r.replace(r.text("48x48", steady, changed)) // an output, at the signal
			r.hangup <- os.Interrupt
			r.says("the config file is read again", 2)
			r.says(`"stream removed" stream=cam-3`, 1)
			r.comes("cvf.t.cam-2.small")
			r.comes("cvf.t.cam-1.other")
			scrape := feedertest.Get(t, r.http+"/metrics")
			if err := r.end(); err != nil {
				t.Error(err)
			}

			r.checkSlots("cvf.t.cam-1.other", 200*time.Millisecond)
			r.checkSlots("cvf.t.cam-2.small", 200*time.Millisecond)
			r.checkSlots("cvf.t.cam-3.other", 400*time.Millisecond)
			for stream, want := range map[string]int{"cam-1": 1, "cam-2": 3, "cam-3": 1} {
				if n := r.asked("DescribeStream", stream); n != want {
					t.Errorf("%s was started %d times, want %d", stream, n, want)
				}
			}
			if strings.Contains(scrape, `stream="cam-3"`) || !strings.Contains(scrape, "cvfeeder_config_last_reload_successful 1\n") {
				t.Error("/metrics knows the stream that was removed, or not that the file was taken")
			}
			for _, line := range []string{
				"stream cam-2: request.quality is 60, was 80", "stream cam-3 is new", "stream cam-3 is gone", "output small: size is 48x48, was 32x32",
			} {
				if strings.Count(r.log.String(), line) != 1 {
					t.Errorf("the log does not say once: %s\n%s", line, r.log.String())
				}
			}
		})
	}
}

// TestReloadRefuses: a file that cannot take the place of the one at work is refused
// whole, and nothing happens to the streams.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	const cam = "  - {name: cam-1, outputs: [other]}"
	r := startReloading(t, config.ModeLive, cam)
	r.comes("cvf.t.cam-1.other")
	good := r.text("32x32", cam)
	refused := 0
	for _, tt := range []struct{ text, says string }{
		{"streams: [", "not valid YAML"},
		{strings.Replace(good, "outputs: [other]", "outputs: [none]", 1), `there is no output \"none\"`},
		{regexp.MustCompile(`url: [^}]*`).ReplaceAllString(good, "url: nats://127.0.0.1:1"), "needs a restart: nats.url"},
		{strings.Replace(good, "outputs: [other]", "to: 2099-01-01T00:00:00Z, outputs: [other]", 1), "needs a restart: if all streams have an end"},
		{strings.Replace(good, "size: 16x16, dtype: uint8", "size: 4096x4096", 1), "max_payload"},
	} {
		r.replace(tt.text)
		refused++
		r.hangup <- os.Interrupt
		r.says("the config file is refused", refused)
		if !strings.Contains(r.log.String(), tt.says) {
			t.Errorf("the log does not say %s:\n%s", tt.says, r.log.String())
		}
		if scrape := feedertest.Get(t, r.http+"/metrics"); !strings.Contains(scrape, "cvfeeder_config_last_reload_successful 0\n") {
			t.Errorf("/metrics does not tell of the refusal: %s", tt.says)
		}
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	r.says("there is no such file any more: all streams go on", 1)
	r.hangup <- os.Interrupt
	r.says("no such file or directory", 1)
	r.comes("cvf.t.cam-1.other")
	r.replace(good)
	r.hangup <- os.Interrupt
	r.says("the config file is read again", 1)
	r.until("/metrics tells of the recovery", func() bool {
		return strings.Contains(feedertest.Get(t, r.http+"/metrics"), "cvfeeder_config_last_reload_successful 1\n")
	})
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r.checkSlots("cvf.t.cam-1.other", 200*time.Millisecond)
	if n := r.asked("DescribeStream", "cam-1"); n != 1 {
		t.Errorf("the stream was started %d times", n)
	}
}

// TestReloadPrefixes: prefixes come, change and go like streams, and a stream that a
// prefix has found goes on when it is named.
func TestReloadPrefixes(t *testing.T) {
	feedertest.Long(t, "waits for tensors after each change")
	t.Parallel()
	r := startReloading(t, config.ModeLive, "  - {name: cam-1, outputs: [other]}")
	r.comes("cvf.t.cam-1.other")
	r.replace(r.text("32x32", "  - {name: cam-1, outputs: [other]}", "  - {prefix: cam-, outputs: [small]}"))
	r.hangup <- os.Interrupt
	r.comes("cvf.t.cam-4.small")
	r.replace(r.text("32x32", "  - {name: cam-4, outputs: [small]}", "  - {name: cam-1, outputs: [other]}"))
	r.hangup <- os.Interrupt
	r.says(`"stream removed"`, 2)
	r.comes("cvf.t.cam-4.small")
	r.comes("cvf.t.cam-1.other")
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r.checkSlots("cvf.t.cam-1.other", 200*time.Millisecond)
	r.checkSlots("cvf.t.cam-4.small", 200*time.Millisecond)
	var started []int
	for i := range 4 {
		started = append(started, r.asked("DescribeStream", fmt.Sprintf("cam-%d", i+1)))
	}
	if !slices.Equal(started, []int{1, 1, 1, 1}) {
		t.Errorf("the streams were started %v times", started)
	}
}
