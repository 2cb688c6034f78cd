package kinesistest_test

import (
	"fmt"
	"image"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

const interval = source.MinInterval

// A tiny scene is one small grey picture.
type tiny struct{}

func (tiny) Key(string, time.Time) string { return "" }

func (tiny) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 16, 16)), nil
}

// window returns what a client finds in a window, after all pages: a picture, NO_MEDIA or
// MEDIA_ERROR for each slot. An empty window has none.
func (c *client) window(t *testing.T, in *kinesisvideoarchivedmedia.GetImagesInput) map[source.Slot]string {
	t.Helper()
	found := map[source.Slot]string{}
	pages := kinesisvideoarchivedmedia.NewGetImagesPaginator(c.data, in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if code(err) == "ResourceNotFoundException" || code(err) == "InvalidArgumentException" {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range out.Images {
			found[source.SlotAt(*im.TimeStamp)] = pattern([]types.Image{im})
		}
	}
	return found
}

// agree compares what a client finds now with what Media says.
func (c *client) agree(t *testing.T, from, to time.Time, producer bool) {
	t.Helper()
	in := ask(from, to.Add(-interval))
	truth := c.Media
	if producer {
		in.ImageSelectorType = types.ImageSelectorTypeProducerTimestamp
		truth = c.ProducerMedia
	}
	found := c.window(t, in)
	all, err := truth("cam-1", from, to, interval)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, at := range all {
		want := "."
		switch {
		case !at.Exists || at.Visible.IsZero() || now.Before(at.Visible) || now.After(at.Gone):
		case !producer && at.Start.Before(from):
		case at.MediaError:
			want = "!"
		default:
			want = "#"
		}
		got := found[source.SlotAt(at.Time)]
		if got == "" {
			got = "."
		}
		// By the producer's clock the service finds the oldest fragment, and Media returns
		// the one that is visible first.
		if got != want && (!producer || want == ".") {
			t.Fatalf("at %v: got %s, want %s: %+v", now, got, want, at)
		}
	}
}

// What Media says is what the service serves, at any time.
func TestMediaFaults(t *testing.T) {
	type instants = []kinesistest.Instant
	share := func(all instants, of func(kinesistest.Instant) bool) float64 {
		n := 0
		for _, at := range all {
			if of(at) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
	delay := func(at kinesistest.Instant) time.Duration { return at.Visible.Sub(at.End) }
	for _, tt := range []struct {
		name      string
		faults    kinesistest.Faults
		retention time.Duration
		of        func(kinesistest.Instant) bool
		low, high float64 // share of what of says, in an hour
	}{
		{
			name: "none", of: func(at kinesistest.Instant) bool {
				return at.Exists && delay(at) == 500*time.Millisecond && !at.MediaError
			}, low: 1, high: 1,
		},
		{
			name: "jitter", faults: kinesistest.Faults{Jitter: 2 * time.Second},
			of: func(at kinesistest.Instant) bool { return delay(at) > 1500*time.Millisecond }, low: 0.4, high: 0.6,
		},
		{
			name: "late", faults: kinesistest.Faults{Late: 0.3, LateBy: 20 * time.Second},
			of: func(at kinesistest.Instant) bool { return delay(at) > 501*time.Millisecond }, low: 0.25, high: 0.35,
		},
		{
			name: "never", faults: kinesistest.Faults{Never: 0.2},
			of: func(at kinesistest.Instant) bool { return at.Exists && at.Visible.IsZero() }, low: 0.15, high: 0.25,
		},
		{
			name: "media errors", faults: kinesistest.Faults{MediaErrors: 0.3, Stretch: 5 * time.Second},
			of: func(at kinesistest.Instant) bool { return at.MediaError }, low: 0.2, high: 0.4,
		},
		{
			name: "outages", faults: kinesistest.Faults{Outages: 0.3},
			of: func(at kinesistest.Instant) bool { return !at.Exists }, low: 0.2, high: 0.4,
		},
		{
			name: "short retention", retention: 30 * time.Second,
			of: func(at kinesistest.Instant) bool { return at.Gone.Sub(at.Start) == 30*time.Second }, low: 1, high: 1,
		},
		{
			name: "halved", retention: 3 * time.Hour, faults: kinesistest.Faults{Halve: 40 * time.Minute},
			of: func(at kinesistest.Instant) bool {
				kept := at.Gone.Sub(at.Start)
				return kept >= 2*time.Hour && kept <= 140*time.Minute
			}, low: 1, high: 1,
		},
		{
			name: "clock", faults: kinesistest.Faults{Clock: 5 * time.Second, ClockEvery: 20 * time.Second},
			of: func(at kinesistest.Instant) bool { return at.Exists }, low: 0.8, high: 1,
		},
		{
			name: "all", retention: 40 * time.Second,
			faults: kinesistest.Faults{
				Jitter: time.Second, Late: 0.2, LateBy: 30 * time.Second, Never: 0.1, MediaErrors: 0.1, Outages: 0.1,
				Clock: 3 * time.Second,
			},
			of: func(at kinesistest.Instant) bool { return at.Exists && at.Visible.IsZero() }, low: 0.05, high: 0.2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				producer := tt.faults.Clock > 0
				begin := time.Now()
				c := piped(t, kinesistest.Options{
					Scene: tiny{}, Fragment: 1200 * time.Millisecond, FragmentMax: 4 * time.Second, Faults: tt.faults, Seed: 7,
					Streams: []kinesistest.Stream{{Name: "cam-1", Retention: tt.retention}},
				})
				for i := range 60 {
					time.Sleep(1337 * time.Millisecond)
					from := begin.Add(time.Duration(i) * 1200 * time.Millisecond).Truncate(interval)
					c.agree(t, from, from.Add(20*time.Second), producer)
				}
				truth := c.Media
				if tt.name == "clock" {
					truth = c.ProducerMedia
				}
				all, err := truth("cam-1", begin, begin.Add(time.Hour), interval)
				if err != nil || len(all) != 18_000 {
					t.Fatalf("%d instants, %v", len(all), err)
				}
				if got := share(all, tt.of); got < tt.low || got > tt.high {
					t.Errorf("got a share of %.3f, want %v to %v", got, tt.low, tt.high)
				}
			})
		})
	}
}

func TestVaryingFragments(t *testing.T) {
	at := func(seed uint64, from time.Time, length time.Duration) []kinesistest.Instant {
		srv, err := kinesistest.New(kinesistest.Options{
			Scene: tiny{}, Fragment: time.Second, FragmentMax: 3 * time.Second, Seed: seed,
		})
		if err != nil {
			t.Fatal(err)
		}
		all, err := srv.Media("cam-2", from, from.Add(length), interval)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, from := range []time.Time{from, time.UnixMilli(-100_000_000).UTC()} {
		all := at(1, from, 10*time.Minute)
		lengths := map[time.Duration]int{}
		for i, in := range all {
			lengths[in.End.Sub(in.Start)]++
			if in.Time.Before(in.Start) || !in.Time.Before(in.End) {
				t.Fatalf("%v is not within its fragment: %+v", in.Time, in)
			}
			if i > 0 && in.Start != all[i-1].Start && in.Start != all[i-1].End {
				t.Fatalf("after %+v comes %+v", all[i-1], in)
			}
		}
		for length := range lengths {
			if length < time.Second || length > 3*time.Second {
				t.Errorf("a fragment of %v", length)
			}
		}
		if len(lengths) < 150 {
			t.Errorf("only %d lengths", len(lengths))
		}
		if diff := cmp.Diff(all[100:], at(1, all[100].Time, 10*time.Minute)[:len(all)-100]); diff != "" {
			t.Errorf("who asks from elsewhere is told something else: %s", diff)
		}
	}
	if cmp.Equal(at(1, from, time.Minute), at(2, from, time.Minute)) {
		t.Error("another seed has the same fragments")
	}
}

func TestTruthRefuses(t *testing.T) {
	srv, err := kinesistest.New(kinesistest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := srv.Media("gone", now, now, interval); err == nil {
		t.Error("an unknown stream: no error")
	}
	if _, err := srv.Media("cam-1", now, now, 0); err == nil {
		t.Error("interval 0: no error")
	}
}

// Pictures show the real time, whatever the camera's clock says.
func TestProducerClock(t *testing.T) {
	c := start(t, kinesistest.Options{
		Scene: small(t), Seed: 3, Faults: kinesistest.Faults{Clock: 10 * time.Second, ClockEvery: 30 * time.Second},
	})
	from := minute()
	in := ask(from, from.Add(2*time.Minute))
	in.SamplingInterval = aws.Int32(3000)
	in.ImageSelectorType = types.ImageSelectorTypeProducerTimestamp
	offsets := map[time.Duration]bool{}
	pages := kinesisvideoarchivedmedia.NewGetImagesPaginator(c.data, in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range out.Images {
			if im.Error != "" {
				continue
			}
			img, _ := decode(t, im)
			shown, err := scene.ReadTimeCode(img, scene.WholeView(img))
			if err != nil {
				t.Fatal(err)
			}
			offset := im.TimeStamp.Sub(shown.Time)
			if offset < -10*time.Second || offset > 10*time.Second {
				t.Fatalf("%v shows %v", im.TimeStamp, shown.Time)
			}
			offsets[offset] = true
		}
	}
	if len(offsets) < 3 {
		t.Errorf("the clock was off by %v only", offsets)
	}
}

func listFragments(c *client, in *kinesisvideoarchivedmedia.ListFragmentsInput, t *testing.T) (all []types.Fragment, pages int) {
	t.Helper()
	for {
		out, err := c.data.ListFragments(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		all = append(all, out.Fragments...)
		if out.NextToken == nil {
			return all, pages
		}
		// The selector need not be repeated.
		in = &kinesisvideoarchivedmedia.ListFragmentsInput{StreamName: in.StreamName, MaxResults: in.MaxResults, NextToken: out.NextToken}
	}
}

func selectorOf(kind types.FragmentSelectorType, from, to time.Time) *types.FragmentSelector {
	return &types.FragmentSelector{
		FragmentSelectorType: kind, TimestampRange: &types.TimestampRange{StartTimestamp: &from, EndTimestamp: &to},
	}
}

// ListFragments returns the visible fragments, and no others.
func TestListFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := piped(t, kinesistest.Options{
			Scene: tiny{}, Fragment: time.Second, FragmentMax: 3 * time.Second,
			Faults: kinesistest.Faults{Late: 0.3, Never: 0.1, Outages: 0.1, Clock: 4 * time.Second, Unordered: 0.5, Throttle: true},
		})
		time.Sleep(3 * time.Minute)
		for _, kind := range []types.FragmentSelectorType{types.FragmentSelectorTypeServerTimestamp, types.FragmentSelectorTypeProducerTimestamp} {
			from, to := begin.Add(10*time.Second), begin.Add(4*time.Minute)
			all, pages := listFragments(c, &kinesisvideoarchivedmedia.ListFragmentsInput{
				StreamName: aws.String("cam-1"), FragmentSelector: selectorOf(kind, from, to), MaxResults: aws.Int64(7),
			}, t)
			got := map[time.Time]time.Time{}
			numbers := map[string]bool{}
			for _, f := range all {
				got[*f.ServerTimestamp] = f.ServerTimestamp.Add(time.Duration(f.FragmentLengthInMilliseconds) * time.Millisecond)
				numbers[*f.FragmentNumber] = true
				off := f.ProducerTimestamp.Sub(*f.ServerTimestamp).Abs()
				if off > 4*time.Second || f.FragmentSizeInBytes <= 0 {
					t.Errorf("%s: off by %v, %d bytes", *f.FragmentNumber, off, f.FragmentSizeInBytes)
				}
			}
			if pages != (len(all)+6)/7 || len(numbers) != len(all) || len(all) < 50 {
				t.Errorf("%d fragments with %d numbers on %d pages", len(all), len(numbers), pages)
			}
			if kind == types.FragmentSelectorTypeProducerTimestamp {
				continue
			}
			want := map[time.Time]time.Time{}
			truth, err := c.Media("cam-1", from, to, interval)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range truth {
				if at.Exists && !at.Visible.IsZero() && !at.Visible.After(time.Now()) && !at.Start.Before(from) {
					want[at.Start] = at.End
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
}

func TestListFragmentsRefuses(t *testing.T) {
	off := kinesistest.Faults{DenyListFragments: true}
	c := start(t, kinesistest.Options{
		Scene: tiny{}, Streams: append(kinesistest.Cameras(1), kinesistest.Stream{Name: "denied", Faults: &off}),
	})
	type input = kinesisvideoarchivedmedia.ListFragmentsInput
	now := time.Now()
	past := selectorOf(types.FragmentSelectorTypeServerTimestamp, now.Add(-time.Minute), now)
	ok := aws.String("cam-1")
	for i, tt := range []struct {
		in   input
		want string
	}{
		{input{StreamName: ok, FragmentSelector: past}, ""},
		{input{StreamName: aws.String("denied"), FragmentSelector: past}, "NotAuthorizedException"},
		{input{StreamName: aws.String("gone"), FragmentSelector: past}, "ResourceNotFoundException"},
		{input{StreamName: ok}, "InvalidArgumentException"},
		{input{StreamName: ok, NextToken: aws.String("madeup")}, "InvalidArgumentException"},
		{input{StreamName: ok, FragmentSelector: past, MaxResults: aws.Int64(1001)}, "ValidationException"},
		{input{StreamName: ok, FragmentSelector: selectorOf("SUN_DIAL", now, now)}, "ValidationException"},
		{input{StreamName: ok, FragmentSelector: selectorOf("SERVER_TIMESTAMP", now, now.Add(-time.Second))}, "InvalidArgumentException"},
	} {
		_, err := c.data.ListFragments(t.Context(), &tt.in)
		if got := code(err); got != tt.want || tt.want == "" && err != nil {
			t.Error(fmt.Sprint(i), got, err)
		}
	}
}
