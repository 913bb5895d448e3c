"""What was read, without what a policy does not keep: its text and title, its preview, and a copy of its bytes.

Readers, ``ingest`` and ``scan`` mask here and nowhere else; the screen, whose pictures are never seen unmasked by the
store, uses ``privacy.sensitive`` itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pomnit.privacy.sensitive import Policy, masked, masked_placed, paint
from pomnit.readers import Reading
from pomnit.readers.encodings import decode
from pomnit.records import Box
from pomnit.text.split import PlacedText, Span

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
}  # that a picture of one page is written in again; others are not kept
_TEXTS = ("text/plain", "text/markdown")
_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Screened:
    """What may be stored of an original."""

    reading: Reading
    boxes: tuple[Box, ...] = ()  # painted over on the first page
    found: int = 0  # sensitive parts that are not in it any more
    copy: bytes | None = None  # what is kept instead of the bytes, where they were kept; None: nothing can be
    drop: bool = False  # nothing of it may be stored


def screened(reading: Reading, policy: Policy) -> Screened:
    """Gives a reading without what a policy does not keep."""
    if policy.action == "keep":
        return Screened(reading)
    if reading.more:  # its pages that are still to be recognised may be what a preview shows
        reading = replace(reading, preview=None)
    text = masked_placed(reading.text, policy)
    titled = len(policy.find(reading.title)) if reading.title else 0
    found = len(text.founds) + titled
    if not found:
        return Screened(reading)
    if policy.action == "drop":
        return Screened(Reading(PlacedText("")), found=found, drop=True)
    boxes = first_page(text.spans)
    title = masked(reading.title, policy) if reading.title else reading.title
    preview = painted(reading.preview, boxes) if reading.preview and boxes else reading.preview
    return Screened(replace(reading, text=text.placed, title=title, preview=preview), boxes, found)


def first_page(spans: Iterable[Span]) -> tuple[Box, ...]:
    """Gives the boxes of words on the page that a preview shows."""
    return tuple(span.place.box for span in spans if span.place.box and span.place.page in (None, 1))


def painted(preview: bytes, boxes: Iterable[Box]) -> bytes:
    """Gives a preview with boxes painted over, as a WebP."""
    from PIL import Image

    with Image.open(io.BytesIO(preview)) as picture:
        out = io.BytesIO()
        paint(picture, boxes).save(out, "WEBP", quality=60, method=0)
    return out.getvalue()


def masked_copy(data: bytes, media_type: str, boxes: Iterable[Box], policy: Policy, most_pixels: int) -> bytes | None:
    """Gives the bytes of an original in which sensitive text is masked; None where its format cannot be written.

    A picture is written anew, without what its file says besides pixels. Only texts and pictures of one page can be.

    Raises:
        ItemError: the bytes are damaged.
    """
    if media_type in _TEXTS:
        return masked(decode(data), policy).encode()
    if media_type not in _FORMATS:
        return None
    from pomnit.readers.image import decode as decode_picture

    picture = paint(decode_picture(data, most_pixels), boxes)
    out = io.BytesIO()
    form = _FORMATS[media_type]
    if form == "JPEG":
        picture.convert("RGB").save(out, form, quality=_QUALITY)
    elif form == "WEBP":
        picture.save(out, form, quality=_QUALITY, method=0)
    else:
        picture.save(out, form)
    return out.getvalue()
