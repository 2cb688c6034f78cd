package feeder

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestRowDecoderIsTurnedOffByTheEnvironment(t *testing.T) {
	for value, want := range map[string]struct {
		off      bool
		log, err string
	}{
		"":    {},
		"on":  {},
		"off": {off: true, log: "the row decoder is off"},
		"OFF": {err: `CVFEEDER_ROW_DECODER is "OFF" in the environment: it must be on or off`},
	} {
		t.Setenv("CVFEEDER_ROW_DECODER", value)
		var log bytes.Buffer
		f := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		o, err := f.decoder()
		if o.NoRowDecoder != want.off || (err != nil) != (want.err != "") || err != nil && err.Error() != want.err {
			t.Errorf("%q: %+v, %v", value, o, err)
		}
		if !strings.Contains(log.String(), want.log) || want.log == "" && log.Len() > 0 {
			t.Errorf("%q: log %q, want %q", value, log.String(), want.log)
		}
	}
}
