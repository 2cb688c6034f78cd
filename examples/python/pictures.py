"""The camera's picture of a tensor, and boxes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import cvfeeder
    from numpy.typing import ArrayLike, NDArray


def seen(t: cvfeeder.Tensor) -> NDArray[np.uint8]:
    """Return what the model sees, (height, width, 3) in OpenCV's BGR."""
    pixels = t.normalize()[0]
    if t.layout == "NCHW":
        pixels = pixels.transpose(1, 2, 0)
    pixels = (pixels * np.array(t.std) + np.array(t.mean)) / t.scale
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1] if t.color == "RGB" else pixels)


def camera(t: cvfeeder.Tensor) -> NDArray[np.uint8]:
    """Return the camera's picture in its own size, as far as the tensor shows it, in BGR."""
    a, b, c, d, e, f = t.affine
    # OpenCV counts from the centre of the first pixel, the affine map from its corner.
    shifted = np.array([[a, b, c + (a + b - 1) / 2], [d, e, f + (d + e - 1) / 2]])
    return cv2.warpAffine(seen(t), shifted, t.source)


def draw(picture: NDArray[np.uint8], box: ArrayLike, label: str) -> None:
    """Draw a box x1, y1, x2, y2 in pixels of the picture, and its label."""
    x1, y1, x2, y2 = (int(v) for v in np.rint(box))
    cv2.rectangle(picture, (x1, y1), (x2, y2), (80, 0, 255), 3)
    cv2.putText(
        picture, label, (x1, max(y1 - 8, 16)), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (80, 0, 255), 2
    )
