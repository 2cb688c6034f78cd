package feeder

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// TestSwitches: only "on" and "off" are understood, everything is on by default, and the
// log says what is off.
func TestSwitches(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        Switches
		fails       bool
		logs        string
	}{
		{rowDecoderVariable, "", Switches{DirectWrites: true, RowDecoder: true}, false, ""},
		{rowDecoderVariable, "on", Switches{DirectWrites: true, RowDecoder: true}, false, ""},
		{rowDecoderVariable, "off", Switches{DirectWrites: true}, false, "row decoder is off"},
		{rowDecoderVariable, "no", Switches{}, true, ""},
		{directWritesVariable, "off", Switches{RowDecoder: true}, false, "not written directly"},
		{directWritesVariable, "0", Switches{}, true, ""},
	} {
		getenv := func(name string) string {
			if name == tt.name {
				return tt.value
			}
			return ""
		}
		got, err := ReadSwitches(getenv)
		if tt.fails {
			if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("%s=%s: %v", tt.name, tt.value, err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s=%s: %+v, %v", tt.name, tt.value, got, err)
		}
		if Decoder(got, new(config.Config)).NoRowDecoder == got.RowDecoder {
			t.Errorf("%s=%s: the decoder does something else", tt.name, tt.value)
		}
		var log bytes.Buffer
		f := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		f.logSwitches(got)
		if !strings.Contains(log.String(), tt.logs) || (tt.logs == "") != (log.Len() == 0) {
			t.Errorf("%s=%s: logged %q", tt.name, tt.value, log.String())
		}
	}
}
