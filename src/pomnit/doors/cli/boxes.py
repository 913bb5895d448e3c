"""The pictures that an answer rests on, with the boxes of what is quoted drawn on them, as PNG files.

A picture comes from its file when that is there and unchanged, else from the bytes that were kept, else from the
preview. Files are written for their owner alone, and none that is there is ever replaced.
"""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pomnit.errors import HomeError, ItemError, NotFound, UsageError
from pomnit.readers import files
from pomnit.records import Box, Citation, Item

if TYPE_CHECKING:
    from PIL import Image

    from pomnit.memory import Memory

MOST_SIDE = 5120  # pixels of the longer side of what is written: a 5K screen whole
_PDF = "application/pdf"
_INK, _HALO, _WASH = (232, 89, 12, 255), (255, 255, 255, 200), (255, 196, 61, 56)
_LONGEST_NAME, _LONGEST_BYTES = 80, 200  # of a title in a file's name, which may have 255 bytes
_NOT_IN_NAMES = re.compile(r"[^\w.,()+&=@#%!~'’–—-]+")
_MOST_NAMES = 1000  # tried for one file


@dataclass(frozen=True, slots=True)
class Drawn:
    """What became of the picture of a citation: a file, or the reason why there is none."""

    number: int  # of the citation
    path: str | None
    text: str  # what it was drawn on, or the reason


def check(folder: str) -> None:
    """Raises when pictures should not be written there, before any work is done for them; makes the folder.

    Raises:
        UsageError: it is no folder, or cannot be made.
    """
    try:
        os.makedirs(os.path.expanduser(folder), mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--show {folder}: no folder can be made of it: {error.strerror}") from error


def write(folder: str, citations: Sequence[Citation], memory: Memory) -> list[Drawn]:
    """Draws the pictures of citations, one for each number and page with all its quotes; gives what became of each.

    Raises:
        HomeError: a file cannot be written.
    """
    return [_write(Path(folder).expanduser(), cited, memory) for cited in _pages(citations)]


@dataclass(slots=True)
class _Cited:
    """A page of an item with what a number quotes of it."""

    number: int
    item: Item
    page: int | None
    boxes: list[Box]


def _pages(citations: Sequence[Citation]) -> list[_Cited]:
    found: dict[tuple[int, str, int | None], _Cited] = {}
    for citation in citations:
        for page, box in _boxes(citation):
            key = (citation.number, citation.item.id, page)
            cited = found.setdefault(key, _Cited(citation.number, citation.item, page, []))
            cited.boxes += [box] if box is not None and box not in cited.boxes else []
    return list(found.values())


def _boxes(citation: Citation) -> Iterator[tuple[int | None, Box | None]]:
    """Gives the places of a quote that can be drawn; a picture is shown without any, too."""
    placed = [(place.page, place.box) for place in citation.places if place.box is not None]
    if not placed:
        yield citation.places[0].page if citation.places else None, None
    yield from placed


def _write(folder: Path, cited: _Cited, memory: Memory) -> Drawn:
    try:
        picture, what = _picture(memory, cited.item, cited.page)
    except (ItemError, NotFound) as error:
        return Drawn(cited.number, None, str(error))
    data = drawn(picture, cited.boxes)
    page = f" page {cited.page}" if cited.page is not None else ""
    return Drawn(cited.number, str(_put(folder, f"{cited.number} {file_name(cited.item.title)}{page}", data)), what)


def file_name(title: str) -> str:
    """Gives a title as a part of a file's name: letters, digits and a little punctuation, at most 80 characters."""
    text = _NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", title))[:_LONGEST_NAME]
    short = text.encode()[:_LONGEST_BYTES].decode("utf-8", "ignore")
    return " ".join(short.split()).strip(" .") or "untitled"


def _put(folder: Path, name: str, data: bytes) -> Path:
    """Writes a file under a name that is free, or finds the very same one that is there.

    Raises:
        HomeError.
    """
    try:
        for again in range(1, _MOST_NAMES):
            path = folder / (f"{name}.png" if again == 1 else f"{name} ({again}).png")
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                if _is_same(path, data):
                    return path
                continue
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return path
    except OSError as error:
        raise HomeError(f"{folder} cannot be written to: {error.strerror}") from error
    raise HomeError(f"{folder} holds {_MOST_NAMES} files named like {name}.png; choose another folder")


def _is_same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


# The picture


def _picture(memory: Memory, item: Item, page: int | None) -> tuple[Image.Image, str]:
    """Gives an item's picture, or that of a page, and what it comes from.

    Raises:
        ItemError, NotFound: there is none.
    """
    media_type = item.original.media_type
    if not (media_type.startswith("image/") or media_type == _PDF):
        raise NotFound(f"{item.kind} of type {media_type}: there is no picture to draw on")
    why = ""
    for data, what in _originals(memory, item):
        try:
            return _decoded(data, media_type, page, memory.settings.image_pixels), what
        except ItemError as error:
            why = f" ({error})"
    if page not in (None, 1):
        raise NotFound(f"its file is gone or has changed, and of page {page} nothing is kept{why}")
    return _decoded(memory.preview(item.id), "image/webp", None, memory.settings.image_pixels), f"its preview{why}"


def _originals(memory: Memory, item: Item) -> Iterator[tuple[bytes, str]]:
    """Gives the bytes of an item, from each place where they still are."""
    for source in item.sources:
        if source.kind != "file" or source.gone:
            continue
        path = files.path_of(source.uri)
        try:
            with files.open_same(path, item.original.digest, item.original.size) as file:
                yield file.read(), files.display(path)
        except ItemError:
            continue
    try:
        yield memory.original(item.id), "the bytes that were kept"
    except NotFound:
        return


def _decoded(data: bytes, media_type: str, page: int | None, most_pixels: int) -> Image.Image:
    """Gives a picture or a page of a document.

    Raises:
        ItemError.
    """
    if media_type == _PDF:
        from pomnit.readers import pdf

        return pdf.draw(data, page or 1)
    from pomnit.readers import image

    return image.decode(data, most_pixels, page or 1)


# The boxes


def drawn(picture: Image.Image, boxes: Sequence[Box]) -> bytes:
    """Gives a picture with boxes on it, in fractions of its width and height, as a PNG without any of its metadata."""
    from PIL import Image, ImageDraw

    whole = picture.convert("RGB")
    whole.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    width = max(2, round(min(whole.size) / 300))
    over = Image.new("RGBA", whole.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(over)
    around = [corners(box, whole.size, width) for box in boxes]
    for corner in around:  # one after the other, so that no box covers the line of another
        pen.rectangle(corner, fill=_WASH)
    for x0, y0, x1, y1 in around:
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_HALO, width=width + 2)
    for corner in around:
        pen.rectangle(corner, outline=_INK, width=width)
    whole.paste(over, mask=over.getchannel("A"))
    whole.info.clear()
    out = io.BytesIO()
    whole.save(out, "PNG")
    return out.getvalue()


def corners(box: Box, size: tuple[int, int], width: int) -> tuple[int, int, int, int]:
    """Gives the corners of the line around a box, in pixels: outside of what it is around, inside of the picture."""
    x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in box)
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    w, h, gap = size[0], size[1], 2 * width
    left, top = min(w - 1, max(0, int(x0 * w) - gap)), min(h - 1, max(0, int(y0 * h) - gap))
    return left, top, max(left, min(w - 1, int(x1 * w) + gap)), max(top, min(h - 1, int(y1 * h) + gap))
