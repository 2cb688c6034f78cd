"""What all deliveries have in common: a subject, and acknowledgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delivered:
    """Something that was delivered on a subject."""

    #: The NATS subject, for example ``cvf.t.front-door.detector``.
    subject: str
    _reply: Callable[[bytes], Awaitable[None]] | None = field(default=None, repr=False)

    async def ack(self) -> None:
        """Acknowledge this to JetStream, so that it is not delivered again.

        Without JetStream this does nothing.
        """
        await self._answer(b"+ACK")

    async def nak(self, delay: float = 0) -> None:
        """Ask JetStream to deliver this again, after a delay in seconds."""
        await self._answer(b'-NAK {"delay": %d}' % int(delay * 1e9) if delay > 0 else b"-NAK")

    async def in_progress(self) -> None:
        """Ask JetStream for more time: its wait for the acknowledgement starts again."""
        await self._answer(b"+WPI")

    async def _answer(self, answer: bytes) -> None:
        if self._reply is not None:
            await self._reply(answer)
