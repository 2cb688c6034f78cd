"""What `subscribe`, `pull` and the like take, and the checks of it.

A mistake is raised where it is made, when the function is called, and not by a connection
later.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import ssl
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

from .errors import CvfeederError

URL = "nats://127.0.0.1:4222"
CONNECT_TIMEOUT = 30.0  # seconds


class ConnectOptions(TypedDict, total=False):
    """How to reach NATS. All of it is optional.

    connect_timeout         seconds to wait for a server at first, 30 by default; None waits
                            for ever; once connected, a reader connects again for as long as
                            it is open
    user, password, token   what they say
    user_credentials        the path of a .creds file, read again for each new connection
    nkeys_seed              the path of a file with the seed of an nkey, likewise
    nkeys_seed_str          the seed itself
    tls                     for example ssl.create_default_context(cafile="ca.pem")
    tls_hostname            the name in the server's certificate, if not that in the URL
    tls_handshake_first     start TLS first, as the server's handshake_first demands
    name                    what the server shows as the connection's name
    inbox_prefix            how subjects for answers begin, "_INBOX" by default
    ws_connection_headers   HTTP headers, for ws:// and wss://
    """

    name: str
    user: str
    password: str
    token: str
    user_credentials: str | os.PathLike[str]
    nkeys_seed: str | os.PathLike[str]
    nkeys_seed_str: str
    tls: ssl.SSLContext
    tls_hostname: str
    tls_handshake_first: bool
    inbox_prefix: str
    ws_connection_headers: dict[str, list[str]]
    connect_timeout: float | None


_PATH = (str, os.PathLike)
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "user": (str,),
    "password": (str,),
    "token": (str,),
    "user_credentials": _PATH,
    "nkeys_seed": _PATH,
    "nkeys_seed_str": (str,),
    "tls": (ssl.SSLContext,),
    "tls_hostname": (str,),
    "tls_handshake_first": (bool,),
    "inbox_prefix": (str,),
    "ws_connection_headers": (dict,),
    "connect_timeout": (int, float, type(None)),
    "newest": (bool,),
    "gaps": (bool,),
    "strict": (bool,),
    "queue": (str,),
    "buffer": (int,),
    "memory": (str,),
    "batch": (int,),
    "batch_bytes": (int,),
    "timeout": (int, float, type(None)),
    "stream": (str,),
    "durable": (str,),
    "output": (str,),
    "credit": (int,),
    "expect_spec": (str, Collection, type(None)),
}
_NAME = re.compile(r"[^\s.*>/\\\x00-\x1f]+")  # what JetStream takes
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f]+")


def check(function: str, own: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Check the names and types of a function's own options, and those for the connection."""
    for name in options:
        if name not in ConnectOptions.__annotations__:
            known = [*own, "servers", "subject", *ConnectOptions.__annotations__]
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
            raise TypeError(f"{function}() has no option {name!r}{hint}")
    for name, value in {**own, **options}.items():
        kinds = _TYPES[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
            raise TypeError(f"{function}(): {name} is a {type(value).__name__}, not a {wanted}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
            raise ValueError(f"{function}(): {name} is {value}, but has to be more than 0")
        if name in ("stream", "durable", "queue") and value != "":
            _check_name(function, name, str(value))
    if "durable" in own and own["durable"] == "":
        raise ValueError(f"{function}(): durable is empty: it names the consumer in JetStream")


def _check_name(function: str, option: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{function}(): {option} is {name!r}, but it may not have spaces, dots, slashes, * or >"
        )


def subjects_of(function: str, subject: str | Sequence[str]) -> tuple[str, ...]:
    """Return the subjects that an option names; each message is to be on one of them only."""
    subjects = (subject,) if isinstance(subject, str) else tuple(subject)
    if not subjects:
        raise ValueError(f"{function}(): no subject is given: cvf.t.> is all tensors")
    for i, one in enumerate(subjects):
        if not isinstance(one, str):
            raise TypeError(f"{function}(): a subject is a {type(one).__name__}, not a str")
        *head, last = one.split(".")
        if not all(t == "*" or _TOKEN.fullmatch(t) for t in head) or not (
            last in ("*", ">") or _TOKEN.fullmatch(last)
        ):
            raise ValueError(
                f"{function}(): {one!r} is no subject: it is words with dots between them, for"
                " example cvf.t.cam-1.detector, in which * is any word, and > at the end all"
                " that follow"
            )
        for other in subjects[:i]:
            if overlap(one, other):
                raise ValueError(
                    f"{function}(): {other} and {one} overlap: tensors would come twice"
                )
    return subjects


def overlap(one: str, other: str) -> bool:
    """Return whether a message can be on both subjects."""
    a, b = one.split("."), other.split(".")
    for x, y in zip(a, b, strict=False):
        if ">" in (x, y):
            return True
        if x != y and "*" not in (x, y):
            return False
    return len(a) == len(b)


def servers_of(function: str, servers: str | Sequence[str]) -> list[str]:
    """Return the URLs of servers, from one text with commas or several."""
    urls: list[str] = []
    for given in servers.split(",") if isinstance(servers, str) else servers:
        if not isinstance(given, str):
            raise TypeError(f"{function}(): a server is a {type(given).__name__}, not a URL as str")
        url = given.strip() if "://" in given else f"nats://{given.strip()}"
        urls.append(url)
        try:
            parts = urlsplit(url)
            good = parts.hostname and parts.scheme in ("nats", "tls", "ws", "wss")
            good = good and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"{function}(): {url!r} is not a URL like {URL}, tls:// or wss://")
    if not urls:
        raise ValueError(f"{function}(): servers is empty: {URL} is the usual one")
    if len({url.startswith("ws") for url in urls}) > 1:
        raise ValueError(f"{function}(): servers are either all ws:// and wss://, or none")
    if urls[0].startswith("ws") and importlib.util.find_spec("aiohttp") is None:
        raise CvfeederError("ws:// and wss:// need aiohttp: pip install aiohttp")
    return urls


def without_password(urls: Sequence[str]) -> str:
    """Return URLs for an error or a log."""
    return ", ".join(re.sub(r"//[^/@]*@", "//", url) for url in urls)


def credentials(options: ConnectOptions) -> dict[str, Any]:
    """Return the credentials among the options as nats-py takes them; read their files.

    nats-py would read a file without a JWT for ever.
    """
    from nats.aio.client import RawCredentials  # noqa: PLC0415 - the only use

    found: dict[str, Any] = {}
    if path := options.get("user_credentials"):
        text = _read("user_credentials", path)
        for part in ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED"):
            if not re.search(rf"{part}-+\s*\n\s*\S", text):
                raise CvfeederError(
                    f"user_credentials: {os.fspath(path)} has no part {part!r}: it should be a"
                    " .creds file, as `nsc generate creds` writes"
                )
        seed = re.split(r"BEGIN USER NKEY SEED-+\s*\n\s*", text)[1].split()[0]
        found["user_credentials"] = RawCredentials(text)
    elif path := options.get("nkeys_seed"):
        seed = found["nkeys_seed_str"] = _read("nkeys_seed", path).strip()
    elif seed := options.get("nkeys_seed_str", "").strip():
        found["nkeys_seed_str"] = seed
    if found:
        _check_seed(seed)
    return found


def _read(option: str, path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        why = getattr(err, "strerror", None) or str(err)
        raise CvfeederError(f"{option}: {os.fspath(path)} cannot be read: {why}") from err


def _check_seed(seed: str) -> None:
    try:
        import nkeys  # noqa: PLC0415 - optional
    except ImportError as err:
        raise CvfeederError(
            "credentials files and nkeys need the package nkeys: pip install 'cvfeeder[nkeys]'"
        ) from err
    try:
        nkeys.from_seed(bytearray(seed.encode())).wipe()
    except Exception as err:  # noqa: BLE001 - of three libraries
        raise CvfeederError(
            f"the seed of the nkey is damaged: {type(err).__name__} {err}".rstrip()
        ) from None
