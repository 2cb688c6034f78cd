# ruff: noqa: INP001
"""What MkDocs does differently from GitHub, and the site must not.

Links that leave docs lead to the repository, since the site has only the manual. And a list
or table needs no blank line before it on GitHub, but does in Python-Markdown.
"""

import re

FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"\]\(\.\./([^)]*)\)")
REPOSITORY = "https://github.com/cvfeeder/cvfeeder/blob/main/"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Change what is outside of code blocks."""
    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else _prose(part) for i, part in enumerate(parts))


def _prose(text: str) -> str:
    text = OUTSIDE.sub(rf"]({REPOSITORY}\1)", text)
    return re.sub(r"^((?![-|#]|\d+\. ).+)\n(?=- |\d+\. )", r"\1\n\n", text, flags=re.MULTILINE)
