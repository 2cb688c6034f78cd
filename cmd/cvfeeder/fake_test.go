package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
)

func fakeArgs(args ...string) []string { return append([]string{"fake", "--size", "320x180"}, args...) }

func TestFakeServesUntilStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := newCommand()
	cmd.SetArgs(fakeArgs("--listen", "127.0.0.1:0", "--streams", "2", "--delay", "0",
		"--faults", "late=0.1,slow,slow=0", "--seed", "7", "--retention", "90m", "--fragment-max", "3s"))
	out, in := io.Pipe()
	cmd.SetOut(in)
	done := make(chan error, 1)
	go func() {
		done <- cmd.ExecuteContext(ctx)
		_ = in.Close()
	}()
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Stop it") {
		text.WriteString(lines.Text() + "\n")
	}
	for _, want := range []string{"us-east-1", "AWS_ACCESS_KEY_ID=test", "cam-1 to cam-2", "endpoint: http://127.0.0.1:", "faults   late=0.1\n", "seed     7\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
	first, _, _ := strings.Cut(text.String(), "\n")
	url := first[strings.LastIndexByte(first, ' ')+1:]
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/listStreams", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	transport.CloseIdleConnections()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("an unsigned request got %s", resp.Status)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped: %v", err)
	}
}

func TestFakeRefuses(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct {
		flag, value, want string
		usage             bool
	}{
		{"--listen", taken.Addr().String(), "in use", false},
		{"--listen", "9178", "127.0.0.1:9178", true},
		{"--streams", "0", "from 1 to", true},
		{"--size", "wide", "1280x720", true},
		{"--size", "-1x720", "1280x720", true},
		{"--size", "1280x720x3", "1280x720", true},
		{"--size", "100x100", "320x180", true},
		{"--fragment", "1ms", "200ms", true},
		{"--delay", "-1s", "negative", true},
		{"--fragment-max", "1s", "from --fragment, 2s,", true},
		{"--fragment-max", "2m", "to 1m0s", true},
		{"--retention", "0", "at least 1s", true},
		{"--faults", "late=2", "--faults: late=2: it must be a share from 0 to 1", true},
		{"--faults", "chaos", "none of the faults: all, jitter", true},
		{"--video", "/nowhere/a.mp4", "/nowhere/a.mp4", true},
	} {
		cmd := newCommand()
		cmd.SetArgs(fakeArgs(tt.flag, tt.value))
		err := cmd.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || (feeder.ExitCode(err) == feeder.ExitUsage) != tt.usage {
			t.Errorf("%s %s: %v, want %q", tt.flag, tt.value, err, tt.want)
		}
	}
}
