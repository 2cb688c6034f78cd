from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx_consumer import WINDOW, make_model

from support import HEADERS, NATS, PAYLOAD, needs_server, publish

if TYPE_CHECKING:
    from nats.aio.client import Client
    from numpy.typing import NDArray

LEFT, TOP = 80, 136  # of the window with stripes, in pixels of the tensor


def picture() -> NDArray[np.float32]:
    """Return 256 rows and 320 columns of gray, with stripes in one window."""
    values = np.full((1, 3, 256, 320), 0.5, np.float32)
    values[:, :, TOP : TOP + WINDOW : 2, LEFT : LEFT + WINDOW] = 1
    values[:, :, TOP + 1 : TOP + WINDOW : 2, LEFT : LEFT + WINDOW] = 0
    return values


def test_the_model_finds_the_window_in_each_picture() -> None:
    model = onnxruntime.InferenceSession(make_model(256, 320))
    box = [LEFT, TOP, LEFT + WINDOW, TOP + WINDOW]
    (boxes,) = model.run(None, {"images": picture()})
    assert boxes.tolist() == [box]
    turned = picture().transpose(0, 1, 3, 2)[..., :256, :]  # the corner is elsewhere in this one
    turned = np.pad(turned, [(0, 0), (0, 0), (0, 0), (0, 64)], constant_values=0.5)
    (boxes,) = model.run(None, {"images": np.concatenate([picture(), turned])})
    assert boxes.tolist() == [box, [TOP, LEFT, TOP + WINDOW, LEFT + WINDOW]]


@needs_server
async def test_the_consumer_draws_the_box_on_the_source(client: Client, tmp_path: Path) -> None:
    subject = "cvf.t.front-door.example"
    url = [
        "--nats",
        NATS,
        "--subject",
        "cvf.t.*.example",
        "--count",
        "5",
        "--output",
        str(tmp_path),
    ]
    command = [sys.executable, "-W", "error", "examples/onnx_consumer.py", *url]
    consumer = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": "src"}
    )
    made = {
        "Cvf-Shape": "1,3,256,320",
        "Cvf-Source": "640x480",
        "Cvf-Affine": "2,0,0,0,2,-16",
        "Cvf-Mean": "0,0,0",
        "Cvf-Std": "1,1,1",
    }
    message = (HEADERS | made, picture().tobytes())
    other = (HEADERS | made | {"Cvf-Stream": "yard", "Cvf-Affine": "1,0,0,0,1,0"}, message[1])
    output = asyncio.create_task(consumer.communicate())
    async with asyncio.timeout(60):
        while not output.done():
            await publish(client, subject, message)
            await publish(client, "cvf.t.yard.example", other)
            await asyncio.wait([output], timeout=0.1)
    straight = [LEFT, TOP, LEFT + WINDOW, TOP + WINDOW]
    assert f"yard: [{', '.join(f'{v}.0' for v in straight)}]" in str(output.result())
    box = [2 * LEFT, 2 * TOP - 16, 2 * (LEFT + WINDOW), 2 * (TOP + WINDOW) - 16]
    assert f"front-door: [{', '.join(f'{v}.0' for v in box)}] of (640, 480)" in str(output.result())
    assert consumer.returncode == 0

    seen = _read_png(tmp_path / "found-front-door.png")
    assert seen.shape == (480, 640, 3)
    red = (seen == (255, 0, 80)).all(axis=-1)
    rows, columns = np.nonzero(red)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
    assert seen[10, 10].tolist() == [128, 128, 128]
    assert seen[2 * TOP - 16 + 20, 2 * LEFT + 20].tolist() == [255, 255, 255]


class Endpoint(ThreadingHTTPServer):
    """A model with OpenAI's chat API, which refuses the first request and answers the others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.requests: list[tuple[str, str | None, Any]] = []


class _Answer(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        first = len(self.server.requests) == 1
        answer: dict[str, Any] = {"choices": [{"message": {"content": " A cat.\n"}}]}
        if first:
            answer = {"error": {"message": "too many requests"}}
        self.send_response(429 if first else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@needs_server
async def test_cameras_are_captioned(client: Client) -> None:
    kept = ("Version", "Stream", "Output", "Time", "Capture", "Color", "Source", "Affine", "Spec")
    headers = {f"Cvf-{name}": HEADERS[f"Cvf-{name}"] for name in kept}
    data = b"\xff\xd8 a JPEG"
    headers |= {"Cvf-Shape": "432,768,3", "Content-Type": "image/jpeg"}
    headers |= {"Content-Length": str(len(data))}
    with Endpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        options = ["--nats", NATS, "--subject", "cvf.t.*.caption", "--count", "1"]
        program = await asyncio.create_subprocess_exec(
            *[sys.executable, "-W", "error", "examples/caption.py", *options],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "PYTHONPATH": "src",
                "OPENAI_BASE_URL": f"http://127.0.0.1:{endpoint.server_port}/v1/",
                "OPENAI_MODEL": "sees",
                "OPENAI_API_KEY": "key",
            },
        )
        output = asyncio.create_task(program.communicate())
        try:
            async with asyncio.timeout(60):
                while not output.done():
                    await publish(client, "cvf.t.front-door.caption", (headers, data))
                    await asyncio.wait([output], timeout=0.1)
        finally:
            await asyncio.to_thread(endpoint.shutdown)
            thread.join()
    stdout, stderr = output.result()
    assert stdout == b"03:04:05 front-door: A cat.\n"
    assert b"front-door: HTTP Error 429" in stderr
    assert b"too many requests" in stderr
    assert program.returncode == 0
    path, authorization, body = endpoint.requests[-1]
    assert (path, authorization) == ("/v1/chat/completions", "Bearer key")
    (message,) = body["messages"]
    text, image = message["content"]
    assert (body["model"], message["role"], text["type"]) == ("sees", "user", "text")
    assert image["type"] == "image_url"
    kind, _, encoded = image["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(encoded, validate=True) == data


def _read_png(path: Path) -> NDArray[np.uint8]:
    """Read the kind of PNG that the example writes: one IDAT, no filters."""
    data = path.read_bytes()
    width, height = struct.unpack(">2I", data[16:24])
    (size,) = struct.unpack(">I", data[33:37])
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


@needs_server
@pytest.mark.parametrize("readme", ["README.md", "../../README.md"])
async def test_the_readme_runs(client: Client, readme: str) -> None:
    blocks = Path(readme).read_text().split("```python\n")[1:]
    shown = [block.split("```")[0] for block in blocks]
    script = next(s for s in shown if "cvfeeder.subscribe(" in s)
    # At the test's server, wherever the script expects it, and with the lines unbuffered.
    code = script.replace("nats://127.0.0.1:4222", NATS).replace("newest=True", "**server")
    code = f"server = {{'newest': True, 'servers': {NATS!r}}}\n{code}"
    code = code.replace(f'servers="{NATS}", ', "")
    reader = await asyncio.create_subprocess_exec(
        *[sys.executable, "-u", "-W", "error", "-c", code],
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": "src"},
    )
    assert reader.stdout is not None
    line = asyncio.create_task(reader.stdout.readline())
    async with asyncio.timeout(60):
        while not line.done():
            await publish(client, "cvf.t.front-door.detector", (HEADERS, PAYLOAD))
            await asyncio.wait([line], timeout=0.1)
    assert line.result().startswith(b"front-door 2026-01-02 03:04:05.200000+00:00 (1, 3, 2, 4)")
    reader.kill()
    await reader.communicate()
