from __future__ import annotations

import asyncio
import gc
import mmap
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

import cvfeeder
from cvfeeder import batches
from cvfeeder._places import Places
from cvfeeder.batches import FILLING, Assembly
from support import GAP, HEADERS, NATS, PAYLOAD, needs_server, publish
from test_memory import Feeder, fetched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nats.aio.client import Client

WITHIN = 0.5  # seconds


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def tensor(number: int = 0, stream: str = "front-door", **changes: str) -> cvfeeder.Tensor:
    """Return a tensor of UINT8 whose elements are all the number, unless they are changed."""
    headers = HEADERS | {"Cvf-Dtype": "UINT8", "Cvf-Shape": "1,3,2,4", "Cvf-Stream": stream}
    headers |= {f"Cvf-{name}": value for name, value in changes.items()}
    shape = [int(n) for n in headers["Cvf-Shape"].split(",")]
    item = cvfeeder.parse(f"cvf.t.{stream}.detector", headers, bytes([number]) * np.prod(shape))
    assert isinstance(item, cvfeeder.Tensor)
    return item


def gap(stream: str = "front-door") -> cvfeeder.Gap:
    item = cvfeeder.parse(f"cvf.t.{stream}.detector", GAP | {"Cvf-Stream": stream}, b"")
    assert isinstance(item, cvfeeder.Gap)
    return item


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ready(assembly: Assembly) -> Iterator[cvfeeder.Batch | cvfeeder.Gap]:
    while assembly.is_ready():
        yield assembly.take()


def batches_of(assembly: Assembly) -> list[list[int]]:
    """Return the numbers in each of the batches that are ready, and [] for a gap."""
    return [
        [int(t.array.flat[0]) for t in item.tensors] if isinstance(item, cvfeeder.Batch) else []
        for item in ready(assembly)
    ]


def one(*tensors: cvfeeder.Tensor) -> cvfeeder.Batch:
    """Return one batch of tensors."""
    assembly = Assembly(len(tensors), WITHIN)
    for t in tensors:
        assembly.add(t)
    (batch,) = ready(assembly)
    assert isinstance(batch, cvfeeder.Batch)
    return batch


def test_a_batch_is_full_or_due(clock: Clock) -> None:
    assembly = Assembly(3, WITHIN, clock)
    assert assembly.left() is None
    for n in range(3):
        assert batches_of(assembly) == []
        assembly.add(tensor(n))
    assert batches_of(assembly) == [[0, 1, 2]]
    assembly.add(tensor(3))
    clock.now += 0.3
    assembly.add(tensor(4))
    assert assembly.left() == pytest.approx(WITHIN - 0.3)  # since the first one
    clock.now += 0.19
    assert not assembly.is_ready()
    clock.now += 0.02
    assert assembly.left() == 0
    assert batches_of(assembly) == [[3, 4]]
    clock.now += 10
    assert batches_of(assembly) == []
    assert assembly.left() is None


def test_the_array_holds_the_rows() -> None:
    tensors = [tensor(n, f"cam-{n}", Affine=f"{n},0,0,0,1,0") for n in range(5)]
    batch = one(*tensors)
    assert len(batch) == 5
    assert batch.shape == batch.array.shape == (5, 3, 2, 4)
    np.testing.assert_array_equal(batch.array, np.concatenate([t.array for t in tensors]))
    assert bytes(batch.memory) == batch.array.tobytes()
    assert batch.array.ctypes.data % 64 == 0
    assert not batch.array.flags.writeable
    for row, (t, given) in enumerate(zip(batch.tensors, tensors, strict=True)):
        assert (t.stream, t.time, t.shape, t.affine) == (
            *(given.stream, given.time, given.shape),
            given.affine,
        )
        assert np.shares_memory(t.array, batch.array[row])
        assert not t.array.flags.writeable
        assert batch.to_source([2, 1], row).tolist() == [2 * row, 1]
        clipped = batch.to_source([2000, 5000], row, clip=True)
        assert clipped.tolist() == [min(2000 * row, 1920), 1080]
    for row in (5, -1):
        with pytest.raises(IndexError, match="no row"):
            batch.to_source([2, 1], row)


def test_a_batch_can_do_what_a_tensor_can() -> None:
    raw = {"Normalized": "false", "Scale": "0.1", "Mean": "0.5,0.25,0", "Std": "0.5,1,2"}
    tensors = [tensor(n * 10, **raw) for n in range(3)]
    batch = one(*tensors)
    want = np.concatenate([t.normalize() for t in tensors])
    np.testing.assert_array_equal(batch.normalize(), want)
    assert np.shares_memory(np.from_dlpack(batch), batch.array)
    assert batch.__dlpack_device__()[0] == 1
    again: cvfeeder.Batch = pickle.loads(pickle.dumps(batch))  # noqa: S301 - made here
    np.testing.assert_array_equal(again.array, batch.array)
    assert [t.id for t in again.tensors] == [t.id for t in tensors]
    assert np.shares_memory(again.tensors[1].array, again.array)


def test_other_shapes_and_specs_have_batches_of_their_own(clock: Clock) -> None:
    assembly = Assembly(2, WITHIN, clock)
    assembly.add(tensor(1, "a"))
    assembly.add(tensor(2, "b", Shape="1,3,4,4"))
    clock.now += 0.1
    assembly.add(tensor(3, "c", Spec="other"))
    assembly.add(tensor(4, "d", Output="other"))
    assembly.add(tensor(5, "e", Mean="0,0,0"))
    assert batches_of(assembly) == []
    assembly.add(tensor(6, "f", Shape="1,3,4,4"))
    assembly.add(tensor(7, "g"))
    assert batches_of(assembly) == [[2, 6], [1, 7]]
    clock.now += WITHIN
    assert batches_of(assembly) == [[3], [4], [5]]


def test_a_subject_stays_in_order(clock: Clock) -> None:
    """A camera that changes its size ends the batch with what it sent before."""
    assembly = Assembly(3, WITHIN, clock)
    assembly.add(tensor(1, "a"))
    assembly.add(tensor(2, "b", Shape="1,3,4,4"))
    assembly.add(tensor(3, "a", Shape="1,3,4,4"))
    assert batches_of(assembly) == [[1]]
    assembly.add(tensor(4, "a", Shape="1,3,4,4"))
    assert batches_of(assembly) == [[2, 3, 4]]


def test_what_is_filled_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = Assembly(2, WITHIN, clock)
    for n in range(FILLING + 2):
        assembly.add(tensor(n, f"cam-{n}", Shape=f"1,3,{n + 1},1"))
    assert batches_of(assembly) == [[0], [1]]
    monkeypatch.setattr(batches, "MAX_BYTES", 60)  # two of 24 bytes
    assembly = Assembly(100, WITHIN, clock)
    for n in range(3):
        assembly.add(tensor(n))
    assert batches_of(assembly) == [[0, 1]]
    assembly = Assembly(100, WITHIN, clock)
    assembly.add(tensor(9, Shape="1,3,5,5"))  # more than that
    assert batches_of(assembly) == [[9]]


def test_gaps_keep_their_place_in_the_stream(clock: Clock) -> None:
    assembly = Assembly(3, WITHIN, clock)
    assembly.add(tensor(1, "a"))
    assembly.add(gap("b"))
    assembly.add(tensor(2, "b"))
    assert batches_of(assembly) == [[]]  # no tensor of b waits
    assembly.add(gap("b"))
    assembly.add(tensor(3, "b"))
    assert batches_of(assembly) == [[1, 2], []]


def test_errors_come_after_what_was_read(clock: Clock) -> None:
    assembly = Assembly(3, WITHIN, clock)
    assembly.add(tensor(1))
    assembly.fail(cvfeeder.SpecMismatch("changed"))
    assembly.add(tensor(2))
    assert assembly.is_ready()
    assert len(assembly.take().tensors) == 1  # type: ignore[union-attr]
    with pytest.raises(cvfeeder.SpecMismatch):
        assembly.take()
    clock.now += WITHIN
    assert batches_of(assembly) == [[2]]


def test_memory_is_used_again_when_nothing_refers_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = mmap.mmap

    def counted(fd: int, size: int) -> mmap.mmap:
        made.append(size)
        return real(fd, size)

    monkeypatch.setattr("cvfeeder._pool.mmap.mmap", counted)
    assembly = Assembly(2, WITHIN)
    kept: list[Any] = []
    batch = None
    for n in range(0, 40, 2):
        for number in (n, n + 1):  # the batch before is still here
            assembly.add(tensor(number, Shape="1,3,300,300"))
        (batch,) = ready(assembly)
        assert isinstance(batch, cvfeeder.Batch)
        if n == 10:
            kept = [batch.tensors[1], batch.array[0, 1:], np.from_dlpack(batch)]
    assert len(made) == 3  # the one that is kept, and two that take turns
    while kept:
        values = kept[-1].array if isinstance(kept[-1], cvfeeder.Tensor) else kept[-1]
        assert set(np.unique(values)) <= {10, 11}
        kept.pop()
    del values
    gc.collect()
    for n in range(20):
        assembly.add(tensor(n, Shape="1,3,300,300"))
        batches_of(assembly)
    assert len(made) == 3


def test_large_blocks_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvfeeder._pool.IDLE", 0)
    assembly = Assembly(1, WITHIN)
    assembly._pool._limit = 0  # noqa: SLF001 - as if a batch had more than is kept otherwise
    addresses = set()
    for n in range(5):
        assembly.add(tensor(n))
        (batch,) = ready(assembly)
        assert isinstance(batch, cvfeeder.Batch)
        addresses.add(batch.array.ctypes.data)
        del batch
    assert len(addresses) == 1


def test_a_slot_in_shared_memory_is_released_at_once(tmp_path: Path) -> None:
    feeder = Feeder(tmp_path / "memory")
    places = Places(str(feeder.directory))
    assembly = Assembly(2, WITHIN)
    for slot in range(2):
        t = fetched(places, feeder.put(slot, PAYLOAD))
        assert feeder.held(slot)
        assembly.add(t)
        del t
        gc.collect()
        assert not feeder.held(slot)
    (batch,) = ready(assembly)
    assert isinstance(batch, cvfeeder.Batch)
    assert batch.array.tobytes() == 2 * PAYLOAD


@pytest.mark.parametrize(
    ("size", "within"), [(0, 1), (-1, 1), (2.5, 1), (1, -1), (1, float("nan")), (1, "x")]
)
def test_wrong_options(size: Any, within: Any) -> None:
    reader = cvfeeder.subscribe("cvf.t.>")
    with pytest.raises(ValueError, match="batched: "):
        cvfeeder.batched(reader, size, within)


def numbered(stream: str, *numbers: int) -> list[tuple[dict[str, str], bytes]]:
    headers = HEADERS | {"Cvf-Dtype": "UINT8", "Cvf-Stream": stream}
    return [(headers | {"Nats-Msg-Id": f"{stream}/{n}"}, bytes([n]) * 24) for n in numbers]


@needs_server
async def test_batches_of_a_subscription(client: Client) -> None:
    def block(reader: cvfeeder.Subscription[cvfeeder.Tensor]) -> list[int]:
        loop = iter(cvfeeder.batched(reader, 4, WITHIN))
        return [len(next(loop)) for _ in range(3)]

    subject = "cvf.t.batch-1.detector"
    with cvfeeder.subscribe(subject, servers=NATS) as reader:
        await publish(client, subject, *numbered("batch-1", *range(10)))
        assert await asyncio.to_thread(block, reader) == [4, 4, 2]
        waiting = asyncio.create_task(anext(aiter(cvfeeder.batched(reader, 2, within=30))))
        await publish(client, subject, *numbered("batch-1", 10, 11))
        batch = await asyncio.wait_for(waiting, 20)  # at once, as it is full
        assert batch.array[:, 0, 0, 0].tolist() == [10, 11]
        loop = aiter(cvfeeder.batched(reader, 3, within=30))
        await publish(client, subject, *numbered("batch-1", 12))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(loop), 0.2)
        await publish(client, subject, *numbered("batch-1", 13))
        waiting = asyncio.create_task(anext(loop))
        await asyncio.sleep(0.1)
        await reader.aclose()
        batch = await asyncio.wait_for(waiting, 20)  # what was cancelled lost nothing
        assert batch.array[:, 0, 0, 0].tolist() == [12, 13]
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(loop)


@needs_server
async def test_a_batch_ends_before_a_spec_that_is_not_expected(client: Client) -> None:
    subject = "cvf.t.batch-2.detector"
    async with cvfeeder.subscribe(subject, servers=NATS, expect_spec="3f2a") as reader:
        good, bad = numbered("batch-2", 1, 2)
        await publish(client, subject, good, (bad[0] | {"Cvf-Spec": "other"}, bad[1]))
        loop = aiter(cvfeeder.batched(reader, within=30))
        async with asyncio.timeout(20):
            assert len(await anext(loop)) == 1
            with pytest.raises(cvfeeder.SpecMismatch, match="other"):
                await anext(loop)


@needs_server
async def test_batches_of_jetstream(client: Client) -> None:
    name, subject = "BATCHES", "cvf.t.batch-3.detector"
    js = client.jetstream()
    await js.add_stream(
        StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.MEMORY,
        )
    )
    other = HEADERS | {"Nats-Msg-Id": "batch-3/other"}
    inline = GAP | {"Cvf-Stream": "batch-3"}
    for headers, data in [*numbered("batch-3", *range(6)), (other, PAYLOAD), (inline, b"")]:
        await js.publish(subject, data, headers=headers)

    async def left(count: int) -> None:
        async with asyncio.timeout(10):
            while (await js.stream_info(name)).state.messages != count:
                await asyncio.sleep(0.01)

    seen = []
    async with cvfeeder.pull(name, durable="d", subject=subject, servers=NATS, gaps=True) as reader:
        async for item in cvfeeder.batched(reader, 4, within=30):
            if isinstance(item, cvfeeder.Gap):
                seen.append("gap")
                await item.ack()
                break
            seen.append(item.array[:, 0, 0, 0].tolist())
            await item.ack()
            await left(4 if len(seen) == 1 else 2)
    assert seen == [[0, 1, 2, 3], [4, 5], "gap"]
    # What had been read for another batch comes again at once.
    async with (
        cvfeeder.pull(name, durable="d", subject=subject, servers=NATS) as reader,
        asyncio.timeout(10),
    ):
        loop = aiter(cvfeeder.batched(reader, 2, within=0))
        batch = await anext(loop)
        assert batch.tensors[0].id == "batch-3/other"
        batch.nak().result()
        batch = await anext(loop)
        batch.in_progress().result()
        batch.ack().result()
        await left(0)
    await js.delete_stream(name)
