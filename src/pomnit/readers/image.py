"""Pictures. Their words by OCR with a box each, their time from EXIF, a small preview; a TIFF may have pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from pomnit.errors import ItemError
from pomnit.readers import Reading
from pomnit.readers.builder import TextBuilder
from pomnit.records import Place
from pomnit.settings import Settings
from pomnit.text.split import PlacedText, Span
from pomnit.text.times import utc

if TYPE_CHECKING:
    from pomnit.engines.protocols import Line, Recogniser

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
PREVIEW_SIDE = 640  # pixels of the longer side
_ORIGINAL_TIME, _OFFSET, _EXIF_IFD = 0x9003, 0x9011, 0x8769  # EXIF 2.32: DateTimeOriginal, OffsetTimeOriginal


def read(data: bytes, settings: Settings, recogniser: Recogniser | None) -> Reading:
    """Reads a picture. Its text has a line for each line seen and an empty one between paragraphs.

    Raises:
        ItemError: truncated, damaged, larger than allowed, or not a picture of these formats.
    """
    assert recogniser is not None
    text = TextBuilder(settings.document_chars)
    with _opened(data) as source:
        first = _frame(source, 0, settings.image_pixels)
        count = _pages(source)
        for number in range(1, min(count, settings.document_scans) + 1):
            picture = first if number == 1 else _frame(source, number - 1, settings.image_pixels)
            placed = lay_out(recogniser.recognise(picture))
            if count == 1:
                return Reading(placed, time=_time(first), preview=preview(first))
            text.gap("\n\n")
            text.add_placed(placed, number)
    if count > settings.document_scans:
        text.note(f"cut after {settings.document_scans} of {count} pages: setting document_scans")
    return Reading(text.done(), time=_time(first), preview=preview(first))


def decode(data: bytes, most_pixels: int, page: int = 1) -> Image.Image:
    """Gives the picture upright and whole, of several that of a page; its size is checked before any pixel is decoded.

    Raises:
        ItemError.
    """
    with _opened(data) as source:
        return _frame(source, page - 1, most_pixels)


def _opened(data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, the same for every program; ours follows
    try:
        if data[4:8] == b"ftyp":
            import pi_heif

            pi_heif.register_heif_opener(thumbnails=False)
            return Image.open(io.BytesIO(data), formats=(*FORMATS, "HEIF"))
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's decoders raise whatever they meet in broken files
        raise ItemError(f"the picture is damaged or cut short: {error}") from error


def _frame(source: Image.Image, number: int, most_pixels: int) -> Image.Image:
    """Gives one picture of a file, from 0, upright and whole.

    Raises:
        ItemError: damaged, or more pixels than allowed.
    """
    try:
        if number:
            source.seek(number)
        width, height = source.size
        if width * height > most_pixels:
            raise ItemError(
                f"the picture has {width} x {height} pixels, more than the {most_pixels} that are allowed "
                "(setting image_pixels)"
            )
        source.load()
        exif = source.getexif()
        upright = ImageOps.exif_transpose(source)
    except ItemError:
        raise
    except Exception as error:  # as above
        raise ItemError(f"the picture is damaged or cut short: {error}") from error
    upright.info["pomnit_exif"] = exif
    return upright


def _pages(source: Image.Image) -> int:
    """Gives how many pages a picture has; the frames of an animation are none."""
    if source.format != "TIFF":
        return 1
    try:
        return int(getattr(source, "n_frames", 1))
    except Exception:  # noqa: BLE001 a damaged list of pages: the first is here
        return 1


def lay_out(lines: Sequence[Line]) -> PlacedText:
    """Gives the text of recognised lines, each word with its box."""
    parts: list[str] = []
    spans: list[Span] = []
    at = 0
    for i, line in enumerate(lines):
        if i:
            gap = "\n" if line.block == lines[i - 1].block else "\n\n"
            parts.append(gap)
            at += len(gap)
        for j, word in enumerate(line.words):
            if j:
                parts.append(" ")
                at += 1
            parts.append(word.text)
            spans.append(Span(at, at + len(word.text), Place(box=word.box)))
            at += len(word.text)
    return PlacedText("".join(parts), spans)


def preview(picture: Image.Image) -> bytes:
    """Gives a small WebP of a picture."""
    small = picture.convert("RGB") if picture.mode not in ("RGB", "L") else picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=60, method=0)
    return out.getvalue()


def _time(picture: Image.Image) -> str | None:
    """Gives when a photo was taken, by its EXIF; in local time when no offset is given."""
    try:
        facts = picture.info["pomnit_exif"].get_ifd(_EXIF_IFD)
        taken = datetime.strptime(str(facts[_ORIGINAL_TIME]).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 local
        offset = str(facts.get(_OFFSET, "")).strip("\0 ")
        if offset:
            taken = datetime.strptime(f"{taken:%Y:%m:%d %H:%M:%S} {offset}", "%Y:%m:%d %H:%M:%S %z")
        return utc(taken)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
