package kinesistest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	kvtypes "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"

	"github.com/cvfeeder/cvfeeder/internal/servicemodel"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// A conformance holds requests and answers against the models of the two services that
// the fake is.
type conformance struct {
	services []*servicemodel.Service
	// answers are counted by operation and by the code of the error, "" for none.
	answers map[string]int
	problem func(operation, problem string)
}

func loadModels(t *testing.T) *conformance {
	t.Helper()
	return &conformance{
		services: []*servicemodel.Service{
			servicemodel.Load(t, "kinesisvideo"), servicemodel.Load(t, "kinesis-video-archived-media"),
		},
		answers: map[string]int{},
		problem: func(operation, problem string) { t.Errorf("%s: %s", operation, problem) },
	}
}

// operation returns the model of an operation, and the service's.
func (c *conformance) operation(t *testing.T, name string) (*servicemodel.Service, servicemodel.Operation) {
	t.Helper()
	for _, s := range c.services {
		if op, ok := s.Operations[name]; ok {
			return s, op
		}
	}
	t.Fatalf("no model has the operation %s", name)
	return nil, servicemodel.Operation{}
}

// unmodelled are the errors that are not in the model, with their HTTP status: those that
// the documents name beside it (GetImages, and "Common Errors" of the developer guide), and
// those with which AWS answers requests that reach no operation or are not signed well.
var unmodelled = map[string]int{
	"ValidationException": 400, "IllegalArgumentException": 400, "SerializationException": 400,
	"InternalFailure": 500, "ServiceUnavailable": 503,
	"AccessDeniedException": 403, "ExpiredTokenException": 403, "UnknownOperationException": 404,
}

// answer checks an answer to an operation against the model.
func (c *conformance) answer(t *testing.T, name string, status int, header http.Header, body []byte) {
	t.Helper()
	s, op := c.operation(t, name)
	code := header.Get("X-Amzn-Errortype")
	c.answers[name+" "+code]++
	shape, want := op.Output.Shape, http.StatusOK
	if code != "" {
		shape, want = code, unmodelled[code]
		if slices.Contains(op.Errors, servicemodel.Ref{Shape: code}) {
			want = s.Shapes[code].Error.HTTPStatusCode
		} else {
			shape = "InvalidArgumentException" // a message, like all of them
		}
	}
	if status != want {
		c.problem(name, fmt.Sprintf("%s comes with the status %d, want %d", code, status, want))
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		c.problem(name, err.Error())
		return
	}
	for _, p := range s.Check(shape, value) {
		c.problem(name, p)
	}
}

// call sends a request to the operation, checks the answer, and returns its status and the
// code of its error.
func (c *conformance) call(t *testing.T, srv http.Handler, name string, in any) (status int, code string) {
	t.Helper()
	_, op := c.operation(t, name)
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), op.HTTP.Method, "http://fake.example"+op.HTTP.RequestURI, bytes.NewReader(body))
	keys := aws.Credentials{AccessKeyID: kinesistest.AccessKey, SecretAccessKey: kinesistest.SecretKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, sum(body), "kinesisvideo", kinesistest.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	c.answer(t, name, w.Code, w.Header(), w.Body.Bytes())
	return w.Code, w.Header().Get("X-Amzn-Errortype")
}

type object = map[string]any

// requests are valid ones, which together have every member of the inputs.
func requests(arn string, at time.Time) map[string][]object {
	seconds := func(t time.Time) json.Number { return json.Number(fmt.Sprint(t.Unix())) }
	between := object{"StartTimestamp": seconds(at), "EndTimestamp": seconds(at.Add(4 * time.Second))}
	images := func(more object) object {
		in := object{
			"ImageSelectorType": "SERVER_TIMESTAMP", "SamplingInterval": json.Number("1000"),
			"Format": "JPEG", "FormatConfig": object{"JPEGQuality": "80"},
		}
		maps.Copy(in, between)
		maps.Copy(in, more)
		return in
	}
	return map[string][]object{
		"DescribeStream":  {{"StreamName": "cam-1"}, {"StreamARN": arn}},
		"GetDataEndpoint": {{"StreamName": "cam-1", "APIName": "GET_IMAGES"}, {"StreamARN": arn, "APIName": "LIST_FRAGMENTS"}},
		"ListStreams": {
			{"MaxResults": json.Number("3"), "StreamNameCondition": object{"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "cam"}},
			{"NextToken": "AAAA"},
		},
		"GetImages": {
			images(object{"StreamName": "cam-1", "MaxResults": json.Number("2")}), images(object{"StreamARN": arn}),
			images(object{"StreamName": "cam-1", "WidthPixels": json.Number("32"), "HeightPixels": json.Number("32")}),
			images(object{"StreamName": "cam-1", "NextToken": "AAAA"}),
		},
		"ListFragments": {
			{"StreamName": "cam-1", "MaxResults": json.Number("2"), "FragmentSelector": object{
				"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": between,
			}},
			{"StreamARN": arn, "NextToken": "AAAA"},
		},
	}
}

// TestInputsKeepToTheModel sends requests that are just inside and just outside of every
// constraint of the model, and gets a ValidationException for the latter only.
func TestInputsKeepToTheModel(t *testing.T) {
	c := loadModels(t)
	srv, err := kinesistest.New(kinesistest.Options{Scene: tiny{}})
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:kinesisvideo:us-east-1:123456789012:stream/cam-1/946684800000"
	for name, bases := range requests(arn, minute()) {
		s, op := c.operation(t, name)
		members := map[string]bool{}
		for _, base := range bases {
			for member := range base {
				members[member] = true
			}
			inside, outside := 0, 0
			for _, in := range s.Variants(op.Input.Shape, base) {
				problems := s.Check(op.Input.Shape, in)
				if len(problems) == 0 {
					inside++
				} else {
					outside++
				}
				c.input(t, srv, name, in.(object), problems)
			}
			t.Logf("%s: %d requests that keep to the model, and %d that do not", name, inside, outside)
		}
		for member := range s.Shapes[op.Input.Shape].Members {
			if !members[member] {
				t.Errorf("%s: no request has the member %s", name, member)
			}
		}
	}
}

// semantic are the errors of requests that keep to the model and make no sense, such as for
// a stream that there is not, or a token that was never issued.
var semantic = []string{"ResourceNotFoundException", "InvalidArgumentException"}

func (c *conformance) input(t *testing.T, srv http.Handler, name string, in object, problems []string) {
	t.Helper()
	_, width := in["WidthPixels"]
	_, height := in["HeightPixels"]
	if width && in["WidthPixels"] == nil || height && in["HeightPixels"] == nil || width != height {
		problems = append(problems, "one of WidthPixels and HeightPixels alone: this is in the documents only")
	}
	status, code := c.call(t, srv, name, in)
	switch {
	case len(problems) > 0 && (status != http.StatusBadRequest || code != "ValidationException"):
		t.Errorf("%s with %.300v: %d %s, but %q", name, in, status, code, problems)
	case len(problems) == 0 && status != http.StatusOK && !slices.Contains(semantic, code):
		t.Errorf("%s with %.300v keeps to the model: %d %s", name, in, status, code)
	}
}

// TestValuesOfTheModelWork: numbers, enums and names up to their limits are not only not
// refused by the model, they work.
func TestValuesOfTheModelWork(t *testing.T) {
	c := loadModels(t)
	srv, err := kinesistest.New(kinesistest.Options{Scene: tiny{}})
	if err != nil {
		t.Fatal(err)
	}
	control := c.services[0]
	for _, name := range control.Variants("StreamName", "cam-1") {
		valid := len(control.Check("StreamName", name)) == 0
		if name == "cam-1" {
			continue
		}
		switch err := srv.AddStream(kinesistest.Stream{Name: name.(string)}); {
		case (err == nil) != valid:
			t.Errorf("a stream named %.40q: %v", name, err)
		case valid:
			if status, code := c.call(t, srv, "DescribeStream", object{"StreamName": name}); status != http.StatusOK {
				t.Errorf("a stream named %.40q: %d %s", name, status, code)
			}
			if !srv.RemoveStream(name.(string)) {
				t.Errorf("there is no stream %.40q", name)
			}
		}
	}
	works := []string{
		"APIName", "ComparisonOperator", "MaxResults", "ImageSelectorType", "Format", "WidthPixels", "HeightPixels", "FragmentSelector",
	}
	for name, bases := range requests("", minute()) {
		s, op := c.operation(t, name)
		for member, ref := range s.Shapes[op.Input.Shape].Members {
			base := bases[slices.IndexFunc(bases, func(b object) bool { return b[member] != nil })]
			if !slices.Contains(works, member) {
				continue
			}
			for _, v := range s.Variants(ref.Shape, base[member]) {
				if len(s.Check(ref.Shape, v)) > 0 {
					continue
				}
				in := maps.Clone(base)
				in[member] = v
				if status, code := c.call(t, srv, name, in); status != http.StatusOK {
					t.Errorf("%s with %s %v: %d %s", name, member, v, status, code)
				}
			}
		}
	}
}

// checked holds every answer that arrives whole against the model.
type checked struct {
	next http.RoundTripper
	with func(path string, resp *http.Response, body []byte)
}

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err // cut on its way
	}
	c.with(r.URL.Path, resp, body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// run asks everything of streams with the given faults, for some fake time.
func (c *conformance) run(t *testing.T, faults kinesistest.Faults, length time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		srv, net, stop := overPipe(t, kinesistest.Options{Scene: tiny{}, Faults: faults, Seed: 3})
		t.Cleanup(stop)
		client := connect(t, "http://fake.example", access{transport: checked{net.Transport, func(path string, resp *http.Response, body []byte) {
			operation := path[strings.LastIndexByte(path, '/')+1:]
			c.answer(t, strings.ToUpper(operation[:1])+operation[1:], resp.StatusCode, resp.Header, body)
		}}})
		client.Server = srv
		for time.Since(begin) < length {
			time.Sleep(3 * time.Second)
			for _, stream := range []string{"cam-1", "cam-2"} {
				client.everything(t, stream)
			}
		}
	})
}

// everything sends a request of each operation, and follows its pages. Errors are what the
// transport has seen.
func (c *client) everything(t *testing.T, stream string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // some are never answered
	defer cancel()
	list := kinesisvideo.NewListStreamsPaginator(c.control, &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(1)})
	for list.HasMorePages() {
		if _, err := list.NextPage(ctx); err != nil {
			break
		}
	}
	_, _ = c.control.DescribeStream(ctx, &kinesisvideo.DescribeStreamInput{StreamName: &stream})
	located, err := c.control.GetDataEndpoint(ctx, &kinesisvideo.GetDataEndpointInput{StreamName: &stream, APIName: kvtypes.APINameGetImages})
	if err != nil {
		return
	}
	at := func(o *kinesisvideoarchivedmedia.Options) { o.BaseEndpoint = located.DataEndpoint }
	now := time.Now()
	for _, back := range []time.Duration{0, 30 * time.Hour} {
		in := ask(now.Add(-20*time.Second-back), now.Add(-back))
		in.StreamName = &stream
		images := kinesisvideoarchivedmedia.NewGetImagesPaginator(c.data, in)
		for images.HasMorePages() {
			if _, err := images.NextPage(ctx, at); err != nil {
				break
			}
		}
	}
	fragments := kinesisvideoarchivedmedia.NewListFragmentsPaginator(c.data, &kinesisvideoarchivedmedia.ListFragmentsInput{
		StreamName: &stream, MaxResults: aws.Int64(3),
		FragmentSelector: selectorOf(types.FragmentSelectorTypeServerTimestamp, now.Add(-20*time.Second), now),
	})
	for fragments.HasMorePages() {
		if _, err := fragments.NextPage(ctx, at); err != nil {
			break
		}
	}
}

// TestAnswersKeepToTheModel holds every answer of the fake with all its faults against the
// model.
func TestAnswersKeepToTheModel(t *testing.T) {
	c := loadModels(t)
	// An empty content is beyond the model. Other services on this protocol answer it.
	// With empty-entries or empty-refused, none is answered with ResourceNotFoundException.
	faults, err := kinesistest.ParseFaults("all,early-empty=0,no-picture=0,empty-entries=false,empty-refused=false,recreate=10m,no-retention=15m,away-for=1m")
	if err != nil {
		t.Fatal(err)
	}
	c.run(t, faults, time.Hour)
	t.Logf("%v", c.answers)
	for _, want := range []string{
		"ListStreams ", "ListStreams ExpiredTokenException", "ListStreams ServiceUnavailable",
		"DescribeStream ", "DescribeStream ResourceNotFoundException", "DescribeStream ExpiredTokenException",
		"GetDataEndpoint ", "GetDataEndpoint ResourceNotFoundException", "GetDataEndpoint ClientLimitExceededException",
		"GetImages ", "GetImages ResourceNotFoundException", "GetImages NoDataRetentionException", "GetImages ValidationException",
		"GetImages InvalidArgumentException", "GetImages InternalFailure",
		"ListFragments ", "ListFragments ServiceUnavailable",
	} {
		if c.answers[want] == 0 {
			t.Errorf("there was no %q among the answers", want)
		}
	}
}

// TestTheModelIsHeldAgainst: an answer beyond the model is noticed.
func TestTheModelIsHeldAgainst(t *testing.T) {
	c := loadModels(t)
	var problems []string
	c.problem = func(operation, problem string) { problems = append(problems, operation+": "+problem) }
	c.run(t, kinesistest.Faults{EarlyEmpty: 1, EarlyFor: time.Hour}, time.Minute)
	want := "GetImages: GetImagesOutput.Images[0].ImageContent: 0 is below 1"
	if !slices.Contains(problems, want) {
		t.Errorf("%q is not among %d problems", want, len(problems))
	}
}
