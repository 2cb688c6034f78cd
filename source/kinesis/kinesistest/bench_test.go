package kinesistest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// BenchmarkPage serves a page of 25 pictures that are encoded already: what a
// second look at a window costs the fake.
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
