from __future__ import annotations

import importlib
import sys
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest

from cvfeeder.tensor import _bfloat16
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


@pytest.mark.parametrize(
    ("method", "module", "package"),
    [
        ("to_torch", "torch", "torch"),
        ("to_jax", "jax.numpy", "jax"),
        ("to_tf", "tensorflow", "tensorflow"),
    ],
)
def test_what_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, method: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        getattr(tensor(), method)()


@pytest.mark.parametrize("kind", ["FP32", "FP16", "UINT8", "INT8"])
def test_others_get_the_same_elements(kind: str) -> None:
    size = {"FP32": 4, "FP16": 2, "UINT8": 1, "INT8": 1}[kind]
    t = tensor(Dtype=kind, Shape=f"1,3,{8 // size},4")
    shared = np.from_dlpack(t)
    np.testing.assert_array_equal(shared, t.array)
    assert np.shares_memory(shared, t.array)
    assert not shared.flags.writeable
    if jax := _import_or_none("jax.numpy"):
        np.testing.assert_array_equal(np.asarray(t.to_jax()), t.array)
        assert t.to_jax().dtype == jax.dtype(t.array.dtype)
    if _import_or_none("tensorflow"):
        np.testing.assert_array_equal(t.to_tf().numpy(), t.array)


def test_bfloat16_is_of_ml_dtypes_or_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    t = tensor(Dtype="BF16", Shape="1,3,4,4")
    bits = np.frombuffer(t.payload, "<u2").reshape(t.shape)
    want = (bits.astype("<u4") << 16).view(np.float32)
    _bfloat16.cache_clear()
    if kinds := _import_or_none("ml_dtypes"):
        assert t.array.dtype == kinds.bfloat16
        np.testing.assert_array_equal(t.array.astype(np.float32), want)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    _bfloat16.cache_clear()
    np.testing.assert_array_equal(t.array, bits)
    np.testing.assert_array_equal(t.to_float32(), want)
    np.testing.assert_array_equal(t.normalize(), want)
    with pytest.raises(BufferError, match="to_torch"):
        np.from_dlpack(t)
    _bfloat16.cache_clear()


def test_quantized_elements_have_values() -> None:
    t = tensor(Dtype="INT8", Shape="1,3,4,8", **{"Quant-Scale": "0.25", "Quant-Zero-Point": "-128"})
    assert (t.quant_scale, t.quant_zero_point) == (0.25, -128)
    np.testing.assert_array_equal(t.to_float32(), (t.array.astype(np.float32) + 128) / 4)
    np.testing.assert_array_equal(t.normalize(), t.to_float32())


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_torch_has_bfloat16(*, copy: bool) -> None:
    torch = pytest.importorskip("torch")
    t = tensor(Dtype="BF16", Shape="1,3,4,4")
    x = t.to_torch(copy=copy)
    assert x.dtype == torch.bfloat16
    assert x.view(torch.int16).numpy().tobytes() == t.payload


def test_consumers_of_the_first_dlpack_get_a_copy() -> None:
    """They would take read-only memory for writable."""

    class First:
        def __dlpack__(self) -> object:
            return tensor().__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return tensor().__dlpack_device__()

    copied = np.from_dlpack(cast("Any", First()))
    np.testing.assert_array_equal(copied, tensor().array)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    t = tensor(Dtype="FP16", Shape="1,3,4,4")
    x = t.to_torch()
    assert tuple(x.shape) == t.shape
    assert x.numpy().tobytes() == t.payload
    x += 1  # it is the caller's own
    assert bytes(range(96)) == t.payload
    assert torch.from_dlpack(t).numpy().tobytes() == t.payload


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:1", True)])
def test_a_gpu_gets_it_from_pinned_memory(
    monkeypatch: pytest.MonkeyPatch, *, device: str, pinned: bool
) -> None:
    """Without PyTorch and a GPU: with what they would be asked for."""
    torch, elements = Mock(), np.zeros((1, 3, 2, 4), np.float32)
    torch.empty.return_value.numpy.return_value = elements
    torch.device = lambda name: Mock(type=name.partition(":")[0])
    monkeypatch.setitem(sys.modules, "torch", torch)
    made = tensor().to_torch(device)
    torch.empty.assert_called_once_with((1, 3, 2, 4), dtype=torch.float32, pin_memory=pinned)
    torch.empty.return_value.to.assert_called_once_with(device, non_blocking=True)
    assert made is torch.empty.return_value.to.return_value
    np.testing.assert_array_equal(elements, tensor().array)


def _import_or_none(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
