package kinesistest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestBoto3Accepts needs a Python with the packages of
// clients/python/requirements-test.txt.
func TestBoto3Accepts(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with boto3: `make test` makes one")
	}
	now := time.Now()
	srv, err := kinesistest.New(kinesistest.Options{
		Scene: small(t),
		Streams: []kinesistest.Stream{
			{Name: "cam-1"},
			{Name: "off", Retention: -1},
			{Name: "denied"},
			{Name: "audio", Faults: &kinesistest.Faults{MediaErrors: 1}},
			{Name: "busy", Faults: &kinesistest.Faults{Throttle: true}},
			{Name: "creating"},
			{Name: "deleting"},
			{Name: "updating"},
			{Name: "expired"},
			{Name: "hasty", Faults: &kinesistest.Faults{TokenLife: time.Millisecond}},
			{Name: "outage", Outages: []kinesistest.Interval{{From: now.Add(-time.Hour), To: now.Add(time.Hour)}}},
		},
		Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			switch r.Stream {
			case "denied":
				return kinesistest.NotAuthorized("kinesisvideo:" + r.Operation)
			case "expired":
				return kinesistest.ExpiredCredentials()
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"creating", "deleting", "updating"} {
		srv.SetStatus(status, strings.ToUpper(status))
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := endpoint.Close(); err != nil {
			t.Error(err)
		}
	}()
	out, err := exec.CommandContext(t.Context(), python, "-B", "testdata/boto3_accepts.py", endpoint.URL).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "all is as boto3 wants it\n") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
