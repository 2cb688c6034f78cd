"""Triton gets tensors in memory: against a server that does with regions what Triton does."""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import gc
import json
import mmap
import os
import shutil
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

import pytest

import cvfeeder
from cvfeeder import memory
from support import HEADERS, PAYLOAD
from test_memory import DATA, SLOT, SUBJECT, Feeder

if TYPE_CHECKING:
    from collections.abc import Iterator

SHM = Path("/dev/shm")  # noqa: S108 - where shm_open looks


class Triton(ThreadingHTTPServer):
    """Maps regions, and answers a request with the bytes of its input, as they are there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.regions: dict[str, mmap.mmap] = {}
        self.asked: list[str] = []
        self.refuses = False
        self.url = f"http://127.0.0.1:{self.server_port}"

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        # src/shared_memory_manager.cc: the key is that of shm_open, and the mapping is writable.
        if self.refuses or name in self.regions or not key.startswith("/") or "/" in key[1:]:
            raise ValueError(f"unable to open shared memory region {key!r}")
        fd = _posixshmem.shm_open(key, os.O_RDWR, 0o600)
        try:
            self.regions[name] = mmap.mmap(fd, byte_size, mmap.MAP_SHARED, offset=offset)
        finally:
            os.close(fd)

    def unregister(self, name: str) -> None:
        self.regions.pop(name).close()

    def infer(self, body: bytes, header: int) -> bytes:
        (given,) = json.loads(body[:header])["inputs"]
        where = given["parameters"]
        if (size := where.get("binary_data_size")) is not None:
            assert len(body) == header + size
            return body[header:]
        assert len(body) == header
        start, size = where["shared_memory_offset"], where["shared_memory_byte_size"]
        return self.regions[where["shared_memory_region"]][start : start + size]


class _Handler(BaseHTTPRequestHandler):
    server: Triton

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        *_, name, what = self.path.split("/")
        self.server.asked.append(what)
        answer, status = b"", 200
        try:
            if what == "infer":
                header = int(self.headers["Inference-Header-Content-Length"])
                answer = self.server.infer(body, header)
            elif what == "register":
                self.server.register(name, **json.loads(body))
            else:
                self.server.unregister(name)
        except (OSError, ValueError, KeyError) as err:
            answer, status = json.dumps({"error": str(err)}).encode(), 400
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
        """Say nothing."""


@pytest.fixture
def triton() -> Iterator[Triton]:
    with Triton() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def feeder() -> Iterator[Feeder]:
    """Have the file where shm_open finds it, as delivery.memory_writable does."""
    if not os.access(SHM, os.W_OK):
        pytest.skip("there is no /dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="cvfeeder-test", dir=SHM))
    name = f"cvf-{os.urandom(8).hex()}.mem"
    feeder = Feeder(directory, name)
    (SHM / name).hardlink_to(feeder.path)
    yield feeder
    (SHM / name).unlink()
    shutil.rmtree(directory)


def tensor(data: memoryview | bytes) -> cvfeeder.Tensor:
    made = cvfeeder.parse(SUBJECT, HEADERS, cast("bytes", data))
    assert isinstance(made, cvfeeder.Tensor)
    return made


def infer(triton: Triton, request: cvfeeder.InferRequest) -> bytes:
    import urllib.request  # noqa: PLC0415 - of this only

    post = urllib.request.Request(  # noqa: S310 - of this test
        triton.url + request.path, request.body(), request.headers, method="POST"
    )
    with urllib.request.urlopen(post, timeout=10) as answer:  # noqa: S310 - of this test
        data: bytes = answer.read()
    return data


def test_triton_reads_a_tensor_where_it_is(feeder: Feeder, triton: Triton) -> None:
    reader = memory.Reader(feeder.directory)
    with cvfeeder.triton.SharedMemory(triton.url) as shared:
        for slot in range(2):
            data = bytes([slot]) * len(PAYLOAD)
            t = tensor(reader.hold(feeder.put(slot, data)))
            request = t.to_oip("yolo", "images", shared=shared)
            assert len(request.buffers) == 1
            assert infer(triton, request) == data
            fields = request.grpc()
            assert fields["raw_input_contents"] == []
            (region,) = triton.regions
            assert fields["inputs"][0]["parameters"] == {
                "shared_memory_region": {"string_param": region},
                "shared_memory_offset": {"int64_param": DATA + slot * SLOT},
                "shared_memory_byte_size": {"int64_param": len(PAYLOAD)},
            }
        assert triton.asked == ["register", "infer", "infer"]  # a file is registered once
        del t
        gc.collect()
        assert feeder.held(1)  # by the request, until the answer has come
        del request
        gc.collect()
        assert not feeder.held(1)
    assert not triton.regions


def test_what_is_not_in_memory_is_sent(triton: Triton) -> None:
    with cvfeeder.triton.SharedMemory(triton.url) as shared:
        request = tensor(PAYLOAD).to_oip("yolo", "images", shared=shared)
        assert infer(triton, request) == PAYLOAD
    assert triton.asked == ["infer"]


def test_what_triton_refuses_is_sent(feeder: Feeder, triton: Triton) -> None:
    reader = memory.Reader(feeder.directory)
    triton.refuses = True
    with cvfeeder.triton.SharedMemory(triton.url) as shared:
        for slot in range(2):
            t = tensor(reader.hold(feeder.put(slot, PAYLOAD)))
            assert infer(triton, t.to_oip("yolo", "images", shared=shared)) == PAYLOAD
    assert triton.asked == ["register", "infer", "infer"]  # and not asked again at once


def test_what_is_no_triton() -> None:
    with pytest.raises(ValueError, match="URL of a Triton"):
        cvfeeder.triton.SharedMemory("127.0.0.1:8001")
