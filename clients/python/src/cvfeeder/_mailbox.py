"""The queue between the connection's thread and the consumer's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

T = TypeVar("T")

OVERHEAD = 4 << 10  # bytes that each item counts in addition to its payload


class Mailbox(Generic[T]):
    """A queue between a thread and an event loop, bounded in bytes.

    When it is full, the oldest items are dropped. An item with the same key as a waiting
    one replaces it, and keeps its place in the queue.
    """

    def __init__(self, limit: int) -> None:
        """Hold at most limit bytes, and always one item, however large."""
        self.skipped = 0
        self._limit = limit
        self._bytes = 0
        self._items: dict[Hashable, tuple[T, int]] = {}
        self._error: Exception | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

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
        self._wake()

    def fail(self, error: Exception) -> None:
        """Make get raise an error once it has returned all items."""
        with self._lock:
            self._error = self._error or error
        self._wake()

    async def get(self) -> T:
        """Return the oldest item, once there is one. Nothing is lost if this is cancelled."""
        while True:
            event = asyncio.Event()
            with self._lock:
                if self._items:
                    item, size = self._items.pop(next(iter(self._items)))
                    self._bytes -= size
                    return item
                if self._error:
                    raise self._error
                self._waiting.append((asyncio.get_running_loop(), event))
            await event.wait()

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(event.set)
