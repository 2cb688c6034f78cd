package page_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	media "github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source/kinesis/page"
)

// A result is what an answer is decoded to.
type result struct {
	Images []page.Image
	Token  string
	Failed bool
	Absent bool // no Images
}

// sameResult compares results; of errors, only whether there is one.
var sameResult = cmp.Options{
	cmp.Comparer(func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }),
	cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) }),
}

// decode reads an answer with our decoder.
func decode(r io.Reader) (result, error) {
	var d page.Decoder
	var got result
	token, err := d.Decode(r, func(img page.Image) bool {
		got.Images = append(got.Images, img)
		return true
	})
	got.Token = token
	got.Absent = errors.Is(err, page.ErrNoImages)
	got.Failed = err != nil && !got.Absent
	return got, err
}

// answering is a transport that always gives the same answer.
type answering []byte

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r,
		Body: io.NopCloser(bytes.NewReader(a)),
	}, nil
}

// sdk reads an answer with the SDK's own client.
func sdk(t testing.TB, body []byte) result {
	t.Helper()
	client := media.New(media.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String("http://sdk"), Retryer: aws.NopRetryer{},
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: answering(body)},
	})
	out, err := client.GetImages(t.Context(), &media.GetImagesInput{
		StreamName: aws.String("cam-1"), Format: "JPEG", ImageSelectorType: "SERVER_TIMESTAMP",
		StartTimestamp: aws.Time(epoch), EndTimestamp: aws.Time(epoch),
	})
	if err != nil {
		return result{Failed: true}
	}
	if out.Images == nil {
		return result{Absent: true}
	}
	want := result{Token: aws.ToString(out.NextToken)}
	for _, entry := range out.Images {
		img := page.Image{Time: aws.ToTime(entry.TimeStamp), Error: string(entry.Error)}
		if entry.ImageContent != nil {
			if img.Data, img.Err = base64.StdEncoding.DecodeString(*entry.ImageContent); img.Err != nil {
				img.Data = nil
			}
		}
		want.Images = append(want.Images, img)
	}
	return want
}

// compare checks our result against the SDK's, however the bytes arrive.
func compare(t *testing.T, body []byte) {
	t.Helper()
	got, err := decode(bytes.NewReader(body))
	want := sdk(t, body)
	if got.Failed && !want.Failed && (errors.Is(err, page.ErrLimit) || repeats(body)) {
		return // as documented
	}
	if got.Failed && want.Failed {
		want.Images = got.Images // those before the error stand
	}
	got.Token, want.Token = tokenOf(got), tokenOf(want)
	if diff := cmp.Diff(want, got, sameResult); diff != "" {
		t.Errorf("%.200q: %v, unlike the SDK's (-), got (+):\n%s", body, err, diff)
	}
	if len(body) > 4<<10 {
		return
	}
	slow, _ := decode(iotest.OneByteReader(bytes.NewReader(body)))
	slow.Token = tokenOf(slow)
	if diff := cmp.Diff(got, slow, sameResult); diff != "" {
		t.Errorf("%.200q: byte by byte (+) it is another (-):\n%s", body, diff)
	}
}

// tokenOf returns the token of a result, if it counts.
func tokenOf(r result) string {
	if r.Failed || r.Absent {
		return ""
	}
	return r.Token
}

// repeats tells whether an object in the answer has the same key twice.
func repeats(body []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	type level struct {
		keys  map[string]bool // nil for an array
		value bool            // whether a value comes next
	}
	var open []level
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		top := len(open) - 1
		if key, ok := tok.(string); ok && top >= 0 && open[top].keys != nil && !open[top].value {
			if open[top].keys[key] {
				return true
			}
			open[top].keys[key], open[top].value = true, true
			continue
		}
		if top >= 0 && tok != json.Delim('}') && tok != json.Delim(']') {
			open[top].value = false
		}
		switch tok {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
	}
}
