"""A NATS connection on a thread of its own.

A model keeps an event loop busy for as long as it runs. On the same loop, messages would
not be read in the meantime. They would pile up in the server, which would then take the
reader for dead. So the connection has a loop and a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from nats.aio.client import Client

from .errors import CvfeederError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

log = logging.getLogger("cvfeeder")


class Session:
    """One connection, which reconnects for as long as it is open."""

    def __init__(self, options: dict[str, Any], on_end: Callable[[Exception], None]) -> None:
        """Prepare a connection with nats-py's options; on_end is called if it ends for good."""
        self._options = {
            "name": "cvfeeder-python",
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.5,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
            **options,
        }
        self._on_end = on_end
        self._last_error: Exception | None = None
        self._started: Future[Client] = Future()
        self._task: asyncio.Task[Any] | None = None
        self._closing = False
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="cvfeeder", daemon=True)

    async def open(self) -> Client:
        """Connect, however long it takes until a server is there."""
        self._thread.start()
        try:
            return await asyncio.shield(asyncio.wrap_future(self._started))
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the connection's loop and return its result."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self) -> None:
        """Close the connection and wait for the end of its thread."""
        self._closing = True
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._closing:
            return
        client, refusal = Client(), None
        try:
            await client.connect(**self._options)
            self._started.set_result(client)
            await asyncio.Event().wait()
        except Exception as err:  # noqa: BLE001 - it is raised in the caller's thread
            refusal = err
        finally:
            self._on_end = lambda _: None
            await client.close()
            # Last, because the caller then cancels this task.
            if refusal is not None:
                self._started.set_exception(refusal)
            else:
                self._started.cancel()

    async def _on_error(self, err: Exception) -> None:
        if str(err) != str(self._last_error):  # not again for each attempt to reconnect
            log.warning("NATS: %s", str(err) or type(err).__name__)
        self._last_error = err
        # A server may come up later; credentials will not become valid by waiting.
        if not self._started.done() and "authorization" in str(err).lower():
            raise CvfeederError(f"NATS refuses the connection: {err}") from err

    async def _on_closed(self) -> None:
        self._on_end(CvfeederError(f"the NATS connection has ended: {self._last_error}"))
