"""Tensors for PyTorch's DataLoader."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name
R = TypeVar("R")
D = TypeVar("D")


class _Shared(Protocol[T]):
    """A reader, as `subscribe` and `pull` return it."""

    def __iter__(self) -> Iterator[T]: ...

    def sharing(self, queue: str) -> Iterable[T]: ...


class Dataset(Generic[D]):
    """What `dataset` returns; it is a torch.utils.data.IterableDataset where PyTorch is."""

    def __init__(
        self, reader: _Shared[Any], transform: Callable[[Any], D] | None, queue: str
    ) -> None:
        """Prepare to read; see `dataset`. Workers share the tensors by the queue."""
        self._reader, self._transform, self._queue = reader, transform, queue

    def __iter__(self) -> Iterator[D]:
        """Read for ever, as one of the workers if there are any."""
        reader: Iterable[Any] = self._reader
        if _workers() > 1:
            reader = self._reader.sharing(self._queue)
        return iter(reader) if self._transform is None else map(self._transform, reader)

    def __reduce_ex__(self, _: object) -> tuple[object, ...]:
        """Return how a worker process makes the same dataset."""
        return _make, (self._reader, self._transform, self._queue)


@overload
def dataset(reader: _Shared[T], transform: None = None) -> Dataset[T]: ...


@overload
def dataset(reader: _Shared[T], transform: Callable[[T], R]) -> Dataset[R]: ...


def dataset(reader: _Shared[Any], transform: Callable[[Any], Any] | None = None) -> Dataset[Any]:
    """Return an endless dataset of what a reader reads, each item passed through transform.

        cameras = cvfeeder.subscribe("cvf.t.*.detector", newest=True)
        pictures = cvfeeder.dataset(cameras, lambda t: t.to_torch()[0])
        for batch in torch.utils.data.DataLoader(pictures, batch_size=8, num_workers=2): ...

    Each worker process opens a connection of its own, and each tensor goes to one of them. It
    waits until a batch is full. Without a transform the items are `Tensor`, which the
    DataLoader takes with batch_size=None.
    """
    return _make(reader, transform, f"dataset-{secrets.token_hex(8)}")


def _make(reader: _Shared[Any], transform: Callable[[Any], Any] | None, queue: str) -> Dataset[Any]:
    try:
        from torch.utils.data import IterableDataset  # noqa: PLC0415 - it takes seconds
    except ImportError:
        return Dataset(reader, transform, queue)
    both: type[Dataset[Any]] = type("Dataset", (Dataset, IterableDataset), {})
    return both(reader, transform, queue)


def _workers() -> int:
    """Return how many worker processes share the dataset, 0 in none of them."""
    if "torch.utils.data" not in sys.modules:
        return 0
    info = sys.modules["torch.utils.data"].get_worker_info()
    return 0 if info is None else int(info.num_workers)
