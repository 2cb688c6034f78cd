package main

import "testing"

func TestEveryCommandHasExamples(t *testing.T) {
	for _, c := range newCommand().Commands() {
		if c.Name() != "help" && c.Example == "" {
			t.Errorf("%q has no examples", c.CommandPath())
		}
	}
}
