"""Reading headers, which are not trusted until they have been checked."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from .errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "1"
MAX_SIDE = 1 << 16  # elements
MAX_BYTES = 1 << 30
MAX_TEXT = 1 << 10  # characters

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,4})?", re.ASCII)


class Headers:
    """The headers of one message; each method returns a checked value.

    All of them raise InvalidMessage, with the name of the header and a short part
    of the value that is wrong.
    """

    def __init__(self, values: Mapping[str, str] | None) -> None:
        """Read from a mapping of header names to values."""
        self._values = values or {}
        if (version := self.text("Cvf-Version")) != VERSION:
            self.fail("Cvf-Version", version, f"not the version {VERSION} that this package reads")

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a header."""
        return name in self._values

    def text(self, name: str, at_most: int = MAX_TEXT) -> str:
        """Return a text of 1 to at_most characters."""
        value = self._values.get(name)
        if not isinstance(value, str) or value == "":
            raise InvalidMessage(f"header {name}: is missing or empty")
        if len(value) > at_most:
            self.fail(name, value, f"longer than {at_most} characters")
        return value

    def one_of(self, name: str, *values: str) -> str:
        """Return a text that is one of the given ones."""
        if (value := self.text(name)) not in values:
            self.fail(name, value, f"not one of {', '.join(values)}")
        return value

    def time(self, name: str) -> datetime:
        """Return an instant in UTC, from RFC 3339."""
        value = self.text(name)
        try:
            return parse_time(value)
        except ValueError:
            self.fail(name, value, "not a time like 2026-01-02T03:04:05.200Z")

    def count(self, name: str, at_most: int = MAX_BYTES) -> int:
        """Return a whole number from 1 to at_most."""
        return self.counts(name, ",", 1, at_most)[0]

    def counts(self, name: str, separator: str, n: int, at_most: int = MAX_SIDE) -> tuple[int, ...]:
        """Return n whole numbers from 1 to at_most."""
        return self.counts_of(name, self.text(name), separator, n, at_most)

    def counts_of(
        self, name: str, value: str, separator: str, n: int, at_most: int = MAX_SIDE
    ) -> tuple[int, ...]:
        """Return n whole numbers from 1 to at_most, from a piece of a header's value."""
        numbers = _counts(value, separator, n)
        if numbers is None:
            self.fail(name, value, f"not {n} whole number(s), with {separator!r} between them")
        if not all(1 <= number <= at_most for number in numbers):
            self.fail(name, value, f"not within 1 to {at_most}")
        return numbers

    def floats(self, name: str, n: int) -> tuple[float, ...]:
        """Return n finite numbers."""
        return self.floats_of(name, self.text(name), n)

    def floats_of(self, name: str, value: str, n: int) -> tuple[float, ...]:
        """Return n finite numbers, from a piece of a header's value."""
        numbers = _floats(value, n)
        if numbers is None:
            self.fail(name, value, f"not {n} number(s), with ',' between them")
        if not all(math.isfinite(number) for number in numbers):
            self.fail(name, value, "not finite")
        return numbers

    def nonzero(self, name: str, n: int) -> tuple[float, ...]:
        """Return n finite numbers of which none is 0."""
        numbers = self.floats(name, n)
        if 0 in numbers:
            self.fail(name, self.text(name), "0, which cannot be a factor")
        return numbers

    def fail(self, name: str, value: str, problem: str) -> NoReturn:
        """Raise InvalidMessage because of a header's value, or a piece of it."""
        raise InvalidMessage(f"header {name}: {value[:40]!r} is {problem}")


# Most headers of an output are the same in each of its tensors.
@lru_cache(maxsize=256)
def _counts(value: str, separator: str, n: int) -> tuple[int, ...] | None:
    parts = value.split(separator)
    if len(parts) != n or not all(_COUNT.fullmatch(part) for part in parts):
        return None
    return tuple(int(part) for part in parts)


@lru_cache(maxsize=256)
def _floats(value: str, n: int) -> tuple[float, ...] | None:
    parts = value.split(",")
    if len(parts) != n or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    return tuple(float(part) for part in parts)


def traceparent(headers: Mapping[str, str] | None) -> str:
    """Return the W3C trace context, "" if it is missing or malformed.

    A malformed trace context is no reason to reject a tensor.
    """
    value = (headers or {}).get("traceparent", "")
    return value if _TRACE.fullmatch(value) else ""


def parse_time(text: object) -> datetime:
    """Return the instant of an RFC 3339 text, in UTC and exact to the millisecond."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("not a time like 2026-01-02T03:04:05.200Z")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as err:  # an offset that leaves the years 1 to 9999
        raise ValueError(str(err)) from None
