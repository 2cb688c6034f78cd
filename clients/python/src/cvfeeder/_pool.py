"""Memory that is used again once nobody refers to it."""

from __future__ import annotations

import mmap
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
IDLE = 64 << 20  # bytes
_STEPS = 8  # sizes of blocks between one power of two and the next


def owned(memory: memoryview | mmap.mmap, size: int, released: Callable[[], object]) -> memoryview:
    """Return a view of the first size bytes of any memory, and call released when it is unused.

    It is unused when the view is gone, and with it all that was made from it: slices, NumPy
    arrays, DLPack capsules, tensors of PyTorch. released may be called in any thread, also
    by the garbage collector: it must neither block nor raise.
    """
    # Whatever uses the buffer of an array refers to the array. Nobody else has this one.
    owner = np.frombuffer(memory, np.uint8, size)
    use = _Use(owner, _end)
    use.released = released
    _uses.add(use)
    return memoryview(owner)  # type: ignore[arg-type] # an array has a buffer


class _Use(weakref.ref[object]):
    """What is left of an owner; weakref.finalize does the same and takes longer."""

    __slots__ = ("released",)
    released: Callable[[], object]

    __hash__ = object.__hash__
    __eq__ = object.__eq__


_uses: set[_Use] = set()  # or they would not be called


def _end(use: _Use) -> None:
    _uses.discard(use)
    use.released()


class Pool:
    """Blocks of memory that come back by themselves, for one thread that takes them.

    Fresh memory costs more than what is received into it: the kernel clears each page when
    it is first touched. The blocks that wait to be used again are bounded in bytes; those in
    use are bounded by whoever keeps them.
    """

    def __init__(self, limit: int = IDLE) -> None:
        """Keep at most limit bytes that are not in use."""
        self.idle = 0  # bytes that wait to be used again
        self._limit = limit
        self._blocks: list[mmap.mmap] = []  # those not in use, the longest unused first
        self._returned: deque[mmap.mmap] = deque()
        self._lock = threading.Lock()  # for what is above, but _returned

    def keep(self, limit: int) -> None:
        """Keep up to limit bytes from now on, if that is more than before."""
        self._limit = max(self._limit, limit)

    def take(self, size: int, extra: int = 0) -> memoryview:
        """Return size bytes that can be written to, aligned, with extra bytes behind them.

        Their content is undefined. They come back when the view, and all that was made from
        it, is gone.
        """
        wanted = _rounded(size + extra)
        with self._lock:
            block = self._pick(wanted)
        self._tidy()  # what came back meanwhile
        if block is None:
            block = mmap.mmap(-1, wanted)
        return owned(block, size + extra, lambda: self._give_back(block))

    def joined(self, pieces: Sequence[memoryview | bytes]) -> memoryview | bytes:
        """Return all pieces as one, aligned and read-only; one that is aligned as it is."""
        if len(pieces) == 1 and (not len(pieces[0]) or is_aligned(pieces[0])):
            return pieces[0]
        whole = self.take(sum(map(len, pieces)))
        at = 0
        for piece in pieces:
            whole[at : at + len(piece)] = piece
            at += len(piece)
        return whole.toreadonly()

    def close(self) -> None:
        """Keep nothing any more: what comes back is freed."""
        self._limit = 0
        self._tidy(always=True)

    def _pick(self, wanted: int) -> mmap.mmap | None:
        for i in reversed(range(len(self._blocks))):  # the warmest first
            if len(self._blocks[i]) == wanted:
                self.idle -= wanted
                return self._blocks.pop(i)
        return None

    def _give_back(self, block: mmap.mmap) -> None:
        self._returned.append(block)
        self._tidy()

    def _tidy(self, *, always: bool = False) -> None:
        """Keep what came back, as far as the limit allows.

        The garbage collector may call this within take, in the same thread, so it does not
        wait for the lock. Who holds it looks again afterwards.
        """
        while (self._returned or always) and self._lock.acquire(blocking=False):
            always = False
            try:
                while self._returned:
                    block = self._returned.popleft()
                    self._blocks.append(block)
                    self.idle += len(block)
                while self.idle > self._limit:
                    self.idle -= len(self._blocks.pop(0))
            finally:
                self._lock.release()


def is_aligned(memory: memoryview | bytes) -> bool:
    """Return whether memory begins at a multiple of ALIGNMENT."""
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address % ALIGNMENT == 0


def _rounded(size: int) -> int:
    """Return the size of the block for size bytes: tensors of about one size share blocks."""
    step = max(1 << (size.bit_length() - 1), mmap.PAGESIZE * _STEPS) // _STEPS
    return -(-size // step) * step
