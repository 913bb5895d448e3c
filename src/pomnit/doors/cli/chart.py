"""A picture of the topics: a bar for each, as long as the topic is large, named by its words. PNG or SVG."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomnit.doors.cli.terminal import clean, counted
from pomnit.errors import EngineMissing
from pomnit.records import Topic, Topics

if TYPE_CHECKING:
    from PIL import ImageFont

WIDTH, MARGIN, ROW, HEAD, FOOT = 1000, 32, 48, 88, 28
BAR, _SQUARE = 12, 10  # heights
_SIZES = {"title": 24, "label": 16, "small": 14}
_PAPER, _INK, _SOFT, _TRACK = "#fbfaf7", "#1d1d1f", "#6b6a64", "#ecebe5"
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a")  # of the spaces, in the order they come
_FAMILY = "DejaVu Sans, Noto Sans, Helvetica Neue, Arial, sans-serif"
_FONTS = (
    "DejaVuSans.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/freefont/FreeSans.ttf",
    "/usr/share/fonts/truetype/ubuntu/Ubuntu-R.ttf",
    "/System/Library/Fonts/Supplemental/Arial.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
    "/System/Library/Fonts/HelveticaNeue.ttc",
    "/System/Library/Fonts/Helvetica.ttc",
    "/System/Library/Fonts/SFNS.ttf",
)


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float  # of the baseline
    text: str
    size: str
    colour: str
    end: bool = False  # x is where it ends


@dataclass(frozen=True, slots=True)
class _Bar:
    x: float
    y: float
    width: float
    colour: str


def draw(path: str, topics: Topics) -> bytes:
    """Gives the picture in the format that the path's suffix names.

    Raises:
        EngineMissing: no font here has Cyrillic letters, and it is a PNG.
    """
    return svg(topics).encode() if path.lower().endswith(".svg") else png(topics)


def _height(topics: Topics) -> int:
    return HEAD + ROW * max(1, len(topics.topics)) + FOOT


def _shapes(topics: Topics) -> Iterator[_Text | _Bar]:
    """Gives what is drawn, from top to bottom."""
    n = sum(topic.size for topic in topics.topics)
    yield _Text(MARGIN, 44, f"{counted(len(topics.topics), 'topic')} of {counted(n, 'item')}", "title", _INK)
    x: float = MARGIN
    for space, colour in zip(topics.grouped, _COLOURS, strict=False):
        yield _Bar(x, 60, _SQUARE, colour)
        text = f"by {space}" if space != "words" else "by their words"
        yield _Text(x + 18, 70, text, "small", _SOFT)
        x += 42 + 9 * len(text)
    most = max((topic.size for topic in topics.topics), default=1)
    for row, topic in enumerate(topics.topics):
        yield from _row(topic, HEAD + ROW * row, most, list(topics.grouped))


def _row(topic: Topic, top: float, most: int, spaces: list[str]) -> Iterator[_Text | _Bar]:
    colour = _COLOURS[spaces.index(topic.space) % len(_COLOURS)] if topic.space in spaces else _SOFT
    whole = WIDTH - 2 * MARGIN
    yield _Text(MARGIN, top + 18, label(topic), "label", _INK)
    yield _Text(WIDTH - MARGIN, top + 18, str(topic.size), "label", _SOFT, end=True)
    yield _Bar(MARGIN, top + 25, whole, _TRACK)
    yield _Bar(MARGIN, top + 25, max(BAR, whole * topic.size / most), colour)


def label(topic: Topic) -> str:
    """Gives the name of a topic on one line."""
    text = clean(", ".join(topic.words) or "no word of its own")
    return text if len(text) <= 90 else text[:89] + "…"


def _high(bar: _Bar) -> int:
    """Gives the height of a bar; those of the legend are squares."""
    return _SQUARE if bar.width == _SQUARE else BAR


def svg(topics: Topics) -> str:
    """Gives the picture as SVG, which needs no font here."""
    height = _height(topics)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FAMILY}">',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
    ]
    for shape in _shapes(topics):
        if isinstance(shape, _Bar):
            high = _high(shape)
            parts.append(
                f'<rect x="{shape.x:g}" y="{shape.y + (BAR - high) / 2:g}" width="{shape.width:.1f}" height="{high}" '
                f'rx="{high / 4:g}" fill="{shape.colour}"/>'
            )
        else:
            anchor = ' text-anchor="end"' * shape.end
            weight = ' font-weight="600"' * (shape.size == "title")
            parts.append(
                f'<text x="{shape.x:g}" y="{shape.y:g}" font-size="{_SIZES[shape.size]}" fill="{shape.colour}"'
                f"{anchor}{weight}>{html.escape(shape.text)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def png(topics: Topics) -> bytes:
    """Gives the picture as PNG, twice as fine as it is large.

    Raises:
        EngineMissing: no font here has Cyrillic letters.
    """
    from PIL import Image, ImageDraw

    fonts = {name: font(2 * size) for name, size in _SIZES.items()}
    picture = Image.new("RGB", (2 * WIDTH, 2 * _height(topics)), _PAPER)
    draw = ImageDraw.Draw(picture)
    for shape in _shapes(topics):
        if isinstance(shape, _Bar):
            high = _high(shape)
            x, y = 2 * shape.x, 2 * (shape.y + (BAR - high) / 2)
            draw.rounded_rectangle((x, y, x + 2 * shape.width, y + 2 * high), high / 2, fill=shape.colour)
        else:
            anchor = "rs" if shape.end else "ls"
            draw.text((2 * shape.x, 2 * shape.y), shape.text, shape.colour, fonts[shape.size], anchor=anchor)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def font(size: int) -> ImageFont.FreeTypeFont:
    """Gives a font of this machine with Latin and Cyrillic letters.

    Raises:
        EngineMissing: there is none, with what to type.
    """
    from PIL import ImageFont

    for path in _FONTS:
        try:
            found = ImageFont.truetype(path, size)
        except OSError:
            continue
        if _has_cyrillic(found):
            return found
    raise EngineMissing(
        "no font with Cyrillic letters is on this machine; type: sudo apt-get install fonts-dejavu-core, or write the "
        "chart as .svg, which needs none"
    )


def _has_cyrillic(found: ImageFont.FreeTypeFont) -> bool:
    """Tells whether letters differ: a font draws the same box for each that it lacks."""
    return len({bytes(found.getmask(letter)) for letter in "ЖщЯ\U0010fffd"}) == 4
