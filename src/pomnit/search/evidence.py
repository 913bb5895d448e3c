"""What an answer may rest on: the best passages with what stands around them, each screen once, packed to a length.

A passage is cut at about 800 characters, so the one that was found is read with its neighbours: a paragraph that was
cut in two is whole again. Screens are often remembered many times with little changed; of such twins the newest stays,
unless another one holds words of the question that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pomnit.engines.protocols import Offered
from pomnit.records import Item, Passage, Place
from pomnit.search.question import Wanted
from pomnit.store import Store, spans
from pomnit.store.items import StoredPassage
from pomnit.text.split import places
from pomnit.text.times import clock
from pomnit.text.words import WORD, quick_fold, stems

CONTEXT = 16_000  # characters of all pieces together, about 6,000 tokens of Russian
MOST = 5  # pieces
LONGEST = 3_200  # characters of a piece
AROUND = 1  # passages to either side of one that was found
CONSIDERED = 40  # passages that may become pieces
SHINGLE = 3  # words
TWINS = 0.6  # Jaccard coefficient of shingles; a clock that moved on and a misread word in thirty leave 0.8


@dataclass(frozen=True, slots=True)
class Part:
    """A passage within a piece: its text is ``text[start:end]`` of the piece."""

    start: int
    end: int
    passage: StoredPassage


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an item: a passage that was found, with its neighbours."""

    item: Item
    text: str
    parts: tuple[Part, ...]
    main: int  # index of the part that was found
    score: float  # 0..1, that of the search
    twins: tuple[Item, ...] = ()  # items that show the same and were left out

    @property
    def passage(self) -> Passage:
        """The passage that was found, with the text and the places of all that was read with it."""
        return replace(self.parts[self.main].passage.record, text=self.text, places=self.places(0, len(self.text)))

    @property
    def shown(self) -> Item:
        """The item, with the sources of its twins beside its own."""
        return replace(self.item, sources=(*self.item.sources, *(s for twin in self.twins for s in twin.sources)))

    def places(self, start: int, end: int) -> tuple[Place, ...]:
        """Gives where ``text[start:end]`` lies in the item."""
        found = []
        for part in self.parts:
            low, high = max(start, part.start), min(end, part.end)
            if low < high:
                found += spans.unpack(part.passage.packed, [(low - part.start, high - part.start)])
        return places(found)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage that a search found, by row, with its score."""

    row: int
    score: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The pieces, best first; the number of a piece is its place, from 1."""

    pieces: tuple[Piece, ...] = ()
    offered: tuple[Offered, ...] = ()

    def piece(self, number: int) -> Piece:
        """Gives a piece by its number."""
        return self.pieces[number - 1]


def evidence(
    store: Store, asked: Wanted, ranked: Sequence[Ranked], *, most: int = MOST, context: int = CONTEXT
) -> Evidence:
    """Gives at most ``most`` pieces of at most ``context`` characters together, made of passages, the best first."""
    return packed(_apart(_pieces(store, ranked, most), asked, most), context)


def packed(pieces: Iterable[Piece], context: int = CONTEXT) -> Evidence:
    """Gives pieces their numbers, as many as there is room for; the first is there whatever its length."""
    kept: list[Piece] = []
    left = context
    for piece in pieces:
        if kept and len(piece.text) > left:
            break
        kept.append(piece)
        left -= len(piece.text)
    return Evidence(tuple(kept), tuple(_offered(number, piece) for number, piece in enumerate(kept, 1)))


def _offered(number: int, piece: Piece) -> Offered:
    return Offered(number, piece.item.title, piece.item.time, in_words(piece.places(0, len(piece.text))), piece.text)


def in_words(where: Sequence[Place]) -> str:
    """Gives the place of a piece in words: "page 3", "12:04-12:31", "" for a picture."""
    pages = sorted({p.page for p in where if p.page is not None})
    starts = [p.start_s for p in where if p.start_s is not None]
    ends = [p.end_s for p in where if p.end_s is not None]
    sheets = list(dict.fromkeys(p.sheet for p in where if p.sheet))
    if starts and ends:
        return f"{clock(min(starts))}-{clock(max(ends))}"
    if sheets:
        return f"sheet {sheets[0]}"
    if pages:
        return f"page {pages[0]}" if len(pages) == 1 else f"pages {pages[0]}-{pages[-1]}"
    return ""


# Pieces


@dataclass(slots=True)
class _Window:
    """Passages of an item, from one ordinal to another, around one that was found."""

    item: int
    first: int
    last: int
    found: StoredPassage
    score: float
    held: list[StoredPassage] = field(default_factory=list)


def _pieces(store: Store, ranked: Sequence[Ranked], most: int) -> list[Piece]:
    """Gives the stretches around the best passages, in their order; a little more than are wanted, for twins go."""
    best = ranked[:CONSIDERED]
    scores = {one.row: one.score for one in best}
    windows: list[_Window] = []
    for passage in store.items.passages([one.row for one in best]):
        ordinal = passage.record.ordinal
        near = [w for w in windows if w.item == passage.item_row and w.first - 1 <= ordinal <= w.last + 1]
        if any(w.first <= ordinal <= w.last for w in near):
            continue
        if near and near[0].last - near[0].first < 2 * AROUND:
            near[0].first, near[0].last = min(near[0].first, ordinal), max(near[0].last, ordinal)
        elif len(windows) < most * 3:
            first, last = max(0, ordinal - AROUND), ordinal + AROUND
            for w in windows:  # what another piece holds already is not read twice
                if w.item == passage.item_row:
                    first = max(first, w.last + 1) if w.last < ordinal else first
                    last = min(last, w.first - 1) if w.first > ordinal else last
            windows.append(_Window(passage.item_row, first, last, passage, scores[passage.row]))
    records = store.items.records([w.item for w in windows])
    return [_piece(store, window, records[window.item]) for window in windows if window.item in records]


def _piece(store: Store, window: _Window, item: Item) -> Piece:
    """Gives the piece of a window: the passage that was found, and of its neighbours what there is room for."""
    held = store.items.passages_between(window.item, window.first, window.last)
    main = next((i for i, p in enumerate(held) if p.row == window.found.row), None)
    if main is None:
        held, main = [window.found], 0
    low = high = main
    length = len(held[main].record.text)
    for step in range(1, len(held)):
        for i in (main + step, main - step):
            if not 0 <= i < len(held) or abs(i - (high if i > main else low)) != 1:
                continue
            size = len(held[i].record.text)
            if length + size <= LONGEST and held[i].record.origin == held[main].record.origin:
                low, high, length = min(low, i), max(high, i), length + size
    text, parts = "", []
    for passage in held[low : high + 1]:
        own = passage.record.text
        text += _gap(text, own) if text else ""
        parts.append(Part(len(text), len(text) + len(own), passage))
        text += own
    return Piece(item, text, tuple(parts), main - low, window.score)


def _gap(before: str, after: str) -> str:
    """Gives what stood between two passages, as far as it can be told: a new line, or the end of a paragraph."""
    ends = before[-1:] in '.!?…»”"'
    return "\n" if ends or after[:1].islower() or before[-1:] in ",;-–—" else "\n\n"


# Twins


def _apart(pieces: Sequence[Piece], asked: Wanted, most: int) -> list[Piece]:
    """Gives the pieces without those that show the same as another; the newest stays in the place of the best."""
    kept: list[Piece] = []
    prints: list[frozenset[tuple[str, ...]]] = []
    for piece in pieces:
        own = shingles(piece.text)
        twin = next((i for i, other in enumerate(prints) if _are_twins(own, other, piece, kept[i], asked)), None)
        if twin is None:
            if len(kept) < most:
                kept.append(piece)
                prints.append(own)
            continue
        other = kept[twin]
        newer, older = (piece, other) if piece.item.time > other.item.time else (other, piece)
        kept[twin] = replace(newer, score=max(piece.score, other.score), twins=_all_twins(newer, older))
        prints[twin] = own if newer is piece else prints[twin]
    return kept


def _all_twins(stays: Piece, goes: Piece) -> tuple[Item, ...]:
    items = {item.id: item for item in (*stays.twins, goes.item, *goes.twins) if item.id != stays.item.id}
    return tuple(items.values())


def _are_twins(
    own: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]], a: Piece, b: Piece, asked: Wanted
) -> bool:
    """Tells whether two pieces of different items show the same, and neither holds a word of the question alone."""
    if a.item.id == b.item.id or a.item.kind != b.item.kind or alike(own, other) < TWINS:
        return False
    newer, older = (a, b) if a.item.time > b.item.time else (b, a)
    words = {word.stem for word in asked.words}
    return words & set(stems(older.text)) <= set(stems(newer.text))


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Gives the runs of three words of a text."""
    words = WORD.findall(quick_fold(text))
    return frozenset(tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1)))


def alike(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """Gives how much of two sets of shingles is in both, 0..1."""
    return len(a & b) / max(len(a | b), 1)
