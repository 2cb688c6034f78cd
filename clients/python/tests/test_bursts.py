from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import cvfeeder
from support import NATS, needs_server

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

pytestmark = needs_server
AT = datetime(2026, 1, 2, 3, 4, 5, 200_000, UTC)
ANSWER = {
    "burst": "b7k2",
    "stream": "cam-1",
    "from": "2026-01-02T03:04:00.200Z",
    "to": "2026-01-02T03:04:15.200Z",
    "interval": "200ms",
    "slots": 75,
    "joined": True,
}


async def asked(client: Client, answer: bytes, headers: dict[str, str] | None, **o: Any) -> Any:
    """Ask for a burst of a service that answers as told; return the answer and the request."""
    requests: list[Any] = []

    async def reply(msg: Msg) -> None:
        requests.append(json.loads(msg.data))
        await client.publish(msg.reply, answer, headers=headers)

    sub = await client.subscribe("cvf.svc.burst", "first", reply)
    await client.flush()
    try:
        return await asyncio.to_thread(cvfeeder.burst, "cam-1", servers=NATS, **o), requests[0]
    finally:
        await sub.unsubscribe()


async def test_a_burst_is_asked_for(client: Client) -> None:
    burst, request = await asked(
        client, json.dumps(ANSWER).encode(), None, time=AT, before=5, after=0.25, reason="a person"
    )
    assert request == {
        "stream": "cam-1",
        "time": "2026-01-02T03:04:05.200000Z",
        "before": "5000ms",
        "after": "250ms",
        "reason": "a person",
    }
    assert burst == cvfeeder.Burst(
        id="b7k2",
        stream="cam-1",
        start=AT.replace(second=0),
        end=AT.replace(second=15),
        interval=0.2,
        slots=75,
        joined=True,
    )


async def test_a_refusal_is_raised(client: Client) -> None:
    headers = {"Nats-Service-Error": "too many requests", "Nats-Service-Error-Code": "429"}
    with pytest.raises(cvfeeder.Refused, match="too many") as refused:
        await asked(client, b"", headers)
    assert refused.value.code == "429"
    with pytest.raises(cvfeeder.CvfeederError, match="is not understood"):
        await asked(client, b"hello", None)
    with pytest.raises(cvfeeder.CvfeederError, match="lacks burst, from"):
        await asked(client, b"{}", None)


def test_mistakes_and_silence() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        cvfeeder.burst("cam-1", datetime(2026, 1, 2))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(TypeError, match="did you mean"):
        cvfeeder.burst("cam-1", tokn="x")  # type: ignore[call-arg]
    with pytest.raises(cvfeeder.CvfeederError, match=r"127\.0\.0\.1:1"):
        cvfeeder.burst("cam-1", servers="nats://127.0.0.1:1", timeout=2)
