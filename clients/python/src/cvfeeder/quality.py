"""How good a camera's pictures are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import InvalidMessage

if TYPE_CHECKING:
    from ._headers import Headers

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_MAYBE = rf"(?:-|{_NUMBER})"
_NAME = r"[a-z_]{1,30}"
# A later version may have more numbers, and other conditions.
_TEXT = re.compile(
    rf"(?:{_NUMBER},){{4}}(?:{_MAYBE},){{2}}{_NUMBER}(?:,{_MAYBE}){{0,30}}"
    rf"(?:;{_NAME}(?:,{_NAME}){{0,30}})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a camera's picture is: the tensor's, or the last one before it that was looked at.

    A level is a step of brightness, 0 to 255. What counts are the means of blocks of 8x8 pixels
    of the camera's whole picture, whatever part of it the tensor shows.

    mean         the mean brightness, in levels
    contrast     its standard deviation, in levels
    sharpness    the variance of the Laplacian, in levels squared
    clipped      the share of blocks at either end of the brightness, 0 to 1
    difference   by how much the picture differs from the one looked at before it, in levels;
                 None if there is none
    similarity   how much it shows what the camera usually does, 0 to 1; None while that is
                 learned
    age          by how many seconds it is earlier than the tensor's
    conditions   what is wrong, worst first: black, covered, frozen, turned, blurred,
                 flickering; empty if the camera sees well
    """

    mean: float
    contrast: float
    sharpness: float
    clipped: float
    difference: float | None
    similarity: float | None
    age: float
    conditions: tuple[str, ...] = ()


def quality_of(h: Headers) -> Quality | None:
    """Return what the header says, None if it is missing, or raise InvalidMessage."""
    name = "Cvf-Quality"
    if name not in h:
        return None
    text = h.text(name)
    if _TEXT.fullmatch(text) is None:
        raise InvalidMessage(f"header {name}: {text[:60]!r} is not seven numbers and conditions")
    numbers, _, conditions = text.partition(";")
    mean, contrast, sharpness, clipped, difference, similarity, age, *_ = numbers.split(",")
    return Quality(
        mean=float(mean),
        contrast=float(contrast),
        sharpness=float(sharpness),
        clipped=float(clipped),
        difference=None if difference == "-" else float(difference),
        similarity=None if similarity == "-" else float(similarity),
        age=float(age),
        conditions=tuple(conditions.split(",")) if conditions else (),
    )
