"""Spine 2: understand the query -> gather -> fuse -> rerank -> hits.

The legs gather passages: words always; vectors, and the terms of a sparse encoder, where it knows the language of the
question. Every passage that any of them found is scored by all, the scores are fused, the best are read again by the
reranker if there is one, and the passages are grouped into hits. The result says which legs ran and what is not indexed
yet.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pomnit.errors import EngineError, Stopped
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.models.cards import EncoderCard, RerankerCard, TextCard
from pomnit.records import Hit, Lang, Leg, SearchResult, Unindexed
from pomnit.search.marks import find, snippet
from pomnit.search.query import Understood, moment
from pomnit.search.rerank import OF_AN_ITEM, Reranking, order, scores
from pomnit.search.words import WordsLeg, contains
from pomnit.store import Store, filters
from pomnit.store.filters import Scope
from pomnit.store.items import Candidate, with_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pomnit.engines.protocols import Encoder, Terms
    from pomnit.search.vectors import SignCodes

PASSAGES_OF_A_HIT = 3
_NO_WORDS = "the query has no words; the newest come first"


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage with its fused score and those of the legs."""

    candidate: Candidate
    score: float
    legs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was found: the query as it was carried out, the passages of each item, best first, and how it was done."""

    query: Understood
    groups: list[list[Scored]]
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """What the legs of the encoder say: scores of passages, 0..1. The leg of vectors comes first."""

    legs: tuple[Leg, ...]
    vectors: Mapping[int, float] = field(default_factory=dict)
    terms: Mapping[int, float] = field(default_factory=dict)
    share: float = 0.0  # of the terms beside the vectors

    @property
    def ran(self) -> bool:
        """Whether they took part."""
        return self.legs[0].state == "ran"

    def score(self, row: int) -> float | None:
        """Gives the score of a passage by all of them, None when it is not in the space."""
        if row not in self.vectors:
            return None
        return (1 - self.share) * self.vectors[row] + self.share * self.terms.get(row, 0.0)


def search(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    limit: int,
    stop: Callable[[], bool],
    reranking: Reranking | None = None,
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> SearchResult:
    """Gives the best hits of a query, best first. ``tell`` hears how many of how many passages were reranked.

    Raises:
        Stopped: ``stop`` said True.
    """
    started = time.perf_counter()
    with store.snapshot():
        found = gathered(store, governor, codes, query, limit, stop, reranking, tell)
        hits = _hits(store, found.query, found.groups[:limit])
        unindexed = what_is_missing(store)
    took = (time.perf_counter() - started) * 1000
    return SearchResult(found.query.record, hits, found.legs, unindexed, round(took, 1))


def gathered(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    limit: int,
    stop: Callable[[], bool],
    reranking: Reranking | None = None,
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> Gathered:
    """Gives all passages that fit a query, by item, or those that fit a wider one. ``limit`` is of a query of filters.

    Raises:
        Stopped: ``stop`` said True.
    """
    scored, legs = _gather(store, governor, codes, query, limit, stop)
    for wider, reason in () if scored else _wider(query):
        query = wider
        scored, legs = _gather(store, governor, codes, query, limit, stop)
        legs = (replace(legs[0], reason=reason), *legs[1:])
        if scored:
            break
    groups = _group(scored)
    if reranking is not None:
        groups, leg = _rerank(governor, reranking, query, scored, stop, tell)
        legs = (*legs, leg)
    return Gathered(query, groups, legs)


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


def is_whole(result: SearchResult, encoder: EncoderCard, reranker: RerankerCard | None = None) -> bool:
    """Tells whether asking again could give no more: no leg was left out that may run later."""
    lang = result.query.lang
    missing = {leg.name for leg in result.legs if leg.state == "skipped"}
    if lang not in encoder.languages:
        missing -= {"vectors", "terms"}
    if reranker is not None and lang not in reranker.languages:
        missing -= {"rerank"}
    return not missing


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
    """Gathers with all legs and scores what any of them found with all."""
    words = WordsLeg(store, query)
    found = set(words.gather(scope))
    near = _near(store, governor, codes, query, scope, found)
    return fused(store, query, words, found, near, stop), (Leg("words", "ran"), *near.legs)


def fused(
    store: Store,
    query: Understood,
    words: WordsLeg,
    found: set[int],
    near: Near,
    stop: Callable[[], bool] = lambda: False,
) -> list[Scored]:
    """Gives the passages that any leg found, scored by all, best first.

    Raises:
        Stopped: ``stop`` said True.
    """
    from pomnit.search.fuse import fuse

    scored = []
    for candidate in store.items.candidates(sorted(found | set(near.vectors))):
        if stop():
            raise Stopped("the search was stopped before it was done")
        if not contains(candidate.text, query.phrases):
            continue
        by_words, by_encoder = words.score(candidate.text, candidate.title), near.score(candidate.row)
        score = fuse(by_words, by_encoder, ran=near.ran, passage=candidate.lang, question=query.lang)
        legs = {"words": by_words}
        for name, leg in (("vectors", near.vectors), ("terms", near.terms)):
            if candidate.row in leg:
                legs[name] = leg[candidate.row]
        scored.append(Scored(candidate, score, {name: round(value, 4) for name, value in legs.items()}))
    # Of equal ones the newer item comes first.
    scored.sort(key=lambda s: (-s.score, -s.candidate.item, s.candidate.row))
    return scored


def _near(
    store: Store,
    governor: Governor,
    codes: SignCodes,
    query: Understood,
    scope: Scope | None,
    found: set[int],
) -> Near:
    """Gives what the encoder says of the passages that it finds and of those that the words found."""
    used, making = spaces.searched(store, governor), spaces.how_far(store, governor)
    card, space = used.card, used.space
    names = ("vectors", "terms") if card.sparse else ("vectors",)

    def skipped(reason: str) -> Near:
        reason = reason if making is None else f"{reason}; {making}"
        return Near(tuple(Leg(name, "skipped", reason) for name in names))

    if query.lang not in card.languages:
        return skipped(_does_not_know(card, query.lang))
    if space is None:
        return skipped(f"nothing is embedded by {card.name} yet")
    try:
        used.check()
        with governor.encoder(used.variant, person=True) as encoder:
            vector, terms = _encoded(encoder, query.text)
    except EngineError as error:
        return skipped(str(error))
    from pomnit.search.fuse import terms_share, vector_score
    from pomnit.search.terms import TermsLeg
    from pomnit.search.vectors import nearest, noise

    cosines = nearest(store, codes, space.id, vector, scope, least=noise(card.cosines))
    leg = TermsLeg(store, space.id, terms)
    rows = sorted(found | set(cosines) | set(leg.gather(scope)))
    rest = store.vectors.cosines(space.id, [row for row in rows if row not in cosines], vector)
    cosines |= {int(row): float(cosine) for row, cosine in zip(*rest, strict=True)}
    return Near(
        legs=tuple(Leg(name, "ran", making if name == "vectors" else None) for name in names),
        vectors={row: vector_score(cosine, card.cosines) for row, cosine in cosines.items()},
        terms=leg.scores(rows),
        share=terms_share(leg.own, card.cosines),
    )


def _encoded(encoder: Encoder, question: str) -> tuple[NDArray[np.float32], Terms]:
    """Gives the vector (dimensions,) of a question, and its terms by an encoder that weighs them: one reading."""
    if not encoder.card.sparse:
        return encoder.encode([question], query=True)[0], {}
    vectors, terms = encoder.encode_terms([question], query=True)
    return vectors[0], terms[0]


def _does_not_know(card: TextCard, lang: Lang) -> str:
    """Says why a model takes no part."""
    return f"{card.name} knows {', '.join(card.languages)}; this question is in another language ({lang})"


def _newest(store: Store, scope: Scope | None, limit: int) -> tuple[list[Scored], tuple[Leg, ...]]:
    """Gives the newest items of a query that has only filters."""
    rows = filters.newest(store.database, scope.condition, limit) if scope else []
    by_row = {c.row: c for c in store.items.candidates(rows)}
    scored = [Scored(by_row[row], 1.0, {}) for row in rows if row in by_row]
    return scored, (Leg("words", "skipped", _NO_WORDS), Leg("vectors", "skipped", _NO_WORDS))


# Rerank


def _rerank(
    governor: Governor,
    reranking: Reranking,
    query: Understood,
    scored: list[Scored],
    stop: Callable[[], bool],
    tell: Callable[[int, int], None],
) -> tuple[list[list[Scored]], Leg]:
    """Gives the items, each with its passages, as the reranker orders them, and what is to be said of it.

    Items change places only with each other: one that was not read, for lack of time or because its best passage is in
    a language that the reranker does not know, keeps its own.
    """
    card, groups = reranking.card, _group(scored)

    def skipped(reason: str) -> tuple[list[list[Scored]], Leg]:
        return groups, Leg("rerank", "skipped", reason)

    if not query.words:
        return skipped(_NO_WORDS)
    if query.lang not in card.languages:
        return skipped(_does_not_know(card, query.lang))
    wanted = _to_read(card, scored)[: reranking.most]
    if len({one.candidate.item for one in wanted}) < 2:
        return groups, Leg("rerank", "ran", "there was nothing to put in order")
    texts = [f"{one.candidate.title}\n{one.candidate.text}".strip() for one in wanted]
    try:
        with governor.reranker(card) as reranker:
            started = time.perf_counter()
            found = scores(
                reranker,
                query.text,
                texts,
                deadline_s=reranking.deadline_s,
                at_once=governor.at_once(card),
                stop=stop,
                tell=lambda done: tell(done, len(texts)),
            )
            took_ms = (time.perf_counter() - started) * 1000
    except EngineError as error:
        return skipped(str(error))
    read = [_reread(wanted[i], found[i]) for i in order(query, [one.candidate.text for one in wanted], found)]
    said = f"{len(found)} passages by {card.name} in {took_ms:.0f} ms"
    if reranking.deadline_s is not None and len(found) < len(wanted):
        within = f"within {reranking.deadline_s * 1000:.0f} ms"
        said = f"{len(found)} of {len(wanted)} passages by {card.name} {within}; the others keep their rank"
    return _in_places(groups, read), Leg("rerank", "ran", said)


def _to_read(card: RerankerCard, scored: list[Scored]) -> list[Scored]:
    """Gives the first passages of each item whose best one is in a language that the reranker knows."""
    seen: Counter[int] = Counter()
    wanted = []
    for one in scored:
        item, known = one.candidate.item, one.candidate.lang in card.languages
        seen[item] += 1 if known or seen[item] else OF_AN_ITEM
        if known and seen[item] <= OF_AN_ITEM:
            wanted.append(one)
    return wanted


def _reread(one: Scored, score: float) -> Scored:
    return replace(one, legs={**one.legs, "fused": round(one.score, 4), "rerank": round(score, 4)})


def _in_places(groups: list[list[Scored]], read: Sequence[Scored]) -> list[list[Scored]]:
    """Gives the items with those that were read, best first, in the places that they held.

    The scores stay with the places, so that they fall from hit to hit; the score of the legs is ``fused``.
    """
    places = {group[0].candidate.item: place for place, group in enumerate(groups)}
    ordered = _group([*read])
    result = list(groups)
    for place, first in zip(sorted(places[group[0].candidate.item] for group in ordered), ordered, strict=True):
        rows = {one.candidate.row for one in first}
        rest = [one for one in groups[places[first[0].candidate.item]] if one.candidate.row not in rows]
        result[place] = [replace(first[0], score=groups[place][0].score), *first[1:], *rest]
    return result


# Hits


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


def seen(store: Store, after: str | None, before: str | None, app: str | None, *, added: bool = False) -> list[int]:
    """Gives the items that were seen in a span of time and in an application, those that wait and replaced ones too.

    ``added``: those, too, that were remembered in the span.
    """
    rows = filters.items(store.database, filters.seen(after=after, before=before, added=added))
    if app is None:
        return rows
    wanted = filters.condition(kind=None, after=None, before=None, folder=None, app=app, superseded=False)
    assert wanted is not None
    of_app = set(filters.items(store.database, wanted))
    return [row for row in rows if row in of_app]


def what_is_missing(store: Store) -> Unindexed:
    """Gives what no search can find yet."""
    waiting = store.queue.waiting()
    return Unindexed(sum(waiting.values()), store.queue.n_failed(), waiting)
