"""What can be read, and by whom? One registry; one file per kind of original.

A reader is chosen by the first bytes of an original, for names lie; plain texts, which have no signature, by their
name. Each reader works in one stage of ingest; those of the stage "recognise" are given a recogniser.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pomnit.records import Kind
from pomnit.text.split import PlacedText

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser
    from pomnit.settings import Settings

HEAD = 4096  # bytes that are enough to choose a reader

Stage = Literal["read", "recognise"]


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
    matches: Callable[[bytes], bool]
    limit: str  # the setting that bounds its size in bytes

    def read(self, data: bytes, settings: Settings, recogniser: Recogniser | None) -> Reading:
        """Reads an original.

        Raises:
            ItemError: with the reason, when it cannot be read.
        """
        function: ReadFunction = importlib.import_module(self.module).read
        return function(data, settings, recogniser)


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_text(head: bytes) -> bool:
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in head


REGISTRY = (
    Reader("image/png", "image", "recognise", "pomnit.readers.image", (".png",), _starts(b"\x89PNG"), "image_bytes"),
    Reader(
        "image/jpeg",
        "image",
        "recognise",
        "pomnit.readers.image",
        (".jpg", ".jpeg"),
        _starts(b"\xff\xd8\xff"),
        "image_bytes",
    ),
    Reader("image/webp", "image", "recognise", "pomnit.readers.image", (".webp",), _is_webp, "image_bytes"),
    Reader("text/markdown", "note", "read", "pomnit.readers.text", (".md", ".markdown"), _is_text, "text_bytes"),
    Reader("text/plain", "note", "read", "pomnit.readers.text", (".txt", ".text"), _is_text, "text_bytes"),
)

SUFFIXES = frozenset(suffix for reader in REGISTRY for suffix in reader.suffixes)


def choose(name: str, head: bytes) -> Reader | None:
    """Gives the reader for an original with this file name and these first bytes, None when there is none.

    A signature counts whatever the name says; a name counts only for kinds without a signature.
    """
    lower = name.lower()
    for reader in REGISTRY:
        if reader.matches is _is_text:
            if lower.endswith(reader.suffixes) and _is_text(head):
                return reader
        elif reader.matches(head):
            return reader
    return None


def by_media_type(media_type: str) -> Reader | None:
    """Gives the reader that an original of this media type was taken in with."""
    return next((reader for reader in REGISTRY if reader.media_type == media_type), None)
