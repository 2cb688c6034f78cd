from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

import cvfeeder
from support import GAP, HEADERS, NATS, PAYLOAD, ask, feed, needs_server, parts, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.client import Client

pytestmark = needs_server
FIRST = datetime(2026, 1, 2, 3, 4, 5, 200_000, UTC)


async def test_what_the_feeder_publishes_is_read() -> None:
    async with cvfeeder.subscribe("cvf.t.read.>", servers=NATS) as tensors:
        await feed("read", 2)
        await feed("read", DType="uint8", Layout="nhwc", Color="gray", Output="gray")
        async with asyncio.timeout(10):
            first, second, gray = [await tensors.get() for _ in range(3)]
    assert first.subject == "cvf.t.read.detector"
    assert (first.time, second.time) == (FIRST, FIRST + timedelta(milliseconds=200))
    assert first.capture == FIRST + timedelta(milliseconds=7)
    assert first.id == "read/1767323045200/detector/3f2a"
    assert first.array.tobytes() == bytes(range(96))
    assert (first.mean, first.std) == ((0.5, 0.25, 0), (0.5, 1, 2))
    assert first.to_source([1, 1]).tolist() == [2, -417]
    assert (gray.shape, gray.normalized, gray.array.dtype) == ((1, 2, 4, 1), False, np.dtype("u1"))
    await first.ack()  # nothing to tell, and no error


async def test_leaving_the_loop_closes_the_connection() -> None:
    feeding = asyncio.create_task(_feed_until_cancelled("loop"))
    async for t in cvfeeder.subscribe("cvf.t.loop.>", servers=NATS):
        assert t.stream == "loop"
        break
    feeding.cancel()
    await _until(lambda: not any(thread.name == "cvfeeder" for thread in threading.enumerate()))


async def _feed_until_cancelled(stream: str) -> None:
    while True:
        await feed(stream)


async def test_newest_leaves_the_newest_of_each_subject() -> None:
    async with cvfeeder.subscribe("cvf.t.newest.>", servers=NATS, newest=True) as tensors:
        await feed("newest", 20, Output="a")
        await feed("newest", 30, Output="b")
        await _until(lambda: tensors.skipped == 48)
        async with asyncio.timeout(10):
            a, b = await tensors.get(), await tensors.get()
    assert (a.output, a.time) == ("a", FIRST + 19 * timedelta(milliseconds=200))
    assert (b.output, b.time) == ("b", FIRST + 29 * timedelta(milliseconds=200))


async def test_a_late_tensor_replaces_no_newer_one() -> None:
    async with cvfeeder.subscribe("cvf.t.late.>", servers=NATS, newest=True) as tensors:
        await feed("late", 3, Slot=1767323045200)
        await feed("late", 5, Slot=1767323045200 - 3_600_000, Late=True)
        earlier = 1767323045200 - 1_800_000
        await feed("late", 2, Slot=earlier, Late=True, Width=64, Height=64, Limit=10_000)
        await _until(lambda: tensors.skipped == 8)
        async with asyncio.timeout(10):
            newest, late = await tensors.get(), await tensors.get()
        assert tensors.incomplete == 0
    assert (newest.late, newest.time) == (False, FIRST + timedelta(milliseconds=400))
    assert (late.late, late.time) == (True, FIRST - timedelta(minutes=29, seconds=59.8))


async def test_a_full_buffer_loses_the_oldest() -> None:
    size = 3 * 64 * 64 * 4 + 4096
    async with cvfeeder.subscribe("cvf.t.full.>", servers=NATS, buffer=5 * size) as tensors:
        await feed("full", 20, Width=64, Height=64)
        await _until(lambda: tensors.skipped == 15)
        async with asyncio.timeout(10):
            times = [(await tensors.get()).time for _ in range(5)]
    assert times == [FIRST + i * timedelta(milliseconds=200) for i in range(15, 20)]


async def test_gaps_come_in_order(client: Client) -> None:
    subject = "cvf.t.front-door.order"
    messages = [(HEADERS, PAYLOAD), (GAP, b""), (HEADERS, PAYLOAD)]
    for gaps, want in [(True, ["Tensor", "Gap", "Tensor"]), (False, ["Tensor", "Tensor"])]:
        async with cvfeeder.subscribe(subject, servers=NATS, gaps=gaps) as items:
            await publish(client, subject, *messages)
            async with asyncio.timeout(10):
                got = [await items.get() for _ in want]
        assert [type(item).__name__ for item in got] == want


async def test_gap_events(client: Client) -> None:
    async with cvfeeder.subscribe_gaps(servers=NATS) as gaps:
        await publish(client, "cvf.gap.x", ({}, b"[1]"), ({}, b"{"), ({}, b'{"slots": 1e999}'))
        gap = {"Stream": "front door", "From": 1767323045200, "To": 1767323045800, "Slots": 4}
        await ask("/gap", **gap, Reason="no_media")
        async with asyncio.timeout(10):
            got = await gaps.get()
        assert gaps.invalid == 3
    assert (got.subject, got.stream, got.reason) == ("cvf.gap.front_door", "front door", "no_media")
    assert (got.start, got.end, got.slots) == (FIRST, FIRST + timedelta(milliseconds=600), 4)
    with pytest.raises(ValueError, match=r"cvf\.gap"):
        cvfeeder.subscribe_gaps("cvf.t.>")


async def test_parts_are_put_together(client: Client) -> None:
    subject = "cvf.t.front-door.parts"
    one, two, three = parts(3)
    later = HEADERS | {"Cvf-Time": "2026-01-02T03:04:05.400Z", "Nats-Msg-Id": "later"}
    async with cvfeeder.subscribe(subject, servers=NATS, gaps=True) as items:
        await publish(client, subject, one, one, two, three, three)  # repeats are ignored
        await publish(client, subject, one, two)  # of the same tensor, which is done
        await publish(client, subject, *parts(2, later)[:1], *parts(4, later))  # cut anew
        await publish(client, subject, one, two, (GAP, b""), three)  # a gap comes between
        await publish(client, subject, (HEADERS, PAYLOAD))
        async with asyncio.timeout(10):
            got = [await items.get() for _ in range(4)]
        assert (items.incomplete, items.invalid) == (3, 0)
    whole, second, gap, last = got
    assert isinstance(whole, cvfeeder.Tensor)
    assert isinstance(second, cvfeeder.Tensor)
    assert isinstance(gap, cvfeeder.Gap)
    assert isinstance(last, cvfeeder.Tensor)
    assert (whole.payload, whole.id) == (PAYLOAD, HEADERS["Nats-Msg-Id"])
    assert not whole.array.flags.writeable
    assert (second.payload, second.id) == (PAYLOAD, "later")


async def test_the_feeders_parts_and_inline_gaps() -> None:
    async with cvfeeder.subscribe("cvf.t.split.>", servers=NATS, gaps=True) as items:
        await feed("split", 2, Width=64, Height=64, Limit=10_000)
        gap = {"Stream": "split", "From": 1767323045600, "To": 1767323045800, "Slots": 2}
        await ask("/inline-gap", **gap, Reason="no_media")
        async with asyncio.timeout(10):
            first, second, last = [await items.get() for _ in range(3)]
        assert (items.incomplete, items.invalid) == (0, 0)
    assert isinstance(first, cvfeeder.Tensor)
    assert isinstance(second, cvfeeder.Tensor)
    assert isinstance(last, cvfeeder.Gap)
    assert first.payload == bytes(range(256)) * (3 * 64 * 64 * 4 // 256)
    assert first.id == "split/1767323045200/detector/3f2a"
    assert second.time == FIRST + timedelta(milliseconds=200)
    assert (last.start, last.slots, last.reason) == (
        FIRST + timedelta(milliseconds=400), 2, "no_media",
    )  # fmt: skip


async def test_hostile_parts_are_bounded(client: Client) -> None:
    subject = "cvf.t.front-door.hostile"
    (headers, data), *_ = parts(9)
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors:
        for chunk in ("0/2", "3/2", "1", "1/99999999", "a/b", "1/2/3"):
            await publish(client, subject, (headers | {"Cvf-Chunk": chunk}, data))
        huge = headers | {"Cvf-Shape": "1,3,65536,65536"}
        more = headers | {"Cvf-Chunk": "2/9"}
        await publish(client, subject, (huge, data), (headers, data), (more, 9 * PAYLOAD))
        await publish(client, subject, (HEADERS, PAYLOAD))
        async with asyncio.timeout(10):
            assert (await tensors.get()).payload == PAYLOAD
        assert tensors.invalid == 8


async def test_invalid_messages_are_counted_or_raised(client: Client) -> None:
    subject = "cvf.t.front-door.invalid"
    messages = [({}, b"hello"), (HEADERS, PAYLOAD[1:]), (HEADERS, PAYLOAD)]
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors:
        await publish(client, subject, *messages)
        async with asyncio.timeout(10):
            assert (await tensors.get()).payload == PAYLOAD
        assert tensors.invalid == 2
    async with cvfeeder.subscribe(subject, servers=NATS, strict=True) as tensors:
        await publish(client, subject, *messages)
        async with asyncio.timeout(10):
            for _ in range(2):
                with pytest.raises(cvfeeder.InvalidMessage):
                    await tensors.get()
            assert (await tensors.get()).payload == PAYLOAD


async def test_another_spec_is_refused() -> None:
    async with cvfeeder.subscribe("cvf.t.spec.>", servers=NATS, expect_spec="3f2a") as tensors:
        await feed("spec", Fingerprint="beef")
        await feed("spec")
        async with asyncio.timeout(10):
            with pytest.raises(cvfeeder.SpecMismatch, match=r"beef.*expected is 3f2a"):
                await tensors.get()
            assert (await tensors.get()).spec == "3f2a"


async def test_a_cancelled_get_loses_nothing() -> None:
    times: list[datetime] = []
    async with cvfeeder.subscribe("cvf.t.cancel.>", servers=NATS) as tensors:
        for i in range(20):
            waiting = asyncio.create_task(tensors.get())
            await asyncio.sleep(0)
            waiting.cancel()
            await feed("cancel", Slot=1767323045200 + 200 * i)
            with contextlib.suppress(asyncio.CancelledError):
                times.append((await waiting).time)
        async with asyncio.timeout(10):
            while len(times) < 20:
                times.append((await tensors.get()).time)
    assert times == [FIRST + i * timedelta(milliseconds=200) for i in range(20)]


async def test_it_outlives_the_server() -> None:
    async with cvfeeder.subscribe("cvf.t.restart.>", servers=NATS, newest=True) as tensors:
        await feed("restart")
        await tensors.get()
        await ask("/restart")
        feeding = asyncio.create_task(_feed_until_cancelled("restart"))
        async with asyncio.timeout(20):
            assert (await tensors.get()).stream == "restart"
        feeding.cancel()


async def test_refused_credentials_are_an_error_at_once() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"auth_required":true,"max_payload":1048576}\r\n')
        await reader.readline()
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        with pytest.raises(cvfeeder.CvfeederError, match="Authorization"):
            await cvfeeder.subscribe(servers=f"nats://127.0.0.1:{port}", user="no").get()
    server.close()


async def test_waiting_for_a_server_can_be_cancelled() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), cvfeeder.subscribe(servers="nats://127.0.0.1:1"):
            pass
    assert not any(thread.name == "cvfeeder" for thread in threading.enumerate())


BIG = {"Width": 640, "Height": 640, "DType": "uint8"}  # 1.2 MB


async def test_a_busy_consumer_gets_the_newest_and_slows_nobody() -> None:
    """One that keeps its event loop busy still reads: frames, not the connection, are dropped."""
    count = 40  # within what the server keeps for a connection, 64 MB
    async with (
        cvfeeder.subscribe("cvf.t.busy.>", servers=NATS, newest=True) as busy,
        cvfeeder.subscribe("cvf.t.busy.>", servers=NATS) as all_of_them,
    ):
        feeding = asyncio.create_task(feed("busy", count, **BIG))
        got = 0
        async with asyncio.timeout(60):
            while busy.skipped + got < count:
                await busy.get()
                got += 1
                time.sleep(0.3)  # noqa: ASYNC251 - as a model would
            await feeding
            times = [(await all_of_them.get()).time for _ in range(count)]
    assert busy.skipped > 0
    assert times == [FIRST + i * timedelta(milliseconds=200) for i in range(count)]
    assert all_of_them.skipped == 0


async def test_a_stopped_consumer_slows_neither_the_feeder_nor_another() -> None:
    """A process that reads nothing at all loses its connection, and nobody else a frame."""
    count = 80  # more than the server and the sockets keep for a connection
    code = (
        "import asyncio, cvfeeder, sys\n"
        "async def main():\n"
        f"    async with cvfeeder.subscribe('cvf.t.stopped.>', servers={NATS!r}):\n"
        "        print('ready', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    times: list[datetime] = []
    longest = 0.0
    stopped = subprocess.Popen(  # noqa: ASYNC220, S603
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={"PYTHONPATH": "src"}
    )
    try:
        assert stopped.stdout is not None
        assert await asyncio.to_thread(stopped.stdout.readline) == b"ready\n"
        stopped.send_signal(signal.SIGSTOP)
        async with cvfeeder.subscribe("cvf.t.stopped.>", servers=NATS) as tensors:
            for i in range(0, count, 10):  # as fast as the other one reads
                took = await feed("stopped", 10, Slot=1767323045200 + 200 * i, **BIG)
                longest = max(longest, took["longest"])
                async with asyncio.timeout(20):
                    times += [(await tensors.get()).time for _ in range(10)]
    finally:
        stopped.kill()
        stopped.wait()
        if stopped.stdout:
            stopped.stdout.close()
    print(f"the longest publish took {longest:.3f} s")  # noqa: T201 - shown by pytest -s
    assert times == [FIRST + i * timedelta(milliseconds=200) for i in range(count)]
    assert tensors.skipped == 0
    # The publisher gives a connection up after 4 s; nothing comes near.
    assert longest < 2


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
