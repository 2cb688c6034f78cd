from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cvfeeder

if TYPE_CHECKING:
    from collections.abc import Callable

CREDS = """-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.c2ln
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY
------END USER NKEY SEED------
"""


@pytest.mark.parametrize(
    ("call", "options", "match"),
    [
        (cvfeeder.subscribe, {"newst": True}, r"no option 'newst': did you mean 'newest'\?"),
        (cvfeeder.subscribe, {"max_reconnect_attempts": 3}, r"no option 'max_re.*'; it has newest"),
        (cvfeeder.subscribe, {"newest": "yes"}, "newest is a str, not a bool"),
        (cvfeeder.subscribe, {"buffer": True}, "buffer is a bool, not a int"),
        (cvfeeder.subscribe, {"buffer": 0}, "buffer is 0, but has to be more than 0"),
        (cvfeeder.subscribe, {"tls": True}, "tls is a bool, not a SSLContext"),
        (cvfeeder.subscribe, {"connect_timeout": -1}, "connect_timeout is -1"),
        (cvfeeder.subscribe, {"servers": "http://x"}, "'http://x' is not a URL like nats:"),
        (cvfeeder.subscribe, {"servers": "nats://h:99999"}, "'nats://h:99999' is not a URL"),
        (cvfeeder.subscribe, {"servers": []}, "servers is empty"),
        (cvfeeder.subscribe, {"servers": [1]}, "a server is a int"),
        (cvfeeder.subscribe, {"servers": "nats://a,wss://b"}, "either all ws://"),
        (cvfeeder.subscribe, {"subject": ""}, "'' is no subject"),
        (cvfeeder.subscribe, {"subject": "cvf.t.cam 1.>"}, "no subject: it is words"),
        (cvfeeder.subscribe, {"subject": "cvf.>.detector"}, "no subject"),
        (cvfeeder.subscribe, {"subject": []}, "no subject is given"),
        (cvfeeder.subscribe, {"subject": [1]}, "a subject is a int"),
        (cvfeeder.subscribe, {"subject": ["cvf.t.>", "cvf.t.a.*"]}, "overlap: tensors would"),
        (cvfeeder.subscribe_gaps, {"newest": True}, "no option 'newest'"),
        (cvfeeder.pull, {"durable": ""}, "durable is empty"),
        (cvfeeder.pull, {"durable": "a.b"}, "durable is 'a.b'"),
        (cvfeeder.pull, {"durable": "a", "stream": "x>"}, "stream is 'x>'"),
        (cvfeeder.pull, {"durable": "a", "batch": 0}, "batch is 0"),
        (cvfeeder.pull, {"durable": "a", "newest": True}, "no option 'newest'"),
    ],
)
def test_a_mistake_is_told_at_once(
    call: Callable[..., object], options: dict[str, Any], match: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        call(**options)


def test_subjects_that_do_not_overlap_may_come_together() -> None:
    cvfeeder.subscribe(["cvf.t.a.*", "cvf.t.b.*", "cvf.t.a.x.y", "cvf.gap.>"])
    cvfeeder.subscribe(servers="127.0.0.1:4222, localhost")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, r"user_credentials: .*feeder\.creds cannot be read: No such file"),
        ("", "has no part 'BEGIN NATS USER JWT'"),  # nats-py would read it for ever
        (CREDS.partition("\n\n")[0], "has no part 'BEGIN USER NKEY SEED'"),
        (CREDS.replace("SUAMK", "XXAMK"), "seed of the nkey is damaged"),
        (b"\xff", "cannot be read"),
    ],
)
async def test_bad_credentials_are_an_error(
    tmp_path: Path, content: str | bytes | None, match: str
) -> None:
    if "damaged" in match:
        pytest.importorskip("nkeys")  # it has no wheel, so only some have it
    path = tmp_path / "feeder.creds"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(cvfeeder.CvfeederError, match=match):
        await cvfeeder.subscribe(user_credentials=path).get(10)
    with pytest.raises(cvfeeder.CvfeederError, match=match):
        cvfeeder.subscribe(user_credentials=str(path)).read(10)


async def test_without_nkeys_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    path = tmp_path / "feeder.creds"
    path.write_text(CREDS)
    with pytest.raises(cvfeeder.CvfeederError, match=r"pip install 'cvfeeder\[nkeys\]'"):
        await cvfeeder.subscribe(user_credentials=path).get(10)
    with pytest.raises(cvfeeder.CvfeederError, match=r"nkeys_seed: .* cannot be read"):
        await cvfeeder.subscribe(nkeys_seed=tmp_path / "nope").get(10)


PROGRAM = """
import cvfeeder

cvfeeder.subscribe({option})
cvfeeder.subscribe_gaps(user_credentials="a.creds", connect_timeout=None)
cvfeeder.pull(durable="d", {option})


async def main() -> None:
    t = await cvfeeder.subscribe(newest=True).get()
    await t.ack()
    for g in cvfeeder.subscribe(gaps=True):
        print(g.payload)
"""


@pytest.mark.parametrize("checker", ["mypy --strict", "basedpyright"])
def test_type_checkers_reject_a_misspelt_option(tmp_path: Path, checker: str) -> None:
    program = tmp_path / "program.py"
    tool, *arguments = checker.split()
    if tool == "mypy":
        arguments += ["--cache-dir", str(tmp_path / "cache")]
    if tool == "basedpyright":
        config = {"typeCheckingMode": "standard", "extraPaths": [str(Path("src").resolve())]}
        (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
        arguments += ["-p", str(tmp_path), "--pythonpath", sys.executable]

    def errors(option: str) -> list[str]:
        program.write_text(PROGRAM.format(option=option))
        run = subprocess.run(  # noqa: S603
            [sys.executable, "-m", tool, *arguments, str(program)],
            capture_output=True,
            text=True,
            check=False,
            env={"MYPYPATH": "src", "PYTHONPATH": "src", "HOME": str(tmp_path)},
        )
        return [line for line in run.stdout.splitlines() if "error" in line and ".py:" in line]

    (only,) = errors('user="u"')
    assert "payload" in only
    found = errors("usr='u'")
    assert len(found) > 2, found
    assert any('"usr"' in line or "overload" in line for line in found)
