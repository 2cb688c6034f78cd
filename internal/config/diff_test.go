package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	const base = `
nats: {url: "nats://user:secret@a:4222"}
streams:
  - {name: a, outputs: [x]}
  - {name: b, outputs: [x]}
  - {prefix: cam-, outputs: [y]}
outputs: {x: {}, y: {preset: clip}}`
	old := parseOK(t, base)
	if diff := cmp.Diff(Difference{}, Diff(old, parseOK(t, base))); diff != "" {
		t.Errorf("the same config: %s", diff)
	}
	got := Diff(old, parseOK(t, `
nats: {url: "nats://user:other@b:4222", tls: {ca: ca.pem}}
log: {level: warn}
price: {per_million_images: 12}
streams:
  - {name: c, outputs: [x]}
  - {name: b, interval: 1s, request: {quality: 90}, outputs: [x, y], from: 2026-01-02T03:04:05Z}
  - {prefix: cam-, outputs: [y], lag: 3s}
outputs: {x: {size: 320x320, roi: "0,0,10,10"}, y: {preset: clip}, z: {}}`))
	want := Difference{
		Restart: []string{"nats.url", "nats.tls.ca", "log.level"},
		Changes: []string{
			"price: per_million_images is 12, was 10",
			"stream a is gone",
			"stream b: interval is 1s, was 200ms",
			"stream b: from is 2026-01-02T03:04:05Z, was resume",
			"stream b: request.quality is 90, was 80",
			"stream b: outputs is [x, y], was [x]",
			"stream c is new",
			"stream cam-*: lag is 3s, was auto",
			"output x: size is 320x320, was 640x640",
			`output x: roi is 0,0,10,10, was ""`,
			"output z is new",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
}
