"""Which versions of nats-py leave the payloads of large tensors to this package."""

from __future__ import annotations

import logging
import os
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats.aio.client import Client

    from ._payload import Tap
    from ._pool import Pool

KNOWN = ("2.16.",)  # of which the tests have shown that it works

log = logging.getLogger("cvfeeder")
_told: set[str] = set()  # versions that the log has


def tap_of(client: Client, pool: Pool) -> Tap | None:
    """Return what will receive large payloads for a client.

    None if nats-py receives them, as always: because CVFEEDER_DIRECT_READS is off, or because
    its version is not known, which is logged once.
    """
    if os.environ.get("CVFEEDER_DIRECT_READS") == "off":
        return None
    version = metadata.version("nats-py")
    if version.startswith(KNOWN):
        from ._payload import Tap  # noqa: PLC0415 - other versions may not have what it needs

        return Tap(client, pool)
    if version not in _told:
        _told.add(version)
        log.warning(
            "this package was not tested with nats-py %s, only with %s: all works, but large"
            " tensors take several times as much of the CPU",
            version,
            ", ".join(f"{known}*" for known in KNOWN),
        )
    return None
