"""Finds the frames of a camera's last hour that look most like a given one.

    make example NAME=search                   # the demo, and this program beside it
    python search.py front-door --last 60 --every 30 --model clip-image.onnx

Nothing was recorded for this: the frames are a range that is asked for, which cvfeeder reads from
Kinesis and makes the same tensors of that it would have published. A frame costs a bit more than
one image.

Without --model, two frames are alike if their edges and colours are. With the image encoder of
CLIP or the like as an ONNX file, and the output made for it (preset: clip), they are alike if
they show the same things. No package ships CLIP's weights, so the tests have none.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import cvfeeder
import numpy as np
import onnxruntime
import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Describe = Callable[[cvfeeder.Tensor], NDArray[np.float32]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)


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


def past(args: argparse.Namespace, start: datetime, end: datetime) -> Iterator[cvfeeder.Tensor]:
    """Yield the frames of the camera from start to end that there are."""
    reader = cvfeeder.frames(
        args.stream,
        args.output_name,
        start=start,
        end=end,
        interval=args.every,
        servers=args.nats,
    )
    try:
        for t in reader:
            if isinstance(t, cvfeeder.Tensor):
                yield t
    except cvfeeder.Refused as err:
        later = f"; ask again in {err.wait} s" if err.wait else ""
        raise SystemExit(f"{args.stream}: {err.text}{later}") from None
    print(f"{reader.slots} frames of {args.stream} took {reader.images} images")


def search(args: argparse.Namespace) -> None:
    """Ask for the frames, compare them, and print and save the best."""
    describe = encoder(args.model) if args.model else look
    every, last = timedelta(seconds=args.every), timedelta(minutes=args.last)
    wanted = datetime.now(UTC) - timedelta(seconds=args.ago)
    wanted -= (wanted - EPOCH) % every  # the slots are whole multiples of the interval
    given = list(past(args, wanted, wanted + MOMENT))
    if not given:
        raise SystemExit(f"{args.stream} has no frame at {wanted}")
    like = given[0]
    best: list[tuple[float, cvfeeder.Tensor]] = []
    found = 0
    for t in past(args, wanted - last, wanted):
        found += 1
        best.append((float(describe(like) @ describe(t)), t))
        best = sorted(best, key=lambda f: -f[0])[: args.top]
    print(f"like {like.time:%H:%M:%S.%f}, of {found} frames with media:")
    for score, t in best:
        before = (like.time - t.time).total_seconds()
        print(f"  {score:.3f}  {t.time:%H:%M:%S.%f}  {before:.1f} s before")
    rows = [pictures.seen(t) for t in [like, *(t for _, t in best)]]
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
    search(args)


if __name__ == "__main__":
    main()
