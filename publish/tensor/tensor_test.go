package tensor_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

var slotTime = time.Date(2026, 1, 2, 3, 4, 5, 200e6, time.UTC)

// newMessage returns a tensor of two columns and one row with the given payload, from a
// picture of 8x4 that was letterboxed to it.
func newMessage(d transform.DType, layout transform.Layout, data []byte) publish.Message {
	shape := []int{1, 3, 1, 2}
	if layout == transform.NHWC {
		shape = []int{1, 1, 2, 3}
	}
	return publish.NewMessage("cvf.t.cam-1.detector", &transform.Tensor{
		Stream: "cam-1", Slot: source.SlotAt(slotTime), Capture: slotTime,
		Output: &transform.Output{Name: "detector", Fingerprint: "3f2a", Spec: transform.Spec{
			Color: transform.RGB, DType: d, Layout: layout, Scale: 0.5,
			Mean: [3]float64{1, 2, 3}, Std: [3]float64{1, 2, 4},
		}},
		Shape: shape, Source: image.Pt(8, 4), Affines: []transform.Affine{{4, 0, 0, 0, 8, -2}},
		Data: data,
	})
}

func parse(t testing.TB, m publish.Message) tensor.Tensor {
	t.Helper()
	x, err := tensor.Parse(m)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func float32Bytes(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func TestFloat32s(t *testing.T) {
	want := []float32{0, 1, -2.5, 1e-30, 4, float32(math.Inf(1))}
	data := float32Bytes(want...)
	for offset := range 4 { // wherever the payload lies in memory
		buffer := append(make([]byte, offset, offset+len(data)), data...)
		x := parse(t, newMessage(transform.Float32, transform.NCHW, buffer[offset:]))
		got, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("offset %d: %s", offset, diff)
		}
		if diff := cmp.Diff(append([]float32{7}, want...), x.AppendFloat32s([]float32{7})); diff != "" {
			t.Errorf("offset %d: %s", offset, diff)
		}
	}
	aligned := parse(t, newMessage(transform.Float32, transform.NCHW, data))
	if n := testing.AllocsPerRun(10, func() { _, _ = aligned.Float32s() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBFloat16sAndInt8s: the elements, and the values that they stand for.
func TestBFloat16sAndInt8s(t *testing.T) {
	brain := parse(t, newMessage(transform.BFloat16, transform.NHWC, []byte{0, 0, 0x80, 0x3f, 0x20, 0xc0, 0x80, 0x7f, 0x01, 0x00, 0x7f, 0x7f}))
	bits, err := brain.BFloat16s()
	if err != nil || !slices.Equal(bits, []uint16{0, 0x3f80, 0xc020, 0x7f80, 1, 0x7f7f}) {
		t.Errorf("%x, %v", bits, err)
	}
	want := []float32{0, 1, -2.5, float32(math.Inf(1)), 0x1p-133, 0x1.fep127}
	if got := brain.AppendFloat32s(nil); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	m := newMessage(transform.Int8, transform.NCHW, []byte{0, 127, 128, 255, 10, 20})
	m.Header["Cvf-Quant-Scale"], m.Header["Cvf-Quant-Zero-Point"] = []string{"0.5"}, []string{"-2"}
	x := parse(t, m)
	small, err := x.Int8s()
	if err != nil || !slices.Equal(small, []int8{0, 127, -128, -1, 10, 20}) {
		t.Errorf("%v, %v", small, err)
	}
	if got, want := x.AppendFloat32s(nil), []float32{1, 64.5, -63, 0.5, 6, 11}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, err := range []error{second(x.BFloat16s()), second(brain.Int8s())} {
		if err == nil {
			t.Error("elements of another type are returned")
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestFloat16s(t *testing.T) {
	bits := []uint16{0, 0x3c00, 0xc100, 0x0001, 0x7bff, 0xfc00}
	var data []byte
	for _, b := range bits {
		data = binary.LittleEndian.AppendUint16(data, b)
	}
	x := parse(t, newMessage(transform.Float16, transform.NHWC, data))
	got, err := x.Float16s()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bits, got); diff != "" {
		t.Error(diff)
	}
	want := []float32{0, 1, -2.5, 0x1p-24, 65504, float32(math.Inf(-1))}
	if diff := cmp.Diff(want, x.AppendFloat32s(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestFloat16IsExact(t *testing.T) {
	for h := range 1 << 16 {
		sign := 1 - 2*float64(h>>15)
		exponent, fraction := h>>10&0x1f, float64(h&0x3ff)
		var want float64
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent < 31:
			want = sign * math.Ldexp(1024+fraction, exponent-25)
		case fraction == 0:
			want = sign * math.Inf(1)
		default:
			want = math.NaN()
		}
		got := float64(tensor.Float16(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 == 1) && !math.IsNaN(want) {
			t.Fatalf("%#04x: %v, want %v", h, got, want)
		}
	}
}

func TestUint8s(t *testing.T) {
	planar, interleaved := []byte{0, 2, 10, 20, 100, 200}, []byte{0, 10, 100, 2, 20, 200}
	x := parse(t, newMessage(transform.Uint8, transform.NCHW, planar))
	got, err := x.Uint8s()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, planar) || &got[0] != &planar[0] {
		t.Errorf("%v is not the payload", got)
	}
	// (pixel*0.5 - mean) / std, by channel
	if diff := cmp.Diff([]float32{-1, 0, 1.5, 4, 11.75, 24.25}, x.AppendFloat32s(nil)); diff != "" {
		t.Error(diff)
	}
	x = parse(t, newMessage(transform.Uint8, transform.NHWC, interleaved))
	if diff := cmp.Diff([]float32{-1, 1.5, 11.75, 0, 4, 24.25}, x.AppendFloat32s(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestOtherTypes(t *testing.T) {
	x := parse(t, newMessage(transform.Uint8, transform.NCHW, make([]byte, 6)))
	_, err32 := x.Float32s()
	_, err16 := x.Float16s()
	_, err8 := parse(t, newMessage(transform.Float16, transform.NCHW, make([]byte, 12))).Uint8s()
	for want, err := range map[string]error{
		"are uint8, not float32": err32, "are uint8, not float16": err16, "are float16, not uint8": err8,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	m := newMessage(transform.Uint8, transform.NCHW, make([]byte, 5))
	if _, err := tensor.Parse(m); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("short payload: %v", err)
	}
	if _, err := tensor.Parse(publish.Message{}); err == nil {
		t.Error("no headers: no error")
	}
}

func TestPlacesAndTimes(t *testing.T) {
	x := parse(t, newMessage(transform.Uint8, transform.NCHW, make([]byte, 6)))
	if x, y := x.ToSource(1.5, 0.5); x != 6 || y != 2 {
		t.Errorf("%v %v", x, y)
	}
	for in, want := range map[tensor.Box]tensor.Box{
		{MinX: 0.5, MinY: 0.375, MaxX: 1, MaxY: 0.5}: {MinX: 2, MinY: 1, MaxX: 4, MaxY: 2},
		{MaxX: 2, MaxY: 1}:                           {MaxX: 8, MaxY: 4}, // the bars are cut off
		{MaxX: 1, MaxY: 0.125}:                       {MaxX: 4},          // only bar
	} {
		if got := x.BoxToSource(in); got != want {
			t.Errorf("%v is at %v, not %v", in, got, want)
		}
	}
	x.Affines = []transform.Affine{{0, -8, 8, 2, 0, 0}} // turned by a quarter
	if got, want := x.BoxToSource(tensor.Box{MaxX: 1, MaxY: 0.5}), (tensor.Box{MinX: 4, MaxX: 8, MaxY: 2}); got != want {
		t.Errorf("turned: %v, not %v", got, want)
	}
	if age := x.Age(slotTime.Add(time.Second)); age != time.Second {
		t.Errorf("age %v", age)
	}
	if err := x.CheckSpec("3f2a"); err != nil {
		t.Error(err)
	}
	if err := x.CheckSpec("beef"); !errors.Is(err, tensor.ErrSpec) || !strings.Contains(err.Error(), "3f2a") {
		t.Error(err)
	}
}

func ExampleParse() {
	message := newMessage(transform.Float32, transform.NCHW, float32Bytes(0, 0.25, 0.5, 0.75, 1, 0))

	t, err := tensor.Parse(message)
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := t.Float32s()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Stream, t.Time.Format(time.TimeOnly), t.Shape, values)
	fmt.Println(t.BoxToSource(tensor.Box{MinX: 0, MinY: 0.5, MaxX: 1, MaxY: 0.625}))
	// Output:
	// cam-1 03:04:05 [1 3 1 2] [0 0.25 0.5 0.75 1 0]
	// {0 2 4 3}
}

// TestToSourceOfARectified: points go on to the camera's own picture, as OpenCV has it.
func TestToSourceOfARectified(t *testing.T) {
	const matrices = "1920x1080;1920x1080;1000,1010,959.5,530;800,790,950,545"
	for text, want := range map[string][2]float64{
		"pinhole;" + matrices + ";-0.3,0.1,0.001,-0.002,0.01":   {593.3397827148438, 306.9635009765625},
		"fisheye;" + matrices + ";0.05,-0.01,0.003,-0.001":      {592.4578247070312, 305.9678649902344},
		"homography;1920x1080;1280x720;0.5,0,10,0,0.5,20,0,0,1": {330, 200},
	} {
		m, err := transform.ParseRectification(text)
		if err != nil || m.String() != text {
			t.Fatal(err, m)
		}
		h := publish.NewMessage("", &transform.Tensor{
			Stream: "a", Output: &transform.Output{Name: "b", Spec: transform.Spec{DType: transform.Uint8, Color: transform.Gray, Scale: 1, Std: [3]float64{1, 1, 1}, Layout: transform.NCHW}, Fingerprint: "c"},
			Capture: slotTime, Shape: []int{1, 1, 1, 1}, Source: m.Size, Affines: []transform.Affine{{2, 0, 0.5, 0, 2, 0.5}}, Map: m, Data: []byte{0},
		}).Header
		e, err := publish.ParseEnvelope(h)
		if err != nil {
			t.Fatal(err)
		}
		x, y := (tensor.Tensor{Envelope: e}).ToSource(320, 180)
		if math.Hypot(x-0.5-want[0], y-0.5-want[1]) > 0.01 {
			t.Errorf("%s: %v, %v, want %v", text, x, y, want)
		}
	}
	for _, text := range []string{"", "wide;1x1;1x1;1", "pinhole;1x1;1x1;1,1,1,1;0,1,1,1;0,0,0,0", "homography;1x1;1x1;1,0,0", "fisheye;1x1;1x1;1,1,1,1;1,1,1,1;0,0,0,0,0"} {
		if _, err := transform.ParseRectification(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
