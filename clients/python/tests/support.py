"""What the tests share: messages as cvfeeder publishes them, and the feeder's controls."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

NATS = os.environ.get("CVFEEDER_NATS", "")
FEEDER = os.environ.get("CVFEEDER_FEEDER", "")
RANGES = os.environ.get("CVFEEDER_RANGES", "")
NATS_SERVER = os.environ.get("CVFEEDER_NATS_SERVER", "")

needs_server = pytest.mark.skipif(
    not NATS or not FEEDER,
    reason="needs the server and the feeder that `go test ./internal/clients` starts",
)

HEADERS = {
    "Cvf-Version": "1",
    "Cvf-Stream": "front-door",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:04:05.200Z",
    "Cvf-Capture": "2026-01-02T03:04:05.207Z",
    "Cvf-Dtype": "FP32",
    "Cvf-Shape": "1,3,2,4",
    "Cvf-Layout": "NCHW",
    "Cvf-Color": "RGB",
    "Cvf-Source": "1920x1080",
    "Cvf-Affine": "3,0,-1,0,3,-420",
    "Cvf-Scale": "0.00392156862745098",
    "Cvf-Mean": "0.485,0.456,0.406",
    "Cvf-Std": "0.229,0.224,0.225",
    "Cvf-Spec": "3f2a",
    "Nats-Msg-Id": "front-door/1767323045200/detector/3f2a",
}
PAYLOAD = bytes(range(96))
GAP = {
    "Cvf-Version": "1",
    "Cvf-Stream": "front-door",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:04:05.400Z",
    "Cvf-Gap": "no_media",
    "Cvf-Gap-To": "2026-01-02T03:04:06.000Z",
    "Cvf-Gap-Slots": "4",
    "Cvf-Spec": "3f2a",
    "Nats-Msg-Id": "front-door/1767323045400/detector/3f2a",
}


def parts(n: int, headers: dict[str, str] = HEADERS) -> list[tuple[dict[str, str], bytes]]:
    """Return the headers and payloads of a tensor in n parts."""
    size = -(-len(PAYLOAD) // n)
    return [
        (
            headers | {"Cvf-Chunk": f"{i}/{n}", "Nats-Msg-Id": f"{headers['Nats-Msg-Id']}/{i}/{n}"},
            PAYLOAD[(i - 1) * size : i * size],
        )
        for i in range(1, n + 1)
    ]


async def publish(client: Client, subject: str, *messages: tuple[dict[str, str], bytes]) -> None:
    """Publish messages of headers and payload, and wait until the server has them."""
    for headers, data in messages:
        await client.publish(subject, data, headers=headers)
    await client.flush()


async def ask(path: str, **request: Any) -> Any:
    """Make the feeder do something, and return its answer."""

    def post() -> Any:
        call = urllib.request.Request(FEEDER + path, json.dumps(request).encode())  # noqa: S310
        with urllib.request.urlopen(call, timeout=120) as reply:  # noqa: S310
            return json.load(reply)

    return await asyncio.to_thread(post)


async def feed(stream: str, count: int = 1, **changes: Any) -> Any:
    """Make the feeder publish count tensors of a stream, from 2026-01-02T03:04:05.200Z on."""
    request = {
        "Stream": stream,
        "Output": "detector",
        "Slot": 1767323045200,
        "Count": count,
        "Width": 4,
        "Height": 2,
        "DType": "float32",
        "Layout": "nchw",
        "Color": "rgb",
        "Affine": [3, 0, -1, 0, 3, -420],
        "Mean": [0.5, 0.25, 0],
        "Std": [0.5, 1, 2],
        "Fingerprint": "3f2a",
    }
    return await ask("/tensors", **(request | changes))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


class Server:
    """A nats-server in a process of its own, which can be killed, stopped and wiped."""

    def __init__(self, directory: Path, config: str = "") -> None:
        """Start it."""
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._store = directory / "store"
        self._config = directory / "nats.conf"
        self.configure(config)
        self.start()

    def configure(self, config: str) -> None:
        """Set what the next start reads."""
        jetstream = "" if "jetstream" in config else f'jetstream {{store_dir: "{self._store}"}}\n'
        self._config.write_text(f"{jetstream}{config}\n")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [NATS_SERVER, "-c", str(self._config), "-a", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def wipe(self) -> None:
        """Kill it, and remove all that it has stored."""
        self.kill()
        shutil.rmtree(self._store, ignore_errors=True)

    def stop(self) -> None:
        """Make it answer nothing, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End stop."""
        self._process.send_signal(signal.SIGCONT)

    def shut_down(self) -> None:
        """End it in an orderly way, as a rolling restart does."""
        self._process.terminate()
        self._process.wait()


class Proxy:
    """A proxy before a server that can drop all that it gets, as a firewall does."""

    def __init__(self, port: int) -> None:
        """Prepare a proxy for a port."""
        self.dropping = False
        self.connections = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Start it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, there))
                group.create_task(self._copy(back, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            for w in (writer, there):
                if w is not None:
                    w.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if not self.dropping:
                writer.write(data)
                await writer.drain()
        raise ConnectionError
