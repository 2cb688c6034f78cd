"""Tensors, as messages carry them."""

from __future__ import annotations

import functools
import importlib
from base64 import b64encode
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from . import oip
from ._forms import CONTENT_TYPES, Map, Size
from .delivery import Delivered
from .errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jax
    import PIL.Image
    import tensorflow as tf
    import torch
    from numpy.typing import ArrayLike, NDArray

    from ._chat import ImagePart, ImageURL
    from .quality import Quality
    from .rectification import Rectification
    from .triton import SharedMemory

DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # NumPy itself has only the bits
    "UINT8": np.dtype("u1"),
    "INT8": np.dtype("i1"),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tensor(Delivered):
    """One preprocessed picture of one camera, and what is known about it.

    It can also be the tiles of a picture, a clip, one picture of each of several cameras, or an
    encoded picture.

    Where it comes from:

    subject      the NATS subject, for example ``cvf.t.front-door.detector``
    stream       the camera, or the name of the batch across cameras
    output       the output of cvfeeder's config
    time         the slot: an aware datetime in UTC, exact to the millisecond
    capture      the service's own timestamp of the picture, likewise
    late         True if it comes after newer ones: its slot was announced as a gap before, or
                 a burst looks back
    since        the time of the tensor that was published before it, if its output has a gate:
                 between them nothing new was seen; otherwise, and of the first, None
    burst        the burst that it belongs to, "" if it belongs to none
    quality      how good the camera's pictures are, a Quality; None if it is not known
    id           the message's identity, the same on every attempt
    traceparent  the W3C trace context of its publication, "" if it is not traced; use
                 opentelemetry.propagate.extract({"traceparent": t.traceparent})

    Its elements, of which `array` is a view:

    datatype     FP32, FP16, BF16, UINT8 or INT8, as the Open Inference Protocol names them
    layout       NCHW or NHWC; NCTHW, NTCHW or NTHWC of a clip of T frames
    shape        (N, C, H, W) for NCHW; H and W in pixels. N is 1, or how many tiles the picture
                 was cut into, or how many cameras the batch has
    color        RGB, BGR or GRAY: the order of the C channels, 3 or 1
    memory       the bytes of the elements, little-endian, in C order, or the encoded picture;
                 read-only

    How they were made:

    rectification
                 where the stream has a lens: source and affine are about the rectified picture,
                 and this leads on to the camera's own; otherwise None
    scale        value = (pixel * scale - mean) / std, where a pixel is 0 to 255
    mean, std    one value for each channel
    normalized   False if the elements are the pixels, which the consumer has to normalize
    quant_scale, quant_zero_point
                 value = (element - quant_zero_point) * quant_scale, where the elements are
                 quantized; otherwise 0 and 0
    spec         the fingerprint of the preprocessing, and of the libraries that did it
    source, affine, sources, affines  from where in the camera's picture

    A clip, whose `time` is that of its last frame:

    slots        the time of each frame, () if it is no clip
    missing      of each frame "", or what is in its place if there was none: "repeat" (the one
                 before it) or "black"

    A batch across cameras:

    streams      the camera of each row, () if it is none
    present      whether it had a frame; a row without one is padding

    An encoded picture, for which an output has ``encode``: `image` decodes it, and `array`
    raises TypeError.

    content_type image/jpeg, image/png or image/webp; "" if there are elements. Its layout is
                 HWC, and the datatype and normalization are those of its pixels
    """

    stream: str
    output: str
    time: datetime
    capture: datetime
    datatype: str
    shape: tuple[int, ...]
    layout: str
    color: str
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
    quality: Quality | None = None
    quant_scale: float = 0.0
    quant_zero_point: int = 0
    slots: tuple[datetime, ...] = ()
    missing: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    present: tuple[bool, ...] = ()
    content_type: str = ""
    rectification: Rectification | None = None
    _maps: tuple[Map, ...]
    _sources: tuple[Size, ...]

    @property
    def source(self) -> tuple[int, int]:
        """The width and height in pixels of the picture before preprocessing."""
        if len(self._sources) > 1:
            raise ValueError("each row of a batch across cameras has a source of its own: sources")
        return self._sources[0]

    @property
    def sources(self) -> tuple[tuple[int, int], ...]:
        """The `source` of each of the N pictures; (0, 0) if a camera had no frame."""
        return self._sources if self.streams else self._sources * len(self._maps)

    @property
    def affine(self) -> tuple[float, ...]:
        """The map to the picture's pixels, as (a, b, c, d, e, f).

        x_source = a*x + b*y + c, y_source = d*x + e*y + f, in pixels, with the origin at the
        top-left corner of the top-left pixel.
        """
        if len(self._maps) > 1:
            raise ValueError("each of several pictures has a map of its own: affines has them")
        return self._maps[0]

    @property
    def affines(self) -> NDArray[np.float64]:
        """The `affine` of each of the N pictures, as [[a, b, c], [d, e, f]]: (N, 2, 3)."""
        return np.array(self._maps, np.float64).reshape(-1, 2, 3)

    @property
    def array(self) -> NDArray[Any]:
        """The elements in their shape and type: a read-only view of the memory, not a copy.

        NumPy has no bfloat16. Elements of BF16 have the type of the package ml_dtypes if that
        is installed, and are otherwise their bits, as uint16: `to_float32` converts both.

        What a reader returns begins at a multiple of 64 bytes. It is read-only because all
        arrays of the tensor share its memory, which is used again for another tensor when the
        last of them is gone, and all that was made of them.
        """
        if self.content_type:
            raise TypeError(f"{self.subject} has encoded pictures, not elements: image() decodes")
        kind = _bfloat16() if self.datatype == "BF16" else DTYPES[self.datatype]
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

    def to_source(
        self,
        points: ArrayLike,
        *,
        tile: int | None = None,
        row: int | None = None,
        clip: bool = False,
    ) -> NDArray[np.float64]:
        """Map what a model found in the tensor to pixels of the source picture.

        Of several pictures, tile says in which of the tiles of one picture it was found, or row
        in which row of a batch across cameras.

        Points have the shape (..., 2), as x, y; boxes have (..., 4), as x1, y1, x2, y2.
        The result has the same shape. A box stays upright: it is the smallest one that
        holds its four mapped corners. With clip, coordinates are limited to the picture.
        Where the picture was rectified, the result is in the camera's own, and NaN for points
        that have no place in it.
        """
        p = np.asarray(points, np.float64)
        if p.ndim == 0 or p.shape[-1] not in (2, 4):
            raise ValueError(
                f"the shape {p.shape} is not (..., 2) for points or (..., 4) for boxes"
            )
        which = self._which(tile, row)
        if p.shape[-1] == 4:
            corners = self._map(
                which, p[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*p.shape[:-1], 4, 2)
            )
            mapped = np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
        else:
            mapped = self._map(which, p)
        if clip:
            picture = self.rectification.source if self.rectification else self.sources[which]
            mapped = np.clip(mapped, 0, np.tile(np.array(picture), p.shape[-1] // 2))
        return mapped

    def _which(self, tile: int | None, row: int | None) -> int:
        """Return the index of a picture."""
        n, which = len(self._maps), tile if row is None else row
        if tile is not None and row is not None:
            raise ValueError("tile and row exclude each other")
        if which is None and n > 1:
            name = "row" if self.streams else "tile"
            raise ValueError(f"the tensor has {n} pictures: say with {name}= which one it is")
        if not 0 <= (which or 0) < n:
            raise IndexError(f"the tensor has no picture {which}: it has {n}")
        return which or 0

    def _map(self, which: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c, d, e, f = self._maps[which]
        x, y = points[..., 0], points[..., 1]
        mapped = np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)
        return self.rectification.to_source(mapped) if self.rectification else mapped

    def to_float32(self) -> NDArray[np.float32]:
        """Return the values of the elements as float32: a view for FP32, otherwise a copy.

        What is quantized is computed as quant_scale and quant_zero_point say. Pixels that are
        not normalized stay pixels, 0 to 255.
        """
        if self.datatype == "BF16":
            bits = np.frombuffer(self.memory, DTYPES["BF16"]).astype("<u4") << 16
            return bits.view(np.float32).reshape(self.shape)
        values = self.array.astype(np.float32, copy=False)
        if self.quant_scale:
            values = (values - np.float32(self.quant_zero_point)) * np.float32(self.quant_scale)
        return values

    def normalize(self) -> NDArray[Any]:
        """Return the normalized elements, as FP32 and FP16 are: else float32 is made of them."""
        if self.normalized:
            return self.array if self.datatype in ("FP32", "FP16") else self.to_float32()
        axes = [-1 if axis == "C" else 1 for axis in self.layout]
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
        if self.content_type:
            raise TypeError(f"{self.subject} has encoded pictures, not elements")
        return oip.infer_request(
            self,
            model_name,
            input_name,
            outputs=outputs,
            model_version=model_version,
            request_id=request_id,
            shared=shared,
        )

    def image(self) -> PIL.Image.Image:
        """Decode an encoded picture with Pillow: in mode RGB, or L for GRAY.

        Raises InvalidMessage if it is none of the announced type and size.
        """
        pillow = _imported("PIL.Image", "image")
        height, width, _ = self._encoded("image").shape
        try:
            picture = pillow.open(BytesIO(self.memory), formats=[CONTENT_TYPES[self.content_type]])
            if picture.size != (width, height):
                found, _ = picture.size, picture.close()
                raise InvalidMessage(f"the picture is {found}, but {(width, height)} is announced")
            return cast("PIL.Image.Image", picture.convert("L" if self.color == "GRAY" else "RGB"))
        except (OSError, SyntaxError, pillow.DecompressionBombError) as err:
            raise InvalidMessage(f"the picture is no {self.content_type}: {err}") from err

    def to_image_url(self, detail: Literal["auto", "low", "high"] | None = None) -> ImagePart:
        """Return an encoded picture as a part of a chat message, as OpenAI's API has it.

        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,…"}}
        """
        data = b64encode(self._encoded("to_image_url").memory).decode()
        url: ImageURL = {"url": f"data:{self.content_type};base64,{data}"}
        if detail is not None:
            url["detail"] = detail
        return {"type": "image_url", "image_url": url}

    def _encoded(self, method: str) -> Tensor:
        if not self.content_type:
            raise TypeError(
                f"{method} needs an encoded picture, but {self.subject} has elements: set encode"
                " for an output in cvfeeder's config"
            )
        return self


def _imported(module: str, method: str) -> Any:  # noqa: ANN401 - a module
    """Import what is optional, and takes seconds."""
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package, _, _ = module.partition(".")
        names = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow", "PIL": "Pillow"}
        install = {"PIL": "pillow"}.get(package, package)
        raise ImportError(
            f"Tensor.{method} needs {names[package]}, which is not installed: pip install {install}"
        ) from err


@functools.cache
def _bfloat16() -> np.dtype[Any]:
    """Return the type of bfloat16 if there is one, otherwise that of its bits."""
    try:
        kind: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        kind = DTYPES["BF16"]
    return kind


def _made_of(values: dict[str, Any]) -> Tensor:
    return Tensor(**values)
