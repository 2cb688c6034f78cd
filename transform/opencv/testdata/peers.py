"""What others need for a picture: the program that BenchmarkPeers takes turns with.

It reads names of tasks, one a line, and answers each with the nanoseconds that the task took.
Pictures are decoded by the newest libjpeg-turbo that a wheel has (simplejpeg's), and resized by
OpenCV or Pillow, on one thread.
"""

import sys
import time

import cv2
import numpy as np
import simplejpeg
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def decode(data):
    return simplejpeg.decode_jpeg(data, "RGB")


def normalized(picture):
    """Returns float32 in CHW, with mean and deviation."""
    return np.ascontiguousarray(
        ((picture.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)
    )


def letterbox(data):
    resized = cv2.resize(decode(data), (640, 360), interpolation=cv2.INTER_LINEAR)
    tensor = np.full((3, 640, 640), 114 / 255, np.float32)
    np.multiply(resized.transpose(2, 0, 1), np.float32(1 / 255), out=tensor[:, 140:500])
    return tensor


def cropped(data, side, how):
    """Returns the tensor of the middle 224x224, after the shorter side was made `side`."""
    picture = Image.fromarray(decode(data))
    half = 112 * picture.height / side  # of the part that is resized, in the picture's pixels
    x, y = picture.width / 2, picture.height / 2
    return normalized(
        np.asarray(picture.resize((224, 224), how, box=(x - half, y - half, x + half, y + half)))
    )


TASKS = {
    "decode": decode,
    "yolo": letterbox,
    "imagenet": lambda data: cropped(data, 256, Image.Resampling.BILINEAR),
    "clip": lambda data: cropped(data, 224, Image.Resampling.BICUBIC),
}

cv2.setNumThreads(1)
with open(sys.argv[1], "rb") as file:
    jpeg = file.read()
for line in sys.stdin:
    task = TASKS[line.strip()]
    begin = time.perf_counter_ns()
    task(jpeg)
    print(time.perf_counter_ns() - begin, flush=True)
