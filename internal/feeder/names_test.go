package feeder_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestNamesOnce: what is told of a stream that cannot be read names it once, and the cause
// follows at once, in the log, in the answer to whoever asks for a frame, and where the
// process ends.
func TestNamesOnce(t *testing.T) {
	t.Parallel()
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}, Intercept: func(req kinesistest.Request) *kinesistest.ErrorResponse {
		if req.Stream == "cam-2" && req.Operation == "GetImages" {
			return &kinesistest.ErrorResponse{Status: http.StatusForbidden, Code: "UnrecognizedClientException", Message: "invalid token"}
		}
		return nil
	}})
	o, log := options(t, readinessConfig, r.FakeURL, r.NATSURL, health.All)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const told = `reason=refused`
	o.Started = func(ctx context.Context, _ feeder.Running) {
		defer cancel()
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil && !strings.Contains(log.String(), told); {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`.*` + told + `.*`).FindString(log.String())
	if !strings.Contains(line, `err="AWS does not know the access key`) || strings.Count(line, "cam-2") != 1 {
		t.Errorf("the log says %q in\n%s", line, log)
	}

	all, _ := options(t, strings.Replace(readinessConfig, "  - {name: cam-1, interval: 200ms, outputs: [small]}\n", "", 1), r.FakeURL, r.NATSURL, health.All)
	err := feeder.New(all).Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "stream cam-2: refused: AWS does not know the access key") || strings.Count(err.Error(), "cam-2") != 1 {
		t.Errorf("where all streams are refused: %v", err)
	}
}
