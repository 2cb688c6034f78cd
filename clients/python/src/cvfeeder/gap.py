"""Gaps: runs of slots without a tensor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._headers import MAX_BYTES, MAX_TEXT, Headers, parse_time
from .delivery import Delivered
from .errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_EVENT = 64 << 10  # bytes; a real event has about 200


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Gap(Delivered):
    """A run of slots of one stream that all ended in the same way, without a tensor.

    subject  the NATS subject
    stream   the camera
    output   the output whose subject it came on; "" for an event, which is about all outputs
    start    the first slot of the run, an aware datetime in UTC
    end      the last slot of the run, which is part of it
    slots    how many slots the run has, at least 1
    reason   no_media, media_error, undecodable, stale or dropped; "end" at the end of a replay
             job's tensors on the subject, where start and end are the first instant after the
             range, and slots is the number of streams of the job
    spec     the fingerprint of the preprocessing; "" for an event
    """

    stream: str
    output: str = ""
    start: datetime
    end: datetime
    slots: int
    reason: str
    spec: str = ""


def parse_inline(subject: str, headers: Mapping[str, str] | None, data: memoryview | bytes) -> Gap:
    """Return the gap in a message that comes in place of a tensor, on its subject."""
    if data:
        raise InvalidMessage(f"header Cvf-Gap: with a payload of {len(data)} bytes")
    h = Headers(headers)
    gap = Gap(
        subject=subject,
        stream=h.text("Cvf-Stream"),
        output=h.text("Cvf-Output"),
        start=h.time("Cvf-Time"),
        end=h.time("Cvf-Gap-To"),
        slots=h.count("Cvf-Gap-Slots"),
        reason=h.text("Cvf-Gap"),
        spec=h.text("Cvf-Spec"),
    )
    if gap.end < gap.start:
        raise InvalidMessage("header Cvf-Gap-To: is before Cvf-Time")
    return gap


def parse_end(subject: str, headers: Mapping[str, str] | None, data: memoryview | bytes) -> Gap:
    """Return the end of a replay job's tensors on a subject, as a gap with the reason "end"."""
    if data:
        raise InvalidMessage(f"header Cvf-End: with a payload of {len(data)} bytes")
    h = Headers(headers)
    return Gap(
        subject=subject,
        stream=h.text("Cvf-Stream"),
        output=h.text("Cvf-Output"),
        start=h.time("Cvf-Time"),
        end=h.time("Cvf-Time"),
        slots=h.count("Cvf-End"),
        reason="end",
        spec=h.text("Cvf-Spec"),
    )


def parse_event(subject: str, data: bytes) -> Gap:
    """Return the gap in an event on ``cvf.gap.<stream>``, which is JSON."""
    if len(data) > MAX_EVENT:
        raise InvalidMessage(f"gap event: {len(data)} bytes are more than {MAX_EVENT}")
    try:
        event = json.loads(data)
        stream, reason, slots = event["stream"], event["reason"], event["slots"]
        start, end = parse_time(event["from"]), parse_time(event["to"])
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise InvalidMessage(f"gap event: {type(err).__name__}: {err}"[:MAX_TEXT]) from None
    if not all(isinstance(s, str) and 1 <= len(s) <= MAX_TEXT for s in (stream, reason)):
        raise InvalidMessage("gap event: no stream or no reason")
    if type(slots) is not int or not 1 <= slots <= MAX_BYTES:
        raise InvalidMessage(f"gap event: {str(slots)[:40]} slots")
    if end < start:
        raise InvalidMessage("gap event: it ends before its start")
    return Gap(subject=subject, stream=stream, start=start, end=end, slots=slots, reason=reason)
