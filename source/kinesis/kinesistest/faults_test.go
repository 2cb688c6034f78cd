package kinesistest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	kvtypes "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// fakeTime runs f in a bubble, ten minutes after its beginning, with a service of one tiny
// stream.
func fakeTime(t *testing.T, faults kinesistest.Faults, f func(t *testing.T, c *client, begin time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := piped(t, kinesistest.Options{Scene: tiny{}, Streams: kinesistest.Cameras(1), Faults: faults, Seed: 1})
		time.Sleep(10 * time.Minute)
		f(t, c, begin)
	})
}

// until returns how often f succeeds before it is throttled.
func until(t *testing.T, f func() error) int {
	t.Helper()
	for n := range 1000 {
		if err := f(); err != nil {
			wantCode(t, err, "ClientLimitExceededException")
			return n
		}
	}
	t.Fatal("never throttled")
	return 0
}

func TestThrottling(t *testing.T) {
	fakeTime(t, kinesistest.Faults{Throttle: true}, func(t *testing.T, c *client, begin time.Time) {
		images := func(limit int64, length time.Duration) func() error {
			return func() error {
				in := ask(begin, begin.Add(length-interval))
				in.MaxResults = &limit
				_, err := c.data.GetImages(t.Context(), in)
				return err
			}
		}
		fragments := func() error {
			_, err := c.data.ListFragments(t.Context(), &kinesisvideoarchivedmedia.ListFragmentsInput{
				StreamName: aws.String("cam-1"), MaxResults: aws.Int64(1000),
				FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, begin, time.Now()),
			})
			return err
		}
		describe := func() error {
			_, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamName: aws.String("cam-1")})
			return err
		}
		endpoint := func() error {
			_, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{
				StreamName: aws.String("cam-1"), APIName: kvtypes.APINameGetImages,
			})
			return err
		}
		list := func() error {
			_, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{})
			return err
		}
		for name, tt := range map[string]struct {
			do   func() error
			wait time.Duration
			want int
		}{
			"25 images":            {images(25, 5*time.Second), time.Second, 20},
			"and a little later":   {images(25, 5*time.Second), 51 * time.Millisecond, 1},
			"100 images":           {images(100, 20*time.Second), time.Second, 5},
			"a short window":       {images(100, 4*time.Second), time.Second, 23}, // metadata: 420 each
			"fragments":            {fragments, time.Second, 10},
			"DescribeStream":       {describe, time.Second, 5},
			"GetDataEndpoint":      {endpoint, time.Second, 5},
			"ListStreams":          {list, time.Second, 50},
			"after a tenth second": {list, 100 * time.Millisecond, 5},
		} {
			if tt.wait < time.Second { // out of points first
				time.Sleep(time.Second)
				until(t, tt.do)
			}
			time.Sleep(tt.wait)
			if got := until(t, tt.do); got != tt.want {
				t.Errorf("%s: %d requests before throttling, want %d", name, got, tt.want)
			}
		}
	})
}

func TestOthersTakePoints(t *testing.T) {
	got := map[float64]int{}
	for _, share := range []float64{0.01, 0.5} {
		fakeTime(t, kinesistest.Faults{Others: share}, func(t *testing.T, c *client, begin time.Time) {
			for range 100 {
				time.Sleep(time.Second)
				got[share] += until(t, func() error {
					in := ask(begin, begin.Add(20*time.Second-interval))
					in.MaxResults = aws.Int64(100) // points
					_, err := c.data.GetImages(t.Context(), in)
					return err
				})
			}
		})
	}
	if got[0.01] < 390 || got[0.01] > 510 || got[0.5] < 100 || got[0.5] > 300 {
		t.Errorf("requests in 100 s by the share of others: %v", got)
	}
}

func TestRequestFaults(t *testing.T) {
	const requests = 150
	type outcome struct {
		err    error
		images int
		took   time.Duration
	}
	status := func(err error) int {
		var resp *awshttp.ResponseError
		errors.As(err, &resp)
		if resp == nil {
			return 0
		}
		return resp.HTTPStatusCode()
	}
	for _, tt := range []struct {
		name   string
		faults kinesistest.Faults
		is     func(outcome) bool
	}{
		{"reset", kinesistest.Faults{Resets: 0.2}, func(o outcome) bool { return o.err != nil && status(o.err) == 0 }},
		{"error", kinesistest.Faults{Errors: 0.2}, func(o outcome) bool { return status(o.err) >= 500 }},
		{"cut", kinesistest.Faults{Cuts: 0.2}, func(o outcome) bool { return o.err != nil && code(o.err) == "" }},
		{"slow", kinesistest.Faults{Slow: 0.2, SlowBy: time.Minute}, func(o outcome) bool { return o.err == nil && o.took > 10*time.Millisecond }},
		{"trickle", kinesistest.Faults{Trickle: 0.2}, func(o outcome) bool { return o.err == nil && o.took > 0 }},
		{"no-images", kinesistest.Faults{NoImages: 0.2}, func(o outcome) bool { return o.err == nil && o.images == 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fakeTime(t, tt.faults, func(t *testing.T, c *client, begin time.Time) {
				count := 0
				for range requests {
					asked := time.Now()
					out, err := c.data.GetImages(t.Context(), ask(begin, begin.Add(5*time.Second-interval)))
					o := outcome{err: err, took: time.Since(asked)}
					if out != nil {
						o.images = len(out.Images)
					}
					all := c.Requests()
					r := all[len(all)-1]
					if (r.Fault == tt.name) != tt.is(o) {
						t.Fatalf("recorded %q %d %s, got %v", r.Fault, r.Status, r.Code, o)
					}
					if r.Fault == "" && (len(r.Images) != 25 || o.images != 25) {
						t.Errorf("%d images, recorded %d", o.images, len(r.Images))
					}
					if r.Fault != "" {
						count++
					}
				}
				if count < requests/10 || count > requests/3 {
					t.Errorf("%d of %d requests", count, requests)
				}
				if got := c.Totals()["cam-1"].Faults; got != count {
					t.Errorf("the total is %d, want %d", got, count)
				}
			})
		})
	}
}

// The log of a cut answer has what the client could read: raw, over TCP.
func TestCutAnswers(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}, Seed: 4})
	whole := kinesistest.Faults{Cuts: 1}
	if err := c.AddStream(kinesistest.Stream{Name: "cut", Faults: &whole}); err != nil {
		t.Fatal(err)
	}
	from := minute()
	in := ask(from, from.Add(5*time.Second-interval))
	in.StreamName = aws.String("cut")
	partial, lengths := 0, map[bool]int{}
	for range 20 {
		var head http.Header
		_, err := c.data.GetImages(t.Context(), in, func(o *kinesisvideoarchivedmedia.Options) {
			o.HTTPClient = spy{o.HTTPClient, &head}
		})
		if err == nil {
			t.Fatal("a whole answer")
		}
		all := c.Requests()
		r := all[len(all)-1]
		if r.Made != 25 || len(r.Images) > 25 || r.Status != http.StatusOK {
			t.Errorf("recorded %+v", r)
		}
		if len(r.Images) > 0 && len(r.Images) < 25 {
			partial++
		}
		lengths[head.Get("Content-Length") != ""]++
	}
	if partial < 5 || lengths[true] == 0 || lengths[false] == 0 {
		t.Errorf("%d are partial, Content-Length: %v", partial, lengths)
	}
	for at, n := range c.Handed("cut") {
		if n < 1 || n > 20 || at < source.SlotAt(from) {
			t.Errorf("%v was handed out %d times", at, n)
		}
	}
}

// A spy keeps the header of an answer.
type spy struct {
	next interface {
		Do(*http.Request) (*http.Response, error)
	}
	head *http.Header
}

func (s spy) Do(r *http.Request) (*http.Response, error) {
	resp, err := s.next.Do(r)
	if err == nil {
		*s.head = resp.Header
	}
	return resp, err
}

func TestEndpointsRotate(t *testing.T) {
	fakeTime(t, kinesistest.Faults{Rotate: time.Minute}, func(t *testing.T, c *client, begin time.Time) {
		endpoint := func() func(*kinesisvideoarchivedmedia.Options) {
			out, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{
				StreamName: aws.String("cam-1"), APIName: kvtypes.APINameListFragments,
			})
			if err != nil {
				t.Fatal(err)
			}
			return func(o *kinesisvideoarchivedmedia.Options) { o.BaseEndpoint = out.DataEndpoint }
		}
		in := ask(begin, begin.Add(time.Second))
		if out := c.images(t.Context(), t, in); out.Images != nil {
			t.Error("the service's own address gives images")
		}
		ways := map[string]int{}
		for range 40 {
			at := endpoint()
			out, err := c.data.GetImages(t.Context(), in, at)
			if err != nil || len(out.Images) != 6 {
				t.Fatal(out, err)
			}
			_, err = c.data.ListFragments(t.Context(), &kinesisvideoarchivedmedia.ListFragmentsInput{
				StreamName: aws.String("cam-1"), FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, begin, begin),
			}, at)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			out, err = c.data.GetImages(t.Context(), in, at)
			switch {
			case err != nil && code(err) == "":
				ways["reset"]++
			case err != nil:
				ways[code(err)]++
			case out.Images == nil:
				ways["no images"]++
			default:
				t.Error("a dead endpoint gives images")
			}
		}
		for _, way := range []string{"reset", "no images", "AccessDeniedException", "UnknownOperationException"} {
			if ways[way] == 0 {
				t.Errorf("dead endpoints never answer %q: %v", way, ways)
			}
		}
	})
	c := start(t, kinesistest.Options{Scene: tiny{}}) // without rotation there are no such paths
	for _, path := range []string{"/e/1", "/e/", "/e"} {
		_, err := c.data.ListFragments(t.Context(), &kinesisvideoarchivedmedia.ListFragmentsInput{StreamName: aws.String("cam-1")},
			func(o *kinesisvideoarchivedmedia.Options) { o.BaseEndpoint = aws.String(c.url + path) })
		if err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestThrottledEndpoint(t *testing.T) {
	fakeTime(t, kinesistest.Faults{ThrottleEndpoint: 0.5}, func(t *testing.T, c *client, _ time.Time) {
		codes := map[string]int{}
		for range 100 {
			_, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{
				StreamName: aws.String("cam-1"), APIName: kvtypes.APINameGetImages,
			})
			codes[code(err)]++
		}
		if n := codes["ClientLimitExceededException"]; n < 30 || n > 70 || codes[""] != 100-n {
			t.Errorf("got %v", codes)
		}
	})
}

// transcript returns what a client sees of two streams with which everything goes wrong.
func transcript(t *testing.T, seed uint64) (lines []string) {
	all, err := kinesistest.ParseFaults("all")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := piped(t, kinesistest.Options{Scene: tiny{}, Fragment: time.Second, FragmentMax: 3 * time.Second, Faults: all, Seed: seed})
		for i := range 100 {
			time.Sleep(time.Second)
			for _, stream := range []string{"cam-1", "cam-2"} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // some are never answered
				t.Cleanup(cancel)
				out, err := c.control.GetDataEndpoint(ctx, &kinesisvideo.GetDataEndpointInput{
					StreamName: &stream, APIName: kvtypes.APINameGetImages,
				})
				if err != nil {
					lines = append(lines, fmt.Sprint(i, stream, code(err)))
					continue
				}
				in := ask(begin.Add(time.Duration(i-20)*time.Second), begin.Add(time.Duration(i)*time.Second))
				in.StreamName = &stream
				page, err := c.data.GetImages(ctx, in, func(o *kinesisvideoarchivedmedia.Options) { o.BaseEndpoint = out.DataEndpoint })
				line := fmt.Sprint(i, stream, *out.DataEndpoint, code(err), time.Since(begin))
				if err == nil {
					for _, im := range page.Images {
						line += fmt.Sprint(im.TimeStamp.UnixMilli(), pattern([]types.Image{im}))
					}
					line += aws.ToString(page.NextToken)
				}
				lines = append(lines, line)
			}
		}
	})
	return lines
}

func TestSeedDecides(t *testing.T) {
	one := transcript(t, 1)
	if diff := cmp.Diff(one, transcript(t, 1)); diff != "" {
		t.Errorf("the same seed:\n%s", diff)
	}
	if cmp.Equal(one, transcript(t, 2)) {
		t.Error("another seed makes no difference")
	}
}
