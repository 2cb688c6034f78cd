"""Tensors in memory that the processes of one host share, read where the feeder has made them.

A feeder with ``delivery.memory`` keeps tensors in a file of a memory file system, and publishes
where they are. `Reader` maps that file, and holds a tensor for as long as anything refers to its
array: by a lock that the kernel takes away when this process dies. What is held is not
overwritten. The Go package publish/memory describes the file.

`cvfeeder.subscribe` does all of this by itself. It works on Linux.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
import threading
import weakref
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

try:
    import fcntl

    _SET_LOCK = fcntl.F_OFD_SETLK
except (ImportError, AttributeError):  # not Linux
    _SET_LOCK = 0

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where feeders and consumers look if they are not told where.
DIRECTORY = "/dev/shm/cvfeeder"  # noqa: S108 - made by the feeder, and checked

#: The reasons of gaps in the place of tensors that cannot be read in memory.
OVERWRITTEN = "memory_overwritten"
UNREACHABLE = "memory_unreachable"

MAX_FILES = 8  # mapped at a time; a feeder has one, and another after each start
PAGE = 4096
HEADER = 64  # bytes of the header of a slot
MAGIC = b"CVFMEM01"
NUMBER = 64  # where the number of a file is in its first page

# The bits of a place in the file of the readers: see the Go package publish/memory, lane.go.
LAST_BITS, SUBJECT_BITS, NUMBER_BITS, SEQUENCE_BITS = 6, 18, 8, 30

_PLACE = re.compile(
    r"(cvf-[0-9a-z]{1,32}\.mem);([1-9]\d{0,17});([1-9]\d{0,17});([1-9]\d{0,19})", re.ASCII
)
_TOKEN = re.compile(r"[0-9a-z]{1,32}", re.ASCII)
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC | os.O_NONBLOCK


class MemoryLost(Exception):  # noqa: N818 - as a sentence
    """A tensor in memory cannot be read; reason is that of the gap in its place."""

    def __init__(self, reason: str, text: str) -> None:
        """Say why."""
        super().__init__(text)
        self.reason = reason


class Reader:
    """Reads what feeders have put into one directory. It may be used by several threads."""

    def __init__(self, directory: str | os.PathLike[str] = DIRECTORY) -> None:
        """Read in a directory, which need not exist yet."""
        self._directory = os.fspath(directory)
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def host(self) -> str:
        """Return the token that stands for the directory in subjects, "" if there is none."""
        if not _SET_LOCK:
            return ""
        try:
            self._check_directory()
            fd = _open(f"{self._directory}/readers")
        except (OSError, MemoryLost):
            return ""
        try:
            return _token(fd)
        finally:
            os.close(fd)

    def expect(self, subjects: Sequence[str]) -> Expected | None:
        """Say that whatever is published on subjects is expected here, until it is received.

        Call it before subscribing. A subject may be a pattern, of which only the last token
        counts: what is expected and does not come stays in the feeder's memory for a second, too.
        Returns None if there is no memory to read.
        """
        try:
            if not _SET_LOCK:
                return None
            self._check_directory()
            return Expected(f"{self._directory}/readers", subjects)
        except (OSError, MemoryLost):
            return None

    def sweep(self) -> bool:
        """Give up the files that were removed, and tell whether there were any.

        Their memory would stay allocated otherwise. What is held of them stays.
        """
        with self._lock:
            gone = [name for name, file in self._files.items() if file.removed()]
            for name in gone:
                del self._files[name]
        return bool(gone)

    def hold(self, place: str, expected: Expected | None = None, subject: str = "") -> memoryview:
        """Return the bytes of the tensor at a place, as the header Cvf-Memory names it.

        If it was expected on a subject, it is received then.

        They are read-only, and stay as they are until nothing refers to them any more: neither
        this memoryview nor an array, a tensor or a view that was made of it, in this process.
        Raises MemoryLost, and ValueError for what is no place.
        """
        if not (m := _PLACE.fullmatch(place)):
            raise ValueError(f"{place[:60]!r} is not a place in memory")
        name, (offset, length, generation) = m[1], (int(n) for n in m.groups()[1:])
        file = self._file(name)
        data = file.hold(offset, length, generation)
        if expected is not None:
            expected.received(subject, file.number, file.sequence(offset))
        return data

    def _file(self, name: str) -> _File:
        with self._lock:
            if self._pid != os.getpid():  # forked: the locks are the parent's
                self._files, self._pid = OrderedDict(), os.getpid()
            if name not in self._files:
                try:
                    self._check_directory()
                    self._files[name] = _File(f"{self._directory}/{name}")
                except OSError as err:
                    raise MemoryLost(UNREACHABLE, f"{name} cannot be read: {err}") from err
                if len(self._files) > MAX_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(name)
            return self._files[name]

    def _check_directory(self) -> None:
        mode = os.lstat(self._directory).st_mode
        if not stat.S_ISDIR(mode) or mode & stat.S_IWOTH:
            text = f"{self._directory} is not a directory, or everybody may write to it"
            raise MemoryLost(UNREACHABLE, text)


def _open(path: str) -> int:
    """Open a file that nobody but its owner can have written."""
    fd = os.open(path, _OPEN)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) or mode & stat.S_IWOTH:
        os.close(fd)
        raise MemoryLost(UNREACHABLE, f"{path} is not a file, or everybody may write to it")
    return fd


def _token(fd: int) -> str:
    """Return the token of a directory from the file of its readers."""
    text = os.read(fd, 64).decode("ascii", "replace").strip()
    return text if _TOKEN.fullmatch(text) else ""


def _hash(text: str, bits: int) -> int:
    return zlib.crc32(text.encode()) % (1 << bits)


def lanes(pattern: str) -> tuple[int, int]:
    """Return where the lanes of all subjects begin that a pattern stands for, and their length.

    A lane is where in the file of the readers the tensors of one subject in one file stand, one
    byte each. It may return more than needed.
    """
    bits = LAST_BITS + SUBJECT_BITS + NUMBER_BITS + SEQUENCE_BITS
    last = pattern.rpartition(".")[2]
    if last in {"*", ">"}:
        return 0, 1 << bits
    bits -= LAST_BITS
    start = _hash(last, LAST_BITS) << bits
    if "*" in pattern:
        return start, 1 << bits
    bits -= SUBJECT_BITS
    return start + (_hash(pattern, SUBJECT_BITS) << bits), 1 << bits


class Expected:
    """What a subscription has not received yet.

    Each tensor that is expected has a read lock on its byte in the file of the readers. The feeder
    only looks whether there is one, so a lock can keep it from overwriting a tensor, and never
    the other way round.
    """

    def __init__(self, path: str, subjects: Sequence[str]) -> None:
        """Expect everything; see `Reader.expect`."""
        self._path, self._subjects, self._pid = path, tuple(subjects), os.getpid()
        self._fd = _open(path)
        _open_files.add(self)
        self.close = weakref.finalize(self, _close, self._fd, self._pid)
        self.host = _token(self._fd)
        if not self.host:
            raise MemoryLost(UNREACHABLE, f"{path} is damaged")
        self.again()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def again(self) -> None:
        """Expect everything, whatever was received: numbers of files are used again."""
        for subject in self._subjects:
            self._set_lock(fcntl.F_RDLCK, *lanes(subject))

    def current(self) -> bool:
        """Tell whether the directory is still the same."""
        if self._pid != os.getpid():  # forked: the locks are the parent's
            return False
        try:
            there, mine = os.lstat(self._path), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(there, mine)

    def received(self, subject: str, number: int, sequence: int) -> None:
        """Say that a tensor is held. All before it on its subject have come, or will not."""
        if self._pid == os.getpid() and self.close.alive and 0 < sequence < 1 << SEQUENCE_BITS:
            start = lanes(subject)[0] + (number % (1 << NUMBER_BITS) << SEQUENCE_BITS)
            self._set_lock(fcntl.F_UNLCK, start, sequence + 1)

    def _set_lock(self, kind: int, start: int, length: int) -> None:
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(self._fd, _SET_LOCK, lock)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a feeder's file a tensor is that is held."""

    file: str  # its name
    size: int  # of the file, in bytes
    offset: int


def place_of(data: memoryview | bytes) -> Place | None:
    """Return where a tensor's memory is, None if it is this process's own."""
    if not len(data):
        return None
    at = np.frombuffer(data, np.uint8).ctypes.data
    for file in list(_open_files):
        if isinstance(file, _File) and (place := file.place_of(at)):
            return place
    return None


class _File:
    """A mapped file, whose slots are locked by way of one open file.

    That is another one than the mapping's: a mapping that a forked child inherits would keep
    the locks after the death of this process.
    """

    def __init__(self, path: str) -> None:
        self._name = Path(path).name
        self._pid = os.getpid()
        self._fd = _open(path)
        _open_files.add(self)
        weakref.finalize(self, _close, self._fd, self._pid)
        mapped = _open(path)
        try:
            self._size = os.fstat(mapped).st_size
            if not os.path.sameopenfile(mapped, self._fd) or self._size <= PAGE:
                raise MemoryLost(UNREACHABLE, f"{self._name} is not a feeder's file")
            self._memory = mmap.mmap(mapped, self._size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(mapped)
        self._slot, self._slots, self._data = struct.unpack_from("<QQQ", self._memory, 8)
        if (
            self._memory[: len(MAGIC)] != MAGIC
            or self._slot == 0
            or self._slot % PAGE
            or self._slots == 0
            or self._data != -(-(PAGE + self._slots * HEADER) // PAGE) * PAGE
            or self._data + self._slots * self._slot != self._size
        ):
            text = f"{self._name} is not a feeder's file, or of another version"
            raise MemoryLost(UNREACHABLE, text)
        (self.number,) = struct.unpack_from("<Q", self._memory, NUMBER)
        self._holds: dict[int, int] = {}  # by slot
        # What releases a tensor may run in the middle of anything, in the same thread.
        self._lock = threading.RLock()

    def fileno(self) -> int:
        return self._fd

    def place_of(self, at: int) -> Place | None:
        if self._pid != os.getpid():
            return None
        offset = at - np.frombuffer(self._memory, np.uint8, 1).ctypes.data
        return Place(self._name, self._size, offset) if 0 <= offset < self._size else None

    def removed(self) -> bool:
        return os.fstat(self._fd).st_nlink == 0

    def sequence(self, offset: int) -> int:
        """Return which tensor of its lane one is that is held."""
        at = PAGE + (offset - self._data) // self._slot * HEADER + 16
        sequence: int = struct.unpack_from("<Q", self._memory, at)[0]
        return sequence

    def hold(self, offset: int, length: int, generation: int) -> memoryview:
        slot, rest = divmod(offset - self._data, self._slot)
        if rest or not 0 <= slot < self._slots or length > self._slot:
            raise MemoryLost(UNREACHABLE, f"{offset} is outside of the slots of {self._name}")
        if os.fstat(self._fd).st_size != self._size:
            raise MemoryLost(UNREACHABLE, f"{self._name} has another length than before")
        with self._lock:
            self._holds[slot] = self._holds.get(slot, 0) + 1
            whole = self._holds[slot] > 1 or self._set_lock(slot, fcntl.F_RDLCK)
            header = struct.unpack_from("<QQ", self._memory, PAGE + slot * HEADER)
            if not whole or header != (generation, length):
                self._release(slot)
                text = "the memory has been used for another tensor since"
                raise MemoryLost(OVERWRITTEN, text)
        owner = np.frombuffer(self._memory, np.uint8, length, offset)
        weakref.finalize(owner, self._release, slot).atexit = False
        return owner.data

    def _release(self, slot: int) -> None:
        if self._pid != os.getpid():
            return
        with self._lock:
            self._holds[slot] -= 1
            if not self._holds[slot]:
                del self._holds[slot]
                self._set_lock(slot, fcntl.F_UNLCK)

    def _set_lock(self, slot: int, kind: int) -> bool:
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, PAGE + slot * HEADER, HEADER, 0)
        try:
            fcntl.fcntl(self._fd, _SET_LOCK, lock)
        except (BlockingIOError, PermissionError):
            return False
        return True


_open_files: weakref.WeakSet[_File | Expected] = weakref.WeakSet()


def _close(fd: int, pid: int) -> None:
    if pid == os.getpid():
        os.close(fd)


def _forked() -> None:
    """Close the files of the parent in a child, so that the parent's locks end with it."""
    for file in list(_open_files):
        os.close(file.fileno())
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
