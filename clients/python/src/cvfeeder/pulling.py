"""Reading a JetStream stream, with acknowledgements."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from ._chunks import cost
from ._decoder import Decoder
from ._mailbox import Mailbox
from ._reader import Reader
from .errors import CvfeederError, InvalidMessage
from .gap import Gap
from .subscription import BUFFER, URL

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from .tensor import Tensor

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name

BATCH = 4  # messages
BATCH_BYTES = 32 << 20
EXPIRES = 10.0  # seconds that a request waits for messages
HEARTBEAT = 2.0  # seconds between the server's heartbeats meanwhile

log = logging.getLogger("cvfeeder")


class Pull(Reader[T]):
    """A durable consumer of a JetStream stream; made by `pull`.

    Messages are fetched in small batches, the next one when the last has been used up. So
    megabytes neither pile up, nor wait for so long that they are delivered again.
    """

    def __init__(
        self,
        stream: str,
        durable: str,
        subject: str,
        *,
        gaps: bool,
        expect_spec: str | Collection[str] | None,
        strict: bool,
        batch: int,
        batch_bytes: int,
        options: dict[str, Any],
    ) -> None:
        """Prepare a consumer; see `pull`."""
        decoder = Decoder(limit=BUFFER, expect_spec=expect_spec, strict=strict, answer=self._answer)
        super().__init__(decoder, options)
        self._stream, self._durable, self._subject = stream, durable, subject
        self._gaps = gaps
        self._batch, self._batch_bytes = batch, batch_bytes
        self._mailbox: Mailbox[Msg] = Mailbox(BUFFER)
        self._client: Client
        self._inbox = ""
        self._request = 0  # the number of the last request
        self._open = 0  # messages that it may still bring
        self._asked = 0  # messages that it asked for
        self._single = False  # the next message is larger than batch_bytes

    async def _subscribe(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._open = 0
        self._mailbox = Mailbox(BUFFER)  # what it held is delivered again
        await client.subscribe(f"{self._inbox}.*", cb=self._receive)
        js = client.jetstream()
        try:
            info = await js.consumer_info(self._stream, self._durable)
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=self._durable,
                filter_subject=self._subject,
                ack_policy=AckPolicy.EXPLICIT,
            )
            try:
                info = await js.add_consumer(self._stream, config)
            except NotFoundError:
                raise CvfeederError(
                    f"there is no JetStream stream {self._stream!r}: cvfeeder makes it in the"
                    " delivery modes ring and durable"
                ) from None
        if info.config.filter_subject != self._subject:
            raise CvfeederError(
                f"the consumer {self._durable!r} is there already, for the subject"
                f" {info.config.filter_subject!r} and not {self._subject!r}: choose another name,"
                f" or remove it with: nats consumer rm {self._stream} {self._durable}"
            )

    async def _receive(self, msg: Msg) -> None:
        self._mailbox.put(msg, cost(msg))

    async def _ask(self) -> None:
        """Ask the server for a batch of messages."""
        self._request += 1
        self._open = self._asked = 1 if self._single else self._batch
        request = {
            "batch": self._open,
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(HEARTBEAT * 1e9),
        }
        if not self._single:
            request["max_bytes"] = self._batch_bytes
        self._single = False
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._client.publish(
            subject, json.dumps(request).encode(), reply=f"{self._inbox}.{self._request}"
        )

    async def _message(self) -> Msg:
        """Return the next message; ask for more if none is on its way."""
        while True:
            if self._open <= 0:
                await self._run(self._ask())
            try:
                async with asyncio.timeout(2 * HEARTBEAT + 1):
                    msg = await self._mailbox.get()
            except TimeoutError:  # the request was lost, perhaps with the connection
                self._open = 0
                continue
            status = (msg.headers or {}).get("Status")
            if status is None or not msg.subject.startswith(self._inbox):
                self._open -= 1
                return msg
            if msg.subject == f"{self._inbox}.{self._request}":
                await self._on_status(status, (msg.headers or {}).get("Description", ""))

    async def _on_status(self, status: str, text: str) -> None:
        """Handle the server's status of the last request."""
        if status == "100":  # still waiting
            return
        brought = self._asked - self._open
        self._open = 0
        if "exceeds maxbytes" in text.lower():
            self._single = brought == 0
        elif status == "503" or "leadership change" in text.lower():
            await asyncio.sleep(0.5)  # JetStream is not available at the moment
        elif status not in ("404", "408") and "batch completed" not in text.lower():
            raise CvfeederError(
                f"consumer {self._durable!r} of stream {self._stream!r}: {status} {text}"
            )

    async def _next(self) -> T:
        while True:
            msg = await self._message()
            try:
                item = self._decoder.decode(msg)
            except InvalidMessage as err:
                await self._answer([msg], b"+TERM")  # it would be just as invalid the next time
                self._decoder.tolerate(msg.subject, err)
                continue
            if given_up := self._decoder.joiner.given_up:
                self._decoder.joiner.given_up = []
                await self._answer(given_up, b"+TERM")
            if isinstance(item, Gap) and not self._gaps:
                await item.ack()
            elif item is not None:
                return cast("T", item)

    async def _answer(self, messages: list[Msg], text: bytes) -> None:
        async def publish() -> None:
            for msg in messages:
                await self._client.publish(msg.reply, text)

        await self._run(publish())

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._session is None:
            work.close()
            raise CvfeederError("the consumer has been closed: JetStream will deliver this again")
        await self._session.run(work)

    def _fail(self, error: Exception) -> None:
        self._mailbox.fail(error)


@overload
def pull(
    stream: str = ...,
    *,
    durable: str,
    subject: str = ...,
    servers: str | list[str] = ...,
    gaps: Literal[False] = ...,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    batch: int = ...,
    batch_bytes: int = ...,
    **options: Any,
) -> Pull[Tensor]: ...


@overload
def pull(
    stream: str = ...,
    *,
    durable: str,
    subject: str = ...,
    servers: str | list[str] = ...,
    gaps: bool,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    batch: int = ...,
    batch_bytes: int = ...,
    **options: Any,
) -> Pull[Tensor | Gap]: ...


def pull(
    stream: str = "cvfeeder",
    *,
    durable: str,
    subject: str = "cvf.t.>",
    servers: str | list[str] = URL,
    gaps: bool = False,
    expect_spec: str | Collection[str] | None = None,
    strict: bool = False,
    batch: int = BATCH,
    batch_bytes: int = BATCH_BYTES,
    **options: Any,
) -> Pull[Any]:
    """Return the tensors of a JetStream stream, with a durable consumer of the given name.

    The consumer is created if it is missing, and remembers what was acknowledged: call
    `Tensor.ack` when done with a tensor. A tensor that is not acknowledged within the
    consumer's ack_wait (30 s by default) is delivered again, as is one that `Tensor.nak`
    gives back. Several processes may share a consumer, unless tensors come in parts: each
    process would get only some of the parts.

    A batch is at most batch messages and batch_bytes bytes; a larger message comes on its
    own. The other parameters are those of `subscribe`. Without gaps, inline gaps are
    acknowledged and skipped.
    """
    return Pull(
        stream,
        durable,
        subject,
        gaps=gaps,
        expect_spec=expect_spec,
        strict=strict,
        batch=batch,
        batch_bytes=batch_bytes,
        options={"servers": servers, **options},
    )
