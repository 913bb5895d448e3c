"""Pictures of a question: the one that it is about, read as any other, and those of items that an answerer looks at."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

from pomnit.engines.protocols import Picture
from pomnit.errors import EngineMissing, ItemError, UsageError
from pomnit.governor.leases import Governor
from pomnit.readers import choose, files
from pomnit.records import Item, Original, Passage, Source
from pomnit.search.evidence import LONGEST, Part, Piece
from pomnit.settings import Settings
from pomnit.store import Store, spans
from pomnit.store.items import StoredPassage
from pomnit.text.language import detect
from pomnit.text.split import PlacedText, split
from pomnit.text.stopwords import is_stop
from pomnit.text.times import from_seconds, now
from pomnit.text.words import tokens

LARGEST = 32 << 20  # bytes of an original that an answerer is given; of a larger one it sees the preview
TELLING = 200  # characters of what is written in it that are looked for when the question says nothing itself
_SEEN = ("image/png", "image/jpeg", "image/webp")


@dataclass(frozen=True, slots=True)
class Given:
    """The picture that a question is about."""

    picture: Picture
    piece: Piece | None  # what is written in it; None when nothing is
    notes: tuple[str, ...] = ()

    def words_for(self, question: str) -> str:
        """Gives the question to search for; one that says nothing itself, with what is written in the picture."""
        if self.piece is None or any(not is_stop(question[t.start : t.end]) for t in tokens(question)):
            return question
        return f"{question} ({' '.join(self.piece.text[:TELLING].replace('(', ' ').replace(')', ' ').split())})"


def given_picture(store: Store, governor: Governor, settings: Settings, path: str) -> Given:
    """Gives the picture of a file, read with the limits of the readers. Nothing of it is stored.

    Raises:
        ItemError: it cannot be read, is damaged or too large.
        UsageError: it is no picture.
    """
    real = os.path.realpath(os.path.expanduser(path))
    data = files.read_whole(real, settings.image_bytes)
    reader = choose(real, data[:4096])
    if reader is None or reader.kind != "image":
        raise UsageError(f"{files.display(real)!r:.200} is no picture; give a PNG, JPEG, WebP, HEIC, TIFF, GIF or BMP")
    digest = files.digest(data)
    item = _item(store, Original(digest, len(data), reader.media_type), real)
    notes: tuple[str, ...] = ()
    piece = None
    try:
        with governor.recogniser() as recogniser:
            piece = _piece(item, reader.read(data, settings, recogniser).text)
    except EngineMissing as error:
        notes = (f"what is written in the picture was not read: {error}",)
    return Given(Picture(_as_seen(data, reader.media_type, settings), digest), piece, notes)


def _item(store: Store, original: Original, path: str) -> Item:
    """Gives the item with these bytes, or one that is not remembered and has no id."""
    row = store.items.by_digest(original.digest)
    if row is not None:
        return store.items.records([row])[row]
    _, changed = files.stamp_of(path)
    time = from_seconds(changed)
    source = Source("file", files.uri_of(path), time, time)
    return Item("", "image", files.title_of(path), time, now(), "ready", original, (source,))


def _piece(item: Item, placed: PlacedText) -> Piece | None:
    """Gives what is written in a picture as a piece of evidence, the beginning of a long one."""
    text, parts = "", []
    for ordinal, own in enumerate(split(placed)):
        if text and len(text) + len(own.text) > LONGEST:
            break
        text += "\n\n" if text else ""
        record = Passage("", item.id, ordinal, own.text, detect(own.text))
        parts.append(Part(len(text), len(text) + len(own.text), StoredPassage(0, 0, record, spans.pack(own.spans))))
        text += own.text
    return Piece(item, text, tuple(parts), 0, 1.0) if parts else None


def _as_seen(data: bytes, media_type: str, settings: Settings) -> bytes:
    """Gives a picture in a format that answerers know."""
    if media_type in _SEEN:
        return data
    from pomnit.readers.image import decode

    out = io.BytesIO()
    decode(data, settings.image_pixels).convert("RGB").save(out, "PNG")
    return out.getvalue()


def picture_of(store: Store, settings: Settings, piece: Piece) -> Picture | None:
    """Gives the picture of a piece's item: its original where that is at hand, else its preview, None without one."""
    row = piece.parts[piece.main].passage.item_row
    if not row or piece.item.kind != "image":
        return None
    data = _original(store, settings, row)
    if data is None:
        _, preview = store.items.files(row)
        data = store.originals.get(preview) if preview else None
    return Picture(data, piece.item.original.digest) if data is not None else None


def _original(store: Store, settings: Settings, row: int) -> bytes | None:
    """Gives the bytes of a picture from where they are kept or lie; None when they do not, or are too large."""
    original, (kept, _) = store.items.original(row), store.items.files(row)
    if original.media_type not in _SEEN or original.size > min(LARGEST, settings.image_bytes):
        return None
    if kept:
        return store.originals.get(kept)
    for uri in store.items.file_uris(row):
        try:
            data = files.read_whole(files.path_of(uri), LARGEST)
        except ItemError:
            continue
        if files.digest(data) == original.digest:
            return data
    return None
