"""Files to remember. A picture says in its EXIF what is written on it, and the fake recogniser reads it there."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from PIL import Image

from pomnit.engines.fake import FakeEncoder, FakeRecogniser
from pomnit.engines.protocols import Line, Word
from pomnit.models.cards import ALL_LANGUAGES, ALL_MINILM_L6_V2, EncoderCard

_DESCRIPTION, _EXIF_IFD, _ORIGINAL_TIME, _OFFSET = 0x010E, 0x8769, 0x9003, 0x9011


def box_of(line: int, word: int) -> tuple[float, float, float, float]:
    """Gives where the fake recogniser sees a word."""
    x, y = word % 10 / 10, line % 10 / 10
    return (x, y, round(x + 0.08, 2), round(y + 0.05, 2))


def written_on(image: Image.Image) -> list[Line]:
    """Gives the lines that ``picture`` wrote."""
    text = unquote(str(image.getexif().get(_DESCRIPTION, "")))
    return [
        Line(tuple(Word(word, box_of(i, j), 0.9) for j, word in enumerate(line.split())), block=0)
        for i, line in enumerate(text.splitlines())
        if line.split()
    ]


def engines(recognise: Any = written_on) -> dict[str, Any]:
    """Gives ready engines that need no model."""
    return {"recognise": FakeRecogniser(recognise), "embed": FakeEncoder(ALL_MINILM_L6_V2)}


POLYGLOT = replace(ALL_MINILM_L6_V2, name="polyglot", languages=ALL_LANGUAGES, dimensions=64)


def side_by_side(*cards: EncoderCard) -> dict[str, Any]:
    """Gives ready engines with an English encoder, one of all languages, and those of ``cards``."""
    encoders = [FakeEncoder(card) for card in (ALL_MINILM_L6_V2, POLYGLOT, *cards)]
    return {**engines(), "embed": encoders}


def picture(
    path: Path,
    text: str = "",
    *,
    colour: str = "white",
    taken: str | None = None,
    offset: str | None = None,
    size: tuple[int, int] = (64, 48),
    form: str | None = None,
) -> Path:
    """Writes a picture with ``text`` on it; ``form`` is Pillow's name of a format other than the suffix says."""
    exif = Image.Exif()
    exif[_DESCRIPTION] = quote(text)
    if taken:
        exif.get_ifd(_EXIF_IFD)[_ORIGINAL_TIME] = taken
        if offset:
            exif.get_ifd(_EXIF_IFD)[_OFFSET] = offset
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, form, exif=exif)
    return path


CUT = b"\x89PNG\r\n\x1a\n cut short"  # begins like a picture and is none


def note(path: Path, text: str) -> Path:
    """Writes a text file in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def bomb(path: Path, width: int, height: int) -> Path:
    """Writes a small PNG whose header promises ``width`` x ``height`` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    return path
