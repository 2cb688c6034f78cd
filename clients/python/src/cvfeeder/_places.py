"""Subscribing to where tensors are in memory, beside the subscriptions to the tensors."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ._connection import flush
from .memory import DIRECTORY, UNREACHABLE, Expected, MemoryLost, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

PREFIX = "cvf.m."
VARIABLE = "CVFEEDER_MEMORY"
OFF = "off"
LOOK = 1.0  # seconds between looks for memory to read
REST = 60.0  # seconds for which payloads are asked for after memory could not be read
TRIES = 3  # tensors in a row that cannot be read until then
# Seconds for which places still come after payloads are asked for: the feeder does not know yet.
LINGER = 6.0

log = logging.getLogger("cvfeeder")
_readers: dict[str, Reader] = {}  # by directory: a process maps each file once


class Places:
    """Has tensors come in memory where everybody who gets them reads them there.

    The feeder finds that out by the subscriptions: who has one to a subject, and by the same
    connection one to the places of that subject, gets a place instead of the payload.
    """

    def __init__(self, directory: str) -> None:
        """Look for memory in a directory; "" is the usual one, and "off" none."""
        directory = directory or os.environ.get(VARIABLE, "") or DIRECTORY
        self.lost = 0
        self._reader = None
        if directory != OFF:
            self._reader = _readers.setdefault(directory, Reader(directory))
        self._expected: Expected | None = None
        self._subscriptions: list[Subscription] = []
        self._hand_to: Callable[[Subscription], None] = lambda _: None
        self._last: list[Subscription] = []  # to what comes after payloads are asked for
        self._lingers = 0.0
        self._recent: deque[str] = deque(maxlen=16)  # places that may come twice
        self._failed = -REST
        self._tries = 0

    def begin(self, hand_to: Callable[[Subscription], None]) -> None:
        """Forget the subscriptions of an earlier connection. New ones are told to hand_to."""
        self._hand_to = hand_to
        self._expect(None)
        self._subscriptions, self._last = [], []

    def _expect(self, expected: Expected | None) -> None:
        if self._expected is not None:
            self._expected.close()
        self._expected = expected

    def of(self, subjects: Sequence[str]) -> list[str]:
        """Return the subjects of the places of subjects, none if there is no memory to read."""
        host = self._reader.host() if self._reader is not None else ""
        return [f"{PREFIX}{host}.{subject}" for subject in subjects] if host else []

    def pulled(self, filters: Sequence[str]) -> None:
        """Expect what a JetStream consumer with filters gets in memory."""
        subjects = [f.split(".", 3)[3] for f in filters if f.startswith(PREFIX)]
        expected = self._reader.expect(subjects) if self._reader is not None and subjects else None
        self._expect(expected)

    async def look(self, client: Client, plain: list[Subscription]) -> None:
        """Subscribe to the places of what is subscribed to, while there is memory to read."""
        if self._reader is None:
            return
        if self._last and time.monotonic() >= self._lingers:
            last, self._last = self._last, []
            await _unsubscribe(last)
        swept = self._reader.sweep()
        rests = time.monotonic() - self._failed < REST
        if self._expected is not None and self._expected.current() and not rests:
            if swept:
                self._expected.again()
            return
        following = None if rests else self._reader.expect([one.subject for one in plain])
        if self._expected is None and following is None:
            return
        await self._linger(client, plain)
        self._expect(following)
        if following is not None:
            for one in plain:
                self._subscriptions.append(await self._beside(client, one, following.host))

    async def _linger(self, client: Client, plain: list[Subscription]) -> None:
        """End the subscriptions that the feeder counts.

        Others, which it does not count, get what it publishes before it notices. What is under
        way to a subscription that is ended is lost, so they come first.
        """
        if not self._subscriptions:
            return
        self._lingers = time.monotonic() + LINGER
        if not self._last:
            self._last = [await self._beside(client, one, "*") for one in plain]
        await flush(client)
        before, self._subscriptions = self._subscriptions, []
        await _unsubscribe(before)

    async def _beside(self, client: Client, one: Subscription, host: str) -> Subscription:
        """Subscribe to the places of what is subscribed to.

        One queue keeps the messages of both in the order in which they were published.
        """
        places = await client.subscribe(f"{PREFIX}{host}.{one.subject}")
        own, places._pending_queue = places._pending_queue, one._pending_queue  # noqa: SLF001
        while not own.empty():
            one._pending_queue.put_nowait(own.get_nowait())  # noqa: SLF001
        self._hand_to(places)
        return places

    async def follow(self, client: Client, plain: list[Subscription]) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look(client, plain)

    def repeated(self, msg: Msg) -> bool:
        """Tell whether two subscriptions have got a message, and this is the second one."""
        place = (msg.headers or {}).get("Cvf-Memory")
        if not self._lingers or place is None:
            return False
        if place in self._recent:
            return True
        self._recent.append(place)
        return False

    def fetch(self, msg: Msg) -> Msg:
        """Return a message with its tensor, or with the gap in its place, if it is a place."""
        headers = msg.headers
        if not msg.subject.startswith(PREFIX) or not headers or "Cvf-Memory" not in headers:
            return msg
        place = headers["Cvf-Memory"]
        subject = msg.subject.split(".", 3)[3]
        whole = {k: v for k, v in headers.items() if k != "Cvf-Memory"}
        data = memoryview(b"")
        try:
            if self._reader is None:
                raise MemoryLost(UNREACHABLE, "the option memory is off")
            data, self._tries = self._reader.hold(place, self._expected, subject), 0
        except ValueError as err:
            log.debug("%s: %s", msg.subject[:100], err)  # the length is wrong, as readers will say
        except MemoryLost as err:
            self.lost += 1
            whole = _gap(whole, err.reason)
            self._note(err)
        return replace(msg, subject=subject, data=cast("bytes", data), headers=whole)

    def _note(self, err: MemoryLost) -> None:
        if err.reason != UNREACHABLE:
            return
        self._tries += 1
        if self._tries == TRIES:
            log.warning("tensors in memory cannot be read, so payloads are asked for: %s", err)
            self._failed, self._tries = time.monotonic(), 0


async def _unsubscribe(subscriptions: list[Subscription]) -> None:
    for one in subscriptions:
        await one.unsubscribe()


def _gap(headers: dict[str, str], reason: str) -> dict[str, str]:
    """Return the headers of the inline gap in the place of a tensor."""
    kept = ("Cvf-Version", "Cvf-Stream", "Cvf-Output", "Cvf-Time", "Cvf-Spec")
    gap = {name: headers[name] for name in kept if name in headers}
    slot = {"Cvf-Gap-To": gap["Cvf-Time"]} if "Cvf-Time" in gap else {}
    return gap | slot | {"Cvf-Gap": reason, "Cvf-Gap-Slots": "1"}
