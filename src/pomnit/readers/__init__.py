"""What can be read, and by whom? One registry; one file per kind of original.

A reader is chosen by the first bytes of an original, for names lie; plain texts, which have no signature, by their
name. Each reader works in one stage of ingest; those of the stage "recognise" are given a recogniser. Recordings (stage
"transcribe") are too long to be read at once: ``audio.Recording`` gives their speech window by window.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pomnit.readers.encodings import looks_like_text
from pomnit.readers.signatures import (
    OLE,
    ZIP,
    Matches,
    is_aac,
    is_avif,
    is_bmp,
    is_heic,
    is_m4a,
    is_mov,
    is_mp3,
    is_mp4,
    is_pdf,
    is_wav,
    is_webm,
    is_webp,
    package_of,
    starts,
)
from pomnit.records import Kind
from pomnit.text.split import PlacedText

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser
    from pomnit.settings import Settings

HEAD = 4096  # bytes that are enough to choose a reader

Stage = Literal["read", "recognise", "transcribe"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader found in an original."""

    text: PlacedText
    title: str | None = None  # None: the file's name stays the title
    time: str | None = None  # ISO 8601 in UTC, when the original itself says when it was made
    preview: bytes | None = None  # a small picture of it, as a complete image file
    more: bool = False  # parts are left that only a recogniser can read: called again with one, it gives the whole


ReadFunction = Callable[[bytes, "Settings", "Recogniser | None"], Reading]


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of original and how it is read."""

    media_type: str
    kind: Kind
    stage: Stage
    module: str  # imported only when something is to be read
    suffixes: tuple[str, ...]
    matches: Matches
    limit: str  # the setting that bounds its size in bytes

    def read(self, data: bytes, settings: Settings, recogniser: Recogniser | None) -> Reading:
        """Reads an original.

        Raises:
            ItemError: with the reason, when it cannot be read.
        """
        function: ReadFunction = importlib.import_module(self.module).read
        return function(data, settings, recogniser)


_IMAGE, _TEXT, _OFFICE = "pomnit.readers.image", "pomnit.readers.text", "pomnit.readers.office"
_OPEN_XML, _OASIS = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."


def _picture(media_type: str, suffixes: tuple[str, ...], matches: Matches) -> Reader:
    return Reader(f"image/{media_type}", "image", "recognise", _IMAGE, suffixes, matches, "image_bytes")


def _office(media_type: str, suffixes: tuple[str, ...], *names: bytes) -> Reader:
    return Reader(media_type, "document", "read", _OFFICE, suffixes, package_of(*names), "document_bytes")


def _sound(media_type: str, suffixes: tuple[str, ...], matches: Matches) -> Reader:
    return Reader(media_type, "audio", "transcribe", "pomnit.readers.audio", suffixes, matches, "audio_bytes")


def _text(media_type: str, kind: Kind, module: str, suffixes: tuple[str, ...], limit: str = "text_bytes") -> Reader:
    return Reader(media_type, kind, "read", f"pomnit.readers.{module}", suffixes, looks_like_text, limit)


REGISTRY = (
    _picture("png", (".png",), starts(b"\x89PNG")),
    _picture("jpeg", (".jpg", ".jpeg"), starts(b"\xff\xd8\xff")),
    _picture("webp", (".webp",), is_webp),
    _picture("gif", (".gif",), starts(b"GIF87a", b"GIF89a")),
    _picture("tiff", (".tif", ".tiff"), starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    _picture("bmp", (".bmp",), is_bmp),
    _picture("heic", (".heic", ".heif"), is_heic),
    _picture("avif", (".avif",), is_avif),
    _sound("audio/wav", (".wav",), is_wav),
    _sound("audio/mpeg", (".mp3",), is_mp3),
    _sound("audio/aac", (".aac",), is_aac),
    _sound("audio/flac", (".flac",), starts(b"fLaC")),
    _sound("audio/ogg", (".ogg", ".oga", ".opus"), starts(b"OggS")),
    _sound("audio/mp4", (".m4a", ".m4b"), is_m4a),
    _sound("video/quicktime", (".mov",), is_mov),
    _sound("video/mp4", (".mp4", ".m4v"), is_mp4),
    _sound("video/webm", (".webm",), is_webm),
    _sound("video/x-matroska", (".mkv", ".mka"), starts(b"\x1a\x45\xdf\xa3")),
    Reader("application/pdf", "document", "read", "pomnit.readers.pdf", (".pdf",), is_pdf, "document_bytes"),
    _office(_OPEN_XML + "wordprocessingml.document", (".docx", ".docm", ".dotx"), b"word/"),
    _office(_OPEN_XML + "presentationml.presentation", (".pptx", ".pptm", ".ppsx"), b"ppt/"),
    _office(_OPEN_XML + "spreadsheetml.sheet", (".xlsx", ".xlsm"), b"xl/"),
    _office(_OASIS + "text", (".odt", ".ott"), _OASIS.encode() + b"text"),
    _office(_OASIS + "spreadsheet", (".ods",), _OASIS.encode() + b"spreadsheet"),
    _office(_OASIS + "presentation", (".odp",), _OASIS.encode() + b"presentation"),
    _text("text/html", "document", "html", (".html", ".htm", ".xhtml")),
    _text("message/rfc822", "document", "eml", (".eml", ".mht", ".mhtml"), "document_bytes"),
    _text("text/csv", "document", "csv", (".csv", ".tsv")),
    _text("application/x-subrip", "document", "subtitles", (".srt",)),
    _text("text/vtt", "document", "subtitles", (".vtt",)),
    _text("text/markdown", "note", "text", (".md", ".markdown")),
    _text("text/plain", "note", "text", (".txt", ".text")),
)

SUFFIXES = frozenset(suffix for reader in REGISTRY for suffix in reader.suffixes)


def choose(name: str, head: bytes) -> Reader | None:
    """Gives the reader for an original with this file name and these first bytes, None when there is none.

    A signature counts whatever the name says; a name counts only for kinds without a signature, and for the archives
    and old containers that office documents come in, when their first bytes do not say which.
    """
    lower = name.lower()
    for reader in REGISTRY:
        if reader.matches(head) and (reader.matches is not looks_like_text or lower.endswith(reader.suffixes)):
            return reader
    if head.startswith((ZIP, OLE)):
        return next((r for r in REGISTRY if r.module == _OFFICE and lower.endswith(r.suffixes)), None)
    return None


def by_media_type(media_type: str) -> Reader | None:
    """Gives the reader that an original of this media type was taken in with."""
    return next((reader for reader in REGISTRY if reader.media_type == media_type), None)
