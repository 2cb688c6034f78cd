from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import cvfeeder
from support import HEADERS, NATS, PAYLOAD, needs_server

HERE = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(directory)]
    subprocess.run(build, cwd=HERE, check=True, capture_output=True)  # noqa: S603
    return directory


def test_the_archives_have_all_that_users_need(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"cvfeeder-{cvfeeder.__version__}.dist-info"
        assert archive.read(f"{info}/licenses/LICENSE") == (HERE / "LICENSE").read_bytes()
        about = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert {"cvfeeder/__init__.py", "cvfeeder/py.typed"} <= names
    assert {n.partition("/")[0] for n in names} == {"cvfeeder", info}
    assert about["Version"] == cvfeeder.__version__
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Author"]
    urls = dict(u.split(", ") for u in about.get_all("Project-URL", []))
    assert {"Documentation", "Source", "Issues", "Changelog"} <= set(urls)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        parts = {n.partition("/")[2] for n in archive.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "README.md", "src/cvfeeder/py.typed"} <= parts


def test_the_licence_is_that_of_the_project() -> None:
    assert (HERE / "LICENSE").read_bytes() == (HERE / "../../LICENSE").read_bytes()


def test_links_of_the_readme_work_on_a_package_index() -> None:
    for name in ("README.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)]+)\)", (HERE / name).read_text()):
            assert link.startswith("https://"), link
            repository = "https://github.com/cvfeeder/cvfeeder/blob/main/"
            if link.startswith(repository):
                path, _, _ = link.removeprefix(repository).partition("#")
                assert (HERE / "../.." / path).exists(), link


READ = """
import importlib.metadata, sys, cvfeeder
assert importlib.metadata.version("cvfeeder") == cvfeeder.__version__
assert cvfeeder.__file__.startswith(sys.argv[1]), cvfeeder.__file__
import asyncio, nats
async def send():
    client = await nats.connect(sys.argv[2])
    await client.publish("cvf.t.package.x", PAYLOAD, headers=HEADERS)
    await client.close()
with cvfeeder.subscribe("cvf.t.package.x", servers=sys.argv[2]) as tensors:
    asyncio.run(send())
    print(tensors.read(10).stream)
"""


@needs_server
@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_it_installs_and_reads(built: Path, tmp_path: Path, kind: str) -> None:
    (archive,) = built.glob(f"*.{kind}")
    target = str(tmp_path / "site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", target]
    subprocess.run([*pip, *offline, str(archive)], check=True)  # noqa: S603
    code = f"HEADERS, PAYLOAD = {HEADERS!r}, {PAYLOAD!r}\n{READ}"
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code, target, NATS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": target},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert run.stdout == b"front-door\n"
