from __future__ import annotations

import sys

import numpy as np
import pytest

from test_parse import tensor


def test_points_and_boxes_map_to_the_source() -> None:
    t = tensor(Affine="3,0,-1,0,2,10")
    points = t.to_source([[0, 0], [10, 20]])
    assert points.tolist() == [[-1, 10], [29, 50]]
    boxes = t.to_source(np.array([[[0, 0, 10, 20]]], np.float32))
    assert boxes.tolist() == [[[-1, 10, 29, 50]]]
    assert t.to_source([0, 0, 1e6, 1e6], clip=True).tolist() == [0, 10, 1920, 1080]
    assert t.to_source(np.empty((0, 4))).shape == (0, 4)
    assert t.to_source((1, 1)).dtype == np.float64


def test_a_turned_box_stays_upright() -> None:
    turned = tensor(Affine="0,-1,100,1,0,0")  # a quarter turn
    assert turned.to_source([10, 20, 30, 60]).tolist() == [40, 10, 80, 30]
    sheared = tensor(Affine="1,1,0,0,1,0")
    assert sheared.to_source([0, 0, 2, 2]).tolist() == [0, 0, 4, 2]


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_neither_points_nor_boxes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="boxes"):
        tensor().to_source(np.zeros(shape))


@pytest.mark.parametrize(("layout", "shape"), [("NCHW", "1,3,4,8"), ("NHWC", "1,4,8,3")])
def test_uint8_is_normalized_by_the_headers(layout: str, shape: str) -> None:
    t = tensor(Dtype="UINT8", Shape=shape, Layout=layout, Normalized="false")
    assert not t.normalized
    got = t.normalize()
    axes = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
    mean, std = (np.array(v).reshape(axes) for v in (t.mean, t.std))
    want = (t.array * t.scale - mean) / std
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_what_is_normalized_stays() -> None:
    t = tensor()
    assert np.shares_memory(t.normalize(), t.array)


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        tensor().to_torch()


def test_torch() -> None:
    pytest.importorskip("torch")
    t = tensor(Dtype="FP16", Shape="1,3,4,4")
    x = t.to_torch()
    assert tuple(x.shape) == t.shape
    assert x.numpy().tobytes() == t.payload
    x += 1  # it is the caller's own
    assert bytes(range(96)) == t.payload
