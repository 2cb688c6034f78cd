package kinesistest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// BenchmarkPage serves a page of 25 pictures that are encoded already: the cost of asking
// for a window a second time.
func BenchmarkPage(b *testing.B) {
	srv, err := kinesistest.New(kinesistest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	from := minute().Unix()
	body := fmt.Sprintf(`{"StreamName":"cam-1","Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP",`+
		`"SamplingInterval":200,"StartTimestamp":%d,"EndTimestamp":%d.8}`, from, from+4)
	keys := aws.Credentials{AccessKeyID: kinesistest.AccessKey, SecretAccessKey: kinesistest.SecretKey}
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "http://fake/getImages", strings.NewReader(body))
		if err := v4.NewSigner().SignHTTP(b.Context(), keys, r, sum([]byte(body)), "kinesisvideo", kinesistest.Region, time.Now()); err != nil {
			b.Fatal(err)
		}
		w := httptest.NewRecorder()
		w.Body = nil
		srv.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkPipe serves 20 streams over a pipe to clients that only read.
func BenchmarkPipe(b *testing.B) {
	const streams, windows = 20, 50
	from := minute()
	begin := time.Now()
	for b.Loop() {
		c := bench(b, streams)
		c.poll(b, func(i int) time.Time { return from.Add(-time.Duration(i) * 5 * time.Second) }, windows)
		c.stop()
	}
	images := float64(b.N * streams * windows * 25)
	b.ReportMetric(images/time.Since(begin).Seconds(), "images/s")
}

// Three simulated minutes of 20 streams take a moment, and every image comes.
func TestSimulatedTimeIsCheap(t *testing.T) {
	begin := time.Now()
	const streams, windows = 20, 36
	synctest.Test(t, func(t *testing.T) {
		c := bench(t, streams)
		defer c.stop()
		begin := time.Now()
		c.poll(t, func(i int) time.Time {
			from := begin.Add(time.Duration(i) * 5 * time.Second).Truncate(2 * time.Second)
			time.Sleep(time.Until(from.Add(10 * time.Second)))
			return from
		}, windows)
		for _, name := range c.srv.Streams() {
			if got := c.srv.Totals()[name].Images; got != windows*25 {
				t.Errorf("%s: %d images, want %d", name, got, windows*25)
			}
		}
	})
	t.Logf("%.0f images a second of real time", streams*windows*25/time.Since(begin).Seconds())
}

// A benched service has a pipe, and streams with cheap pictures.
type benched struct {
	srv    *kinesistest.Server
	client *http.Client
	stop   func()
}

func bench(tb testing.TB, streams int) *benched {
	tb.Helper()
	srv, client, stop := overPipe(tb, kinesistest.Options{Scene: tiny{}, Streams: kinesistest.Cameras(streams)})
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = streams
	return &benched{srv, client, stop}
}

// poll asks for windows of 25 images of every stream.
func (c *benched) poll(tb testing.TB, window func(i int) time.Time, windows int) {
	var wg sync.WaitGroup
	for _, name := range c.srv.Streams() {
		wg.Go(func() {
			for i := range windows {
				c.ask(tb, name, window(i))
			}
		})
	}
	wg.Wait()
}

// ask asks for 25 images without the SDK.
func (c *benched) ask(tb testing.TB, stream string, from time.Time) {
	body := fmt.Sprintf(`{"StreamName":%q,"Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP",`+
		`"SamplingInterval":200,"StartTimestamp":%d,"EndTimestamp":%d.8}`, stream, from.Unix(), from.Unix()+4)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://fake/getImages", strings.NewReader(body))
	if err != nil {
		tb.Error(err)
		return
	}
	keys := aws.Credentials{AccessKeyID: kinesistest.AccessKey, SecretAccessKey: kinesistest.SecretKey}
	if err := v4.NewSigner().SignHTTP(r.Context(), keys, r, sum([]byte(body)), "kinesisvideo", kinesistest.Region, time.Now()); err != nil {
		tb.Error(err)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		tb.Error(err)
		return
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n < 5000 {
		tb.Error(resp.Status, n, err)
	}
}
