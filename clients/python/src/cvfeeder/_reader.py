"""What subscriptions and pulls have in common: opening, iterating, closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ._session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client

    from ._decoder import Decoder

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name


class Reader(ABC, Generic[T]):
    """An endless source of tensors or gaps: iterate over it, or await `get`.

    It connects when it is first read, or entered with ``async with``, which also closes
    it. An ``async for`` without ``async with`` closes it when the loop is left.
    """

    def __init__(self, decoder: Decoder, options: dict[str, Any]) -> None:
        """Prepare a reader; options are nats-py's for the connection."""
        self._decoder = decoder
        self._options = options
        self._session: Session | None = None

    @property
    def incomplete(self) -> int:
        """How many tensors were dropped because some of their parts did not arrive."""
        return self._decoder.joiner.incomplete

    @property
    def invalid(self) -> int:
        """How many messages were not what cvfeeder would publish."""
        return self._decoder.invalid

    async def __aenter__(self) -> Self:
        """Connect and subscribe; everything published from here on is received."""
        if self._session is not None:
            raise RuntimeError("this is open already")
        session = Session(self._options, self._fail)
        client = await session.open()
        try:
            await session.run(self._subscribe(client))
        except BaseException:
            await session.close()
            raise
        self._session = session
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close; see `aclose`."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Tensors that were delivered stay valid."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self) -> T:
        """Return the next tensor or gap. Nothing is lost if this is cancelled."""
        if self._session is None:
            await self.__aenter__()
        return await self._next()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Iterate for ever."""
        opened = self._session is None
        try:
            while True:
                yield await self.get()
        finally:
            if opened:
                await self.aclose()

    @abstractmethod
    async def _subscribe(self, client: Client) -> None:
        """Subscribe; called on the connection's loop."""

    @abstractmethod
    async def _next(self) -> T:
        """Return the next item."""

    @abstractmethod
    def _fail(self, error: Exception) -> None:
        """Make _next raise an error; called on the connection's loop."""
