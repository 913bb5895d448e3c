"""The records that every door shows: the same fields in Python and in JSON.

Times are ISO 8601 strings in UTC with a final ``Z``; ids are UUIDv7 strings. Records are frozen: a change of the
memory makes new records. ``to_json`` turns any of them into plain dicts and lists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

KINDS = ("image", "document", "audio", "note")
Kind = Literal["image", "document", "audio", "note"]
SourceKind = Literal["file", "folder", "screen", "note"]
State = Literal["waiting", "working", "ready", "failed", "superseded"]
Lang = Literal["ru", "en", "other"]
Origin = Literal["read", "generated"]
LegState = Literal["ran", "skipped"]

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions (0..1) of the image's or page's width and height."""

MARK_OPEN, MARK_CLOSE = "⟦", "⟧"
"""Around each found word of a snippet. Texts that hold these characters themselves get plain brackets instead."""


@dataclass(frozen=True, slots=True)
class Original:
    """The bytes of an item, known by their digest."""

    digest: str  # "blake2b:" and 64 hexadecimal digits: the algorithm stands beside the value
    size: int  # bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where an item came from."""

    kind: SourceKind
    uri: str  # file:///… with every byte that is not plain ASCII percent-encoded, so any file name survives
    first_seen: str
    last_seen: str
    app: str | None = None
    window: str | None = None
    gone: bool = False  # the place now holds other bytes, or nothing


@dataclass(frozen=True, slots=True)
class Item:
    """One thing remembered."""

    id: str
    kind: Kind
    title: str
    time: str  # when it was seen or made
    added: str
    state: State
    original: Original
    sources: tuple[Source, ...] = ()
    reason: str | None = None  # why it failed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage lies in its item. Only what is known is set."""

    page: int | None = None  # from 1
    line: int | None = None  # from 1, of a plain text
    box: Box | None = None
    start_s: float | None = None
    end_s: float | None = None
    sheet: str | None = None  # the name of a table's sheet; its rows are lines


@dataclass(frozen=True, slots=True)
class Passage:
    """A searchable piece of an item's text.

    In a hit, ``places`` is narrowed to where the found words stand; elsewhere it covers the whole passage.
    """

    id: str
    item: str
    ordinal: int
    text: str
    lang: Lang
    places: tuple[Place, ...] = ()
    origin: Origin = "read"


@dataclass(frozen=True, slots=True)
class Hit:
    """An item found, with what says why."""

    item: Item
    score: float  # 0..1
    legs: Mapping[str, float]  # {"words": 0.8, "vectors": 0.6}, each 0..1; a leg that did not see the item is absent
    passages: tuple[Passage, ...]  # best first
    snippet: str  # with MARK_OPEN and MARK_CLOSE around the found words


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was understood."""

    text: str
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    lang: Lang = "other"
    dates: str | None = None  # the relative date, as written, that after and before come from


@dataclass(frozen=True, slots=True)
class Leg:
    """Whether one way of searching took part, and why not."""

    name: str
    state: LegState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unindexed:
    """What a search could not see yet."""

    waiting: int = 0
    failed: int = 0
    by_stage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits of one search, best first, and what the search could not do. Iterating gives the hits."""

    query: Query
    hits: tuple[Hit, ...]
    legs: tuple[Leg, ...]
    unindexed: Unindexed
    took_ms: float

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]


@dataclass(frozen=True, slots=True)
class Similarity:
    """How near texts are to each other in meaning, as an encoder sees it."""

    texts: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]  # cosines, -1..1, of each text with each
    langs: tuple[Lang, ...]
    known: tuple[bool, ...]  # whether the encoder knows the text's language; where not, its figures mean little
    encoder: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A group of items that are about the same, named by the words that tell it from the others."""

    words: tuple[str, ...]  # the most telling first
    size: int  # items
    items: tuple[Item, ...]  # those nearest to its middle first, as many as were asked for
    space: str  # what the items were compared by: the encoder's name, or "words"


@dataclass(frozen=True, slots=True)
class Topics:
    """The themes of a memory, the largest first. Each item is in at most one."""

    topics: tuple[Topic, ...]
    grouped: Mapping[str, int]  # space -> number of items; the groups of two spaces are made apart
    left_out: Mapping[str, int]  # reason -> number of items in no topic
    notes: tuple[str, ...]
    took_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that could not be remembered or read, and why."""

    name: str  # the path as a person would type it
    reason: str
    item: str | None = None  # the item's id when it is remembered all the same


@dataclass(frozen=True, slots=True)
class AddReport:
    """What one ``add`` did. Each file counts once: as new, known, failed, forgotten or passed over."""

    new: int
    known: int
    failed: int
    forgotten: int  # forgotten earlier, and so not taken in
    passed_over: int  # files in folders that no reader knows
    waiting: int  # tasks left for later: the owner does them, or a model is missing
    failures: tuple[Failure, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)  # stages that could not run, and why
    owner: str = "this process"  # who reads and embeds what was added
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What one ``retry`` did."""

    tried: int
    failed: int
    waiting: int
    failures: tuple[Failure, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item with all that is known of it."""

    item: Item
    passages: tuple[Passage, ...]
    waiting: Mapping[str, str | None]  # stages still to come; the reason where one failed
    kept: bool  # whether its bytes are kept
    preview: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine serves a job on this machine, and why; or why none does."""

    job: str
    model: str
    runtime: str
    reason: str
    works: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What is remembered, what is not done yet and why, and what does the work."""

    home: str
    items: Mapping[str, Mapping[str, int]]  # kind -> state -> number
    passages: Mapping[str, int]  # language -> number
    vectors: int  # of the encoder in use
    waiting: Mapping[str, int]  # stage -> number of items
    blocked: Mapping[str, str]  # stages whose engine is not here, and why
    failures: tuple[Failure, ...]
    n_failed: int
    database_bytes: int
    files_bytes: int
    key: str  # where the key is kept
    engines: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``doctor``."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    text: str
    next: str | None = None  # what to type


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one ``forget`` took away."""

    items: tuple[str, ...]
    passages: int
    vectors: int
    files: int  # kept originals and previews
    sources: int
    bytes_freed: int


def to_json(value: Any) -> Any:
    """Gives a record (or a container of records) as dicts, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return value
