"""Runs an ONNX model on batches of what cvfeeder publishes, and draws what the model finds.

    pip install cvfeeder onnx onnxruntime
    cvfeeder demo                             # in another terminal
    python onnx_consumer.py --count 5         # writes found-cam-1.png, …

The model is built here, so that there is nothing to download. It finds the window with the
most contrast in each tensor of a batch, and returns it as a box in pixels of the tensor. The
tensor's affine map maps the box back to the picture of the tensor's camera.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

import cvfeeder

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW, STRIDE = 112, 8  # pixels of the tensor


def make_model(height: int, width: int) -> bytes:
    """Return a model from images (N, 3, H, W) to boxes (N, 4) as x1, y1, x2, y2.

    The box is the window whose gray values have the largest variance, E[x^2] - E[x]^2.
    """
    ys, xs = (range(0, size - WINDOW + 1, STRIDE) for size in (height, width))
    windows = np.array([[x, y, x + WINDOW, y + WINDOW] for y in ys for x in xs], np.float32)
    constants = {"windows": windows, "flat": np.array([0, -1])}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["gray"], axes=[1]),
        helper.make_node("Mul", ["gray", "gray"], ["squares"]),
        _mean_of_windows("gray", "mean"),
        _mean_of_windows("squares", "mean_of_squares"),
        helper.make_node("Mul", ["mean", "mean"], ["square_of_mean"]),
        helper.make_node("Sub", ["mean_of_squares", "square_of_mean"], ["variance"]),
        helper.make_node("Reshape", ["variance", "flat"], ["variances"]),
        helper.make_node("ArgMax", ["variances"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["windows", "best"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "most-contrast",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def _mean_of_windows(of: str, name: str) -> NodeProto:
    size, strides = [WINDOW, WINDOW], [STRIDE, STRIDE]
    return helper.make_node("AveragePool", [of], [name], kernel_shape=size, strides=strides)


@cache
def make_session(height: int, width: int) -> onnxruntime.InferenceSession:
    """Return the model, ready to run; another one for each size of tensors."""
    return onnxruntime.InferenceSession(make_model(height, width))


def source_picture(t: cvfeeder.Tensor) -> NDArray[np.uint8]:
    """Return the part of the camera's picture that the tensor shows, (H, W, 3) in RGB, else 0."""
    pixels = t.array[0] if t.layout == "NHWC" else t.array[0].transpose(1, 2, 0)
    if t.normalized:
        pixels = (pixels * np.array(t.std) + np.array(t.mean)) / t.scale
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if t.color == "BGR":
        pixels = pixels[..., ::-1]
    # For each pixel of the source, the one of the tensor that shows its centre.
    a, b, c, d, e, f = t.affine
    width, height = t.source
    ys, xs = np.mgrid[:height, :width] + 0.5
    x, y = np.linalg.inv([[a, b], [d, e]]) @ np.stack([xs.ravel() - c, ys.ravel() - f])
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    inside = (row >= 0) & (row < pixels.shape[0]) & (column >= 0) & (column < pixels.shape[1])
    picture = np.zeros((height * width, 3), np.uint8)
    picture[inside] = pixels[row[inside], column[inside]]
    return picture.reshape(height, width, 3)


def draw_box(picture: NDArray[np.uint8], box: NDArray[Any], thickness: int = 4) -> None:
    """Draw the outline of a box x1, y1, x2, y2 into a picture."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    inner = picture[y1 + thickness : y2 - thickness, x1 + thickness : x2 - thickness].copy()
    picture[y1:y2, x1:x2] = (255, 0, 80)
    picture[y1 + thickness : y2 - thickness, x1 + thickness : x2 - thickness] = inner


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) in RGB as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    height, width, _ = picture.shape
    rows = np.insert(picture.reshape(height, -1), 0, 0, axis=1)  # filter 0 before each row
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


async def main() -> None:
    """Read tensors, find, draw, save."""
    parser = argparse.ArgumentParser(description="runs an ONNX model on cvfeeder's tensors")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--subject", default="cvf.t.*.detector")
    parser.add_argument("--count", type=int, default=20, help="tensors to read, at least")
    parser.add_argument("--batch", type=int, default=8, help="tensors in a batch, at most")
    parser.add_argument("--output", type=Path, default=Path(), help="directory for the pictures")
    args = parser.parse_args()
    seen = 0
    async with cvfeeder.subscribe(args.subject, servers=args.nats, newest=True) as tensors:
        async for batch in cvfeeder.batched(tensors, size=args.batch):
            model = make_session(*batch.shape[2:])
            (boxes,) = model.run(None, {"images": batch.normalize()})
            for row, t in enumerate(batch.tensors):
                box = batch.to_source(boxes[row], row, clip=True)
                picture = source_picture(t)
                draw_box(picture, box)
                save_png(args.output / f"found-{t.stream}.png", picture)
                print(f"{t.time:%H:%M:%S.%f} {t.stream}: {box.round().tolist()} of {t.source}")
            seen += len(batch)
            if seen >= args.count:
                break
        print(f"{tensors.skipped} tensors were skipped for newer ones")


if __name__ == "__main__":
    asyncio.run(main())
