"""Tensors, as messages carry them."""

from __future__ import annotations

import functools
import importlib
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from . import oip
from ._headers import MAX_BYTES, Headers, traceparent
from .delivery import Delivered
from .errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import jax
    import tensorflow as tf
    import torch
    from numpy.typing import ArrayLike, NDArray

    from .triton import SharedMemory

_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # NumPy itself has only the bits
    "UINT8": np.dtype("u1"),
    "INT8": np.dtype("i1"),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tensor(Delivered):
    """One preprocessed picture of one camera, and what is known about it.

    Where it comes from:

    subject      the NATS subject, for example ``cvf.t.front-door.detector``
    stream       the camera
    output       the output of cvfeeder's config
    time         the slot: an aware datetime in UTC, exact to the millisecond
    capture      the service's own timestamp of the picture, likewise
    late         True if it comes after newer ones: its slot was announced as a gap before, or
                 a burst looks back
    since        the time of the tensor that was published before it, if its output has a gate:
                 between them nothing new was seen; otherwise, and of the first, None
    burst        the burst that it belongs to, "" if it belongs to none
    id           the message's identity, the same on every attempt
    traceparent  the W3C trace context of its publication, "" if it is not traced; use
                 opentelemetry.propagate.extract({"traceparent": t.traceparent})

    Its elements, of which `array` is a view:

    datatype     FP32, FP16, BF16, UINT8 or INT8, as the Open Inference Protocol names them
    layout       NCHW or NHWC
    shape        (1, C, H, W) for NCHW, (1, H, W, C) for NHWC; H and W in pixels
    color        RGB, BGR or GRAY: the order of the C channels, 3 or 1
    memory       the bytes of the elements, little-endian, in C order; read-only

    How they were made:

    source       (width, height) in pixels of the picture before preprocessing
    affine       (a, b, c, d, e, f): x_source = a*x + b*y + c, y_source = d*x + e*y + f, in
                 pixels, with the origin at the top-left corner of the top-left pixel
    scale        value = (pixel * scale - mean) / std, where a pixel is 0 to 255
    mean, std    one value for each channel
    normalized   False if the elements are the pixels, which the consumer has to normalize
    quant_scale, quant_zero_point
                 value = (element - quant_zero_point) * quant_scale, where the elements are
                 quantized; otherwise 0 and 0
    spec         the fingerprint of the preprocessing, and of the libraries that did it
    """

    stream: str
    output: str
    time: datetime
    capture: datetime
    datatype: str
    shape: tuple[int, ...]
    layout: str
    color: str
    source: tuple[int, int]
    affine: tuple[float, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalized: bool
    spec: str
    id: str
    memory: memoryview | bytes = field(repr=False)
    traceparent: str = ""
    late: bool = False
    burst: str = ""
    since: datetime | None = None
    quant_scale: float = 0.0
    quant_zero_point: int = 0

    @property
    def array(self) -> NDArray[Any]:
        """The elements in their shape and type: a read-only view of the memory, not a copy.

        NumPy has no bfloat16. Elements of BF16 have the type of the package ml_dtypes if that
        is installed, and are otherwise their bits, as uint16: `to_float32` converts both.

        What a reader returns begins at a multiple of 64 bytes. It is read-only because all
        arrays of the tensor share its memory, which is used again for another tensor when the
        last of them is gone, and all that was made of them.
        """
        kind = _bfloat16() if self.datatype == "BF16" else _DTYPES[self.datatype]
        return np.frombuffer(self.memory, kind).reshape(self.shape)

    @property
    def payload(self) -> bytes:
        """The bytes of the elements as an object of their own, which may be a copy of them."""
        return bytes(self.memory)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the same tensor in another process, in memory of its own."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _made_of, (values | {"memory": self.payload},)

    def age(self, now: datetime | None = None) -> float:
        """Return the seconds from the slot until now, or until the given time."""
        return ((now or datetime.now(UTC)) - self.time).total_seconds()

    def to_source(self, points: ArrayLike, *, clip: bool = False) -> NDArray[np.float64]:
        """Map what a model found in the tensor to pixels of the source picture.

        Points have the shape (..., 2), as x, y; boxes have (..., 4), as x1, y1, x2, y2.
        The result has the same shape. A box stays upright: it is the smallest one that
        holds its four mapped corners. With clip, coordinates are limited to the picture.
        """
        p = np.asarray(points, np.float64)
        if p.ndim == 0 or p.shape[-1] not in (2, 4):
            raise ValueError(
                f"the shape {p.shape} is not (..., 2) for points or (..., 4) for boxes"
            )
        if p.shape[-1] == 4:
            corners = self._map(p[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*p.shape[:-1], 4, 2))
            mapped = np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
        else:
            mapped = self._map(p)
        if clip:
            mapped = np.clip(mapped, 0, np.tile(np.array(self.source), p.shape[-1] // 2))
        return mapped

    def _map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c, d, e, f = self.affine
        x, y = points[..., 0], points[..., 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    def to_float32(self) -> NDArray[np.float32]:
        """Return the values of the elements as float32: a view for FP32, otherwise a copy.

        What is quantized is computed as quant_scale and quant_zero_point say. Pixels that are
        not normalized stay pixels, 0 to 255.
        """
        if self.datatype == "BF16":
            bits = np.frombuffer(self.memory, _DTYPES["BF16"]).astype("<u4") << 16
            return bits.view(np.float32).reshape(self.shape)
        values = self.array.astype(np.float32, copy=False)
        if self.quant_scale:
            values = (values - np.float32(self.quant_zero_point)) * np.float32(self.quant_scale)
        return values

    def normalize(self) -> NDArray[Any]:
        """Return the normalized elements, as FP32 and FP16 are: else float32 is made of them."""
        if self.normalized:
            return self.array if self.datatype in ("FP32", "FP16") else self.to_float32()
        axes = (1, -1, 1, 1) if self.layout == "NCHW" else (1, 1, 1, -1)
        mean, std = (np.array(v).reshape(axes) for v in (self.mean, self.std))
        # One multiplication and one addition per pixel: pixel*(scale/std) - mean/std.
        normalized = self.array * np.float32(self.scale / std)
        normalized -= np.float32(mean / std)
        return normalized

    def to_torch(self, device: str | torch.device = "cpu", *, copy: bool = True) -> torch.Tensor:
        """Return the elements as a PyTorch tensor of the same shape and type, on a device.

        For a CUDA device they are copied into pinned memory, and from there while the CPU
        goes on. Without a copy, on the CPU, it shares the message's memory, which must not
        be written to. PyTorch cannot enforce that, and warns about it.
        """
        torch = _imported("torch", "to_torch")
        brain = self.datatype == "BF16"  # NumPy and PyTorch have only 16 bits in common
        array = self.array.view(np.int16) if brain else self.array
        if not copy:
            shared = torch.from_numpy(array)
            return (shared.view(torch.bfloat16) if brain else shared).to(device)
        kind = getattr(torch, "bfloat16" if brain else array.dtype.name)
        pinned = torch.device(device).type == "cuda"
        elements = torch.empty(self.shape, dtype=kind, pin_memory=pinned)
        (elements.view(torch.int16) if brain else elements).numpy()[...] = array
        return elements.to(device, non_blocking=True)

    def to_jax(self) -> jax.Array:
        """Return the elements as a JAX array of the same shape and type, on the default device."""
        return _imported("jax.numpy", "to_jax").array(self.array)

    def to_tf(self) -> tf.Tensor:
        """Return the elements as a TensorFlow tensor of the same shape and type."""
        return _imported("tensorflow", "to_tf").convert_to_tensor(self.array)

    def __dlpack__(self, *, stream: None = None, **options: Any) -> Any:  # noqa: ANN401 - NumPy's
        """Return the elements by the DLPack protocol: ``torch.from_dlpack(t)`` and others.

        They are copied for consumers that do not understand read-only memory. NumPy cannot
        hand over bfloat16, which raises BufferError: use to_torch, or to_float32.
        """
        if self.datatype == "BF16":
            raise BufferError("NumPy cannot hand over bfloat16: use to_torch, or to_float32")
        try:
            return self.array.__dlpack__(stream=stream, **options)
        except BufferError:
            return self.array.copy().__dlpack__(stream=stream, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return that the elements are in the CPU's memory."""
        return self.array.__dlpack_device__()

    def to_oip(
        self,
        model_name: str,
        input_name: str,
        *,
        outputs: Sequence[str] = (),
        model_version: str = "",
        request_id: str = "",
        shared: SharedMemory | None = None,
    ) -> oip.InferRequest:
        """Return an inference request for Triton or KServe that holds the payload as it is.

        Outputs are requested in binary form: those named, or all of the model's. With shared, a
        tensor in memory is not sent: Triton reads it there. See `cvfeeder.triton`.
        """
        return oip.infer_request(
            self,
            model_name,
            input_name,
            outputs=outputs,
            model_version=model_version,
            request_id=request_id,
            shared=shared,
        )


def _imported(module: str, method: str) -> Any:  # noqa: ANN401 - a module
    """Import what is optional, and takes seconds."""
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package, _, _ = module.partition(".")
        name = {"torch": "PyTorch", "jax": "JAX"}.get(package, "TensorFlow")
        raise ImportError(
            f"Tensor.{method} needs {name}, which is not installed: pip install {package}"
        ) from err


@functools.cache
def _bfloat16() -> np.dtype[Any]:
    """Return the type of bfloat16 if there is one, otherwise that of its bits."""
    try:
        kind: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        kind = _DTYPES["BF16"]
    return kind


def _made_of(values: dict[str, Any]) -> Tensor:
    return Tensor(**values)


def parse_tensor(
    subject: str, headers: Mapping[str, str] | None, data: memoryview | bytes
) -> Tensor:
    """Return the tensor of a message, or raise InvalidMessage."""
    h = Headers(headers)
    color = h.one_of("Cvf-Color", "RGB", "BGR", "GRAY")
    channels = 1 if color == "GRAY" else 3
    tensor = Tensor(
        subject=subject,
        stream=h.text("Cvf-Stream"),
        output=h.text("Cvf-Output"),
        time=h.time("Cvf-Time"),
        capture=h.time("Cvf-Capture"),
        datatype=h.one_of("Cvf-Dtype", *_DTYPES),
        shape=h.counts("Cvf-Shape", ",", 4),
        layout=h.one_of("Cvf-Layout", "NCHW", "NHWC"),
        color=color,
        source=_pair(h.counts("Cvf-Source", "x", 2)),
        affine=h.floats("Cvf-Affine", 6),
        scale=h.nonzero("Cvf-Scale", 1)[0],
        mean=h.floats("Cvf-Mean", channels),
        std=h.nonzero("Cvf-Std", channels),
        normalized="Cvf-Normalized" not in h
        or h.one_of("Cvf-Normalized", "true", "false") == "true",
        spec=h.text("Cvf-Spec"),
        id=h.text("Nats-Msg-Id") if "Nats-Msg-Id" in h else "",
        memory=data,
        traceparent=traceparent(headers),
        late="Cvf-Late" in h,
        burst=h.text("Cvf-Burst") if "Cvf-Burst" in h else "",
        since=h.time("Cvf-Since") if "Cvf-Since" in h else None,
        quant_scale=h.nonzero("Cvf-Quant-Scale", 1)[0] if "Cvf-Quant-Scale" in h else 0.0,
        quant_zero_point=_zero_point(h) if "Cvf-Quant-Scale" in h else 0,
    )
    _check(tensor, channels)
    return tensor


def _zero_point(h: Headers) -> int:
    value = h.floats("Cvf-Quant-Zero-Point", 1)[0]
    if not (value.is_integer() and abs(value) <= 255):
        raise InvalidMessage(f"header Cvf-Quant-Zero-Point: {value} is not one of 8 bits")
    return int(value)


def announced_size(headers: Mapping[str, str] | None) -> int:
    """Return the size in bytes of the whole tensor, as a message's or a part's headers say."""
    h = Headers(headers)
    return _size(h.counts("Cvf-Shape", ",", 4), h.one_of("Cvf-Dtype", *_DTYPES))


def _size(shape: tuple[int, ...], datatype: str) -> int:
    size = math.prod(shape) * _DTYPES[datatype].itemsize
    if size > MAX_BYTES:
        raise InvalidMessage(f"header Cvf-Shape: {shape} of {datatype} is too large")
    return size


def _check(t: Tensor, channels: int) -> None:
    """Check what takes more than one header."""
    c = t.shape[1] if t.layout == "NCHW" else t.shape[3]
    if t.shape[0] != 1 or c != channels:
        raise InvalidMessage(
            f"header Cvf-Shape: {t.shape} is not one picture in {t.color} and {t.layout}"
        )
    if t.quant_scale < 0 or (t.quant_scale and _DTYPES[t.datatype].itemsize != 1):
        raise InvalidMessage("header Cvf-Quant-Scale: not a positive number for elements of 8 bits")
    size = _size(t.shape, t.datatype)
    if len(t.memory) != size:
        raise InvalidMessage(
            f"the payload has {len(t.memory)} bytes, but {t.shape} of {t.datatype} needs {size}"
        )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    width, height = values
    return width, height
