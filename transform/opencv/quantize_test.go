package opencv

import (
	"encoding/json"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// quantizeLinear prints for each spec of a file whether the elements that were made of all
// pixels are those that onnxruntime, NumPy and ml_dtypes make.
const quantizeLinear = `
import json, sys
import numpy as np
import ml_dtypes, onnx, onnxruntime
from onnx import TensorProto, helper

def quantized(x, scale, zero_point, kind):
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["y"])]
    constants = [helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
                 helper.make_tensor("zero_point", kind, [], [zero_point])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
                              [helper.make_tensor_value_info("y", kind, list(x.shape))], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]

directory = sys.argv[1]
for i, c in enumerate(json.load(open(f"{directory}/cases.json"))):
    pixels = np.arange(256, dtype=np.float64)[:, None]
    x = ((pixels * c["Scale"] - np.array(c["Mean"])) / np.array(c["Std"])).astype(np.float32)
    if c["DType"] == "bfloat16":
        want = x.astype(ml_dtypes.bfloat16).view(np.uint16)
    else:
        want = quantized(x, c["QuantScale"], c["QuantZeroPoint"], getattr(TensorProto, c["DType"].upper()))
        by_hand = np.rint(x / np.float32(c["QuantScale"])) + c["QuantZeroPoint"]
        limits = np.iinfo(want.dtype)
        assert (want == np.clip(by_hand, limits.min, limits.max)).all()
    if c["Layout"] == "nchw":
        want = want.T
    got = np.fromfile(f"{directory}/{i}", want.dtype)
    if not (got == want.ravel()).all():
        print(i, c)
`

// TestQuantizeLinear packs all 256 values of a pixel into quantized and bfloat16 tensors, and
// compares every element with what the libraries make of it.
func TestQuantizeLinear(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("needs Python with onnxruntime, which CVFEEDER_PYTHON names: make test has one")
	}
	w := NewWorker(Options{})
	defer w.Close()
	size := image.Pt(16, 16)
	src, err := w.pixels.picture(size, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range src.bytes() {
		src.bytes()[i] = uint8(i / 3)
	}
	dir := t.TempDir()
	specs := quantizations(t)
	for i, s := range specs {
		g, err := s.Geometry(size)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.table.reserve(tableBytes); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3*256*s.DType.Size())
		w.pack(&s, g, src, got, false)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(specs)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cases.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", quantizeLinear, dir).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("other elements than those of onnxruntime: %v\n%s", err, out)
	}
}

// quantizations returns specs of several normalizations, scales and zero points: those of
// usual models, some for which halves are common, and some for which most is clamped.
func quantizations(t *testing.T) (specs []transform.Spec) {
	t.Helper()
	scales := []float64{1.0 / 255, 1.0 / 128, 0.0078125, 0.5, 2, 0.018658447265625, 1e-3}
	for _, d := range []transform.DType{transform.Int8, transform.Uint8, transform.BFloat16} {
		for _, preset := range []string{"yolo", "imagenet", "yolox", "keras-mobilenet"} {
			for i, scale := range scales {
				s := newOutput(t, preset, nil).Spec
				s.Width, s.Height, s.Fit, s.Color, s.DType = 16, 16, transform.Stretch, transform.BGR, d
				s.Layout, s.Align, s.SizeRounding = transform.Layouts()[i%2], "", ""
				s.QuantScale, s.QuantZeroPoint = scale, []int{0, 3, 127}[i%3]
				switch {
				case d == transform.Int8 && i%2 == 1:
					s.QuantZeroPoint = -128
				case d == transform.BFloat16:
					s.QuantScale, s.QuantZeroPoint, s.Scale = 0, 0, s.Scale*scale
				}
				if err := s.Validate(); err != nil {
					t.Fatal(err)
				}
				specs = append(specs, s)
			}
		}
	}
	return specs
}
