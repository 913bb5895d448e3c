"""What chat servers read and write: messages with pictures, errors in one wrapping or another. Pure functions."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from typing import Any

from pomnit.engines.looking import looked_at, shown
from pomnit.engines.prompt import Message
from pomnit.engines.protocols import Asked, Picture
from pomnit.errors import EngineError

PIXELS, SIDE = 2_000_000, 2048  # of a picture that is sent; what reads screens well takes about as much
_QUALITY = 90
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str) -> str:
    """Gives a text on one line, without what a terminal would obey."""
    return " ".join(_UNSEEN.sub(" ", whole_letters(text)).split())


def whole_letters(text: str) -> str:
    """Gives a text without halves of letters, which JSON can hold and no file can."""
    return text.encode("utf-8", "replace").decode()


def said_of(body: bytes, location: str | None) -> str:
    """Gives what a refusal says: the message of its JSON, where it sends to, or the beginning of its text."""
    if location:
        return location
    text = body[:10_000].decode("utf-8", "replace")
    try:
        return message_of(json.loads(body))
    except (ValueError, RecursionError):
        return "" if "<" in text[:100] else text


def message_of(error: Any) -> str:
    """Gives the message within an error, as one server or another wraps it."""
    for _ in range(4):
        if isinstance(error, dict):
            error = next((error[key] for key in ("error", "message", "detail", "msg") if error.get(key)), "")
        elif isinstance(error, list):
            error = error[0] if error else ""
    return error if isinstance(error, str) else ""


def error_event(data: bytes) -> str:
    """Gives what stands behind "error:", as llama.cpp writes it into a stream, as JSON."""
    text = data.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text) or "unknown")
    except (ValueError, RecursionError):
        return json.dumps(text or "unknown")


def content_of(message: Message) -> Any:
    """Gives a message's content: plain text where there are no pictures, which every server takes."""
    if all(part.picture is None for part in message.parts):
        return message.text
    return [
        {"type": "text", "text": part.text}
        if part.picture is None
        else {"type": "image_url", "image_url": {"url": _data_url(part.picture.data)}}
        for part in message.parts
    ]


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def as_sent(asked: Asked) -> Asked:
    """Gives the same with its pictures as they are sent: few, upright, reduced, as JPEG; nothing is told beside them.

    A photo's file tells more than it shows: where it was taken, for one. What cannot be decoded is left out.
    """
    asked = shown(asked)
    offered = tuple(replace(piece, picture=_jpeg(piece.picture)) for piece in asked.offered)
    return replace(asked, offered=offered, picture=_jpeg(asked.picture))


def _jpeg(picture: Picture | None) -> Picture | None:
    if picture is None:
        return None
    try:
        (looked,) = looked_at([picture], pixels=PIXELS, side=SIDE, step=1)
    except EngineError:
        return None
    out = io.BytesIO()
    looked.image.save(out, "JPEG", quality=_QUALITY, subsampling=0)
    return Picture(out.getvalue(), picture.digest)
