package kinesis

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/smithy-go/logging"
)

func TestSDKLogger(t *testing.T) {
	var out bytes.Buffer
	log := sdkLogger(slog.New(slog.NewTextHandler(&out, nil)))
	log.Logf(logging.Warn, "profile %s is odd", "a")
	log.Logf(logging.Debug, "a request")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="the AWS SDK reports" text="profile a is odd"`) {
		t.Error(got)
	}
	sdkLogger(nil).Logf(logging.Warn, "nobody hears")
}
