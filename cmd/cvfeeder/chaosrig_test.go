package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	chaosServers = 3
	chaosFeeders = 3
	chaosStreams = 6
	chaosLease   = 3 * time.Second
)

// serverConfig is that of one NATS server. Servers and clients are told of no other
// way to each other than through the proxies.
const serverConfig = `
server_name: n%d
listen: %q
jetstream: {store_dir: %q}
include %q
cluster: {
  name: chaos, listen: %q, no_advertise: true, advertise: "127.0.0.1:1", routes: [%s]
}
`

const chaosConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
cluster: {group: chaos, lease: %v}
delivery: {mode: durable, stream: {retention: limits, replicas: 3, max_bytes: 256MiB}}
streams:
%soutputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// A town is everything of the chaos test: processes, and the proxies between them.
type town struct {
	t       *testing.T
	dir     string
	servers []*process
	feeders []*process
	fake    *process
	toNATS  [][]*toxiproxy.Proxy // by feeder and server
	toFake  []*toxiproxy.Proxy   // by feeder
	routes  [][]*toxiproxy.Proxy // by server, to the others; nil for itself
	urls    []string             // of the servers themselves
	log     string               // the fake's, of requests
	access  string               // a file of the servers' config: who may do what
	clocks  []string             // by feeder, files with how far its clock is ahead; none if it cannot be set
	from    time.Time
	calm    time.Time // of the last blow
	to      time.Time
}

// newTown starts all processes, for a range that begins now.
func newTown(t *testing.T, length time.Duration) *town {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	w := &town{t: t, dir: t.TempDir()}
	w.from = time.Now().Truncate(time.Second).Add(time.Second)
	w.calm = w.from.Add(length)
	w.to = w.calm.Add(calmTime)
	fakeAddress := lastingAddress(w.t)
	w.log = filepath.Join(w.dir, "requests")
	w.fake = w.process(nil, "cvfeeder", "fake", "--listen", fakeAddress, "--streams", fmt.Sprint(chaosStreams),
		"--size", "320x180", "--fragment", "1s", "--requests", w.log)
	w.startServers()
	for i := range chaosFeeders {
		w.addFeeder(i, fakeAddress)
	}
	for _, p := range w.processes() {
		p.start()
	}
	t.Cleanup(func() {
		for _, p := range w.processes() {
			p.kill()
		}
	})
	return w
}

// lastingAddress returns an address of loopback that nobody listens on. It is none that
// the system gives to somebody who connects, so that a program that is killed finds it free
// when it is started again.
func lastingAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err != nil {
			continue
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
}

func (w *town) processes() []*process {
	all := append([]*process{w.fake}, w.servers...)
	return append(all, w.feeders...)
}

func (w *town) process(env []string, args ...string) *process {
	return &process{t: w.t, args: args, env: env}
}

// startServers makes the NATS servers' programs and configs.
func (w *town) startServers() {
	program := filepath.Join(w.dir, "nats-server")
	build := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %v\n%s", build, err, out)
	}
	w.access = filepath.Join(w.dir, "access.conf")
	w.write(w.access, allAllowed)
	var clients, routes []string
	for range chaosServers {
		clients, routes = append(clients, lastingAddress(w.t)), append(routes, lastingAddress(w.t))
	}
	for i := range chaosServers {
		others := make([]*toxiproxy.Proxy, chaosServers)
		var urls []string
		for j := range chaosServers {
			if j != i {
				others[j] = w.proxy(routes[j])
				urls = append(urls, fmt.Sprintf("%q", "nats://"+others[j].Listen))
			}
		}
		w.routes = append(w.routes, others)
		w.urls = append(w.urls, "nats://reader:pw@"+clients[i])
		file := filepath.Join(w.dir, fmt.Sprintf("n%d.conf", i))
		w.write(file, fmt.Sprintf(serverConfig, i, clients[i], filepath.Join(w.dir, fmt.Sprint("store", i)), "access.conf", routes[i], strings.Join(urls, ", ")))
		w.servers = append(w.servers, w.process(nil, program, "-c", file))
	}
}

func (w *town) addFeeder(i int, fake string) {
	var proxies []*toxiproxy.Proxy
	var urls []string
	for _, url := range w.urls {
		p := w.proxy(strings.TrimPrefix(url, "nats://reader:pw@"))
		proxies, urls = append(proxies, p), append(urls, "nats://feeder:pw@"+p.Listen)
	}
	w.toNATS = append(w.toNATS, proxies)
	w.toFake = append(w.toFake, w.proxy(fake))
	var streams strings.Builder
	for n := range chaosStreams {
		fmt.Fprintf(&streams, "  - {name: cam-%d, interval: %v, from: %q, to: %q, outputs: [small]}\n",
			n+1, chaosInterval(n), w.from.UTC().Format(time.RFC3339), w.to.UTC().Format(time.RFC3339))
	}
	file := filepath.Join(w.dir, fmt.Sprintf("feeder-%d.yaml", i))
	w.write(file, fmt.Sprintf(chaosConfig, "http://"+w.toFake[i].Listen, strings.Join(urls, ","), chaosLease, streams.String()))
	env, program := []string{fmt.Sprintf("AWS_SDK_UA_APP_ID=feeder-%d", i)}, "cvfeeder"
	if own := programWithClock(w.t); own != "" {
		clock := filepath.Join(w.dir, fmt.Sprintf("clock-%d", i))
		w.write(clock, "0")
		w.clocks, env, program = append(w.clocks, clock), append(env, clockVariable+"="+clock), own
	}
	w.feeders = append(w.feeders, w.process(env, program, "run", "-c", file))
}

// chaosInterval returns that of a stream.
func chaosInterval(n int) time.Duration { return time.Duration(1+n%3) * 200 * time.Millisecond }

func (w *town) write(file, text string) {
	w.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) proxy(upstream string) *toxiproxy.Proxy {
	w.t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "link", "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Stop)
	return p
}

// A blow is what happens to one part, until it is over.
type blow struct {
	what string
	hit  func()
	heal func()
}

// killed is a blow by which a process is killed, and started again.
func killed(name string, p *process) blow {
	return blow{"kill -9 " + name, p.kill, p.start}
}

// paused is a blow by which a process is stopped, and continued.
func paused(name string, p *process) blow {
	return blow{"SIGSTOP " + name, func() { p.signal(syscall.SIGSTOP) }, func() { p.signal(syscall.SIGCONT) }}
}

// cut is a blow by which links break, or by which nothing more comes through.
func (w *town) cut(name string, hole bool, links ...*toxiproxy.Proxy) blow {
	if !hole {
		return blow{"break " + name, func() {
			for _, l := range links {
				l.Stop()
			}
		}, func() {
			for _, l := range links {
				if err := l.Start(); err != nil {
					w.t.Error(err)
				}
			}
		}}
	}
	ways := []string{"upstream", "downstream"}
	return blow{"black hole " + name, func() {
		for _, l := range links {
			for _, way := range ways {
				toxic := fmt.Sprintf(`{"name":%q,"type":"timeout","stream":%q,"attributes":{"timeout":0}}`, way, way)
				if _, err := l.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
					w.t.Error(err)
				}
			}
		}
	}, func() {
		for _, l := range links {
			for _, way := range ways {
				if err := l.Toxics.RemoveToxic(w.t.Context(), way); err != nil {
					w.t.Error(err)
				}
			}
		}
	}}
}

// toFeeder returns one of the blows that a feeder may get.
func (w *town) toFeeder(i int, rng *rand.Rand) blow {
	name := fmt.Sprintf("feeder-%d", i)
	hole := rng.IntN(2) == 0
	switch rng.IntN(6) {
	case 0, 1:
		return killed(name, w.feeders[i])
	case 2:
		return paused(name, w.feeders[i])
	case 3:
		return w.cut(name+" to NATS", hole, w.toNATS[i]...)
	case 4:
		return w.clockOff(name, i, rng)
	default:
		return w.cut(name+" to Kinesis", hole, w.toFake[i])
	}
}

// toServers returns one of the blows that a NATS server may get.
func (w *town) toServers(rng *rand.Rand) blow {
	i := rng.IntN(len(w.servers))
	name := fmt.Sprintf("n%d", i)
	hole := rng.IntN(2) == 0
	switch rng.IntN(4) {
	case 0:
		return killed(name, w.servers[i])
	case 1:
		return paused(name, w.servers[i])
	case 2:
		return busy(name, w.servers[i])
	default:
		var links []*toxiproxy.Proxy
		for j := range w.servers {
			if j != i {
				links = append(links, w.routes[i][j], w.routes[j][i])
			}
		}
		return w.cut(name+" from the other servers", hole, links...)
	}
}

// toTheBucket returns one of the ways in which the bucket of the leases is lost.
func (w *town) toTheBucket(rng *rand.Rand) blow {
	what, lose := "the bucket is deleted", func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteStream(ctx, "KV_cvf_lease")
	}
	if rng.IntN(2) == 0 {
		what, lose = "the keys of the bucket are deleted", func(ctx context.Context, js jetstream.JetStream) error {
			stream, err := js.Stream(ctx, "KV_cvf_lease")
			if err != nil {
				return err
			}
			return stream.Purge(ctx)
		}
	}
	return blow{what, func() {
		nc, err := nats.Connect(strings.Join(w.urls, ","), nats.RetryOnFailedConnect(true))
		if err != nil {
			w.t.Error(err)
			return
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			w.t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), chaosLease)
		defer cancel()
		if err := lose(ctx, js); err != nil {
			w.t.Logf("%s: not this time: %v", what, err) // the servers may be away
		}
	}, func() {}}
}

func (w *town) toTheFake(rng *rand.Rand) blow {
	if rng.IntN(2) == 0 {
		return killed("the fake", w.fake)
	}
	return paused("the fake", w.fake)
}

// rage lets each feeder, the servers one at a time, and the fake get blows from chance
// until end, and heals them all. The sequence for each is decided by the seed.
func (w *town) rage(seed uint64, end time.Time) (blows map[string]int) {
	blows = map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	suffer := func(number uint64, every, most time.Duration, next func(*rand.Rand) blow) {
		rng := rand.New(rand.NewPCG(seed, number))
		all.Go(func() {
			for until(end, every/2+time.Duration(rng.Int64N(int64(every)))) {
				b := next(rng)
				begin := time.Now()
				b.hit()
				until(end, 200*time.Millisecond+time.Duration(rng.Int64N(int64(most))))
				b.heal()
				w.t.Logf("%6.2fs %s, for %v", time.Since(w.from).Seconds(), b.what, time.Since(begin).Round(time.Millisecond))
				mu.Lock()
				blows[b.what]++
				mu.Unlock()
			}
		})
	}
	for i := range w.feeders {
		suffer(uint64(i), 5*time.Second, 3*chaosLease, func(rng *rand.Rand) blow {
			w.revive(w.feeders[i])
			return w.toFeeder(i, rng)
		})
	}
	suffer(100, 7*time.Second, 2*chaosLease, w.toServers)
	suffer(101, 15*time.Second, chaosLease, w.toTheFake)
	suffer(102, 25*time.Second, chaosLease, w.toTheBucket)
	suffer(103, 40*time.Second, 2*chaosLease, w.toTheUser)
	all.Wait()
	return blows
}

// until waits for d, and tells whether end has not come before.
func until(end time.Time, d time.Duration) bool {
	left := time.Until(end)
	<-time.After(min(d, max(left, 0)))
	return left > d
}

// A request is one of the fake's log.
type request struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client"`
	Operation string    `json:"operation"`
	Stream    string    `json:"stream"`
}

// requests reads the fake's log of GetImages, by stream.
func requests(t *testing.T, file string) map[string][]request {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all := map[string][]request{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if r.Operation == "GetImages" {
			all[r.Stream] = append(all[r.Stream], r)
		}
	}
	return all
}

// A tenure is a time in which a client asked for a stream again and again.
type tenure struct {
	client      string
	first, last time.Time
}

// overlap returns the longest time for which two clients asked for a stream both. A
// client that pauses for a lease has begun anew.
func overlap(asked []request, lease time.Duration) time.Duration {
	var tenures []*tenure
	current := map[string]*tenure{}
	longest := time.Duration(0)
	for _, r := range asked {
		own := current[r.Client]
		if own == nil || r.Time.Sub(own.last) > lease {
			own = &tenure{r.Client, r.Time, r.Time}
			current[r.Client] = own
			tenures = append(tenures, own)
		}
		own.last = r.Time
	}
	for i, a := range tenures {
		for _, b := range tenures[i+1:] {
			begin, end := a.first, a.last
			if b.first.After(begin) {
				begin = b.first
			}
			if b.last.Before(end) {
				end = b.last
			}
			if a.client != b.client {
				longest = max(longest, end.Sub(begin))
			}
		}
	}
	return longest
}
