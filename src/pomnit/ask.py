"""Ask: understand the question -> gather -> evidence -> answer -> check the citations -> record.

The answer rests on what the search found: pieces of passages, numbered, the best first. A generating answerer writes it
from them when there is one; else, and where that one fails, it is made of their best sentences. What a generating one
cites is checked. Where nothing answers, it says so, and shows what comes closest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pomnit import recall
from pomnit.asked_picture import Given, given_picture, picture_of
from pomnit.engines.protocols import Answerer, Asked, Offered, Turn
from pomnit.errors import EngineError, EngineMissing, Stopped
from pomnit.governor.leases import Governor
from pomnit.records import Answer, Citation, Hit, Lang, Leg
from pomnit.search.cite import Support, checked
from pomnit.search.evidence import MOST, Evidence, Ranked, evidence, packed
from pomnit.search.extract import Chosen, Extracted, ExtractiveAnswerer, said
from pomnit.search.query import Understood
from pomnit.search.question import Understanding, Wanted, understand_question
from pomnit.search.rerank import Reranking
from pomnit.search.sentences import sentences
from pomnit.search.thread import resolved
from pomnit.settings import Settings
from pomnit.store import Store

if TYPE_CHECKING:
    from pomnit.search.vectors import SignCodes

EXTRACTIVE, AUTO = "extractive", "auto"
GATHERED = 30  # hits that a query of filters alone may give
OF_A_PICTURE = 3  # sentences that tell of a picture when nothing of it is asked for by a word
_UNKNOWN: Mapping[Lang, str] = {
    "ru": "Не знаю: в том, что я помню, нет ответа на этот вопрос.",
    "en": "I do not know: nothing that I remember answers this question.",
    "other": "I do not know: nothing that I remember answers this question.",
}
_BESIDE: Mapping[Lang, str] = {"ru": "См. также:", "en": "See also:", "other": "See also:"}


@dataclass(frozen=True, slots=True)
class Asking:
    """How a question is asked."""

    filters: Mapping[str, str | None] = field(default_factory=dict)  # as ``query.understand`` takes them
    limit: int = MOST  # pieces that may be cited
    image: str | None = None  # a path
    answerer: str | None = None  # its name; None: that of the settings
    earlier: tuple[Turn, ...] = ()
    on_text: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False
    reranking: Reranking | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a memory is made of, as far as asking needs it."""

    store: Store
    governor: Governor
    settings: Settings
    codes: SignCodes


def answer(parts: Parts, question: str, how: Asking) -> Answer:
    """Gives the answer to a question from what is remembered; ``how.on_text`` hears it as it comes.

    Raises:
        UsageError: nothing to ask for, or a filter that does not fit.
        ItemError: the image cannot be read.
        NotFound, EngineMissing: there is no such answerer, or the one that was asked for by name is not here.
        Stopped: it was cancelled, or ran out of time.
    """
    voice = _Voice(how.on_text)
    given = given_picture(parts.store, parts.governor, parts.settings, how.image) if how.image is not None else None
    question = resolved(question, how.earlier)
    meaning = understand_question(given.words_for(question) if given else question, datetime.now(UTC), **how.filters)
    with parts.store.snapshot():
        found = _found(parts, meaning, how, given)
        unindexed = recall.what_is_missing(parts.store)
    asked = Asked(question, meaning.wanted.lang, found.evidence.offered, given.picture if given else None, how.earlier)
    spoken = _speak(parts, asked, found, how, voice)
    nearest: tuple[Hit, ...] = ()
    if spoken.abstained:
        nearest = _nearest(parts.store, found, how.limit)
        voice.say(spoken.text)
    return Answer(
        question=question,
        text=spoken.text,
        citations=_citations(found.evidence, spoken.supports),
        answerer=spoken.answerer,
        reason=spoken.reason,
        abstained=spoken.abstained,
        nearest=nearest,
        unsupported=spoken.unsupported,
        notes=(*found.notes, *spoken.notes, *(given.notes if given else ())),
        legs=found.legs,
        unindexed=unindexed,
        first_ms=round(voice.first_ms, 1),
        took_ms=round(voice.now_ms, 1),
    )


# Gather


@dataclass(frozen=True, slots=True)
class _Found:
    """What speaks for an answer: the pieces, and what can be extracted from them."""

    gathered: tuple[recall.Gathered, ...]  # for each query, the one with all words first
    evidence: Evidence
    extracted: Extracted
    notes: tuple[str, ...] = ()

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs of the first query."""
        return self.gathered[0].legs


def _found(parts: Parts, meaning: Understanding, how: Asking, given: Given | None) -> _Found:
    """Gives what speaks for an answer; where nothing of the time that was named does, what does of any time."""
    found = _of_queries(parts, meaning.wanted, meaning.queries, how, given)
    first = meaning.queries[0]
    if not found.extracted.is_thin or first.as_words is None or found.gathered[0].query is not first:
        return found
    wider = _of_queries(parts, meaning.wanted, (first.as_words,), how, given)
    if wider.extracted.is_thin:
        return found
    return replace(wider, notes=(f"nothing of that time ({first.dates}) answers this, so all times were searched",))


def _of_queries(
    parts: Parts, wanted: Wanted, queries: Sequence[Understood], how: Asking, given: Given | None
) -> _Found:
    store = parts.store
    gathered = tuple(
        recall.gathered(store, parts.governor, parts.codes, query, GATHERED, how.stop, how.reranking)
        for query in queries
    )
    pieces = evidence(store, wanted, _ranked(gathered), most=how.limit)
    if given is not None and given.piece is not None:
        others = [piece for piece in pieces.pieces if piece.item.id != given.piece.item.id]
        pieces = packed([given.piece, *others][: how.limit])
    extracted = _answerer_of(store, pieces, gathered[0].legs).extracted_for(wanted, pieces.offered)
    if given is not None and given.piece is not None and not wanted.words:
        extracted = _all_of_it(pieces)
    notes = tuple(leg.reason for g in gathered[:1] for leg in g.legs[:1] if leg.state == "ran" and leg.reason)
    return _Found(gathered, pieces, extracted, notes)


def _ranked(gathered: Sequence[recall.Gathered]) -> list[Ranked]:
    """Gives the passages of all queries, best first; a query whose exact phrase nothing holds says nothing new."""
    best: dict[int, float] = {}
    for number, one in enumerate(gathered):
        if number and not one.query.phrases:
            continue
        for scored in (scored for group in one.groups for scored in group):
            best[scored.candidate.row] = max(best.get(scored.candidate.row, 0.0), scored.score)
    return [Ranked(row, score) for row, score in sorted(best.items(), key=lambda pair: -pair[1])]


def _answerer_of(store: Store, pieces: Evidence, legs: Sequence[Leg]) -> ExtractiveAnswerer:
    """Gives the extractive answerer, with what it needs to know of the memory."""
    scores = {number: piece.score for number, piece in enumerate(pieces.pieces, 1)}
    words_alone = not any(leg.name == "vectors" and leg.state == "ran" for leg in legs)
    return ExtractiveAnswerer(store.words.frequencies, store.words.count(), scores, words_alone)


def _all_of_it(pieces: Evidence) -> Extracted:
    """Gives what is written in the picture that is asked about, when the question has no word to look for."""
    text = pieces.offered[0].text
    first = [Chosen(1, start, end, 1.0) for start, end in sentences(text) if len(text[start:end].split()) > 1]
    return Extracted(tuple(first[:OF_A_PICTURE]), (), 1.0 if first else 0.0)


def _nearest(store: Store, found: _Found, limit: int) -> tuple[Hit, ...]:
    first = found.gathered[0]
    with store.snapshot():
        return recall.best_hits(store, first.query, [scored for group in first.groups for scored in group], limit)


# Answer


class _Voice:
    """Says an answer piece by piece, and knows when its first words came."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text, self._began = on_text, time.perf_counter()
        self._first: float | None = None

    @property
    def now_ms(self) -> float:
        """Milliseconds since the question."""
        return (time.perf_counter() - self._began) * 1000

    @property
    def first_ms(self) -> float:
        """Milliseconds until the first words."""
        return self.now_ms if self._first is None else self._first

    def say(self, piece: str) -> None:
        """Says a piece."""
        if self._first is None and piece.strip():
            self._first = self.now_ms
        self._on_text(piece)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """An answer's text with what it rests on."""

    text: str
    answerer: str
    reason: str
    supports: tuple[Support, ...] = ()
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    abstained: bool = False


def _speak(parts: Parts, asked: Asked, found: _Found, how: Asking, voice: _Voice) -> _Spoken:
    """Gives the answer of the generating answerer; the extractive one where there is none, or it fails.

    Raises:
        EngineMissing: the one that was asked for by name is not here.
        Stopped.
    """
    if how.answerer == EXTRACTIVE:
        return _extracted(asked, found, voice, "asked for", how.stop)
    if not asked.offered and asked.picture is None:
        return _Spoken(_UNKNOWN[asked.lang], EXTRACTIVE, "nothing was found, so no model was asked", abstained=True)
    try:
        with parts.governor.answerer(how.answerer, person=True) as (answerer, reason):
            return _generated(parts, answerer, reason, asked, found, how, voice)
    except EngineMissing as error:
        if how.answerer not in (None, AUTO):
            raise
        if not _is_wanted(parts.settings):  # nobody waits for another answerer
            return _extracted(asked, found, voice, str(error), how.stop)
        failed: EngineError = error
    except EngineError as error:
        failed = error
    spoken = _extracted(asked, found, voice, "another answerer failed", how.stop)
    note = f"the answer was to be another's, which failed: {failed}; so it is made of sentences that were found"
    return replace(spoken, notes=(note, *spoken.notes))


def _is_wanted(settings: Settings) -> bool:
    """Tells whether the settings ask for a generating answerer."""
    by_auto = settings.answerer == AUTO
    return settings.answer_url is not None if by_auto else settings.answerer != EXTRACTIVE


def _generated(
    parts: Parts, answerer: Answerer, reason: str, asked: Asked, found: _Found, how: Asking, voice: _Voice
) -> _Spoken:
    """Gives what a generating answerer says, checked.

    Raises:
        EngineError: it failed.
        Stopped.
    """
    if answerer.sees:
        asked = replace(asked, offered=tuple(_seen(parts, found.evidence, asked.offered)))
    heard: list[str] = []
    with contextlib.closing(_closable(answerer.answer(asked, stopped=how.stop))) as pieces:
        for piece in pieces:
            if how.stop():
                break
            heard.append(piece)
            voice.say(piece)
    if how.stop():
        raise Stopped("the answer was stopped before it was done")
    found_out = checked("".join(heard), asked.offered)
    if not found_out.text.strip():
        return _Spoken(_UNKNOWN[asked.lang], answerer.name, reason, abstained=True)
    notes: tuple[str, ...] = ()
    if found_out.removed:
        numbers = ", ".join(f"[{number}]" for number in found_out.removed)
        notes = (f"{answerer.name} cited what it was not given ({numbers:.80}); that is gone from the text",)
    return _Spoken(found_out.text, answerer.name, reason, found_out.supports, found_out.unsupported, notes)


def _closable(pieces: Iterator[str]) -> Generator[str]:
    """Gives the pieces from a generator, which can be closed, whatever iterator an answerer gave."""
    yield from pieces


def _seen(parts: Parts, pieces: Evidence, offered: Sequence[Offered]) -> Iterator[Offered]:
    """Gives what is offered with its pictures, each once."""
    shown: set[str] = set()
    for one in offered:
        piece = pieces.piece(one.number)
        picture = None if piece.item.id in shown else picture_of(parts.store, parts.settings, piece)
        shown.add(piece.item.id)
        yield replace(one, picture=picture)


def _extracted(asked: Asked, found: _Found, voice: _Voice, reason: str, stop: Callable[[], bool]) -> _Spoken:
    """Gives the best sentences, and the numbers of the other pieces; the quotes are what they were cut from."""
    if found.extracted.is_thin:
        return _Spoken(_UNKNOWN[asked.lang], EXTRACTIVE, reason, abstained=True)
    heard: list[str] = []
    for piece in _all_said(asked, found.extracted, stop):
        heard.append(piece)
        voice.say(piece)
    if stop():
        raise Stopped("the answer was stopped before it was done")
    chosen = (*found.extracted.chosen, *found.extracted.beside)
    return _Spoken("".join(heard), EXTRACTIVE, reason, tuple(Support(one.number, one.start, one.end) for one in chosen))


def _all_said(asked: Asked, extracted: Extracted, stop: Callable[[], bool]) -> Iterator[str]:
    yield from said(extracted.chosen, asked.offered, stop)
    if extracted.beside:
        numbers = " ".join(f"[{one.number}]" for one in extracted.beside)
        yield f"\n\n{_BESIDE[asked.lang]} {numbers}"


# Record


def _citations(pieces: Evidence, supports: Sequence[Support]) -> tuple[Citation, ...]:
    """Gives a citation for each quote, by number."""
    found = []
    for support in sorted(dict.fromkeys(supports), key=lambda s: (s.number, s.start)):
        piece = pieces.piece(support.number)
        found.append(
            Citation(
                number=support.number,
                item=piece.shown,
                passage=piece.passage,
                places=piece.places(support.start, support.end),
                quote=piece.text[support.start : support.end],
            )
        )
    return tuple(found)


# Follow-ups


class Chat:
    """A conversation: each question is understood in the light of those before it, and is answered and cited anew."""

    def __init__(self, ask: Callable[..., Answer]) -> None:
        """``ask`` is that of a memory."""
        self._ask = ask
        self.turns: list[Turn] = []

    def ask(self, question: str, **how: Any) -> Answer:
        """Gives the answer to the next question. Arguments and errors are those of ``Memory.ask``."""
        answer = self._ask(question, **{"earlier": tuple(self.turns), **how})
        self.turns.append(Turn(answer.question, answer.text))
        return answer
