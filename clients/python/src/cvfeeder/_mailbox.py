"""The queue between the connection's thread and whoever reads, in any thread or event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")
R = TypeVar("R")

OVERHEAD = 4 << 10  # bytes that each item counts in addition to its payload


class Mailbox(Generic[T]):
    """A queue between threads, bounded in bytes.

    When it is full, the oldest items are dropped. An item with the same key as a waiting
    one replaces it, and keeps its place in the queue. Every wait for it ends with an item
    or with the error that ended it.
    """

    def __init__(self, limit: int, on_wait: Callable[[], None] = lambda: None) -> None:
        """Hold at most limit bytes, and always one item, however large.

        on_wait is called whenever somebody finds it empty; it must not block.
        """
        self.skipped = 0
        self.hungry = False  # whether somebody has found it empty since the last put
        self._limit = limit
        self._on_wait = on_wait
        self._bytes = 0
        self._items: dict[Hashable, tuple[T, int]] = {}
        self._ready = False
        self._error: Exception | None = None
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether set_ready was called."""
        return self._ready

    def put(self, item: T, size: int = 0, key: Hashable | None = None) -> None:
        """Add an item of size bytes, from any thread. Without a key it replaces no other."""
        size += OVERHEAD
        with self._lock:
            if key is None:
                key = object()
            if key in self._items:
                self._bytes -= self._items[key][1]
                self.skipped += 1
            self._items[key] = item, size
            self._bytes += size
            while self._bytes > self._limit and len(self._items) > 1:
                self._bytes -= self._items.pop(next(iter(self._items)))[1]
                self.skipped += 1
            self.hungry = False
            self._wake()

    def set_ready(self) -> None:
        """End the waits of opened and open."""
        with self._lock:
            self._ready = True
            self._wake()

    def fail(self, error: Exception) -> None:
        """Make all waits end with an error, those for an item once there is none left."""
        with self._lock:
            self._error = self._error or error
            self._wake()

    def forget_hunger(self) -> None:
        """Make hungry False if nobody waits any more."""
        with self._lock:
            self.hungry = self.hungry and bool(self._waiting)

    def clear(self) -> list[T]:
        """Remove and return all items."""
        with self._lock:
            items, self._items, self._bytes = self._items, {}, 0
        return [item for item, _ in items.values()]

    async def opened(self) -> None:
        """Wait until set_ready is called."""
        await self._wait(self._is_ready)

    async def get(self) -> T:
        """Return the oldest item, once there is one. Nothing is lost if this is cancelled."""
        return await self._wait(self._take)

    def open(self) -> None:
        """Do what opened does, and block meanwhile."""
        self._block(self._is_ready, None)

    def read(self, timeout: float | None = None) -> T:
        """Do what get does, and block meanwhile; raise TimeoutError after some seconds."""
        return self._block(self._take, timeout)

    def _is_ready(self) -> bool | None:
        if self._error:
            raise self._error
        return self._ready or None

    def _take(self) -> T | None:
        if self._items:
            item, size = self._items.pop(next(iter(self._items)))
            self._bytes -= size
            return item
        if self._error:
            raise self._error
        self.hungry = True
        self._on_wait()
        return None

    async def _wait(self, check: Callable[[], R | None]) -> R:
        """Return what check returns once it is not None; call it again after each change."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(changed.set)

        with self._registered(wake):
            while True:
                changed.clear()
                with self._lock:
                    if (result := check()) is not None:
                        return result
                await changed.wait()

    def _block(self, check: Callable[[], R | None], timeout: float | None) -> R:
        deadline = None if timeout is None else time.monotonic() + timeout
        changed: SimpleQueue[None] = SimpleQueue()  # a threading.Event takes longer
        with self._registered(lambda: changed.put(None)):
            while True:
                with self._lock:
                    if (result := check()) is not None:
                        return result
                left = None if deadline is None else max(deadline - time.monotonic(), 0)
                try:
                    changed.get(timeout=left)
                except Empty:
                    raise TimeoutError from None

    @contextlib.contextmanager
    def _registered(self, wake: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self._waiting.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(wake)

    def _wake(self) -> None:
        for wake in self._waiting:
            wake()
