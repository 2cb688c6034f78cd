"""Readers of a real server that is killed, stopped, restarted empty, firewalled, or denies."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import nats
import pytest
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

import cvfeeder
from cvfeeder import _connection, pulling
from support import HEADERS, NATS_SERVER, PAYLOAD, Proxy, Server, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from nats.aio.client import Client

pytestmark = pytest.mark.skipif(
    not NATS_SERVER, reason="needs the nats-server that `go test ./internal/clients` builds"
)
SUBJECT = "cvf.t.cam-1.detector"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice within a second what takes up to fifteen otherwise."""
    monkeypatch.setattr(_connection, "PING", 0.3)
    monkeypatch.setattr(_connection, "ATTEMPT", 1)
    monkeypatch.setattr(_connection, "RETRY", 0.1)
    monkeypatch.setattr(pulling, "RETRY", 0.1)
    monkeypatch.setattr(pulling, "HEARTBEAT", 0.3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.go_on()
    one.kill()


@contextlib.asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[Client]:
    client = await nats.connect(server.url, **options)
    try:
        yield client
    finally:
        await client.close()


async def make_stream(client: Client, **config: Any) -> None:
    await client.jetstream().add_stream(
        StreamConfig(name="cvfeeder", subjects=["cvf.t.*.*"], **config)
    )


async def send(server: Server, name: str, *, stream: bool) -> None:
    """Publish a tensor, into the stream if there is to be one, which is made if it is missing."""
    async with connected(server) as client:
        headers = HEADERS | {"Nats-Msg-Id": name}
        if stream:
            with contextlib.suppress(nats.js.errors.Error):
                await make_stream(client)
            await client.jetstream().publish(SUBJECT, PAYLOAD, headers=headers)
        else:
            await client.publish(SUBJECT, PAYLOAD, headers=headers)
            await client.flush()


async def lost(reader: Any) -> None:
    """Wait until a reader knows that its connection is lost."""
    trouble = ""
    async with asyncio.timeout(10):
        while "not connected" not in trouble:
            with pytest.raises(cvfeeder.ReadTimeout) as timeout:
                await reader.get(0.05)
            trouble = str(timeout.value)


@contextlib.asynccontextmanager
async def killed(server: Server, _: Proxy) -> AsyncIterator[None]:
    server.kill()
    yield
    server.start()


@contextlib.asynccontextmanager
async def stopped(server: Server, _: Proxy) -> AsyncIterator[None]:
    server.stop()
    yield
    server.go_on()


@contextlib.asynccontextmanager
async def emptied(server: Server, _: Proxy) -> AsyncIterator[None]:
    server.wipe()
    yield
    server.start()


@contextlib.asynccontextmanager
async def firewalled(_: Server, proxy: Proxy) -> AsyncIterator[None]:
    proxy.dropping = True
    yield
    proxy.dropping = False


FAULTS = [killed, stopped, emptied, firewalled]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["subscribe", "pull"])
async def test_a_reader_survives(server: Server, kind: str, fault: Any) -> None:
    """It is polled with a short timeout, as loops that gather a batch do."""
    pulled = kind == "pull"
    if pulled:
        await send(server, "first", stream=True)
    async with Proxy(server.port) as proxy:
        reader: cvfeeder.Subscription[cvfeeder.Tensor] | cvfeeder.Pull[cvfeeder.Tensor] = (
            cvfeeder.pull(durable="d", servers=proxy.url)
            if pulled
            else cvfeeder.subscribe(servers=proxy.url)
        )
        async with reader:
            if not pulled:
                await send(server, "first", stream=False)
            first = await reader.get(10)
            assert first.id == "first"
            await first.ack()
            async with fault(server, proxy):
                await lost(reader)
            async with asyncio.timeout(20):
                for n in range(1000):
                    await send(server, f"again {n}", stream=pulled)
                    with contextlib.suppress(TimeoutError):
                        again = await reader.get(0.2)
                        if again.id.startswith("again"):
                            await again.ack()
                            break


async def test_a_lost_request_is_made_again_between_short_gets(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stays, but JetStream does not have the request."""
    monkeypatch.setattr(_connection, "PING", 30)
    await send(server, "first", stream=True)
    async with (
        Proxy(server.port) as proxy,
        cvfeeder.pull(durable="d", batch=1, servers=proxy.url) as tensors,
        asyncio.timeout(20),
    ):
        await (await tensors.get()).ack()
        proxy.dropping = True
        with pytest.raises(TimeoutError):
            await tensors.get(0.2)
        proxy.dropping = False
        await send(server, "second", stream=True)
        got = None
        while got is None:
            with contextlib.suppress(TimeoutError):
                got = await tensors.get(0.05)
        assert (got.id, proxy.connections) == ("second", 1)


async def test_a_rolling_restart_is_survived(server: Server) -> None:
    await send(server, "first", stream=True)
    async with cvfeeder.pull(durable="d", servers=server.url) as tensors, asyncio.timeout(20):
        await (await tensors.get()).ack()
        waiting = asyncio.create_task(tensors.get())
        await asyncio.sleep(0)
        await asyncio.to_thread(server.shut_down)  # JetStream answers 409 Server Shutdown
        await asyncio.to_thread(server.start)
        await send(server, "second", stream=True)
        assert (await waiting).id == "second"


async def test_another_server_of_the_cluster_takes_over(tmp_path: Path) -> None:
    """The reader knows only the one that is killed, and its login is in the URL."""
    routes = [free_port(), free_port()]
    servers = []
    for i, route in enumerate(routes):
        (tmp_path / str(i)).mkdir()
        config = (
            f"jetstream: false\nserver_name: n{i}\nauthorization {{user: u, password: pw}}\n"
            f'cluster {{name: c, listen: "127.0.0.1:{route}",'
            f' routes: ["nats://127.0.0.1:{routes[1 - i]}"]}}'
        )
        servers.append(Server(tmp_path / str(i), config))
    one, two = servers
    login = {"user": "u", "password": "pw"}
    try:
        async with asyncio.timeout(20):
            client = await nats.connect(one.url, **login)
            while not client.discovered_servers:  # until the cluster has formed
                await client.close()
                client = await nats.connect(one.url, **login)
            await client.close()
            url = one.url.replace("//", "//u:pw@")
            async with cvfeeder.subscribe(servers=url) as tensors, connected(two, **login) as other:
                one.kill()
                got = None
                while got is None:
                    await other.publish(SUBJECT, PAYLOAD, headers=HEADERS)
                    with contextlib.suppress(TimeoutError):
                        got = await tensors.get(0.1)
    finally:
        for server in servers:
            server.kill()


async def test_a_stream_that_stays_away_is_an_error(server: Server) -> None:
    await send(server, "first", stream=True)
    reader = cvfeeder.pull(durable="d", servers=server.url, connect_timeout=0.5)
    async with reader as tensors, asyncio.timeout(20):
        await (await tensors.get()).ack()
        server.wipe()
        await asyncio.to_thread(server.start)
        with pytest.raises(cvfeeder.CvfeederError, match="there is no JetStream stream 'cvfeeder'"):
            await tensors.get()


async def test_acknowledgements_wait_for_the_server(server: Server) -> None:
    await send(server, "first", stream=True)
    async with cvfeeder.pull(durable="d", servers=server.url) as tensors, asyncio.timeout(20):
        first = await tensors.get()
        server.kill()
        await lost(tensors)
        await first.ack()
        await asyncio.to_thread(server.start)
        async with connected(server) as client:
            while (await client.jetstream().consumer_info("cvfeeder", "d")).num_ack_pending:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("left", ["closed", "async break", "break", "collected"])
async def test_what_was_not_read_is_given_back_in_order(
    server: Server, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "CLOSE", 15)  # for a busy machine
    async with connected(server) as client:
        await make_stream(client)
        for n in range(6):
            headers = HEADERS | {"Nats-Msg-Id": str(n)}
            await client.jetstream().publish(SUBJECT, PAYLOAD, headers=headers)
    tensors = cvfeeder.pull(durable="d", servers=server.url)
    if left == "closed":
        async with tensors:
            await (await tensors.get()).ack()
    elif left == "async break":
        async for t in tensors:
            await t.ack()
            break
    elif left == "break":
        for t in tensors:
            t.ack()
            break
    else:
        tensors.read(10).ack()
        del tensors
    for thread in threading.enumerate():  # it closes in the background
        if thread.name == "cvfeeder":
            await asyncio.to_thread(thread.join, 20)
    started = time.monotonic()
    async with cvfeeder.pull(durable="d", servers=server.url) as others:
        assert [(await others.get(10)).id for _ in range(5)] == ["1", "2", "3", "4", "5"]
    assert time.monotonic() - started < 20  # not after the wait for an acknowledgement


async def test_parts_that_were_not_read_are_given_back(server: Server) -> None:
    async with connected(server) as client:
        await make_stream(client)
        half = len(PAYLOAD) // 2
        first, second = HEADERS | {"Cvf-Chunk": "1/2"}, HEADERS | {"Cvf-Chunk": "2/2"}
        js = client.jetstream()
        await js.publish(SUBJECT, PAYLOAD[:half], headers=first | {"Nats-Msg-Id": "a/1/2"})
        async with cvfeeder.pull(durable="d", servers=server.url) as tensors:
            with pytest.raises(TimeoutError):
                await tensors.get(0.5)
        await js.publish(SUBJECT, PAYLOAD[half:], headers=second | {"Nats-Msg-Id": "a/2/2"})
        async with cvfeeder.pull(durable="d", servers=server.url) as tensors:
            assert (await tensors.get(10)).payload == PAYLOAD


@pytest.mark.parametrize("fault", [killed, stopped, firewalled])
@pytest.mark.parametrize("kind", ["subscribe", "pull"])
async def test_closing_does_not_wait_for_a_server(server: Server, kind: str, fault: Any) -> None:
    async with Proxy(server.port) as proxy:
        if kind == "pull":
            await send(server, "first", stream=True)
            await send(server, "second", stream=True)
            reader: Any = cvfeeder.pull(durable="d", servers=proxy.url)
        else:
            reader = cvfeeder.subscribe(servers=proxy.url)
        await reader.__aenter__()
        if kind == "pull":
            await reader.get(10)
        async with fault(server, proxy):
            started = time.monotonic()
            await reader.aclose()
            assert time.monotonic() - started < 5
    assert not any(t.name == "cvfeeder" for t in threading.enumerate())


async def test_a_server_that_is_not_there_or_silent_is_an_error(server: Server) -> None:
    server.stop()
    for port in (1, server.port):
        reader = cvfeeder.subscribe(servers=f"nats://a:b@127.0.0.1:{port}", connect_timeout=0.3)
        async with asyncio.timeout(10):
            with pytest.raises(cvfeeder.CvfeederError, match=r"start it.*or pass the right") as err:
                await reader.get()
        assert "a:b" not in str(err.value)


async def test_no_jetstream_is_an_error(server: Server, tmp_path: Path) -> None:
    with pytest.raises(cvfeeder.CvfeederError, match="there is no JetStream stream 'cvfeeder'"):
        await cvfeeder.pull(durable="d", servers=server.url).get(10)
    (tmp_path / "plain").mkdir()
    plain = Server(tmp_path / "plain", "jetstream: false")
    try:
        with pytest.raises(cvfeeder.CvfeederError, match=r"no JetStream.*cvfeeder\.subscribe"):
            await cvfeeder.pull(durable="d", servers=plain.url).get(10)
    finally:
        plain.kill()


async def test_what_jetstream_refuses_is_an_error_that_helps(server: Server) -> None:
    async with connected(server) as client:
        await make_stream(client, retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.MEMORY)
        async with cvfeeder.pull(durable="one", servers=server.url):
            pass
        with pytest.raises(cvfeeder.CvfeederError, match=r"one: .*cvf\.t\.>.*retention: limits"):
            await cvfeeder.pull(durable="two", servers=server.url).get(10)
        with pytest.raises(cvfeeder.CvfeederError, match=r"has nothing on.*cvf\.t\.\*\.\*"):
            await cvfeeder.pull(durable="out", subject="other.>", servers=server.url).get(10)
        await client.jetstream().delete_consumer("cvfeeder", "one")
        two = cvfeeder.pull(durable="two", subject=["cvf.t.a.*", "cvf.t.b.*"], servers=server.url)
        async with two as tensors:
            for camera in ("a", "b", "c"):
                headers = HEADERS | {"Nats-Msg-Id": camera}
                await client.publish(f"cvf.t.{camera}.detector", PAYLOAD, headers=headers)
            assert [(await tensors.get(10)).subject[6] for _ in "ab"] == ["a", "b"]
        push = ConsumerConfig(durable_name="push", deliver_subject="x", filter_subject="cvf.t.p.*")
        await client.jetstream().add_consumer("cvfeeder", push)
        with pytest.raises(cvfeeder.CvfeederError, match="push consumer"):
            await cvfeeder.pull(durable="push", subject="cvf.t.p.*", servers=server.url).get(10)


USERS = """
authorization {{
  users = [
    {{user: admin, password: pw}}
    {{user: reader, password: {password}, permissions: {{
        subscribe: {{allow: ["_INBOX.>", "cvf.t.mine.>"]}}, publish: {{allow: [{publish}]}} }} }}
  ]
}}
"""
INFO = '"$JS.API.CONSUMER.INFO.cvfeeder.d", "$JS.API.STREAM.INFO.cvfeeder"'
CREATE = '"$JS.API.CONSUMER.DURABLE.CREATE.cvfeeder.d"'
NEXT = '"$JS.API.CONSUMER.MSG.NEXT.cvfeeder.d"'
ACK = '"$JS.ACK.cvfeeder.d.>"'


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Callable[..., Awaitable[Server]]]:
    servers: list[Server] = []

    async def start(*publish: str) -> Server:
        server = Server(tmp_path, USERS.format(password="pw", publish=", ".join(publish)))
        servers.append(server)
        async with connected(server, user="admin", password="pw") as client:
            await make_stream(client)
            await client.jetstream().publish("cvf.t.mine.x", PAYLOAD, headers=HEADERS)
        return server

    yield start
    for one in servers:
        one.kill()


ME: cvfeeder.ConnectOptions = {"user": "reader", "password": "pw"}


async def test_a_denied_subscription_is_an_error(strict: Any) -> None:
    server = await strict('"x"')
    with pytest.raises(cvfeeder.CvfeederError, match=r"denies.*subscription to .cvf\.t\.>"):
        async with cvfeeder.subscribe(servers=server.url, **ME):
            pass
    with pytest.raises(cvfeeder.CvfeederError, match="denies"):
        await cvfeeder.subscribe("cvf.t.other", servers=server.url, **ME).get(10)
    async with cvfeeder.subscribe("cvf.t.mine.>", servers=server.url, **ME):
        pass


async def test_what_makes_the_log_better_may_be_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_connection, "QUIET", 0.1)
    grants = 'publish: "x", subscribe: "cvf.t.>"'
    users = f"[{{user: reader, password: pw, permissions: {{{grants}}}}}]"
    server = Server(tmp_path, f"authorization {{users: {users}}}")
    try:
        async with cvfeeder.subscribe(servers=server.url, **ME) as reader, asyncio.timeout(10):
            while "no cvfeeder answers" not in caplog.text:
                await asyncio.sleep(0.01)
            with pytest.raises(cvfeeder.ReadTimeout):
                await reader.get(0.2)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("granted", "denied"),
    [
        ([], "consumer.info"),
        ([INFO], "consumer.durable.create"),
        ([INFO, CREATE], "consumer.msg.next"),
        ([INFO, CREATE, NEXT], "js.ack"),
    ],
)
async def test_what_pull_is_denied_is_an_error(
    strict: Any, granted: list[str], denied: str
) -> None:
    server = await strict('"x"', *granted)
    with pytest.raises(cvfeeder.CvfeederError, match=rf"denies.*publish to .*{denied}.*grant"):
        async with (
            asyncio.timeout(10),
            cvfeeder.pull(durable="d", subject="cvf.t.mine.*", servers=server.url, **ME) as tensors,
        ):
            await (await tensors.get()).ack()
            await tensors.get()


async def test_what_pull_needs_is_enough(strict: Any) -> None:
    """It may not ask for the stream, nor for cvf.svc.streams."""
    needed = [INFO.split(",", 1)[0], CREATE, NEXT, ACK]
    server = await strict(*needed)
    options: Any = {"subject": "cvf.t.mine.*", "servers": server.url, **ME}
    async with cvfeeder.pull(durable="d", **options) as tensors:
        await (await tensors.get(10)).ack()
    async with connected(server, user="admin", password="pw") as client:
        assert not (await client.jetstream().consumer_info("cvfeeder", "d")).num_ack_pending


async def test_an_nkey_is_enough(tmp_path: Path) -> None:
    nkeys = pytest.importorskip("nkeys")  # it has no wheel, so only some have it
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "seed").write_bytes(seed)
    server = Server(tmp_path, f"authorization {{users = [{{nkey: {public}}}]}}")
    try:
        for options in ({"nkeys_seed_str": seed.decode()}, {"nkeys_seed": tmp_path / "seed"}):
            async with cvfeeder.subscribe(servers=server.url, **options):
                pass
        with pytest.raises(cvfeeder.CvfeederError, match="refuses"):
            await cvfeeder.subscribe(servers=server.url).get(10)
    finally:
        server.kill()


async def test_tls_that_fails_is_an_error(server: Server, tmp_path: Path) -> None:
    reader = cvfeeder.subscribe(servers=server.url.replace("nats:", "tls:"))
    with pytest.raises(cvfeeder.CvfeederError, match=r"does not have TLS.*nats:// without"):
        await reader.get(10)
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl, for a certificate")
    cert, key, home = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "tls"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    run = [openssl, *command.split(), *files]
    subprocess.run(run, check=True, capture_output=True)  # noqa: ASYNC221, S603
    home.mkdir()
    secure = Server(home, f'tls {{cert_file: "{cert}", key_file: "{key}"}}')
    try:
        with pytest.raises(cvfeeder.CvfeederError, match=r"TLS with NATS.*fails.*cafile="):
            await cvfeeder.subscribe(servers=secure.url).get(10)
        context = ssl.create_default_context(cafile=cert)
        for url in (secure.url, secure.url.replace("nats:", "tls:")):
            async with cvfeeder.subscribe(servers=url, tls=context):
                pass
    finally:
        secure.kill()


async def test_refused_credentials_are_an_error(
    strict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "REFUSED", 0.5)
    server = await strict('"x"')
    with pytest.raises(cvfeeder.CvfeederError, match=r"refuses the connection.*check user and"):
        await cvfeeder.subscribe(servers=server.url, user="reader", password="no").get(10)
    async with cvfeeder.subscribe("cvf.t.mine.>", servers=server.url, **ME) as tensors:
        server.kill()
        server.configure(USERS.format(password="other", publish='"x"'))
        await asyncio.to_thread(server.start)
        with pytest.raises(cvfeeder.CvfeederError, match="refuses the connection"):
            await tensors.get(10)
