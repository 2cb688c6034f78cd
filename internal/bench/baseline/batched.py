"""Puts tensors of 4.9 MB into batches of eight in three ways, and prints what each has cost.

Each line has the milliseconds of one batch: `batched` of the package for Python, `np.stack`, which
allocates an array each time, and copies into the same array each time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cvfeeder
import numpy as np
from cvfeeder.batches import Assembly

SIZE, SHAPE = 8, (1, 3, 640, 640)
HEADERS = {
    "Cvf-Version": "1",
    "Cvf-Stream": "cam-1",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:04:05.200Z",
    "Cvf-Capture": "2026-01-02T03:04:05.207Z",
    "Cvf-Dtype": "FP32",
    "Cvf-Shape": ",".join(map(str, SHAPE)),
    "Cvf-Layout": "NCHW",
    "Cvf-Color": "RGB",
    "Cvf-Source": "1920x1080",
    "Cvf-Affine": "3,0,-1,0,3,-420",
    "Cvf-Scale": "0.00392156862745098",
    "Cvf-Mean": "0,0,0",
    "Cvf-Std": "1,1,1",
    "Cvf-Spec": "3f2a",
}


def main() -> None:
    random = np.random.default_rng(1)
    tensors = [
        cvfeeder.parse("cvf.t.cam-1.detector", HEADERS, random.bytes(4 * int(np.prod(SHAPE))))
        for _ in range(SIZE)
    ]
    assembly, kept = Assembly(SIZE, 60), np.empty((SIZE, *SHAPE[1:]), np.float32)

    def batched() -> object:
        for t in tensors:
            assembly.add(t)
        assert assembly.is_ready()
        return assembly.take().array

    def stacked() -> object:
        return np.stack([t.array[0] for t in tensors])

    def copied() -> object:
        for row, t in zip(kept, tensors, strict=True):
            np.copyto(row, t.array[0])
        return kept

    for _ in range(int(sys.argv[1])):
        print(*(measured(way) for way in (batched, stacked, copied)), flush=True)


def measured(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    array = way()
    took = time.perf_counter() - begin
    assert array is not None
    return took * 1e3


main()
