from __future__ import annotations

import gc
import random
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cvfeeder._pool import ALIGNMENT, Pool, is_aligned, owned

if TYPE_CHECKING:
    from collections.abc import Callable


def _address(memory: memoryview) -> int:
    address: int = np.frombuffer(memory, np.uint8).ctypes.data
    return address


def test_memory_is_aligned_and_used_again() -> None:
    pool = Pool()
    first = pool.take(5_000_000, 2)
    assert len(first) == 5_000_002
    at = _address(first)
    assert at % ALIGNMENT == 0
    second = pool.take(5_000_000, 2)
    assert _address(second) != at  # the first one is in use
    del first
    assert pool.idle >= 5_000_000
    assert _address(pool.take(5_000_001, 1)) == at
    assert _address(pool.take(400)) != at  # it is much smaller


@pytest.mark.parametrize("what", ["view", "slice", "array", "part", "cast", "dlpack", "weakref"])
def test_memory_is_kept_by_all_that_is_made_of_it(what: str) -> None:
    pool = Pool()
    memory = pool.take(1 << 20)
    memory[:] = b"a" * len(memory)
    array = np.frombuffer(memory.toreadonly(), "<f4").reshape(256, 1024)
    makers: dict[str, Callable[[Any, Any], Any]] = {
        "view": lambda m, _: m,
        "slice": lambda m, _: m[10:20].toreadonly(),
        "array": lambda _, a: a,
        "part": lambda _, a: a[3:, ::2].T,
        "cast": lambda m, _: m.cast("I"),
        "dlpack": lambda _, a: a.__dlpack__(max_version=(1, 0)),
        "weakref": lambda _, a: weakref.ref(a),
    }
    kept = makers[what](memory, array)
    del memory, array
    gc.collect()
    other = pool.take(1 << 20)
    other[:] = b"b" * len(other)
    if what == "weakref":  # it keeps nothing
        assert kept() is None
        assert pool.idle == 0
        return
    assert pool.idle == 0
    if isinstance(kept, memoryview | np.ndarray):
        assert kept.tobytes()[:8] == b"a" * 8
    del other
    before = pool.idle
    del kept
    gc.collect()
    assert pool.idle == 2 * before


def test_memory_in_a_cycle_comes_back() -> None:
    pool = Pool()
    cycle: list[object] = [pool.take(1 << 16)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pool.idle >= 1 << 16


def test_what_is_idle_is_bounded() -> None:
    pool = Pool(3 << 20)
    taken = [pool.take(1 << 20) for _ in range(10)]
    newest = _address(taken[-1])
    while taken:
        taken.pop(0)
        assert pool.idle <= 3 << 20
    assert pool.idle > 1 << 20
    assert _address(pool.take(1 << 20)) == newest  # those unused for longest were freed
    held = pool.take(1 << 20)
    pool.close()
    assert pool.idle == 0
    del held
    assert pool.idle == 0


def test_memory_comes_back_from_any_thread() -> None:
    pool = Pool(8 << 20)
    lists: list[list[memoryview]] = [[] for _ in range(4)]
    stop = threading.Event()

    def drop(some: list[memoryview]) -> None:
        while not stop.is_set() or some:
            if some:
                some.pop()

    threads = [threading.Thread(target=drop, args=[some]) for some in lists]
    for t in threads:
        t.start()
    for i in range(2000):
        memory = pool.take(100_000 + i % 5 * 30_000)
        memory[:8] = i.to_bytes(8, "little")
        other = pool.take(100_000)
        other[:8] = b"\xff" * 8
        assert memory[:8] == i.to_bytes(8, "little")
        lists[i % 4].append(other)
        del memory, other
    stop.set()
    for t in threads:
        t.join()
    assert 0 < pool.idle <= 8 << 20
    assert pool.idle == sum(map(len, pool._blocks))  # noqa: SLF001


def test_pieces_become_one() -> None:
    pool, rng = Pool(), random.Random(1)  # noqa: S311
    pieces: list[memoryview | bytes] = [rng.randbytes(n) for n in (1000, 0, 70_000)]
    whole = pool.joined(pieces)
    assert bytes(whole) == b"".join(pieces)
    assert is_aligned(whole)
    assert isinstance(whole, memoryview)
    assert whole.readonly
    assert pool.joined([whole]) is whole  # not a copy
    shifted = memoryview(bytearray(whole))[1:]
    assert is_aligned(pool.joined([shifted]))
    assert pool.joined([b""]) == b""


def test_any_memory_can_be_owned() -> None:
    released: list[str] = []
    shared = bytearray(b"0123456789")
    view = owned(memoryview(shared), 8, lambda: released.append("now"))
    array = np.frombuffer(view.toreadonly(), np.uint8)[2:]
    shared[3] = ord("x")
    assert array.tobytes() == b"2x4567"
    del view
    assert not released
    del array
    assert released == ["now"]
