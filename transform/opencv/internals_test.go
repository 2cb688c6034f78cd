package opencv

import (
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// TestRowDecoderIsOn fails where the row decoder turns itself off: after an upgrade of
// libjpeg-turbo, most likely. internals.h says how to add a version.
func TestRowDecoderIsOn(t *testing.T) {
	if err := CheckRowDecoder(); err != nil {
		t.Error(err)
	}
	on, off := NewWorker(Options{}), NewWorker(Options{NoRowDecoder: true})
	defer on.Close()
	defer off.Close()
	if !on.meter.rows || on.internals.decode_mcu == nil {
		t.Error("off by default")
	}
	if off.meter.rows || off.internals != new(Worker).internals {
		t.Error("on although it is turned off")
	}
}

// TestUnexpectedLibjpeg shows a libjpeg that is not as expected, by pictures that are not.
func TestUnexpectedLibjpeg(t *testing.T) {
	for name, tt := range map[string]struct {
		baseline, progressive []byte
		want                  string
	}{
		"no baseline":    {probeProgressive, probeProgressive, "the header of a known picture"},
		"no progressive": {probeBaseline, probeBaseline, "the header of a known picture"},
		"not 4:2:0":      {readPicture(t, "444.jpg"), probeProgressive, "the header of a known picture"},
		"broken":         {probeBaseline[:200], probeProgressive, "Premature end"},
		"broken later":   {probeBaseline[:2000], probeProgressive, "Premature end"},
	} {
		w := new(Worker)
		err := w.findInternals(tt.baseline, tt.progressive)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "libjpeg-turbo 2.") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if w.internals != new(Worker).internals {
			t.Errorf("%s: internals are set", name)
		}
		w.Close()
	}
}

// usesInternals decodes a JPEG, which has to succeed, and tells whether the worker's
// internals did it.
func usesInternals(t *testing.T, w *Worker, data []byte) bool {
	t.Helper()
	h, err := readJPEGHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.pixels.picture(h.size, h.channels)
	if err != nil {
		t.Fatal(err)
	}
	job := w.wholeJPEG(8, v)
	if err := w.runJPEG(&job, data); err != nil {
		t.Fatal(err)
	}
	return job.used != 0
}

func TestUsesInternals(t *testing.T) {
	d := newDecoders(t, Options{})
	for name, want := range map[string]bool{"420.jpg": true, "restart.jpg": true, "cmyk.jpg": true, "progressive.jpg": false} {
		data := readPicture(t, name)
		if got := usesInternals(t, d.rows, data); got != want {
			t.Errorf("%s: %v", name, got)
		}
		if usesInternals(t, d.plain, data) {
			t.Errorf("%s: used although they are turned off", name)
		}
	}
}

// TestOtherFunctions: where the decode of a picture does not have the functions that were
// found when the worker was made, they are left alone.
func TestOtherFunctions(t *testing.T) {
	d := newDecoders(t, Options{})
	in := &d.rows.internals
	in.decode_mcu, in.idct_4x4 = in.idct_4x4, in.decode_mcu
	if in.decode_mcu == nil {
		t.Skip("this processor has no AVX2: there is only one function to replace")
	}
	for _, o := range []*transform.Output{
		newOutput(t, "yolo", nil),
		newOutput(t, "yolo", func(s *transform.Spec) { s.Width, s.Height, s.Decode = 100, 100, transform.DecodeFast }),
	} {
		d.compare(t, readPicture(t, "420.jpg"), o)
	}
	if usesInternals(t, d.rows, readPicture(t, "420.jpg")) {
		t.Error("used although they are not as expected")
	}
}
