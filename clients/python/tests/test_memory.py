"""Tensors in memory: what is held stays, until nothing refers to it, whoever dies."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvfeeder
from cvfeeder import memory
from cvfeeder._payload import Tap
from cvfeeder._places import Places
from support import HEADERS, NATS, PAYLOAD, ask, needs_server

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

SLOT = 2 * memory.PAGE
SLOTS = 3
DATA = 2 * memory.PAGE  # where the slots begin
NUMBER = 7  # of the file
SUBJECT = "cvf.t.front-door.detector"


class Feeder:
    """A feeder's end of the memory, as the Go package publish/memory has it."""

    def __init__(self, directory: Path, name: str = "cvf-1.mem") -> None:
        self.directory, self.name = directory, name
        directory.mkdir(mode=0o750, exist_ok=True)
        (directory / "readers").write_text("abc1\n")
        content = bytearray(DATA + SLOTS * SLOT)
        struct.pack_into("<8sQQQ", content, 0, memory.MAGIC, SLOT, SLOTS, DATA)
        struct.pack_into("<Q", content, memory.NUMBER, NUMBER)
        self.path = directory / name
        self.path.write_bytes(content)
        self.path.chmod(0o640)
        self.fd = os.open(self.path, os.O_RDWR)
        self.generation = 0

    def lock(self, slot: int, kind: int = fcntl.F_WRLCK) -> bool:
        at = memory.PAGE + slot * memory.HEADER
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, at, memory.HEADER, 0)
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True

    def put(self, slot: int, data: bytes) -> str:
        """Write a tensor and return its place."""
        assert self.lock(slot), "the slot is held"
        self.generation += 1
        os.pwrite(self.fd, data, DATA + slot * SLOT)
        header = struct.pack("<QQQ", self.generation, len(data), self.generation)
        os.pwrite(self.fd, header, memory.PAGE + slot * memory.HEADER)
        self.lock(slot, fcntl.F_UNLCK)
        return f"{self.name};{DATA + slot * SLOT};{len(data)};{self.generation}"

    def expected(self, sequence: int, subject: str = SUBJECT) -> bool:
        """Tell whether anybody expects a tensor: the only one with that number on a subject."""
        at = memory.lanes(subject)[0] + (NUMBER << memory.SEQUENCE_BITS) + sequence
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0)
        with (self.directory / "readers").open("rb") as readers:
            answer = fcntl.fcntl(readers, fcntl.F_OFD_GETLK, lock)
        return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)

    def held(self, slot: int) -> bool:
        if not self.lock(slot):
            return True
        self.lock(slot, fcntl.F_UNLCK)
        return False


@pytest.fixture
def feeder(tmp_path: Path) -> Feeder:
    return Feeder(tmp_path / "memory")


def lost(reader: memory.Reader, place: str) -> str:
    with pytest.raises(memory.MemoryLost) as info:
        reader.hold(place)
    return info.value.reason


def test_a_tensor_is_held_while_anything_refers_to_it(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    assert reader.host() == "abc1"
    place = feeder.put(1, PAYLOAD)
    derived: list[Any] = [
        reader.hold(place),
        np.frombuffer(reader.hold(place), "<f4").reshape(1, 3, 2, 4)[0, 1:],
        np.frombuffer(reader.hold(place), "u1").data[5:],
        np.from_dlpack(np.frombuffer(reader.hold(place), "u1")),
    ]
    assert bytes(derived[0]) == PAYLOAD
    assert derived[0].readonly
    assert not derived[1].flags.writeable
    assert derived[1].ctypes.data % 4 == 0
    while derived:
        gc.collect()
        assert feeder.held(1)
        assert not feeder.held(0)
        assert not feeder.held(2)
        derived.pop()
    gc.collect()
    assert not feeder.held(1)


def test_a_message_gives_an_array_without_a_copy(feeder: Feeder) -> None:
    places = Places(os.fspath(feeder.directory))
    where = feeder.put(0, PAYLOAD)
    tensor = fetched(places, where)
    assert isinstance(tensor, cvfeeder.Tensor)
    assert tensor.subject == "cvf.t.front-door.detector"
    assert tensor.array.tobytes() == PAYLOAD
    assert tensor.array.ctypes.data % 64 == 0
    os.pwrite(feeder.fd, b"\xff", DATA)  # no feeder does that while it is held
    assert tensor.array.tobytes() != PAYLOAD
    array = tensor.array
    del tensor
    assert feeder.held(0)
    del array
    gc.collect()
    assert not feeder.held(0)


def fetched(places: Places, where: str) -> cvfeeder.Tensor | cvfeeder.Gap:
    from nats.aio.msg import Msg  # noqa: PLC0415 - of this only

    msg = Msg(
        _client=None,  # type: ignore[arg-type]
        subject="cvf.m.abc1.cvf.t.front-door.detector",
        headers=HEADERS | {"Cvf-Memory": where},
    )
    whole = places.fetch(msg)
    return cvfeeder.parse(whole.subject, whole.headers, whole.data)


def test_what_is_expected_is_known_to_the_feeder(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    assert not feeder.expected(1)
    expected = reader.expect([SUBJECT])
    assert expected is not None
    assert expected.host == "abc1"
    assert feeder.expected(1)
    assert not feeder.expected(1, "cvf.t.front-door.plain")
    first, second = feeder.put(0, PAYLOAD), feeder.put(1, PAYLOAD)
    held = reader.hold(first, expected, SUBJECT)
    assert [feeder.expected(n) for n in (1, 2)] == [False, True]
    del held
    reader.hold(second, expected, SUBJECT)
    assert [feeder.expected(n) for n in (1, 2, 3)] == [False, False, True]
    expected.again()
    assert feeder.expected(1)
    assert expected.current()
    expected.close()
    assert not feeder.expected(3)


def test_a_pattern_expects_what_it_may_stand_for(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    for pattern, other in (("cvf.t.*.detector", False), ("cvf.t.front-door.*", True)):
        expected = reader.expect([pattern])
        assert expected is not None
        assert feeder.expected(5)
        assert feeder.expected(5, "cvf.t.cam-1.plain") == other
        expected.close()


def test_lanes_are_those_of_the_feeder() -> None:
    # Go: publish/memory TestLanesOfOtherLanguages
    assert memory.lanes(SUBJECT) == (1869463336823816192, 274877906944)
    assert memory.lanes("cvf.t.*.detector") == (1801439850948198400, 72057594037927936)
    assert memory.lanes("cvf.t.>") == (0, 4611686018427387904)


def test_removed_files_are_given_up(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    held = reader.hold(feeder.put(0, PAYLOAD))
    assert not reader.sweep()
    feeder.path.unlink()
    assert reader.sweep()
    assert not reader.sweep()
    assert bytes(held) == PAYLOAD
    assert feeder.held(0)
    expected = reader.expect([SUBJECT])
    assert expected is not None
    (feeder.directory / "readers").unlink()
    assert not expected.current()
    assert reader.expect([SUBJECT]) is None


def test_what_came_too_late_is_a_gap(feeder: Feeder) -> None:
    places = Places(os.fspath(feeder.directory))
    where = feeder.put(0, PAYLOAD)
    feeder.put(0, PAYLOAD)
    gap = fetched(places, where)
    assert isinstance(gap, cvfeeder.Gap)
    assert (gap.reason, gap.slots, gap.start) == (memory.OVERWRITTEN, 1, gap.end)
    assert (gap.subject, gap.stream) == ("cvf.t.front-door.detector", "front-door")
    assert places.lost == 1
    assert not feeder.held(0)
    with pytest.raises(cvfeeder.InvalidMessage):
        fetched(places, "nonsense")


def test_a_slot_that_is_written_to_is_not_read(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    place = feeder.put(0, PAYLOAD)
    assert feeder.lock(0)
    assert lost(reader, place) == memory.OVERWRITTEN
    feeder.lock(0, fcntl.F_UNLCK)
    assert bytes(reader.hold(place)) == PAYLOAD


@pytest.mark.parametrize(
    "place",
    [
        *("", "cvf-1.mem", "../cvf-1.mem;8192;96;1", "cvf-1.mem;08192;96;1", "cvf-1.mem;8192;0;1"),
        *("cvf-1.mem;8192;96;1\n", "cvf-1.mem;-1;96;1", "host;8192;96;1", "cvf-1.mem;8192;96;1;1"),
    ],
)
def test_what_is_no_place(feeder: Feeder, place: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        memory.Reader(feeder.directory).hold(place)


def test_what_is_outside_or_not_a_feeders(feeder: Feeder) -> None:
    def read(place: str) -> str:
        return lost(memory.Reader(feeder.directory), place)

    place = feeder.put(0, PAYLOAD)
    for offset in (64, DATA + 1, DATA + SLOTS * SLOT, 10**17):
        assert read(f"cvf-1.mem;{offset};96;1") == memory.UNREACHABLE
    assert read(f"cvf-1.mem;{DATA};{SLOT + 1};1") == memory.UNREACHABLE
    assert read(place.replace("-1", "-2")) == memory.UNREACHABLE
    (feeder.directory / "cvf-2.mem").symlink_to(feeder.path)
    assert read(place.replace("-1", "-2")) == memory.UNREACHABLE
    os.mkfifo(feeder.directory / "cvf-3.mem")
    assert read(place.replace("-1", "-3")) == memory.UNREACHABLE
    whole = feeder.path.read_bytes()
    for name, content in (
        ("cvf-4.mem", whole[:-1]),
        ("cvf-5.mem", b""),
        ("cvf-6.mem", b"X" + whole[1:]),
        ("cvf-7.mem", whole[:8] + bytes(24) + whole[32:]),
        ("cvf-8.mem", whole[:8] + b"\xff" * 24 + whole[32:]),
    ):
        (feeder.directory / name).write_bytes(content)
        (feeder.directory / name).chmod(0o640)
        assert read(place.replace("cvf-1.mem", name)) == memory.UNREACHABLE
    feeder.path.chmod(0o646)
    assert read(place) == memory.UNREACHABLE
    feeder.path.chmod(0o640)
    feeder.directory.chmod(0o777)
    assert read(place) == memory.UNREACHABLE
    assert memory.Reader(feeder.directory).host() == ""


def test_a_truncated_file_is_an_error(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    place = feeder.put(0, PAYLOAD)
    assert bytes(reader.hold(place)) == PAYLOAD
    os.truncate(feeder.path, DATA)
    assert lost(reader, place) == memory.UNREACHABLE


HOLDER = r"""
import os, sys
from cvfeeder import memory
reader = memory.Reader(sys.argv[1])
expected = reader.expect(["cvf.t.>"])
held = reader.hold(sys.argv[2])
if sys.argv[3] == "fork" and os.fork() == 0:
    os.write(1, b"child %d\n" % os.getpid())
    sys.stdin.read()
    sys.exit()
os.write(1, b"parent %d\n" % os.getpid())
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_reader_holds_nothing(feeder: Feeder, how: str) -> None:
    place = feeder.put(0, PAYLOAD)
    with subprocess.Popen(  # noqa: S603 - of this file
        [sys.executable, "-c", HOLDER, os.fspath(feeder.directory), place, how],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2 if how == "fork" else 1)]
        pids = {who: int(pid) for who, pid in lines}
        assert feeder.held(0)
        assert feeder.expected(1)
        os.kill(pids["parent"], signal.SIGKILL)
        limit = time.monotonic() + 30
        while feeder.held(0) and time.monotonic() < limit:
            pass
        assert not feeder.held(0), "the lock is left over"
        assert not feeder.expected(1)
        if how == "fork":
            os.kill(pids["child"], 0)  # it lives, and holds nothing


def test_a_forked_child_leaves_the_parents_locks(feeder: Feeder) -> None:
    reader = memory.Reader(feeder.directory)
    held = reader.hold(feeder.put(0, PAYLOAD))
    child = os.fork()
    if child == 0:
        del held
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert feeder.held(0)
    assert bytes(held) == PAYLOAD
    del held
    gc.collect()
    assert not feeder.held(0)


async def until(reader: Any, way: str, more: int, expected: int) -> tuple[dict[str, Any], int]:
    """Publish and read tensors until more of them have gone one way; return what there is."""
    room = await ask("/memory", Stream="memory-1", Count=0)
    wanted, limit = room[way] + more, time.monotonic() + 30
    while room[way] < wanted:
        assert time.monotonic() < limit, f"tensors do not go {way}"
        room = await ask("/memory", Stream="memory-1", Count=1)
        tensor = await reader.get(timeout=30)
        assert isinstance(tensor, cvfeeder.Tensor)
        assert tensor.array.reshape(-1)[0] == expected % 256
        expected += 1
    held: int = (await ask("/memory", Stream="memory-1", Count=0))["Held"]
    assert held == (way == "InMemory")  # the last one, which is still here
    return room, expected


@needs_server
async def test_a_real_feeder_hands_over_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    past_nats_py: list[bool] = []
    hand = Tap._hand_place  # noqa: SLF001 - of this test

    def count(tap: Tap, data: memoryview) -> bool:
        past_nats_py.append(hand(tap, data))
        return past_nats_py[-1]

    monkeypatch.setattr(Tap, "_hand_place", count)
    room = await ask("/memory", Stream="memory-1", Count=0)
    subject = "cvf.t.memory-1.*"
    async with cvfeeder.subscribe(subject, servers=NATS, memory=room["Dir"], gaps=True) as near:
        room, expected = await until(near, "InMemory", 3, 0)
        assert sum(past_nats_py) >= 3
        # Somebody else wants payloads: both get all, in order.
        async with cvfeeder.subscribe(subject, servers=NATS, memory="off") as far:
            _, expected = await until(near, "AsPayload", 3, expected)
            assert (await far.get(timeout=30)).array.shape == (1, 100, 100, 1)
        _, expected = await until(near, "InMemory", 3, expected)
        assert near.lost == 0
        assert near.skipped == 0


@needs_server
async def test_a_jetstream_consumer_reads_memory(client: Client, feeder: Feeder) -> None:
    subject = "cvf.t.memory-2.detector"
    js = client.jetstream()
    await js.add_stream(name="MEMORY", subjects=[subject, f"cvf.m.*.{subject}"])
    directory = os.fspath(feeder.directory)
    headers = HEADERS | {"Nats-Msg-Id": "1"}
    tensors = cvfeeder.pull(
        "MEMORY", durable="near", subject=subject, servers=NATS, memory=directory
    )
    async with tensors:
        info = await js.consumer_info("MEMORY", "near")
        assert info.config.filter_subjects == [subject, f"cvf.m.abc1.{subject}"]
        places = f"cvf.m.abc1.{subject}"
        await js.publish(places, headers=headers | {"Cvf-Memory": feeder.put(0, PAYLOAD)})
        await js.publish(subject, PAYLOAD, headers=headers | {"Nats-Msg-Id": "2"})
        first, second = await tensors.get(timeout=30), await tensors.get(timeout=30)
        assert (first.id, second.id) == ("1", "2")
        assert first.array.tobytes() == second.array.tobytes() == PAYLOAD
        assert feeder.held(0)
        assert feeder.expected(feeder.generation + 1, subject)
        assert not feeder.expected(feeder.generation, subject)
        await first.ack()
        await second.ack()
        late = feeder.put(1, PAYLOAD)
        feeder.put(1, PAYLOAD)
        await js.publish(places, headers=headers | {"Cvf-Memory": late, "Nats-Msg-Id": "3"})
        await js.publish(subject, PAYLOAD, headers=headers | {"Nats-Msg-Id": "4"})
        assert (await tensors.get(timeout=30)).id == "4"  # without gaps, they are skipped
