"""Reads tensors as a model's process would, and prints what that has cost.

It prints "ready", and after each batch of tensors how many there were in all, and the
milliseconds of CPU time, user and system, that all of them took. It reads in one of three ways: `nats-py` is what a user of nats-py
would write, `network` and `memory` are the package for Python.
"""

import argparse
import asyncio
import time


class Report:
    """Counts tensors, and prints what those of each batch have cost."""

    def __init__(self, batch):
        self.batch, self.count = batch, 0
        print("ready", flush=True)
        self.begin = time.process_time()

    def add(self, array):
        assert array.ndim == 4
        self.count += 1
        if self.count % self.batch == 0:
            print(self.count, (time.process_time() - self.begin) * 1e3, flush=True)


async def with_nats(args):
    import nats
    import numpy as np

    client = await nats.connect(args.url)
    subscription = await client.subscribe(args.subject, pending_bytes_limit=1 << 30)
    await client.flush()
    await client.flush()
    report = Report(args.batch)
    async for msg in subscription.messages:
        shape = tuple(map(int, msg.headers["Cvf-Shape"].split(",")))
        report.add(np.frombuffer(msg.data, np.float32).reshape(shape))


def with_client(args):
    import cvfeeder

    memory = args.memory if args.way == "memory" else "off"
    with cvfeeder.subscribe(args.subject, servers=args.url, memory=memory, buffer=1 << 30) as reader:
        report = Report(args.batch)
        for tensor in reader:
            report.add(tensor.array)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("way", choices=["nats-py", "network", "memory"])
parser.add_argument("url")
parser.add_argument("subject")
parser.add_argument("memory")
parser.add_argument("batch", type=int)
args = parser.parse_args()
if args.way == "nats-py":
    asyncio.run(with_nats(args))
else:
    with_client(args)
