"""The records that every door shows: the same fields in Python and in JSON.

Times are ISO 8601 strings in UTC with a final ``Z``; ids are UUIDv7 strings. Records are frozen: a change of the
memory makes new records. ``to_json`` turns any of them into plain dicts and lists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

KINDS = ("image", "document", "audio", "note")
Kind = Literal["image", "document", "audio", "note"]
SourceKind = Literal["file", "folder", "screen", "note"]
State = Literal["waiting", "working", "ready", "failed", "superseded"]
Lang = Literal["ru", "en", "other"]
Origin = Literal["read", "generated"]
LegState = Literal["ran", "skipped"]
Verdict = Literal["ok", "warning", "problem"]
SensitiveKind = Literal["card", "iban", "passport", "snils", "inn", "ssn", "token", "key", "password"]
SENSITIVE_KINDS: tuple[SensitiveKind, ...] = get_args(SensitiveKind)

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
class Segment:
    """What is said in a stretch of a recording, in seconds from its beginning."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in a recording."""

    language: str | None  # of most of it, as Whisper names it ("ru", "en", …); None when nothing is said
    segments: tuple[Segment, ...]  # in their order


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
    # {"words": 0.8, "vectors": 0.6}, each 0..1; a leg that did not see the item is absent. Where a reranker read it,
    # "rerank" is its score, and "fused" the one that the legs before gave.
    legs: Mapping[str, float]
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
class Citation:
    """Where a sentence of an answer comes from."""

    number: int  # as it stands in the text: [1]
    item: Item
    passage: Passage  # with the text of the neighbours that it was read with
    places: tuple[Place, ...]  # of the quote in the item
    quote: str  # exact words of the passage


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that rests on what is remembered."""

    question: str  # as it was understood: a follow-up holds the words of the thread that it needs
    text: str  # with [1], [2] behind what they support
    citations: tuple[Citation, ...]  # by number
    answerer: str
    reason: str  # why this answerer
    abstained: bool  # the evidence was thin: the text says so, and ``nearest`` is what comes closest
    nearest: tuple[Hit, ...]
    unsupported: tuple[str, ...]  # sentences of the text that nothing that was cited supports
    notes: tuple[str, ...]  # what else is to be known: another answerer failed, a number that was made up is gone
    legs: tuple[Leg, ...]
    unindexed: Unindexed
    first_ms: float  # to the first words
    took_ms: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """How near texts are to each other in meaning, as an encoder sees it."""

    texts: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]  # cosines, -1..1, of each text with each
    langs: tuple[Lang, ...]
    known: tuple[bool, ...]  # whether the encoder knows the text's language; where not, its figures mean little
    encoder: str
    note: str | None  # how far another encoder's space is, which is to be used instead


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
    """What one ``add`` did. Each file counts once: as new, known, failed, forgotten, dropped or passed over."""

    new: int
    known: int
    failed: int
    forgotten: int  # forgotten earlier, and so not taken in
    passed_over: int  # files in folders that no reader knows
    waiting: int  # tasks left for later: the owner does them, or a model is missing
    failures: tuple[Failure, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)  # stages that could not run, and why
    owner: str = "this process"  # who reads and embeds what was added
    dropped: int = 0  # held sensitive text, and none of it was to be stored
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
class DescribeReport:
    """What one ``describe`` did."""

    described: int  # pictures that have a caption now
    failed: int
    left: int  # pictures with little text that have none yet
    answerer: str  # who described them; "" when there was nothing to do
    reason: str  # why this answerer
    failures: tuple[Failure, ...] = ()
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What one ``capture`` did."""

    display: str
    frames: int  # taken
    new: int  # of them new items
    longer: int  # showed what was known: its span of time grew
    dropped: int  # sensitive, or forgotten
    failed: int  # could not be taken or read
    blackened: int  # frames in which something that is left out was blackened
    passed_over: int  # monitors that were not taken, since something on them is left out or nothing is known of it
    moved: int  # frames thrown away, since a window changed while they were taken
    reasons: Mapping[str, int] = field(default_factory=dict)  # why windows were left out -> frames
    reason: str | None = None  # why the last one failed
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CaptureState:
    """Whether the screen is recorded."""

    recorder: int | None = None  # the process that records; None when none does
    paused: bool = False
    until: str | None = None  # when it goes on by itself


FolderHappened = Literal["new", "changed", "moved", "gone", "forgotten", "failed", "looked", "away"]


@dataclass(frozen=True, slots=True)
class FolderEvent:
    """Something that happened in a folder that is watched."""

    what: FolderHappened  # looked: all of a folder was looked at; away: the folder itself is not there
    path: str
    item: str | None = None
    before: str | None = None  # where it lay before it was moved
    reason: str | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What one ``watch`` did."""

    folders: tuple[str, ...]
    new: int
    changed: int  # new bytes at a known path
    moved: int
    gone: int  # deleted; what was remembered of them stays
    known: int
    forgotten: int  # earlier: they do not come back by themselves
    failed: int
    passed_over: int  # of other kinds
    waiting: int  # tasks that are not done yet
    took_s: float


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
class SpaceView:
    """The vectors of one encoder as it was run, and what they are there for.

    ``state``: the current one is searched, the one that is being filled is to become it, others are kept until they
    are dropped or used again.
    """

    card: str
    precision: str
    dimensions: int
    vectors: int
    passages: int  # that shall have one, all in all
    state: Literal["current", "filling", "kept"]
    bytes: int
    reason: str | None = None  # why it cannot be filled now


@dataclass(frozen=True, slots=True)
class UseReport:
    """What one ``use`` changed. An encoder is in use as soon as its space is whole."""

    job: Literal["embed", "rerank"]
    model: str
    in_use: bool
    searched: str  # the encoder that is searched with now
    done: int  # passages that have a vector of an encoder, or will need none
    passages: int
    owner: str  # who fills its space
    blocked: str | None  # why that cannot go on
    took_ms: float


@dataclass(frozen=True, slots=True)
class Status:
    """What is remembered, what is not done yet and why, and what does the work."""

    home: str
    items: Mapping[str, Mapping[str, int]]  # kind -> state -> number
    passages: Mapping[str, int]  # language -> number
    vectors: int  # of the space that is searched
    waiting: Mapping[str, int]  # stage -> number of items
    blocked: Mapping[str, str]  # stages whose engine is not here, and why
    failures: tuple[Failure, ...]
    n_failed: int
    database_bytes: int
    files_bytes: int
    key: str  # where the key is kept
    engines: tuple[Choice, ...]
    spaces: tuple[SpaceView, ...]
    reranker: str | None  # the one in use
    advice: str | None  # which model would serve better here, why, and what to type
    capture: CaptureState = CaptureState()


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model of the catalogue, as it stands on this machine."""

    name: str
    job: str  # embed, rerank or transcribe
    languages: tuple[Lang, ...]
    parameters: int
    licence: str
    disk_bytes: int  # of what is here, else about what there is to fetch
    memory_bytes: int  # above that of the program without a model
    measured: bool  # here, by `models check`; else the memory is estimated
    state: Literal["ready", "partial", "missing", "other format"]
    reason: str  # of the state
    folder: str | None
    runtime: str
    bits: int
    works: bool  # whether it can be run here, once its files are
    why: str  # this runtime, or why not
    in_use: bool
    making: float | None  # the part of its vectors that is there, 0 to 1, while others are searched
    fetched: float | None  # about the part of its files that is here, 0 to 1, while its state is partial
    advised: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """All models that Pomnit knows."""

    models: tuple[ModelView, ...]
    folder: str  # where their files are
    machine_bytes: int  # the memory of this machine
    advice: str  # why the advised ones are


@dataclass(frozen=True, slots=True)
class ModelPulled:
    """What ``models pull`` got."""

    name: str
    job: str  # embed, rerank or transcribe
    folder: str
    revision: str  # the commit of the repository, "" when a folder did not tell it
    pinned: bool  # Pomnit named that commit beforehand
    bytes: int
    fresh: bool  # False: it was here already
    took_s: float


@dataclass(frozen=True, slots=True)
class ModelConverted:
    """What ``models convert`` made."""

    name: str
    folder: str
    bytes_before: int
    bytes_after: int
    took_s: float


@dataclass(frozen=True, slots=True)
class ModelDropped:
    """What one ``models drop`` took away."""

    name: str
    vectors: int
    folders: tuple[str, ...]
    bytes_freed: int


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What ``models check`` found. Agreement is with a run of the same weights in 32 bits."""

    name: str  # of the variant
    verdict: Verdict
    findings: tuple[str, ...]  # what is not as it should be, or could not be looked at
    agreement_mean: float | None  # cosines of an encoder; of a reranker 1 less the difference of scores
    agreement_least: float | None
    terms_agreement: float | None  # mean cosine of the weights of tokens, of an encoder that gives them
    published: float | None  # the largest difference of a number from what the publisher's own program gives
    right: Mapping[str, int]  # language -> questions whose own answer came first
    asked: Mapping[str, int]
    load_ms: float
    first_ms: float  # the first text after loading
    tokens_s: float
    program_bytes: int  # resident memory without the model
    resident_bytes: int  # with it, after its texts
    mapped_bytes: int  # of it: files that the system takes back when others need the room
    peak_bytes: int
    growth_bytes: int  # from the second round of loading, running and closing to the last
    rounds: int


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``doctor``."""

    name: str
    verdict: Verdict
    text: str
    next: str | None = None  # what to type


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of a profile took. Bytes and seconds; None where the system does not tell, or it did not run.

    Memory is that of our processes together, shared pages counted once (macOS: their footprint).
    """

    name: str
    verdict: Verdict | None  # None: it did not run
    reasons: tuple[str, ...]  # of the verdict, or why it did not run
    note: str  # what was done, in words
    began_s: float  # since the profile began
    ended_s: float
    seconds: float  # of the first round
    again_s: float | None  # the middle of the later rounds
    memory_before: int
    memory_peak: int
    memory_after: int
    system_delta: int | None  # how much less memory was available at the worst moment than before
    swap_delta: int | None  # how much more of the swap of the machine was used at the worst moment than before
    pressure_before: str | None
    pressure_worst: str | None
    pressure_after: str | None
    cpu_s: float  # seconds of one core that our processes worked, in all rounds
    cpu_user: float | None  # parts of the time of all cores, 0 to 1, with other programs
    cpu_system: float | None
    cpu_idle: float | None
    major_faults: int
    rounds: int
    growth: int | None  # of what is kept after a round: the later half beside the earlier, the first round left out


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory of our processes and the used swap of the machine at one moment of a profile, in bytes."""

    s: float  # since the profile began
    memory: int
    swap: int | None


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """What `pomnit profile` found."""

    title: str  # the command, or "Pomnit"
    verdict: Verdict  # the worst of the stages
    budget: int  # bytes
    environment: tuple[Check, ...]
    stages: tuple[Stage, ...]
    samples: tuple[Sample, ...]
    exit_code: int | None  # of the command
    took_s: float


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One of our processes."""

    pid: int
    command: str
    memory: int  # bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """What `pomnit status --watch` shows each time. Bytes; None where the system does not tell."""

    time: str
    owner: int | None  # the process that works on this memory; None when none does
    processes: tuple[ProcessView, ...]  # it, and all that came from it
    memory: int  # of them together
    memory_peak: int  # the most since the watch began
    budget: int
    available: int | None  # of the machine's memory
    total: int
    swap_used: int | None
    swap_total: int | None
    swap_growth: int | None  # since the watch began
    pressure: str | None
    pressure_why: str
    cpu_cores: float  # that our processes work with
    cpu_user: float | None  # parts of the time of all cores, 0 to 1
    cpu_system: float | None
    cpu_idle: float | None
    waiting: Mapping[str, int]  # stage -> number of items


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one ``forget`` took away."""

    items: tuple[str, ...]
    passages: int
    vectors: int
    files: int  # kept originals and previews
    sources: int
    bytes_freed: int


@dataclass(frozen=True, slots=True)
class SensitiveFind:
    """Sensitive text in what is stored, without itself: its kind, its mask and where it stands."""

    kind: SensitiveKind
    sure: bool  # a check digit, a known beginning or a label says so
    mask: str  # what stands in its place once it is masked
    passage: str | None  # the id; None: in the title of the item, or of a window that showed it
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class SensitiveItem:
    """An item with sensitive text."""

    item: Item  # its title is shown masked
    finds: tuple[SensitiveFind, ...]


@dataclass(frozen=True, slots=True)
class MaskReceipt:
    """What masking changed, and what it took away."""

    items: int
    passages: int  # that have another text now
    vectors: int  # taken away; they are made anew
    previews: int  # painted over
    originals: int  # kept bytes that were written anew, masked
    originals_removed: int  # kept bytes that cannot be, and so are not kept any more


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What one ``scan`` found in what is stored, and did about it."""

    items_seen: int
    passages_seen: int
    unread: int  # items without text yet, in which nothing could be found
    kinds: Mapping[str, int]  # kind -> how many were found
    items: tuple[SensitiveItem, ...]
    masked: MaskReceipt | None = None
    forgotten: Receipt | None = None
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class RetentionShare:
    """What goes by one rule in one way."""

    rule: str  # screen, image, document, audio, note: over its age; or quota
    what: Literal["kept", "preview", "item"]  # kept bytes and previews go before whole items
    number: int
    bytes: int  # about
    oldest: str  # since when it counts: remembered, or last seen on the screen
    newest: str


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """When the rules were last applied, and what went."""

    at: str
    items: int
    files: int
    bytes_freed: int


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What goes, or went, by the rules of retention."""

    days: Mapping[str, int]  # kind -> after how many days it goes
    quota: int | None  # bytes that all files of the memory may take
    size: int  # that they took
    shares: tuple[RetentionShare, ...]
    more: bool  # there is more than could be looked through at once
    applied: bool
    receipt: Receipt | None  # of what was applied
    unfinished: str | None  # why not all of it was
    last: RetentionRun | None
    took_ms: float


def to_json(value: Any) -> Any:
    """Gives a record (or a container of records) as dicts, lists, strings, numbers, booleans and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return value
