from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock, patch

import pytest
from nats.aio.msg import Msg
from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider

import cvfeeder
from cvfeeder._chunks import Joiner
from support import HEADERS, PAYLOAD, parts

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = TRACED.replace("-00f", "-11f")


def test_the_span_of_a_model_joins() -> None:
    t = cvfeeder.parse("cvf.t.front-door.detector", HEADERS | {"traceparent": TRACED}, PAYLOAD)
    assert isinstance(t, cvfeeder.Tensor)
    tracer = TracerProvider().get_tracer("model")
    with tracer.start_as_current_span("infer", extract({"traceparent": t.traceparent})) as span:
        context = span.get_span_context()
        assert f"{context.trace_id:x}" == TRACED[3:35]
        assert context.trace_flags.sampled


def test_without_a_trace_a_span_begins_one() -> None:
    t = cvfeeder.parse("cvf.t.front-door.detector", HEADERS, PAYLOAD)
    assert isinstance(t, cvfeeder.Tensor)
    tracer = TracerProvider().get_tracer("model")
    with tracer.start_as_current_span("infer", extract({"traceparent": t.traceparent})) as span:
        assert span.get_span_context().is_valid


def test_parts_of_two_attempts_are_one_tensor() -> None:
    joiner = Joiner(1 << 20, repeats=False)
    whole = None
    for (headers, data), attempt in zip(parts(2), [TRACED, OTHER], strict=True):
        msg = Msg(Mock(), subject="a", data=data, headers=headers | {"traceparent": attempt})
        whole = joiner.add(msg)
    assert whole is not None
    assert b"".join(whole.payloads) == PAYLOAD
    assert whole.headers["traceparent"] == TRACED
    assert joiner.incomplete == 0


@pytest.mark.parametrize("document", ["README.md", "../../docs/consumers.md"])
def test_the_example_joins(document: str) -> None:
    blocks = Path(document).read_text().split("```py\n")[1:]
    (example,) = [b.split("```")[0] for b in blocks if "opentelemetry" in b]
    seen = []

    def one(*_: object, **__: object) -> Iterator[cvfeeder.Tensor]:
        t = cvfeeder.parse("cvf.t.front-door.detector", HEADERS | {"traceparent": TRACED}, PAYLOAD)
        assert isinstance(t, cvfeeder.Tensor)
        yield t

    def detect(_: object) -> None:
        seen.append(f"{trace.get_current_span().get_span_context().trace_id:x}")

    names = {"cvfeeder": Mock(subscribe=one), "detect": detect}
    with patch.object(trace, "get_tracer", TracerProvider().get_tracer):
        exec(compile(example, document, "exec"), names)  # noqa: S102 - the documents are ours
    assert seen == [TRACED[3:35]]
