"""Reads the tensors that cvfeeder publishes over NATS.

    import cvfeeder

    for t in cvfeeder.subscribe("cvf.t.>", servers="nats://127.0.0.1:4222", newest=True):
        boxes = model(t.normalize())            # or t.array, t.to_torch(), t.to_oip(...)
        print(t.stream, t.time, t.to_source(boxes))

With asyncio it is ``async for``. `subscribe` reads core NATS, `pull` reads a JetStream stream
with acknowledgements, and `subscribe_gaps` reads the events that say which frames are missing,
and why. `batched` gives a model several tensors at a time, in one array. `latest` returns one
tensor, and `dataset` is for PyTorch's DataLoader. `burst` has a
camera looked at more closely around an instant, also in the past. `frames`
asks a feeder for a range of a camera's past.

The connection runs in its own thread, so a model may keep the event loop busy, and it works
in notebooks; it reconnects by itself. Headers and sizes are checked before a message is used.

Every wait ends: with what it is for, with ReadTimeout if it was given a timeout, with Closed
if the reader is closed meanwhile, or with the error in the way, a CvfeederError.
"""

from . import triton
from ._chat import ImagePart, ImageURL
from ._decoder import parse
from ._options import ConnectOptions
from .batches import Batch, Batches, batched
from .bursts import Burst, burst
from .dataset import Dataset, dataset
from .delivery import Sent
from .errors import (
    Closed,
    CvfeederError,
    InvalidMessage,
    MessagesLost,
    ReadTimeout,
    Refused,
    SpecMismatch,
)
from .gap import Gap
from .oip import InferRequest
from .pulling import Pull, pull
from .quality import Quality
from .ranges import Frames, frames
from .rectification import Rectification
from .subscription import Subscription, latest, subscribe, subscribe_gaps
from .tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Batches",
    "Burst",
    "Closed",
    "ConnectOptions",
    "CvfeederError",
    "Dataset",
    "Frames",
    "Gap",
    "ImagePart",
    "ImageURL",
    "InferRequest",
    "InvalidMessage",
    "MessagesLost",
    "Pull",
    "Quality",
    "ReadTimeout",
    "Rectification",
    "Refused",
    "Sent",
    "SpecMismatch",
    "Subscription",
    "Tensor",
    "batched",
    "burst",
    "dataset",
    "frames",
    "latest",
    "parse",
    "pull",
    "subscribe",
    "subscribe_gaps",
    "triton",
]
