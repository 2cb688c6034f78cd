package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWorld: only the cameras that must move do, and it takes about as long as it must.
func TestWorld(t *testing.T) {
	w := newWorld(options{cameras: 5000, replicas: 20, lease: 6 * time.Second, seed: 3})
	part := 5000 / 20
	for _, step := range []struct {
		name        string
		do          func() event
		least, most int // that move
		took        time.Duration
	}{
		{"join", func() event { return w.join(1) }, part * 2 / 3, part * 3 / 2, 30 * time.Second},
		{"leave", func() event { return w.leave(1) }, part * 2 / 3, part * 3 / 2, 10 * time.Second},
		{"die", func() event { return w.die(2) }, part * 3 / 2, part * 3, 7 * time.Second},
		{"double", func() event { return w.speedUp(2) }, part / 2, part * 3 / 2, 30 * time.Second},
	} {
		before := slices.Clone(w.owner)
		e := step.do()
		moved := 0
		for i, o := range before {
			if w.owner[i] != o {
				moved++
			}
		}
		if e.moved != moved || moved < step.least || moved > step.most {
			t.Errorf("%s: %d moved, %d are reported, want %d to %d", step.name, moved, e.moved, step.least, step.most)
		}
		if e.took <= 0 || e.took > step.took || e.longest > step.took {
			t.Errorf("%s: took %v, a camera was without for %v", step.name, e.took, e.longest)
		}
		for i, want := range w.placed() {
			if w.owner[i] != want {
				t.Fatalf("%s: %s is with %s, not %s", step.name, w.keys[i], w.owner[i], want)
			}
		}
	}
	var a, b strings.Builder
	o := options{cameras: 500, replicas: 10, lease: 3 * time.Second, seed: 7}
	report(&a, o)
	report(&b, o)
	if a.String() != b.String() || !strings.Contains(a.String(), "one dies") {
		t.Errorf("the same seed reports\n%s\nand\n%s", a.String(), b.String())
	}
}
