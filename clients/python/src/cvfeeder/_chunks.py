"""Putting tensors together that came in several messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._headers import Headers
from .errors import InvalidMessage
from .tensor import announced_size

if TYPE_CHECKING:
    from nats.aio.msg import Msg

MAX_PARTS = 1 << 16
MAX_SUBJECTS = 1 << 14


@dataclass(slots=True)
class Whole:
    """A whole message, as it was before it was split, and the messages that carried it."""

    headers: dict[str, str]
    messages: list[Msg]

    @property
    def data(self) -> bytes:
        """The payload: the message's own where it came in one."""
        if len(self.messages) == 1:
            return self.messages[0].data
        return b"".join(m.data for m in self.messages)


def _untraced(headers: dict[str, str]) -> dict[str, str]:
    """Leave out what tells the attempt and not the tensor."""
    return {k: v for k, v in headers.items() if k != "traceparent"}


@dataclass(slots=True)
class _Assembly:
    """The parts of one tensor that have come, by their number from 1."""

    headers: dict[str, str]  # of the whole tensor
    total: int
    size: int  # announced, bytes
    parts: dict[int, Msg] = field(default_factory=dict)
    have: int = 0  # bytes
    done: bool = False


class Joiner:
    """Puts parts together, one tensor a subject at a time.

    Anything else on a subject ends the tensor whose parts are not all there. What is kept
    is bounded, whatever the sender says.
    """

    def __init__(self, limit: int, *, repeats: bool) -> None:
        """Keep at most limit bytes of parts.

        With repeats, a complete tensor may come a second time; without, its parts that do
        are ignored.
        """
        self.incomplete = 0
        self._limit = limit
        self._repeats = repeats
        self._bytes = 0
        self._assemblies: dict[str, _Assembly] = {}

    def add(self, msg: Msg) -> Whole | None:
        """Return the whole that msg is or completes, or None while parts are missing."""
        headers = msg.headers or {}
        if "Cvf-Chunk" not in headers:
            self._drop(msg.subject)
            return Whole(headers, [msg])
        try:
            number, total, assembly = self._place(msg.subject, headers)
            if assembly.done or number in assembly.parts:
                return None
            assembly.parts[number] = msg
            assembly.have += len(msg.data)
            self._bytes += len(msg.data)
            if assembly.have > assembly.size or assembly.size > self._limit:
                raise InvalidMessage(
                    f"header Cvf-Chunk: more bytes than the {assembly.size} announced, or than"
                    f" the {self._limit} that are kept"
                )
        except InvalidMessage:
            self._drop(msg.subject)
            raise
        if len(assembly.parts) == total:
            return self._complete(msg.subject, assembly)
        self._shrink()
        return None

    def _place(self, subject: str, headers: dict[str, str]) -> tuple[int, int, _Assembly]:
        """Return the number of a part, how many there are, and the assembly it belongs to."""
        number, total = Headers(headers).counts("Cvf-Chunk", "/", 2, MAX_PARTS)
        if number > total:
            raise InvalidMessage(f"header Cvf-Chunk: part {number} of {total}")
        whole = {k: v for k, v in headers.items() if k != "Cvf-Chunk"}
        if "Nats-Msg-Id" in whole:
            whole["Nats-Msg-Id"] = whole["Nats-Msg-Id"].removesuffix(f"/{number}/{total}")
        assembly = self._assemblies.get(subject)
        if (
            assembly is None
            or _untraced(assembly.headers) != _untraced(whole)
            or assembly.total != total
        ):
            self._drop(subject)
            assembly = _Assembly(whole, total, announced_size(headers))
            self._assemblies[subject] = assembly
        return number, total, assembly

    def _complete(self, subject: str, assembly: _Assembly) -> Whole:
        messages = [m for _, m in sorted(assembly.parts.items())]
        self._bytes -= assembly.have
        assembly.parts, assembly.have, assembly.done = {}, 0, True
        if self._repeats:
            del self._assemblies[subject]
        return Whole(assembly.headers, messages)

    def _drop(self, subject: str) -> None:
        assembly = self._assemblies.pop(subject, None)
        if assembly is not None and not assembly.done:
            self._bytes -= assembly.have
            self.incomplete += 1

    def _shrink(self) -> None:
        """Forget the subjects that were opened first where there is too much."""
        while self._bytes > self._limit or len(self._assemblies) > MAX_SUBJECTS:
            self._drop(next(iter(self._assemblies)))
