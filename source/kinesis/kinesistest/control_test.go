package kinesistest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func TestListStreamsPages(t *testing.T) {
	streams := append(kinesistest.Cameras(12), kinesistest.Stream{Name: "door"})
	c := start(t, kinesistest.Options{Streams: streams, Scene: small(t)})
	for prefix, want := range map[string][]string{
		"":      {"cam-1", "cam-10", "cam-11", "cam-12", "cam-2", "cam-3", "cam-4", "cam-5", "cam-6", "cam-7", "cam-8", "cam-9", "door"},
		"cam-1": {"cam-1", "cam-10", "cam-11", "cam-12"},
		"none":  nil,
	} {
		in := &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(5)}
		if prefix != "" {
			in.StreamNameCondition = &types.StreamNameCondition{
				ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: &prefix,
			}
		}
		var got []string
		pages := kinesisvideo.NewListStreamsPaginator(c.control, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(page.StreamInfoList) > 5 {
				t.Errorf("a page of %d, want at most 5", len(page.StreamInfoList))
			}
			for _, info := range page.StreamInfoList {
				got = append(got, *info.StreamName)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", prefix, diff)
		}
	}
}

func TestListStreamsRefuses(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	_, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(10_001)})
	wantCode(t, err, "ValidationException")
	_, err = c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{NextToken: aws.String("madeup")})
	wantCode(t, err, "InvalidArgumentException")

	first, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{
		NextToken: first.NextToken,
		StreamNameCondition: &types.StreamNameCondition{
			ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: aws.String("cam"),
		},
	})
	wantCode(t, err, "InvalidArgumentException")
}

func TestDescribeStream(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	c := start(t, kinesistest.Options{Streams: []kinesistest.Stream{
		{Name: "door", Retention: 48 * time.Hour, Since: since}, {Name: "off", Retention: -1},
	}})
	byName, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamName: aws.String("door")})
	if err != nil {
		t.Fatal(err)
	}
	info := byName.StreamInfo
	got := fmt.Sprint(*info.StreamName, info.Status, *info.DataRetentionInHours, *info.MediaType, info.CreationTime.Equal(since), *info.Version != "")
	if want := fmt.Sprint("door", "ACTIVE", 48, "video/h264", true, true); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.HasPrefix(*info.StreamARN, "arn:aws:kinesisvideo:us-east-1:123456789012:stream/door/") {
		t.Errorf("the ARN is %s", *info.StreamARN)
	}

	byARN, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamARN: info.StreamARN})
	if err != nil || *byARN.StreamInfo.StreamName != "door" {
		t.Errorf("by ARN: %v, %v", byARN, err)
	}
	off, err := c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamName: aws.String("off")})
	if err != nil || *off.StreamInfo.DataRetentionInHours != 0 {
		t.Errorf("off: %v, %v", off, err)
	}

	_, err = c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{StreamName: aws.String("gone")})
	wantCode(t, err, "ResourceNotFoundException")
	_, err = c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{})
	wantCode(t, err, "InvalidArgumentException")
	_, err = c.control.DescribeStream(t.Context(), &kinesisvideo.DescribeStreamInput{
		StreamName: aws.String("door"), StreamARN: info.StreamARN,
	})
	wantCode(t, err, "InvalidArgumentException")
}

func TestGetDataEndpointRefuses(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	for _, tt := range []struct {
		api          types.APIName
		stream, want string
	}{
		{types.APINameGetImages, "gone", "ResourceNotFoundException"},
		{types.APINameGetMedia, "cam-1", ""},
		{"GET_RICH", "cam-1", "ValidationException"},
	} {
		_, err := c.control.GetDataEndpoint(t.Context(), &kinesisvideo.GetDataEndpointInput{APIName: tt.api, StreamName: &tt.stream})
		wantCode(t, err, tt.want)
	}
}

func TestNewRefuses(t *testing.T) {
	now := time.Now()
	for name, opts := range map[string]kinesistest.Options{
		"no name":          {Streams: []kinesistest.Stream{{}}},
		"bad name":         {Streams: []kinesistest.Stream{{Name: "a b"}}},
		"name twice":       {Streams: []kinesistest.Stream{{Name: "a"}, {Name: "a"}}},
		"longest shorter":  {FragmentMax: time.Second},
		"own fragment":     {Streams: []kinesistest.Stream{{Name: "a", Fragment: time.Hour}}},
		"fault":            {Faults: kinesistest.Faults{Late: 1.1}},
		"own fault":        {Streams: []kinesistest.Stream{{Name: "a", Faults: &kinesistest.Faults{OffGrid: time.Second}}}},
		"negative record":  {Instants: -1},
		"backwards outage": {Streams: []kinesistest.Stream{{Name: "a", Outages: []kinesistest.Interval{{From: now, To: now}}}}},
		"short fragment":   {Fragment: 100 * time.Millisecond},
		"long fragment":    {Fragment: time.Hour},
		"uneven fragment":  {Fragment: time.Second + 1},
		"negative cache":   {CacheBytes: -1},
		"negative records": {Records: -1},
	} {
		if _, err := kinesistest.New(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStartRefusesTakenAddress(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	if e, err := c.Start(strings.TrimPrefix(c.url, "http://")); err == nil {
		t.Error("no error", e.Close())
	}
}
