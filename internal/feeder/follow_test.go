package feeder

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// set records which streams run.
type set struct {
	names   []string
	removed int // how often one was taken out
}

func (s *set) Add(st pipeline.Stream) { s.names = append(s.names, st.Name) }
func (s *set) Remove(_ context.Context, name string) (source.Slot, bool) {
	s.removed++
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
	return 0, true
}

func TestFollowsThePrefixes(t *testing.T) {
	fake, err := kinesistest.New(kinesistest.Options{Streams: []kinesistest.Stream{
		{Name: "cam-1"}, {Name: "cam-2"}, {Name: "door-1"}, {Name: "cam.a"},
	}, Scene: feedertest.Grey{}})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := fake.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kinesis.New(t.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: endpoint.URL, AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		Attempts: 1, // the service will be away
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test", []byte(`
streams:
  - {name: cam-2, outputs: [a]}
  - {prefix: cam, interval: 1s, outputs: [a]}
outputs: {a: {}}`), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	known := &parts{purse: testPurse(t, cfg)}
	d := newFollower(&builder{
		plan: plan, service: client, metrics: metrics.New(metrics.Build{}), claim: unclaimed, cameras: &known.cameras, purse: known.purse, forget: known.forget,
	}, changes{}, slog.New(slog.NewTextHandler(&log, nil)))
	var running set
	check := func(what string, want ...string) {
		t.Helper()
		d.update(t.Context(), &running)
		slices.Sort(running.names)
		if !slices.Equal(running.names, want) {
			t.Errorf("%s: %v are running, want %v", what, running.names, want)
		}
		for _, name := range running.names {
			known.moves.located(name, kinesis.LookupMoved)
		}
		for of, by := range map[string]*sync.Map{"cameras": &known.cameras.by, "moves": &known.moves.at} {
			var names []string
			by.Range(func(name, _ any) bool { names = append(names, name.(string)); return true })
			slices.Sort(names)
			if !slices.Equal(names, want) {
				t.Errorf("%s: the %s of %v are known, want those of %v", what, of, names, want)
			}
		}
	}
	check("at first, without the one that is named, and those of other names", "cam-1", "cam.a")

	if err := fake.AddStream(kinesistest.Stream{Name: "cam-3"}); err != nil {
		t.Fatal(err)
	}
	check("after one was added", "cam-1", "cam-3", "cam.a")
	check("after nothing has happened", "cam-1", "cam-3", "cam.a")

	if err := fake.AddStream(kinesistest.Stream{Name: "cam_a"}); err != nil {
		t.Fatal(err)
	}
	check("after one that would share subjects was added", "cam-1", "cam-3", "cam.a")
	check("and once more", "cam-1", "cam-3", "cam.a")
	if n := strings.Count(log.String(), "would share its NATS subjects"); n != 1 || !strings.Contains(log.String(), "cam_a") {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}

	for status, want := range map[string][]string{"UPDATING": {"cam-1", "cam-3", "cam.a"}, "DELETING": {"cam-1", "cam.a"}} {
		fake.SetStatus("cam-3", status)
		removed := running.removed
		check("while one is "+status, want...)
		if status == "UPDATING" && running.removed != removed {
			t.Error("a stream that is UPDATING was taken out")
		}
		fake.SetStatus("cam-3", "ACTIVE")
		check("when it is ACTIVE again", "cam-1", "cam-3", "cam.a")
	}

	fake.RemoveStream("cam-1")
	check("after one was deleted", "cam-3", "cam.a")

	if err := endpoint.Close(); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	check("while the service is away", "cam-3", "cam.a")
	if !strings.Contains(log.String(), "could not be looked up") {
		t.Errorf("nothing was said of it: %s", log.String())
	}
}

// TestPrefixesThatAreNotAnswered: as long as nobody knows which streams a prefix has, the
// feeder is not ready, and says why; failures after that change nothing.
func TestPrefixesThatAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := kinesistest.NewPipe()
		begin := time.Now()
		fake, err := kinesistest.New(kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(kinesistest.Request) *kinesistest.ErrorResponse {
			for _, hangs := range [][2]time.Duration{{0, 4 * time.Minute}, {20 * time.Minute, 30 * time.Minute}} {
				if at := time.Since(begin); at >= hangs[0] && at < hangs[1] {
					time.Sleep(hangs[1] - at)
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() { _ = fake.Serve(ctx, pipe) })
		client := pipe.Client()
		service, err := kinesis.New(t.Context(), kinesis.Options{
			Region: kinesistest.Region, Endpoint: "http://fake", AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey, HTTPClient: client,
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("test", []byte("streams: [{prefix: cam, outputs: [a]}]\noutputs: {a: {}}"), feedertest.NoVariables)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		m := metrics.New(metrics.Build{})
		f := newFollower(&builder{plan: plan, service: service, metrics: m, purse: testPurse(t, cfg), claim: unclaimed, forget: func(string) {}}, changes{}, slog.New(slog.NewTextHandler(&log, nil)))
		var running set
		working.Go(func() { f.follow(ctx, &running) })
		for _, step := range []struct {
			at   time.Duration
			want string
		}{
			{5 * time.Second, "prefix cam: not answered yet"},
			{3 * time.Minute, "prefix cam: ListStreams has not answered within 10s"},
			{6 * time.Minute, ""},
			{25 * time.Minute, ""},
			{35 * time.Minute, ""},
		} {
			time.Sleep(time.Until(begin.Add(step.at)))
			if got := strings.Join(f.notFound(), "\n"); got != step.want && (step.want == "" || !strings.HasPrefix(got, step.want)) {
				t.Errorf("after %v: %q", step.at, got)
			}
		}
		stop()
		client.CloseIdleConnections()
		working.Wait()
		if len(running.names) != 4 || running.removed > 0 {
			t.Errorf("%v are running, %d were removed", running.names, running.removed)
		}
		if !strings.Contains(log.String(), "could not be looked up") {
			t.Errorf("logged: %s", log.String())
		}
		if got := counts(t, m, "cvfeeder_prefix_lookups_total"); got["failed"] < 3 || got["ok"] < 20 {
			t.Errorf("counted: %v", got)
		}
	})
}

// counts returns the values of a counter by its only label.
func counts(t *testing.T, m *metrics.Metrics, name string) map[string]float64 {
	t.Helper()
	all, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]float64{}
	for _, family := range all {
		if family.GetName() == name {
			for _, one := range family.GetMetric() {
				by[one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
			}
		}
	}
	return by
}
