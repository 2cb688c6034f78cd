package kinesistest_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func TestParseFaults(t *testing.T) {
	for list, want := range map[string]kinesistest.Faults{
		"":                          {},
		" ":                         {},
		"throttle":                  {Throttle: true},
		"late=0.1, rotate=1m":       {Late: 0.1, Rotate: time.Minute},
		"off-grid,off-grid=20ms":    {OffGrid: 20 * time.Millisecond},
		"resets,resets=0,errors=1":  {Errors: 1},
		"deny-list-fragments=false": {},
	} {
		got, err := kinesistest.ParseFaults(list)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", list, err, diff)
		}
	}
}

func TestParseFaultsRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"lat":              "\"lat\" is none of the faults: all, jitter, late,",
		"all=1":            "none of the faults",
		"late=often":       "late=often: it must be a share from 0 to 1",
		"late=1.5":         "late=1.5: it must be a share",
		"late=-0.1":        "late=-0.1",
		"late=NaN":         "late=NaN",
		"off-grid=41ms":    "off-grid=41ms: it must be whole milliseconds up to 40ms, such as 40ms",
		"clock=1h":         "up to 10m, such as 3s",
		"jitter=1.5us":     "whole milliseconds",
		"jitter=-1s":       "jitter=-1s",
		"throttle=perhaps": "throttle=perhaps: it must be true or false",
		"late,,never":      "\"\" is none of the faults",
	} {
		if _, err := kinesistest.ParseFaults(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", list, err, want)
		}
	}
}

// Every setting appears in String and in the help, and its usual value is possible.
func TestAllFaults(t *testing.T) {
	all, err := kinesistest.ParseFaults("all,deny-list-fragments,frame-every")
	if err != nil {
		t.Fatal(err)
	}
	help := kinesistest.FaultsHelp()
	for item := range strings.SplitSeq(all.String(), ",") {
		if !strings.Contains(help, "  "+item+" ") {
			t.Errorf("%s is not in the help:\n%s", item, help)
		}
	}
	if n := strings.Count(help, "\n"); n != strings.Count(all.String(), ",")+1 {
		t.Errorf("the help has %d lines, the list is %s", n, all)
	}
	again, err := kinesistest.ParseFaults(all.String())
	if diff := cmp.Diff(all, again); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := kinesistest.New(kinesistest.Options{Faults: all}); err != nil {
		t.Error(err)
	}
}

func TestNewRefusesFaults(t *testing.T) {
	for want, f := range map[string]kinesistest.Faults{
		"late=2":        {Late: 2},
		"never=NaN":     {Never: math.NaN()},
		"off-grid=1s":   {OffGrid: time.Second},
		"rotate=-1s":    {Rotate: -time.Second},
		"jitter=1.5ms":  {Jitter: 1500 * time.Microsecond},
		"slow-by=25h":   {SlowBy: 25 * time.Hour},
		"clock=11m":     {Clock: 11 * time.Minute},
		"duplicates=-1": {Duplicates: -1},
	} {
		if _, err := kinesistest.New(kinesistest.Options{Faults: f}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
}

// String of any accepted list is read back as the same faults.
func FuzzParseFaults(f *testing.F) {
	f.Add("all,late=0.1")
	f.Add("throttle, jitter=2s ,others=1e-3")
	f.Add("late==,=,all=")
	f.Fuzz(func(t *testing.T, list string) {
		faults, err := kinesistest.ParseFaults(list)
		if err != nil {
			return
		}
		again, err := kinesistest.ParseFaults(faults.String())
		if diff := cmp.Diff(faults, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", list, err, diff)
		}
	})
}
