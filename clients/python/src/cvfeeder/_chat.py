"""Parts of chat messages, as OpenAI's API has them."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class ImageURL(TypedDict):
    """What an `ImagePart` refers to."""

    url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class ImagePart(TypedDict):
    """A picture in a chat message, as OpenAI's API has it."""

    type: Literal["image_url"]
    image_url: ImageURL
