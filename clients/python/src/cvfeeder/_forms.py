"""Reading what tells tiles, clips, batches across cameras and encoded pictures from one tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from ._headers import MAX_TEXT, parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from ._headers import Headers

MAX_PICTURES = 1 << 10  # in a tensor
MAX_FRAMES = 1 << 10  # in a clip

LAYOUTS = ("NCHW", "NHWC", "NCTHW", "NTCHW", "NTHWC")
CONTENT_TYPES = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}  # as Pillow has it

_ESCAPED = re.compile(r"([^%]|%[0-9A-Fa-f]{2})+", re.ASCII | re.DOTALL)
_MAP = 6  # numbers

Map = tuple[float, ...]
Size = tuple[int, int]


class Frames(NamedTuple):
    """The frames of a clip: their slots, and how those that were missing are filled, or ""."""

    slots: tuple[datetime, ...] = ()
    missing: tuple[str, ...] = ()


class Rows(NamedTuple):
    """The rows of a batch across cameras: their streams, and whether these had a frame."""

    streams: tuple[str, ...] = ()
    present: tuple[bool, ...] = ()


def maps(h: Headers) -> tuple[Map, ...]:
    """Return the map of each picture."""
    texts = _several(h, "Cvf-Affine", ";", MAX_PICTURES)
    return tuple(h.floats_of("Cvf-Affine", text, _MAP) for text in texts)


def frames(h: Headers, layout: str) -> Frames:
    """Return the frames of a clip, none if the layout is not that of one."""
    if "T" not in layout:
        return Frames()
    slots, missing = [], []
    for text in _several(h, "Cvf-Clip", ",", MAX_FRAMES):
        at, filled, how = text.partition("!")
        try:
            slots.append(parse_time(at))
        except ValueError:
            h.fail("Cvf-Clip", text, "not a time like 2026-01-02T03:04:05.200Z")
        if filled and how not in ("repeat", "black"):
            h.fail("Cvf-Clip", text, "not a time, or one with !repeat or !black")
        missing.append(how)
    return Frames(tuple(slots), tuple(missing))


def rows(h: Headers) -> Rows:
    """Return the rows of a batch across cameras, none if it is none."""
    if "Cvf-Batch" not in h:
        return Rows()
    streams, present = [], []
    for text in _several(h, "Cvf-Batch", ",", MAX_PICTURES):
        name = text.removeprefix("!")
        try:
            stream = unquote(name, errors="strict") if _ESCAPED.fullmatch(name) else ""
        except UnicodeDecodeError:
            stream = ""
        if not 1 <= len(stream) <= MAX_TEXT:
            h.fail("Cvf-Batch", text, "not the name of a stream")
        streams.append(stream)
        present.append(name == text)
    return Rows(tuple(streams), tuple(present))


def sources(h: Headers, batch: Rows) -> tuple[Size, ...]:
    """Return the size of the picture of each row of a batch, otherwise that of the one picture."""
    if not batch.streams:
        return (_size(h, h.text("Cvf-Source")),)
    texts = _several(h, "Cvf-Source", ";", MAX_PICTURES)
    if len(texts) != len(batch.streams):
        h.fail("Cvf-Source", ";".join(texts), f"not {len(batch.streams)} sizes")
    return tuple(
        (0, 0) if text == "0x0" and not present else _size(h, text)
        for text, present in zip(texts, batch.present, strict=True)
    )


def _size(h: Headers, text: str) -> Size:
    width, height = h.counts_of("Cvf-Source", text, "x", 2)
    return width, height


def _several(h: Headers, name: str, separator: str, at_most: int) -> list[str]:
    """Return the texts between separators in a header."""
    value = h.text(name, at_most * MAX_TEXT // 4)
    texts = value.split(separator)
    if len(texts) > at_most:
        h.fail(name, value, f"more than {at_most} values")
    return texts
