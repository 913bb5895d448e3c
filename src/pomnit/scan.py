"""What is stored, looked through for sensitive text, and masked: text, words, vectors, previews and kept bytes.

``look`` goes item by item, and through the passages of a long one in steps. ``mask`` changes an item in one
transaction. Nothing here gives a secret away: what is found is told by its kind, its mask and its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pomnit.errors import PomnitError
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.masking import first_page, masked_copy, painted
from pomnit.privacy.keys import Keys
from pomnit.privacy.sensitive import Found, Policy, mask_founds, mask_of, masked
from pomnit.readers import files
from pomnit.records import Item, MaskReceipt, SensitiveFind, SensitiveItem, SensitiveKind
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store import spans as packed_spans
from pomnit.store.items import StoredPassage
from pomnit.text.language import detect
from pomnit.text.split import PlacedText, Span, places

STEP = 64  # passages of an item that are looked at together; the last of them again with the next ones
ITEMS = 256  # whose rows are fetched together


@dataclass(frozen=True, slots=True)
class Part:
    """What is sensitive in one passage, and what is to stand there."""

    found: Found  # counted from the passage's beginning
    mask: str
    begins: bool  # it does not go on from the passage before


@dataclass(slots=True)
class Seen:
    """What an item holds."""

    row: int
    passages: int = 0
    parts: dict[int, list[Part]] = field(default_factory=dict)  # passage -> parts, in order
    heads: list[Part] = field(default_factory=list)  # of its title, and of the titles of windows that showed it

    @property
    def kinds(self) -> list[SensitiveKind]:
        """The kind of each one, once."""
        parts = [part.found.kind for parts in self.parts.values() for part in parts if part.begins]
        return parts + [part.found.kind for part in self.heads]


def item_rows(store: Store) -> Iterator[int]:
    """Gives the rows of all items, fetched in steps."""
    last = 0
    while rows := store.items.rows_after(last, ITEMS):
        yield from rows
        last = rows[-1]


def look(store: Store, policy: Policy, item: int) -> Seen | None:
    """Gives what an item holds that a policy does not keep; None when it is gone. Its text is looked at in steps."""
    record = store.items.records([item]).get(item)
    if record is None:
        return None
    heads = dict.fromkeys((record.title, *(source.window or "" for source in record.sources)))
    seen = Seen(item, heads=[Part(f, mask_of(f, head), begins=True) for head in heads for f in policy.find(head)])
    rows = store.items.passage_rows(item)
    seen.passages = len(rows)
    for first in range(0, max(1, len(rows) - 1), STEP - 1):
        _look_at(store.items.passages(rows[first : first + STEP]), policy, seen)
    return seen


def _look_at(passages: Sequence[StoredPassage], policy: Policy, seen: Seen) -> None:
    """Adds what stands in passages of an item, which follow each other: a number may go on in the next one."""
    text = "\n".join(passage.record.text for passage in passages)
    founds = policy.find(text)
    start, at = 0, 0
    for passage in passages:
        end = start + len(passage.record.text)
        while at < len(founds) and founds[at].end <= start:
            at += 1
        parts = seen.parts.setdefault(passage.row, []) if at < len(founds) and founds[at].start < end else []
        known = {(part.found.start, part.found.end) for part in parts}
        for found in founds[at:]:
            if found.start >= end:
                break
            own = replace(found, start=max(found.start, start) - start, end=min(found.end, end) - start)
            if own.end > own.start and (own.start, own.end) not in known:
                parts.append(Part(own, mask_of(found, text), begins=found.start >= start))
        parts.sort(key=lambda part: part.found.start)
        start = end + 1


def view(store: Store, policy: Policy, seen: Seen) -> SensitiveItem | None:
    """Gives what an item holds as a record, without the secrets; None when it is gone."""
    record = store.items.records([seen.row]).get(seen.row)
    if record is None:
        return None
    finds = [SensitiveFind(part.found.kind, part.found.sure, part.mask, None) for part in seen.heads]
    for passage in store.items.passages(list(seen.parts)):
        for part in seen.parts[passage.row]:
            if part.begins:
                spans = packed_spans.unpack(passage.packed, [(part.found.start, part.found.end)])
                finds.append(
                    SensitiveFind(part.found.kind, part.found.sure, part.mask, passage.record.id, places(spans))
                )
    return SensitiveItem(_without(record, policy), tuple(finds))


def _without(record: Item, policy: Policy) -> Item:
    """Gives an item's record whose title and windows are masked; where it came from stays, for a file is called so."""
    sources = tuple(replace(s, window=s.window and masked(s.window, policy)) for s in record.sources)
    return replace(record, title=masked(record.title, policy), sources=sources)


# Masking


class Masking:
    """Masks items one after the other; ``receipt`` says what was changed."""

    def __init__(self, store: Store, keys: Keys, governor: Governor, settings: Settings, policy: Policy) -> None:
        self._store, self._keys, self._governor, self._settings = store, keys, governor, settings
        self._policy = policy
        self.receipt = MaskReceipt(0, 0, 0, 0, 0, 0)

    def mask(self, seen: Seen) -> None:
        """Masks what was seen in an item, in one transaction; files that are not named any more go after it."""
        store, gone = self._store, []
        with store.transaction():
            record = store.items.records([seen.row]).get(seen.row)
            if record is None:
                return
            seen = look(store, self._policy, seen.row) or seen  # it may have been read anew
            title = masked(record.title, self._policy)
            store.items.update(seen.row, title=title)
            for window in {source.window for source in record.sources if source.window}:
                store.items.rename_window(seen.row, window, masked(window, self._policy))
            hidden, vectors, language = self._mask_passages(seen, title)
            gone += self._mask_preview(seen.row, hidden)
            gone += self._mask_kept(seen.row, record, hidden)
            store.items.set_sensitive(seen.row, "mask")
            if language:
                store.queue.put("embed", seen.row, 0)
        for name in gone:
            store.originals.remove(name)
        self._count(items=1, passages=len(seen.parts), vectors=vectors)

    def _count(self, **more: int) -> None:
        self.receipt = replace(self.receipt, **{name: getattr(self.receipt, name) + n for name, n in more.items()})

    def _mask_passages(self, seen: Seen, title: str) -> tuple[list[Span], int, bool]:
        """Gives the places of what was masked, how many vectors went, and whether there is anything to embed."""
        store, vectors, language = self._store, 0, False
        hidden: list[Span] = []
        card = spaces.searched(store, self._governor).card
        rows = set(seen.parts) | set(store.items.passage_rows(seen.row)[:1] if seen.heads else ())
        for passage in store.items.passages(sorted(rows)):
            parts = seen.parts.get(passage.row, [])
            placed = PlacedText(passage.record.text, packed_spans.unpack(passage.packed))
            fit = mask_founds(placed, [part.found for part in parts], [part.mask for part in parts])
            hidden += fit.spans
            store.words.remove([passage.row])
            store.words.add(passage.row, fit.placed.text, title if passage.record.ordinal == 0 else "")
            if not parts:
                continue
            lang = detect(fit.placed.text)
            store.items.update_passage(passage.row, fit.placed, lang)
            vectors += store.vectors.remove([passage.row])
            store.terms.remove([passage.row])
            language = language or lang in card.languages
        return hidden, vectors, language

    def _mask_preview(self, item: int, hidden: Sequence[Span]) -> list[str]:
        """Paints over what a preview shows of it; gives the files that are to go."""
        shown, boxes = self._store.items.preview(item), first_page(hidden)
        if shown is None or not boxes:
            return []
        name, digest = shown
        data = painted(self._store.originals.get(name), boxes)
        new = self._keys.name(f"preview {digest} {files.digest(data)}")
        self._store.originals.put(new, data)
        self._store.items.set_file(item, "preview", new)
        self._count(previews=1)
        return [name] if new != name else []

    def _mask_kept(self, item: int, record: Item, hidden: Sequence[Span]) -> list[str]:
        """Writes kept bytes anew, masked, or keeps them no longer; gives the files that are to go."""
        kept, _ = self._store.items.files(item)
        if kept is None:
            return []
        original = record.original
        if original.media_type.startswith("image/") and not hidden:  # it was in the title, or in a caption
            return []
        try:
            data = self._store.originals.get(kept) if original.media_type.startswith(("image/", "text/")) else b""
            boxes, pixels = first_page(hidden), self._settings.image_pixels
            copy = masked_copy(data, original.media_type, boxes, self._policy, pixels)
        except PomnitError:  # damaged bytes: nobody can say what is in them
            copy = None
        new = None
        if copy is not None:
            new = self._keys.name(f"kept {original.digest} {files.digest(copy)}")
            self._store.originals.put(new, copy)
        self._store.items.set_file(item, "kept", new)
        self._count(**{"originals" if new else "originals_removed": 1})
        return [kept] if kept != new else []
