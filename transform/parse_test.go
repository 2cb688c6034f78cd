package transform

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		w, h int
		err  string
	}{
		{text: ""},
		{text: "640x480", w: 640, h: 480},
		{text: " 640 X 480 ", w: 640, h: 480},
		{text: "640", err: `is not "WIDTHxHEIGHT"`},
		{text: "640x", err: `is not "WIDTHxHEIGHT"`},
		{text: "x640", err: `is not "WIDTHxHEIGHT"`},
		{text: "640x480x3", err: `is not "WIDTHxHEIGHT"`},
		{text: "0x0", err: "must be 1 to 8192"},
		{text: "-1x5", err: "must be 1 to 8192"},
		{text: "640x8193", err: "must be 1 to 8192"},
		{text: "99999999999999999999x1", err: `is not "WIDTHxHEIGHT"`},
	}
	for _, tt := range tests {
		w, h, err := ParseSize(tt.text)
		if w != tt.w || h != tt.h || !failsWith(err, tt.err) {
			t.Errorf("ParseSize(%q) = %d, %d, %v", tt.text, w, h, err)
		}
	}
}

func TestParseBoxAndPad(t *testing.T) {
	for text, want := range map[string]string{"232": "232", " 232 ": "232", "256x256": "256", "320x240": "320x240", "": ""} {
		if box, err := ParseBox(text); err != nil || FormatBox(box) != want {
			t.Errorf("ParseBox(%q) = %v, %v", text, box, err)
		}
	}
	for text, want := range map[string]string{"114": "114", " 0 ": "0", "0,0,0": "0", "104,117,123": "104,117,123", "[1, 2, 3.5]": "1,2,3.5", "-1": "-1,-1,-1"} {
		if pad, channels, err := ParsePad(text); err != nil || FormatPad(pad, channels) != want {
			t.Errorf("ParsePad(%q) = %v, %v, %v", text, pad, channels, err)
		}
	}
	for _, text := range []string{"a", "1,2", "1,2,3,4", "1,b,3"} {
		if _, _, err := ParsePad(text); !failsWith(err, "one for each channel") {
			t.Errorf("ParsePad(%q): %v", text, err)
		}
	}
	for _, text := range []string{"0", "x", "232x", "9000"} {
		if box, err := ParseBox(text); err == nil {
			t.Errorf("ParseBox(%q) = %v", text, box)
		}
	}
}

func TestParseScale(t *testing.T) {
	tests := []struct {
		text string
		want float64
		err  string
	}{
		{text: "1/255", want: 1.0 / 255},
		{text: " 1 / 255 ", want: 1.0 / 255},
		{text: "0.0039", want: 0.0039},
		{text: "1", want: 1},
		{text: "2e-3", want: 0.002},
		{text: "-1/127.5", want: -1 / 127.5},
		{text: "", err: "is not a number"},
		{text: "1/", err: "is not a number"},
		{text: "1/2/3", err: "is not a number"},
		{text: "1/0", err: "other than 0"},
		{text: "0", err: "other than 0"},
		{text: "nan", err: "other than 0"},
		{text: "Inf", err: "other than 0"},
	}
	for _, tt := range tests {
		got, err := ParseScale(tt.text)
		if got != tt.want || !failsWith(err, tt.err) {
			t.Errorf("ParseScale(%q) = %v, %v", tt.text, got, err)
		}
	}
}

func TestParseROI(t *testing.T) {
	tests := []struct {
		text string
		want ROI
		err  string
	}{
		{text: ""},
		{text: "  "},
		{text: "10,20,300,400", want: ROI{X: 10, Y: 20, W: 300, H: 400}},
		{text: " 10, 20 ,300,400 ", want: ROI{X: 10, Y: 20, W: 300, H: 400}},
		{text: "0,0,1,1", want: ROI{W: 1, H: 1}},
		{text: "0.0,0,1,1", want: ROI{W: 1, H: 1, Fraction: true}},
		{text: "0,0,0.5,1", want: ROI{W: 0.5, H: 1, Fraction: true}},
		{text: "0.1,0.2,0.9,0.8", want: ROI{X: 0.1, Y: 0.2, W: 0.9, H: 0.8, Fraction: true}},
		{text: "1,2,3", err: "has 3 numbers: want four"},
		{text: "1,2,3,4,5", err: "has 5 numbers: want four"},
		{text: "a,2,3,4", err: `"a" is not a number`},
		{text: "0.5,0,2,1", err: "0.5 is not a whole number"},
		{text: "-1,0,2,1", err: "-1 is not between 0 and 65536"},
		{text: "nan,0,2,1", err: "NaN is not between"},
		{text: "0,0,inf,1", err: "+Inf is not between"},
		{text: "1,1,0,5", err: "width and height must be above 0"},
		{text: "0,0,0,0", err: "width and height must be above 0"},
		{text: "0.5,0,0.6,1", err: "reaches beyond the picture"},
	}
	for _, tt := range tests {
		got, err := ParseROI(tt.text)
		if got != tt.want || !failsWith(err, tt.err) {
			t.Errorf("ParseROI(%q) = %+v, %v", tt.text, got, err)
		}
	}
}

// FuzzParseROI checks that what is accepted is valid, and reads back.
func FuzzParseROI(f *testing.F) {
	for _, text := range []string{"", "10,20,300,400", "0.0,0,1,1", "0.1,0.2,0.9,0.8", "1e1,0,1,1", "0,0,0x1p-2,1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseROI(text)
		if err != nil {
			return
		}
		if err := r.validate(); err != nil {
			t.Errorf("%q is accepted: %v", text, err)
		}
		if again, err := ParseROI(r.String()); again != r || err != nil {
			t.Errorf("%q is %+v, but %q is %+v, %v", text, r, r.String(), again, err)
		}
	})
}

// failsWith tells whether err is nil where want is empty, and otherwise contains
// it.
func failsWith(err error, want string) bool {
	if want == "" || err == nil {
		return want == "" && err == nil
	}
	return strings.Contains(err.Error(), want)
}
