"""Large payloads, which do not go through nats-py."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import random
import shutil
import ssl
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import numpy as np
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

import cvfeeder
from cvfeeder import _payload, _receive
from cvfeeder._payload import Tap
from cvfeeder._pool import ALIGNMENT, Pool
from support import GAP, HEADERS, NATS, NATS_SERVER, Server, needs_server, parts, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from nats.aio.msg import Msg

INFO = b'INFO {"max_payload":2000000,"headers":true,"proto":1}\r\n'
SIDE = 320
LARGE = HEADERS | {"Cvf-Shape": f"1,3,{SIDE},{SIDE}"}  # 1.2 MB


def large(fill: int) -> tuple[dict[str, str], bytes]:
    """Return a tensor of 1.2 MB whose bytes are all the same."""
    return LARGE | {"Nats-Msg-Id": str(fill)}, bytes([fill]) * (3 * SIDE * SIDE * 4)


class Scripted:
    """A server that waits for two subscriptions, and then sends what it was given."""

    def __init__(self, pieces: list[bytes]) -> None:
        """Prepare to send pieces, and to end the connection after them."""
        self.pieces = pieces
        self.pongs = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        subscribed = 0
        while subscribed < 2:
            line = await reader.readline()
            subscribed += line.startswith(b"SUB ")
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(3):  # turns of the loop, in which the client reads it
                await asyncio.sleep(0)
        writer.write_eof()
        rest = await reader.read()
        self.pongs = rest.count(b"PONG\r\n")
        writer.close()


class Seen:
    """What a client makes of a stream of bytes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.messages: dict[str, list[Any]] = {"1": [], "2": []}
        self.errors: list[str] = []
        self.pongs = 0
        self.stats: dict[str, int] = {}
        self.views = 0

    def take(self, msg: Msg) -> None:
        data: Any = msg.data
        self.views += isinstance(data, memoryview)
        of = self.messages[str(msg._sid)]  # noqa: SLF001
        of.append((msg.subject, msg.reply, msg.headers, bytes(data)))

    async def receive(self, msg: Msg) -> None:
        self.take(msg)

    async def error(self, err: Exception) -> None:
        self.errors.append(repr(err))


async def seen(pieces: list[bytes], *, tapped: bool) -> Seen:
    """Return what nats-py makes of pieces, with a tap or without."""
    script, result = Scripted(pieces), Seen()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    client, closed = Client(), asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    await client.connect(
        f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        allow_reconnect=False,
        error_cb=result.error,
        closed_cb=on_closed,
    )
    tap = Tap(client, Pool())
    if tapped:
        tap.start()
    subscriptions = [
        await client.subscribe(subject, cb=result.receive) for subject in ("cvf.t.a", "cvf.t.>")
    ]
    for subscription in subscriptions:
        tap.hand_to(subscription, result.take)
    async with asyncio.timeout(20):
        await closed.wait()
    result.pongs = script.pongs
    result.stats = {k: v for k, v in client.stats.items() if k.startswith("in_")}
    result.stats |= {s.subject: s.delivered for s in subscriptions}
    server.close()
    return result


def message(rng: random.Random) -> bytes:
    """Return something that a server sends."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice([b"PING\r\n", b"+OK\r\n", INFO, b"-ERR 'Permissions Violation'\r\n"])
    size = rng.choice([0, 1, 100, _payload.LARGE, rng.randrange(300_000), rng.randrange(1_000_000)])
    payload = rng.choice([rng.randbytes(size), b"HMSG a 1 5 9\r\n" * (size // 14)])
    sid = rng.choice(["1", "2", "2", "9"])  # nobody has subscribed to the last
    reply = rng.choice([b"", b" _INBOX.x.1"])
    if kind == 1:
        return b"MSG cvf.t.a %s%s %d\r\n%s\r\n" % (sid.encode(), reply, len(payload), payload)
    headers = rng.choice([HEADERS, HEADERS, HEADERS, GAP, {"A": "ü", "B": " b\t", "C": "c:d"}])
    extra = {} if rng.randrange(2) else {"Cvf-Note": "n" * rng.choice([10, 3000, 5000, 40_000])}
    status = rng.choice([b"", b"", b"", b" 100 Idle"])
    lines = "".join(f"{k}: {v}\r\n" for k, v in (headers | extra).items()).encode()
    block = b"NATS/1.0%s\r\n%s\r\n" % (status, lines)
    end = len(block) + len(payload)
    return b"HMSG cvf.t.%d %s%s %d %d\r\n%s%s\r\n" % (
        rng.randrange(3), sid.encode(), reply, len(block), end, block, payload,
    )  # fmt: skip


def cut(messages: list[bytes], rng: random.Random) -> list[bytes]:
    """Return the stream of messages in pieces of random sizes, many of which begin with one."""
    pieces: list[bytes] = []
    rest = b""
    for one in messages:
        rest += one
        while rest and rng.randrange(8):
            n = rng.randrange(1, rng.choice([50, 5000, 400_000, 400_000, 1_000_000]))
            pieces.append(rest[:n])
            rest = rest[n:]
    return [*pieces, rest]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("seed", range(6))
async def test_a_stream_is_the_same_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, seed: int, *, direct: bool
) -> None:
    rng = random.Random(seed)  # noqa: S311
    monkeypatch.setattr(_payload, "PAUSE", 1)
    if not direct:
        monkeypatch.delattr("os.readv")
    messages = [message(rng) for _ in range(80)]
    if seed % 3 == 0:
        messages[-1] = messages[-1][: rng.randrange(len(messages[-1]))]
    whole = await seen(cut(messages, rng), tapped=False)
    tapped = [await seen(cut(messages, rng), tapped=True) for _ in range(2)]
    assert len(whole.messages["1"]) + len(whole.messages["2"]) > 40
    for one in tapped:
        assert one.messages == whole.messages
        assert (one.pongs, one.errors, one.stats) == (whole.pongs, whole.errors, whole.stats)
    assert whole.views == 0
    assert sum(one.views for one in tapped) > 0


async def test_messages_back_to_back_are_all_received_without_nats_py() -> None:
    headers = "".join(f"{k}: {v}\r\n" for k, v in LARGE.items())
    block = f"NATS/1.0\r\n{headers}\r\n".encode()
    payloads = [bytes([i]) * 500_000 for i in range(20)]
    line = b"HMSG cvf.t.x 2 %d %d\r\n" % (len(block), len(block) + 500_000)
    stream = b"".join(line + block + p + b"\r\n" for p in payloads)
    got = await seen([stream], tapped=True)
    assert [data for *_, data in got.messages["2"]] == payloads
    assert got.views >= 19  # the first may come together with the end of the handshake


def headed(headers: bytes, payload: bytes) -> bytes:
    """Return a message for the second subscription."""
    line = b"HMSG cvf.t.x 2 %d %d\r\n" % (len(headers), len(headers) + len(payload))
    return line + headers + payload + b"\r\n"


TENSOR = b"NATS/1.0\r\nCvf-Dtype: FP32\r\n\r\n"


async def test_a_message_within_a_message_is_none() -> None:
    inner = headed(TENSOR, bytes(100_000))
    outer = headed(b"NATS/1.0\r\nA: b\r\n\r\n", inner)
    for last in (headed(TENSOR, b"\1" * 70_000), b""):
        begin = outer.index(inner)
        got = await seen([outer[:begin], outer[begin:], last], tapped=True)
        assert [data for *_, data in got.messages["2"]] == [inner, *[b"\1" * 70_000] * bool(last)]


@pytest.mark.parametrize("first", [b"NATS/1.0 100 Idle", b"NATS/1.0", b"NATS/1.0 503"])
async def test_a_status_is_read_as_nats_py_does(first: bytes) -> None:
    whole = headed(TENSOR.replace(b"NATS/1.0", first), bytes(100_000))
    tapped, not_tapped = [await seen([whole] * 3, tapped=tapped) for tapped in (True, False)]
    assert tapped.messages == not_tapped.messages
    assert tapped.stats == not_tapped.stats


async def test_messages_that_wait_come_first() -> None:
    """Those that nats-py has put into a subscription's queue."""
    pieces = [headed(TENSOR, b"%d" % i * (10, 100_000)[i % 3 == 2]) for i in range(9)]
    for cuts in (pieces, [b"".join(pieces)], [pieces[0] + pieces[1], b"".join(pieces[2:])]):
        got = await seen(cuts, tapped=True)
        assert [data[:1] for *_, data in got.messages["2"]] == [b"%d" % i for i in range(9)]


def test_the_queue_of_a_subscription_has_to_be_empty() -> None:
    client: Any = Client()
    tap = Tap(client, Pool())
    queue: asyncio.Queue[int] = asyncio.Queue()
    subscription: Any = Mock(_id=2, _pending_queue=queue)
    client._subs = {2: subscription}  # noqa: SLF001
    tap.hand_to(subscription, print)
    assert tap._is_next(2)  # noqa: SLF001
    assert not tap._is_next(1)  # noqa: SLF001
    queue.put_nowait(1)
    assert not tap._is_next(2)  # noqa: SLF001


async def test_a_size_that_the_server_does_not_allow_takes_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(Pool, "take", lambda _, size, extra: taken.append(size + extra))
    line = b"HMSG cvf.t.x 2 %d %d\r\n" % (len(TENSOR), 1 << 40)
    for before in (b"", b"PING\r\n"):
        got = await seen([before, line + TENSOR + bytes(10)], tapped=True)
        assert got.messages == {"1": [], "2": []}
    assert taken == []


async def test_what_a_reader_raises_goes_to_the_error_callback() -> None:
    whole = headed(TENSOR, bytes(100_000))

    def fail(*_: object) -> None:
        raise ValueError("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Seen, "take", fail)
        got = await seen([whole, whole], tapped=True)
    assert got.errors.count("ValueError('no')") == 2


def test_a_websocket_is_left_alone() -> None:
    tap = Tap(Client(), Pool())
    tap.start()  # the transport is none of TCP
    assert not tap._direct  # noqa: SLF001


@needs_server
async def test_a_large_array_is_aligned_read_only_and_its_own(client: Client) -> None:
    subject = "cvf.t.front-door.own"
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors, asyncio.timeout(30):
        arrays = []
        for i in range(12):
            await publish(client, subject, large(i))
            t = await tensors.get()
            assert isinstance(t.memory, memoryview)
            assert t.memory.readonly
            assert (t.payload, t.id) == (large(i)[1], str(i))
            arrays.append(t.array)
            del t
        for i, array in enumerate(arrays):
            assert array.ctypes.data % ALIGNMENT == 0
            assert not array.flags.writeable
            assert array.dtype == np.float32
            assert set(np.unique(array.view("u1"))) == {i}  # nothing was written over
        with pytest.raises(ValueError, match="read-only"):
            arrays[0][0, 0, 0, 0] = 1


@needs_server
async def test_memory_is_used_again_once_it_is_unused(client: Client) -> None:
    subject = "cvf.t.front-door.again"
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors, asyncio.timeout(30):

        async def places(keep: Callable[[cvfeeder.Tensor], object]) -> tuple[set[int], list[Any]]:
            kept, at = [], set()
            for i in range(10):
                await publish(client, subject, large(i))
                t = await tensors.get()
                kept.append(keep(t))
                at.add(t.array.ctypes.data)
                del t
                gc.collect()
            return at, kept

        at, _ = await places(lambda _: None)
        assert len(at) <= 2  # the one before may be in use while the next one comes
        at, views = await places(lambda t: t.array[0, 1, 5:7, ::3])
        assert len(at) == 10
        assert [set(np.unique(v.copy().view("u1"))) for v in views] == [{i} for i in range(10)]
        del views
        gc.collect()
        again, _ = await places(lambda _: None)
        assert again <= at
        at, capsules = await places(lambda t: t.__dlpack__(max_version=(1, 0)))
        assert len(at) == 10
        del capsules


@needs_server
async def test_small_ones_and_those_in_parts_are_aligned(client: Client) -> None:
    subject = "cvf.t.front-door.aligned"
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors, asyncio.timeout(30):
        await publish(client, subject, (HEADERS, bytes(range(96))), *parts(3))
        for _ in range(2):
            t = await tensors.get()
            assert t.payload == bytes(range(96))
            assert t.array.ctypes.data % ALIGNMENT == 0
            assert not t.array.flags.writeable


@needs_server
async def test_a_large_tensor_can_be_sent_to_another_process(client: Client) -> None:
    subject = "cvf.t.front-door.pickled"
    async with cvfeeder.subscribe(subject, servers=NATS) as tensors, asyncio.timeout(30):
        await publish(client, subject, large(7))
        t = await tensors.get()
    for other in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t), copy.copy(t)):  # noqa: S301
        assert (other.payload, other.time, other.affine) == (t.payload, t.time, t.affine)
        assert not np.shares_memory(other.array, t.array)


@needs_server
async def test_large_and_small_ones_keep_their_order(client: Client) -> None:
    subject = "cvf.t.front-door.mixed"
    rng = random.Random(4)  # noqa: S311
    kinds = [rng.randrange(3) for _ in range(60)]
    async with (
        cvfeeder.subscribe(subject, servers=NATS, gaps=True) as tensors,
        cvfeeder.subscribe("cvf.t.front-door.*", servers=NATS, gaps=True) as others,
        asyncio.timeout(30),
    ):
        for kind in kinds:
            one = [large(kind), (HEADERS, bytes(96)), (GAP, b"")][kind]
            await client.publish(subject, one[1], headers=one[0])
        for reader in (tensors, others):
            got = [await reader.get() for _ in kinds]
            found = [2 if isinstance(t, cvfeeder.Gap) else int(len(t.memory) == 96) for t in got]
            assert found == kinds


@needs_server
async def test_pull_reads_large_ones(client: Client) -> None:
    js = client.jetstream()
    await js.add_stream(StreamConfig(name="large", subjects=["cvf.t.large.*"]))
    try:
        for i in range(9):
            headers, data = large(i)
            await js.publish("cvf.t.large.x", data, headers=headers)
        async with cvfeeder.pull("large", durable="d", servers=NATS) as tensors:
            async with asyncio.timeout(30):
                for i in range(9):
                    t = await tensors.get()
                    assert isinstance(t.memory, memoryview)
                    assert t.payload == large(i)[1]
                    assert t.array.ctypes.data % ALIGNMENT == 0
                    await t.ack()
    finally:
        await js.delete_stream("large")


@needs_server
async def test_an_unknown_version_of_nats_py_reads_all_by_itself(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "3.1.4" if name == "nats-py" else version(name)
    )
    monkeypatch.setattr(_payload, "Tap", None)  # would be an error
    subject = "cvf.t.front-door.unknown"
    with caplog.at_level(logging.WARNING, "cvfeeder"):
        for i in range(2):
            async with cvfeeder.subscribe(subject, servers=NATS) as tensors, asyncio.timeout(30):
                await publish(client, subject, large(i))
                t = await tensors.get()
                assert t.payload == large(i)[1]
                assert t.array.ctypes.data % ALIGNMENT == 0
    told = [r.getMessage() for r in caplog.records if "3.1.4" in r.getMessage()]
    assert len(told) == 1
    assert _receive.KNOWN[0] in told[0]


def test_the_installed_version_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _receive.tap_of(Client(), Pool()) is not None
    monkeypatch.setenv("CVFEEDER_DIRECT_READS", "off")
    assert _receive.tap_of(Client(), Pool()) is None


async def test_a_connection_lost_within_a_payload_is_made_again() -> None:
    headers = "".join(f"{k}: {v}\r\n" for k, v in LARGE.items())
    block = f"NATS/1.0\r\n{headers}\r\n".encode()
    payload = large(3)[1]
    line = b"HMSG cvf.t.x 1 %d %d\r\n" % (len(block), len(block) + len(payload))
    whole = line + block + payload + b"\r\n"
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        writer.write(INFO)
        served += 1
        flushes = 0
        while flushes < 3 and (line := await reader.readline()):
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
                flushes += 1
        writer.write(whole[:-500_000] if served < 3 else whole)
        await writer.drain()
        await asyncio.sleep(0.05)
        if served < 3:
            writer.transport.abort() if served == 1 else writer.close()
            return
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(20), cvfeeder.subscribe(servers=url) as tensors:
        t = await tensors.get()
        assert t.payload == payload
        assert served == 3
    server.close()


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """Return the URL of a server with TLS, and what trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None or not NATS_SERVER:
        pytest.skip("needs openssl, for a certificate, and a nats-server")
    cert, key, home = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "tls"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=x"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *command.split(), *files], check=True, capture_output=True)  # noqa: ASYNC221, S603
    home.mkdir()
    server = Server(home, f'max_payload: 8MB, tls {{cert_file: "{cert}", key_file: "{key}"}}')
    yield server.url, ssl.create_default_context(cafile=cert)
    server.kill()


async def test_tls_is_decrypted_into_the_memory(secure: tuple[str, ssl.SSLContext]) -> None:
    url, context = secure
    publisher = Client()
    await publisher.connect(url, tls=context)
    async with (
        asyncio.timeout(30),
        cvfeeder.subscribe("cvf.t.>", servers=url, tls=context) as tensors,
    ):
        for i in range(20):
            await publish(publisher, "cvf.t.cam-1.detector", large(i))
            t = await tensors.get()
            assert isinstance(t.memory, memoryview)
            assert t.payload == large(i)[1]
            assert t.array.ctypes.data % ALIGNMENT == 0
    await publisher.close()
