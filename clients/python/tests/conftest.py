from __future__ import annotations

from typing import TYPE_CHECKING

import nats
import pytest

from support import NATS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    connection = await nats.connect(NATS)
    yield connection
    await connection.close()
