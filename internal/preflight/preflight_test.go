package preflight

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const checkConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %s}
streams:
  - {name: cam-1, from: %s, outputs: [detector]}
  - {name: dark, outputs: [detector]}
outputs:
  detector: {size: 512x512}
`

// runCheck runs "check --connect".
// warmSeed makes the streams of the fake those of the warm tier.
const warmSeed = 30

func runCheck(t *testing.T, fake kinesistest.Options, nats, reader string) (string, error) {
	t.Helper()
	return runCheckOf(t, checkConfig, fake, nats, reader)
}

func runCheckOf(t *testing.T, file string, fake kinesistest.Options, nats, reader string) (string, error) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", kinesistest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", kinesistest.SecretKey)
	fake.Scene = feedertest.Grey{}
	fake.Streams = []kinesistest.Stream{{Name: "cam-1", Warm: fake.Seed == warmSeed}, {Name: "dark", Since: time.Now().Add(time.Hour)}}
	srv, err := kinesistest.New(fake)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = endpoint.Close() }()
	text := fmt.Sprintf(file, endpoint.URL, nats, time.Now().Add(-48*time.Hour).UTC().Format(time.RFC3339))
	cfg, err := config.Parse("test.yaml", []byte(text), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Run(t.Context(), cfg, Options{File: "test.yaml", Connect: true, Wait: 3 * time.Second, Reader: reader}, &out)
	return out.String(), err
}

func wantCheck(t *testing.T, out string, err error, code int, lines ...string) {
	t.Helper()
	if got := feeder.ExitCode(err); got != code {
		t.Errorf("exit code %d (%v), want %d", got, err, code)
	}
	for _, line := range lines {
		if !strings.Contains(out, line) {
			t.Errorf("it does not say %q:\n%s", line, out)
		}
	}
}

// TestCheckBehindLeafNode: the server that cvfeeder connects to accepts the tensors, but
// the server that its readers connect to does not.
func TestCheckBehindLeafNode(t *testing.T) {
	hub := natstest.Start(t, &server.Options{LeafNode: natstest.Leafs()})
	leaf := natstest.StartLeaf(t, natstest.LeafAddress(t, hub), &server.Options{MaxPayload: 8 << 20})
	out, err := runCheck(t, kinesistest.Options{}, leaf.ClientURL(), "")
	wantCheck(t, out, err, 0, "arrives at a subscriber on the same server", "try with --reader URL",
		"from is ", "but the stream's retention is 24h0m0s", "there is no media from 20s ago")
	out, err = runCheck(t, kinesistest.Options{}, leaf.ClientURL(), hub.ClientURL())
	wantCheck(t, out, err, feeder.ExitUsage, "does not arrive at a subscriber at "+hub.ClientURL(), "raise max_payload there, too")
}

// TestCheckWhoListens: a server that cannot tell is found before streams are read all the time
// for nobody. Nobody asks it for streams that are always read.
func TestCheckWhoListens(t *testing.T) {
	proxy := natstest.NewStallProxy(t, natstest.Start(t, &server.Options{MaxPayload: 8 << 20}).ClientURL())
	proxy.Pretend("2.10.29")
	url := "nats://" + proxy.Addr().String()
	subscribed := strings.Replace(checkConfig, "{name: dark,", "{name: dark, poll: subscribed,", 1)
	out, err := runCheckOf(t, subscribed, kinesistest.Options{}, url, "")
	wantCheck(t, out, err, feeder.ExitUsage, "streams with poll: subscribed would be read all the time: the server cannot tell who listens: NATS 2.11 or newer can")
	out, err = runCheck(t, kinesistest.Options{}, url, "")
	wantCheck(t, out, err, 0)
	if strings.Contains(out, "listens") {
		t.Error(out)
	}
	out, err = runCheckOf(t, subscribed, kinesistest.Options{}, natstest.Start(t, &server.Options{MaxPayload: 8 << 20}).ClientURL(), "")
	wantCheck(t, out, err, 0, "the server tells who listens, which poll: subscribed needs")
}

func TestCheckAWS(t *testing.T) {
	nats, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Shutdown()
	for _, operation := range []string{"DescribeStream", "GetDataEndpoint", "GetImages"} {
		out, err := runCheck(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation == operation && r.Stream == "cam-1" {
				return kinesistest.NotAuthorized("kinesisvideo:" + operation)
			}
			return nil
		}}, nats.ClientURL(), "")
		wantCheck(t, out, err, feeder.ExitRefused, "FAIL  stream cam-1", "refused: the permission kinesisvideo:"+operation+" is missing: ")
	}
	out, err := runCheck(t, kinesistest.Options{Faults: kinesistest.Faults{DenyListFragments: true}}, nats.ClientURL(), "")
	wantCheck(t, out, err, 0, "the optional permission kinesisvideo:ListFragments is missing")
	if strings.Contains(out, "WARM") {
		t.Error(out)
	}
	out, err = runCheck(t, kinesistest.Options{Seed: warmSeed}, nats.ClientURL(), "")
	wantCheck(t, out, err, 0, "WARM", "AWS charges its ingestion by 1000 fragments", "with a retention of 24h0m0s, days are paid in which it is gone")
	out, err = runCheck(t, kinesistest.Options{Seed: warmSeed, Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
		if r.Operation == "DescribeStreamStorageConfiguration" {
			return kinesistest.NotAuthorized("kinesisvideo:" + r.Operation)
		}
		return nil
	}}, nats.ClientURL(), "")
	wantCheck(t, out, err, 0, "pictures: jpeg")
	out, err = runCheck(t, kinesistest.Options{Faults: kinesistest.Faults{Skew: -40 * time.Second}}, nats.ClientURL(), "")
	wantCheck(t, out, err, 0, "the host's clock differs by 40s from the service's", "pictures: jpeg")
}

// TestCheckJetStream: a missing stream or bucket is reported and not created. One with
// the wrong config is reported with the command to fix it.
func TestCheckJetStream(t *testing.T) {
	nats, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Shutdown()
	conn, err := dial.Dial(dial.Options{URL: nats.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	url := nats.ClientURL() + "}\ndelivery: {mode: durable, stream: {name: yard}"
	out, err := runCheck(t, kinesistest.Options{}, url, "")
	wantCheck(t, out, err, 0, "jetstream yard", "does not exist and will be created: File, WorkQueue, replicas 1, up to 8589934592 bytes",
		"jetstream cvf_cursor", "does not exist and will be created: key-value bucket")
	yard := deliver.StreamOptions{Name: "yard", Subjects: []string{"cvf.t.*.*"}}
	if err := deliver.NewStored(conn, deliver.StoredOptions{Stream: yard}).Open(t.Context()); err != nil {
		t.Fatal(err) // the check must not have created it
	}
	out, err = runCheck(t, kinesistest.Options{}, url, "")
	wantCheck(t, out, err, feeder.ExitUsage, "nats stream rm yard")
}

// planOf returns what a check without connections says of a config.
func planOf(t *testing.T, text string) string {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, Options{File: "test.yaml"}, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPlanFollowsThePoller: what polling takes depends on how a stream is polled.
func TestPlanFollowsThePoller(t *testing.T) {
	polling := func(keys string) string {
		text := "streams: [{name: cam-1, interval: 500ms, request: {size: 32x32}, outputs: [small]" + keys + "}]\noutputs: {small: {size: 32x32}}"
		out := planOf(t, text)
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "  polling") {
				return line
			}
		}
		t.Fatalf("it does not say what polling takes:\n%s", out)
		return ""
	}
	seen := map[string]string{}
	for _, keys := range []string{"", ", lag: 4s", ", lag: 4s, overlap: 15s", ", lag: 4s, overlap: 40s"} {
		line := polling(keys)
		if other, ok := seen[line]; ok {
			t.Errorf("%q takes the same as %q: %s", keys, other, line)
		}
		seen[line] = keys
	}
}

// TestPlanForLate: looking again for slots without media is in the plan and in the cost.
func TestPlanForLate(t *testing.T) {
	plan := func(keys string) (images float64, all string) {
		text := "streams: [{name: cam-1, interval: 1s, request: {size: 32x32}, outputs: [small]" + keys + "}]\noutputs: {small: {size: 32x32}}"
		out := planOf(t, text)
		var made float64
		if _, err := fmt.Sscanf(out[strings.Index(out, "  images"):], "  images %f to %f million", &made, &images); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return images, out
	}
	without, text := plan("")
	if strings.Contains(text, "(late)") {
		t.Errorf("without late it says:\n%s", text)
	}
	with, text := plan(", late: 1h")
	want := "while slots of the last 1h0m0s have no media (late), up to 0.10 entries more for each slot"
	if !strings.Contains(text, want) {
		t.Errorf("it does not say %q:\n%s", want, text)
	}
	// 0.1 images for each of 2.628 million slots a month.
	if more := with - without; more < 0.25 || more > 0.28 {
		t.Errorf("late costs %.3f million images more a month", more)
	}
}

// TestPlanForPoll: a stream that is not read all the time costs less, and the plan says when.
func TestPlanForPoll(t *testing.T) {
	plan := func(keys string) (images float64, all string) {
		out := planOf(t, "streams: [{name: cam-1, interval: 1s, request: {size: 32x32}, outputs: [small]"+keys+"}]\noutputs: {small: {size: 32x32}}")
		if _, rest, some := strings.Cut(out, "  images"); some {
			if _, err := fmt.Sscanf(rest, " %f", &images); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
		}
		return images, out
	}
	always, _ := plan("")
	for keys, want := range map[string]struct {
		share float64
		says  string
	}{
		`, active: "Mon-Fri 07:00-19:00 Europe/Berlin"`: {60.0 / 168, "1 stream: active Mon-Fri 07:00-19:00 Europe/Berlin, which is 36% of the week and of the images"},
		", poll: subscribed":                            {1, "1 stream: poll is subscribed, so this is what they cost while somebody listens"},
		", poll: request":                               {0, "1 stream: poll is request, so they cost only what is requested"},
	} {
		images, text := plan(keys)
		if got := images / always; math.Abs(got-want.share) > 0.01 || !strings.Contains(text, want.says) {
			t.Errorf("%s: %.3f of the images, want %.3f and %q:\n%s", keys, got, want.share, want.says, text)
		}
	}
}

// TestPlanForLimits: the plan says how much of the limits it takes, and when they will be met.
func TestPlanForLimits(t *testing.T) {
	const stream = "streams: [{name: cam-1, interval: 1s, request: {size: 32x32}, outputs: [small]%s}]\noutputs: {small: {size: 32x32}}\n%s"
	for keys, want := range map[[2]string][]string{
		{", limits: {images_per_day: 10000000}"}:              {"stream cam-1 takes 1", "% of 10,000,000 images a day\n"},
		{", limits: {images_per_day: 1000, then: slow}"}:      {"% of 1,000 images a day: after ", "% of each day, a tenth is asked for"},
		{"", "limits: {money_per_month: 5}"}:                  {"the plan takes ", "% of 5 USD a month: after ", "% of each month, nothing is asked for"},
		{"", "limits: {money_per_month: 5, then: slow}"}:      {"% of each month, a tenth is asked for"},
		{"", "limits: {money_per_month: 500000, then: slow}"}: {"% of 500,000 USD a month\n"},
	} {
		out := planOf(t, fmt.Sprintf(stream, keys[0], keys[1]))
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%q: there is no %q:\n%s", keys, text, out)
			}
		}
	}
	if out := planOf(t, fmt.Sprintf(stream, "", "")); strings.Contains(out, "limits") {
		t.Error(out)
	}
}

// TestPlanForGates: the plan says what gates save at best, and where relax saves nothing.
func TestPlanForGates(t *testing.T) {
	plan := func(outputs, made string) string {
		return planOf(t, "streams: [{name: cam-1, interval: 300ms, request: {size: 32x32}, outputs: ["+outputs+"]}]\noutputs: {"+made+"}")
	}
	a, b, c := "a: {size: 32x32, gate: {change: 2%, every: 10s, relax: 2s}}", "b: {size: 32x32, gate: {change: 2%, every: 3s, relax: 3s}}", "c: {size: 32x32}"
	for _, test := range []struct {
		outputs, made string
		says, not     []string
	}{
		{"a", a, []string{
			"output a of 1 stream: while nothing changes, one tensor in 8.4s instead of one in 300ms, 3.6% of the bytes at best; all of them where something always changes",
			"1 stream: while nothing changes, one image in 2.1s instead of one in 300ms (relax), 14% of the images at best",
		}, []string{"saves no images"}},
		{"a, b", a + ", " + b, []string{"output b of 1 stream: while nothing changes, one tensor in 2.1s", "one image in 2.1s instead"}, []string{"saves no images"}},
		{"a, c", a + ", " + c, []string{"output a of 1 stream", "1 stream: relax saves no images, because of c, which needs them at all times"}, []string{"one image in", "output c"}},
		{"c", c, nil, []string{"  gate"}},
	} {
		out := plan(test.outputs, test.made)
		for _, want := range test.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it does not say %q:\n%s", test.outputs, want, out)
			}
		}
		for _, not := range test.not {
			if strings.Contains(out, not) {
				t.Errorf("%s: it says %q:\n%s", test.outputs, not, out)
			}
		}
	}
}

// TestPlanForBatches: the plan says which streams have a row, and counts a batch once.
func TestPlanForBatches(t *testing.T) {
	out := planOf(t, `streams:
  - {name: cam-1, interval: 500ms, request: {size: 32x32}, outputs: [a]}
  - {name: cam-2, interval: 500ms, request: {size: 32x32}, outputs: [a]}
outputs: {a: {size: 32x32, dtype: uint8, batch: {name: yard, streams: [cam-2, cam-1], wait: 1s}}}
`)
	for _, want := range []string{
		"a: the rows of yard are cam-2, cam-1, on cvf.t.yard.a, at most 1s after the first of them",
		"their fragments are up to 2s long: unless those of all begin at the same time",
		"2x3x32x32 uint8",
		"6.1 kB",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	var sent float64
	for line := range strings.Lines(out) {
		if after, found := strings.CutPrefix(strings.TrimSpace(line), "to NATS"); found {
			_, _ = fmt.Sscanf(after, "%f kB", &sent)
		}
	}
	if sent < 12.3 || sent > 14 { // 2 a second, with their headers
		t.Errorf("%v kB a second:\n%s", sent, out)
	}
}

// TestSyntheticPicture: the picture that the CPU is measured with is about as large as a
// camera's, which has 0.15 bytes a pixel.
func TestSyntheticPicture(t *testing.T) {
	data, err := synthetic(image.Pt(1280, 720), config.Request{Format: config.FormatJPEG, Quality: 80})
	if err != nil {
		t.Fatal(err)
	}
	if perPixel := float64(len(data)) / (1280 * 720); perPixel < 0.1 || perPixel > 0.25 {
		t.Errorf("%.3f bytes a pixel", perPixel)
	}
	if _, err := synthetic(image.Pt(33, 17), config.Request{Format: config.FormatPNG}); err != nil {
		t.Error(err)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{grouped(0), "0"},
		{grouped(999), "999"},
		{grouped(1000), "1,000"},
		{grouped(12345678), "12,345,678"},
		{number(0.0361), "0.0361"},
		{number(131.4), "131"},
		{number(13140), "13,140"},
		{bytesText(999), "999 bytes"},
		{bytesText(4915200), "4.9 MB"},
		{percent(0.0125), "1.2%"},
		{count(1, "stream"), "1 stream"},
		{count(10000, "stream"), "10,000 streams"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// TestCPUTimeOnABusyMachine: what else the machine does is not in the plan.
func TestCPUTimeOnABusyMachine(t *testing.T) {
	cfg, err := config.Parse("test.yaml", []byte("streams: [{name: cam-1, request: {size: 1920x1080}, outputs: [a]}]\noutputs: {a: {size: 64x64}}"), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := feeder.NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	size := image.Pt(1920, 1080)
	picture, err := synthetic(size, cfg.Streams[0].Request)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{cfg: cfg, plan: plan}
	measured := func() time.Duration {
		took, err := c.measure(checked{Stream: cfg.Streams[0], picture: picture}, size)
		if err != nil {
			t.Fatal(err)
		}
		return took
	}
	alone := measured()
	var busy sync.WaitGroup
	var stop atomic.Bool
	for range 4 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for n := 0; !stop.Load(); n++ {
				_ = n
			}
		})
	}
	crowded := measured()
	stop.Store(true)
	busy.Wait()
	// By the clock it would be thirty times as long. A core that is shared by two threads
	// makes each of them slower.
	if crowded > 8*alone {
		t.Errorf("%v alone, %v on a busy machine", alone, crowded)
	}
}

// TestPlanForMasks: the plan says what is covered, as the file has it.
func TestPlanForMasks(t *testing.T) {
	out := planOf(t, `streams: [{name: cam-1, request: {size: 32x32}, outputs: [a], masks: [{polygon: [[0, 0], [1, 0.5], [0, 1]], fill: 7}, {box: [0.5, 0.5, 0.25, 0.25], pixelate: 16}]}]
outputs: {a: {size: 32x32}}`)
	for _, want := range []string{"cam-1: {polygon: [[0, 0], [1, 0.5], [0, 1]], fill: \"7\"}", "cam-1: {box: [0.5, 0.5, 0.25, 0.25], pixelate: 16}", "for 32x32 jpeg to a, with 2 masks"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}
