"""Reading a range of a camera's past, which a feeder makes for whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack

from ._connection import Source, flush
from ._decoder import Decoder
from ._mailbox import Mailbox
from ._options import URL, ConnectOptions, check, servers_of
from ._reader import Reader
from .errors import Closed, CvfeederError, MessagesLost, Refused
from .gap import Gap
from .subscription import BUFFER
from .tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from ._connection import Connection

SUBJECT = "cvf.svc.frames"
CREDIT = 8  # messages
MAX_CREDIT = 64
ALIVE = 2.0  # seconds between the words to the feeder that somebody still reads
SILENCE = 10.0  # seconds without a word of the feeder, which says something every 2


class Frames(Reader[Tensor | Gap]):
    """A range of a camera's past; made by `frames`.

    Each loop over it asks anew, which costs images anew.
    """

    def __init__(
        self,
        request: dict[str, Any],
        expect_spec: str | Collection[str] | None,
        servers: list[str],
        options: ConnectOptions,
    ) -> None:
        """Prepare a range; see `frames`."""
        self._request, self._expect_spec = request, expect_spec
        super().__init__(servers, options)

    @property
    def slots(self) -> int:
        """How many slots the range has: 0 before the feeder has accepted the request."""
        return self._ranged.slots

    @property
    def images(self) -> int:
        """How many images of Kinesis the range may cost, and at the end, has cost."""
        return self._ranged.images

    @property
    def _ranged(self) -> _Ranged:
        source = self._source
        assert isinstance(source, _Ranged)  # noqa: S101 - for the types
        return source

    def _new_source(self) -> Source:
        return _Ranged(self._request, self._expect_spec)

    def _read(self, connection: Connection, timeout: float | None) -> Tensor | Gap:
        item = super()._read(connection, timeout)
        connection.source.took()
        return item

    async def _get(self, connection: Connection, timeout: float | None) -> Tensor | Gap:
        item = await super()._get(connection, timeout)
        connection.source.took()
        return item

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process makes the same range."""
        return type(self), (self._request, self._expect_spec, self._servers, self._options)


class _Ranged(Source):
    """Receives a range, and gives credit for what is read of it."""

    def __init__(self, request: dict[str, Any], expect_spec: str | Collection[str] | None) -> None:
        decoder = Decoder(limit=BUFFER, expect_spec=expect_spec, strict=True)
        # The feeder sends no more than there is credit for.
        super().__init__((SUBJECT,), Mailbox(sys.maxsize), decoder)
        self.slots = self.images = 0
        self._request = request
        self._asked = False
        self._ended: asyncio.Future[None] | None = None
        self._over = False
        self._heard_at = 0.0
        self._id = self._control = ""
        self._last = 0  # the number of the last message
        self._first_part = 0  # that of the first message of an incomplete tensor, 0 for none
        self._lock = threading.Lock()
        self._unread: deque[int] = deque()  # the first message of each item that was not taken

    @property
    def silent(self) -> bool:
        return False  # who waits is told by the feeder

    async def run(self, client: Client) -> None:
        if self._asked:
            raise MessagesLost("the connection to NATS was lost within the range: ask for the rest")
        self._ended = asyncio.get_running_loop().create_future()
        inbox = client.new_inbox()
        await self.connection.subscribe(client, inbox, "", self._receive)
        await flush(client)
        self._asked, self._heard_at = True, time.monotonic()
        self.connection.set_ready()
        await client.publish(SUBJECT, json.dumps(self._request).encode(), reply=inbox)
        while not (await asyncio.wait({self._ended}, timeout=ALIVE))[0]:
            if time.monotonic() - self._heard_at > SILENCE:
                raise CvfeederError(f"the feeder says nothing any more, for {SILENCE:g} s")
            await self._grant(client)
        self._ended.result()
        raise Closed("the range was read to its end")

    async def give_back(self, client: Client) -> None:
        if not self._over:
            self._over = True
            await self._grant(client, cancel=True)

    def took(self) -> None:
        with self._lock:
            if self._unread:
                self._unread.popleft()
        if self._control and not self._over:
            with contextlib.suppress(CvfeederError):  # it is being closed
                self.connection.send([(self._control, self._word())])

    def _word(self, *, cancel: bool = False) -> bytes:
        """Return what the feeder is told: how many messages were read."""
        with self._lock:
            # Parts wait for each other, not for the reader.
            read = self._unread[0] - 1 if self._unread else self._last
        return json.dumps({"read": read, "cancel": True} if cancel else {"read": read}).encode()

    async def _grant(self, client: Client, *, cancel: bool = False) -> None:
        if self._control:
            await client.publish(self._control, self._word(cancel=cancel))

    def _receive(self, msg: Msg) -> None:
        """Take a message, on the connection's thread."""
        if self._over or self._ended is None or self._ended.done():
            return
        self._heard_at = time.monotonic()
        try:
            ended = self._take(msg)
        except CvfeederError as err:
            self._over = True
            self._ended.set_exception(err)
            return
        if ended:
            self._over = True
            self._ended.set_result(None)

    def _take(self, msg: Msg) -> bool:
        """Take a message; return whether it was the last one."""
        headers = msg.headers or {}
        if headers.get("Status") == "503":
            raise Refused("503", "no cvfeeder answers requests for ranges")
        name = headers.get("Cvf-Range", "")
        if not name:
            raise _refused(headers)
        if not self._id:
            self._id, self._control = name, msg.reply
        elif name != self._id:
            return False  # of whoever else knows the inbox
        state = headers.get("Cvf-Range-State", "")
        expected = self._last + (not state)
        if headers.get("Cvf-Range-Sequence") != str(expected):
            raise MessagesLost(
                f"message {headers.get('Cvf-Range-Sequence', '')[:20]} of the range comes where"
                f" {expected} is expected: the ones between were lost; ask for the rest"
            )
        if state:
            return self._about(state, headers)
        if len(self._unread) >= MAX_CREDIT:
            raise MessagesLost("more messages of the range come than there is credit for")
        self._add(msg, headers, expected)
        return False

    def _about(self, state: str, headers: dict[str, str]) -> bool:
        """Take a message about the range; return whether it was the last one."""
        if state != "alive":
            self.slots = _number(headers, "Cvf-Range-Slots")
            self.images = _number(headers, "Cvf-Range-Images")
        if state == "open":
            self.connection.send([(self._control, self._word())])
        if state == "end" and "Nats-Service-Error-Code" in headers:
            raise _refused(headers)
        return state == "end"

    def _add(self, msg: Msg, headers: dict[str, str], number: int) -> None:
        """Add a tensor, a part of one, or a gap."""
        # These differ between the parts of a tensor.
        msg.headers = {k: v for k, v in headers.items() if not k.startswith("Cvf-Range")}
        item = self.decoder.decode(msg)
        first = self._first_part or number
        with self._lock:
            self._last = number
            if item is not None:
                self._unread.append(first)
            idle = not self._unread
        self._first_part = first if item is None else 0
        if item is not None:
            self.mailbox.put(item)
        elif idle:
            self.connection.send([(self._control, self._word())])


def _number(headers: dict[str, str], name: str) -> int:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _refused(headers: dict[str, str]) -> Refused:
    code = headers.get("Nats-Service-Error-Code", "")[:10]
    text = headers.get("Nats-Service-Error", "")[:1000]
    if not code:
        return Refused("500", "the answer is no range")
    return Refused(code, text, _number(headers, "Cvf-Retry-After"))


def frames(
    stream: str,
    output: str,
    *,
    start: datetime,
    end: datetime,
    interval: float | timedelta | None = None,
    credit: int = CREDIT,
    servers: str | Sequence[str] = URL,
    expect_spec: str | Collection[str] | None = None,
    **options: Unpack[ConnectOptions],
) -> Frames:
    """Return the tensors of a range of a camera's past, and the gaps between them.

        noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
        async for t in cvfeeder.frames("cam-1", "detector", start=noon, end=noon + MINUTE):
            if isinstance(t, cvfeeder.Tensor): ...

    They come in order, each once: one for each slot at or after start and before end, every
    interval in seconds, by default the camera's own. A `Gap` tells of slots without a picture.

    The feeder reads the range from Kinesis for this, which costs images: `Frames.images` says
    how many. It sends no more than credit messages that were not read, so a slow loop slows it,
    and to leave the loop ends the reading.

    Raises `Refused` with the feeder's code, for example 429 and after how many seconds to ask
    again if too many images were asked for in an hour, and `MessagesLost` if NATS has lost
    messages on the way; what came before is whole. servers and the options say how to connect,
    see `subscribe`.
    """
    check("frames", {"output": output, "credit": credit, "expect_spec": expect_spec}, options)
    if not isinstance(stream, str) or not stream or not output:
        raise ValueError("frames(): stream and output are names, like 'cam-1' and 'detector'")
    if credit > MAX_CREDIT:
        raise ValueError(f"frames(): credit is {credit}, but has to be at most {MAX_CREDIT}")
    request: dict[str, Any] = {
        "stream": stream,
        "output": output,
        "from": _time("start", start),
        "to": _time("end", end),
        "credit": credit,
    }
    if interval is not None:
        if not isinstance(interval, timedelta):
            interval = timedelta(seconds=interval)
        request["interval"] = f"{interval / timedelta(milliseconds=1):.0f}ms"
    return Frames(request, expect_spec, servers_of("frames", servers), options)


def _time(name: str, at: datetime) -> str:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError(f"frames(): {name} is a datetime with a time zone, like datetime.now(UTC)")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
