"""Raises an alert when a person is seen: prints it, saves the picture, and posts it if wanted.

    make example NAME=alert                    # the demo with people in it, and this program
    python alert.py --post https://example.org/hook

A person has to be seen in two of three frames of a camera in a row, and a camera that has
raised an alert is silent for a minute. The detector is OpenCV's own, histograms of oriented
gradients (HOG), whose weights come with OpenCV 4. It finds people who stand or walk upright.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections import defaultdict, deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import cvfeeder
import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEN, OF = 2, 3  # frames in a row
SILENCE = timedelta(minutes=1)


class Alarm:
    """Decides when what is seen on a camera is worth an alert."""

    def __init__(self) -> None:
        """Begin with cameras on which nobody was seen."""
        self._seen: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=OF))
        self._last: dict[str, datetime] = {}

    def rings(self, camera: str, time: datetime, person: bool) -> bool:  # noqa: FBT001
        """Note whether a person was seen, and tell whether to raise an alert."""
        seen = self._seen[camera]
        seen.append(person)
        if sum(seen) < SEEN or (camera in self._last and time - self._last[camera] < SILENCE):
            return False
        self._last[camera] = time
        return True


def main(argv: Sequence[str] | None = None) -> None:
    """Read tensors, look for people, raise alerts."""
    parser = argparse.ArgumentParser(description="raises an alert when a person is seen")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--subject", default="cvf.t.*.detector")
    parser.add_argument("--alerts", type=int, default=0, help="end after so many alerts; 0 goes on")
    parser.add_argument("--frames", type=int, default=0, help="end after so many frames; 0 goes on")
    parser.add_argument("--score", type=float, default=1.0, help="least score of a person")
    parser.add_argument("--post", metavar="URL", help="where to post each alert, as JSON")
    parser.add_argument("--output", type=Path, default=Path(), help="directory for the pictures")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
    alarm, frames, alerts = Alarm(), 0, 0
    with cvfeeder.subscribe(args.subject, servers=args.nats, newest=True) as tensors:
        while (not args.frames or frames < args.frames) and (
            not args.alerts or alerts < args.alerts
        ):
            t = tensors.read(timeout=60)
            frames += 1
            found, scores = hog.detectMultiScale(pictures.seen(t), winStride=(8, 8), padding=(8, 8))
            people = [
                (x, y, x + w, y + h)
                for (x, y, w, h), s in zip(found, scores, strict=True)
                if s >= args.score
            ]
            if not alarm.rings(t.stream, t.time, bool(people)):
                continue
            alerts += 1
            boxes = t.to_source(people, clip=True)
            picture = pictures.camera(t)
            for box in boxes:
                pictures.draw(picture, box, "person")
            path = args.output / f"{t.stream}-{t.time:%Y%m%dT%H%M%S}.jpg"
            cv2.imwrite(str(path), picture)
            alert = {
                "camera": t.stream,
                "time": t.time.isoformat(),
                "boxes": boxes.round().tolist(),
                "picture": str(path),
            }
            print(json.dumps(alert), flush=True)
            if args.post:
                post(args.post, alert)
    print(f"{frames} frames, {alerts} alerts")


def post(url: str, alert: dict[str, object]) -> None:
    """Post an alert. A receiver that is away must not stop the others."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(alert).encode(), headers)  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
    except OSError as err:
        print(f"{url} did not take the alert: {err}")


if __name__ == "__main__":
    main()
