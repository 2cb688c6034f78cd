"""Every wait ends: in a result, a timeout or the true error."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import multiprocessing
import pickle
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.api import StreamConfig

import cvfeeder
from cvfeeder import _connection
from support import HEADERS, NATS, PAYLOAD, needs_server, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client

pytestmark = needs_server
SUBJECT = "cvf.t.waits.detector"
READERS = ["subscribe", "pull"]


@pytest.fixture
async def stored(client: Client) -> AsyncIterator[Client]:
    config = StreamConfig(name="waits", subjects=["cvf.t.waits.*"])
    await client.jetstream().add_stream(config)
    yield client
    await client.jetstream().delete_stream("waits")


@pytest.fixture(autouse=True)
def _no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Giving back is given up after a while, which a busy machine may need more of.
    monkeypatch.setattr(_connection, "CLOSE", 15)
    yield
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "cvfeeder":
            thread.join(20)
            assert not thread.is_alive()


def make(kind: str, **options: Any) -> Any:
    if kind == "pull":
        return cvfeeder.pull("waits", durable="d", subject=SUBJECT, servers=NATS, **options)
    return cvfeeder.subscribe(SUBJECT, servers=NATS, **options)


async def send(client: Client, *names: str) -> None:
    await publish(client, SUBJECT, *((HEADERS | {"Nats-Msg-Id": n}, PAYLOAD) for n in names))


@pytest.mark.parametrize("kind", READERS)
async def test_a_get_ends_when_another_task_closes(stored: Client, kind: str) -> None:
    assert stored
    reader = make(kind)
    async with reader:
        waiting = [asyncio.create_task(reader.get()) for _ in range(3)]
        blocked = asyncio.create_task(asyncio.to_thread(reader.read))

        async def loop() -> str:
            async for _ in reader:
                pass
            return "ended"

        looping = asyncio.create_task(loop())
        await asyncio.sleep(0.1)
        await reader.aclose()
        async with asyncio.timeout(5):
            for task in (*waiting, blocked):
                with pytest.raises(cvfeeder.Closed, match="was closed"):
                    await task
            assert await looping == "ended"
    with pytest.raises(cvfeeder.Closed):
        await reader.get()
    with pytest.raises(cvfeeder.Closed):
        reader.read()


@pytest.mark.parametrize("kind", READERS)
async def test_a_second_loop_after_a_break(stored: Client, kind: str) -> None:
    reader, ids = make(kind), []

    async def keep_sending() -> None:
        for n in range(10_000):
            await send(stored, str(n))
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(keep_sending())
    async with asyncio.timeout(20):
        for _ in range(3):
            async for t in reader:
                ids.append(int(t.id))
                await t.ack()
                break
    sending.cancel()
    assert ids == sorted(ids)
    if kind == "pull":
        assert ids == [0, 1, 2]


@pytest.mark.parametrize("kind", READERS)
async def test_blocking_loops(stored: Client, kind: str) -> None:
    """In a thread, and where an event loop runs, as in a notebook."""
    if kind == "pull":
        await send(stored, *"abcdef")
    with make(kind) as reader:
        if kind == "subscribe":
            await send(stored, *"abcdef")
        ids = []
        for t in reader:
            ids.append(t.id)
            t.ack().result()
            if t.id == "b":
                break

        def rest() -> None:
            for t in reader:
                ids.append(t.id)
                t.ack()
                if t.id == "f":
                    return

        await asyncio.to_thread(rest)
        assert ids == list("abcdef")
        with pytest.raises(cvfeeder.ReadTimeout, match=r"nothing on cvf\.t\.waits\.det.*0\.05 s"):
            reader.read(0.05)
        with pytest.raises(TimeoutError):
            reader.read(0)
    with reader:  # again
        pass
    if kind == "pull":
        assert not (await stored.jetstream().consumer_info("waits", "d")).num_ack_pending


async def test_a_timeout_of_the_caller_is_its_own() -> None:
    async with make("subscribe") as reader:
        with pytest.raises(TimeoutError) as timeout:
            async with asyncio.timeout(0.05):
                await reader.get(10)
        assert not isinstance(timeout.value, cvfeeder.ReadTimeout)
        for _ in range(100):
            with pytest.raises(cvfeeder.ReadTimeout):
                await reader.get(0.001)
        assert not reader._source.mailbox._waiting  # noqa: SLF001 - they leave nothing


async def test_only_one_connection_is_opened() -> None:
    reader = make("subscribe")
    gets = [asyncio.create_task(reader.get(0.5)) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert sum(t.name == "cvfeeder" for t in threading.enumerate()) == 1
    with pytest.raises(cvfeeder.CvfeederError, match="open already"):
        reader.open()
    await asyncio.gather(*gets, return_exceptions=True)


async def test_acknowledging_after_the_end_is_an_error(stored: Client) -> None:
    await send(stored, "a")
    async with make("pull") as reader:
        t = await reader.get(10)
    with pytest.raises(cvfeeder.Closed, match="JetStream will deliver this again"):
        t.ack()


async def test_a_reader_that_nobody_holds_is_closed(stored: Client) -> None:
    await send(stored, "a", "b")
    reader = make("pull")
    await (await reader.get(10)).ack()
    thread = next(t for t in threading.enumerate() if t.name == "cvfeeder")
    del reader
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert (await make("pull").get(10)).id == "b"


async def test_what_was_not_read_is_given_back_when_python_ends(stored: Client) -> None:
    await send(stored, "a", "b")
    code = (
        "import cvfeeder\n"
        f"r = cvfeeder.pull('waits', durable='d', subject={SUBJECT!r}, servers={NATS!r})\n"
        "r.read(10).ack()\n"
    )
    run = [sys.executable, "-W", "error", "-c", code]
    done = await asyncio.to_thread(
        subprocess.run,
        run,
        check=True,
        env={"PYTHONPATH": "src"},
        timeout=20,
        capture_output=True,
    )
    assert done.stderr == b""
    assert (await make("pull").get(5)).id == "b"


@pytest.mark.parametrize("kind", READERS)
async def test_a_reader_goes_to_another_process(stored: Client, kind: str) -> None:
    reader = make(kind)
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301 - it is our own
    async with copy, asyncio.timeout(10):
        await send(stored, "a")
        assert (await copy.get()).id == "a"


async def test_a_reader_of_another_process_is_an_error(stored: Client) -> None:
    await send(stored, "a", "b")
    with make("pull") as reader:
        first = reader.read(10)
        context = multiprocessing.get_context("fork")
        errors = context.SimpleQueue()

        def child() -> None:
            for call in (lambda: reader.read(5), first.ack, reader.close):
                try:
                    call()
                except Exception as err:  # noqa: BLE001 - whatever it is
                    errors.put(str(err))
            errors.put("closed")

        process = context.Process(target=child)
        process.start()
        await asyncio.to_thread(process.join, 20)
        assert "opened in another process" in errors.get()
        assert "acknowledge a tensor in the process that has read it" in errors.get()
        assert errors.get() == "closed"
        assert reader.read(10).id == "b"  # it goes on here


async def test_a_pull_that_nobody_reads_is_not_called_silent(
    stored: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_connection, "QUIET", 0.1)
    asked = asyncio.Event()

    async def answer(_: Any) -> None:
        asked.set()

    await stored.subscribe("cvf.svc.streams", cb=answer)
    await stored.flush()
    with caplog.at_level(logging.WARNING, "cvfeeder"):
        async with make("pull"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked.wait(), 1)
        assert not caplog.records
        async with make("pull") as reader, asyncio.timeout(10):
            waiting = asyncio.create_task(reader.get())
            await asked.wait()
            while not caplog.records:
                await asyncio.sleep(0.01)
            waiting.cancel()
    assert "nothing on cvf.t.waits.detector" in caplog.text


@pytest.mark.parametrize(
    ("answers", "want"),
    [
        ([], "no cvfeeder answers on cvf.svc.streams"),
        (["cvf.t.a.detector", "cvf.t.b.detector"], "publishes cvf.t.a.detector, cvf.t.b.detector$"),
        ([f"cvf.t.{i}.x" for i in range(9)], "and 4 more$"),
        ([SUBJECT], f"publishes {SUBJECT}, so its cameras have no new frames"),
    ],
)
async def test_a_silent_subject_says_what_there_is(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answers: list[str],
    want: str,
) -> None:
    monkeypatch.setattr(_connection, "QUIET", 0.1)

    async def answer(msg: Any) -> None:
        streams = [{"stream": s, "outputs": [{"output": "x", "subject": s}]} for s in answers]
        await msg.respond(json.dumps(streams).encode())

    if answers:
        await client.subscribe("cvf.svc.streams", cb=answer)
        await client.flush()
    with caplog.at_level(logging.WARNING, "cvfeeder"):
        async with make("subscribe"), asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"nothing on {SUBJECT} within 0.1 s: ")
    assert re.search(want, record.getMessage())
