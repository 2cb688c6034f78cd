# ruff: noqa: INP001
"""What MkDocs does differently from GitHub, and the site must not.

Links that leave docs lead to the repository, since the site has only the manual. And a list
or table needs no blank line before it on GitHub, but does in Python-Markdown. Pages that the
navigation does not name are under "More".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"\]\(\.\./([^)]*)\)")
REPOSITORY = "https://github.com/cvfeeder/cvfeeder/blob/main/"


def on_config(config: MkDocsConfig) -> None:
    """Name the pages that nobody has put into the navigation."""
    named = str(config.nav)
    more = [p.name for p in sorted(Path(config.docs_dir).glob("*.md")) if p.name not in named]
    if more:
        config.nav.append({"More": more})


def on_page_markdown(markdown: str, **_: object) -> str:
    """Change what is outside of code blocks."""
    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else _prose(part) for i, part in enumerate(parts))


def _prose(text: str) -> str:
    text = OUTSIDE.sub(rf"]({REPOSITORY}\1)", text)
    return re.sub(r"^((?![-|#]|\d+\. ).+)\n(?=- |\d+\. )", r"\1\n\n", text, flags=re.MULTILINE)
