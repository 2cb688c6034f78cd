package kinesistest_test

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	kvtypes "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// A sight is what a client sees of a stream at one time: codes of errors, or "OK".
type sight struct{ status, listed, endpoint, images, fragments string }

// look asks for everything that there is of cam-1.
func (c *client) look(t *testing.T) (seen sight, info *kvtypes.StreamInfo) {
	t.Helper()
	result := func(err error) string {
		if err == nil {
			return "OK"
		}
		return code(err)
	}
	out, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamName: aws.String("cam-1")})
	seen.status = result(err)
	if err == nil {
		info = out.StreamInfo
		seen.status = string(info.Status)
	}
	list, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{})
	seen.listed = result(err)
	if err == nil {
		seen.listed = "none"
		for _, s := range list.StreamInfoList {
			seen.listed = string(s.Status)
		}
	}
	located, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{
		StreamName: aws.String("cam-1"), APIName: kvtypes.APINameGetImages,
	})
	seen.endpoint = result(err)
	if err == nil {
		c.found = located.DataEndpoint
	}
	now := time.Now()
	_, err = c.data.GetImages(t.Context(), ask(now.Add(-20*time.Second), now), at(c.found))
	seen.images = result(err)
	_, err = c.data.ListFragments(t.Context(), &kinesisvideoarchivedmedia.ListFragmentsInput{
		StreamName: aws.String("cam-1"), FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, now.Add(-20*time.Second), now),
	}, at(c.found))
	seen.fragments = result(err)
	return seen, info
}

// at has a request sent to a data endpoint, unless it is nil.
func at(endpoint *string) func(*kinesisvideoarchivedmedia.Options) {
	return func(o *kinesisvideoarchivedmedia.Options) { o.BaseEndpoint = cmp.Or(endpoint, o.BaseEndpoint) }
}

const gone = "ResourceNotFoundException"

// TestStatuses: a stream can be read while it is ACTIVE or UPDATING, and is only known of
// while it is CREATING or DELETING.
func TestStatuses(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}, Streams: kinesistest.Cameras(1)})
	for status, want := range map[string]sight{
		"UPDATING": {"UPDATING", "UPDATING", "OK", "OK", "OK"},
		"CREATING": {"CREATING", "CREATING", gone, gone, gone},
		"DELETING": {"DELETING", "DELETING", gone, gone, gone},
		"ACTIVE":   {"ACTIVE", "ACTIVE", "OK", "OK", "OK"},
	} {
		c.SetStatus("cam-1", status)
		if got, _ := c.look(t); got != want {
			t.Errorf("%s: got %v, want %v", status, got, want)
		}
	}
}

// changes looks at a stream every second for some time, and returns each sight that differs
// from the one before, and how often each was seen.
func (c *client) changes(t *testing.T, length time.Duration) (all []sight, counts map[sight]int) {
	t.Helper()
	counts = map[sight]int{}
	for range int(length.Seconds()) {
		time.Sleep(time.Second)
		seen, _ := c.look(t)
		counts[seen]++
		if len(all) == 0 || all[len(all)-1] != seen {
			all = append(all, seen)
		}
	}
	return all, counts
}

func TestRecreatedStream(t *testing.T) {
	const refused = "InvalidArgumentException"
	faults := kinesistest.Faults{Recreate: 10 * time.Minute, AwayFor: time.Minute, DeadAnswers: 2}
	fakeTime(t, faults, func(t *testing.T, c *client, _ time.Time) {
		for { // until it has just become ACTIVE
			if seen, _ := c.look(t); seen.status == "CREATING" {
				break
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		_, former := c.look(t)
		formerly := c.found
		before := time.Now()
		all, counts := c.changes(t, 10*time.Minute)
		on := sight{"ACTIVE", "ACTIVE", "OK", "OK", "OK"}
		want := []sight{
			on,
			{"DELETING", "DELETING", gone, gone, gone},
			{gone, "none", gone, gone, gone},
			{"CREATING", "CREATING", gone, gone, gone},
			{"ACTIVE", "ACTIVE", "OK", gone, "OK"}, // no media yet
			on,
		}
		if !slices.Equal(all, want) {
			t.Errorf("got  %v\nwant %v", all, want)
		}
		if n := counts[want[1]] + counts[want[2]] + counts[want[3]]; n < 59 || n > 61 {
			t.Errorf("away for %d s", n)
		}

		_, again := c.look(t)
		if *again.StreamARN == *former.StreamARN || !again.CreationTime.After(before) || again.CreationTime.After(time.Now()) {
			t.Errorf("created at %v, ARN %s, formerly %s", again.CreationTime, *again.StreamARN, *former.StreamARN)
		}
		for arn, want := range map[*string]string{former.StreamARN: gone, again.StreamARN: ""} {
			_, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamARN: arn})
			wantCode(t, err, want)
		}
		media := ask(before.Add(-20*time.Second), before)
		for endpoint, want := range map[*string]string{formerly: refused, c.found: gone} { // its media is that of the former stream
			_, err := c.data.GetImages(t.Context(), media, at(endpoint))
			wantCode(t, err, want)
		}
		now := time.Now()
		_, err := c.data.GetImages(t.Context(), ask(now.Add(-20*time.Second), now), at(formerly))
		wantCode(t, err, refused)
		truth, err := c.Media("cam-1", before.Add(-20*time.Second), before, interval)
		if err != nil || len(truth) != 100 {
			t.Fatal(len(truth), err)
		}
		for _, at := range truth {
			if !at.Exists || at.Visible.IsZero() || at.Gone.After(*again.CreationTime) {
				t.Errorf("%+v, created again at %v", at, again.CreationTime)
			}
		}
	})
}

func TestNoRetention(t *testing.T) {
	fakeTime(t, kinesistest.Faults{NoRetention: 10 * time.Minute, AwayFor: time.Minute}, func(t *testing.T, c *client, _ time.Time) {
		before := time.Now()
		all, counts := c.changes(t, 20*time.Minute)
		none := sight{"ACTIVE", "ACTIVE", "OK", "NoDataRetentionException", "OK"}
		if n := counts[none]; n < 119 || n > 121 || len(all) < 4 {
			t.Errorf("no retention for %d s: %v", n, all)
		}
		_, err := c.data.GetImages(t.Context(), ask(before.Add(-20*time.Second), before))
		wantCode(t, err, gone) // deleted, though it is not older than the retention
		if seen := c.retentions(t); len(seen) != 2 || !seen[0] || !seen[24] {
			t.Errorf("the retention in hours is %v", seen)
		}
	})
}

// retentions returns which retentions, in hours, the stream has within some minutes.
func (c *client) retentions(t *testing.T) map[int32]bool {
	t.Helper()
	seen := map[int32]bool{}
	for range 700 {
		time.Sleep(time.Second)
		_, info := c.look(t)
		seen[*info.DataRetentionInHours] = true
	}
	return seen
}

func TestHalvedRetention(t *testing.T) {
	fakeTime(t, kinesistest.Faults{Halve: 10 * time.Minute}, func(t *testing.T, c *client, _ time.Time) {
		if seen := c.retentions(t); len(seen) != 2 || !seen[12] || !seen[24] {
			t.Errorf("the retention in hours is %v", seen)
		}
		for range 20 {
			time.Sleep(time.Minute)
			_, info := c.look(t)
			kept := time.Duration(*info.DataRetentionInHours) * time.Hour
			end := time.Now().Add(-kept)
			_, err := c.data.GetImages(t.Context(), ask(end.Add(-10*time.Second), end.Add(-time.Second)))
			wantCode(t, err, "InvalidArgumentException")
		}
	})
}

func TestUpdating(t *testing.T) {
	fakeTime(t, kinesistest.Faults{Updating: 0.2}, func(t *testing.T, c *client, _ time.Time) {
		all, counts := c.changes(t, 30*time.Minute)
		share := float64(counts[sight{"UPDATING", "UPDATING", "OK", "OK", "OK"}]) / (30 * 60)
		if len(counts) != 2 || share < 0.1 || share > 0.3 || len(all) < 10 {
			t.Errorf("%d changes: %v", len(all), counts)
		}
	})
}

func TestExpiredCredentials(t *testing.T) {
	fakeTime(t, kinesistest.Faults{ExpiredCredentials: 0.2}, func(t *testing.T, c *client, _ time.Time) {
		const expired = "ExpiredTokenException"
		_, counts := c.changes(t, 30*time.Minute)
		share := float64(counts[sight{expired, expired, expired, expired, expired}]) / (30 * 60)
		if len(counts) != 2 || share < 0.1 || share > 0.3 {
			t.Errorf("got %v", counts)
		}
	})
}

// The tokens of lists expire, too.
func TestTokensOfListsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, kinesistest.Options{Scene: tiny{}, Faults: kinesistest.Faults{TokenLife: 10 * time.Second}})
		time.Sleep(time.Minute)
		streams := &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(1)}
		fragments := &kinesisvideoarchivedmedia.ListFragmentsInput{
			StreamName: aws.String("cam-1"), MaxResults: aws.Int64(1),
			FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, time.Now().Add(-time.Minute), time.Now()),
		}
		for pass, want := range []string{"", "", "InvalidArgumentException"} {
			names, err := c.control.ListStreams(t.Context(), streams)
			wantCode(t, err, want)
			spans, err := c.data.ListFragments(t.Context(), fragments)
			wantCode(t, err, want)
			if pass == 0 {
				streams.NextToken, fragments.NextToken = names.NextToken, spans.NextToken
				time.Sleep(10 * time.Second)
			} else {
				time.Sleep(time.Millisecond)
			}
		}
	})
}

// A range that is shorter than the sampling interval gives the image at its start, as the
// documents promise, though its fragment has started before.
func TestOneImage(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}})
	from := minute().Add(1100 * time.Millisecond) // within a fragment
	for _, length := range []time.Duration{0, 199 * time.Millisecond} {
		out := c.images(t.Context(), t, ask(from, from.Add(length)))
		if len(out.Images) != 1 || out.Images[0].ImageContent == nil || !out.Images[0].TimeStamp.Equal(from) {
			t.Errorf("a range of %v: %v", length, out.Images)
		}
	}
	_, err := c.data.GetImages(t.Context(), ask(from, from.Add(interval)))
	wantCode(t, err, gone) // no fragment starts within it
	_, err = c.data.GetImages(t.Context(), ask(time.Now(), time.Now()))
	wantCode(t, err, gone) // there is none yet
}
