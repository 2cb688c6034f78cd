"""Reads tensors from one subject, and prints after every so many what one of them has cost.

It prints the milliseconds of CPU time of the whole process, user and system, as the mean of
a batch. It reads in one of three ways: `socket` reads the bytes of each message into the
same memory, and does nothing with them; `client` is the package for Python, with a view of
the elements; `nats-py` is what a user of nats-py would write. All subscribe to the same
server and get the same messages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("way", choices=["socket", "client", "nats-py"])
    p.add_argument("url")
    p.add_argument("subject")
    p.add_argument("batch", type=int)
    args = p.parse_args()
    if args.way == "nats-py":
        asyncio.run(with_nats(args.url, args.subject, args.batch))
        return
    read = with_socket if args.way == "socket" else with_client
    report = Report(args.batch)
    for _ in read(args.url, args.subject):
        report.count()


class Report:
    """Counts messages, and prints what those of each batch have cost."""

    def __init__(self, batch: int) -> None:
        self._batch, self._count, self._begin = batch, 0, time.process_time()

    def count(self) -> None:
        self._count += 1
        if self._count % self._batch == 0:
            now = time.process_time()
            print((now - self._begin) * 1e3 / self._batch, flush=True)
            self._begin = time.process_time()


def with_client(url: str, subject: str) -> Iterator[None]:
    import cvfeeder

    with cvfeeder.subscribe(subject, servers=url) as tensors:
        print("ready", flush=True)
        for tensor in tensors:
            assert tensor.array.ndim == 4
            yield


async def with_nats(url: str, subject: str, batch: int) -> None:
    import nats
    import numpy as np

    client = await nats.connect(url)
    subscription = await client.subscribe(subject)
    await client.flush()
    await client.flush()
    print("ready", flush=True)
    report = Report(batch)
    async for msg in subscription.messages:
        shape = tuple(map(int, msg.headers["Cvf-Shape"].split(",")))
        array = np.frombuffer(msg.data, np.float32).reshape(shape)
        assert array.ndim == 4
        report.count()


def with_socket(url: str, subject: str) -> Iterator[None]:
    at = urlsplit(url)
    connection = socket.create_connection((at.hostname, at.port))
    options = {"verbose": False, "headers": True, "protocol": 1}
    connection.sendall(f"CONNECT {json.dumps(options)}\r\nSUB {subject} 1\r\nPING\r\n".encode())
    lines = b""
    while not lines.endswith(b"PING\r\n"):  # a second after the connection was made
        lines += connection.recv(1 << 16)
    connection.sendall(b"PONG\r\n")
    print("ready", flush=True)
    control = b""
    while b"\r\n" not in control:
        control = connection.recv(1 << 10, socket.MSG_PEEK)
    control = control.split(b"\r\n")[0]
    # All messages have the same length, so only the first one is looked at.
    memory = memoryview(bytearray(len(control) + 2 + int(control.split()[-1]) + 2))
    while True:
        have = 0
        while have < len(memory):
            received = connection.recv_into(memory[have:])
            if received == 0:
                raise ConnectionError
            have += received
        assert memory[: len(control)] == control
        yield


main()
