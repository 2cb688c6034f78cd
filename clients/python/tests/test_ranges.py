from __future__ import annotations

import asyncio
import json
import pickle
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import nats
import pytest

import cvfeeder
from cvfeeder import ranges
from support import HEADERS, NATS, PAYLOAD, RANGES, needs_server

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

pytestmark = needs_server
START = datetime(2026, 1, 2, 3, 4, 5, 200_000, UTC)
STEP = timedelta(milliseconds=200)


def make(slots: int, output: str = "detector", **more: Any) -> cvfeeder.Frames:
    more = dict[str, Any]({"servers": RANGES, "interval": 0.2}) | more
    return cvfeeder.frames("cam-1", output, start=START, end=START + slots * STEP, **more)


def check(items: list[cvfeeder.Tensor | cvfeeder.Gap], slots: int, size: int = 96) -> None:
    """Check that there is a tensor for each slot, and a gap for the fourth and the fifth."""
    at = START
    for item in items:
        if isinstance(item, cvfeeder.Gap):
            assert (item.start, item.end, item.reason) == (START + 3 * STEP, at + STEP, "no_media")
            at += 2 * STEP
        else:
            assert (item.time, item.stream, len(item.payload)) == (at, "cam-1", size)
            at += STEP
    assert at == START + slots * STEP
    assert len(items) == slots - 1


@pytest.mark.parametrize("credit", [1, 3, 64])
async def test_a_range_comes_in_order(credit: int) -> None:
    reader = make(100, credit=credit)
    async with asyncio.timeout(20):
        check([t async for t in reader], 100)
    assert (reader.slots, reader.images) == (100, 101)
    check(await asyncio.to_thread(list, reader), 100)
    check(list(pickle.loads(pickle.dumps(reader))), 100)  # noqa: S301 - it is our own


async def test_tensors_in_parts_are_joined() -> None:
    reader = make(10, "large", credit=2)
    async with asyncio.timeout(20):
        check([t async for t in reader], 10, 64 * 64 * 3 * 4)


async def test_a_refusal_says_how_long_to_wait() -> None:
    with pytest.raises(cvfeeder.Refused, match=r"^429: too dear$") as refused:
        await make(10, "dear").get(20)
    assert (refused.value.code, refused.value.wait) == ("429", 90)
    came = []
    with pytest.raises(cvfeeder.Refused, match="502: no more"):
        came.extend([t async for t in make(10, "broken")])
    with pytest.raises(cvfeeder.Refused, match=r"400: .* too short"):
        await make(10, interval=timedelta(milliseconds=1)).get(20)
    with pytest.raises(cvfeeder.Refused, match="503: no cvfeeder answers"):
        await make(10, servers=NATS).get(20)


async def state(client: Client) -> dict[str, int]:
    answer = await client.request("cvf.svc.streams", timeout=10)
    result: dict[str, int] = json.loads(answer.data)
    return result


async def test_a_slow_loop_slows_the_feeder_and_leaving_ends_it() -> None:
    client = await nats.connect(RANGES)
    before = await state(client)
    reader = make(100_000, credit=4)
    async for _ in reader:
        sent = -1
        while (now := (await state(client))["sent"]) != sent:
            sent = now
            await asyncio.sleep(0.1)
        assert sent - before["sent"] <= 5
        break
    async with asyncio.timeout(5):
        while (await state(client))["ended"] == before["ended"]:
            await asyncio.sleep(0.01)
        while any(thread.name == "cvfeeder" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
    await client.close()


async def answer(client: Client, *messages: str) -> None:
    """Answer the next request with messages like "open 0", " 1", "alive 1" and "end 1"."""

    async def respond(msg: Msg) -> None:
        for text in messages:
            state, number = text.split(" ")
            headers = {"Cvf-Version": "1", "Cvf-Range-State": state} if state else dict(HEADERS)
            headers |= {"Cvf-Range": "x", "Cvf-Range-Sequence": number}
            data = b"" if state else PAYLOAD
            await client.publish(msg.reply, data, reply="cvf.svc.credit.x", headers=headers)

    await client.subscribe("cvf.svc.frames", cb=respond)
    await client.flush()


@pytest.mark.parametrize(
    ("messages", "lost"),
    [
        (["open 0", " 1", " 3"], True),
        (["open 0", " 1", "alive 2"], True),
        (["open 0", " 1", "end 2"], True),
        (["open 0", " 1", " 1"], True),
        (["open 0", " 1", "alive 1", "end 1"], False),
    ],
)
async def test_a_lost_message_is_noticed(client: Client, messages: list[str], lost: bool) -> None:  # noqa: FBT001
    await answer(client, *messages)
    reader = make(10, servers=NATS)
    assert isinstance(await reader.get(10), cvfeeder.Tensor)
    with pytest.raises(cvfeeder.MessagesLost if lost else cvfeeder.Closed):
        await reader.get(10)
    await reader.aclose()


async def test_no_more_is_kept_than_there_is_credit_for(client: Client) -> None:
    await answer(client, "open 0", *(f" {i}" for i in range(1, 100)))
    async with make(100, servers=NATS) as reader, asyncio.timeout(10):
        while not reader._ranged._over:  # noqa: SLF001 - nobody reads yet
            await asyncio.sleep(0.01)
        for _ in range(ranges.MAX_CREDIT):
            await reader.get()
        with pytest.raises(cvfeeder.MessagesLost, match="than there is credit for"):
            await reader.get()


async def test_a_silent_feeder_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ALIVE", 0.1)
    monkeypatch.setattr(ranges, "SILENCE", 0.5)
    words: list[bytes] = []

    async def note(msg: Msg) -> None:
        words.append(msg.data)

    await client.subscribe("cvf.svc.credit.x", cb=note)
    await answer(client, "open 0", " 1")
    reader = make(10, servers=NATS)
    await reader.get(10)
    with pytest.raises(cvfeeder.CvfeederError, match="says nothing any more"):
        await reader.get(10)
    await reader.aclose()
    async with asyncio.timeout(10):
        while words.count(b'{"read": 1}') < 3:
            await asyncio.sleep(0.01)


def test_mistakes_are_raised_at_once() -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(ValueError, match="start is a datetime with a time zone"):
        cvfeeder.frames("cam-1", "detector", start=naive, end=START)
    with pytest.raises(ValueError, match="credit is 65"):
        make(1, credit=65)
    with pytest.raises(ValueError, match="credit is 0"):
        make(1, credit=0)
    with pytest.raises(ValueError, match="stream and output are names"):
        make(1, "")
    with pytest.raises(TypeError, match=r"frames\(\) has no option 'sever'"):
        make(1, sever="x")


def test_nothing_is_sent_once_the_loop_is_closed() -> None:
    with make(10) as reader:
        connection = reader._shared  # noqa: SLF001
        assert connection is not None
        loop = connection._loop  # noqa: SLF001
        close, refused = loop.close, threading.Event()

        def close_and_send() -> None:
            close()
            with pytest.raises(cvfeeder.Closed):
                connection.send([("a", b"")])
            refused.set()

        loop.close = close_and_send  # type: ignore[method-assign]
        check([reader.read() for _ in range(9)], 10)
        with pytest.raises(cvfeeder.Closed):
            reader.read()
        assert refused.wait(10)
