from __future__ import annotations

import asyncio
import inspect
import pickle
import pydoc
import sys
import types
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest

import cvfeeder
from support import HEADERS, NATS, PAYLOAD, feed, needs_server, publish

if TYPE_CHECKING:
    from nats.aio.client import Client


def name_of(item: cvfeeder.Tensor) -> str:
    return item.id


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the dataset needs of PyTorch; with PyTorch itself it would be a GB."""

    class IterableDataset:
        pass

    package, utils, data = (
        types.ModuleType(n) for n in ("torch", "torch.utils", "torch.utils.data")
    )
    vars(data).update(
        IterableDataset=IterableDataset, get_worker_info=lambda: data.__dict__["info"]
    )
    data.__dict__["info"] = None
    for module in (package, utils, data):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return data


@needs_server
async def test_a_dataset_reads(client: Client) -> None:
    subject = "cvf.t.dataset.alone"
    with cvfeeder.subscribe(subject, servers=NATS) as reader:
        await publish(client, subject, *((HEADERS | {"Nats-Msg-Id": n}, PAYLOAD) for n in "abc"))
        assert list(islice(cvfeeder.dataset(reader, name_of), 2)) == ["a", "b"]
        (last,) = islice(cvfeeder.dataset(reader), 1)
        assert last.id == "c"


@needs_server
async def test_workers_share_the_tensors(client: Client, torch: Any) -> None:
    subject = "cvf.t.dataset.shared"
    made = cvfeeder.dataset(cvfeeder.subscribe(subject, servers=NATS), name_of)
    assert isinstance(made, torch.IterableDataset)
    torch.info = types.SimpleNamespace(num_workers=2)
    copies = [pickle.loads(pickle.dumps(made)) for _ in range(2)]  # noqa: S301 - our own
    assert all(isinstance(copy, torch.IterableDataset) for copy in copies)
    got: list[str] = []

    def work(copy: Any) -> None:
        for item in copy:
            if item == "end":
                return
            got.append(item)

    workers = [asyncio.create_task(asyncio.to_thread(work, copy)) for copy in copies]
    async with asyncio.timeout(20):
        for n in count():
            message = (HEADERS | {"Nats-Msg-Id": "end" if len(got) > 50 else str(n)}, PAYLOAD)
            await publish(client, subject, message)
            if all(worker.done() for worker in workers):
                break
    assert len(got) == len(set(got))


@needs_server
async def test_a_queue_gives_each_tensor_to_one() -> None:
    one, two = (cvfeeder.subscribe("cvf.t.queue.>", servers=NATS, queue="q") for _ in "12")
    async with one, two:
        await feed("queue", 40)
        times = []
        for reader in (one, two):
            with pytest.raises(TimeoutError):
                while True:
                    times.append((await reader.get(0.5)).time)
    assert len(times) == len(set(times)) == 40


@needs_server
async def test_latest_is_one_tensor(client: Client) -> None:
    subject = "cvf.t.latest.x"
    waiting = asyncio.create_task(asyncio.to_thread(cvfeeder.latest, subject, servers=NATS))
    while not waiting.done():
        await publish(client, subject, (HEADERS, PAYLOAD))
        await asyncio.wait([waiting], timeout=0.05)
    assert (await waiting).payload == PAYLOAD
    with pytest.raises(cvfeeder.ReadTimeout, match=r"nothing on cvf\.t\.latest\.y within 0\.1 s"):
        cvfeeder.latest("cvf.t.latest.y", servers=NATS, timeout=0.1)
    with pytest.raises(cvfeeder.ReadTimeout, match=r"not connected: .*Connect call failed"):
        cvfeeder.latest(servers="127.0.0.1:1", timeout=0.3)


def test_help_has_shapes_and_units() -> None:
    text = pydoc.plain(pydoc.render_doc(cvfeeder))
    for words in ("(N, C, H, W) for NCHW", "aware datetime in UTC", "seconds to wait for a server"):
        assert words in text
    for kind in (cvfeeder.Tensor, cvfeeder.Gap, cvfeeder.ConnectOptions):
        for field in inspect.get_annotations(kind):
            if not field.startswith("_"):
                assert field in (kind.__doc__ or ""), f"{kind.__name__}.{field}"
    for name in cvfeeder.__all__:
        assert inspect.getdoc(getattr(cvfeeder, name)), name
