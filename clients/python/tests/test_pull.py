from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

import cvfeeder
from support import GAP, HEADERS, NATS, PAYLOAD, ask, feed, needs_server, parts, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client

pytestmark = needs_server
STREAM = "cvfeeder"


@pytest.fixture
async def js(client: Client) -> AsyncIterator[Client]:
    """Return a client of a server whose stream holds cvf.t.kept.*."""
    await client.jetstream().add_stream(
        StreamConfig(
            name=STREAM,
            subjects=["cvf.t.kept.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
        )
    )
    yield client
    await client.jetstream().delete_stream(STREAM)


kept = partial(cvfeeder.pull, STREAM, servers=NATS)


async def store(client: Client, count: int, first: int = 0, side: int = 4) -> None:
    """Store tensors of uint8 with side x side pixels, each under an identity of its own."""
    headers = HEADERS | {"Cvf-Dtype": "UINT8", "Cvf-Shape": f"1,3,{side},{side}"}
    for i in range(first, first + count):
        one = headers | {"Nats-Msg-Id": str(i)}
        await client.jetstream().publish("cvf.t.kept.x", bytes(3 * side * side), headers=one)


async def _left(client: Client) -> int:
    """Return how many messages the stream still holds."""
    await client.flush()
    return (await client.jetstream().stream_info(STREAM)).state.messages


async def _until_left(client: Client, count: int) -> None:
    async with asyncio.timeout(10):
        while await _left(client) != count:
            await asyncio.sleep(0.01)


async def _emptied(client: Client) -> None:
    await _until_left(client, 0)


async def test_all_once_and_in_order(js: Client) -> None:
    await store(js, 25)
    ids = []
    async with kept(durable="d") as tensors:
        async for t in tensors:
            ids.append(t.id)
            await t.ack()
            if len(ids) == 25:
                break
    assert ids == [str(i) for i in range(25)]
    await _emptied(js)


async def test_what_comes_later_comes_at_once(js: Client) -> None:  # noqa: ARG001
    async with kept(durable="d") as tensors:
        waiting = asyncio.create_task(tensors.get())
        await asyncio.sleep(0.1)
        await feed("kept")
        async with asyncio.timeout(2):
            await (await waiting).ack()


async def test_without_ack_or_with_nak_it_comes_again(js: Client) -> None:
    await store(js, 2)
    async with kept(durable="d") as tensors, asyncio.timeout(20):
        first, second = await tensors.get(), await tensors.get()
        await first.nak()
        await second.in_progress()
        await second.ack()
        again = await tensors.get()
        assert again.id == first.id
        await again.nak(0.1)
        await (await tensors.get()).ack()
    await _emptied(js)


async def test_a_batch_is_small(js: Client) -> None:
    for batch_bytes, most in [(32 << 20, 4), (3 << 20, 2), (1 << 20, 1)]:
        await store(js, 8, first=8 * most, side=640)  # 1.2 MB each
        durable = f"d{most}"
        async with kept(durable=durable, batch_bytes=batch_bytes) as tensors, asyncio.timeout(20):
            for taken in range(8):
                t = await tensors.get()
                info = await js.jetstream().consumer_info(STREAM, durable)
                assert info.delivered
                assert info.delivered.consumer_seq - taken <= most
                await t.ack()
        await _emptied(js)
        await js.jetstream().delete_consumer(STREAM, durable)


async def test_gaps_parts_and_invalid_messages(js: Client) -> None:
    subject = "cvf.t.kept.x"
    later = HEADERS | {"Nats-Msg-Id": "later"}
    await publish(js, subject, *parts(3), ({}, b"hello"), (GAP, b""), *parts(2, later))
    async with kept(durable="d", gaps=True) as items, asyncio.timeout(20):
        whole, gap, last = [await items.get() for _ in range(3)]
        assert (items.invalid, items.incomplete) == (1, 0)
        assert isinstance(gap, cvfeeder.Gap)
        assert (whole.payload, last.payload) == (PAYLOAD, PAYLOAD)
        await _until_left(js, 6)  # all but the invalid one
        await whole.nak()  # all of its parts
        again = await items.get()
        assert (again.id, again.payload) == (whole.id, PAYLOAD)
        for item in (again, gap, last):
            await item.ack()
    await _emptied(js)


async def test_incomplete_tensors_are_given_up(js: Client) -> None:
    """Parts that were cut or made otherwise disturb nothing, and go in the end."""
    subject = "cvf.t.kept.x"
    config = ConsumerConfig(
        durable_name="d",
        filter_subject="cvf.t.kept.*",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=0.5,
    )
    await js.jetstream().add_consumer(STREAM, config)
    other = HEADERS | {"Cvf-Spec": "other", "Nats-Msg-Id": "other"}
    await publish(js, subject, *parts(5)[:2], *parts(3, other)[:1])
    for number, (headers, data) in enumerate(parts(3)):  # as in a stream with limits
        more = {"Nats-Expected-Last-Subject-Sequence": str(3 + number)}
        await publish(js, subject, (headers | more, data))
    async with kept(durable="d", subject="cvf.t.kept.*") as items, asyncio.timeout(20):
        first = await items.get()
        assert (first.payload, first.id) == (PAYLOAD, HEADERS["Nats-Msg-Id"])
        await first.ack()

        async def read_on() -> cvfeeder.Tensor:
            while True:
                item = await items.get()
                await item.ack()
                if item.id != first.id:  # which comes again if acknowledging took half a second
                    return item

        following = asyncio.create_task(read_on())
        while items.incomplete < 2:
            await asyncio.sleep(0.05)
        await publish(js, subject, *parts(2, HEADERS | {"Nats-Msg-Id": "later"}))
        last = await following
        assert (last.payload, last.id) == (PAYLOAD, "later")
        assert (items.incomplete, items.invalid) == (2, 0)
        await _emptied(js)


async def test_gaps_that_nobody_wants_are_acknowledged(js: Client) -> None:
    await publish(js, "cvf.t.kept.x", (GAP, b""), (HEADERS, PAYLOAD))
    async with kept(durable="d") as tensors, asyncio.timeout(20):
        await (await tensors.get()).ack()
    await _emptied(js)


async def test_it_outlives_the_server(js: Client) -> None:
    await store(js, 4)
    async with kept(durable="d") as tensors, asyncio.timeout(60):
        ids = []
        for _ in range(2):
            t = await tensors.get()
            ids.append(t.id)
            await t.ack()
        await ask("/restart")
        await store(js, 2, first=4)
        while len(set(ids)) < 6:
            t = await tensors.get()
            ids.append(t.id)
            await t.ack()
        while await _left(js):  # an acknowledgement may be lost with the connection
            with contextlib.suppress(TimeoutError):
                await (await tensors.get(0.5)).ack()


async def test_mistakes_are_told(js: Client) -> None:
    with pytest.raises(cvfeeder.CvfeederError, match="no JetStream stream 'nope'"):
        await cvfeeder.pull("nope", durable="d", servers=NATS).get()
    config = ConsumerConfig(durable_name="d", filter_subject="cvf.t.kept.a")
    await js.jetstream().add_consumer(STREAM, config)
    with pytest.raises(cvfeeder.CvfeederError, match="nats consumer rm cvfeeder d"):
        await kept(durable="d").get()
    async with kept(durable="e", subject="cvf.t.kept.b") as tensors:
        waiting = asyncio.create_task(tensors.get())
        await asyncio.sleep(0.1)
        await js.jetstream().delete_consumer(STREAM, "e")
        with pytest.raises(cvfeeder.CvfeederError, match="Consumer Deleted"):
            await waiting
