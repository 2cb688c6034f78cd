"""The cases that all clients run: ../conformance/README.md says what they mean."""

from __future__ import annotations

import json
import os
import runpy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvfeeder
from cvfeeder.tensor import DTYPES
from support import HEADERS, NATS, PAYLOAD, needs_server, publish

if TYPE_CHECKING:
    from nats.aio.client import Client

CONFORMANCE = Path(__file__).parent / "../../conformance"
CASES = sorted((CONFORMANCE / "cases").iterdir())
EVENT = (
    b'{"stream":"end","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:05Z","slots":1,'
    b'"reason":"stale"}'
)
ENDS = {"cvf.t.end.end": (HEADERS, PAYLOAD), "cvf.gap.end": ({}, EVENT)}
SKIPPED = {"kind", "elements", "values", "boxes", "payload"}


def read(path: Path) -> tuple[dict[str, str], bytes]:
    """Return the headers and the payload of a message in a file."""
    block, _, payload = path.read_bytes().partition(b"\r\n\r\n")
    lines = block.decode().split("\r\n")[1:]
    pairs = (line.partition(": ") for line in lines)
    return {name: value for name, _, value in pairs}, payload


def note(passed: str) -> None:
    """Tell the Go test, which compares it with the table in ../conformance/README.md."""
    if path := os.environ.get("CVFEEDER_PASSED"):
        with Path(path).open("a") as file:
            file.write(f"{passed}\n")


def memory_of(case: Path, about: dict[str, Any], made: Path) -> str:
    """Make the directory in which a case has tensors, and return it, "off" for none."""
    if "memory" not in about:
        return "off"
    made.mkdir(mode=0o700)
    (made / "readers").write_text(about["memory"]["host"] + "\n")
    (made / about["memory"]["file"]).write_bytes((case / about["memory"]["file"]).read_bytes())
    for file in made.iterdir():
        file.chmod(0o600)
    return os.fspath(made)


def same(want: object, got: object) -> bool:
    if isinstance(got, datetime):
        return isinstance(want, str) and datetime.fromisoformat(want) == got
    if isinstance(got, np.ndarray):  # of maps, which cases have as lists of six numbers
        return want == got.reshape(-1, 6).tolist()
    if isinstance(got, tuple):
        assert isinstance(want, list)
        return len(want) == len(got) and all(map(same, want, got))
    return want == got


def check(want: dict[str, Any], got: object) -> None:
    if want["kind"] == "invalid":
        assert isinstance(got, cvfeeder.InvalidMessage), got
        return
    assert isinstance(got, cvfeeder.Gap if want["kind"] == "gap" else cvfeeder.Tensor), got
    for field, value in want.items():
        if field not in SKIPPED:
            assert same(value, getattr(got, field)), f"{field}: {getattr(got, field)!r}"
    if isinstance(got, cvfeeder.Tensor):
        assert (got.content_type != "") == (want["kind"] == "picture")
        if "elements" in want:
            elements = got.to_float32() if got.datatype == "BF16" else got.array
            assert elements.ravel().tolist() == want["elements"]
            np.testing.assert_allclose(got.normalize().ravel(), want["values"], atol=1e-6)
        if "payload" in want:
            assert list(got.payload) == want["payload"]
        for box, mapped, *tile in want.get("boxes", []):
            found = got.to_source(box, tile=tile[0] if tile else None, clip=True)
            np.testing.assert_allclose(found, mapped, atol=1e-9)


def test_the_types_of_elements_are_those_of_cvfeeder() -> None:
    rows = json.loads((CONFORMANCE / "dtypes.json").read_text())
    want = {row["datatype"]: np.dtype(row["numpy"]) for row in rows}
    assert want == DTYPES
    assert all(row["size"] == np.dtype(row["numpy"]).itemsize for row in rows)


def test_the_cases_are_those_of_the_generator(tmp_path: Path) -> None:
    module = runpy.run_path(str(CONFORMANCE / "generate.py"))
    module["main"].__globals__["CASES"] = tmp_path
    module["main"]()
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.*")}
    cases = CONFORMANCE / "cases"
    assert made == {p.relative_to(cases): p.read_bytes() for p in cases.rglob("*.*")}


@needs_server
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
async def test_conformance(client: Client, case: Path, tmp_path: Path) -> None:
    about = json.loads((case / "case.json").read_text())
    got: list[object] = []
    subjects = ["cvf.t.>", "cvf.gap.>"]
    where = memory_of(case, about, tmp_path / "memory")
    async with cvfeeder.subscribe(
        subjects, servers=NATS, gaps=True, strict=True, memory=where
    ) as items:
        for message in about["messages"]:
            await publish(client, message["subject"], read(case / message["file"]))
        for subject, end in ENDS.items():  # each of the two subscriptions has its own order
            await publish(client, subject, end)
        ends = 0
        while ends < len(ENDS):
            try:
                item = await items.get(10)
            except cvfeeder.InvalidMessage as err:
                got.append(err)
                continue
            if item.subject in ENDS:
                ends += 1
            else:
                got.append(item)
        assert len(got) == len(about["want"]), got
        for want, result in zip(about["want"], got, strict=True):
            check(want, result)
        assert items.incomplete == about["incomplete"]
    note(case.name)
