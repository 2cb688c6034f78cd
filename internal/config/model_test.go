package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/servicemodel"
)

// accepts tells whether a file with the given keys of a stream is accepted.
func accepts(t *testing.T, stream string) bool {
	t.Helper()
	_, err := Parse("test.yaml", []byte("streams: [{"+stream+", outputs: [x]}]\noutputs: {x: {preset: yolo}}\n"), env)
	if err != nil && strings.Contains(err.Error(), "unknown key") {
		t.Fatal(err)
	}
	return err == nil
}

// TestStreamsKeepToTheModel: what a file may say of a stream is what the service's model
// accepts, no more and no less.
func TestStreamsKeepToTheModel(t *testing.T) {
	model := servicemodel.Load(t, "kinesis-video-archived-media")
	both := map[bool]int{}
	same := func(stream string, value any, valid bool) {
		t.Helper()
		both[valid]++
		if accepts(t, stream) != valid {
			t.Errorf("%.60s: accepted is %t, and the model says %t", fmt.Sprint(value), !valid, valid)
		}
	}
	conforms := func(shape string, value any) bool { return len(model.Check(shape, value)) == 0 }

	for _, name := range model.Variants("StreamName", "front-door") {
		valid := conforms("StreamName", name)
		same("name: "+strconv.Quote(name.(string)), name, valid)
		same("prefix: "+strconv.Quote(name.(string)), name, valid)
	}
	// The model's ARNs are those of signaling channels, too, and it does not say that the
	// name in them is that of a stream.
	name := regexp.MustCompile(`:stream/([^/]*)/`)
	for _, base := range []string{
		"arn:aws:kinesisvideo:eu-west-1:123456789012:stream/yard/1609459200000",
		"arn:aws-cn:kinesisvideo:cn-north-1:1:stream/yard/1", "arn:aws:kinesisvideo:eu-west-1:123456789012:channel/yard/1609459200000",
		"arn:aws:kinesisvideo:eu-west-1:123456789012:stream/" + strings.Repeat("a", 257) + "/1609459200000",
		"arn:aws:kinesisvideo:" + strings.Repeat("a", 1024-len("arn:aws:kinesisvideo::1:stream/a/1")) + ":1:stream/a/1",
	} {
		for _, arn := range model.Variants("ResourceARN", base) {
			m := name.FindStringSubmatch(arn.(string))
			valid := conforms("ResourceARN", arn) && m != nil && conforms("StreamName", m[1])
			same("arn: "+strconv.Quote(arn.(string)), arn, valid)
		}
	}
	for _, n := range []int{-1, 0, 1, 80, 100, 101, 1000} {
		valid := conforms("FormatConfigValue", strconv.Itoa(n)) && n >= 1 && n <= 100 // the documents
		same(fmt.Sprintf("name: a, request: {quality: %d}", n), n, valid)
	}
	for _, width := range model.Variants("WidthPixels", json.Number("640")) {
		for _, height := range model.Variants("HeightPixels", json.Number("480")) {
			same(fmt.Sprintf(`name: a, request: {size: "%vx%v"}`, width, height), width,
				conforms("WidthPixels", width) && conforms("HeightPixels", height))
		}
	}
	for _, format := range model.Variants("Format", "JPEG") {
		// The file writes formats in small letters.
		f := format.(string)
		if f != strings.ToLower(f) || f == "" {
			same("name: a, request: {format: "+strconv.Quote(strings.ToLower(f))+"}", f, conforms("Format", f))
		}
	}
	if both[true] < 50 || both[false] < 50 {
		t.Errorf("%d values were valid, and %d were not", both[true], both[false])
	}
}
