"""Batches: tensors that belong into one call of a model, in one array."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

import numpy as np

from ._headers import MAX_BYTES
from ._pool import Pool
from .delivery import Sent
from .errors import Closed, CvfeederError, ReadTimeout
from .gap import Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import jax
    import tensorflow as tf
    import torch
    from numpy.typing import ArrayLike, NDArray

    from ._reader import Reader
    from .tensor import Tensor

B = TypeVar("B", covariant=True)  # noqa: PLC0105 - B is the usual name

FILLING = 8  # batches that may be incomplete at a time
KEPT = 3  # blocks of the largest size so far that are kept while nobody uses them


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tensors of one shape that were made in the same way, in one array; made by `batched`.

    tensors  what is known about each, in the order in which they came. Their arrays are the
             rows of the batch's, so each of them keeps the memory of all

    The rows of a batch have the same output, spec, shape and type; they can be of any streams.
    """

    tensors: tuple[Tensor, ...]
    _whole: Tensor = field(repr=False)  # the first one, with the elements of all

    def __len__(self) -> int:
        """Return how many rows the array has, at least 1."""
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array: that of the tensors, with as many rows as all of them have."""
        return self._whole.shape

    @property
    def array(self) -> NDArray[Any]:
        """The elements of all tensors, one row after the other: read-only, not a copy.

        It begins at a multiple of 64 bytes. Its memory is used again for another batch when
        nothing refers to it any more, as that of `Tensor.array`.
        """
        return self._whole.array

    @property
    def memory(self) -> memoryview | bytes:
        """The bytes of the elements, little-endian, in C order; read-only."""
        return self._whole.memory

    def normalize(self) -> NDArray[Any]:
        """Return the normalized elements; see `Tensor.normalize`."""
        return self._whole.normalize()

    def to_float32(self) -> NDArray[np.float32]:
        """Return the values of the elements as float32; see `Tensor.to_float32`."""
        return self._whole.to_float32()

    def to_torch(self, device: str | torch.device = "cpu", *, copy: bool = True) -> torch.Tensor:
        """Return the elements as a PyTorch tensor; see `Tensor.to_torch`."""
        return self._whole.to_torch(device, copy=copy)

    def to_jax(self) -> jax.Array:
        """Return the elements as a JAX array; see `Tensor.to_jax`."""
        return self._whole.to_jax()

    def to_tf(self) -> tf.Tensor:
        """Return the elements as a TensorFlow tensor."""
        return self._whole.to_tf()

    def __dlpack__(self, *, stream: None = None, **options: Any) -> Any:  # noqa: ANN401 - NumPy's
        """Return the elements by the DLPack protocol; see `Tensor.__dlpack__`."""
        return self._whole.__dlpack__(stream=stream, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return that the elements are in the CPU's memory."""
        return self._whole.__dlpack_device__()

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the same batch in another process, in memory of its own."""
        return _joined, (self.tensors,)

    def to_source(self, points: ArrayLike, row: int, *, clip: bool = False) -> NDArray[np.float64]:
        """Map what a model found in a row to pixels of its picture; see `Tensor.to_source`."""
        if not 0 <= row < len(self):
            raise IndexError(f"the batch has no row {row}: it has {len(self)}")
        each = len(self) // len(self.tensors)
        return self.tensors[row // each].to_source(points, tile=row % each, clip=clip)

    def ack(self) -> Sent:
        """Acknowledge all tensors to JetStream; see `Tensor.ack`."""
        return Sent.all(t.ack() for t in self.tensors)

    def nak(self, delay: float = 0) -> Sent:
        """Ask JetStream to deliver all tensors again, after a delay in seconds."""
        return Sent.all(t.nak(delay) for t in self.tensors)

    def in_progress(self) -> Sent:
        """Ask JetStream for more time for all tensors."""
        return Sent.all(t.in_progress() for t in self.tensors)


class Batches(Generic[B]):
    """What `batched` returns: batches, for ``for`` and ``async for``."""

    def __init__(self, reader: Reader[Any], size: int, within: float) -> None:
        """Prepare to read; see `batched`."""
        self._reader, self._size, self._within = reader, size, within

    def __iter__(self) -> BatchLoop[B]:
        """Iterate until the reader is closed, as a loop over the reader itself does."""
        return BatchLoop(self._reader, self._size, self._within)

    def __aiter__(self) -> BatchLoop[B]:
        """Iterate until the reader is closed, as a loop over the reader itself does."""
        return BatchLoop(self._reader, self._size, self._within)


@overload
def batched(reader: Reader[Tensor], size: int = ..., within: float = ...) -> Batches[Batch]: ...


@overload
def batched(
    reader: Reader[Tensor | Gap], size: int = ..., within: float = ...
) -> Batches[Batch | Gap]: ...


def batched(reader: Reader[Any], size: int = 8, within: float = 0.05) -> Batches[Any]:
    """Return what a reader reads in batches, which keep a model busy with fewer calls.

        cameras = cvfeeder.subscribe("cvf.t.*.detector", newest=True)
        for batch in cvfeeder.batched(cameras, size=8):  # or async for
            found = model(batch.array)                   # (8, 3, 640, 640), or fewer
            for row, t in enumerate(batch.tensors):
                print(t.stream, t.time, batch.to_source(found[row], row))

    A batch is given when it has size tensors, or within seconds after its first one was
    read; it is never empty. Its tensors have the same output, spec, shape and type: others go
    into batches of their own, of which 8 are filled at a time. The tensors of a subject stay in
    order. A batch has at most 1 GiB, so that fewer of the largest tensors go into it.

    Each tensor is copied once, into a block of memory that is used again when nothing refers
    to a batch, its tensors or their arrays any more. A slot in shared memory is free from then
    on. Batches that are kept need memory of their own.

    If the reader has gaps (``gaps=True``, or `frames`), they come between the batches, as `Gap`:
    a batch with a tensor of the same stream ends before it. What the reader raises comes after
    the batches that had begun. If a loop over `pull` is left, JetStream gets back what was read
    for batches that have not been given.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"batched: size={size!r} is not a whole number from 1 on")
    if not (isinstance(within, int | float) and math.isfinite(within) and within >= 0):
        raise ValueError(f"batched: within={within!r} is not a number of seconds from 0 on")
    return Batches(reader, size, within)


class BatchLoop(Generic[B]):
    """One ``for`` or ``async for`` over batches; leaving it ends that over the reader."""

    def __init__(self, reader: Reader[Any], size: int, within: float) -> None:
        """Read from what is open, or else open."""
        self._assembly = Assembly(size, within)
        self._loop = iter(reader)

    def __iter__(self) -> Self:
        """Return this."""
        return self

    def __aiter__(self) -> Self:
        """Return this."""
        return self

    def __next__(self) -> B:
        """Block until the next batch or gap."""
        while not self._assembly.is_ready():
            try:
                self._assembly.add(self._loop.read(self._assembly.left()))
            except ReadTimeout:
                continue  # a batch is due
            except CvfeederError as err:
                self._assembly.fail(err)
        try:
            return cast("B", self._assembly.take())
        except Closed:
            raise StopIteration from None

    async def __anext__(self) -> B:
        """Wait for the next batch or gap. Nothing is lost if this is cancelled."""
        while not self._assembly.is_ready():
            try:
                self._assembly.add(await self._loop.get(self._assembly.left()))
            except ReadTimeout:
                continue  # a batch is due
            except CvfeederError as err:
                self._assembly.fail(err)
        try:
            return cast("B", self._assembly.take())
        except Closed:
            raise StopAsyncIteration from None

    def __del__(self) -> None:
        """Give back what was read and not given."""
        if (assembly := getattr(self, "_assembly", None)) is not None:
            assembly.give_back()


class Assembly:
    """Puts tensors into batches. It knows the time, and reads nothing itself."""

    def __init__(
        self, size: int, within: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make batches of size tensors, or of what has come within seconds."""
        self._size, self._within, self._clock = size, within, clock
        self._pool = Pool()
        self._filling: dict[Hashable, _Filling] = {}  # the one that began first comes first
        self._ready: deque[Batch | Gap | CvfeederError] = deque()

    def is_ready(self) -> bool:
        """Return whether there is something to take, now that what is due has ended."""
        now = self._clock()
        while not self._ready and self._filling:
            key, first = next(iter(self._filling.items()))
            if first.due > now:
                break
            self._end(key)
        return bool(self._ready)

    def left(self) -> float | None:
        """Return in how many seconds a batch is due, None if none has begun."""
        for first in self._filling.values():
            return max(first.due - self._clock(), 0)
        return None

    def add(self, item: Tensor | Gap) -> None:
        """Take what was read."""
        if isinstance(item, Gap):
            self._end_those(lambda _, t: t.stream == item.stream)
            self._ready.append(item)
            return
        if item.content_type:
            raise TypeError(f"{item.subject} has encoded pictures: they cannot be in one array")
        kind = _kind(item)
        if len(self._filling) > (kind in self._filling):
            self._end_those(lambda other, t: other != kind and t.subject == item.subject)
        if kind not in self._filling:
            if len(self._filling) >= FILLING:
                self._end(next(iter(self._filling)))
            due = self._clock() + self._within
            self._filling[kind] = _Filling(self._pool, item, self._size, due)
        filling = self._filling[kind]
        filling.add(item)
        if filling.full:
            self._end(kind)

    def fail(self, error: CvfeederError) -> None:
        """Raise an error once what has begun was taken."""
        self._end_those(lambda *_: True)
        self._ready.append(error)

    def take(self) -> Batch | Gap:
        """Return what became ready first, or raise it."""
        item = self._ready.popleft()
        if isinstance(item, CvfeederError):
            raise item
        return item

    def give_back(self) -> None:
        """Have JetStream deliver again what was not taken."""
        self._end_those(lambda *_: True)
        for item in self._ready:
            if not isinstance(item, CvfeederError):
                with contextlib.suppress(CvfeederError):  # it was closed: it will come again
                    item.nak()
        self._ready.clear()

    def _end_those(self, which: Callable[[Hashable, Tensor], bool]) -> None:
        """End the batches with a tensor of a kind."""
        for key, filling in list(self._filling.items()):
            if any(which(key, t) for t in filling.tensors):
                self._end(key)

    def _end(self, key: Hashable) -> None:
        self._ready.append(self._filling.pop(key).batch())


class _Filling:
    """A batch that is not complete, in a block of memory for all of it."""

    def __init__(self, pool: Pool, first: Tensor, size: int, due: float) -> None:
        self.due = due
        self.tensors: list[Tensor] = []
        self._bytes = len(first.memory)
        self._size = max(1, min(size, MAX_BYTES // self._bytes))
        pool.keep(KEPT * self._size * self._bytes)
        self._memory = pool.take(self._size * self._bytes)

    @property
    def full(self) -> bool:
        return len(self.tensors) == self._size

    def add(self, t: Tensor) -> None:
        """Copy a tensor into the block."""
        begin = len(self.tensors) * self._bytes
        row = self._memory[begin : begin + self._bytes]
        # NumPy lets other threads run meanwhile, such as the one that receives.
        np.copyto(np.frombuffer(row, np.uint8), np.frombuffer(t.memory, np.uint8))
        self.tensors.append(replace(t, memory=row.toreadonly()))

    def batch(self) -> Batch:
        first, n = self.tensors[0], len(self.tensors)
        shape = (n * first.shape[0], *first.shape[1:])
        whole = replace(first, shape=shape, memory=self._memory[: n * self._bytes].toreadonly())
        return Batch(tuple(self.tensors), whole)


def _kind(t: Tensor) -> Hashable:
    """Return what all rows of a batch have in common; the spec stands for more, if it is honest."""
    made = (t.layout, t.color, t.scale, t.mean, t.std, t.normalized)
    return t.output, t.spec, t.datatype, t.shape, made, t.quant_scale, t.quant_zero_point


def _joined(tensors: tuple[Tensor, ...]) -> Batch:
    filling = _Filling(Pool(), tensors[0], len(tensors), 0)
    for t in tensors:
        filling.add(t)
    return filling.batch()
