package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const matrixConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q, credentials: %q, tls: {ca: %q}}
http: {listen: %q}
log: {format: json}
delivery: %s
%s
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
  - {name: cam-2, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// matrixInterval is that of the streams.
const matrixInterval = 200 * time.Millisecond

var matrixSubjects = []string{"cvf.t.cam-1.small", "cvf.t.cam-2.small"}

// A yard is everything around the feeders of one cell of the matrix.
type yard struct {
	t      *testing.T
	mode   mode
	fault  fault
	cannot string // why the fault cannot be done here

	dir     string
	nats    *process
	server  map[string]string // lines of the server's config
	host    string            // of the server
	port    string
	feeders []*process
	pages   []string // the URLs of the feeders' HTTP servers
	kills   int      // of the server
	logged  []int    // how long the feeders' logs were when the fault began

	// What faults change in how feeders and readers get to NATS.
	feederURL, readerURL string
	credentials, ca      string
	readerOpts           []nats.Option
	wrap                 []string // a program that runs the feeder
	program              string   // the feeder
	env                  []string // of the feeder
	also                 []*process
	link                 *toxiproxy.Proxy
	served               func() // waits until the servers are ready for feeders

	reader *nats.Conn
	stop   context.CancelFunc
	ended  sync.WaitGroup
	state  any // of the fault

	mu     sync.Mutex
	seen   map[string][]sight // by subject, as it came
	queue  map[string][]sight // what the consumer of a work queue got
	unwell []illness
}

// A sight is a tensor that somebody saw.
type sight struct{ slot, at time.Time }

// An illness is an answer that a feeder is not ready.
type illness struct {
	at   time.Time
	body string
}

// newYard starts it for the length of the test.
func newYard(t *testing.T, m mode, f fault) *yard {
	t.Helper()
	y := &yard{t: t, mode: m, fault: f, dir: t.TempDir(), host: "127.0.0.1", program: "cvfeeder", seen: map[string][]sight{}, queue: map[string][]sight{}}
	_, y.port, _ = strings.Cut(lastingAddress(t), ":")
	y.server = map[string]string{"jetstream": fmt.Sprintf("{store_dir: %q}", filepath.Join(y.dir, "store")), "max_payload": "1MB"}
	y.feederURL = "nats://127.0.0.1:" + y.port
	y.readerURL = y.feederURL
	_, fake := feedertest.ServeFake(t, kinesistest.Options{
		Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2), Fragment: time.Second,
	})
	if f.prepare != nil {
		f.prepare(y)
	}
	if y.cannot != "" {
		return y
	}
	y.nats = &process{t: t, args: []string{"nats-server-main", "-c", filepath.Join(y.dir, "nats.conf")}}
	y.writeServer()
	all := append(y.also, y.nats)
	for i := range m.feeders {
		all = append(all, y.addFeeder(i, fake))
	}
	ctx, stop := context.WithCancel(context.Background())
	y.stop = stop
	for _, p := range all[:len(y.also)+1] {
		p.start()
	}
	if y.served != nil {
		y.served()
	}
	for _, p := range y.feeders {
		p.start()
	}
	t.Cleanup(func() {
		stop()
		y.ended.Wait()
		if y.reader != nil {
			y.reader.Close()
		}
		for _, p := range all {
			if p.done != nil {
				p.signal(syscall.SIGCONT)
				p.kill()
			}
		}
		if t.Failed() {
			for i, p := range y.feeders {
				t.Logf("feeder-%d:\n%s", i, p.out)
			}
			t.Logf("NATS:\n%s", y.nats.out)
		}
	})
	y.read(ctx)
	for _, page := range y.pages {
		y.ended.Go(func() { y.watch(ctx, page) })
	}
	return y
}

func (y *yard) addFeeder(i int, fake string) *process {
	group := ""
	if y.mode.feeders > 1 {
		group = "cluster: {group: yard, lease: 3s}"
	}
	listen := lastingAddress(y.t)
	file := filepath.Join(y.dir, fmt.Sprintf("feeder-%d.yaml", i))
	natstest.WriteFile(y.t, file, fmt.Appendf(nil, matrixConfig, fake, y.feederURL, y.credentials, y.ca, listen, y.mode.delivery, group))
	p := &process{t: y.t, args: append(append([]string{}, y.wrap...), y.program, "run", "-c", file), env: y.env}
	y.feeders, y.pages = append(y.feeders, p), append(y.pages, "http://"+listen)
	return p
}

// writeServer writes the config of the NATS server.
func (y *yard) writeServer() {
	text := fmt.Sprintf("server_name: yard\nlisten: \"%s:%s\"\n", y.host, y.port)
	for key, value := range y.server {
		text += key + ": " + value + "\n"
	}
	natstest.WriteFile(y.t, filepath.Join(y.dir, "nats.conf"), []byte(text))
}

// reload has the server read its config again.
func (y *yard) reload() {
	y.writeServer()
	y.nats.signal(syscall.SIGHUP)
}

// restart kills the server, and starts it again after something was done.
func (y *yard) restart(between func()) {
	y.kills++
	y.nats.kill()
	if between != nil {
		between()
	}
	y.writeServer()
	y.nats.start()
}

// read collects what is published, until ctx ends.
func (y *yard) read(ctx context.Context) {
	y.t.Helper()
	opts := append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.PingInterval(2 * time.Second), nats.IgnoreAuthErrorAbort(),
	}, y.readerOpts...)
	var err error
	if y.reader, err = nats.Connect(y.readerURL, opts...); err != nil {
		y.t.Fatal(err)
	}
	_, err = y.reader.Subscribe("cvf.t.>", func(m *nats.Msg) {
		if slot, err := time.Parse(time.RFC3339, m.Header.Get("Cvf-Time")); err == nil && m.Header.Get("Cvf-Gap") == "" && m.Header.Get("Cvf-Late") == "" {
			y.mu.Lock()
			y.seen[m.Subject] = append(y.seen[m.Subject], sight{slot, time.Now()})
			y.mu.Unlock()
		}
	})
	if err != nil {
		y.t.Fatal(err)
	}
	if y.mode.queue {
		y.ended.Go(func() {
			for ctx.Err() == nil {
				y.consume(ctx, time.Second)
			}
		})
	}
}

// jet returns JetStream as the reader sees it.
func (y *yard) jet() jetstream.JetStream {
	js, err := jetstream.New(y.reader)
	if err != nil {
		y.t.Error(err)
	}
	return js
}

// consume reads what a work queue holds, and returns how much that was.
func (y *yard) consume(ctx context.Context, wait time.Duration) (n int) {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := y.jet().CreateOrUpdateConsumer(limited, "cvfeeder", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second})
	if err != nil {
		<-time.After(100 * time.Millisecond)
		return 0
	}
	batch, err := c.Fetch(50, jetstream.FetchMaxWait(wait))
	if err != nil {
		return 0
	}
	for m := range batch.Messages() {
		n++
		slot, err := time.Parse(time.RFC3339, m.Headers().Get("Cvf-Time"))
		meta, e := m.Metadata()
		if err == nil && e == nil && meta.NumDelivered == 1 {
			y.mu.Lock()
			y.queue[m.Subject()] = append(y.queue[m.Subject()], sight{slot, time.Now()})
			y.mu.Unlock()
		}
		_ = m.Ack() // otherwise it comes again
	}
	return n
}

// watch asks whether a feeder is ready, until ctx ends.
func (y *yard) watch(ctx context.Context, page string) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready, body := y.ready(ctx, page); !ready {
			y.mu.Lock()
			y.unwell = append(y.unwell, illness{time.Now(), body})
			y.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ready asks whether a feeder is ready. No answer is none.
func (y *yard) ready(ctx context.Context, page string) (bool, string) {
	status, body := y.get(ctx, page+"/readyz")
	return status == http.StatusOK, body
}

// get is answer for a feeder of the yard.
func (y *yard) get(ctx context.Context, url string) (int, string) {
	return answer(ctx, url, 2*time.Second)
}

// answer returns the status and the body of a page, 0 and why not if there is none in time.
func answer(ctx context.Context, url string, limit time.Duration) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, noAnswer
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, noAnswer
	}
	return resp.StatusCode, string(body)
}

var codes = regexp.MustCompile(`(?m)^([a-z]+(_[a-z]+)+|stuck|refused|throttled|stalled|stale|dropped|gaps|starting)\b`)

// notReadySince returns the reason that a feeder gave since then for not being ready, ""
// if all were ready.
func (y *yard) notReadySince(begin time.Time) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	reason := ""
	for _, i := range y.unwell {
		if i.at.Before(begin) {
			continue
		}
		if code := codes.FindString(i.body); code != "" {
			return "`" + code + "`"
		}
		if reason == "" || reason == noAnswer {
			reason, _, _ = strings.Cut(strings.TrimPrefix(i.body, "not ready: "), "\n")
		}
	}
	return reason
}

// flowing returns a check that all feeders are ready, and that tensors of slots from then
// on arrive.
func (y *yard) flowing(from time.Time) func() string {
	return func() string {
		for _, page := range y.pages {
			if ready, why := y.ready(y.t.Context(), page); !ready {
				return why
			}
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		for _, subject := range matrixSubjects {
			seen := y.seen[subject]
			if n := len(seen); n < 5 || seen[n-1].slot.Before(from) {
				return subject + ": nothing new has come"
			}
		}
		return ""
	}
}

// await waits until a check has nothing to say.
func (y *yard) await(what string, limit time.Duration, check func() string) {
	y.t.Helper()
	deadline := time.After(limit)
	for why := check(); why != ""; why = check() {
		for i, p := range y.feeders {
			select {
			case <-p.done:
				y.t.Fatalf("%s: feeder-%d has ended: %v", what, i, p.err)
			default:
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			y.t.Fatalf("%s: not within %v: %s", what, limit, why)
		}
	}
}

// noAnswer is what a feeder says that is stopped.
const noAnswer = "no answer"

var slotMetric = regexp.MustCompile(`(?m)^cvfeeder_slots_(total|expected_total|pending)\{(?:outcome="(\w+)",)?stream="([\w-]+)"(?:,outcome="(\w+)")?\} (\S+)$`)

// finish stops the feeders, and checks that all slots are accounted for.
func (y *yard) finish() {
	y.t.Helper()
	missed, published := map[string]int{}, map[string]int{}
	for _, page := range y.pages {
		_, text := y.get(y.t.Context(), page+"/metrics")
		sum := map[string]float64{}
		for _, m := range slotMetric.FindAllStringSubmatch(text, -1) {
			value, err := strconv.ParseFloat(m[5], 64)
			if err != nil {
				y.t.Error(err)
			}
			switch outcome := m[2] + m[4]; {
			case m[1] == "expected_total":
				sum[m[3]] -= value
			case outcome == "published":
				published[m[3]] += int(value)
				sum[m[3]] += value
			case outcome != "":
				missed[m[3]] += int(value)
				sum[m[3]] += value
			default:
				sum[m[3]] += value
			}
		}
		for stream, n := range sum {
			if n != 0 {
				y.t.Errorf("%s: the sum of the outcomes is off by %v", stream, n)
			}
		}
	}
	for i, p := range y.feeders {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
			if p.err != nil {
				y.t.Errorf("feeder-%d: %v", i, p.err)
			}
		case <-time.After(smallBackWithin):
			y.t.Errorf("feeder-%d does not end", i)
		}
	}
	y.stop()
	y.ended.Wait()
	for n := 1; y.mode.queue && n > 0; {
		n = y.consume(y.t.Context(), time.Second)
	}
	for _, subject := range matrixSubjects {
		stream := strings.Split(subject, ".")[2]
		y.check(subject, missed[stream], published[stream])
	}
}

// slack is how many slots may be lost with a connection in a mode that does not
// acknowledge, or with the store that held them.
const slack = 40

// check checks the tensors of one subject: none twice, and none lost but those that the
// ledger says are.
func (y *yard) check(subject string, missed, published int) {
	y.t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	got, twice := map[int64]bool{}, 0
	var first, last int64
	note := func(seen []sight, once bool) {
		own := map[int64]bool{}
		for _, s := range seen {
			at := s.slot.UnixMilli()
			if own[at] && once {
				twice++
			}
			own[at], got[at] = true, true
			if first == 0 || at < first {
				first = at
			}
			last = max(last, at)
		}
	}
	note(y.seen[subject], !y.mode.jet) // in a stream, what was sent again is stored once
	note(y.queue[subject], !y.fault.repeats)
	if y.mode.jet && !y.mode.queue {
		held, err := y.held(subject)
		if err != nil {
			y.t.Errorf("%s: %v", subject, err)
		}
		note(held, true)
	}
	// A server that is killed forgets the identity of what was consumed before its
	// acknowledgement arrived.
	if twice > 0 && (!y.mode.queue || twice > y.kills) {
		y.t.Errorf("%s: %d slots came twice", subject, twice)
	}
	lost := int((last-first)/matrixInterval.Milliseconds()) + 1 - len(got)
	allowed := missed
	if !y.mode.durable || y.fault.loses {
		allowed += slack
	}
	if y.fault.unheard && !y.mode.jet {
		allowed += published
	}
	y.t.Logf("%s: %d came, %d did not, of which %d are told", subject, len(got), lost, missed)
	if lost > allowed {
		y.t.Errorf("%s: %d slots are lost unseen", subject, lost-allowed)
	}
}

// held returns what the stream holds on a subject.
func (y *yard) held(subject string) ([]sight, error) {
	ctx, cancel := context.WithTimeout(y.t.Context(), smallBackWithin)
	defer cancel()
	stream, err := y.jet().Stream(ctx, "cvfeeder")
	if err != nil {
		return nil, err
	}
	var all []sight
	for seq := stream.CachedInfo().State.FirstSeq; ; {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			if strings.Contains(err.Error(), "no message found") || strings.Contains(err.Error(), "message not found") {
				return all, nil
			}
			return all, err
		}
		slot, err := time.Parse(time.RFC3339, m.Header.Get("Cvf-Time"))
		if err != nil {
			return all, err
		}
		all = append(all, sight{slot, m.Time})
		seq = m.Sequence + 1
	}
}

// write writes a file of the yard in place, and returns its path.
func (y *yard) write(name, text string) string {
	y.t.Helper()
	path := filepath.Join(y.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		y.t.Error(err)
	}
	return path
}
