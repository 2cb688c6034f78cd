package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cvfeeder": main, "nats-server": natsServer, "nats-server-main": natsServerMain})
}

// TestScripts runs the program as a user does. Besides testscript's own commands
// there are
//
//	fake [grey]     start the fake service and set FAKE to its URL; pictures cost nothing if all are grey
//	nats [BYTES]    start a NATS server, with this max_payload, and set NATS
//	listen          subscribe to all tensors of that server
//	restricted SUBJECT…  the same, for a user who may publish to these only, and
//	                read nothing but answers
//	port NAME       set NAME to an address of loopback that nobody listens on
//	minutesago NAME N   set NAME to that time, to the whole minute
//	exits CODE ARG… run cvfeeder, which must end with this code
//	poll URL REGEX  get URL until its body matches
//
// PICTURES is a directory of JPEGs and PNGs.
func TestScripts(t *testing.T) {
	pictures, err := filepath.Abs("../../transform/opencv/testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("AWS_ACCESS_KEY_ID", kinesistest.AccessKey)
			e.Setenv("AWS_SECRET_ACCESS_KEY", kinesistest.SecretKey)
			e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			e.Setenv("PICTURES", pictures)
			e.Setenv("AWS_CA_BUNDLE", os.Getenv("AWS_CA_BUNDLE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fake":       startFake,
			"nats":       startNATS,
			"listen":     listen,
			"restricted": startRestricted,
			"port":       freePort,
			"exits":      exits,
			"minutesago": minutesAgo,
			"poll":       pollURL,
		},
	})
}

func startFake(ts *testscript.TestScript, _ bool, args []string) {
	var o kinesistest.Options
	if slices.Contains(args, "grey") {
		o.Scene = greyScene{}
	}
	srv, err := kinesistest.New(o)
	ts.Check(err)
	endpoint, err := srv.Start("127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = endpoint.Close() })
	ts.Setenv("FAKE", endpoint.URL)
}

// greyScene is always the same grey picture.
type greyScene struct{}

func (greyScene) Key(string, time.Time) string { return "" }

func (greyScene) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 1280, 720)), nil
}

func startNATS(ts *testscript.TestScript, _ bool, args []string) {
	o := embedded.Options{Listen: "127.0.0.1:0"}
	if len(args) == 1 {
		var err error
		o.MaxPayload, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	srv, err := embedded.Start(o)
	ts.Check(err)
	ts.Defer(srv.Shutdown)
	ts.Setenv("NATS", srv.ClientURL())
}

// listen subscribes to all tensors of the server that nats has started.
func listen(ts *testscript.TestScript, _ bool, _ []string) {
	sub, err := consume.Subscribe(dial.Options{URL: ts.Getenv("NATS")}, "cvf.t.>")
	ts.Check(err)
	ts.Defer(sub.Close)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(sub.WaitConnected(ctx))
}

func startRestricted(ts *testscript.TestScript, _ bool, subjects []string) {
	account := server.NewAccount("CAMS")
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		Accounts: []*server.Account{account},
		Users: []*server.User{{Username: "feeder", Password: "pw", Account: account, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: subjects},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}},
	})
	ts.Check(err)
	srv.Start()
	ts.Defer(func() { srv.Shutdown(); srv.WaitForShutdown() })
	ts.Setenv("NATS", strings.Replace(srv.ClientURL(), "//", "//feeder:pw@", 1))
}

func freePort(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], freeAddress(func(err ...any) { ts.Fatalf("%v", err) }))
}

// freeAddress returns an address of loopback that nobody listens on. Its port is below
// those that systems take for outgoing connections, one of which could otherwise get it
// before the program does.
func freeAddress(fail func(...any)) string {
	var err error
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 10_000+rand.N(20_000))
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			if err = l.Close(); err == nil {
				return address
			}
		}
	}
	fail(err)
	return ""
}

func minutesAgo(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	at := time.Now().Add(-time.Duration(n) * time.Minute).Truncate(time.Minute)
	ts.Setenv(args[0], at.UTC().Format(time.RFC3339))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("cvfeeder", args[1:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if got := fmt.Sprint(code); got != args[0] {
		ts.Fatalf("exit code %s, want %s (%v)", got, args[0], err)
	}
}

func pollURL(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	body := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		if body = fetch(args[0]); want.MatchString(body) {
			return
		}
	}
	ts.Fatalf("GET %s never matched %s, but was last\n%s", args[0], args[1], body)
}

// fetch returns the status and the body, or the error.
func fetch(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d\n%s", resp.StatusCode, body)
}
