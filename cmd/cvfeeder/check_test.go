package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAgree(t *testing.T) {
	for answer, want := range map[string]error{"y\n": nil, " YES \n": nil, "yes": nil, "n\n": errDisagreed, "\n": errDisagreed, "": errDisagreed, "yikes\n": errDisagreed} {
		var out bytes.Buffer
		err := agree("This costs 1.\n", false, strings.NewReader(answer), &out)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
		if out.String() != "This costs 1.\nGo on? [y/N] " {
			t.Errorf("%q: %q", answer, &out)
		}
	}
	var out bytes.Buffer
	if err := agree("This costs 1.\n", true, strings.NewReader(""), &out); err != nil || out.String() != "This costs 1.\n" {
		t.Errorf("agreed already: %v, %q", err, &out)
	}
}
