"""Triton reads tensors where the feeder has made them: as system shared memory.

    with cvfeeder.triton.SharedMemory("http://127.0.0.1:8000") as shared:
        for t in cvfeeder.subscribe("cvf.t.*.detector"):
            request = t.to_oip("yolo", "images", shared=shared)
            ...  # send it to Triton as ever; keep t until the answer has come

The feeder needs ``delivery.memory_writable``, and Triton the same /dev/shm and its group: see
docs/memory.md. Where a tensor is not in memory, or Triton does not take the file, the request has
the payload, as without shared.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md
"""

from __future__ import annotations

import http.client
import json
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from .memory import Place, place_of

if TYPE_CHECKING:
    from types import TracebackType

REST = 60.0  # seconds until Triton is asked again to take a file that it has refused
MAX_REGIONS = 8  # of feeders that have ended, whose memory stays allocated otherwise

log = logging.getLogger("cvfeeder")


class SharedMemory:
    """The files of feeders that one Triton has mapped. It may be used by several threads."""

    def __init__(self, url: str, *, timeout: float = 10) -> None:
        """Register at a Triton by its URL for HTTP. Each request takes at most timeout seconds."""
        self._url, self._timeout = urlsplit(url), timeout
        if self._url.scheme not in {"http", "https"} or not self._url.hostname:
            raise ValueError(f"{url!r} is not the URL of a Triton, such as http://127.0.0.1:8000")
        self._token = secrets.token_hex(4)  # other clients of that Triton have regions of their own
        self._lock = threading.Lock()
        self._regions: dict[str, None] = {}  # the files that Triton has, in order
        self._refused: dict[str, float] = {}  # when

    def region(self, data: memoryview | bytes) -> dict[str, Any] | None:
        """Return the parameters of an input whose data lies in a region that Triton has.

        None if it does not lie in memory that feeders share, or Triton has refused the file.
        """
        place = place_of(data)
        if place is None or not self._registered(place):
            return None
        return {
            "shared_memory_region": self._name(place.file),
            "shared_memory_offset": place.offset,
            "shared_memory_byte_size": len(data),
        }

    def _registered(self, place: Place) -> bool:
        with self._lock:
            if place.file in self._regions:
                return True
            if time.monotonic() - self._refused.get(place.file, -REST) < REST:
                return False
            # shm_open(3) makes it /dev/shm/<file>
            region = {"key": f"/{place.file}", "offset": 0, "byte_size": place.size}
            try:
                self._ask(place.file, "register", region)
            except (OSError, http.client.HTTPException) as err:
                log.warning("Triton does not take tensors in memory, so payloads go: %s", err)
                self._refused = {place.file: time.monotonic()}
                return False
            self._regions[place.file] = None
            if len(self._regions) > MAX_REGIONS:
                self._drop(next(iter(self._regions)))
            return True

    def _name(self, file: str) -> str:
        return f"{file}-{self._token}"

    def _drop(self, file: str) -> None:
        del self._regions[file]
        try:
            self._ask(file, "unregister", {})
        except (OSError, http.client.HTTPException) as err:
            log.warning("Triton keeps the memory of a feeder: %s", err)

    def _ask(self, file: str, what: str, body: dict[str, Any]) -> None:
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=self._timeout)
        path = (
            f"{self._url.path.rstrip('/')}/v2/systemsharedmemory/region/{self._name(file)}/{what}"
        )
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(1000).decode("utf-8", "replace")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise ConnectionError(f"{path} is answered by {answer.status}: {text}")

    def close(self) -> None:
        """Have Triton unmap everything. Wait for all answers before."""
        with self._lock:
            for file in list(self._regions):
                self._drop(file)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
