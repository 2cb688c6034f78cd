package kinesistest_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// Each fault of lists alone, by what lists say of 300 fragments of 2 s.
func TestListFaults(t *testing.T) {
	const ms = time.Millisecond
	within := func(low, high time.Duration) func([]time.Duration) bool {
		return func(all []time.Duration) bool {
			return slices.Min(all) >= low && slices.Max(all) <= high && slices.Max(all)-slices.Min(all) >= (high-low)/2
		}
	}
	for _, tc := range []struct {
		name         string
		faults       kinesistest.Faults
		least, most  int                        // fragments
		pages        int                        // 3 if 0
		offs, length func([]time.Duration) bool // nil if all are right
	}{
		{name: "none", least: 300, most: 300},
		{name: "jitter", faults: kinesistest.Faults{ListJitter: 150 * ms}, least: 300, most: 300, offs: within(-150*ms, 150*ms)},
		{name: "short", faults: kinesistest.Faults{ListShort: 300 * ms}, least: 300, most: 300, length: within(1700*ms, 2000*ms)},
		{name: "long", faults: kinesistest.Faults{ListLong: 300 * ms}, least: 300, most: 300, length: within(2000*ms, 2300*ms)},
		{name: "absurd", faults: kinesistest.Faults{ListAbsurd: 0.1}, least: 300, most: 300, length: func(all []time.Duration) bool {
			wrong := len(slices.DeleteFunc(all, func(d time.Duration) bool { return d == 2*time.Second }))
			return wrong > 10 && wrong < 60
		}},
		{name: "missing", faults: kinesistest.Faults{ListMissing: 0.1}, least: 240, most: 290, pages: 3},
		{name: "twice", faults: kinesistest.Faults{ListTwice: 0.1}, least: 310, most: 360, pages: 4},
		{name: "ends early", faults: kinesistest.Faults{ListEnds: 1}, least: 50, most: 50, pages: 1},
		{name: "small pages", faults: kinesistest.Faults{ListPage: 10}, least: 300, most: 300, pages: 30},
		{name: "lag", faults: kinesistest.Faults{ListLag: 20 * time.Second}, least: 290, most: 290},
		{name: "ahead", faults: kinesistest.Faults{ListAhead: 3 * time.Second}, least: 301, most: 301, pages: 4},
		{name: "lag and ahead", faults: kinesistest.Faults{ListLag: 20 * time.Second, ListAhead: 3 * time.Second}, least: 292, most: 300},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := piped(t, kinesistest.Options{Scene: tiny{}, Faults: tc.faults, Delay: 1500 * ms})
				time.Sleep(10*time.Minute + 3*time.Second)
				now := time.Now()
				all, pages := listFragments(c, &kinesisvideoarchivedmedia.ListFragmentsInput{
					StreamName: aws.String("cam-1"), MaxResults: aws.Int64(100),
					FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, now.Add(-10*time.Minute-3*time.Second), now),
				}, t)
				if len(all) < tc.least || len(all) > tc.most || pages != max(tc.pages, 3) && tc.pages != 1 {
					t.Errorf("%d fragments on %d pages", len(all), pages)
				}
				var offs, lengths []time.Duration
				for _, f := range all {
					offs = append(offs, f.ServerTimestamp.Sub(f.ServerTimestamp.Round(2*time.Second)))
					lengths = append(lengths, time.Duration(f.FragmentLengthInMilliseconds)*ms)
				}
				for what, check := range map[string]struct {
					values []time.Duration
					is     func([]time.Duration) bool
					right  time.Duration
				}{"starts": {offs, tc.offs, 0}, "lengths": {lengths, tc.length, 2 * time.Second}} {
					wrong := slices.ContainsFunc(check.values, func(d time.Duration) bool { return d != check.right })
					if wrong != (check.is != nil) || check.is != nil && !check.is(check.values) {
						t.Errorf("%s: %v", what, check.values)
					}
				}
			})
		})
	}
}
