"""Reads the tensors that cvfeeder publishes over NATS.

    import cvfeeder

    async for t in cvfeeder.subscribe("cvf.t.>", servers="nats://127.0.0.1:4222", newest=True):
        boxes = model(t.normalize())            # or t.array, t.to_torch(), t.to_oip(...)
        print(t.stream, t.time, t.to_source(boxes))

`subscribe` reads core NATS, `pull` reads a JetStream stream with acknowledgements, and
`subscribe_gaps` reads the events that say which frames are missing, and why. The
connection runs in its own thread, so a model may keep the event loop busy; it reconnects
by itself. Headers and sizes are checked before a message is used.
"""

from ._decoder import parse
from .errors import CvfeederError, InvalidMessage, SpecMismatch
from .gap import Gap
from .oip import InferRequest
from .pulling import Pull, pull
from .subscription import Subscription, subscribe, subscribe_gaps
from .tensor import Tensor

__all__ = [
    "CvfeederError",
    "Gap",
    "InferRequest",
    "InvalidMessage",
    "Pull",
    "SpecMismatch",
    "Subscription",
    "Tensor",
    "parse",
    "pull",
    "subscribe",
    "subscribe_gaps",
]
