from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import cvfeeder
from support import GAP, HEADERS, PAYLOAD


def tensor(**changes: str) -> cvfeeder.Tensor:
    headers = HEADERS | {"Cvf-" + k: v for k, v in changes.items()}
    item = cvfeeder.parse("cvf.t.front-door.detector", headers, PAYLOAD)
    assert isinstance(item, cvfeeder.Tensor)
    return item


def test_all_headers() -> None:
    t = tensor()
    assert (t.subject, t.stream, t.output) == (
        "cvf.t.front-door.detector",
        "front-door",
        "detector",
    )
    assert t.time == datetime(2026, 1, 2, 3, 4, 5, 200_000, UTC)
    assert t.capture - t.time == timedelta(milliseconds=7)
    assert t.time.tzinfo is UTC
    assert (t.datatype, t.shape, t.layout, t.color) == ("FP32", (1, 3, 2, 4), "NCHW", "RGB")
    assert t.source == (1920, 1080)
    assert t.affine == (3, 0, -1, 0, 3, -420)
    assert (t.scale, t.mean, t.std) == (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert t.normalized
    assert t.spec == "3f2a"
    assert t.id == HEADERS["Nats-Msg-Id"]
    assert t.age(t.time + timedelta(seconds=2.5)) == 2.5
    assert t.age() > 0


def test_late() -> None:
    assert tensor(Late="true").late
    assert not tensor().late


def test_burst() -> None:
    assert tensor(Burst="b7k2").burst == "b7k2"
    assert not tensor().burst


def test_since() -> None:
    assert tensor(Since="2026-01-02T03:03:55.200Z").since == datetime(
        2026, 1, 2, 3, 3, 55, 200_000, tzinfo=UTC
    )
    assert tensor().since is None
    with pytest.raises(cvfeeder.InvalidMessage, match="Cvf-Since"):
        tensor(Since="yesterday")


def test_quality() -> None:
    t = tensor(Quality="112.4,38.2,182.5,0.001,0.83,0.97,0.4,7,-;blurred,frozen")
    assert t.quality == cvfeeder.Quality(
        mean=112.4,
        contrast=38.2,
        sharpness=182.5,
        clipped=0.001,
        difference=0.83,
        similarity=0.97,
        age=0.4,
        conditions=("blurred", "frozen"),
    )
    new = tensor(Quality="3.0,0.4,0.2,0.950,-,-,0.0").quality
    assert new is not None
    assert new.difference is None
    assert new.similarity is None
    assert new.conditions == ()
    assert tensor().quality is None
    for wrong in ("1,2,3", "1,2,3,4,5,6,x", "-,2,3,4,5,6,7", "1,2,3,4,5,6,7;", "1,2,3,4,5,6,٣"):
        with pytest.raises(cvfeeder.InvalidMessage, match="Cvf-Quality"):
            tensor(Quality=wrong)


TRACED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ({"traceparent": TRACED}, TRACED),
        ({}, ""),
        ({"traceparent": TRACED.upper()}, ""),
        ({"traceparent": TRACED + "-x"}, ""),
        ({"traceparent": "00-" + "0" * 32 + TRACED[35:]}, ""),
    ],
)
def test_the_trace_is_not_needed(header: dict[str, str], want: str) -> None:
    item = cvfeeder.parse("cvf.t.front-door.detector", HEADERS | header, PAYLOAD)
    assert isinstance(item, cvfeeder.Tensor)
    assert item.traceparent == want


def test_the_array_is_the_payload() -> None:
    array = tensor().array
    assert (array.shape, array.dtype) == ((1, 3, 2, 4), np.dtype("f4"))
    assert array.tobytes() == PAYLOAD
    assert np.shares_memory(array, np.frombuffer(PAYLOAD, "u1"))
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "layout", "datatype", "color", "dtype"),
    [
        ("1,3,4,4", "NCHW", "FP16", "BGR", np.float16),
        ("1,4,8,3", "NHWC", "UINT8", "RGB", np.uint8),
        ("1,1,4,6", "NCHW", "FP32", "GRAY", np.float32),
    ],
)
def test_types(shape: str, layout: str, datatype: str, color: str, dtype: type) -> None:
    one = {"Mean": "0.5", "Std": "2"} if color == "GRAY" else {}
    t = tensor(Shape=shape, Layout=layout, Dtype=datatype, Color=color, **one)
    assert t.array.dtype == dtype
    assert t.array.shape == tuple(map(int, shape.split(",")))


@pytest.mark.parametrize(
    ("header", "value", "tells"),
    [
        ("Version", "2", "version"),
        ("Version", None, "missing"),
        ("Stream", "", "empty"),
        ("Output", "x" * 1025, "longer"),
        ("Time", "2026-01-02 03:04:05Z", "time like"),
        ("Time", "2026-13-02T03:04:05Z", "time like"),
        ("Time", "0001-01-01T00:00:00+23:59", "time like"),
        ("Time", "٢026-01-02T03:04:05Z", "time like"),
        ("Capture", None, "missing"),
        ("Dtype", "FP64", "not one of"),
        ("Shape", "1,3,2", "not 4 whole"),
        ("Shape", "1,3,2,-4", "not 4 whole"),
        ("Shape", "1,3,0,4", "not within"),
        ("Shape", "1,3,65537,4", "not within"),
        ("Shape", "1,3,65536,65536", "too large"),
        ("Shape", "2,3,2,2", "not one map"),
        ("Shape", "1,4,2,3", "is not RGB"),
        ("Shape", "1,3,2,5", "96 bytes"),
        ("Shape", "1,3,2,٤", "not 4 whole"),
        ("Layout", "nchw", "not one of"),
        ("Color", "GRAY", "Mean"),
        ("Source", "1920,1080", "not 2 whole"),
        ("Affine", "1,0,0,0,1", "not 6 number"),
        ("Affine", "1,0,0,0,1,nan", "not 6 number"),
        ("Affine", "1,0,0,0,1,1e999", "not finite"),
        ("Affine", "1,0,0,0,1,1_0", "not 6 number"),
        ("Scale", "0", "factor"),
        ("Std", "1,0,1", "factor"),
        ("Std", "1,1", "not 3 number"),
        ("Normalized", "no", "not one of"),
        ("Chunk", "1/2", "part"),
    ],
)
def test_invalid_headers_are_named(header: str, value: str | None, tells: str) -> None:
    headers = HEADERS | {f"Cvf-{header}": value or ""}
    if value is None:
        del headers[f"Cvf-{header}"]
    with pytest.raises(cvfeeder.InvalidMessage, match=tells) as raised:
        cvfeeder.parse("s", headers, PAYLOAD)
    assert len(str(raised.value)) < 300


def test_no_headers() -> None:
    with pytest.raises(cvfeeder.InvalidMessage, match="Cvf-Version"):
        cvfeeder.parse("s", None, PAYLOAD)


def test_whatever_comes_is_parsed_or_refused() -> None:
    dice = random.Random(1)  # noqa: S311
    alphabet = "0123456789,.:-+eTZxN/ aé\x00;!%"
    slots = "2026-01-02T03:04:05.000Z!repeat,2026-01-02T03:04:05.200Z"
    clip = {"Cvf-Layout": "NCTHW", "Cvf-Shape": "1,3,2,2,2", "Cvf-Clip": slots}
    batch = {"Cvf-Shape": "2,3,2,2", "Cvf-Batch": "a%20,!b", "Cvf-Source": "9x7;0x0"}
    batch |= {"Cvf-Affine": "1,0,0,0,1,0;0,0,0,0,0,0"}
    picture = {"Content-Type": "image/png", "Content-Length": "96", "Cvf-Shape": "9,9,3"}
    kinds = [GAP, *(HEADERS | more for more in ({}, clip, batch, picture))]
    refused = 0
    for _ in range(20_000):
        headers = dict(dice.choice(kinds))
        name = dice.choice(list(headers))
        value = list(headers[name])
        for _ in range(dice.randint(1, 3)):
            value[dice.randrange(len(value)) : dice.randint(0, 3)] = dice.choice(alphabet)
        headers[name] = "".join(value)
        try:
            item = cvfeeder.parse("s", headers, PAYLOAD if "Cvf-Shape" in headers else b"")
        except cvfeeder.InvalidMessage:
            refused += 1
            continue
        if isinstance(item, cvfeeder.Tensor):
            assert len(item.affines) == len(item.sources)
            assert item.content_type or item.array.nbytes == len(PAYLOAD)
            assert item.to_source([1, 1], tile=len(item.affines) - 1).shape == (2,)
    assert 0 < refused < 20_000


def test_end_of_a_replay() -> None:
    headers = {
        "Cvf-Version": "1",
        "Cvf-Stream": "cam-1",
        "Cvf-Output": "detector",
        "Cvf-Time": "2026-01-02T03:00:00.000Z",
        "Cvf-End": "3",
        "Cvf-Replay": "j1",
        "Cvf-Spec": "f1",
    }
    end = cvfeeder.parse("cvf.r.j1.cam-1.detector", headers, b"")
    assert isinstance(end, cvfeeder.Gap)
    assert (end.stream, end.output, end.reason, end.slots) == ("cam-1", "detector", "end", 3)
    assert end.start == end.end == datetime(2026, 1, 2, 3, tzinfo=UTC)
    with pytest.raises(cvfeeder.InvalidMessage, match="payload"):
        cvfeeder.parse("cvf.r.j1.cam-1.detector", headers, b"x")


def test_inline_gap() -> None:
    gap = cvfeeder.parse("cvf.t.front-door.detector", GAP, b"")
    assert isinstance(gap, cvfeeder.Gap)
    assert (gap.stream, gap.output, gap.reason, gap.slots, gap.spec) == (
        "front-door", "detector", "no_media", 4, "3f2a",
    )  # fmt: skip
    assert gap.end - gap.start == timedelta(milliseconds=600)
    for change, tells in [
        ({"Cvf-Gap-To": "2026-01-02T03:04:05.000Z"}, "before"),
        ({"Cvf-Gap-Slots": "0"}, "not within"),
        ({"Cvf-Gap-Slots": "-1"}, "whole"),
    ]:
        with pytest.raises(cvfeeder.InvalidMessage, match=tells):
            cvfeeder.parse("s", GAP | change, b"")
    with pytest.raises(cvfeeder.InvalidMessage, match="payload"):
        cvfeeder.parse("s", GAP, b"1")
