"""Turning messages into tensors and gaps."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from . import gap
from ._chunks import Joiner
from ._parse import parse_tensor
from ._pool import Pool
from .errors import InvalidMessage, SpecMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nats.aio.msg import Msg

    from .delivery import Sent
    from .gap import Gap
    from .tensor import Tensor

    Answer = Callable[[list[str], bytes], Sent]

log = logging.getLogger("cvfeeder")


def parse(subject: str, headers: Mapping[str, str] | None, data: bytes) -> Tensor | Gap:
    """Return the tensor, or the gap in its place, that one whole message carries.

    For programs that read NATS themselves. Raises InvalidMessage, also for a part of a
    tensor.
    """
    if headers and "Cvf-Chunk" in headers:
        raise InvalidMessage("header Cvf-Chunk: the message is only a part of a tensor")
    return _parse(subject, headers, data)


def _parse(
    subject: str, headers: Mapping[str, str] | None, data: memoryview | bytes
) -> Tensor | Gap:
    if headers and "Cvf-End" in headers:
        return gap.parse_end(subject, headers, data)
    if headers and "Cvf-Gap" in headers:
        return gap.parse_inline(subject, headers, data)
    return parse_tensor(subject, headers, data)


class Decoder:
    """Turns the messages of a subscription into tensors and gaps."""

    def __init__(
        self,
        *,
        limit: int,
        expect_spec: str | Collection[str] | None,
        strict: bool,
        answer: Answer | None = None,
    ) -> None:
        """Keep at most limit bytes of incomplete tensors; answer sends acknowledgements."""
        self.invalid = 0
        self.pool = Pool()
        self.joiner = Joiner(limit, repeats=answer is not None)
        self._specs = frozenset(
            [expect_spec] if isinstance(expect_spec, str) else expect_spec or ()
        )
        self._strict = strict
        self._answer = answer
        self._told = 0.0

    def decode(self, msg: Msg) -> Tensor | Gap | None:
        """Return what msg carries or completes; None while parts of it are missing.

        Raises SpecMismatch and InvalidMessage.
        """
        if msg.subject.startswith("cvf.gap."):
            return self._with_reply(gap.parse_event(msg.subject, bytes(msg.data)), [msg])
        whole = self.joiner.add(msg)
        if whole is None:
            return None
        item = _parse(msg.subject, whole.headers, self.pool.joined(whole.payloads))
        if self._specs and item.spec not in self._specs:
            raise SpecMismatch(
                f"{msg.subject} was made with the spec {item.spec[:80]}, but expected is"
                f" {' or '.join(sorted(self._specs))}: the output's preprocessing has changed"
            )
        return self._with_reply(item, whole.messages)

    def tolerate(self, subject: str, err: InvalidMessage) -> None:
        """Count an invalid message and log it, at most once a second; raise it if strict."""
        self.invalid += 1
        if self._strict:
            raise err
        if time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            log.warning("%s: %s (%d invalid so far)", subject[:100], err, self.invalid)

    def _with_reply(self, item: Tensor | Gap, messages: list[Msg]) -> Tensor | Gap:
        answer = self._answer
        if answer is None:
            return item
        inboxes = [m.reply for m in messages]
        return replace(item, _reply=lambda text: answer(inboxes, text), _inboxes=inboxes)
