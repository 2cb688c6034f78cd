"""Reading a tensor from a message, whose headers are not trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._forms import (
    CONTENT_TYPES,
    LAYOUTS,
    MAX_PICTURES,
    Rows,
    frames,
    maps,
    rows,
    sources,
)
from ._headers import MAX_BYTES, Headers, traceparent
from .errors import InvalidMessage
from .quality import quality_of
from .rectification import parse_rectification
from .tensor import DTYPES, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse_tensor(
    subject: str, headers: Mapping[str, str] | None, data: memoryview | bytes
) -> Tensor:
    """Return the tensor of a message, or raise InvalidMessage."""
    h = Headers(headers)
    encoded = "Content-Type" in h
    batch = Rows() if encoded else rows(h)
    form = _picture_of(h, len(data)) if encoded else _elements_of(h)
    tensor = Tensor(
        subject=subject,
        stream=h.text("Cvf-Stream"),
        output=h.text("Cvf-Output"),
        time=h.time("Cvf-Time"),
        capture=h.time("Cvf-Capture"),
        spec=h.text("Cvf-Spec"),
        id=h.text("Nats-Msg-Id") if "Nats-Msg-Id" in h else "",
        memory=data,
        traceparent=traceparent(headers),
        late="Cvf-Late" in h,
        burst=h.text("Cvf-Burst") if "Cvf-Burst" in h else "",
        since=h.time("Cvf-Since") if "Cvf-Since" in h else None,
        quality=quality_of(h),
        rectification=parse_rectification(h.text("Cvf-Map")) if "Cvf-Map" in h else None,
        streams=batch.streams,
        present=batch.present,
        _maps=maps(h),
        _sources=sources(h, batch),
        **form,
    )
    _check(tensor)
    return tensor


def _elements_of(h: Headers) -> dict[str, Any]:
    """Return what the headers say of elements."""
    layout = h.one_of("Cvf-Layout", *LAYOUTS)
    color = h.one_of("Cvf-Color", "RGB", "BGR", "GRAY")
    clip = frames(h, layout)
    return {
        "datatype": h.one_of("Cvf-Dtype", *DTYPES),
        "shape": h.counts("Cvf-Shape", ",", len(layout)),
        "layout": layout,
        "color": color,
        "scale": h.nonzero("Cvf-Scale", 1)[0],
        "mean": h.floats("Cvf-Mean", _channels(color)),
        "std": h.nonzero("Cvf-Std", _channels(color)),
        "normalized": "Cvf-Normalized" not in h
        or h.one_of("Cvf-Normalized", "true", "false") == "true",
        "quant_scale": h.nonzero("Cvf-Quant-Scale", 1)[0] if "Cvf-Quant-Scale" in h else 0.0,
        "quant_zero_point": _zero_point(h) if "Cvf-Quant-Scale" in h else 0,
        "slots": clip.slots,
        "missing": clip.missing,
    }


def _picture_of(h: Headers, size: int) -> dict[str, Any]:
    """Return what the headers say of an encoded picture of size bytes."""
    if (length := h.count("Content-Length")) != size:
        raise InvalidMessage(f"header Content-Length: {length}, but the payload has {size} bytes")
    color = h.one_of("Cvf-Color", "RGB", "GRAY")
    return {
        "content_type": h.one_of("Content-Type", *CONTENT_TYPES),
        "datatype": "UINT8",
        "shape": h.counts("Cvf-Shape", ",", 3),
        "layout": "HWC",
        "color": color,
        "scale": 1.0,
        "mean": (0.0,) * _channels(color),
        "std": (1.0,) * _channels(color),
        "normalized": False,
    }


def _zero_point(h: Headers) -> int:
    value = h.floats("Cvf-Quant-Zero-Point", 1)[0]
    if not (value.is_integer() and abs(value) <= 255):
        raise InvalidMessage(f"header Cvf-Quant-Zero-Point: {value} is not one of 8 bits")
    return int(value)


def announced_size(headers: Mapping[str, str] | None) -> int:
    """Return the size in bytes of the whole tensor, as a message's or a part's headers say."""
    h = Headers(headers)
    if "Content-Type" in h:
        return h.count("Content-Length")
    layout = h.one_of("Cvf-Layout", *LAYOUTS)
    return _size(h.counts("Cvf-Shape", ",", len(layout)), h.one_of("Cvf-Dtype", *DTYPES))


def _channels(color: str) -> int:
    return 1 if color == "GRAY" else 3


def _size(shape: tuple[int, ...], datatype: str) -> int:
    size = math.prod(shape) * DTYPES[datatype].itemsize
    if size > MAX_BYTES:
        raise InvalidMessage(f"header Cvf-Shape: {shape} of {datatype} is too large")
    return size


def _check(t: Tensor) -> None:
    """Check what takes more than one header."""
    axes = dict(zip(t.layout, t.shape, strict=True))
    pictures = axes.get("N", 1)
    if axes["C"] != _channels(t.color) or pictures > (1 if "T" in axes else MAX_PICTURES):
        raise InvalidMessage(f"header Cvf-Shape: {t.shape} is not {t.color} in {t.layout}")
    if len(t._maps) != pictures:  # noqa: SLF001 - of this module
        raise InvalidMessage(f"header Cvf-Affine: not one map for each of {pictures} picture(s)")
    if t.streams and len(t.streams) != pictures:
        raise InvalidMessage(f"header Cvf-Batch: not one stream for each of {pictures} row(s)")
    if len(t.slots) != axes.get("T", 0):
        raise InvalidMessage(f"header Cvf-Clip: not one time for each frame of {t.shape}")
    if t.quant_scale < 0 or (t.quant_scale and DTYPES[t.datatype].itemsize != 1):
        raise InvalidMessage("header Cvf-Quant-Scale: not a positive number for elements of 8 bits")
    size = _size(t.shape, t.datatype)
    if not t.content_type and len(t.memory) != size:
        raise InvalidMessage(
            f"the payload has {len(t.memory)} bytes, but {t.shape} of {t.datatype} needs {size}"
        )
