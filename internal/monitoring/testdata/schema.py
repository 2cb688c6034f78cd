"""Checks Grafana dashboards against Grafana's own schema.

    python schema.py fleet.json stream.json

The types are those of grafana-foundation-sdk, which Grafana generates from its schemas.
What a dashboard has and the types have not is named, and so is what has another type.
"""

import enum
import json
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# What Grafana reads and its schema does not have: the fields of an annotation by
# Prometheus, and the text of a query as the list of variables shows it.
BEYOND = {
    ".annotations.list[].step",
    ".annotations.list[].tagKeys",
    ".annotations.list[].textFormat",
    ".annotations.list[].titleFormat",
    ".annotations.list[].useValueForTime",
    ".templating.list[].definition",
}


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Yields the paths of what is not kept by the types."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{path}.{key}")
            elif value not in (None, {}, [], ""):
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for a, b in zip(given, kept, strict=True):
            yield from lost(a, b, f"{path}[]")
    elif given != kept:
        yield path


def wrong(value: Any, hint: Any, path: str = "") -> Iterator[str]:
    """Yields where a value is not of its type."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        hints = [h for h in typing.get_args(hint) if h is not type(None)]
        if value is None and len(hints) < len(typing.get_args(hint)):
            return
        same = [h for h in hints if isinstance(h, type) and type(value) is h]
        yield from min((list(wrong(value, h, path)) for h in same or hints), key=len)
    elif origin is typing.Literal:
        if value not in typing.get_args(hint):
            yield f"{path}: {value!r} is none of {typing.get_args(hint)}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
            return
        for item in value:
            yield from wrong(item, typing.get_args(hint)[0], f"{path}[]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no object"
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            yield f"{path}: {value!r} is none of {[member.value for member in hint]}"
    elif hint is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{path}: {value!r} is no number"
    elif hint in (str, int, bool, type(None)):
        if type(value) is not hint and not (isinstance(value, enum.Enum) and isinstance(value.value, hint)):
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif type(value).__module__.startswith("grafana_foundation_sdk"):
        for name, of in typing.get_type_hints(type(value)).items():
            yield from wrong(getattr(value, name), of, f"{path}.{name}")
    elif isinstance(value, dict) and hasattr(hint, "from_json"):  # as the list of transformations is left
        yield from wrong(hint.from_json(value), hint, path)
    elif isinstance(hint, type) and typing.get_type_hints(hint):
        yield f"{path}: {value!r} is no {hint.__name__}"


def problems(file: str) -> Iterator[str]:
    with open(file, encoding="utf-8") as f:
        given = json.load(f)
    dashboard = Dashboard.from_json(given)
    yield from wrong(dashboard, Dashboard)
    kept = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    yield from (f"{path}: the schema has no such field" for path in lost(given, kept) if path not in BEYOND)


register_default_plugins()
found = [f"{file}: {p}" for file in sys.argv[1:] for p in dict.fromkeys(problems(file))]
print("\n".join(found))
sys.exit(1 if found else 0)
