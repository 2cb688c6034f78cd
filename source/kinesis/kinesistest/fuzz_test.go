package kinesistest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// Any body is either refused with an error like the service's, or is a query within the
// limits.
func FuzzParseImagesQuery(f *testing.F) {
	for _, seed := range []string{
		`{"Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP","StartTimestamp":1767355200,"EndTimestamp":1767355260.2,"SamplingInterval":200}`,
		`{"Format":"PNG","ImageSelectorType":"PRODUCER_TIMESTAMP","StartTimestamp":-1e-3,"EndTimestamp":0,"WidthPixels":3840,"HeightPixels":1,"MaxResults":100}`,
		`{"Format":"JPEG","FormatConfig":{"JPEGQuality":"x"},"StartTimestamp":1e308,"EndTimestamp":null}`,
		`{"Format":"JPEG","ImageSelectorType":"SERVER_TIMESTAMP","StartTimestamp":1767355200,"EndTimestamp":17673552607.35522,"SamplingInterval":200}`,
		`{"Format":[],"MaxResults":1e99}`, `[]`, `null`, ``, `{"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := parseFields(body)
		if err == nil {
			var q imagesQuery
			if q, err = parseImagesQuery(fields); err == nil {
				n := q.window.Slots()
				if n < 1 || n > 1501 || q.limit < 1 || q.limit > poll.PageSlots || len(q.page()) != min(n, q.limit) {
					t.Errorf("%+v: %d slots, a page of %d", q, n, len(q.page()))
				}
				return
			}
		}
		if response := errorResponseOf(err); response.status() != http.StatusBadRequest || !strings.HasSuffix(response.Code, "Exception") {
			t.Errorf("%s: %v", body, err)
		}
	})
}

// The same for ListFragments; and for any query, a page is found quickly.
func FuzzParseFragmentsQuery(f *testing.F) {
	s, err := New(Options{Faults: Faults{Clock: time.Second, Never: 0.5}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"FragmentSelector":{"FragmentSelectorType":"SERVER_TIMESTAMP","TimestampRange":{"StartTimestamp":0,"EndTimestamp":1767355260.2}},"MaxResults":1}`,
		`{"FragmentSelector":{"FragmentSelectorType":"PRODUCER_TIMESTAMP","TimestampRange":{"StartTimestamp":-253402300799,"EndTimestamp":253402300799}}}`,
		`{"FragmentSelector":{"FragmentSelectorType":1,"TimestampRange":[]}}`, `{"FragmentSelector":{}}`, `{"NextToken":"AAAA"}`,
		`{"NextToken":"` + s.tokens.issue("x", "1 2 true 3", noon) + `"}`,
		`{"NextToken":"` + s.tokens.issue("x", "-9223372036854775808 9223372036854775807 false 0", noon) + `"}`,
		`{"MaxResults":1001}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := parseFields(body)
		if err == nil {
			var q fragmentsQuery
			if q, err = s.parseFragmentsQuery(&call{fields: fields, record: &Request{Time: noon}}, "x"); err == nil {
				n := 0
				for range s.streams.sorted[0].media.within(q, noon) {
					if n++; n == q.limit {
						break
					}
				}
				if q.limit < 1 || q.limit > maxFragmentsPage {
					t.Errorf("a page of %d", q.limit)
				}
				return
			}
		}
		if response := errorResponseOf(err); response.status() != http.StatusBadRequest || !strings.HasSuffix(response.Code, "Exception") {
			t.Errorf("%s: %v", body, err)
		}
	})
}

// A client that does not know the secret is refused, whatever the headers.
func FuzzSignature(f *testing.F) {
	day := noon.Format("20060102")
	stamp := noon.Format(signingTime)
	f.Add("AWS4-HMAC-SHA256 Credential=test/"+day+"/us-east-1/kinesisvideo/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", stamp, "/listStreams?a=b")
	f.Add("AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature==", "", "/%25")
	f.Add("AWS4-HMAC-SHA256 ", "20060102T150405Z", "/")
	v := verifier{Region, AccessKey, SecretKey}
	f.Fuzz(func(t *testing.T, authorization, date, target string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if u, err := r.URL.Parse(target); err == nil {
			r.URL = u
		}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		claim, err := v.claim(r, noon.Add(time.Minute))
		if err == nil {
			err = v.verify(r, claim, nil)
		}
		if err == nil {
			t.Errorf("accepted %q", authorization)
		}
	})
}
