"""What subscriptions and pulls have in common: opening, reading, iterating, closing."""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from ._connection import Connection, Source
from .errors import Closed, CvfeederError, ReadTimeout

if TYPE_CHECKING:
    from ._options import ConnectOptions

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name


class Reader(ABC, Generic[T]):
    """An endless source of tensors or gaps, for threads and for event loops.

    Blocking: ``for t in reader``, ``reader.read(timeout)``, ``with reader``, `open`, `close`.
    With asyncio: ``async for t in reader``, ``await reader.get(timeout)``,
    ``async with reader``, ``await reader.aclose()``.

    Without ``with``, a loop opens a connection of its own and closes it when it is left, and
    `read` and `get` open one that lasts until `close`, or until nobody holds the reader any
    more. Whatever ends the reader raises in all who wait for it. Before it is opened, it can
    be pickled and sent to another process.
    """

    def __init__(self, servers: list[str], options: ConnectOptions) -> None:
        """Prepare a reader."""
        self._servers = servers
        self._options = options
        self._source = self._new_source()
        self._lock = threading.Lock()
        self._shared: Connection | None = None  # what all but loops of their own read from
        self._latest: Connection | None = None
        self._closed = False

    @property
    def incomplete(self) -> int:
        """How many tensors were dropped because some of their parts did not arrive."""
        return self._source.decoder.joiner.incomplete

    @property
    def invalid(self) -> int:
        """How many messages were not what cvfeeder would publish."""
        return self._source.decoder.invalid

    def open(self) -> Self:
        """Connect and subscribe; everything published from here on is received."""
        connection = self._open_new()
        try:
            self._source.mailbox.open()
        except BaseException:
            self._release(connection)
            raise
        return self

    def close(self) -> None:
        """Close, and give back what was not read. Tensors that were delivered stay valid."""
        self._closed = True
        if connection := self._release(self._shared):
            connection.join()

    def __enter__(self) -> Self:
        """Open; see `open`."""
        return self.open()

    def __exit__(self, *_: object) -> None:
        """Close; see `close`."""
        self.close()

    async def __aenter__(self) -> Self:
        """Open; see `open`."""
        connection = self._open_new()
        try:
            await self._source.mailbox.opened()
        except BaseException:
            self._release(connection)
            await asyncio.to_thread(connection.join)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close; see `close`."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close; see `close`."""
        self._closed = True
        if connection := self._release(self._shared):
            await asyncio.to_thread(connection.join)

    def read(self, timeout: float | None = None) -> T:
        """Block until there is a tensor or gap, and return it.

        Raises ReadTimeout, which is a TimeoutError, if none comes within timeout seconds.
        """
        return self._read(self._get_connection(), timeout)

    async def get(self, timeout: float | None = None) -> T:
        """Return the next tensor or gap. Nothing is lost if this is cancelled.

        Raises ReadTimeout, which is a TimeoutError, if none comes within timeout seconds.
        """
        return await self._get(self._get_connection(), timeout)

    def __iter__(self) -> Loop[T]:
        """Iterate until the reader is closed."""
        return Loop(self)

    def __aiter__(self) -> Loop[T]:
        """Iterate until the reader is closed."""
        return Loop(self)

    def __del__(self) -> None:
        """Close in the background."""
        if (shared := getattr(self, "_shared", None)) is not None:
            shared.stop()

    @abstractmethod
    def _new_source(self) -> Source:
        """Return a source for a new connection."""

    def _open_new(self) -> Connection:
        with self._lock:
            if self._shared is not None:
                raise CvfeederError("this is open already: read from it, or close it first")
            self._shared, self._closed = self._connect(), False
            return self._shared

    def _get_connection(self) -> Connection:
        with self._lock:
            if self._shared is None:
                if self._closed:
                    raise Closed("the reader was closed: make another one, or use `with` again")
                self._shared = self._connect()
            return self._shared

    def _connect(self) -> Connection:
        self._source = self._new_source()
        self._latest = Connection(self._source, self._servers, self._options, self._latest)
        return self._latest

    def _release(self, connection: Connection | None) -> Connection | None:
        with self._lock:
            if connection is not None and self._shared is connection:
                self._shared = None
        if connection is not None:
            connection.stop()
        return connection

    def _read(self, connection: Connection, timeout: float | None) -> T:
        _check_process(connection)
        try:
            return self._checked(connection.source.mailbox.read(timeout))
        except TimeoutError as err:
            raise self._timeout(connection, timeout) from err

    async def _get(self, connection: Connection, timeout: float | None) -> T:
        _check_process(connection)
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return self._checked(await connection.source.mailbox.get())
        except TimeoutError as err:
            if not scope.expired():
                raise
            raise self._timeout(connection, timeout) from err

    def _checked(self, item: object) -> T:
        if isinstance(item, CvfeederError):
            raise item
        return cast("T", item)

    def _timeout(self, connection: Connection, timeout: float | None) -> ReadTimeout:
        trouble = f"; {connection.trouble}" if connection.trouble else ""
        subjects = ", ".join(self._source.subjects)
        return ReadTimeout(f"nothing on {subjects} within {timeout:g} s{trouble}")


class Loop(Generic[T]):
    """One ``for`` or ``async for`` over a reader; leaving it closes what it has opened."""

    def __init__(self, reader: Reader[T]) -> None:
        """Read from what is open, or else open."""
        self._reader = reader
        with reader._lock:  # noqa: SLF001 - it is a part of the reader
            self._own = reader._shared is None  # noqa: SLF001
            self._connection = reader._shared or reader._connect()  # noqa: SLF001

    def __iter__(self) -> Self:
        """Return this."""
        return self

    def __aiter__(self) -> Self:
        """Return this."""
        return self

    def __next__(self) -> T:
        """Block until the next tensor or gap."""
        try:
            return self.read(None)
        except Closed:
            raise StopIteration from None

    async def __anext__(self) -> T:
        """Wait for the next tensor or gap."""
        try:
            return await self.get(None)
        except Closed:
            raise StopAsyncIteration from None

    def read(self, timeout: float | None) -> T:
        """Do what `Reader.read` does, within this loop."""
        return self._reader._read(self._connection, timeout)  # noqa: SLF001

    async def get(self, timeout: float | None) -> T:
        """Do what `Reader.get` does, within this loop."""
        return await self._reader._get(self._connection, timeout)  # noqa: SLF001

    def __del__(self) -> None:
        """Close what was opened, in the background."""
        if getattr(self, "_own", False):
            self._connection.stop()


def _check_process(connection: Connection) -> None:
    if connection.pid != os.getpid():
        raise CvfeederError(
            "the reader was opened in another process: open it in the one that reads, for"
            " example in the worker_init_fn of a DataLoader"
        )
