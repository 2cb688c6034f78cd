"""Reading core NATS: what is published while the subscription is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from ._connection import Source, flush
from ._decoder import Decoder
from ._mailbox import Mailbox
from ._options import URL, ConnectOptions, check, overlap, servers_of, subjects_of
from ._places import OFF, PREFIX, Places
from ._reader import Reader
from .errors import CvfeederError, InvalidMessage
from .gap import Gap
from .tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name

BUFFER = 256 << 20  # bytes


class Subscription(Reader[T]):
    """A subscription to subjects; made by `subscribe` and `subscribe_gaps`."""

    def __init__(
        self,
        subjects: tuple[str, ...],
        servers: list[str],
        settings: dict[str, Any],
        options: ConnectOptions,
    ) -> None:
        """Prepare a subscription; see `subscribe`."""
        self._subjects, self._settings = subjects, settings
        super().__init__(servers, options)

    @property
    def skipped(self) -> int:
        """How many items were dropped because the consumer was too slow."""
        return self._source.mailbox.skipped

    @property
    def lost(self) -> int:
        """How many tensors in memory came too late to be read there; see `subscribe`."""
        source = self._source
        return source.places.lost if isinstance(source, _Subscribed) else 0

    def sharing(self, queue: str) -> Subscription[T]:
        """Return the same subscription as one of several that share the tensors."""
        settings = {**self._settings, "queue": self._settings["queue"] or queue}
        return Subscription(self._subjects, self._servers, settings, self._options)

    def _new_source(self) -> Source:
        return _Subscribed(self._subjects, **self._settings)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process makes the same subscription."""
        return type(self), (self._subjects, self._servers, self._settings, self._options)


class _Subscribed(Source):
    def __init__(
        self,
        subjects: tuple[str, ...],
        *,
        newest: bool,
        gaps: bool,
        queue: str,
        expect_spec: str | Collection[str] | None,
        strict: bool,
        buffer: int,
        memory: str,
    ) -> None:
        decoder = Decoder(limit=buffer, expect_spec=expect_spec, strict=strict)
        super().__init__(subjects, Mailbox(buffer), decoder)
        self._newest, self._gaps, self._queue = newest, gaps, queue
        # What one of a group gets by its places, another would get as payload.
        # What matches the places, too, would get them twice.
        twice = any(overlap(s, f"{PREFIX}>") for s in subjects)
        self.places = Places(OFF if queue or twice else memory)

    async def run(self, client: Client) -> None:
        plain = [
            await self.connection.subscribe(client, s, self._queue, self._take)
            for s in self.subjects
        ]
        self.places.begin(lambda places: self.connection.hand_to(places, self._take))
        await self.places.look(client, plain)
        await flush(client)
        self.connection.set_ready()
        await self.places.follow(client, plain)

    def _take(self, msg: Msg) -> None:
        """Take a message; errors are raised in the consumer."""
        self.heard = True
        if self.places.repeated(msg):
            return
        try:
            item = self.decoder.decode(self.places.fetch(msg))
        except InvalidMessage as err:
            try:
                self.decoder.tolerate(msg.subject, err)
            except InvalidMessage:
                self.mailbox.put(err)
            return
        except CvfeederError as err:
            self.mailbox.put(err)
            return
        if item is None or (isinstance(item, Gap) and not self._gaps):
            return
        size = len(item.memory) if isinstance(item, Tensor) else 0
        # A late tensor is older than those that come on time, and replaces none of them.
        late = isinstance(item, Tensor) and item.late
        key: Hashable | None = (item.subject, type(item), late) if self._newest else None
        self.mailbox.put(item, size, key)


@overload
def subscribe(
    subject: str | Sequence[str] = ...,
    *,
    servers: str | Sequence[str] = ...,
    newest: bool = ...,
    gaps: Literal[False] = ...,
    queue: str = ...,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    buffer: int = ...,
    memory: str = ...,
    **options: Unpack[ConnectOptions],
) -> Subscription[Tensor]: ...


@overload
def subscribe(
    subject: str | Sequence[str] = ...,
    *,
    servers: str | Sequence[str] = ...,
    newest: bool = ...,
    gaps: bool,
    queue: str = ...,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    buffer: int = ...,
    memory: str = ...,
    **options: Unpack[ConnectOptions],
) -> Subscription[Tensor | Gap]: ...


def subscribe(
    subject: str | Sequence[str] = "cvf.t.>",
    *,
    servers: str | Sequence[str] = URL,
    newest: bool = False,
    gaps: bool = False,
    queue: str = "",
    expect_spec: str | Collection[str] | None = None,
    strict: bool = False,
    buffer: int = BUFFER,
    memory: str = "",
    **options: Unpack[ConnectOptions],
) -> Subscription[Any]:
    """Return the tensors that are published from now on, on a subject or several.

        for t in cvfeeder.subscribe("cvf.t.*.detector", newest=True): ...
        async for t in cvfeeder.subscribe(["cvf.t.cam-1.>", "cvf.t.cam-2.>"]): ...

    If a consumer is slower than its cameras, the oldest waiting tensors are dropped once
    more than buffer bytes wait. With newest, only the newest tensor of each subject waits, and
    beside it the newest late one.
    `Subscription.skipped` counts what was dropped.

    With gaps, inline gaps come in order, as `Gap`. With expect_spec, one fingerprint or
    several, a tensor with any other raises SpecMismatch. An invalid message is counted,
    logged and skipped; with strict it raises InvalidMessage.

    All subscriptions with the same queue share the tensors: each goes to one of them. That
    does not work for tensors that come in parts.

    Tensors of feeders on the same host come in memory, without a copy, if everybody who reads
    them does so: see docs/memory.md. memory is the directory in which these feeders share it, by
    default that of the environment variable CVFEEDER_MEMORY or /dev/shm/cvfeeder, and "off" for
    none. The arrays are read-only then, and each keeps its tensor in the feeder's memory until
    it is gone. A tensor that came too late to be read there is a `Gap` of the reason
    memory_overwritten; `Subscription.lost` counts them.

    servers is one URL, or several. The options say how to connect, see `ConnectOptions`: name,
    user, password, token, user_credentials, nkeys_seed, nkeys_seed_str, tls, tls_hostname,
    tls_handshake_first, inbox_prefix, ws_connection_headers and connect_timeout.
    """
    own = {
        "newest": newest,
        "gaps": gaps,
        "queue": queue,
        "expect_spec": expect_spec,
        "strict": strict,
        "buffer": buffer,
        "memory": memory,
    }
    check("subscribe", own, options)
    return Subscription(
        subjects_of("subscribe", subject), servers_of("subscribe", servers), own, options
    )


def latest(
    subject: str | Sequence[str] = "cvf.t.>",
    *,
    timeout: float = 10,
    servers: str | Sequence[str] = URL,
    expect_spec: str | Collection[str] | None = None,
    **options: Unpack[ConnectOptions],
) -> Tensor:
    """Return one tensor now: block until the next one is published, and return it.

        picture = cvfeeder.latest("cvf.t.front-door.detector").array

    Raises ReadTimeout, which is a TimeoutError, if none comes within timeout seconds; they
    should be more than the camera's interval. For more than one, `subscribe` is faster.
    """
    check("latest", {"timeout": timeout, "expect_spec": expect_spec}, options)
    reader = subscribe(subject, servers=servers, expect_spec=expect_spec, **options)
    try:
        return reader.read(timeout)
    finally:
        reader.close()


def subscribe_gaps(
    subject: str | Sequence[str] = "cvf.gap.>",
    *,
    servers: str | Sequence[str] = URL,
    strict: bool = False,
    **options: Unpack[ConnectOptions],
) -> Subscription[Gap]:
    """Return the gap events that are published from now on, as `subscribe` does tensors."""
    check("subscribe_gaps", {"strict": strict}, options)
    subjects = subjects_of("subscribe_gaps", subject)
    for one in subjects:
        if not one.startswith("cvf.gap."):
            raise ValueError(f"{one!r} is not a subject of gap events, which start with cvf.gap.")
    settings = {
        "newest": False,
        "gaps": True,
        "queue": "",
        "expect_spec": None,
        "strict": strict,
        "buffer": BUFFER,
        "memory": OFF,
    }
    return Subscription(subjects, servers_of("subscribe_gaps", servers), settings, options)
