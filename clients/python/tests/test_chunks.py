from __future__ import annotations

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
