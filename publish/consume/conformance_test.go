package consume_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/conformance"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	casesDir   = "../../clients/conformance/cases"
	endSubject = "cvf.t.end.end"
	endGaps    = "cvf.gap.end"
)

var update = flag.Bool("update", false, "write the column of Go in clients/conformance/README.md")

// A conformanceCase is a case.json: see clients/conformance/README.md.
type conformanceCase struct {
	About    string
	Messages []struct{ File, Subject string }
	Want     []map[string]any

	Incomplete int
	Memory     struct{ Host, File string }
}

// TestConformance runs the cases that all clients run.
func TestConformance(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	dirs, err := os.ReadDir(casesDir)
	if err != nil || len(dirs) < 30 {
		t.Fatalf("%d cases: %v", len(dirs), err)
	}
	var passed []string
	for _, dir := range dirs {
		if t.Run(dir.Name(), func(t *testing.T) {
			runConformance(t, nc, srv.ClientURL(), filepath.Join(casesDir, dir.Name()))
		}) {
			passed = append(passed, dir.Name())
		}
	}
	conformance.Check(t, filepath.Dir(casesDir), "Go", passed, *update)
}

func runConformance(t *testing.T, nc *nats.Conn, url, dir string) {
	var c conformanceCase
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, "case.json")), &c); err != nil {
		t.Fatal(err)
	}
	sub, err := consume.Open(dial.Options{URL: url}, consume.Options{Memory: memoryOf(t, dir, c)}, "cvf.t.>", "cvf.gap.>")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	conntest.WaitConnected(t, sub)
	for _, m := range c.Messages {
		publishFile(t, nc, m.Subject, filepath.Join(dir, m.File))
	}
	tensors, gaps := picture(1), natstest.Must[publish.Message](t)(publish.NewGapMessage(gapOf(1, 2)))
	for subject, m := range map[string]publish.Message{endSubject: tensors, endGaps: gaps} {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Header: m.Header, Data: m.Data}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []map[string]any
	ends := 0
	for d, err := range sub.Tensors(ctx) {
		if d.Subject != endSubject && d.Subject != endGaps {
			got = append(got, described(t, d, err))
		} else if ends++; ends == 2 {
			break
		}
	}
	if len(got) != len(c.Want) {
		t.Fatalf("%s: %d results, want %d: %v", c.About, len(got), len(c.Want), got)
	}
	for i, want := range c.Want {
		maps.DeleteFunc(got[i], func(field string, _ any) bool { return want[field] == nil && field != "boxes" })
		got[i]["boxes"] = mapped(got[i]["boxes"], want["boxes"])
		want["boxes"] = mapped(nil, want["boxes"])
		if diff := cmp.Diff(want, got[i], cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s: result %d: %s", c.About, i+1, diff)
		}
	}
	if sub.Incomplete() != c.Incomplete {
		t.Errorf("%s: %d incomplete, want %d", c.About, sub.Incomplete(), c.Incomplete)
	}
}

// memoryOf makes the directory in which a case has tensors, and returns it, "off" for none.
func memoryOf(t *testing.T, dir string, c conformanceCase) string {
	t.Helper()
	if c.Memory.File == "" {
		return "off"
	}
	made := filepath.Join(t.TempDir(), "memory")
	err := errors.Join(
		os.Mkdir(made, 0o700),
		os.WriteFile(filepath.Join(made, "readers"), []byte(c.Memory.Host+"\n"), 0o600),
		os.WriteFile(filepath.Join(made, c.Memory.File), readFile(t, filepath.Join(dir, c.Memory.File)), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// publishFile publishes the message that a file holds as it is on the wire.
func publishFile(t *testing.T, nc *nats.Conn, subject, path string) {
	t.Helper()
	block, payload, ok := bytes.Cut(readFile(t, path), []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s: no headers", path)
	}
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: payload}
	for _, line := range strings.Split(string(block), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		m.Header[name] = []string{value}
	}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
}

// described returns a result as case.json describes it.
func described(t *testing.T, d consume.Delivery, err error) map[string]any {
	t.Helper()
	if err != nil {
		if broken := (*consume.MessageError)(nil); !errors.As(err, &broken) {
			t.Fatal(err)
		}
		return map[string]any{"kind": "invalid"}
	}
	var result map[string]any
	if g := d.Gap; g != nil {
		result = map[string]any{
			"kind": "gap", "subject": d.Subject, "stream": g.Stream, "output": g.Output,
			"start": g.From.Time().UTC().Format(publish.TimeFormat), "end": g.To.Time().UTC().Format(publish.TimeFormat),
			"slots": g.Slots, "reason": g.Reason,
		}
	} else {
		a := d.Affine
		kind, elements := "tensor", any(nil)
		if d.ContentType != "" {
			kind = "picture"
		} else {
			elements = elementsOf(t, d.Tensor)
		}
		result = map[string]any{
			"kind": kind, "subject": d.Subject, "stream": d.Stream, "output": d.Output,
			"time": d.Time.UTC().Format(publish.TimeFormat), "capture": d.Capture.UTC().Format(publish.TimeFormat),
			"datatype": d.DType.Wire(),
			"shape":    d.Shape, "layout": strings.ToUpper(fmt.Sprint(d.Layout)), "color": strings.ToUpper(fmt.Sprint(d.Color)),
			"source": []int{d.Source.X, d.Source.Y}, "affine": a[:], "scale": d.Scale, "mean": d.Mean, "std": d.Std,
			"normalized": d.Normalized, "quant_scale": d.QuantScale, "quant_zero_point": d.QuantZeroPoint, "late": d.Late, "spec": d.Spec, "traceparent": d.Traceparent,
			"elements": elements, "values": d.AppendFloat32s(nil),
			"affines": d.Affines, "content_type": d.ContentType,
		}
		formsOf(d, result)
	}
	boxes := any(d.Tensor)
	plain, err := json.Marshal(dropNaN(result))
	if err != nil {
		t.Fatal(err)
	}
	clear(result)
	if err := json.Unmarshal(plain, &result); err != nil {
		t.Fatal(err)
	}
	result["boxes"] = boxes
	return result
}

// dropNaN removes the elements if they are not numbers, which JSON cannot say.
func dropNaN(result map[string]any) map[string]any {
	if values, _ := result["values"].([]float32); len(values) > 0 && values[0] != values[0] {
		delete(result, "values")
		delete(result, "elements")
	}
	return result
}

// formsOf describes what only some tensors have.
func formsOf(d consume.Delivery, result map[string]any) {
	var slots, missing, streams []string
	var present []bool
	var sources [][2]int
	for _, f := range d.Clip {
		slots, missing = append(slots, f.Slot.String()), append(missing, string(f.Missing))
	}
	for _, r := range d.Rows {
		streams, present = append(streams, r.Stream), append(present, !r.Missing)
		sources = append(sources, [2]int{r.Source.X, r.Source.Y})
	}
	result["slots"], result["missing"] = slots, missing
	result["streams"], result["present"], result["sources"] = streams, present, sources
	payload := make([]int, len(d.Data))
	for i, b := range d.Data {
		payload[i] = int(b)
	}
	result["payload"] = payload
}

func elementsOf(t *testing.T, d tensor.Tensor) []float64 {
	t.Helper()
	var all any
	var err error
	switch d.DType {
	case transform.Float16:
		halves, e := d.Float16s()
		floats := make([]float32, len(halves))
		for i, h := range halves {
			floats[i] = tensor.Float16(h)
		}
		all, err = floats, e
	case transform.BFloat16:
		bits, e := d.BFloat16s()
		floats := make([]float32, len(bits))
		for i, b := range bits {
			floats[i] = tensor.BFloat16(b)
		}
		all, err = floats, e
	case transform.Uint8:
		all, err = d.Uint8s()
	case transform.Int8:
		all, err = d.Int8s()
	default:
		all, err = d.Float32s()
	}
	if err != nil {
		t.Fatal(err)
	}
	values := reflect.ValueOf(all)
	numbers := make([]float64, values.Len())
	for i := range numbers {
		numbers[i] = values.Index(i).Convert(reflect.TypeFor[float64]()).Float()
	}
	return numbers
}

// mapped returns the second box of each pair, as a tensor maps the first one; without a
// tensor as it is wanted.
func mapped(by, boxes any) [][]float64 {
	var all [][]float64
	pairs, _ := boxes.([]any)
	for _, pair := range pairs {
		in, want := numbers(pair.([]any)[0]), numbers(pair.([]any)[1])
		tile := 0
		if of := pair.([]any)[2:]; len(of) > 0 {
			tile = int(of[0].(float64))
		}
		if d, ok := by.(tensor.Tensor); ok {
			b := d.TileBoxToSource(tile, tensor.Box{MinX: in[0], MinY: in[1], MaxX: in[2], MaxY: in[3]})
			want = []float64{b.MinX, b.MinY, b.MaxX, b.MaxY}
		}
		all = append(all, want)
	}
	return all
}

func numbers(list any) []float64 {
	var all []float64
	for _, n := range list.([]any) {
		all = append(all, n.(float64))
	}
	return all
}
