package kinesistest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

func TestStreamsComeAndGo(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}, Streams: kinesistest.Cameras(2)})
	if err := c.AddStream(kinesistest.Stream{Name: "cam-1"}); err == nil || !strings.Contains(err.Error(), "cam-1") {
		t.Errorf("a name twice: %v", err)
	}
	if err := c.AddStream(kinesistest.Stream{Name: "a b"}); err == nil {
		t.Error("a bad name: no error")
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := fmt.Sprint("new-", i)
			for range 50 {
				if err := c.AddStream(kinesistest.Stream{Name: name}); err != nil {
					t.Error(err)
				}
				c.Streams()
				if _, err := c.control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(3)}); err != nil {
					t.Error(err)
				}
				if !c.RemoveStream(name) {
					t.Error("the stream is gone")
				}
			}
		})
	}
	wg.Wait()
	if !c.RemoveStream("cam-2") || c.RemoveStream("cam-2") {
		t.Error("removed not once")
	}
	if diff := cmp.Diff([]string{"cam-1"}, c.Streams()); diff != "" {
		t.Error(diff)
	}
	in := ask(minute(), minute())
	in.StreamName = aws.String("cam-2")
	_, err := c.data.GetImages(t.Context(), in)
	wantCode(t, err, "ResourceNotFoundException")
	if all, err := c.Media("cam-2", minute(), minute().Add(time.Second), interval); err != nil || len(all) != 5 {
		t.Errorf("the truth about a former stream: %d, %v", len(all), err)
	}
}

// Paging through the list while a stream is removed returns all the others.
func TestListWhileStreamsGo(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}, Streams: kinesistest.Cameras(4)})
	in := &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(2)}
	first, err := c.control.ListStreams(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	c.RemoveStream("cam-1")
	c.RemoveStream("cam-2")
	in.NextToken = first.NextToken
	second, err := c.control.ListStreams(t.Context(), in)
	if err != nil || len(second.StreamInfoList) != 2 || *second.StreamInfoList[0].StreamName != "cam-3" || second.NextToken != nil {
		t.Errorf("got %v, %v", second, err)
	}
}

func TestHandedIsBounded(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: tiny{}, Instants: 10})
	from := minute()
	c.images(t.Context(), t, ask(from, from.Add(5*time.Second-interval)))
	c.images(t.Context(), t, ask(from.Add(4*time.Second), from.Add(5*time.Second-interval)))
	got := c.Handed("cam-1")
	want := map[source.Slot]int{}
	for i := range 10 {
		want[source.SlotAt(from.Add(3*time.Second+time.Duration(i)*interval))] = 1 + i/5
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Handed("cam-2")) != 0 {
		t.Error("handed out of another stream")
	}
}
