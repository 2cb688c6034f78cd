package kinesistest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"image"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideoarchivedmedia/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func small(t *testing.T) *scene.Drawn {
	t.Helper()
	d, err := scene.NewDrawn(image.Pt(320, 180))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func decode(t *testing.T, im types.Image) (img image.Image, format string) {
	t.Helper()
	if im.ImageContent == nil {
		t.Fatalf("no picture at %v: %s", im.TimeStamp, im.Error)
	}
	data, err := base64.StdEncoding.DecodeString(*im.ImageContent)
	if err != nil {
		t.Fatal(err)
	}
	img, format, err = image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return img, format
}

func TestEveryImageShowsItsOwnSlot(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t), Streams: kinesistest.Cameras(2)})
	from := minute()
	for _, stream := range c.Streams() {
		in := ask(from, from.Add(12*time.Second))
		in.StreamName = &stream
		next := from
		for pages := 1; ; pages++ {
			out := c.images(t.Context(), t, in)
			if len(out.Images) > 25 {
				t.Fatalf("a page of %d images", len(out.Images))
			}
			for _, im := range out.Images {
				img, _ := decode(t, im)
				got, err := scene.ReadTimeCode(img, scene.WholeView(img))
				want := scene.TimeCode{Time: next.UTC(), Stream: scene.StreamHash(stream)}
				if err != nil || got != want || !im.TimeStamp.Equal(next) {
					t.Fatalf("at %v: %v, %v, want %v", im.TimeStamp, got, err, want)
				}
				next = next.Add(200 * time.Millisecond)
			}
			if out.NextToken == nil {
				if pages != 3 { // 61 slots
					t.Errorf("%d pages, want 3", pages)
				}
				break
			}
			in.NextToken = out.NextToken
		}
		if want := from.Add(12*time.Second + 200*time.Millisecond); !next.Equal(want) {
			t.Errorf("the last slot is before %v, want %v", next, want)
		}
	}
}

func TestPageSizes(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	from := minute()
	for limit, want := range map[int64]int{0: 25, 1: 1, 10: 10, 25: 25, 100: 25} {
		in := ask(from, from.Add(10*time.Second))
		if limit > 0 {
			in.MaxResults = &limit
		}
		if got := len(c.images(t.Context(), t, in).Images); got != want {
			t.Errorf("MaxResults %d: %d images, want %d", limit, got, want)
		}
	}
	in := ask(from, from)
	in.SamplingInterval = nil
	if got := len(c.images(t.Context(), t, in).Images); got != 1 {
		t.Errorf("an instant has %d images, want 1", got)
	}
	in.EndTimestamp = aws.Time(from.Add(9 * time.Second))
	if got := len(c.images(t.Context(), t, in).Images); got != 4 {
		t.Errorf("9 s at the default interval have %d images, want 4", got)
	}
}

func TestTokensBelongToTheirRequest(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t)})
	from := minute()
	token := c.images(t.Context(), t, ask(from, from.Add(10*time.Second))).NextToken
	for name, change := range map[string]func(*kinesisvideoarchivedmedia.GetImagesInput){
		"stream":   func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.StreamName = aws.String("cam-2") },
		"start":    func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.StartTimestamp = aws.Time(from.Add(1e6)) },
		"end":      func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.EndTimestamp = aws.Time(from.Add(11e9)) },
		"interval": func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.SamplingInterval = aws.Int32(201) },
		"format":   func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.Format = types.FormatPng },
		"quality": func(in *kinesisvideoarchivedmedia.GetImagesInput) {
			in.FormatConfig = map[string]string{"JPEGQuality": "81"}
		},
		"token": func(in *kinesisvideoarchivedmedia.GetImagesInput) { in.NextToken = aws.String("AAAA" + *token) },
	} {
		in := ask(from, from.Add(10*time.Second))
		in.NextToken = token
		change(in)
		_, err := c.data.GetImages(t.Context(), in)
		if got := code(err); got != "InvalidArgumentException" {
			t.Errorf("%s: %q (%v)", name, got, err)
		}
	}
	in := ask(from, from.Add(10*time.Second))
	in.NextToken, in.MaxResults = token, aws.Int64(3)
	if got := c.images(t.Context(), t, in); len(got.Images) != 3 || !got.Images[0].TimeStamp.Equal(from.Add(5*time.Second)) {
		t.Errorf("a smaller page: %d images", len(got.Images))
	}
}

func TestFormats(t *testing.T) {
	drawn, err := scene.NewDrawn(image.Pt(640, 360))
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, kinesistest.Options{Scene: drawn})
	from := minute()
	sizes := map[string]int{}
	for _, tt := range []struct {
		name    string
		format  types.Format
		quality string
		w, h    int32
		want    string
	}{
		{"default", types.FormatJpeg, "", 0, 0, "jpeg (640,360)"},
		{"eighty", types.FormatJpeg, "80", 0, 0, "jpeg (640,360)"},
		{"low", types.FormatJpeg, "5", 0, 0, "jpeg (640,360)"},
		{"high", types.FormatJpeg, "100", 0, 0, "jpeg (640,360)"},
		{"stretched", types.FormatJpeg, "", 400, 400, "jpeg (400,400)"},
		{"png", types.FormatPng, "", 0, 0, "png (640,360)"},
		{"small png", types.FormatPng, "", 321, 181, "png (321,181)"},
	} {
		in := ask(from, from)
		in.Format = tt.format
		if tt.quality != "" {
			in.FormatConfig = map[string]string{"JPEGQuality": tt.quality}
		}
		if tt.w != 0 {
			in.WidthPixels, in.HeightPixels = &tt.w, &tt.h
		}
		im := c.images(t.Context(), t, in).Images[0]
		img, format := decode(t, im)
		if got := fmt.Sprint(format, " ", img.Bounds().Size()); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if got, err := scene.ReadTimeCode(img, scene.WholeView(img)); err != nil || !got.Time.Equal(from) {
			t.Errorf("%s: shows %v, %v", tt.name, got, err)
		}
		sizes[tt.name] = len(*im.ImageContent)
	}
	if sizes["low"] >= sizes["default"] || sizes["default"] != sizes["eighty"] || sizes["eighty"] >= sizes["high"] {
		t.Errorf("sizes do not follow the quality: %v", sizes)
	}
}

func TestGetImagesRefuses(t *testing.T) {
	c := start(t, kinesistest.Options{
		Scene:   small(t),
		Streams: append(kinesistest.Cameras(1), kinesistest.Stream{Name: "off", Retention: -1}),
	})
	from := minute()
	type input = *kinesisvideoarchivedmedia.GetImagesInput
	const arn = "arn:aws:kinesisvideo:us-east-1:123456789012:stream/gone/1"
	for _, tt := range []struct {
		name   string
		change func(input)
		want   string
	}{
		{"valid", func(input) {}, ""},
		{"300 s", func(in input) { in.EndTimestamp = aws.Time(from.Add(300 * time.Second)) }, ""},
		{"more than 300 s", func(in input) { in.EndTimestamp = aws.Time(from.Add(300*time.Second + 1e6)) }, "IllegalArgumentException"},
		{"backwards", func(in input) { in.EndTimestamp = aws.Time(from.Add(-1e6)) }, "InvalidArgumentException"},
		{"199 ms", func(in input) { in.SamplingInterval = aws.Int32(199) }, "InvalidArgumentException"},
		{"negative interval", func(in input) { in.SamplingInterval = aws.Int32(-200) }, "InvalidArgumentException"},
		{"no stream", func(in input) { in.StreamName = nil }, "InvalidArgumentException"},
		{"both names", func(in input) { in.StreamARN = aws.String(arn) }, "InvalidArgumentException"},
		{"unknown stream", func(in input) { in.StreamName = aws.String("gone") }, "ResourceNotFoundException"},
		{"unknown ARN", func(in input) { in.StreamName, in.StreamARN = nil, aws.String(arn) }, "ResourceNotFoundException"},
		{"no retention", func(in input) { in.StreamName = aws.String("off") }, "NoDataRetentionException"},
		{"format", func(in input) { in.Format = "GIF" }, "ValidationException"},
		{"selector", func(in input) { in.ImageSelectorType = "SUN_DIAL" }, "ValidationException"},
		{"width alone", func(in input) { in.WidthPixels = aws.Int32(640) }, "ValidationException"},
		{"height alone", func(in input) { in.HeightPixels = aws.Int32(640) }, "ValidationException"},
		{"width 0", func(in input) { in.WidthPixels, in.HeightPixels = aws.Int32(0), aws.Int32(1) }, "ValidationException"},
		{"too wide", func(in input) { in.WidthPixels, in.HeightPixels = aws.Int32(3841), aws.Int32(1) }, "ValidationException"},
		{"too high", func(in input) { in.WidthPixels, in.HeightPixels = aws.Int32(1), aws.Int32(2161) }, "ValidationException"},
		{"MaxResults 0", func(in input) { in.MaxResults = aws.Int64(0) }, "ValidationException"},
		{"MaxResults 101", func(in input) { in.MaxResults = aws.Int64(101) }, "ValidationException"},
		{"quality 0", func(in input) { in.FormatConfig = map[string]string{"JPEGQuality": "0"} }, "InvalidArgumentException"},
		{"quality high", func(in input) { in.FormatConfig = map[string]string{"JPEGQuality": "high"} }, "InvalidArgumentException"},
		{"config key", func(in input) { in.FormatConfig = map[string]string{"Quality": "80"} }, "ValidationException"},
		{"all in the future", func(in input) {
			in.StartTimestamp, in.EndTimestamp = aws.Time(time.Now().Add(time.Hour)), aws.Time(time.Now().Add(time.Hour+time.Minute))
		}, "ResourceNotFoundException"},
		{"before retention, server", func(in input) {
			in.StartTimestamp, in.EndTimestamp = aws.Time(from.Add(-25*time.Hour)), aws.Time(from.Add(-25*time.Hour+time.Minute))
		}, "InvalidArgumentException"},
		{"before retention, producer", func(in input) {
			in.StartTimestamp, in.EndTimestamp = aws.Time(from.Add(-25*time.Hour)), aws.Time(from.Add(-25*time.Hour+time.Minute))
			in.ImageSelectorType = types.ImageSelectorTypeProducerTimestamp
		}, "ResourceNotFoundException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := ask(from, from.Add(time.Second))
			tt.change(in)
			_, err := c.data.GetImages(t.Context(), in)
			wantCode(t, err, tt.want)
			if tt.want == "" && err != nil {
				t.Error(err)
			}
		})
	}
	_, err := c.data.GetImages(t.Context(), ask(from.Add(100*time.Millisecond), from.Add(time.Second)))
	if code(err) != "ResourceNotFoundException" || !strings.Contains(err.Error(), "No fragments found") {
		t.Errorf("a window within one fragment: %v", err)
	}
}

func TestInterceptAndCorrupt(t *testing.T) {
	faults := make(chan *kinesistest.ErrorResponse, 3)
	from := minute()
	c := start(t, kinesistest.Options{
		Scene: small(t),
		Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation != "GetImages" || r.Stream != "cam-1" || r.Asked != 6 {
				return nil
			}
			select {
			case f := <-faults:
				return f
			default:
				return nil
			}
		},
		Corrupt: func(_ string, at time.Time, data []byte) []byte {
			if at.Equal(from) {
				clear(data)
				return data[:100]
			}
			return data
		},
	})
	in := ask(from, from.Add(time.Second))
	faults <- kinesistest.Throttled()
	faults <- kinesistest.Broken()
	faults <- kinesistest.NoImages()
	_, err := c.data.GetImages(t.Context(), in)
	wantCode(t, err, "ClientLimitExceededException")
	_, err = c.data.GetImages(t.Context(), in)
	wantCode(t, err, "InternalFailure")
	if out := c.images(t.Context(), t, in); out.Images != nil {
		t.Errorf("got %d images, want none", len(out.Images))
	}
	for range 2 { // a corrupt image must not spoil the cache
		out := c.images(t.Context(), t, in)
		if got := *out.Images[0].ImageContent; got != base64.StdEncoding.EncodeToString(make([]byte, 100)) {
			t.Errorf("the first image is %d characters, want zeros", len(got))
		}
		decode(t, out.Images[1])
	}
}

func TestRecord(t *testing.T) {
	c := start(t, kinesistest.Options{Scene: small(t), Records: 3})
	from := minute()
	c.images(t.Context(), t, ask(from.Add(1800*time.Millisecond), from.Add(2200*time.Millisecond)))
	_, err := c.data.GetImages(t.Context(), ask(from.Add(time.Hour), from.Add(time.Hour)))
	wantCode(t, err, "ResourceNotFoundException")
	in := ask(from, from)
	in.StreamName = aws.String("gone")
	_, err = c.data.GetImages(t.Context(), in)
	wantCode(t, err, "ResourceNotFoundException")

	got := c.Requests()
	for i := range got {
		if age := time.Since(got[i].Time); age < 0 || age > time.Minute {
			t.Errorf("request %d is %v old", i, age)
		}
		got[i].Time = time.Time{}
	}
	at := func(d time.Duration) time.Time { return from.Add(d).UTC() }
	want := []kinesistest.Request{
		{
			Operation: "GetImages", Stream: "cam-1", Status: 200, Asked: 3, Interval: 200 * time.Millisecond,
			Start: at(1800 * time.Millisecond), End: at(2200 * time.Millisecond),
			Images: []time.Time{at(2 * time.Second), at(2200 * time.Millisecond)}, Made: 2,
		},
		{
			Operation: "GetImages", Stream: "cam-1", Status: 404, Code: "ResourceNotFoundException", Asked: 1,
			Interval: 200 * time.Millisecond, Start: at(time.Hour), End: at(time.Hour),
		},
		{Operation: "GetImages", Status: 404, Code: "ResourceNotFoundException"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	totals := map[string]kinesistest.Total{
		"":      {Requests: 1, Errors: 1},
		"cam-1": {Requests: 3, Errors: 1, Asked: 4, Answered: 3, Images: 2, Made: 2}, // with GetDataEndpoint
	}
	if diff := cmp.Diff(totals, c.Totals()); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}
