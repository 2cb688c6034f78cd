# ruff: noqa: D102, D103, D107, S101
"""Tests what the examples share with no demo: reading outputs, and when an alert is raised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import alert
import detect
import numpy as np
import onnx
import pytest
import search
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def yolo(values: np.ndarray, names: dict[int, str]) -> bytes:
    """Return a model whose output is the values, whatever the image, with names of classes."""
    image = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, values.shape)
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "values"], ["output0"]),
    ]
    weights = [numpy_helper.from_array(values.astype(np.float32), "values")]
    graph = helper.make_graph(nodes, "yolo", [image], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": repr(names)})
    return model.SerializeToString()


@pytest.mark.parametrize("end_to_end", [False, True])
def test_a_yolo_is_read(end_to_end: bool) -> None:  # noqa: FBT001
    rows = [  # x1, y1, x2, y2, score, class
        [10, 10, 30, 50, 0.9, 1],
        [11, 11, 31, 51, 0.8, 1],  # the same object, found worse
        [10, 10, 30, 50, 0.7, 0],  # another class at the same place
        [40, 40, 50, 50, 0.2, 0],  # too weak
    ]
    if end_to_end:
        output = np.array([rows])
    else:
        output = np.zeros((1, 6 + 1, 4))  # centre, size, three classes; one column a box
        for i, (x1, y1, x2, y2, score, kind) in enumerate(rows):
            output[0, :4, i] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
            output[0, 4 + kind, i] = score
    detector = detect.Detector(yolo(output, {0: "person", 1: "car"}))
    found = detector(np.ones((1, 3, 64, 64), np.float32), threshold=0.5)
    order = np.argsort(-found.scores)
    assert [found.names[i] for i in order] == ["car", "person"]
    np.testing.assert_allclose(found.boxes[order], [[10, 10, 30, 50], [10, 10, 30, 50]], atol=1e-4)
    nothing = detector(np.zeros((1, 3, 64, 64), np.float32), threshold=0.5)
    assert nothing.names == []
    assert nothing.boxes.shape == (0, 4)


def test_an_alert_needs_two_of_three_frames_and_then_a_minute() -> None:
    alarm = alert.Alarm()

    def rings(second: float, person: bool, camera: str = "a") -> bool:  # noqa: FBT001
        return alarm.rings(camera, START + timedelta(seconds=second), person)

    assert not rings(0, person=True)
    assert not rings(1, person=False)
    assert not rings(1, person=True, camera="b"), "cameras do not count together"
    assert rings(2, person=True)
    assert not rings(3, person=True), "silent for a minute"
    assert not rings(61, person=False)
    assert rings(62.5, person=True)


class Colours:
    """A tensor of one colour, as far as an encoder looks at it."""

    def __init__(self, *values: float) -> None:
        self._values = np.array(values, np.float32)

    def normalize(self) -> np.ndarray:
        return np.broadcast_to(self._values[None, :, None, None], (1, 3, 8, 8)).copy()


def test_an_image_encoder_describes_frames(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    output = helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [1, 3])
    mean = helper.make_node("ReduceMean", ["pixels"], ["embedding"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([mean], "encoder", [image], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "encoder.onnx")
    describe = search.encoder(str(tmp_path / "encoder.onnx"))
    red, dark_red, blue = Colours(1, 0, 0), Colours(0.3, 0, 0), Colours(0, 0, 1)
    assert describe(red) @ describe(dark_red) == pytest.approx(1)
    assert describe(red) @ describe(blue) == pytest.approx(0)


def test_a_receiver_that_is_away_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alert.post("http://127.0.0.1:1/", {"camera": "a"})
    assert "did not take the alert" in capsys.readouterr().out
