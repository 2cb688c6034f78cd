"""Writes the cases: messages as files, and what clients have to make of them, by hand."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
SUBJECT = "cvf.t.front-door.detector"
HEADERS = {
    "Cvf-Version": "1",
    "Cvf-Stream": "front-door",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:04:05.200Z",
    "Cvf-Capture": "2026-01-02T03:04:05.207Z",
    "Cvf-Dtype": "FP32",
    "Cvf-Shape": "1,3,1,2",
    "Cvf-Layout": "NCHW",
    "Cvf-Color": "RGB",
    "Cvf-Source": "1920x1080",
    "Cvf-Affine": "3,0,0,0,3,-420",
    "Cvf-Scale": "0.00392156862745098",
    "Cvf-Mean": "0.485,0.456,0.406",
    "Cvf-Std": "0.229,0.224,0.225",
    "Cvf-Spec": "3f2a",
    "Nats-Msg-Id": "front-door/1767323045200/detector/3f2a",
}
FLOATS = [-2.0, -1.5, 0.0, 0.5, 1.25, 2.5]
PAYLOAD = struct.pack("<6f", *FLOATS)
TENSOR = {
    "kind": "tensor",
    "subject": SUBJECT,
    "stream": "front-door",
    "output": "detector",
    "time": "2026-01-02T03:04:05.200Z",
    "capture": "2026-01-02T03:04:05.207Z",
    "datatype": "FP32",
    "shape": [1, 3, 1, 2],
    "layout": "NCHW",
    "color": "RGB",
    "source": [1920, 1080],
    "affine": [3, 0, 0, 0, 3, -420],
    "scale": 0.00392156862745098,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "normalized": True,
    "late": False,
    "spec": "3f2a",
    "traceparent": "",
    "elements": FLOATS,
    "values": FLOATS,
}
GAP_HEADERS = {
    "Cvf-Version": "1",
    "Cvf-Stream": "front-door",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:04:05.400Z",
    "Cvf-Gap": "no_media",
    "Cvf-Gap-To": "2026-01-02T03:04:06.000Z",
    "Cvf-Gap-Slots": "4",
    "Cvf-Spec": "3f2a",
}
GAP = {
    "kind": "gap",
    "subject": SUBJECT,
    "stream": "front-door",
    "output": "detector",
    "start": "2026-01-02T03:04:05.400Z",
    "end": "2026-01-02T03:04:06.000Z",
    "slots": 4,
    "reason": "no_media",
}
EVENT_SUBJECT = "cvf.gap.front-door"
EVENT = {
    "stream": "front-door",
    "from": "2026-01-02T03:04:05.400Z",
    "to": "2026-01-02T03:04:06Z",
    "slots": 4,
    "reason": "no_media",
}
INVALID = {"kind": "invalid"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Message = tuple[str, dict[str, str], bytes]
written: list[str] = []


def message(
    changes: dict[str, str | None] | None = None, payload: bytes = PAYLOAD
) -> Message:
    """Return a tensor's message with other headers; None takes one away."""
    headers = {**HEADERS, **(changes or {})}
    return SUBJECT, {k: v for k, v in headers.items() if v is not None}, payload


def part(number: object, total: object, payload: bytes, **changes: str) -> Message:
    """Return a part of a tensor's message."""
    named = {"Cvf-" + k: v for k, v in changes.items() if k != "traceparent"}
    named |= {k: v for k, v in changes.items() if k == "traceparent"}
    chunk = {
        "Cvf-Chunk": f"{number}/{total}",
        "Nats-Msg-Id": f"{HEADERS['Nats-Msg-Id']}/{number}/{total}",
    }
    return message({**named, **chunk}, payload)


def case(
    name: str,
    about: str,
    messages: list[Message],
    want: list[dict[str, Any]],
    incomplete: int = 0,
    more: dict[str, Any] | None = None,
) -> None:
    """Write one case."""
    directory = CASES / name
    directory.mkdir(parents=True)
    listed = []
    for i, (subject, headers, payload) in enumerate(messages, 1):
        block = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        (directory / f"{i}.msg").write_bytes(
            f"NATS/1.0\r\n{block}\r\n".encode() + payload
        )
        listed.append({"file": f"{i}.msg", "subject": subject})
    text = {"about": about, "messages": listed, "want": want, "incomplete": incomplete}
    text |= more or {}
    (directory / "case.json").write_text(json.dumps(text, indent=1) + "\n")
    written.append(name)


def kinds() -> None:
    """Write the kinds of tensors."""
    case("fp32-nchw-rgb", "a tensor as most are", [message()], [TENSOR])
    halves = [-2.0, -1.5, 0.0, 0.5, 6.103515625e-05, 65504.0]
    case(
        "fp16-nhwc-bgr",
        "halves, one subnormal's neighbour and the largest",
        [
            message(
                {
                    "Cvf-Dtype": "FP16",
                    "Cvf-Shape": "1,1,2,3",
                    "Cvf-Layout": "NHWC",
                    "Cvf-Color": "BGR",
                },
                struct.pack("<6e", *halves),
            )
        ],
        [
            TENSOR
            | {
                "datatype": "FP16",
                "shape": [1, 1, 2, 3],
                "layout": "NHWC",
                "color": "BGR",
                "elements": halves,
                "values": halves,
            }
        ],
    )
    pixels = {
        "Cvf-Dtype": "UINT8",
        "Cvf-Normalized": "false",
        "Cvf-Mean": "0.5,0.25,0",
        "Cvf-Std": "0.5,1,2",
        "Cvf-Scale": "0.1",
    }
    raw = {
        "datatype": "UINT8",
        "normalized": False,
        "scale": 0.1,
        "mean": [0.5, 0.25, 0],
        "std": [0.5, 1, 2],
        "elements": [0, 10, 20, 30, 40, 255],
    }
    case(
        "uint8-nchw",
        "pixels, which the consumer normalizes for each plane",
        [message(pixels, bytes([0, 10, 20, 30, 40, 255]))],
        [TENSOR | raw | {"values": [-1, 1, 1.75, 2.75, 2, 12.75]}],
    )
    case(
        "uint8-nhwc",
        "pixels, which the consumer normalizes for each channel",
        [
            message(
                pixels | {"Cvf-Shape": "1,1,2,3", "Cvf-Layout": "NHWC"},
                bytes([0, 10, 20, 30, 40, 255]),
            )
        ],
        [
            TENSOR
            | raw
            | {
                "shape": [1, 1, 2, 3],
                "layout": "NHWC",
                "values": [-1, 0.75, 1, 5, 3.75, 12.75],
            }
        ],
    )
    brains = [-2.0, -1.5, 0.0, 0.5, 2.0**-133, 98304.0]
    case(
        "bf16-nchw",
        "the upper halves of floats, the smallest among them",
        [
            message(
                {"Cvf-Dtype": "BF16"},
                b"".join(struct.pack("<f", v)[2:] for v in brains),
            )
        ],
        [TENSOR | {"datatype": "BF16", "elements": brains, "values": brains}],
    )
    quantized = {"Cvf-Quant-Scale": "0.0625", "Cvf-Quant-Zero-Point": "-128"}
    case(
        "int8-quantized",
        "elements with a scale and a zero point",
        [
            message(
                quantized | {"Cvf-Dtype": "INT8"},
                struct.pack("<6b", -128, -127, -1, 0, 1, 127),
            )
        ],
        [
            TENSOR
            | {
                "datatype": "INT8",
                "quant_scale": 0.0625,
                "quant_zero_point": -128,
                "elements": [-128, -127, -1, 0, 1, 127],
                "values": [0, 0.0625, 7.9375, 8, 8.0625, 15.9375],
            }
        ],
    )
    case(
        "uint8-quantized",
        "elements with a scale and a zero point that are no pixels",
        [
            message(
                {
                    "Cvf-Dtype": "UINT8",
                    "Cvf-Quant-Scale": "0.5",
                    "Cvf-Quant-Zero-Point": "128",
                },
                bytes([0, 1, 127, 128, 129, 255]),
            )
        ],
        [
            TENSOR
            | {
                "datatype": "UINT8",
                "quant_scale": 0.5,
                "quant_zero_point": 128,
                "elements": [0, 1, 127, 128, 129, 255],
                "values": [-64, -63.5, -0.5, 0, 0.5, 63.5],
            }
        ],
    )
    case(
        "gray",
        "one channel",
        [
            message(
                {
                    "Cvf-Color": "GRAY",
                    "Cvf-Shape": "1,1,2,3",
                    "Cvf-Mean": "0.5",
                    "Cvf-Std": "2",
                }
            )
        ],
        [TENSOR | {"color": "GRAY", "shape": [1, 1, 2, 3], "mean": [0.5], "std": [2]}],
    )
    case(
        "late",
        "a slot that had been announced as a gap",
        [message({"Cvf-Late": "true"})],
        [TENSOR | {"late": True}],
    )
    case(
        "other-headers",
        "what JetStream adds, and what nobody knows",
        [message({"Nats-Expected-Stream": "cvfeeder", "Cvf-Future": "x", "X": ""})],
        [TENSOR],
    )
    case(
        "traces",
        "a trace context, and ones that are none",
        [
            message({"traceparent": t})
            for t in (TRACE, TRACE.upper(), TRACE[:-1], "00-" + "0" * 32 + TRACE[35:])
        ],
        [TENSOR | {"traceparent": TRACE}, *[TENSOR] * 3],
    )


def maps() -> None:
    """Write the maps back to the camera's picture."""
    case(
        "letterbox",
        "boxes map back and are clipped; those in the bars have no height",
        [message()],
        [
            TENSOR
            | {
                "boxes": [
                    [[100, 200, 300, 400], [300, 180, 900, 780]],
                    [[0, 0, 640, 640], [0, 0, 1920, 1080]],
                    [[10, 0, 20, 100], [30, 0, 60, 0]],
                ]
            }
        ],
    )
    case(
        "quarter-turn",
        "a box stays upright",
        [message({"Cvf-Affine": "0,-1,100,1,0,0"})],
        [
            TENSOR
            | {
                "affine": [0, -1, 100, 1, 0, 0],
                "boxes": [[[10, 20, 30, 60], [40, 10, 80, 30]]],
            }
        ],
    )
    case(
        "lens",
        "a rectified picture: boxes map back to the camera's own, and are clipped to it",
        [
            message(
                {
                    "Cvf-Affine": "1,0,0,0,1,0",
                    "Cvf-Source": "1280x720",
                    "Cvf-Map": "homography;1920x1080;1280x720;0.5,0,10,0,0.5,20,0,0,1",
                }
            )
        ],
        [
            TENSOR
            | {
                "affine": [1, 0, 0, 0, 1, 0],
                "source": [1280, 720],
                "boxes": [
                    [[100, 200, 300, 400], [60.25, 120.25, 160.25, 220.25]],
                    [[-100, -200, 9000, 400], [0, 0, 1920, 220.25]],
                ],
            }
        ],
    )
    case(
        "fractions",
        "numbers in all their forms",
        [message({"Cvf-Affine": "1e0,-.5,+2.5E1,0.,1,-0", "Cvf-Source": "9x7"})],
        [
            TENSOR
            | {
                "affine": [1, -0.5, 25, 0, 1, 0],
                "source": [9, 7],
                "boxes": [[[0, 0, 2, 2], [9, 0, 9, 2]]],
            }
        ],
    )


def gaps() -> None:
    """Write the gaps."""
    inline: Message = (SUBJECT, GAP_HEADERS, b"")
    case(
        "inline-gap",
        "in its place among the tensors",
        [message(), inline, message()],
        [TENSOR, GAP, TENSOR],
    )
    event: Message = (EVENT_SUBJECT, {}, json.dumps(EVENT).encode())
    case(
        "gap-event",
        "on a subject of its own",
        [event],
        [GAP | {"subject": EVENT_SUBJECT, "output": ""}],
    )
    bad = [
        json.dumps(EVENT | change).encode()
        for change in (
            {"slots": 0},
            {"slots": 1.5},
            {"stream": ""},
            {"reason": 3},
            {"to": "2026-01-02T03:04:05Z"},
            {"from": "yesterday"},
        )
    ]
    case(
        "bad-gap-events",
        "none of them is believed",
        [
            (EVENT_SUBJECT, {}, data)
            for data in (
                *bad,
                b"",
                b"{",
                b"[1]",
                b'"x"',
                b"[" * 10_000,
                b" " * (65 << 10),
            )
        ],
        [INVALID] * 12,
    )
    wrong = [
        {"Cvf-Gap-Slots": "0"},
        {"Cvf-Gap-To": "2026-01-02T03:04:05Z"},
        {"Cvf-Time": "x"},
        {"Cvf-Version": "2"},
        {"Cvf-Stream": ""},
    ]
    case(
        "bad-inline-gaps",
        "none of them is believed, nor one with a payload",
        [
            *((SUBJECT, GAP_HEADERS | w, b"") for w in wrong),
            (SUBJECT, GAP_HEADERS, b"x"),
        ],
        [INVALID] * 6,
    )


def invalid() -> None:
    """Write what is to be refused."""
    nan = struct.pack("<6f", *[float("nan")] * 6)
    quantized: dict[str, str | None] = {
        "Cvf-Dtype": "INT8",
        "Cvf-Shape": "1,3,2,4",
        "Cvf-Quant-Scale": "1",
        "Cvf-Quant-Zero-Point": "0",
    }
    wrong: dict[str, list[dict[str, str | None]]] = {
        "version": [{"Cvf-Version": v} for v in (None, "", "2", "1.0")],
        "missing": [
            {k: None} for k in HEADERS if k not in ("Cvf-Version", "Nats-Msg-Id")
        ],
        "dtype": [{"Cvf-Dtype": v} for v in ("FP64", "fp32", "INT16")],
        "shape": [
            {"Cvf-Shape": v}
            for v in (
                "1,3,1",
                "2,3,1,1",
                "1,1,3,2",
                "1,3,0,2",
                "1,3,-1,2",
                "1,3,1,2,1",
                "1, 3,1,2",
                "1,3,65537,1",
                "1,3,1,99999999999",
            )
        ],
        "huge": [{"Cvf-Shape": "1,3,65536,65536"}],
        "map": [
            {"Cvf-Map": v}
            for v in (
                "",
                "wide;1x1;1x1;1",
                "homography;1x1;1x1;1,0,0",
                "fisheye;1x0;1x1;1,1,1,1;1,1,1,1;0,0,0,0",
                "pinhole;1x1;1x1;1,1,1,1;0,1,1,1;0,0,0,0",
            )
        ],
        "layout": [
            {"Cvf-Layout": "NHWC"},
            {"Cvf-Layout": "nchw"},
            {"Cvf-Color": "GRAY", "Cvf-Mean": "0", "Cvf-Std": "1"},
        ],
        "source": [
            {"Cvf-Source": v} for v in ("1920", "0x1", "1920X1080", "-1x1", "1x1x1")
        ],
        "numbers": [
            {"Cvf-Affine": v}
            for v in (
                "1,0,0,0,1",
                "1,0,0,0,1,nan",
                "1,0,0,0,1,inf",
                "1,0,0,0,1,1e999",
                "1,0,0,0,1,0x1",
            )
        ],
        "factors": [
            {"Cvf-Scale": "0"},
            {"Cvf-Std": "1,0,1"},
            {"Cvf-Mean": "0,0"},
            {"Cvf-Std": "1"},
        ],
        "times": [
            {"Cvf-Time": v}
            for v in (
                "2026-01-02",
                "2026-13-02T03:04:05Z",
                "1767323045200",
                "2026-01-02T03:04:05",
            )
        ],
        "quantization": [
            quantized | change
            for change in (
                {"Cvf-Dtype": "FP32", "Cvf-Shape": "1,3,1,2"},
                {"Cvf-Quant-Scale": "0"},
                {"Cvf-Quant-Scale": "-1"},
                {"Cvf-Quant-Scale": "x"},
                {"Cvf-Quant-Zero-Point": "0.5"},
                {"Cvf-Quant-Zero-Point": "256"},
                {"Cvf-Quant-Zero-Point": None},
            )
        ],
        "normalized": [{"Cvf-Normalized": "maybe"}],
        "long": [{"Cvf-Stream": "x" * 1025}],
    }
    for name, changes in wrong.items():
        about = f"{name}: each message is refused, and the one after it is not"
        case(
            f"invalid-{name}",
            about,
            [*map(message, changes), message()],
            [*[INVALID] * len(changes), TENSOR],
        )
    lengths = [
        message({}, data) for data in (b"", PAYLOAD[:-1], PAYLOAD + b"\0", 2 * PAYLOAD)
    ]
    case(
        "invalid-length",
        "the payload is not what the headers say",
        [*lengths, (SUBJECT, {}, b"hello"), message()],
        [*[INVALID] * 5, TENSOR],
    )
    case(
        "not-a-number",
        "elements are not judged",
        [message({}, nan)],
        [{k: v for k, v in TENSOR.items() if k not in ("elements", "values")}],
    )


def tiles() -> None:
    """Write tensors of several pictures of one camera."""
    two = {"Cvf-Shape": "2,3,1,1", "Cvf-Affine": "3,0,0,0,3,-420;3,0,18.5,0,3,-1e2"}
    tensor = {k: v for k, v in TENSOR.items() if k != "affine"}
    case(
        "tiles",
        "each picture has a map of its own",
        [message(two)],
        [
            tensor
            | {
                "shape": [2, 3, 1, 1],
                "affines": [[3, 0, 0, 0, 3, -420], [3, 0, 18.5, 0, 3, -100]],
                "boxes": [
                    [[100, 200, 300, 400], [300, 180, 900, 780], 0],
                    [[100, 200, 300, 400], [318.5, 500, 918.5, 1080], 1],
                ],
            }
        ],
    )
    pixels = {"Cvf-Dtype": "UINT8", "Cvf-Normalized": "false", "Cvf-Scale": "0.1"}
    pixels |= {"Cvf-Mean": "0.5,0.25,0", "Cvf-Std": "0.5,1,2"}
    raw: dict[str, Any] = {"datatype": "UINT8", "normalized": False, "scale": 0.1}
    raw |= {
        "mean": [0.5, 0.25, 0],
        "std": [0.5, 1, 2],
        "elements": [0, 10, 20, 30, 40, 255],
    }
    for layout, shape in (("NCHW", [2, 3, 1, 1]), ("NHWC", [2, 1, 1, 3])):
        case(
            f"tiles-uint8-{layout.lower()}",
            "pixels of several pictures, which the consumer normalizes",
            [
                message(
                    two
                    | pixels
                    | {"Cvf-Layout": layout, "Cvf-Shape": ",".join(map(str, shape))},
                    bytes(raw["elements"]),
                )
            ],
            [
                tensor
                | raw
                | {
                    "shape": shape,
                    "layout": layout,
                    "values": [-1, 0.75, 1, 5, 3.75, 12.75],
                }
            ],
        )
    wrong: list[dict[str, str | None]] = [
        two | change
        for change in (
            {"Cvf-Affine": "3,0,0,0,3,-420"},
            {"Cvf-Affine": two["Cvf-Affine"] + ";1,0,0,0,1,0"},
            {"Cvf-Affine": "3,0,0,0,3,-420;"},
            {"Cvf-Affine": "3,0,0,0,3,-420;3,0,0,0,3"},
            {"Cvf-Affine": "3,0,0,0,3,-420;3,0,0,0,3,nan"},
            {"Cvf-Affine": "3,0,0,0,3,-420,3,0,0,0,3,-420"},
            {"Cvf-Shape": "1,3,1,2"},
            {"Cvf-Source": "1920x1080;1920x1080"},
        )
    ]
    many = {
        "Cvf-Shape": "1025,1,1,1",
        "Cvf-Color": "GRAY",
        "Cvf-Mean": "0",
        "Cvf-Std": "1",
    }
    case(
        "invalid-tiles",
        "maps of other pictures than there are, and more pictures than anybody has",
        [
            *map(message, wrong),
            message(
                many | {"Cvf-Affine": ";".join(["1,0,0,0,1,0"] * 1025)}, bytes(4100)
            ),
            message(),
        ],
        [*[INVALID] * (len(wrong) + 1), TENSOR],
    )


def clips() -> None:
    """Write tensors of several frames."""
    slots = ["2026-01-02T03:04:04.800Z", "2026-01-02T03:04:05.200Z"]
    pixels = {"Cvf-Dtype": "UINT8", "Cvf-Normalized": "false", "Cvf-Scale": "0.1"}
    pixels |= {"Cvf-Mean": "0.5,0.25,0", "Cvf-Std": "0.5,1,2"}
    raw = {"datatype": "UINT8", "normalized": False, "scale": 0.1}
    raw |= {
        "mean": [0.5, 0.25, 0],
        "std": [0.5, 1, 2],
        "elements": [0, 10, 20, 30, 40, 255],
    }
    planes, interleaved = [-1, 1, 1.75, 2.75, 2, 12.75], [-1, 0.75, 1, 5, 3.75, 12.75]
    two = {"Cvf-Clip": f"{slots[0]}!black,{slots[1]}", "Cvf-Layout": "NCTHW"}
    two |= {"Cvf-Shape": "1,3,2,1,1"}
    for layout, shape, values in (
        ("NCTHW", [1, 3, 2, 1, 1], planes),
        ("NTCHW", [1, 2, 3, 1, 1], interleaved),
        ("NTHWC", [1, 2, 1, 1, 3], interleaved),
    ):
        clip = {
            "Cvf-Layout": layout,
            "Cvf-Shape": ",".join(map(str, shape)),
            "Cvf-Clip": f"{slots[0]},{slots[1]}!repeat",
        }
        case(
            f"clip-{layout.lower()}",
            "frames with their slots, one of which was missing",
            [message(pixels | clip, bytes([0, 10, 20, 30, 40, 255]))],
            [
                TENSOR
                | raw
                | {
                    "shape": shape,
                    "layout": layout,
                    "slots": slots,
                    "missing": ["", "repeat"],
                    "values": values,
                    "boxes": [[[100, 200, 300, 400], [300, 180, 900, 780]]],
                }
            ],
        )
    wrong: list[dict[str, str | None]] = [
        two | change
        for change in (
            {"Cvf-Clip": None},
            {"Cvf-Clip": slots[0]},
            {"Cvf-Clip": ",".join([*slots, slots[1]])},
            {"Cvf-Clip": f"{slots[0]},"},
            {"Cvf-Clip": f"{slots[0]},{slots[1]}!"},
            {"Cvf-Clip": f"{slots[0]},{slots[1]}!white"},
            {"Cvf-Clip": f"{slots[0]},!repeat"},
            {"Cvf-Clip": f"{slots[0]},yesterday"},
            {"Cvf-Shape": "1,3,2,1"},
            {"Cvf-Shape": "1,2,3,1,1"},
            {"Cvf-Shape": "2,3,2,1,1", "Cvf-Affine": "3,0,0,0,3,-420;3,0,0,0,3,-420"},
            {"Cvf-Affine": "3,0,0,0,3,-420;3,0,0,0,3,-420"},
            {"Cvf-Layout": "NTWHC"},
        )
    ]
    clip = message(two)
    case(
        "invalid-clips",
        "frames that are not those of the shape",
        [*map(message, wrong), clip],
        [
            *[INVALID] * len(wrong),
            TENSOR
            | {
                "shape": [1, 3, 2, 1, 1],
                "layout": "NCTHW",
                "slots": slots,
                "missing": ["black", ""],
            },
        ],
    )
    case(
        "clip-in-parts",
        "it is joined as any other tensor",
        [
            part(1, 2, PAYLOAD[:12], **{k[4:]: v for k, v in two.items()}),
            part(2, 2, PAYLOAD[12:], **{k[4:]: v for k, v in two.items()}),
        ],
        [TENSOR | {"shape": [1, 3, 2, 1, 1], "layout": "NCTHW", "slots": slots}],
    )


def batches() -> None:
    """Write tensors of several cameras."""
    one = {
        "Cvf-Color": "GRAY",
        "Cvf-Mean": "0.5",
        "Cvf-Std": "2",
        "Cvf-Shape": "3,1,1,2",
    }
    one |= {"Cvf-Stream": "yard", "Cvf-Batch": "cam-1,!cam-2,a%2Cb%21%25%C3%A4"}
    one |= {"Cvf-Source": "1920x1080;0x0;1280x720"}
    one |= {"Cvf-Affine": "3,0,0,0,3,-420;0,0,0,0,0,0;2,0,1,0,2,0"}
    tensor = {k: v for k, v in TENSOR.items() if k not in ("affine", "source")}
    case(
        "batch",
        "a row of each stream, one of which had no frame",
        [message(one)],
        [
            tensor
            | {
                "stream": "yard",
                "shape": [3, 1, 1, 2],
                "color": "GRAY",
                "mean": [0.5],
                "std": [2],
                "streams": ["cam-1", "cam-2", "a,b!%ä"],
                "present": [True, False, True],
                "sources": [[1920, 1080], [0, 0], [1280, 720]],
                "affines": [
                    [3, 0, 0, 0, 3, -420],
                    [0, 0, 0, 0, 0, 0],
                    [2, 0, 1, 0, 2, 0],
                ],
                "boxes": [
                    [[100, 200, 300, 400], [300, 180, 900, 780], 0],
                    [[100, 200, 800, 400], [201, 400, 1280, 720], 2],
                ],
            }
        ],
    )
    wrong: list[dict[str, str | None]] = [
        one | change
        for change in (
            {"Cvf-Batch": "cam-1,cam-2"},
            {"Cvf-Batch": "cam-1,,cam-3"},
            {"Cvf-Batch": "cam-1,!,cam-3"},
            {"Cvf-Batch": "cam-1,!cam-2,cam%2"},
            {"Cvf-Batch": "cam-1,!cam-2,cam%FF"},
            {"Cvf-Batch": "cam-1,!cam-2," + "x" * 1025},
            {"Cvf-Batch": "cam-1,cam-2,cam-3"},  # the second one has no size
            {"Cvf-Batch": None},
            {"Cvf-Source": "1920x1080"},
            {"Cvf-Source": "1920x1080;0x0;1280x720;1x1"},
            {"Cvf-Source": "1920x1080;0x0;0x0"},
            {"Cvf-Affine": "3,0,0,0,3,-420"},
            {"Cvf-Shape": "2,1,1,3"},
        )
    ]
    case(
        "invalid-batches",
        "streams that are not those of the rows",
        [*map(message, wrong), message()],
        [*[INVALID] * len(wrong), TENSOR],
    )


def pictures() -> None:
    """Write encoded pictures."""
    names = ("Dtype", "Layout", "Scale", "Mean", "Std")
    plain: dict[str, str | None] = {f"Cvf-{name}": None for name in names}
    plain |= {"Content-Type": "image/jpeg", "Cvf-Shape": "1080,1920,3"}
    payload = b"\xff\xd8\xff, and what else it holds is not judged"
    plain |= {"Content-Length": str(len(payload))}
    picture = {
        "kind": "picture",
        "subject": SUBJECT,
        "stream": "front-door",
        "output": "detector",
        "time": "2026-01-02T03:04:05.200Z",
        "capture": "2026-01-02T03:04:05.207Z",
        "content_type": "image/jpeg",
        "shape": [1080, 1920, 3],
        "color": "RGB",
        "source": [1920, 1080],
        "affine": [3, 0, 0, 0, 3, -420],
        "spec": "3f2a",
        "payload": list(payload),
        "boxes": [[[100, 200, 300, 400], [300, 180, 900, 780]]],
    }
    gray = plain | {
        "Cvf-Shape": "2,3,1",
        "Cvf-Color": "GRAY",
        "Content-Type": "image/png",
    }
    gray |= {"Content-Length": "1"}
    webp = plain | {"Content-Type": "image/webp"}
    case(
        "pictures",
        "encoded, as their content type says",
        [message(plain, payload), message(gray, b"x"), message(webp, payload)],
        [
            picture,
            picture
            | {
                "content_type": "image/png",
                "shape": [2, 3, 1],
                "color": "GRAY",
                "payload": [ord("x")],
            },
            picture | {"content_type": "image/webp"},
        ],
    )
    wrong: list[dict[str, str | None]] = [
        plain | change
        for change in (
            {"Content-Type": ""},
            {"Content-Type": "text/html"},
            {"Content-Type": "image/gif"},
            {"Content-Type": "IMAGE/JPEG"},
            {"Cvf-Shape": "1080,1920"},
            {"Cvf-Shape": "1,3,1080,1920"},
            {"Cvf-Shape": "1080,1920,1"},
            {"Cvf-Shape": "1080,1920,4"},
            {"Cvf-Shape": "65536,65536,3"},
            {"Cvf-Color": "BGR"},
            {"Cvf-Affine": "1,0,0,0,1,0;1,0,0,0,1,0"},
            {"Cvf-Affine": None},
            {"Cvf-Source": None},
            {"Cvf-Spec": None},
            {"Content-Length": None},
            {"Content-Length": "0"},
            {"Content-Length": "-1"},
            {"Content-Length": str(len(payload) - 1)},
            {"Content-Length": str(len(payload) + 1)},
            {"Content-Length": "99999999999"},
        )
    ]
    case(
        "invalid-pictures",
        "types, sizes, lengths and colors that no picture has",
        [*(message(w, payload) for w in wrong), message(plain, b""), message()],
        [*[INVALID] * (len(wrong) + 1), TENSOR],
    )
    halves = [
        message(
            plain
            | {"Cvf-Chunk": f"{i}/2", "Nats-Msg-Id": f"{HEADERS['Nats-Msg-Id']}/{i}/2"},
            half,
        )
        for i, half in ((1, payload[:30]), (2, payload[30:]))
    ]
    case("picture-in-parts", "it is joined as a tensor is", halves, [picture])


def parts() -> None:
    """Write tensors in parts."""
    a, b, c = (PAYLOAD[i : i + 8] for i in (0, 8, 16))
    one, two, three = (part(i, 3, data) for i, data in enumerate((a, b, c), 1))
    case("parts", "a tensor in three parts", [one, two, three], [TENSOR])
    case(
        "parts-repeated",
        "repeats are ignored, also of what is complete",
        [one, one, two, three, two, one],
        [TENSOR],
    )
    case("parts-in-any-order", "the number counts", [three, one, two], [TENSOR])
    case(
        "parts-missing",
        "another message on the subject ends the wait",
        [one, three, message()],
        [TENSOR],
        1,
    )
    case(
        "parts-and-a-gap",
        "so does a gap",
        [one, (SUBJECT, GAP_HEADERS, b""), message()],
        [GAP, TENSOR],
        1,
    )
    later = {"Time": "2026-01-02T03:04:05.400Z"}
    case(
        "parts-of-another",
        "and so does another tensor",
        [one, part(1, 2, a + b, **later), part(2, 2, c, **later)],
        [TENSOR | {"time": later["Time"]}],
        1,
    )
    quantized = {"Dtype": "UINT8", "Quant-Scale": "0.5", "Quant-Zero-Point": "128"}
    elements = [0, 1, 127, 128, 129, 255]
    case(
        "parts-quantized",
        "and all that the headers say is of the whole",
        [part(i, 2, bytes(elements[3 * i - 3 : 3 * i]), **quantized) for i in (1, 2)],
        [
            TENSOR
            | {"datatype": "UINT8", "quant_scale": 0.5, "quant_zero_point": 128}
            | {"elements": elements, "values": [-64, -63.5, -0.5, 0, 0.5, 63.5]}
        ],
    )
    other = TRACE.replace("-00f", "-11f")
    case(
        "parts-of-two-attempts",
        "their trace contexts and qualities differ, and the first ones count",
        [
            part(1, 2, a + b, traceparent=TRACE, Quality="112.4,38.2,182.5,0.001,0.83,0.97,0.4"),
            part(2, 2, c, traceparent=other, Quality="112.4,38.2,182.5,0.001,-,-,1.4;blurred"),
        ],
        [TENSOR | {"traceparent": TRACE}],
    )
    good = "112.4,38.2,182.5,0.001,0.83,0.97"
    case(
        "invalid-quality",
        "how good the camera's pictures are: a later version may say more, but not less",
        [
            message({"Cvf-Quality": value})
            for value in (
                good,
                f"{good},x",
                f"-{good},0.4",
                f"{good},0.4;",
                f"{good},0.4,-,7;a,b_c",
            )
        ],
        [*[INVALID] * 4, TENSOR],
    )
    numbers = [
        ("0", "2"),
        ("1", "1"),
        ("3", "2"),
        ("1", "x"),
        ("-1", "2"),
        ("1", "99999999"),
        ("1", "2/3"),
    ]
    case(
        "invalid-parts",
        "numbers that are none",
        [*(part(i, n, a) for i, n in numbers), message()],
        [*[INVALID] * 7, TENSOR],
    )
    case(
        "parts-too-long",
        "more bytes than the tensor has",
        [part(1, 2, PAYLOAD + b"x"), message()],
        [INVALID, TENSOR],
    )
    case(
        "parts-and-an-invalid-one",
        "what had begun on the subject is given up, and so is what follows of it",
        [part(1, 3, a), part(4, 3, b), part(2, 3, b), part(3, 3, c), message()],
        [INVALID, TENSOR],
        2,
    )


HOST, FILE = "conformance1", "cvf-1a2b.mem"
PAGE, SLOT_HEADER, SLOTS = 4096, 64, 2
FIRST = 2 * PAGE  # where the first slot begins, whose tensor is of the third generation


def place(where: str) -> Message:
    """Return the message that says where a tensor is."""
    return f"cvf.m.{HOST}.{SUBJECT}", {**HEADERS, "Cvf-Memory": where}, b""


def memory_file() -> bytes:
    """Return a feeder's file: two slots of a page, of which the first has a tensor."""
    file = bytearray(FIRST + SLOTS * PAGE)
    struct.pack_into(
        "<8sQQQ16sxxxxxxxxxxxxxxxxQ",
        file,
        0,
        b"CVFMEM01",
        PAGE,
        SLOTS,
        FIRST,
        b"1a2b",
        5,
    )
    struct.pack_into("<QQQ", file, PAGE, 3, len(PAYLOAD), 7)
    file[FIRST : FIRST + len(PAYLOAD)] = PAYLOAD
    return bytes(file)


def memory_case(
    name: str,
    about: str,
    messages: list[Message],
    want: list[dict[str, Any]],
    without: list[dict[str, Any]],
) -> None:
    """Write a case in which tensors are in memory."""
    more = {"memory": {"host": HOST, "file": FILE}, "without": without}
    case(name, about, messages, want, more=more)
    (CASES / name / FILE).write_bytes(memory_file())


def memory() -> None:
    """Write the cases of tensors that are in memory."""
    where = f"{FILE};{FIRST};{len(PAYLOAD)};3"
    memory_case(
        "memory",
        "read where they are, in one order with payloads, or not at all",
        [place(where), message(), place(where), message()],
        [TENSOR] * 4,
        [TENSOR] * 2,
    )

    def lost(reason: str) -> dict[str, Any]:
        slot = {"start": HEADERS["Cvf-Time"], "end": HEADERS["Cvf-Time"], "slots": 1}
        return {**GAP, **slot, "reason": reason}

    overwritten = {
        "of an earlier generation": f"{FILE};{FIRST};{len(PAYLOAD)};2",
        "of a later one": f"{FILE};{FIRST};{len(PAYLOAD)};4",
        "of another length": f"{FILE};{FIRST};{len(PAYLOAD) - 4};3",
        "never used": f"{FILE};{FIRST + PAGE};{len(PAYLOAD)};3",
    }
    unreachable = [
        f"cvf-3c4d.mem;{FIRST};{len(PAYLOAD)};3",  # no such file
        f"{FILE};{FIRST + 64};{len(PAYLOAD)};3",  # no slot begins there
        f"{FILE};{FIRST + SLOTS * PAGE};{len(PAYLOAD)};3",  # behind the last one
        f"{FILE};{FIRST};{PAGE + 1};3",  # longer than a slot
    ]
    messages = [place(p) for p in overwritten.values()]
    want = [lost("memory_overwritten")] * len(overwritten)
    for one in unreachable:  # not in a row, or readers ask for payloads
        messages += [place(one), place(where)]
        want += [lost("memory_unreachable"), TENSOR]
    memory_case(
        "memory-lost",
        "a gap of one slot, with a reason",
        [*messages, message()],
        [*want, TENSOR],
        [TENSOR],
    )
    nowhere = [
        "",
        "x",
        f"../{FILE};{FIRST};24;3",
        f"{FILE};0{FIRST};24;3",
        f"{FILE};{FIRST};24;3;1",
    ]
    nowhere += [f"{FILE};-{FIRST};24;3", f"{FILE};{FIRST};0;3", f"{FILE};{FIRST};24;0"]
    memory_case(
        "memory-invalid",
        "places that are none are refused",
        [*(place(p) for p in nowhere), place(where), message()],
        [*([INVALID] * len(nowhere)), TENSOR, TENSOR],
        [TENSOR],
    )


def main() -> None:
    """Write all cases anew."""
    shutil.rmtree(CASES, ignore_errors=True)
    for write in (kinds, maps, gaps, invalid, tiles, clips, batches, pictures, parts, memory):
        write()
    print(f"{len(written)} cases")


if __name__ == "__main__":
    main()
