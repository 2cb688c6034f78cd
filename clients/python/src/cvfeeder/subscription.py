"""Reading core NATS: what is published while the subscription is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from ._decoder import Decoder
from ._mailbox import Mailbox
from ._reader import Reader
from .errors import CvfeederError, InvalidMessage
from .gap import Gap
from .tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - T is the usual name

URL = "nats://127.0.0.1:4222"
BUFFER = 256 << 20  # bytes


class Subscription(Reader[T]):
    """A subscription to subjects; made by `subscribe` and `subscribe_gaps`."""

    def __init__(
        self,
        subject: str,
        decoder: Decoder,
        *,
        newest: bool,
        gaps: bool,
        buffer: int,
        options: dict[str, Any],
    ) -> None:
        """Prepare a subscription; see `subscribe`."""
        super().__init__(decoder, options)
        self._subject = subject
        self._newest = newest
        self._gaps = gaps
        self._mailbox: Mailbox[Tensor | Gap | CvfeederError] = Mailbox(buffer)

    @property
    def skipped(self) -> int:
        """How many items were dropped because the consumer was too slow."""
        return self._mailbox.skipped

    async def _subscribe(self, client: Client) -> None:
        await client.subscribe(self._subject, cb=self._receive)
        # In nats-py 2.16, the PING of flush overtakes what is still queued, here the
        # subscription. The PING of the second flush comes after it.
        await client.flush()
        await client.flush()

    async def _receive(self, msg: Msg) -> None:
        """Take a message, on the connection's thread; errors are raised in the consumer."""
        try:
            item = self._decoder.decode(msg)
        except InvalidMessage as err:
            try:
                self._decoder.tolerate(msg.subject, err)
            except InvalidMessage:
                self._mailbox.put(err)
            return
        except CvfeederError as err:
            self._mailbox.put(err)
            return
        if item is None or (isinstance(item, Gap) and not self._gaps):
            return
        size = len(item.payload) if isinstance(item, Tensor) else 0
        # A late tensor is older than those that come on time, and replaces none of them.
        late = isinstance(item, Tensor) and item.late
        key: Hashable | None = (item.subject, type(item), late) if self._newest else None
        self._mailbox.put(item, size, key)

    async def _next(self) -> T:
        item = await self._mailbox.get()
        if isinstance(item, CvfeederError):
            raise item
        return cast("T", item)

    def _fail(self, error: Exception) -> None:
        self._mailbox.fail(error)


@overload
def subscribe(
    subject: str = ...,
    *,
    servers: str | list[str] = ...,
    newest: bool = ...,
    gaps: Literal[False] = ...,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    buffer: int = ...,
    **options: Any,
) -> Subscription[Tensor]: ...


@overload
def subscribe(
    subject: str = ...,
    *,
    servers: str | list[str] = ...,
    newest: bool = ...,
    gaps: bool,
    expect_spec: str | Collection[str] | None = ...,
    strict: bool = ...,
    buffer: int = ...,
    **options: Any,
) -> Subscription[Tensor | Gap]: ...


def subscribe(
    subject: str = "cvf.t.>",
    *,
    servers: str | list[str] = URL,
    newest: bool = False,
    gaps: bool = False,
    expect_spec: str | Collection[str] | None = None,
    strict: bool = False,
    buffer: int = BUFFER,
    **options: Any,
) -> Subscription[Any]:
    """Return the tensors that are published on a subject from now on.

    If a consumer is slower than its cameras, the oldest waiting tensors are dropped once
    more than buffer bytes wait. With newest, only the newest tensor of each subject waits, and
    beside it the newest late one.
    `Subscription.skipped` counts what was dropped.

    With gaps, inline gaps come in order, as `Gap`. With expect_spec, one fingerprint or
    several, a tensor with any other raises SpecMismatch. An invalid message is counted,
    logged and skipped; with strict it raises InvalidMessage.

    The other options are passed to nats.connect, for example user_credentials, nkeys_seed,
    tls, user, password or token. Their callbacks run on the connection's own thread.
    """
    return Subscription(
        subject,
        Decoder(limit=buffer, expect_spec=expect_spec, strict=strict),
        newest=newest,
        gaps=gaps,
        buffer=buffer,
        options={"servers": servers, **options},
    )


def subscribe_gaps(
    subject: str = "cvf.gap.>",
    *,
    servers: str | list[str] = URL,
    strict: bool = False,
    **options: Any,
) -> Subscription[Gap]:
    """Return the gap events that are published from now on, as `subscribe` does tensors."""
    if not subject.startswith("cvf.gap."):
        raise ValueError(f"{subject!r} is not a subject of gap events, which start with cvf.gap.")
    return Subscription(
        subject,
        Decoder(limit=BUFFER, expect_spec=None, strict=strict),
        newest=False,
        gaps=True,
        buffer=BUFFER,
        options={"servers": servers, **options},
    )
