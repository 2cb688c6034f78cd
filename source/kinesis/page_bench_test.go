package kinesis_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

// BenchmarkPage gets a page of 25 images of 390 KB, 13 MB of JSON, from the loopback, and in
// turn reads it, decodes it with [kinesis.Stream.Images], and decodes it with the SDK's own
// deserializer and base64. It reports ratios of medians:
//
//   - page-decode-vs-read: ours to reading the body into memory of its size, which is the
//     least that anyone does who keeps the pictures;
//   - page-decode-vs-discard: ours to reading the body into one small buffer again and
//     again, which keeps nothing;
//   - page-decode-vs-sdk: the SDK's to ours;
//
// and what a page allocates in ours.
func BenchmarkPage(b *testing.B) {
	body := heavyPage()
	srv := loopback(b, &raw{answer: func(w http.ResponseWriter, _ int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body)
	}})
	stream := connect(b, srv.URL, srv.Client(), nil)
	ways := [...]func(){
		func() { readPage(b, srv, len(body)) },
		func() { discardPage(b, srv) },
		func() { streamPage(b, stream) },
		sdkPage(b, srv),
	}
	var took [len(ways)][]float64
	var allocated []float64
	for b.Loop() {
		for i, way := range ways {
			way() // once to get over the garbage of the way before
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			way()
			took[i] = append(took[i], time.Since(begin).Seconds())
			if runtime.ReadMemStats(&after); i == 2 {
				allocated = append(allocated, float64(after.TotalAlloc-before.TotalAlloc))
			}
		}
	}
	read, discard, ours, sdk := median(took[0]), median(took[1]), median(took[2]), median(took[3])
	b.ReportMetric(ours/read, "page-decode-vs-read")
	b.ReportMetric(ours/discard, "page-decode-vs-discard")
	b.ReportMetric(sdk/ours, "page-decode-vs-sdk")
	b.ReportMetric(ours*1e3, "ms/page")
	b.ReportMetric(median(allocated), "B/page")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// heavyPage returns an answer whose pictures are noise.
func heavyPage() []byte {
	rnd := rand.NewChaCha8([32]byte{})
	var b bytes.Buffer
	for i := range 25 {
		picture := make([]byte, 385_000+400*i)
		_, _ = rnd.Read(picture)
		fmt.Fprintf(&b, `,{"TimeStamp":%d.2,"ImageContent":"%s"}`, 1772366400+i, base64.StdEncoding.EncodeToString(picture))
	}
	return fmt.Appendf(nil, `{"Images":[%s]}`, b.Bytes()[1:])
}

// get asks for a page without the SDK.
func get(b *testing.B, srv *httptest.Server) io.ReadCloser {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/getImages", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		b.Fatal(err)
	}
	return resp.Body
}

func readPage(b *testing.B, srv *httptest.Server, size int) {
	body := get(b, srv)
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	_, _ = body.Read(make([]byte, 1)) // the end, which frees the connection
}

func discardPage(b *testing.B, srv *httptest.Server) {
	body := get(b, srv)
	defer body.Close()
	if _, err := io.Copy(io.Discard, body); err != nil {
		b.Fatal(err)
	}
}

func streamPage(b *testing.B, stream poll.Fetcher) {
	n := 0
	for img, err := range stream.Images(b.Context(), past(25)) {
		if err != nil || img.Err != nil {
			b.Fatal(err, img.Err)
		}
		n += len(img.Data)
	}
	if n < 25*385_000 {
		b.Fatalf("%d bytes", n)
	}
}

// sdkPage returns a function that reads a page in the way the SDK is meant to be used.
func sdkPage(b *testing.B, srv *httptest.Server) func() {
	client := media.New(media.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(srv.URL), HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
	in := &media.GetImagesInput{
		StreamName: aws.String("cam-1"), Format: "JPEG", ImageSelectorType: "SERVER_TIMESTAMP",
		StartTimestamp: aws.Time(time.Unix(0, 0)), EndTimestamp: aws.Time(time.Unix(5, 0)),
	}
	return func() {
		out, err := client.GetImages(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		for _, img := range out.Images {
			if _, err := base64.StdEncoding.DecodeString(*img.ImageContent); err != nil {
				b.Fatal(err)
			}
		}
	}
}
