"""Finds the frames of a camera's last hour that look most like a given one.

    make example NAME=search                   # the demo, and this program beside it
    python search.py front-door --last 60 --every 30 --model clip-image.onnx

Nothing was recorded for this: each frame is requested from cvfeeder, which fetches it from
Kinesis and makes the same tensor of it that it would have published. A frame costs two images.

Without --model, two frames are alike if their edges and colours are. With the image encoder of
CLIP or the like as an ONNX file, and the output made for it (preset: clip), they are alike if
they show the same things. No package ships CLIP's weights, so the tests have none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import cvfeeder
import nats
import numpy as np
import onnxruntime
import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.client import Client
    from numpy.typing import NDArray

    Describe = Callable[[cvfeeder.Tensor], NDArray[np.float32]]

AT_ONCE = 2  # requests; cvfeeder makes four frames at a time, for all who ask
PATIENCE = 60  # seconds for a frame, where cvfeeder is busy


def look(t: cvfeeder.Tensor) -> NDArray[np.float32]:
    """Describe a frame by its edges and colours, as a vector of length 1."""
    small = cv2.resize(pictures.seen(t), (64, 64), interpolation=cv2.INTER_AREA)
    edges = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9).compute(small)
    colours = cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA).reshape(-1) / 255
    return _unit(np.concatenate([_unit(edges), _unit(colours - colours.mean())]))


def encoder(path: str) -> Describe:
    """Return a description by an ONNX model from images to vectors."""
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return lambda t: _unit(session.run(None, {name: t.normalize()})[0].reshape(-1))


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


async def frame(client: Client, stream: str, output: str, time: datetime) -> cvfeeder.Tensor | None:
    """Return the tensor of a camera at a time, or None if there is no media."""
    request = {"stream": stream, "time": time.isoformat(), "output": output}
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        msg = await client.request("cvf.svc.frame", json.dumps(request).encode(), timeout=20)
        code = (msg.headers or {}).get("Nats-Service-Error-Code")
        if code is None:
            found = cvfeeder.parse(msg.subject, msg.headers, msg.data)
            return found if isinstance(found, cvfeeder.Tensor) else None
        if code == "404":
            return None
        if code not in {"429", "504"} or asyncio.get_running_loop().time() > deadline:
            raise SystemExit(f"{stream} at {time}: {msg.headers['Nats-Service-Error']}")
        await asyncio.sleep(0.5)


async def search(args: argparse.Namespace) -> None:
    """Request the frames, compare them, and print and save the best."""
    describe = encoder(args.model) if args.model else look
    wanted = datetime.now(UTC) - timedelta(seconds=args.ago)
    steps = range(1, int(args.last * 60 / args.every) + 1)
    times = [wanted - timedelta(seconds=args.every * i) for i in steps]
    print(f"{len(times) + 1} frames of {args.stream}, which take {2 * len(times) + 2} images")
    client = await nats.connect(args.nats)
    try:
        like = await frame(client, args.stream, args.output_name, wanted)
        if like is None:
            raise SystemExit(f"{args.stream} has no frame at {wanted}")
        slots = asyncio.Semaphore(AT_ONCE)

        async def compare(time: datetime) -> tuple[float, cvfeeder.Tensor] | None:
            async with slots:
                t = await frame(client, args.stream, args.output_name, time)
            return t and (float(describe(like) @ describe(t)), t)

        found = [f for f in await asyncio.gather(*map(compare, times)) if f]
    finally:
        await client.close()
    found.sort(key=lambda f: -f[0])
    print(f"like {like.time:%H:%M:%S.%f}, of {len(found)} frames with media:")
    for score, t in found[: args.top]:
        before = (like.time - t.time).total_seconds()
        print(f"  {score:.3f}  {t.time:%H:%M:%S.%f}  {before:.1f} s before")
    rows = [pictures.seen(t) for t in [like, *(t for _, t in found[: args.top])]]
    cv2.imwrite(str(args.output / f"{args.stream}-alike.jpg"), np.hstack(rows))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, and search."""
    parser = argparse.ArgumentParser(description="finds frames of the past that look alike")
    parser.add_argument("stream", help="name of the camera's stream")
    parser.add_argument("--ago", type=float, default=30, help="how old the given frame is, in s")
    parser.add_argument("--last", type=float, default=60, help="minutes to search")
    parser.add_argument("--every", type=float, default=30, help="seconds between the frames")
    parser.add_argument("--top", type=int, default=3, help="how many of the best to show")
    parser.add_argument("--model", help="image encoder as an ONNX file, such as CLIP's")
    parser.add_argument("--output-name", default="detector", help="output of the stream")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--output", type=Path, default=Path(), help="directory for the picture")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    asyncio.run(search(args))


if __name__ == "__main__":
    main()
