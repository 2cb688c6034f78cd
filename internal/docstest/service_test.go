package docstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/transform"
)

// askProgram is a program around the example in the docs.
const askProgram = `
import asyncio, json, nats

async def main():
    client = await nats.connect(%q)
%s
    print(msg.headers["Cvf-Time"], len(msg.data))

asyncio.run(main())
`

// TestPythonAsksForAFrame runs the example in docs/consumers.md twice: the service
// answers once with a frame and once with an error.
func TestPythonAsksForAFrame(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with nats-py and NumPy: `make test` makes one")
	}
	_, example, found := strings.Cut(read(t, consumers), "```py\n")
	example, _, ends := strings.Cut(example, "```\n")
	if !found || !ends || !strings.Contains(example, frames.FrameSubject) {
		t.Fatalf("docs/consumers.md has no example of %s", frames.FrameSubject)
	}
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := dial.Dial(dial.Options{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- frames.Serve(ctx, conn, frames.Options{
			Streams: func(string) (any, error) { return nil, nil },
			Frame: func(_ context.Context, r frames.Request, answer func(publish.Message) error) error {
				if r.Stream != "cam-1" {
					return &frames.Error{Code: frames.CodeNotFound, Text: "unknown stream"}
				}
				m := tensorOf(r.Output, transform.Uint8, transform.NHWC)
				m.Header[publish.HeaderTime] = []string{r.Time.Format(time.RFC3339)}
				return answer(m)
			},
		})
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	// "no responders" means that the service has not started yet.
	run := func(example string) string {
		indented := "    " + strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n    ")
		script := fmt.Sprintf(askProgram, server.ClientURL(), indented)
		for {
			out, err := exec.CommandContext(t.Context(), python, "-c", script).CombinedOutput()
			if !strings.Contains(string(out), "NoRespondersError") {
				return fmt.Sprint(string(out), err)
			}
		}
	}
	if got, want := run(example), "2026-01-02T03:04:05Z 12\n<nil>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := run(strings.Replace(example, "cam-1", "cam-9", 1)), "RuntimeError: unknown stream"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
