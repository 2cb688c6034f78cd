package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const excerptOf = `aws: {region: eu-west-1}
http: {token: secret}
streams:
- arn: arn:aws:kinesisvideo:eu-west-1:111122223333:stream/door/1700000000000
  interval: 1s
  lag: 2s
  freshness: 30s
  from: 2026-01-02T03:04:05Z
  request: {format: png, size: 1280x720}
  masks: [{polygon: [[0, 0], [1, 0.25], [0, 1]], fill: "255,0,0"}, {box: [0.1, 0.2, 0.3, 0.4], pixelate: 16}]
  outputs: [wide, crop]
- {prefix: cam-, burst: {most: 30s}, outputs: [raw]}
outputs:
  wide: {preset: yolo, size: 128x96, scale: 1/127, pad: 0, dtype: uint8, roi: "0.25,0.25,0.5,0.5"}
  crop: {preset: imagenet}
  raw: {preset: raw, tiles: {size: 640, overlap: 0.2}, gate: {change: 2%, every: 20s}}
`

// TestExcerpt: what is copied is a config file by itself, means the same, and has nothing of
// the rest.
func TestExcerpt(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	cfg, err := Parse("cvfeeder.yaml", []byte(excerptOf), none)
	if err != nil {
		t.Fatal(err)
	}
	found := cfg.Streams[1]
	found.Name = "cam-7"
	for _, s := range []Stream{cfg.Streams[0], found} {
		text, err := cfg.Excerpt(s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "secret") || strings.Contains(text, "http") {
			t.Errorf("%s has more than the stream:\n%s", s.Name, text)
		}
		again, err := Parse("copy.yaml", []byte(text), none)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		s.Prefix = ""
		if diff := cmp.Diff([]Stream{s}, again.Streams); diff != "" {
			t.Errorf("%s\n%s", text, diff)
		}
		for name, o := range again.Outputs {
			if diff := cmp.Diff(cfg.Outputs[name], o); diff != "" {
				t.Errorf("%s\n%s", text, diff)
			}
		}
		if len(again.Outputs) != len(s.Outputs) {
			t.Errorf("%d outputs in\n%s", len(again.Outputs), text)
		}
	}
}

// TestExcerptOfABatch: the copy of one stream has no batch, whose other streams are not in it.
func TestExcerptOfABatch(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	cfg, err := Parse("cvfeeder.yaml", []byte(`
streams: [{name: a, outputs: [all]}, {name: b, outputs: [all]}]
outputs: {all: {preset: yolo, dtype: uint8, batch: {name: yard, streams: [a, b], wait: 1s}}}
`), none)
	if err != nil {
		t.Fatal(err)
	}
	text, err := cfg.Excerpt(cfg.Streams[0])
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("copy.yaml", []byte(text), none)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if o := again.Outputs["all"]; o.Batch.Name != "" || o.DType != "uint8" {
		t.Errorf("%+v", o)
	}
}
