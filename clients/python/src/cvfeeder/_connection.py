"""A NATS connection on a thread of its own.

A model keeps an event loop busy for as long as it runs. On the same loop, messages would
not be read in the meantime. They would pile up in the server, which would then take the
reader for dead. So the connection has a loop and a thread of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import re
import ssl
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nats.aio.client import Client

from ._options import CONNECT_TIMEOUT, ConnectOptions, credentials, overlap, without_password
from ._receive import tap_of
from .delivery import Sent
from .errors import Closed, CvfeederError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from ._decoder import Decoder
    from ._mailbox import Mailbox
    from ._payload import Tap
    from .gap import Gap
    from .tensor import Tensor

ATTEMPT = 5  # seconds for each step of an attempt to connect
RETRY = 0.5  # seconds between attempts
PING = 5  # seconds; a server that does not answer two of them is given up
REFUSED = 30.0  # seconds that credentials which worked before may be refused
CLOSE = 3.0  # seconds for giving back what was not read, and for closing
QUIET = 5.0  # seconds without a message after which the log says what there is
KEPT = 10_000  # acknowledgements that wait for NATS to be back

log = logging.getLogger("cvfeeder")


class Source(ABC):
    """What is read through a connection: it fills the mailbox. It runs on the connection's loop."""

    def __init__(self, subjects: tuple[str, ...], mailbox: Mailbox[Any], decoder: Decoder) -> None:
        """Prepare to read subjects."""
        self.subjects = subjects
        self.mailbox: Mailbox[Tensor | Gap | CvfeederError] = mailbox
        self.decoder = decoder
        self.heard = False  # whether any message has come

    def attach(self, connection: Connection) -> None:
        """Note the connection, before it is started."""
        self.connection = connection

    @property
    def silent(self) -> bool:
        """Whether somebody waits for a first message."""
        return not self.heard

    @abstractmethod
    async def run(self, client: Client) -> None:
        """Read until this is cancelled; called for each new connection.

        It calls Connection.set_ready once everything that comes from then on is read. A
        CvfeederError is the end of the reader; after another error there will be another try.
        """

    def took(self) -> None:  # noqa: B027 - ranges need it only
        """Note that somebody has taken an item out of the mailbox, from any thread."""

    async def give_back(self, client: Client) -> None:  # noqa: B027 - JetStream's need it only
        """Give back what was not read."""


class Connection:
    """A connection that is made again for as long as it is open, and the source that uses it.

    nats-py's own way to connect again is off: it ends for good, or hangs, after some errors.
    """

    def __init__(
        self,
        source: Source,
        servers: Sequence[str],
        options: ConnectOptions,
        after: Connection | None,
    ) -> None:
        """Start to connect, once the connection before this one has ended."""
        self.pid = os.getpid()
        self.source, self._mailbox = source, source.mailbox
        self._servers, self._options, self._after = list(servers), options, after
        self._discovered: list[str] = []  # other servers of the cluster
        self._client: Client | None = None  # while it is connected
        self._tap: Tap | None = None  # of the client
        self._lost = asyncio.Event()
        self._denied: asyncio.Future[None] | None = None
        self._last_error: Exception | None = None
        self._was_connected = time.monotonic()
        self._unsent: deque[tuple[str, bytes]] = deque(maxlen=KEPT)
        self._sending: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._stopping = False
        self._stop = asyncio.Event()
        self._optional = "cvf.svc."  # the inbox of the question what there is
        self._said: set[str] = set()  # errors that the log has since the last connection
        self._loop = asyncio.new_event_loop()
        source.attach(self)
        self._thread = threading.Thread(target=self._run, name="cvfeeder", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def trouble(self) -> str:
        """Why there is no connection, "" if there is one."""
        if self._client is not None:
            return ""
        return f"NATS at {without_password(self._servers)} is not connected: {self._why()}"

    def stop(self) -> None:
        """Begin to close; readers get Closed. It does not block."""
        if self.pid != os.getpid():
            return  # the thread is in another process, and may have held a lock
        self._stopping = True
        self._mailbox.fail(Closed("the reader was closed"))
        self.wake(self._stop)

    @property
    def stopping(self) -> bool:
        """Whether it was stopped, or has failed."""
        return self._stopping or not self._thread.is_alive()

    def join(self) -> None:
        """Wait until it is closed, but not for ever."""
        self._thread.join(CLOSE + 2)
        if self._thread.is_alive():
            log.warning("the connection to NATS is still closing; it goes on in the background")

    def wake(self, event: asyncio.Event) -> None:
        """Set an event of the connection's loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(event.set)

    def set_ready(self) -> None:
        """Say that the source reads."""
        if self._denied is not None and not self._denied.done():
            self._was_connected = time.monotonic()
            self._mailbox.set_ready()

    async def subscribe(
        self, client: Client, subject: str, queue: str, take: Callable[[Msg], None]
    ) -> Subscription:
        """Subscribe, and have take called for each message, on the connection's thread."""

        async def receive(msg: Msg) -> None:
            take(msg)

        subscription = await client.subscribe(subject, queue, cb=receive)
        self.hand_to(subscription, take)
        return subscription

    def hand_to(self, subscription: Subscription, take: Callable[[Msg], None]) -> None:
        """Have take called at once for messages that are received past nats-py."""
        if self._tap is not None:
            self._tap.hand_to(subscription, take)

    def send(self, messages: Sequence[tuple[str, bytes]]) -> Sent:
        """Publish subjects and payloads, from any thread, if need be when NATS is back."""
        if self.pid != os.getpid():
            raise CvfeederError("acknowledge a tensor in the process that has read it")
        work = self._send(messages)
        with self._lock:
            if self._ended or self._stopping:
                work.close()
                raise Closed("the reader was closed: JetStream will deliver this again")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._sending.add(future)
        future.add_done_callback(self._sending.discard)
        return Sent(future)

    async def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self._ended:
            raise Closed("the reader was closed before this was sent")
        self._unsent.extend(messages)
        if self._client is not None:
            await self.publish_unsent(self._client)

    async def publish_unsent(self, client: Client) -> None:
        """Publish what waits; on the connection's loop."""
        while self._unsent:
            subject, data = self._unsent.popleft()
            try:
                await client.publish(subject, data)
            except Exception as err:  # noqa: BLE001 - the connection is lost
                self._unsent.appendleft((subject, data))
                log.debug("an acknowledgement waits for NATS: %s", err)
                return

    def _run(self) -> None:
        if self._after is not None and self._after.stopping:
            self._after.join()
        self._after = None
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())
            with self._lock:  # before the loop is closed, which then takes nothing more
                self._ended = True
                sending = list(self._sending)
        self.source.decoder.pool.close()
        for future in sending:
            if not future.done():
                future.set_exception(Closed("the reader was closed before this was sent"))

    async def _main(self) -> None:
        connected = asyncio.create_task(self._keep_connected())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({connected, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if connected.done():
            self._fail(connected)
        self._mailbox.fail(Closed("the reader was closed"))
        while not connected.done():  # nats-py swallows some cancellations
            connected.cancel()
            await asyncio.wait({connected}, timeout=CLOSE)

    def _fail(self, connected: asyncio.Task[None]) -> None:
        err = connected.exception()
        if not isinstance(err, CvfeederError):
            log.error("the connection to NATS has failed", exc_info=err)
            err = CvfeederError(f"the connection to NATS has failed: {err!r}")
        self._mailbox.fail(err)

    async def _keep_connected(self) -> None:
        """Connect again and again; return by a CvfeederError, or by being cancelled."""
        began = time.monotonic()
        patience = self._options.get("connect_timeout", CONNECT_TIMEOUT)
        while True:
            client = Client()
            try:
                await self._connect_once(client)
            except CvfeederError:
                raise
            except Exception as err:  # noqa: BLE001 - whatever nats-py raises
                self._judge(err)
            finally:
                await self._discard(client)
            waited = time.monotonic() - began
            if not self._mailbox.ready and patience is not None and waited >= patience:
                raise CvfeederError(
                    f"NATS at {without_password(self._servers)} cannot be reached within"
                    f" {patience:g} s: {self._why()}: start it, for example with `cvfeeder demo`,"
                    " or pass the right servers=…"
                )
            await asyncio.sleep(RETRY)

    async def _connect_once(self, client: Client) -> None:
        """Connect, and read until the connection is lost, which is an error."""
        self._lost.clear()
        self._denied = asyncio.get_running_loop().create_future()
        self._tap = tap_of(client, self.source.decoder.pool)
        options = {k: v for k, v in self._options.items() if k not in _OURS}
        await client.connect(
            servers=[*self._servers, *self._discovered],
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of each server
            reconnect_time_wait=0,
            connect_timeout=ATTEMPT,
            ping_interval=PING,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            **{"name": "cvfeeder-python", **options, **credentials(self._options)},
        )
        if self._tap is not None:
            self._tap.start()
        self._check_tls(client)
        self._discover(client)
        self._client, self._last_error, self._said = client, None, set()
        await self.publish_unsent(client)
        tasks: set[asyncio.Future[None]] = {
            asyncio.ensure_future(self.source.run(client)),
            asyncio.ensure_future(self._closed(client)),
            self._denied,
        }
        quiet = asyncio.ensure_future(self._tell_silence(client))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() or RuntimeError("it has ended") for task in done]
            raise next((e for e in errors if isinstance(e, CvfeederError)), errors[0])
        finally:
            for task in (*tasks, quiet):
                task.cancel()
            if self._denied.done() and not self._denied.cancelled():
                self._denied.exception()  # or it would be called unseen
            if self._stopping and not client.is_closed:
                await self._finish(client)
            self._client, self._was_connected = None, time.monotonic()

    def _check_tls(self, client: Client) -> None:
        """Refuse a server without TLS if TLS is wanted; nats-py goes on without it."""
        wanted = "tls" in self._options or any(s.startswith("tls:") for s in self._servers)
        offered = client._server_info  # noqa: SLF001 - nothing else tells
        secure = any(s.startswith("wss:") for s in self._servers)
        if wanted and not secure and not offered.get("tls_required"):
            raise CvfeederError(
                f"NATS at {without_password(self._servers)} does not have TLS, which tls=… and"
                " tls:// ask for: turn it on in the server, or use nats:// without tls=…"
            )

    def _discover(self, client: Client) -> None:
        """Note the other servers of the cluster, with the credentials in the URL given."""
        first = urlsplit(self._servers[0])
        login, at, _ = first.netloc.rpartition("@")
        others = [f"{first.scheme}://{login}{at}{u.netloc}" for u in client.discovered_servers]
        self._discovered = [url for url in others if url not in self._servers]

    async def _finish(self, client: Client) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE - 1):
                await self.source.give_back(client)
                await self.publish_unsent(client)
                await flush(client)

    async def _closed(self, client: Client) -> None:
        """Wait for the end of the connection; nats-py does not always call closed_cb."""
        while not client.is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._lost.wait()
                    break
        raise ConnectionError("the connection was lost")

    async def _discard(self, client: Client) -> None:
        """Close what there is of a connection; nats-py fails to if there is nothing."""
        closing = asyncio.create_task(client.close())
        await asyncio.wait({closing}, timeout=1)
        if closing.done() and not closing.cancelled() and (err := closing.exception()):
            log.debug("closing a connection to NATS: %r", err)

    def _judge(self, err: Exception) -> None:
        """Note an error in connecting; raise it if it will not pass by waiting."""
        self._note(err)
        err = self._last_error or err
        text, where = str(err).lower(), without_password(self._servers)
        away = time.monotonic() - self._was_connected
        if "authorization" in text or "authentication" in text:
            if not self._mailbox.ready or away > REFUSED:
                raise CvfeederError(
                    f"NATS at {where} refuses the connection: {err}: check user and password,"
                    " token, user_credentials or nkeys_seed"
                ) from err
        elif self._mailbox.ready:
            return
        elif isinstance(err, ssl.SSLError):
            raise CvfeederError(
                f"TLS with NATS at {where} fails: {err}: pass the authority that signed the"
                " server's certificate, tls=ssl.create_default_context(cafile=…)"
            ) from err
        elif not isinstance(err, OSError | TimeoutError) and not _is_nats(err):
            raise CvfeederError(
                f"connecting to NATS at {where}: {type(err).__name__}: {err}"
            ) from err

    def _note(self, err: Exception) -> None:
        """Keep and log an error, but not the same again for each attempt."""
        if "no servers available" in str(err) and self._last_error is not None:
            return  # it says less than the errors before it
        self._last_error = err
        if _text(err) not in self._said:
            log.warning("NATS: %s", _text(err))
            self._said.add(_text(err))

    def _why(self) -> str:
        return _text(self._last_error) or "no answer"

    async def _on_error(self, err: Exception) -> None:
        text = str(err)
        if "permissions violation" not in text:
            self._note(err)
        elif _OPTIONAL.search(text) or self._optional in text:
            return
        elif self._denied is not None and not self._denied.done():
            self._denied.set_exception(
                CvfeederError(
                    f"NATS at {without_password(self._servers)} denies what this needs:"
                    f" {text.removeprefix('nats: ')}: grant it to the user (docs/consumers.md lists"
                    " what readers need), or read another subject"
                )
            )

    async def _on_closed(self) -> None:
        self._lost.set()

    async def _tell_silence(self, client: Client) -> None:
        """Say what there is if nothing comes. A wrong subject is silent otherwise."""
        with contextlib.suppress(CvfeederError):
            await self._mailbox.opened()
        await asyncio.sleep(QUIET)
        source = self.source
        of_gaps = all(s.startswith("cvf.gap.") for s in source.subjects)
        if of_gaps or not source.silent:
            return
        source.heard = True  # say it once
        inbox = client.new_inbox()
        self._optional = inbox.lower()  # as nats-py tells errors
        known = await _published(client, inbox)
        mine = sorted(s for s in known if any(overlap(s, own) for own in source.subjects))
        log.warning(
            "nothing on %s within %g s: %s",
            ", ".join(source.subjects),
            QUIET,
            f"cvfeeder publishes {_some(mine)}, so its cameras have no new frames, or nothing"
            " has been stored"
            if mine
            else f"cvfeeder publishes {_some(sorted(known))}"
            if known
            else "no cvfeeder answers on cvf.svc.streams, which would say what there is",
        )


# What makes errors better, and is not needed.
_OPTIONAL = re.compile(r"cvf\.(svc|m)\.|\$js\.api\.(stream\.info|consumer\.list)\.")
_OURS = {"user_credentials", "nkeys_seed", "nkeys_seed_str", "connect_timeout"}
_open: weakref.WeakSet[Connection] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Give back what was not read before the interpreter ends."""
    connections = [c for c in _open if c.pid == os.getpid()]
    for connection in connections:
        connection.stop()
    for connection in connections:
        connection.join()


async def flush(client: Client) -> None:
    """Wait until the server has processed everything that was sent.

    In nats-py 2.16, the PING of flush overtakes what is still queued, for example a
    subscription. The PING of the second flush comes after it. A flush that is cancelled
    ends nats-py's reading with its PONG, so it is left behind instead.
    """
    for _ in range(2):
        flushing = asyncio.ensure_future(client.flush(60))
        flushing.add_done_callback(lambda f: f.cancelled() or f.exception())
        if not (await asyncio.wait({flushing}, timeout=ATTEMPT))[0]:
            raise TimeoutError(f"the server does not answer a PING within {ATTEMPT:g} s")
        flushing.result()


async def _published(client: Client, inbox: str) -> set[str]:
    """Return the subjects on which the cvfeeders of this NATS publish, as far as they answer."""
    found: set[str] = set()

    async def receive(msg: Msg) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found.update(str(o["subject"]) for s in json.loads(msg.data) for o in s["outputs"])

    with contextlib.suppress(Exception):
        answers = await client.subscribe(inbox, cb=receive)
        await client.publish("cvf.svc.streams", reply=inbox)
        await asyncio.sleep(1)  # each cvfeeder answers
        await answers.unsubscribe()
    return found


def _some(subjects: list[str]) -> str:
    more = f" and {len(subjects) - 5} more" if len(subjects) > 5 else ""
    return ", ".join(subjects[:5]) + more


def _text(err: Exception | None) -> str:
    return "" if err is None else (str(err) or type(err).__name__)


def _is_nats(err: Exception) -> bool:
    return type(err).__module__.startswith("nats.")
