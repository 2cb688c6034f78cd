"""Reading a JetStream stream, with acknowledgements."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from ._chunks import cost
from ._connection import RETRY, Source, flush
from ._decoder import Decoder
from ._mailbox import Mailbox
from ._options import CONNECT_TIMEOUT, URL, ConnectOptions, check, overlap, servers_of, subjects_of
from ._places import OFF, PREFIX, Places
from ._reader import Reader
from .errors import CvfeederError, InvalidMessage, SpecMismatch
from .gap import Gap
from .subscription import BUFFER

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerInfo

    from .delivery import Sent
    from .tensor import Tensor

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name

BATCH = 4  # messages
BATCH_BYTES = 32 << 20
EXPIRES = 10.0  # seconds that a request waits for messages
HEARTBEAT = 2.0  # seconds between the server's heartbeats meanwhile
OVERLAPS = (10099, 10100)  # JetStream's codes for a second consumer of a subject in a work queue
ABSENT = (10039, 10076)  # for no JetStream

log = logging.getLogger("cvfeeder")


class Pull(Reader[T]):
    """A durable consumer of a JetStream stream; made by `pull`.

    Messages are fetched in small batches, the next one when the last has been used up. So
    megabytes neither pile up, nor wait for so long that they are delivered again.
    """

    def __init__(
        self,
        subjects: tuple[str, ...],
        servers: list[str],
        settings: dict[str, Any],
        options: ConnectOptions,
    ) -> None:
        """Prepare a consumer; see `pull`."""
        self._subjects, self._settings = subjects, settings
        super().__init__(servers, options)

    def sharing(self, queue: str) -> Pull[T]:  # noqa: ARG002 - the durable consumer does it
        """Return this: all that have the name of its durable consumer share the tensors."""
        return self

    def _new_source(self) -> Source:
        patience = self._options.get("connect_timeout", CONNECT_TIMEOUT)
        return _Pulled(self._subjects, patience=patience, **self._settings)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process makes the same consumer."""
        return type(self), (self._subjects, self._servers, self._settings, self._options)


class _Pulled(Source):
    def __init__(
        self,
        subjects: tuple[str, ...],
        *,
        stream: str,
        durable: str,
        gaps: bool,
        expect_spec: str | Collection[str] | None,
        strict: bool,
        batch: int,
        batch_bytes: int,
        memory: str,
        patience: float | None,
    ) -> None:
        decoder = Decoder(limit=BUFFER, expect_spec=expect_spec, strict=strict, answer=self._answer)
        # A batch is bounded, so the mailbox need not be.
        super().__init__(subjects, Mailbox(sys.maxsize, self._want), decoder)
        self._stream, self._durable, self._gaps = stream, durable, gaps
        self._batch, self._batch_bytes, self._patience = batch, batch_bytes, patience
        self.places = Places(memory)
        self._wanted = asyncio.Event()
        self._received: asyncio.Queue[Msg] = asyncio.Queue()
        self._refused: deque[str] = deque(maxlen=1000)  # where to answer for other specs
        self._inbox = ""
        self._request = 0  # the number of the last request
        self._open = 0  # messages that it may still bring
        self._asked = 0  # messages that it asked for
        self._single = False  # the next message is larger than batch_bytes

    def _want(self) -> None:
        self.connection.wake(self._wanted)

    @property
    def silent(self) -> bool:
        return not self.heard and self.mailbox.hungry

    async def run(self, client: Client) -> None:
        self._inbox = client.new_inbox()
        self._received = asyncio.Queue()
        self._open = 0
        self._subscription = await self.connection.subscribe(
            client, f"{self._inbox}.*", "", self._received.put_nowait
        )
        await flush(client)
        await self._find_consumer(client.jetstream())
        self.connection.set_ready()
        self._wanted.set()  # what was asked for went with the connection before
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while not self._received.empty():
                self._take(self._received.get_nowait())
            while self.mailbox.hungry:
                await self._fetch(client)
                self.mailbox.forget_hunger()  # who does not wait any more will ask again

    async def _fetch(self, client: Client) -> None:
        """Ask for a batch and take what comes, until the request has ended or is lost."""
        await self._ask(client)
        while self._open > 0:
            try:
                async with asyncio.timeout(2 * HEARTBEAT + 1):
                    msg = await self._received.get()
            except TimeoutError:
                log.debug("a request to JetStream was lost")
                self._open = 0
                await self._find_consumer(client.jetstream())
                return
            if (status := self._take(msg)) is not None:
                await self._on_status(client, status, (msg.headers or {}).get("Description", ""))

    async def _ask(self, client: Client) -> None:
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
        reply = f"{self._inbox}.{self._request}"
        await client.publish(subject, json.dumps(request).encode(), reply=reply)

    def _take(self, msg: Msg) -> str | None:
        """Put what a message carries into the mailbox, or return the status of the request."""
        status = (msg.headers or {}).get("Status")
        if status is not None and msg.subject.startswith(self._inbox):
            return status if msg.subject == f"{self._inbox}.{self._request}" else None
        self.heard = True
        self._open -= 1
        try:
            item = self.decoder.decode(self.places.fetch(msg))
        except InvalidMessage as err:
            self._answer([msg.reply], b"+TERM")  # it would be just as invalid the next time
            try:
                self.decoder.tolerate(msg.subject, err)
            except InvalidMessage:
                self.mailbox.put(err)
            return None
        except SpecMismatch as err:
            self._refused.append(msg.reply)
            self.mailbox.put(err)
            return None
        if given_up := self.decoder.joiner.given_up:
            self.decoder.joiner.given_up = []
            self._answer([m.reply for m in given_up], b"+TERM")
        if isinstance(item, Gap) and not self._gaps:
            item.ack()
        elif item is not None:
            self.mailbox.put(item, cost(msg))
        return None

    async def _on_status(self, client: Client, status: str, text: str) -> None:
        """Handle the server's status of the last request."""
        if status == "100":  # still waiting
            return
        brought, lower = self._asked - self._open, text.lower()
        self._open = 0
        if "exceeds maxbytes" in lower:
            self._single = brought == 0
        elif status == "503" or "server shutdown" in lower or "leadership change" in lower:
            await asyncio.sleep(RETRY)
            await self._find_consumer(client.jetstream())
        elif "exceeded maxwaiting" in lower:
            log.warning("%s: too many readers wait for it; trying again", self._name)
            await asyncio.sleep(RETRY)
        elif status not in ("404", "408") and "batch completed" not in lower:
            raise CvfeederError(f"{self._name}: {status} {text}{_advice(lower)}")

    @property
    def _name(self) -> str:
        return f"consumer {self._durable!r} of stream {self._stream!r}"

    async def _find_consumer(self, js: JetStreamContext) -> None:
        """Find or make the consumer. While NATS starts, and its streams come back, wait."""
        began = time.monotonic()
        while True:
            try:
                info = await self._consumer(js)
            except (APIError, nats.errors.TimeoutError) as err:
                problem = await self._explain(js, err)
                waited = time.monotonic() - began
                passing = self.mailbox.ready or _will_pass(err)
                if not passing or (self._patience is not None and waited > self._patience):
                    raise problem from err
                if waited < RETRY:
                    log.warning("%s; waiting for it", problem)
                await asyncio.sleep(RETRY)
            else:
                self._check(info)
                filters = info.config.filter_subjects or [info.config.filter_subject or ""]
                self.places.pulled(filters)
                return

    async def _consumer(self, js: JetStreamContext) -> ConsumerInfo:
        try:
            info: ConsumerInfo = await js.consumer_info(self._stream, self._durable)
        except NotFoundError:
            await self._check_subjects(js)
            subjects = [*self.subjects, *self.places.of(self.subjects)]
            several = len(subjects) > 1
            config = ConsumerConfig(
                durable_name=self._durable,
                filter_subject=None if several else subjects[0],
                filter_subjects=subjects if several else None,
                ack_policy=AckPolicy.EXPLICIT,
            )
            info = await js.add_consumer(self._stream, config)
        return info

    async def _check_subjects(self, js: JetStreamContext) -> None:
        """Check that the stream has the subjects: JetStream takes others, and sends nothing."""
        try:
            config = (await asyncio.wait_for(js.stream_info(self._stream), 2)).config
        except TimeoutError:
            return  # it is perhaps not allowed to ask for the stream, which reading does not need
        there = config.subjects or []
        for subject in self.subjects:
            if there and not any(overlap(subject, one) for one in there):
                raise CvfeederError(
                    f"the stream {self._stream!r} has nothing on {subject}: it has"
                    f" {', '.join(there)}"
                )

    async def _explain(self, js: JetStreamContext, err: Exception) -> CvfeederError:
        """Return an error of JetStream as one that says what to do."""
        code = getattr(err, "err_code", None)
        text = getattr(err, "description", None) or str(err)
        subjects = " and ".join(self.subjects)
        if isinstance(err, NotFoundError):
            text = (
                f"there is no JetStream stream {self._stream!r}: cvfeeder makes it in the delivery"
                " modes ring and durable; for the mode live, use cvfeeder.subscribe"
            )
        elif code in ABSENT or (isinstance(err, ServiceUnavailableError) and code is None):
            text = (
                "NATS has no JetStream: start it with `nats-server -js`, and cvfeeder in the"
                " delivery mode ring or durable; for the mode live, use cvfeeder.subscribe"
            )
        elif code in OVERLAPS:
            others = ""
            with contextlib.suppress(Exception):
                infos = await js.consumers_info(self._stream)
                others = f" ({', '.join(f'{i.name}: {_filters(i)}' for i in infos)})"
            text = (
                f"{self._name} cannot have {subjects}: in a work queue each tensor goes to one"
                f" consumer, and there is another one for them{others}. Use its name as durable"
                " to share the tensors, or a subject that it does not have, or set"
                " delivery.stream.retention: limits in cvfeeder's config"
            )
        elif isinstance(err, nats.errors.TimeoutError):
            text = f"{self._name}: JetStream does not answer"
        else:
            text = f"{self._name}: {text}"
        return CvfeederError(text)

    def _check(self, info: ConsumerInfo) -> None:
        """Check that a consumer that is there already can be used."""
        config, remove = info.config, f"nats consumer rm {self._stream} {self._durable}"
        wrong = ""
        if sorted(_filters(info)) != sorted(self.subjects) and self.subjects != (">",):
            there, wanted = " and ".join(_filters(info)), " and ".join(self.subjects)
            wrong = f"for the subject {there!r} and not {wanted!r}"
        elif config.deliver_subject:
            wrong = f"as a push consumer, to {config.deliver_subject}"
        elif config.ack_policy not in (None, AckPolicy.EXPLICIT):
            wrong = f"with the ack policy {config.ack_policy!r} and not 'explicit'"
        if wrong:
            raise CvfeederError(
                f"the consumer {self._durable!r} is there already, {wrong}: choose another name as"
                f" durable, or remove it with: {remove}"
            )

    def _answer(self, inboxes: list[str], text: bytes) -> Sent:
        return self.connection.send([(inbox, text) for inbox in inboxes])

    async def give_back(self, client: Client) -> None:
        """Give back what was fetched and not read, in order, so that the next reader gets it."""
        # Drain of nats-py forgets the subscription before the server does: the PING of its
        # flush overtakes the UNSUB, and what comes in between would be lost for 30 s.
        await client._send_unsubscribe(self._subscription._id)  # noqa: SLF001
        await flush(client)  # now JetStream sends no more
        while self._subscription.pending_msgs:  # noqa: ASYNC110 - nothing tells of its end
            await asyncio.sleep(0)
        replies = list(self._refused)
        for item in self.mailbox.clear():
            if not isinstance(item, CvfeederError):
                replies += item._inboxes  # noqa: SLF001 - only the package sets it
        replies += [m.reply for m in self.decoder.joiner.unfinished()]
        while not self._received.empty():
            replies.append(self._received.get_nowait().reply)
        for reply in replies:
            if reply:
                await client.publish(reply, b"-NAK")


def _filters(info: ConsumerInfo) -> list[str]:
    filters = info.config.filter_subjects or [info.config.filter_subject or ">"]
    return [f for f in filters if not f.startswith(PREFIX)]


def _will_pass(err: Exception) -> bool:
    """Return whether an error is that of a server which has just started."""
    code = getattr(err, "err_code", None)
    if isinstance(err, nats.errors.TimeoutError):
        return True
    return isinstance(err, ServiceUnavailableError) and code is not None and code not in ABSENT


def _advice(text: str) -> str:
    if "consumer deleted" in text:
        return ": a reader that starts now makes it again, and begins with what the stream holds"
    if "maxrequestbatch" in text:
        return ": pass a smaller batch"
    if "maxbytes" in text:
        return ": pass smaller batch_bytes"
    if "push based" in text:
        return ": choose another name as durable"
    return ""


@overload
def pull(
    stream: str = ...,
    *,
    durable: str,
    subject: str | Sequence[str] = ...,
    servers: str | Sequence[str] = ...,
    gaps: Literal[False] = ...,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    batch: int = ...,
    batch_bytes: int = ...,
    memory: str = ...,
    **options: Unpack[ConnectOptions],
) -> Pull[Tensor]: ...


@overload
def pull(
    stream: str = ...,
    *,
    durable: str,
    subject: str | Sequence[str] = ...,
    servers: str | Sequence[str] = ...,
    gaps: bool,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    batch: int = ...,
    batch_bytes: int = ...,
    memory: str = ...,
    **options: Unpack[ConnectOptions],
) -> Pull[Tensor | Gap]: ...


def pull(
    stream: str = "cvfeeder",
    *,
    durable: str,
    subject: str | Sequence[str] = "cvf.t.>",
    servers: str | Sequence[str] = URL,
    gaps: bool = False,
    expect_spec: str | Collection[str] | None = None,
    strict: bool = False,
    batch: int = BATCH,
    batch_bytes: int = BATCH_BYTES,
    memory: str = OFF,
    **options: Unpack[ConnectOptions],
) -> Pull[Any]:
    """Return the tensors of a JetStream stream, with a durable consumer of the given name.

        for t in cvfeeder.pull(durable="detector", subject="cvf.t.*.detector"):
            store(model(t.array))
            t.ack()

    The consumer is created if it is missing, and remembers what was acknowledged: call
    `Tensor.ack` when done with a tensor. A tensor that is not acknowledged within the
    consumer's ack_wait (30 s by default) is delivered again, as is one that `Tensor.nak`
    gives back. What was fetched and not read is given back at once when the reader is closed
    or its loop left. Several processes may share a consumer, unless tensors come in parts:
    each process would get only some of the parts.

    If NATS loses the stream, for example because it was in memory, the reader waits for
    cvfeeder to make it again, at most for connect_timeout seconds.

    With memory, a directory as in `subscribe` or "" for the usual one, a consumer that is created
    gets tensors in memory, if the delivery mode is ring. All of its readers must be on the host
    of the feeder then, and have the same directory: others get gaps.

    A batch is at most batch messages and batch_bytes bytes; a larger message comes on its
    own. The other parameters are those of `subscribe`. Without gaps, inline gaps are
    acknowledged and skipped.
    """
    own = {
        "stream": stream,
        "durable": durable,
        "gaps": gaps,
        "expect_spec": expect_spec,
        "strict": strict,
        "batch": batch,
        "batch_bytes": batch_bytes,
        "memory": memory,
    }
    check("pull", own, options)
    return Pull(subjects_of("pull", subject), servers_of("pull", servers), own, options)
