package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// A fault is something that goes wrong around a feeder, until it is over.
type fault struct {
	// name is that of the test, title what the table says.
	name, title string
	// prepare changes the yard before anything is started.
	prepare func(*yard)
	strike  func(*yard)
	heal    func(*yard) // nil if the fault is over at once
	// hold is how long it lasts at least.
	hold time.Duration
	// without returns why there is no such fault in a mode, "" if there is.
	without func(mode) string
	// breaks tells whether tensors cannot be delivered meanwhile.
	breaks func(mode) bool
	// quiet tells whether nothing is to be told, as nothing is affected.
	quiet func(mode) bool
	// loses says that what the server held is lost; repeats that consumers get again what
	// they had got; unheard that nobody may be able to listen meanwhile.
	loses, repeats, unheard bool
}

func always(mode) bool      { return true }
func jetStream(m mode) bool { return m.jet }
func nothing(mode) string   { return "" }

func needsStream(m mode) string {
	if !m.jet {
		return "no stream"
	}
	return ""
}

func needsBucket(m mode) string {
	if !m.durable {
		return "no bucket"
	}
	return ""
}

// bucket returns the JetStream stream of the bucket with the cursors.
func (m mode) bucket() string {
	if m.feeders > 1 {
		return "KV_cvf_lease"
	}
	return "KV_cvf_cursor"
}

// storeDir is where the server keeps its streams.
func (y *yard) storeDir() string { return filepath.Join(y.dir, "store") }

// js calls JetStream with a deadline.
func (y *yard) js(what string, do func(context.Context, jetstream.JetStream) error) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), smallBackWithin)
	defer cancel()
	for {
		err := do(ctx, y.jet())
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			y.t.Errorf("%s: %v", what, err)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func faults() []fault {
	all := append(storeFaults(), serverFaults()...)
	all = append(all, accessFaults()...)
	all = append(all, hostFaults()...)
	for i := range all {
		if all[i].without == nil {
			all[i].without = nothing
		}
	}
	return all
}

// storeFaults are those of what the server stores.
func storeFaults() []fault {
	return []fault{
		{name: "store wiped", title: "store wiped", loses: true, repeats: true, strike: func(y *yard) {
			y.restart(func() { _ = os.RemoveAll(y.storeDir()) })
		}},
		{name: "stream deleted", title: "stream deleted", loses: true, repeats: true, without: needsStream, strike: func(y *yard) {
			y.js("deleting the stream", func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "cvfeeder") })
		}},
		{name: "bucket deleted", title: "bucket deleted", without: needsBucket, hold: 6 * time.Second, strike: func(y *yard) {
			y.js("deleting the bucket", func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, y.mode.bucket()) })
		}},
		{name: "keys deleted", title: "keys of the bucket deleted", without: needsBucket, hold: 6 * time.Second, strike: func(y *yard) {
			y.js("deleting the keys", func(ctx context.Context, js jetstream.JetStream) error {
				stream, err := js.Stream(ctx, y.mode.bucket())
				if err != nil {
					return err
				}
				return stream.Purge(ctx)
			})
		}},
		{name: "store rolled back", title: "store rolled back by 8 s", repeats: true, strike: func(y *yard) {
			saved := filepath.Join(y.dir, "saved")
			_ = os.CopyFS(saved, os.DirFS(y.storeDir())) // files may go while they are copied
			pause(8 * time.Second)
			y.restart(func() {
				_ = os.RemoveAll(y.storeDir())
				if err := os.CopyFS(y.storeDir(), os.DirFS(saved)); err != nil {
					y.t.Error(err)
				}
			})
		}},
		{
			name: "account limits", title: "account limits reached", without: needsStream, breaks: always, prepare: accounts("{max_mem: 128MB, max_file: 128MB}"),
			hold: 8 * time.Second, strike: func(y *yard) { y.fill() },
			heal: func(y *yard) {
				y.js("deleting what fills the account", func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "filler") })
			},
		},
		{name: "disk full", title: "disk full", breaks: func(m mode) bool { return m.durable }, prepare: func(y *yard) {
			if err := os.Mkdir(y.storeDir(), 0o700); err != nil {
				y.t.Fatal(err)
			}
			if err := syscall.Mount("tmpfs", y.storeDir(), "tmpfs", 0, "size=256m"); err != nil {
				y.cannot = "a small disk cannot be mounted"
				return
			}
			y.t.Cleanup(func() { _ = syscall.Unmount(y.storeDir(), syscall.MNT_DETACH) })
		}, hold: 5 * time.Second, strike: func(y *yard) {
			f, err := os.Create(filepath.Join(y.storeDir(), "filler"))
			if err != nil {
				y.t.Error(err)
				return
			}
			defer func() { _ = f.Close() }()
			for err == nil {
				_, err = f.Write(make([]byte, 4096))
			}
		}, heal: func(y *yard) { // a server that had no room has to be started again
			y.restart(func() { _ = os.Remove(filepath.Join(y.storeDir(), "filler")) })
		}},
	}
}

// accounts has the yard's users be those of an account that has limits, in which one
// permission can be taken away.
func accounts(limits string) func(*yard) {
	return func(y *yard) {
		y.server["accounts"] = fmt.Sprintf(`{CAMS: {jetstream: %s, users: [{user: reader, password: pw}, {user: feeder, password: pw}]}}`, limits)
		y.feederURL = strings.Replace(y.feederURL, "nats://", "nats://feeder:pw@", 1)
		y.readerURL = strings.Replace(y.readerURL, "nats://", "nats://reader:pw@", 1)
	}
}

// fill uses up all room of the account.
func (y *yard) fill() {
	storage := jetstream.FileStorage
	if !y.mode.durable {
		storage = jetstream.MemoryStorage
	}
	y.js("making a stream that fills the account", func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "filler", Subjects: []string{"filler"}, Storage: storage})
		return err
	})
	for _, size := range []int{900_000, 100} {
		for err := error(nil); err == nil; {
			_, err = y.jet().Publish(y.t.Context(), "filler", make([]byte, size))
			if err != nil {
				y.t.Logf("the account takes no more messages of %d bytes: %v", size, err)
			}
		}
	}
}

// serverFaults are those of the server.
func serverFaults() []fault {
	return []fault{
		{
			name: "max_payload", title: "replaced by a server with a smaller max_payload", breaks: always, hold: 5 * time.Second,
			strike: func(y *yard) { y.server["max_payload"] = "3000"; y.restart(nil) },
			heal:   func(y *yard) { y.server["max_payload"] = "1MB"; y.restart(nil) },
		},
		{
			name: "max_payload reloaded", title: "max_payload lowered, and raised, by a reload", breaks: always, hold: 5 * time.Second,
			strike: func(y *yard) { y.server["max_payload"] = "3000"; y.reload() },
			heal:   func(y *yard) { y.server["max_payload"] = "1MB"; y.reload() },
		},
		{
			name: "leaf cut", title: "leaf node cut from its hub", breaks: jetStream, hold: 15 * time.Second, unheard: true, prepare: prepareLeaf,
			strike: func(y *yard) { y.link.Stop() },
			heal: func(y *yard) {
				if err := y.link.Start(); err != nil {
					y.t.Error(err)
				}
			},
		},
		{name: "busy", title: "NATS at 100% CPU: runs 2% of the time", hold: 10 * time.Second, quiet: always, strike: func(y *yard) {
			done := make(chan struct{})
			y.state = done
			y.ended.Go(func() {
				for {
					y.nats.signal(syscall.SIGSTOP)
					pause(490 * time.Millisecond)
					y.nats.signal(syscall.SIGCONT)
					select {
					case <-done:
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
			})
		}, heal: func(y *yard) { close(y.state.(chan struct{})) }},
		{
			name: "dns", title: "NATS moves, and its DNS name follows", breaks: always, hold: 5 * time.Second, prepare: prepareDNS,
			strike: func(y *yard) { y.host = "127.0.0.2"; y.restart(nil) },
			heal:   func(y *yard) { y.write("hosts", "127.0.0.2 nats.matrix\n") },
		},
	}
}

// prepareLeaf has the feeders connect to a leaf node without JetStream.
func prepareLeaf(y *yard) {
	_, hub, _ := strings.Cut(lastingAddress(y.t), ":")
	_, leaf, _ := strings.Cut(lastingAddress(y.t), ":")
	// Otherwise the leaf learns the hub's own address, and goes round the proxy that is cut.
	y.server["leafnodes"] = fmt.Sprintf(`{listen: "127.0.0.1:%s", no_advertise: true}`, hub)
	const domain = `{"$G": ""}` // JetStream is the hub's
	y.server["default_js_domain"] = domain
	y.link = natstest.NewProxy(y.t, "127.0.0.1:"+hub)
	conf := fmt.Sprintf("server_name: leaf\nlisten: \"127.0.0.1:%s\"\nleafnodes: {reconnect: 1, remotes: [{url: \"nats-leaf://%s\"}]}\ndefault_js_domain: %s\n", leaf, y.link.Listen, domain)
	y.also = append(y.also, &process{t: y.t, args: []string{"nats-server-main", "-c", y.write("leaf.conf", conf)}})
	y.feederURL = "nats://127.0.0.1:" + leaf
	y.served = func() { // the leaf has found its hub
		natstest.Within(y.t, func() error {
			nc, err := nats.Connect(y.feederURL)
			if err != nil {
				return err
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err == nil {
				_, err = js.AccountInfo(y.t.Context())
			}
			return err
		})
	}
}

// prepareDNS has the feeders find the server by a name, which is of a file of their own.
func prepareDNS(y *yard) {
	hosts := y.write("hosts", "127.0.0.1 nats.matrix\n")
	if out, err := exec.Command("unshare", "-m", "mount", "--bind", hosts, "/etc/hosts").CombinedOutput(); err != nil {
		y.cannot = "a process cannot have a hosts file of its own"
		y.t.Logf("%v: %s", err, out)
		return
	}
	y.wrap = []string{"unshare", "-m", "sh", "-c", fmt.Sprintf(`mount --bind %q /etc/hosts && exec "$@"`, hosts), "sh"}
	y.feederURL = "nats://nats.matrix:" + y.port
	y.readerURL += ",nats://127.0.0.2:" + y.port
}

// accessFaults are those of who may do what.
func accessFaults() []fault {
	return []fault{
		{
			name: "permissions taken", title: "permissions taken away and given back", breaks: always, hold: 5 * time.Second, prepare: accounts("enabled"),
			strike: func(y *yard) {
				open := y.server["accounts"]
				y.state = open
				y.server["accounts"] = strings.Replace(open, "user: feeder, password: pw", `user: feeder, password: pw, permissions: {publish: {deny: ["cvf.>", "$JS.>", "$KV.>"]}}`, 1)
				y.reload()
			},
			heal: func(y *yard) { y.server["accounts"] = y.state.(string); y.reload() },
		},
		{name: "certificate", title: "TLS certificate renewed after it has ended", breaks: always, hold: 5 * time.Second, prepare: func(y *yard) {
			authority := natstest.NewAuthority(y.t)
			y.state, y.ca = authority, authority.File
			y.certify(authority)
			y.readerOpts = append(y.readerOpts, nats.RootCAs(authority.File))
			y.feederURL = strings.Replace(y.feederURL, "nats://", "tls://", 1)
			y.readerURL = y.feederURL
		}, strike: func(y *yard) { // by somebody whom nobody knows
			y.certify(natstest.NewAuthority(y.t))
			y.restart(nil)
		}, heal: func(y *yard) {
			y.certify(y.state.(*natstest.Authority))
			y.restart(nil)
		}},
		{
			name: "credentials", title: "credentials file replaced after it has ended", breaks: always, prepare: prepareCredentials, hold: 5 * time.Second,
			strike: func(y *yard) { y.state.(*operator).expire() },
			heal:   func(y *yard) { y.write("feeder.creds", y.state.(*operator).user(y, time.Hour)) },
		},
	}
}

// certify gives the server another certificate.
func (y *yard) certify(a *natstest.Authority) {
	cert, key := a.Sign(y.t, fmt.Sprint("server", rand.Uint32()))
	y.server["tls"] = fmt.Sprintf("{cert_file: %q, key_file: %q}", cert, key)
}

// An operator signs the feeder's credentials.
type operator struct {
	account, feeder nkeys.KeyPair
	ends            time.Time
}

// credentialsFor is how long the first credentials are good.
const credentialsFor = 40 * time.Second

func prepareCredentials(y *yard) {
	key, text := natstest.Must[nkeys.KeyPair](y.t), natstest.Must[string](y.t)
	op, sys, account := key(nkeys.CreateOperator()), key(nkeys.CreateAccount()), key(nkeys.CreateAccount())
	claims := jwt.NewOperatorClaims(text(op.PublicKey()))
	claims.SystemAccount = text(sys.PublicKey())
	preload := ""
	for _, pair := range []nkeys.KeyPair{sys, account} {
		ac := jwt.NewAccountClaims(text(pair.PublicKey()))
		if pair == account {
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
		}
		preload += fmt.Sprintf("%s: %q\n", text(pair.PublicKey()), text(ac.Encode(op)))
	}
	o := &operator{account: account, feeder: key(nkeys.CreateUser()), ends: time.Now().Add(credentialsFor)}
	y.state = o
	y.server["operator"] = fmt.Sprintf("%q", text(claims.Encode(op)))
	y.server["resolver"], y.server["resolver_preload"] = "MEMORY", "{\n"+preload+"}"
	y.credentials = y.write("feeder.creds", o.user(y, credentialsFor))
	reader := *o
	reader.feeder = key(nkeys.CreateUser())
	y.readerOpts = append(y.readerOpts, nats.UserCredentials(y.write("reader.creds", reader.user(y, time.Hour))))
}

// user returns credentials that are good for so long.
func (o *operator) user(y *yard, length time.Duration) string {
	text := natstest.Must[string](y.t)
	claims := jwt.NewUserClaims(text(o.feeder.PublicKey()))
	claims.Expires = time.Now().Add(length).Unix()
	seed, err := o.feeder.Seed()
	if err != nil {
		y.t.Fatal(err)
	}
	return string(natstest.Must[[]byte](y.t)(jwt.FormatUserConfig(text(claims.Encode(o.account)), seed)))
}

// expire waits until the first credentials are not good any more.
func (o *operator) expire() { pause(time.Until(o.ends.Add(2 * time.Second))) }

// hostFaults are those of the machine that the feeder runs on.
func hostFaults() []fault {
	all := []fault{
		{
			name: "stopped", title: "process stopped for two minutes (SIGSTOP)", breaks: always, hold: 2 * time.Minute,
			strike: func(y *yard) { y.feeders[0].signal(syscall.SIGSTOP) },
			heal:   func(y *yard) { y.feeders[0].signal(syscall.SIGCONT) },
		},
	}
	for _, by := range []time.Duration{time.Minute, -time.Minute, time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		all = append(all, fault{
			name: "clock " + by.String(), title: fmt.Sprintf("the host's clock jumps by %v", by),
			prepare: prepareClock, hold: 6 * time.Second,
			strike: func(y *yard) { y.write("clock", fmt.Sprint(int(by.Seconds()))) },
			heal:   func(y *yard) { y.write("clock", "0") },
		})
	}
	return all
}
