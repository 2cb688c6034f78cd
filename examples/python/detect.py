"""Runs a detector with ONNX Runtime on what cvfeeder publishes, and draws the boxes.

    make example NAME=detect                   # the demo, and this program beside it
    python detect.py --model yolo11n.onnx      # your own model, exported to ONNX

Without --model it finds faces: see centerface.py. The YOLO family is read in both forms in
which it is exported: (1, 4 + classes, boxes), and (1, boxes, 6) with the suppression inside.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import centerface
import cv2
import cvfeeder
import numpy as np
import onnxruntime
import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OVERLAP = 0.45  # boxes of one class that overlap more than this are one object


@dataclass(frozen=True)
class Found:
    """What a model found, in pixels of the tensor."""

    boxes: NDArray[np.float32]  # (n, 4) as x1, y1, x2, y2
    scores: NDArray[np.float32]  # (n,)
    names: list[str]

    def best(self, threshold: float) -> Found:
        """Return the best of the boxes that overlap, if their score reaches the threshold."""
        classes = np.unique(self.names, return_inverse=True)[1]
        xywh = np.hstack([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]])
        keep = cv2.dnn.NMSBoxesBatched(xywh, self.scores, classes, threshold, OVERLAP)
        keep = np.array(keep, dtype=int).reshape(-1)
        return Found(self.boxes[keep], self.scores[keep], [self.names[i] for i in keep])


class Detector:
    """An ONNX model, and how to read its outputs."""

    def __init__(self, model: bytes | str) -> None:
        """Load the model from its bytes, or from a file."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [o.name for o in self._session.get_outputs()]
        names = self._session.get_modelmeta().custom_metadata_map.get("names", "{}")
        self._names: dict[int, str] = ast.literal_eval(names)

    def __call__(self, images: NDArray[np.float32], threshold: float) -> Found:
        """Return what is found in images (1, 3, H, W)."""
        outputs = self._session.run(None, {self._input: images})
        if "heatmap" in self._outputs:
            found = read_centerface(*outputs, threshold)
        else:
            found = read_yolo(outputs[0], threshold, self._names)
        return found.best(threshold)


def read_centerface(
    heatmap: NDArray[np.float32],
    size: NDArray[np.float32],
    offset: NDArray[np.float32],
    threshold: float,
) -> Found:
    """Read CenterFace's outputs: for each cell of 4x4 pixels, whether a face is centred there."""
    rows, columns = np.nonzero(heatmap[0, 0] >= threshold)
    height, width = np.exp(size[0][:, rows, columns]) * 4
    y, x = (np.stack([rows, columns]) + offset[0][:, rows, columns] + 0.5) * 4
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    return Found(boxes.astype(np.float32), heatmap[0, 0, rows, columns], ["face"] * len(rows))


def read_yolo(output: NDArray[np.float32], threshold: float, names: dict[int, str]) -> Found:
    """Read YOLO's output: centre, size and the score of each class; or boxes, score and class."""
    rows = output[0]
    if rows.shape[1] == 6:
        boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5].astype(int)
    else:
        rows = rows.T
        boxes = np.hstack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2])
        classes, scores = rows[:, 4:].argmax(axis=1), rows[:, 4:].max(axis=1)
    good = scores >= threshold
    labels = [names.get(int(i), str(i)) for i in classes[good]]
    return Found(boxes[good], scores[good], labels)


def main(argv: Sequence[str] | None = None) -> None:
    """Read tensors, find, draw, save."""
    parser = argparse.ArgumentParser(description="draws what a model finds in cvfeeder's tensors")
    parser.add_argument("--model", help="ONNX file (default: CenterFace)")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--subject", default="cvf.t.*.detector")
    parser.add_argument("--count", type=int, default=5, help="tensors to read")
    parser.add_argument("--threshold", type=float, default=0.5, help="least score of a box")
    parser.add_argument("--output", type=Path, default=Path(), help="directory for the pictures")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    detector = Detector(args.model or centerface.model())
    with cvfeeder.subscribe(args.subject, servers=args.nats, newest=True) as tensors:
        for _ in range(args.count):
            t = tensors.read(timeout=60)
            found = detector(t.normalize(), args.threshold)
            picture = pictures.camera(t)
            print(f"{t.time:%H:%M:%S.%f} {t.stream}: {len(found.names)} found, {t.age():.1f} s old")
            for box, score, name in zip(
                t.to_source(found.boxes, clip=True), found.scores, found.names, strict=True
            ):
                print(f"  {name} {score:.2f} at {[round(v) for v in box]}")
                pictures.draw(picture, box, f"{name} {score:.2f}")
            cv2.imwrite(str(args.output / f"{t.stream}.jpg"), picture)


if __name__ == "__main__":
    main()
