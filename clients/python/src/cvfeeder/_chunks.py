"""Joining tensors that come in several messages."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._headers import Headers
from ._parse import announced_size
from .errors import InvalidMessage

if TYPE_CHECKING:
    from nats.aio.msg import Msg

MAX_PARTS = 1 << 16
MAX_SUBJECTS = 1 << 14
OVERHEAD = 2 << 10  # bytes that each message takes besides its payload and its headers
HEADER_OVERHEAD = 256  # bytes that each header takes besides its text


Identity = bytes  # a digest


def cost(msg: Msg) -> int:
    """Return how many bytes a message takes: all of it counts, as its sender chooses it."""
    headers = msg.headers or {}
    text = sum(len(k) + len(v) for k, v in headers.items())
    return OVERHEAD + len(msg.subject) + len(msg.data) + 2 * text + HEADER_OVERHEAD * len(headers)


@dataclass(slots=True)
class Whole:
    """A whole message, as it was before it was split, and the messages that carried it."""

    headers: dict[str, str]
    messages: list[Msg]

    @property
    def payloads(self) -> list[memoryview | bytes]:
        """The pieces of the payload, in order."""
        return [m.data for m in self.messages]


@dataclass(slots=True)
class _Assembly:
    """The parts of one tensor that have arrived, by their number from 1."""

    headers: dict[str, str]  # of the whole tensor
    tensor: Identity
    total: int
    size: int  # announced, bytes
    parts: dict[int, Msg] = field(default_factory=dict)
    have: int = 0  # bytes of payload
    kept: int = 0  # bytes in all
    done: bool = False
    begun: int = 0  # how often something else had arrived on the subject when this one began


@dataclass(slots=True)
class _Subject:
    """A subject of which tensors are kept."""

    kept: int = 0  # tensors
    passes: int = 0  # how often something arrived that is not of the newest of them


class Joiner:
    """Joins parts.

    On a plain subscription, any other message on the subject means that the missing parts
    of a tensor will not come. JetStream delivers parts again that were not acknowledged in
    time, between others. There, a tensor is given up when later ones have arrived and then
    its own parts again: by then, every part that exists would have arrived. What is kept
    is bounded, whatever the sender says.
    """

    def __init__(self, limit: int, *, repeats: bool) -> None:
        """Keep at most limit bytes of parts.

        With repeats the messages are JetStream's, and a complete tensor may come a second
        time. Without, parts that come again are ignored.
        """
        self.incomplete = 0
        self.given_up: list[Msg] = []  # parts of tensors that will never be complete
        self._limit = limit
        self._repeats = repeats
        self._bytes = 0
        # By subject and, with repeats, by tensor.
        self._assemblies: OrderedDict[tuple[str, Identity], _Assembly] = OrderedDict()
        self._subjects: dict[str, _Subject] = {}

    def add(self, msg: Msg) -> Whole | None:
        """Return the whole message that msg is or completes, None while parts are missing."""
        headers = msg.headers or {}
        key: tuple[str, Identity] = (msg.subject, b"")
        if "Cvf-Chunk" not in headers:
            self._pass(key)
            return Whole(headers, [msg])
        try:
            number, total, whole = _read(headers)
            tensor = _identity(whole, total)
            if self._repeats:
                key = (msg.subject, tensor)
            assembly = self._assemblies.get(key)
            if assembly is None or assembly.tensor != tensor:
                self._pass(key)
                assembly = _Assembly(whole, tensor, total, announced_size(headers))
            if assembly.done or number in assembly.parts:
                if self._subjects[msg.subject].passes > assembly.begun:
                    self.given_up += assembly.parts.values()
                    self._drop(key)
                return None
            if assembly.have + len(msg.data) > assembly.size or assembly.size > self._limit:
                raise InvalidMessage(
                    f"header Cvf-Chunk: more bytes than the {assembly.size} announced, or than"
                    f" the {self._limit} that are kept"
                )
        except InvalidMessage:
            self._drop(key)
            raise
        if self._assemblies.get(key) is not assembly:
            self._begin(key, assembly)
        assembly.parts[number] = msg
        assembly.have += len(msg.data)
        assembly.kept += cost(msg)
        self._bytes += cost(msg)
        if len(assembly.parts) == total:
            return self._complete(key, assembly)
        self._shrink()
        return None

    def unfinished(self) -> list[Msg]:
        """Return the parts of tensors that are not complete yet."""
        return [m for a in self._assemblies.values() for m in a.parts.values()]

    def _pass(self, key: tuple[str, Identity]) -> None:
        """Note that something else has arrived on a subject."""
        if not self._repeats:
            self._drop(key)
            return
        subject = self._subjects.get(key[0])
        if subject is not None:
            subject.passes += 1

    def _begin(self, key: tuple[str, Identity], assembly: _Assembly) -> None:
        subject = self._subjects.setdefault(key[0], _Subject())
        subject.kept += 1
        assembly.begun = subject.passes
        self._assemblies[key] = assembly

    def _end(self, key: tuple[str, Identity]) -> _Assembly | None:
        assembly = self._assemblies.pop(key, None)
        if assembly is not None:
            subject = self._subjects[key[0]]
            subject.kept -= 1
            if not subject.kept:
                del self._subjects[key[0]]
        return assembly

    def _complete(self, key: tuple[str, Identity], assembly: _Assembly) -> Whole:
        messages = [m for _, m in sorted(assembly.parts.items())]
        self._bytes -= assembly.kept
        whole = Whole(assembly.headers, messages)
        assembly.parts, assembly.have, assembly.kept, assembly.done = {}, 0, 0, True
        assembly.headers = {}
        if self._repeats:
            self._end(key)
        return whole

    def _drop(self, key: tuple[str, Identity]) -> None:
        assembly = self._end(key)
        if assembly is not None and not assembly.done:
            self._bytes -= assembly.kept
            self.incomplete += 1

    def _shrink(self) -> None:
        """Drop the tensors that were begun first while too much is kept."""
        while self._bytes > self._limit or len(self._assemblies) > MAX_SUBJECTS:
            self._drop(next(iter(self._assemblies)))


def _read(headers: dict[str, str]) -> tuple[int, int, dict[str, str]]:
    """Return the number of a part, how many there are, and the headers of the whole."""
    number, total = Headers(headers).counts("Cvf-Chunk", "/", 2, MAX_PARTS)
    if number > total or total == 1:
        raise InvalidMessage(f"header Cvf-Chunk: part {number} of {total}")
    whole = {k: v for k, v in headers.items() if k != "Cvf-Chunk"}
    if "Nats-Msg-Id" in whole:
        whole["Nats-Msg-Id"] = whole["Nats-Msg-Id"].removesuffix(f"/{number}/{total}")
    return number, total, whole


def _identity(whole: dict[str, str], total: int) -> Identity:
    """Return what distinguishes a tensor's parts from those of others.

    The trace and the quality do not belong to it, since they differ between attempts, nor do
    the headers that JetStream adds to each message.
    """
    ours = (
        kv
        for kv in whole.items()
        if (kv[0].startswith(("Cvf-", "Content-")) and kv[0] != "Cvf-Quality")
        or kv[0] == "Nats-Msg-Id"
    )
    text = repr((*sorted(ours), ("Cvf-Chunk", str(total))))
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
