"""The way from a rectified picture to the camera's own, as the header Cvf-Map tells it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InvalidMessage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COEFFICIENTS = {"pinhole": (4, 5, 8), "fisheye": (4,)}


@dataclass(frozen=True)
class Rectification:
    """How a camera's pictures were rectified.

    model       pinhole or fisheye, as OpenCV has them, or homography
    source      width and height of the camera's picture in pixels
    size        those of the rectified one
    numbers     pinhole and fisheye: the camera matrix and that of the rectified picture, each as
                (fx, fy, cx, cy), and the distortion; homography: 3x3 back to the camera's picture
    """

    model: str
    source: tuple[int, int]
    size: tuple[int, int]
    numbers: tuple[tuple[float, ...], ...]

    def to_source(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) of the rectified picture. What is behind the camera becomes NaN."""
        x, y = points[..., 0] - 0.5, points[..., 1] - 0.5  # OpenCV counts from pixels' middles
        if self.model == "homography":
            m = self.numbers[0]
            w = m[6] * x + m[7] * y + m[8]
            w = np.where(w == 0, np.nan, w)
            u, v = (m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w
            return np.stack([u + 0.5, v + 0.5], axis=-1)
        (fx, fy, cx, cy), new, k = self.numbers
        x, y = (x - new[2]) / new[0], (y - new[3]) / new[1]
        if self.model == "fisheye":
            r = np.hypot(x, y)
            t = np.arctan(r)
            s = t * t
            bent = t * (1 + s * (k[0] + s * (k[1] + s * (k[2] + s * k[3]))))
            scale = np.where(r == 0, 1, bent / np.where(r == 0, 1, r))
            xd, yd = x * scale, y * scale
        else:
            k1, k2, p1, p2, k3, k4, k5, k6 = (*k, 0, 0, 0, 0)[:8]
            s = x * x + y * y
            radial = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
            xd = x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x)
            yd = y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y
        return np.stack([fx * xd + cx + 0.5, fy * yd + cy + 0.5], axis=-1)


def parse_rectification(text: str) -> Rectification:
    """Return what the header says, or raise InvalidMessage."""
    try:
        model, source, size, *rest = text.split(";")
        numbers = tuple(tuple(float(n) for n in part.split(",")) for part in rest)
        (w, h), (sw, sh) = ([int(n) for n in part.split("x")] for part in (source, size))
        lengths = [len(part) for part in numbers]
        if model == "homography":
            good = lengths == [9]
        else:
            good = lengths[:2] == [4, 4] and len(lengths) == 3
            good = good and lengths[2] in _COEFFICIENTS[model] and 0 not in numbers[1][:2]
        good = good and all(math.isfinite(n) for part in numbers for n in part)
        if good and min(w, h, sw, sh) > 0:
            return Rectification(model, (w, h), (sw, sh), numbers)
    except (ValueError, KeyError, IndexError):
        pass
    raise InvalidMessage(f"header Cvf-Map: {text[:80]!r} is no rectification")
