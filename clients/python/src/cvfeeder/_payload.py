"""Large tensors, from the socket straight into the memory of their arrays.

nats-py reads 32 KiB at a time and copies each message several times, which at megabytes costs
more than all else. So a `Tap` looks at what the socket brings before nats-py does. Where a
large tensor begins, it receives the payload into memory of a `Pool`, and hands the message
to whoever reads the subscription. All else goes to nats-py, which does not notice.

A message that only says where a tensor is in memory takes the same way: most of what it costs
otherwise is turns of the event loop.

It uses what nats-py has for itself, so _receive.py imports it for some versions only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from ._pool import Pool

    Take = Callable[[Msg], None]

LARGE = 64 << 10  # bytes that are still to come; fewer are received as fast by nats-py
SCRATCH = 32 << 10  # bytes: what nats-py takes at a time
HEAD = 4 << 10  # bytes: what is received first after a large tensor, as another may follow
PAUSE = 2  # milliseconds between pieces of a payload after which the event loop goes on
PATIENCE = 0.05  # seconds after which it goes on in any case

_CRLF = 2  # bytes after a payload
_FIRST = b"NATS/1.0\r\n"  # of headers without a status
_TENSOR = b"\r\nCvf-Dtype:"
_PLACE = b"\r\nCvf-Memory:"


class _Message(NamedTuple):
    """A message whose payload is being received."""

    sid: int
    subject: bytes
    reply: bytes
    headers: bytes
    memory: memoryview  # the payload and the end of the line


class Tap(asyncio.BufferedProtocol):
    """Stands between the transport of a connected client and the protocol of nats-py."""

    def __init__(self, client: Client, pool: Pool) -> None:
        """Do nothing until start is called."""
        self._client: Any = client
        self._pool = pool
        self._takers: dict[int, Take] = {}
        self._scratch = memoryview(bytearray(SCRATCH))
        self._next = HEAD  # how much of it is received at a time
        self._message: _Message | None = None
        self._missing = self._scratch[:0]  # what is still to be filled of its memory
        self._direct = False

    def start(self) -> None:
        """Look at what comes from now on; called as soon as the client has connected."""
        if not isinstance(self._client._transport, TcpTransport):  # noqa: SLF001
            return  # a WebSocket has frames of its own
        streams: Any = self._client._transport  # noqa: SLF001
        self._reader: Any = streams._io_reader  # noqa: SLF001
        self._transport: Any = streams._io_writer.transport  # noqa: SLF001
        self._protocol: asyncio.Protocol = self._transport.get_protocol()
        secure = self._transport.get_extra_info("sslcontext") is not None
        self._direct = not secure and hasattr(os, "readv") and hasattr(select, "poll")
        self._transport.set_protocol(self)

    def hand_to(self, subscription: Subscription, take: Take) -> None:
        """Call take for large tensors, instead of the callback of the subscription."""
        self._takers[subscription._id] = take  # noqa: SLF001

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Return where to receive to."""
        return self._scratch[: self._next] if self._message is None else self._missing

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received."""
        if self._message is not None:
            self._missing = self._missing[nbytes:]
        elif self._hand_place(self._scratch[:nbytes]):
            return
        elif not self._begin(self._scratch[:nbytes]):
            self._next = SCRATCH
            self._protocol.data_received(bytes(self._scratch[:nbytes]))
            return
        elif self._direct:
            self._receive_now()
        if not self._missing and self._message is not None:
            self._end(self._message)

    def _begin(self, data: memoryview) -> bool:
        """Prepare to receive a large tensor, if data is the first of it."""
        if data[:5].tobytes() != b"HMSG " or not self._in_order():
            return False
        line, found, _ = bytes(data[:HEAD]).partition(b"\r\n")
        words = line.split()
        if not found or len(words) not in (5, 6) or not all(map(bytes.isdigit, words[-2:])):
            return False
        at, sid = len(line) + 2, int(words[2])
        begin, end = at + int(words[-2]), at + int(words[-1])
        headers = bytes(data[at:begin])
        if (
            begin > len(data)
            or end - len(data) < LARGE
            or end - at > self._client.max_payload  # who says more may never send it
            or not headers.startswith(_FIRST)
            or _TENSOR not in headers
            or not self._is_next(sid)
        ):
            return False
        memory = self._pool.take(end - begin, _CRLF)
        have = len(data) - begin
        memory[:have] = data[begin:]
        self._missing = memory[have:]
        reply = words[3] if len(words) == 6 else b""
        self._message = _Message(sid, words[1], reply, headers, memory)
        return True

    def _hand_place(self, data: memoryview) -> bool:
        """Hand a message without a payload on, if data is one that says where a tensor is."""
        if len(data) > HEAD or data[:5].tobytes() != b"HMSG " or not self._in_order():
            return False
        line, _, rest = bytes(data).partition(b"\r\n")
        words = line.split()
        if (
            len(words) not in (5, 6)
            or words[-1] != words[-2]
            or words[-1] != b"%d" % (len(rest) - _CRLF)
            or not rest.startswith(_FIRST)
            or not rest.endswith(b"\r\n\r\n\r\n")
            or _PLACE not in rest
            or not self._is_next(sid := int(words[2]))
        ):
            return False
        reply = words[3] if len(words) == 6 else b""
        self._hand(sid, words[1], reply, rest[:-_CRLF], memoryview(b""))
        return True

    def _in_order(self) -> bool:
        """Return whether nats-py has parsed all that came before."""
        parser = self._client._ps  # noqa: SLF001
        return (
            self._reader._waiter is not None  # noqa: SLF001
            and not self._reader._buffer  # noqa: SLF001
            and parser.state == AWAITING_CONTROL_LINE
            and not parser.buf
        )

    def _is_next(self, sid: int) -> bool:
        """Return whether a subscription's next message can be handed over at once."""
        subscription = self._client._subs.get(sid)  # noqa: SLF001
        return (
            sid in self._takers and subscription is not None and subscription._pending_queue.empty()  # noqa: SLF001
        )

    def _receive_now(self) -> None:
        """Receive as long as more comes at once.

        A turn of the event loop for each piece costs more than the pieces do. The loop is the
        connection's own, and has nothing else to do meanwhile.
        """
        fd = self._transport.get_extra_info("socket").fileno()
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        until = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):  # asyncio will meet it again
            while self._missing and ready.poll(PAUSE):
                received = os.readv(fd, [self._missing])
                if not received:
                    break
                self._missing = self._missing[received:]
                if time.monotonic() > until:
                    break

    def _end(self, message: _Message) -> None:
        """Hand a message on, once its payload is there."""
        self._message = None
        self._missing, self._next = self._scratch[:0], HEAD
        sid, subject, reply, headers, memory = message
        self._hand(sid, subject, reply, headers, memory[:-_CRLF].toreadonly())

    def _hand(
        self, sid: int, subject: bytes, reply: bytes, headers: bytes, payload: memoryview
    ) -> None:
        client = self._client
        subscription = client._subs.get(sid)  # noqa: SLF001
        if subscription is None:
            return  # ended meanwhile
        client.stats["in_msgs"] += 1
        client.stats["in_bytes"] += len(payload)
        subscription._received += 1  # noqa: SLF001
        data = cast("bytes", payload)
        try:
            values = _values(headers)
            self._takers[sid](client._build_message(sid, subject, reply, data, values))  # noqa: SLF001
        except Exception as err:  # noqa: BLE001 - as nats-py does with what a callback raises
            asyncio.ensure_future(client._error_cb(err))  # noqa: RUF006, SLF001

    def eof_received(self) -> bool | None:
        """Tell that nothing more comes."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection is lost."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell that the socket is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell that the socket has room again."""
        self._protocol.resume_writing()


def _values(headers: bytes) -> dict[str, str]:
    """Return what nats-py makes of headers without a status."""
    values: dict[str, str] = {}
    for line in headers[len(_FIRST) :].split(b"\r\n"):
        values.update(_value(line))
    return values


@lru_cache(maxsize=512)  # most headers of an output are the same in each of its tensors
def _value(line: bytes) -> dict[str, str]:
    values: dict[str, str] = Client._parse_header_lines(line)  # noqa: SLF001
    return values
