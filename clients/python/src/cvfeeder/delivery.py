"""What all deliveries have in common: a subject, and acknowledgement."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future


class Sent:
    """An answer to JetStream that is on its way.

    It needs no more attention. To be sure that it has left this process, ``await`` it, or
    call `result` where nothing can be awaited.
    """

    __slots__ = ("_futures",)

    def __init__(self, *futures: Future[None]) -> None:
        """Follow futures; without one the answer was sent already."""
        self._futures = futures

    @classmethod
    def all(cls, several: Iterable[Sent]) -> Sent:
        """Return several answers as one."""
        return cls(*(future for one in several for future in one._futures))  # noqa: SLF001 - its own

    def __await__(self) -> Generator[object, None, None]:
        """Wait until the answer was sent."""
        for future in self._futures:
            yield from asyncio.shield(asyncio.wrap_future(future)).__await__()

    def result(self, timeout: float | None = 10) -> None:
        """Block until the answer was sent, at most for some seconds; then raise TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        for future in self._futures:
            future.result(None if until is None else max(until - time.monotonic(), 0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delivered:
    """Something that was delivered on a subject."""

    #: The NATS subject, for example ``cvf.t.front-door.detector``.
    subject: str
    _reply: Callable[[bytes], Sent] | None = field(default=None, repr=False)
    _inboxes: Sequence[str] = field(default=(), repr=False)  # where JetStream expects answers

    def ack(self) -> Sent:
        """Acknowledge this to JetStream, so that it is not delivered again.

        It works with and without ``await``; see `Sent`. If NATS is away, the answer is kept,
        and sent when it is back. Without JetStream this does nothing.
        """
        return self._answer(b"+ACK")

    def nak(self, delay: float = 0) -> Sent:
        """Ask JetStream to deliver this again, after a delay in seconds."""
        return self._answer(b'-NAK {"delay": %d}' % int(delay * 1e9) if delay > 0 else b"-NAK")

    def in_progress(self) -> Sent:
        """Ask JetStream for more time: its wait for the acknowledgement starts again."""
        return self._answer(b"+WPI")

    def _answer(self, answer: bytes) -> Sent:
        return Sent() if self._reply is None else self._reply(answer)
