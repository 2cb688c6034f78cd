"""Prints a line for each tensor. Put your model here."""

import asyncio
import os

import cvfeeder


async def main() -> None:
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async for t in cvfeeder.subscribe("cvf.t.>", servers=url, newest=True):
        print(t.stream, t.time, t.array.dtype, t.array.shape, f"mean {t.array.mean():.4f}", flush=True)


asyncio.run(main())
