package feeder

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

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
	d := newFollower(&builder{
		plan: plan, service: client, metrics: metrics.New(metrics.Build{}), claim: unclaimed,
	}, changes{}, slog.New(slog.NewTextHandler(&log, nil)))
	var running set
	check := func(what string, want ...string) {
		t.Helper()
		d.update(t.Context(), &running)
		slices.Sort(running.names)
		if !slices.Equal(running.names, want) {
			t.Errorf("%s: %v are running, want %v", what, running.names, want)
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
