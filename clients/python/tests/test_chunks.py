from __future__ import annotations

from collections import OrderedDict
from typing import Any
from unittest.mock import Mock

import pytest
from nats.aio.msg import Msg

from cvfeeder._chunks import Joiner
from support import parts


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("extra", [{"X": "x" * 100_000}, {str(i): "" for i in range(2000)}, {}])
def test_all_that_parts_have_counts(extra: dict[str, str], *, repeats: bool) -> None:
    limit = 8 << 20
    joiner = Joiner(limit, repeats=repeats)
    (headers, data), *_ = parts(9)
    for i in range(4500 if not extra else 100):
        headers |= {"Nats-Msg-Id": f"m{i}/1/9"}
        joiner.add(Msg(Mock(), subject=f"cvf.t.{i}.x", data=data, headers=headers | extra))
    open_ones = [a for a in joiner._assemblies.values() if not a.done]  # noqa: SLF001
    kept = sum(
        len(k) + len(v) + 100
        for a in open_ones for m in a.parts.values() for k, v in (m.headers or {}).items()
    )  # fmt: skip
    assert kept <= limit
    assert len(open_ones) <= limit >> 11
    assert joiner.incomplete > 0


def test_complete_tensors_keep_nothing() -> None:
    joiner = Joiner(1 << 20, repeats=False)
    for i in range(100):
        for headers, data in parts(2):
            big = headers | {"X": "x" * 100_000}
            joiner.add(Msg(Mock(), subject=f"cvf.t.{i}.x", data=data, headers=big))
    assert joiner._bytes == 0  # noqa: SLF001
    assert not any(a.headers or a.parts for a in joiner._assemblies.values())  # noqa: SLF001


class Unscanned(OrderedDict[Any, Any]):
    """Tensors that are never looked through for one message."""

    def items(self) -> Any:
        raise AssertionError("all tensors are looked through")

    values = items
    keys = items


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("subjects", [1, 1000])
def test_a_message_costs_the_same_however_much_is_kept(subjects: int, *, repeats: bool) -> None:
    joiner = Joiner(8 << 20, repeats=repeats)
    joiner._assemblies = Unscanned()  # noqa: SLF001
    (headers, data), *_ = parts(9)
    for i in range(5000):
        subject = f"cvf.t.{i % subjects}.x"
        part = headers | {"Nats-Msg-Id": f"m{i}/1/9"}
        joiner.add(Msg(Mock(), subject=subject, data=data, headers=part))
        whole = Msg(Mock(), subject=f"cvf.t.{i}.y", data=b"", headers={})
        assert joiner.add(whole) is not None
    kept = len(joiner._assemblies)  # noqa: SLF001
    assert 0 < kept <= 8 << 9
    assert 0 < len(joiner._subjects) <= min(subjects, kept)  # noqa: SLF001
    assert sum(s.kept for s in joiner._subjects.values()) == kept  # noqa: SLF001


def test_only_what_something_later_came_after_is_given_up() -> None:
    joiner = Joiner(1 << 20, repeats=True)
    first, second = (
        [
            Msg(Mock(), subject="cvf.t.a.x", data=data, headers=headers | {"Cvf-Time": time})
            for headers, data in parts(3)
        ]
        for time in ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z")
    )
    elsewhere = Msg(Mock(), subject="cvf.t.b.x", data=b"", headers={})
    for msg in (first[0], first[1], elsewhere, first[0]):
        joiner.add(msg)
    assert not joiner.given_up  # a part again, but nothing later on the subject
    for msg in (second[0], second[0]):
        joiner.add(msg)
    assert not joiner.given_up
    joiner.add(first[1])
    assert joiner.given_up == [first[0], first[1]]
    assert joiner.incomplete == 1
