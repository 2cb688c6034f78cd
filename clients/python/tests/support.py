"""What the tests share: messages as cvfeeder publishes them, and the feeder's controls."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nats.aio.client import Client

NATS = os.environ.get("CVFEEDER_NATS", "")
FEEDER = os.environ.get("CVFEEDER_FEEDER", "")

needs_server = pytest.mark.skipif(
    not NATS or not FEEDER,
    reason="needs the server and the feeder that `go test ./internal/pyclient` starts",
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
