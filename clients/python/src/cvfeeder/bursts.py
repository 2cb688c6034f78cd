"""Asking for a burst: the frames around an instant, closer together than the stream's own."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client

from ._options import (
    URL,
    ConnectOptions,
    check,
    credentials,
    servers_of,
    without_password,
)
from .errors import CvfeederError, ReadTimeout, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

SUBJECT = "cvf.svc.burst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """A burst that was asked for, with all that others have asked for around the same time.

    id        what its tensors have as `Tensor.burst`
    stream    the camera
    start     its first slot: an aware datetime in UTC
    end       the first slot after its last one
    interval  seconds between two slots
    slots     how many it has, those included that the stream publishes itself
    joined    True if another request had begun it
    """

    id: str
    stream: str
    start: datetime
    end: datetime
    interval: float
    slots: int
    joined: bool


def burst(
    stream: str,
    time: datetime | None = None,
    *,
    before: float | None = None,
    after: float | None = None,
    interval: float | None = None,
    reason: str = "",
    timeout: float = 10,
    servers: str | Sequence[str] = URL,
    **options: Unpack[ConnectOptions],
) -> Burst:
    """Have a camera looked at more closely around an instant, also in the past.

        if "person" in names(model(t.array)):
            cvfeeder.burst(t.stream, t.time, before=5, after=10, reason="a person")

    Its tensors come on the stream's own subjects, with `Tensor.burst`; those that come after
    newer ones have `Tensor.late`. time is by default now; before, after and interval are
    seconds, by default those of the stream's config. Requests that overlap are one burst.

    It blocks until the burst has begun, for at most timeout seconds, and may be called from a
    running event loop, which it holds up: use ``asyncio.to_thread`` there. It raises
    Refused if the stream does not allow it, and ReadTimeout without an answer.
    """
    check("burst", {"timeout": timeout}, options)
    request: dict[str, str] = {"stream": stream}
    if time is not None:
        if time.tzinfo is None:
            raise ValueError("burst: time has no time zone: use datetime.now(UTC), or t.time")
        request["time"] = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    for name, value in (("before", before), ("after", after), ("interval", interval)):
        if value is not None:
            request[name] = f"{round(value * 1000)}ms"
    if reason:
        request["reason"] = reason
    answer = _ask(json.dumps(request).encode(), timeout, servers_of("burst", servers), options)
    start, end = datetime.fromisoformat(answer["from"]), datetime.fromisoformat(answer["to"])
    return Burst(
        id=answer["burst"],
        stream=answer["stream"],
        start=start,
        end=end,
        interval=(end - start).total_seconds() / max(answer["slots"], 1),
        slots=answer["slots"],
        joined=answer["joined"],
    )


def _ask(
    request: bytes, timeout: float, servers: list[str], options: ConnectOptions
) -> dict[str, Any]:
    """Send the request from a loop of its own, as another may be running on this thread."""
    result: list[dict[str, Any] | Exception] = []

    def run() -> None:
        try:
            result.append(asyncio.run(_request(request, timeout, servers, options)))
        except Exception as err:  # noqa: BLE001 - it is raised where it was asked for
            result.append(err)

    thread = threading.Thread(target=run, name="cvfeeder-burst", daemon=True)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


async def _request(
    request: bytes, timeout: float, servers: list[str], options: ConnectOptions
) -> dict[str, Any]:
    client = Client()
    files = ("user_credentials", "nkeys_seed", "nkeys_seed_str", "connect_timeout")
    own = {k: v for k, v in options.items() if k not in files}
    at = without_password(servers)
    try:
        async with asyncio.timeout(timeout):
            await client.connect(
                servers=servers,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                error_cb=_ignore,
                **{"name": "cvfeeder-python", **own, **credentials(options)},
            )
            msg = await client.request(SUBJECT, request, timeout=timeout)
    except nats.errors.NoRespondersError as err:
        raise CvfeederError(
            f"no cvfeeder answers on {SUBJECT} at {at}: start one there, and look whether its log"
            " says that there is no NATS service"
        ) from err
    except TimeoutError as err:
        raise ReadTimeout(f"no answer on {SUBJECT} at {at} within {timeout:g} s") from err
    except (OSError, nats.errors.Error) as err:
        raise CvfeederError(f"NATS at {at} cannot be asked for a burst: {err}") from err
    finally:
        await client.close()
    headers = msg.headers or {}
    if text := headers.get("Nats-Service-Error"):
        raise Refused(headers.get("Nats-Service-Error-Code", "500"), text[:1024])
    try:
        answer = json.loads(msg.data)
        missing = {"burst", "stream", "from", "to", "slots", "joined"} - set(answer)
    except (ValueError, TypeError) as err:
        raise CvfeederError(f"the answer on {SUBJECT} is not understood: {err}") from err
    if missing:
        raise CvfeederError(f"the answer on {SUBJECT} lacks {', '.join(sorted(missing))}")
    return dict(answer)


async def _ignore(_: Exception) -> None:
    """Leave errors to the one who waits for the answer."""
