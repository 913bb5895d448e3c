"""Spine 2: understand the query -> gather -> fuse -> hits.

Two legs gather passages: words always, vectors where the encoder knows the language of the question. Every passage
that either found is scored by both, the scores are fused, and the passages are grouped into hits. The result says
which legs ran and what is not indexed yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pomnit.errors import EngineError, Stopped
from pomnit.governor.leases import Governor
from pomnit.models.cards import EncoderCard
from pomnit.records import Hit, Leg, SearchResult, Unindexed
from pomnit.search.marks import find, snippet
from pomnit.search.query import Understood, moment
from pomnit.search.words import WordsLeg, contains
from pomnit.store import Store, filters
from pomnit.store.filters import Scope
from pomnit.store.items import Candidate, with_places

if TYPE_CHECKING:
    from pomnit.search.vectors import SignCodes

PASSAGES_OF_A_HIT = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage with its fused score and those of the legs."""

    candidate: Candidate
    score: float
    legs: Mapping[str, float]


def search(
    store: Store, governor: Governor, codes: SignCodes, query: Understood, limit: int, stop: Callable[[], bool]
) -> SearchResult:
    """Gives the best hits of a query, best first.

    Raises:
        Stopped: ``stop`` said True.
    """
    started = time.perf_counter()
    with store.snapshot():
        scored, legs = _gather(store, governor, codes, query, limit, stop)
        for wider, reason in () if scored else _wider(query):
            query = wider
            scored, legs = _gather(store, governor, codes, query, limit, stop)
            legs = (replace(legs[0], reason=reason), legs[1])
            if scored:
                break
        hits = best_hits(store, query, scored, limit)
        unindexed = what_is_missing(store)
    took = (time.perf_counter() - started) * 1000
    return SearchResult(query.record, hits, legs, unindexed, round(took, 1))


def _wider(query: Understood) -> Iterator[tuple[Understood, str]]:
    """Gives what is searched instead, and why, when nothing fits a query: all times, then the words of its phrases."""
    reasons = []
    if query.as_words:
        reasons.append(f"nothing that fits is of this time ({query.dates}), so all times were searched")
        query = query.as_words
        yield query, reasons[0]
    if query.phrases:
        reasons.append("nothing holds the exact phrase, so its words were searched")
        yield replace(query, phrases=()), "; ".join(reasons)


def is_whole(result: SearchResult, card: EncoderCard) -> bool:
    """Tells whether asking again could give no more: no leg was left out that may run later."""
    return all(leg.state == "ran" for leg in result.legs) or result.query.lang not in card.languages


def demanded(store: Store, query: Understood) -> Scope | None:
    """Gives the scope that the filters of a query leave, None when it is everything."""
    f = query.filters
    state = f.get("state", "ready").lower()
    condition = filters.condition(
        kind=f["type"].lower() if "type" in f else None,
        after=moment("after", f["after"]) if "after" in f else None,
        before=moment("before", f["before"]) if "before" in f else None,
        folder=f.get("in"),
        app=f.get("app"),
        superseded=state == "superseded",
    )
    return filters.scope(store.database, condition, superseded=state != "ready")


def _gather(
    store: Store, governor: Governor, codes: SignCodes, query: Understood, limit: int, stop: Callable[[], bool]
) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gives the passages that fit a query, best first; the newest of one that has only filters."""
    scope = demanded(store, query)
    if query.words:
        return _score(store, governor, codes, query, scope, stop)
    return _newest(store, scope, limit)


def _score(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    scope: Scope | None,
    stop: Callable[[], bool],
) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gathers with both legs and scores what either found with both."""
    words = WordsLeg(store, query)
    rows = set(words.gather(scope))
    cosines, leg = _vectors(store, governor, codes, query, scope, rows)
    return fused(store, query, words, rows, cosines, leg, stop), (Leg("words", "ran"), leg)


def fused(
    store: Store,
    query: Understood,
    words: WordsLeg,
    found: set[int],
    cosines: Mapping[int, float],
    leg: Leg,
    stop: Callable[[], bool] = lambda: False,
) -> list[Scored]:
    """Gives the passages that either leg found, scored by both, best first. ``leg`` is that of the vectors.

    Raises:
        Stopped: ``stop`` said True.
    """
    from pomnit.search.fuse import fuse, vector_score

    scored = []
    for candidate in store.items.candidates(sorted(found | set(cosines))):
        if stop():
            raise Stopped("the search was stopped before it was done")
        if not contains(candidate.text, query.phrases):
            continue
        by_words = words.score(candidate.text, candidate.title)
        cosine = cosines.get(candidate.row)
        by_vectors = None if cosine is None else vector_score(cosine)
        score = fuse(by_words, by_vectors, ran=leg.state == "ran", passage=candidate.lang, question=query.lang)
        legs = {"words": round(by_words, 4)} | ({} if by_vectors is None else {"vectors": round(by_vectors, 4)})
        scored.append(Scored(candidate, score, legs))
    # Of equal ones the newer item comes first.
    scored.sort(key=lambda s: (-s.score, -s.candidate.item, s.candidate.row))
    return scored


def _vectors(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    scope: Scope | None,
    found: set[int],
) -> tuple[dict[int, float], Leg]:
    """Gives the cosines of the nearest passages and of those that the words found, and whether this leg ran."""
    card = governor.card
    if query.lang not in card.languages:
        known = ", ".join(card.languages)
        return {}, Leg(
            "vectors", "skipped", f"{card.name} knows {known}; this question is in another language ({query.lang})"
        )
    space = store.vectors.space(card, governor.precision)
    if space is None:
        return {}, Leg("vectors", "skipped", f"nothing is embedded by {card.name} yet")
    try:
        with governor.encoder() as encoder:
            vector = encoder.encode([query.text], query=True)[0]
    except EngineError as error:
        return {}, Leg("vectors", "skipped", str(error))
    from pomnit.search.vectors import nearest

    cosines = nearest(store, codes, space, vector, scope)
    rest = store.vectors.cosines(space, sorted(found - set(cosines)), vector)
    cosines |= {int(row): float(cosine) for row, cosine in zip(*rest, strict=True)}
    return cosines, Leg("vectors", "ran")


def _newest(store: Store, scope: Scope | None, limit: int) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gives the newest items of a query that has only filters."""
    rows = filters.newest(store.database, scope.condition, limit) if scope else []
    by_row = {c.row: c for c in store.items.candidates(rows)}
    scored = [Scored(by_row[row], 1.0, {}) for row in rows if row in by_row]
    reason = "the query has no words; the newest come first"
    return scored, (Leg("words", "skipped", reason), Leg("vectors", "skipped", reason))


def best_hits(store: Store, query: Understood, scored: list[Scored], limit: int) -> tuple[Hit, ...]:
    """Gives the hits of scored passages, each with the places of the words of the query."""
    return _hits(store, query, _group(scored)[:limit])


def _group(scored: list[Scored]) -> list[list[Scored]]:
    """Gives the passages by item, both in the order of ``scored``."""
    items: dict[int, list[Scored]] = {}
    for one in scored:
        items.setdefault(one.candidate.item, []).append(one)
    return list(items.values())


def _hits(store: Store, query: Understood, groups: list[list[Scored]]) -> tuple[Hit, ...]:
    """Gives the records of the hits, each passage with the places of its found words."""
    shown = [one.candidate.row for group in groups for one in group[:PASSAGES_OF_A_HIT]]
    stored = {p.row: p for p in store.items.passages(shown)}
    records = store.items.records([group[0].candidate.item for group in groups])
    stems, words = {w.stem for w in query.words}, [w.text for w in query.words]
    hits = []
    for group in groups:
        best = group[0]
        passages = [stored[one.candidate.row] for one in group[:PASSAGES_OF_A_HIT]]
        found = [find(passage.record.text, stems, words) for passage in passages]
        hits.append(
            Hit(
                item=records[best.candidate.item],
                score=round(best.score, 4),
                legs=best.legs,
                passages=tuple(with_places(*pair) for pair in zip(passages, found, strict=True)),
                snippet=snippet(best.candidate.text, found[0]),
            )
        )
    return tuple(hits)


def holding(store: Store, query: Understood) -> list[int]:
    """Gives the items that hold every word and phrase of a query in one passage and meet its filters."""
    scope = demanded(store, query)
    if not query.words:
        return filters.items(store.database, scope.condition) if scope else []
    match = " AND ".join(f'"{word.stem}"' for word in query.words)
    rows = [row for row, _ in store.words.gather(match, -1, scope)]
    return sorted({c.item for c in store.items.candidates(rows) if contains(c.text, query.phrases)})


def from_source(store: Store, path: str) -> list[int]:
    """Gives the items that came from a file or from below a folder, replaced ones too."""
    where = path if path.startswith(("/", "~", ".")) else f"./{path}"
    wanted = filters.condition(kind=None, after=None, before=None, folder=where, app=None, superseded=False)
    assert wanted is not None
    return filters.items(store.database, wanted)


def what_is_missing(store: Store) -> Unindexed:
    """Gives what no search can find yet."""
    waiting = store.queue.waiting()
    return Unindexed(sum(waiting.values()), store.queue.n_failed(), waiting)
