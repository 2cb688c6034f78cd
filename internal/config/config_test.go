package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	shipped     = "../../docker/cvfeeder.yaml"
	errorsFile  = "testdata/errors.txtar"
	minimalFile = "streams:\n  - name: front-door\n    outputs: [detector]\noutputs:\n  detector: {}\n"
)

var update = flag.Bool("update", false, "rewrite the expected errors in "+errorsFile)

// env is the environment of the tests.
func env(name string) (string, bool) {
	vars := map[string]string{
		"REGION": "eu-west-1", "EMPTY": "", "NAME": "front-door", "INTERVAL": "400ms",
		"INJECT": "a\nb: {c: [${NAME}", "PPROF": "true", "PRESET": "imagenet",
	}
	value, ok := vars[name]
	return value, ok
}

func parseOK(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("test.yaml", []byte(text), env)
	if err != nil {
		t.Fatalf("unexpected error:\n%v", err)
	}
	return cfg
}

func TestShippedFileIsTheDefaults(t *testing.T) {
	cfg, err := Load(shipped, env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parseOK(t, minimalFile), cfg); diff != "" {
		t.Errorf("the shipped file differs from the defaults (-default +shipped):\n%s", diff)
	}
}

// TestShippedFileHasEveryKey compares the keys that the shipped file sets with those that
// exist.
func TestShippedFileHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	_, doc := decode(shipped, data, env)
	for _, key := range keys(reflect.TypeFor[Config](), "") {
		switch path := strings.NewReplacer("[]", "[0]", "*", "detector").Replace(key); {
		case strings.HasPrefix(path, "streams[0].masks[0]."): // there are none by default
		case path == "streams[0].arn", path == "streams[0].prefix": // not together with the name
		default:
			if !doc.IsSet(path) {
				t.Errorf("%s lacks the key %s", shipped, path)
			}
		}
	}
}

// keys returns the patterns of all keys below a type, such as streams[].name.
func keys(t reflect.Type, prefix string) []string {
	var all []string
	for f := range strictyaml.Fields(t) {
		key, ft := prefix+f.Tag.Get("yaml"), f.Type
		all = append(all, key)
		switch {
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			all = append(all, keys(ft.Elem(), key+"[].")...)
		case ft.Kind() == reflect.Map:
			all = append(all, keys(ft.Elem(), key+".*.")...)
		case ft.Kind() == reflect.Struct:
			all = append(all, keys(ft, key+".")...)
		}
	}
	return all
}

// TestEnums compares the words of the tags with the constants of their types.
func TestEnums(t *testing.T) {
	words := map[string]string{}
	var collect func(path string, of reflect.Type)
	collect = func(path string, of reflect.Type) {
		for f := range strictyaml.Fields(of) {
			key := path + f.Tag.Get("yaml")
			words[key] = f.Tag.Get("jsonschema")
			if f.Type.Kind() == reflect.Struct && mapped(f.Type) == nil {
				collect(key+".", f.Type)
			}
		}
	}
	collect("", reflect.TypeFor[Config]())
	collect("outputs.*.", reflect.TypeFor[Output]())
	collect("streams[].", reflect.TypeFor[Stream]())
	tag := func(names ...string) string { return "enum=" + strings.Join(names, ",enum=") }
	want := map[string]string{
		"outputs.*.fit":    tag(names(transform.Fits())...),
		"outputs.*.resize": tag(names(transform.Resizes())...),
		"outputs.*.color":  tag(names(transform.Colors())...),
		"outputs.*.dtype":  tag(names(transform.DTypes())...),
		"outputs.*.layout": tag(names(transform.Layouts())...),
		"outputs.*.decode": tag(names(transform.DecodeModes())...),
		"outputs.*.align":  tag(names(transform.Aligns())...),

		"outputs.*.size_rounding": tag(names(transform.SizeRoundings())...),
		"outputs.*.crop_rounding": tag(names(transform.CropRoundings())...),

		"delivery.mode":             tag(names([]Mode{ModeLive, ModeRing, ModeDurable})...),
		"delivery.gaps":             tag(names([]Gaps{GapsEvents, GapsInline, GapsNone})...),
		"delivery.oversize":         tag(names([]Oversize{OversizeReject, OversizeChunk})...),
		"delivery.stream.retention": tag(names([]Retention{RetentionWorkQueue, RetentionLimits})...),
		"log.level":                 tag(names([]LogLevel{LevelDebug, LevelInfo, LevelWarn, LevelError})...),
		"log.format":                tag(names([]LogFormat{LogText, LogJSON})...),
		"streams[].lens.model":      tag(names([]LensModel{LensNone, LensPinhole, LensFisheye, LensHomography})...),
		"streams[].selector":        tag(names([]Selector{SelectorServer, SelectorProducer})...),
		"streams[].request.format":  tag(names([]PictureFormat{FormatJPEG, FormatPNG})...),
	}
	for key, want := range want {
		if words[key] != want {
			t.Errorf("%s allows %q, want %q", key, words[key], want)
		}
	}
}

func names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func TestParse(t *testing.T) {
	got := parseOK(t, `
aws: {region: "${REGION}", endpoint: http://127.0.0.1:4567}
nats: {url: "nats://a:4222, tls://b"}
delivery: {subject: "x.{output}.{stream}", gaps: none, inflight: 1.5 GiB}
http: {listen: "", pprof: "${PPROF}"}
log:
streams:
  - &base
    name: ${NAME}
    interval: ${INTERVAL}
    selector: producer
    lag: 5s
    grace: 1m
    overlap: 2s
    from: 2026-01-02T03:04:05+01:00
    freshness: 1h
    request: {size: 1280x720, quality: 1}
    outputs: [a, b]
  - <<: *base
    name: back-door
    from: now
    request: {format: png}
  - {arn: "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/yard/1609459200000", outputs: [b]}
decoder: {max_size: 8192x4320}
requests: {rate: 7, rate_per_asker: 3, images_per_day: 0, images_per_hour: 9, images_per_hour_per_asker: 0}
outputs:
  a: {preset: "${PRESET}", size: 320X240, std: [1, 2, 3.5], scale: 0.5, dtype: uint8, layout: nhwc}
  b: {preset: none, roi: "0.25,0,0.5,1", pad: 0, color: gray, fit: crop}
`)
	want := parseOK(t, minimalFile)
	want.AWS = AWS{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4567"}
	want.NATS.URL = "nats://a:4222, tls://b"
	want.Delivery.Subject, want.Delivery.Gaps, want.Delivery.Inflight = "x.{output}.{stream}", "none", 3<<29
	want.HTTP = HTTP{Ready: health.Any, Pprof: true, Runbook: DefaultRunbook}
	want.Decoder.MaxSize = Size{8192, 4320}
	want.Requests = Requests{Rate: 7, RatePerAsker: 3, ImagesPerHour: 9}
	yard := want.Streams[0]
	yard.Name, yard.Region, yard.ARN = "yard", "eu-west-1", "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/yard/1609459200000"
	yard.Outputs = []string{"b"}
	front := Stream{
		Name: "front-door", Interval: 400 * time.Millisecond, Poll: "always", Linger: 10 * time.Second, Limits: Limits{Then: "stop"},
		Burst: Burst{Interval: 200 * time.Millisecond, Before: 5 * time.Second, After: 10 * time.Second, Most: time.Minute}, Selector: "producer",
		Health: defaultHealth(),
		Lag:    AutoDuration(5 * time.Second), Grace: time.Minute, Overlap: AutoDuration(2 * time.Second),
		From:      Start{StartAt, time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)},
		Freshness: time.Hour,
		Request:   Request{Format: "jpeg", Quality: 1, Size: Size{1280, 720}},
		Lens:      Lens{Model: LensNone},
		Outputs:   []string{"a", "b"},
	}
	back := front
	back.Name, back.From, back.Request = "back-door", Start{Kind: StartNow}, Request{Format: "png", Quality: 80}
	want.Streams = []Stream{front, back, yard}
	want.Outputs = nil
	outputs := got.Transforms()
	got.Outputs = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}

	a, _ := transform.Preset("imagenet")
	a.Width, a.Height, a.Std, a.Scale = 320, 240, [3]float64{1, 2, 3.5}, 0.5
	a.DType, a.Layout = transform.Uint8, transform.NHWC
	b, _ := transform.Preset("none")
	b.ROI = transform.ROI{X: 0.25, W: 0.5, H: 1, Fraction: true}
	b.Pad, b.Color, b.Fit = 0, transform.Gray, transform.Crop
	wantOutputs := map[string]*transform.Output{"a": {Name: "a", Spec: a}, "b": {Name: "b", Spec: b}}
	if diff := cmp.Diff(wantOutputs, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestPresetsAreWhole(t *testing.T) {
	for _, name := range transform.PresetNames() {
		want, err := transform.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := parseOK(t, strings.Replace(minimalFile, "{}", "{preset: "+name+"}", 1))
		if diff := cmp.Diff(want, cfg.Outputs["detector"].Spec()); diff != "" {
			t.Errorf("preset %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAuto(t *testing.T) {
	s := parseOK(t, minimalFile).Streams[0]
	if got := time.Duration(s.Lag); got != poll.Auto {
		t.Errorf("lag is %v, want poll.Auto", got)
	}
	if got := time.Duration(s.Overlap); got != poll.Auto {
		t.Errorf("overlap is %v, want poll.Auto", got)
	}
}

// TestNotation: line endings, a byte order mark and document markers make no difference.
func TestNotation(t *testing.T) {
	want := parseOK(t, minimalFile)
	for name, text := range map[string]string{
		"CRLF":      strings.ReplaceAll(minimalFile, "\n", "\r\n"),
		"BOM":       "\ufeff" + minimalFile,
		"document":  "%YAML 1.2\n---\n" + minimalFile + "...\n",
		"empty end": minimalFile + "---\n",
	} {
		if diff := cmp.Diff(want, parseOK(t, text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestVariablesStayOneValue: the content of a variable cannot add keys.
func TestVariablesStayOneValue(t *testing.T) {
	cfg := parseOK(t, "aws: {region: \"${INJECT}\"}\n"+minimalFile)
	if want, _ := env("INJECT"); cfg.AWS.Region != want {
		t.Errorf("region is %q, want %q", cfg.AWS.Region, want)
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0B": 0, "1B": 1, "64MiB": 64 << 20, "1 gib": 1 << 30, "2GB": 2e9, "0.5KiB": 512, "500KB": 500e3, "3MB": 3e6,
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestLoadMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(path, env)
	want := "config file " + path + ": there is no such file; name it with -c FILE"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if _, err := Load(t.TempDir(), env); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("error for a directory is %v", err)
	}
}

// TestErrors compares the errors of the files NAME.yaml with NAME.want.
func TestErrors(t *testing.T) {
	archive, err := txtar.ParseFile(errorsFile)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*txtar.File{}
	for i := range archive.Files {
		files[archive.Files[i].Name] = &archive.Files[i]
	}
	for name, file := range files {
		stem, ok := strings.CutSuffix(name, ".yaml")
		if !ok {
			continue
		}
		t.Run(stem, func(t *testing.T) {
			want := files[stem+".want"]
			if want == nil {
				t.Fatalf("%s has no %s.want", errorsFile, stem)
			}
			_, err := Parse(name, file.Data, env)
			var problems strictyaml.Errors
			if !errors.As(err, &problems) {
				t.Fatalf("error is %T (%v), want Errors", err, err)
			}
			got := err.Error() + "\n"
			if *update {
				want.Data = []byte(got)
				return
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(errorsFile, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
