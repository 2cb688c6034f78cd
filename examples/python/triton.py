"""Has Triton Inference Server run the model, and draws the boxes that it finds.

    make example NAME=triton                   # the demo, a Triton, and this program
    python triton.py --triton 127.0.0.1:8001   # a Triton of your own, by gRPC

The payload of a message is sent to Triton as it is. With --shared, Triton reads it in the memory
of a cvfeeder on the same host: docs/memory.md says what that needs. The model repository is
examples/triton/models, and `python centerface.py model.onnx` makes the model for it.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import cvfeeder
import detect
import grpc
import numpy as np
import pictures
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MODEL, OUTPUTS = "centerface", ("heatmap", "size", "offset")


def infer(
    triton: GRPCInferenceServiceStub,
    t: cvfeeder.Tensor,
    shared: cvfeeder.triton.SharedMemory | None,
) -> list[NDArray[np.float32]]:
    """Return the model's outputs for a tensor."""
    request = t.to_oip(MODEL, "images", outputs=OUTPUTS, shared=shared)
    reply = triton.ModelInfer(ModelInferRequest(**request.grpc()), timeout=10)
    return [
        np.frombuffer(data, "<f4").reshape(output.shape)
        for output, data in zip(reply.outputs, reply.raw_output_contents, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Read tensors, ask Triton, draw, save."""
    parser = argparse.ArgumentParser(description="draws what Triton finds in cvfeeder's tensors")
    parser.add_argument("--triton", default="127.0.0.1:8001", help="address of Triton's gRPC port")
    parser.add_argument("--shared", help="URL of Triton's HTTP port, to have it read in memory")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="URL of the NATS server")
    parser.add_argument("--subject", default="cvf.t.*.detector")
    parser.add_argument("--count", type=int, default=5, help="tensors to read")
    parser.add_argument("--output", type=Path, default=Path(), help="directory for the pictures")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    with (
        cvfeeder.triton.SharedMemory(args.shared) if args.shared else nullcontext() as shared,
        grpc.insecure_channel(args.triton) as channel,
        cvfeeder.subscribe(args.subject, servers=args.nats, newest=True) as tensors,
    ):
        triton = GRPCInferenceServiceStub(channel)
        for _ in range(args.count):
            t = tensors.read(timeout=60)
            found = detect.read_centerface(*infer(triton, t, shared), threshold=0.5).best(0.5)
            picture = pictures.camera(t)
            print(f"{t.time:%H:%M:%S.%f} {t.stream}: Triton found {len(found.names)}")
            for box, score in zip(t.to_source(found.boxes, clip=True), found.scores, strict=True):
                print(f"  face {score:.2f} at {[round(v) for v in box]}")
                pictures.draw(picture, box, f"face {score:.2f}")
            cv2.imwrite(str(args.output / f"{t.stream}.jpg"), picture)


if __name__ == "__main__":
    main()
