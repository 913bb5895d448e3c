"""Spine 2: understand the query -> gather -> fuse -> hits.

Two legs gather passages: words always, vectors where the encoder knows the language of the question. Every passage
that either found is scored by both, the scores are fused, and the passages are grouped into hits. The result says
which legs ran and what is not indexed yet.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pomnit.errors import EngineError
from pomnit.governor.leases import Governor
from pomnit.records import Hit, Leg, SearchResult, Unindexed
from pomnit.search.marks import find, snippet
from pomnit.search.query import Understood, moment
from pomnit.search.words import WordsLeg, contains
from pomnit.store import Store, filters
from pomnit.store.filters import Condition
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


def search(store: Store, governor: Governor, codes: SignCodes, query: Understood, limit: int) -> SearchResult:
    """Gives the best hits of a query, best first."""
    started = time.perf_counter()
    with store.snapshot():
        wanted, superseded = demanded(query)
        if query.words:
            scored, legs = _score(store, governor, codes, query, wanted, superseded)
            if query.phrases and not scored:
                query = replace(query, phrases=())
                scored, legs = _score(store, governor, codes, query, wanted, superseded)
                legs = (replace(legs[0], reason="nothing holds the exact phrase, so its words were searched"), legs[1])
        else:
            scored, legs = _newest(store, wanted, limit)
        hits = _hits(store, query, _group(scored)[:limit])
        unindexed = what_is_missing(store)
    took = (time.perf_counter() - started) * 1000
    return SearchResult(query.record, hits, legs, unindexed, round(took, 1))


def demanded(query: Understood) -> tuple[Condition | None, bool]:
    """Gives the condition of the filters, and whether items that were replaced are looked at."""
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
    return condition, state != "ready"


def _score(
    store: Store, governor: Governor, codes: SignCodes, query: Understood, wanted: Condition | None, superseded: bool
) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gathers with both legs and scores what either found with both."""
    from pomnit.search.fuse import fuse, vector_score

    words = WordsLeg(store, query)
    rows = set(words.gather(wanted, superseded))
    cosines, leg = _vectors(store, governor, codes, query, wanted, superseded, rows)
    scored = []
    for candidate in store.items.candidates(sorted(rows | set(cosines))):
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
    return scored, (Leg("words", "ran"), leg)


def _vectors(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    wanted: Condition | None,
    superseded: bool,
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
    import numpy as np

    from pomnit.search.vectors import nearest, similarities

    allowed = filters.passages(store.database, wanted) if wanted else None
    banned = () if superseded else filters.superseded_passages(store.database)
    cosines = nearest(store, codes, space, vector, allowed=allowed, banned=banned)
    rest = np.array(sorted(found - set(cosines)), np.int64)
    cosines |= {int(row): float(cosine) for row, cosine in zip(*similarities(store, space, vector, rest), strict=True)}
    return cosines, Leg("vectors", "ran")


def _newest(store: Store, wanted: Condition | None, limit: int) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gives the newest items of a query that has only filters."""
    rows = filters.newest(store.database, wanted, limit) if wanted else []
    by_row = {c.row: c for c in store.items.candidates(rows)}
    scored = [Scored(by_row[row], 1.0, {}) for row in rows if row in by_row]
    reason = "the query has no words; the newest come first"
    return scored, (Leg("words", "skipped", reason), Leg("vectors", "skipped", reason))


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
    wanted, superseded = demanded(query)
    if not query.words:
        return filters.items(store.database, wanted) if wanted else []
    match = " AND ".join(f'"{word.stem}"' for word in query.words)
    rows = [row for row, _ in store.words.gather(match, -1, wanted, superseded=superseded)]
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
