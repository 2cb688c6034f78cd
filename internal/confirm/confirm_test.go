package confirm

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var errRefused = errors.New("nothing was done")

func TestAsk(t *testing.T) {
	for answer, want := range map[string]error{"y\n": nil, " YES \n": nil, "yes": nil, "n\n": errRefused, "\n": errRefused, "": errRefused, "yikes\n": errRefused} {
		var out bytes.Buffer
		err := Ask("This costs 1.\n", false, strings.NewReader(answer), &out, errRefused)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
		if out.String() != "This costs 1.\nGo on? [y/N] " {
			t.Errorf("%q: %q", answer, &out)
		}
	}
	var out bytes.Buffer
	if err := Ask("This costs 1.\n", true, strings.NewReader(""), &out, errRefused); err != nil || out.String() != "This costs 1.\n" {
		t.Errorf("agreed already: %v, %q", err, &out)
	}
}
