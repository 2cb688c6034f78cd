package kinesistest_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// tamper changes requests after the SDK has signed them.
type tamper struct {
	next   http.RoundTripper
	change func(*http.Request)
}

func (t tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	t.change(r)
	return t.next.RoundTrip(r)
}

func TestSignaturesAreChecked(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	const invalid = "InvalidSignatureException"
	for _, tt := range []struct {
		name   string
		as     access
		change func(*http.Request)
		want   string
	}{
		{name: "as it is"},
		{name: "wrong key", as: access{key: "stranger"}, want: "UnrecognizedClientException"},
		{name: "wrong secret", as: access{secret: "guess"}, want: invalid},
		{name: "wrong region", as: access{region: "eu-west-1"}, want: invalid},
		{name: "unsigned", change: func(r *http.Request) { r.Header.Del("Authorization") }, want: "MissingAuthenticationTokenException"},
		{name: "other body", change: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`{"MaxResults":2}`))
		}, want: invalid},
		{name: "other date", change: func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().UTC().Add(time.Second).Format("20060102T150405Z"))
		}, want: invalid},
		{name: "other content type", change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, want: invalid},
		{name: "other query", change: func(r *http.Request) { r.URL.RawQuery = "a=b" }, want: invalid},
		{name: "other host", change: func(r *http.Request) { r.Host = "elsewhere.example" }, want: invalid},
		{name: "smuggled header", change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }, want: invalid},
		{name: "another scheme", change: func(r *http.Request) { r.Header.Set("Authorization", "Basic dGVzdDp0ZXN0") }, want: "IncompleteSignatureException"},
		{name: "nothing claimed", change: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 ,,=,") }, want: "IncompleteSignatureException"},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, want: "IncompleteSignatureException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain := &http.Transport{}
			defer plain.CloseIdleConnections()
			tt.as.transport = plain
			if tt.change != nil {
				tt.as.transport = tamper{plain, tt.change}
			}
			_, err := connect(t, c.url, tt.as).control.ListStreams(t.Context(), &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(1)})
			wantCode(t, err, tt.want)
		})
	}
}

// post sends a request signed for the service at the given time.
func post(t *testing.T, method, url, service string, body []byte, at time.Time) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Spaced", "  a   b ")
	keys := aws.Credentials{AccessKeyID: kinesistest.AccessKey, SecretAccessKey: kinesistest.SecretKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, sum(body), service, kinesistest.Region, at); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestSignedRequests(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	const kv = "kinesisvideo"
	for _, tt := range []struct {
		name, method, path, service string
		body                        string
		age                         time.Duration
		status                      int
		want                        string
	}{
		{"plain", "POST", "/listStreams", kv, "{}", 0, 200, ""},
		{"no body", "POST", "/listStreams", kv, "", 0, 200, ""},
		{"query", "POST", "/listStreams?b=2&a=1+1&a=%2F&c", kv, "{}", 0, 200, ""},
		{"escaped path", "POST", "/list%53treams", kv, "{}", 0, 200, ""},
		{"four minutes old", "POST", "/listStreams", kv, "{}", 4 * time.Minute, 200, ""},
		{"six minutes old", "POST", "/listStreams", kv, "{}", 6 * time.Minute, 403, "InvalidSignatureException"},
		{"from the future", "POST", "/listStreams", kv, "{}", -6 * time.Minute, 403, "InvalidSignatureException"},
		{"another service", "POST", "/listStreams", "s3", "{}", 0, 403, "InvalidSignatureException"},
		{"not JSON", "POST", "/listStreams", kv, "{", 0, 400, "SerializationException"},
		{"not an object", "POST", "/listStreams", kv, "[1]", 0, 400, "SerializationException"},
		{"wrong type", "POST", "/listStreams", kv, `{"MaxResults":"many"}`, 0, 400, "SerializationException"},
		{"null is absent", "POST", "/listStreams", kv, `{"MaxResults":null,"Other":1}`, 0, 200, ""},
		{"wrong case is unknown", "POST", "/describeStream", kv, `{"streamName":"cam-1"}`, 0, 400, "InvalidArgumentException"},
		{"absurd time", "POST", "/getImages", kv, `{"Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP","StartTimestamp":1e300,"EndTimestamp":1}`, 0, 400, "SerializationException"},
		{"time as text", "POST", "/getImages", kv, `{"Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP","StartTimestamp":"now"}`, 0, 400, "SerializationException"},
		{"too large", "POST", "/listStreams", kv, strings.Repeat(" ", 2<<20), 0, 413, "RequestEntityTooLargeException"},
		{"GET", "GET", "/listStreams", kv, "", 0, 404, "UnknownOperationException"},
		{"unknown path", "POST", "/putMedia", kv, "{}", 0, 404, "UnknownOperationException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := post(t, tt.method, c.url+tt.path, tt.service, []byte(tt.body), time.Now().Add(-tt.age))
			if got := resp.Header.Get("X-Amzn-Errortype"); resp.StatusCode != tt.status || got != tt.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}
