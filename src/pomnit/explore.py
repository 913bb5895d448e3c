"""Looking around: how near texts are, what is like an item, which themes there are.

``more`` goes through the machinery of recall with an item as the question: its telling words for one leg, its stored
vectors for the other. ``topics`` groups items by their vectors where the encoder knows their language, the others by
their words, each space apart, since distances of two spaces say nothing about each other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pomnit import recall
from pomnit.errors import UsageError
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.governor.spaces import Encoding
from pomnit.models.cards import EncoderCard
from pomnit.records import Leg, SearchResult, Similarity, Topic, Topics
from pomnit.search import more as more_like
from pomnit.search import topics as themes
from pomnit.search.query import Understood
from pomnit.search.words import WordsLeg
from pomnit.store import Store, filters
from pomnit.store.filters import Scope
from pomnit.text.language import detect_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomnit.search.vectors import SignCodes

MOST_TEXTS = 1000  # that are compared at once
OPENING = 64  # passages of an item that stand for it
_ASKED = 8  # vectors of an item that look for their nearest
_BATCH = 256  # items that are read at once
_LABELLING = 200  # items of a group that name it, those nearest to its middle
_SPOKEN = 4  # passages of such an item


def similar(store: Store, governor: Governor, texts: Sequence[str]) -> Similarity:
    """Gives the cosines between texts by the encoder in use.

    Raises:
        UsageError: fewer than two texts, too many, or an empty one.
        EngineError: the encoder is missing or failed.
    """
    if not 2 <= len(texts) <= MOST_TEXTS:
        raise UsageError(f"{len(texts)} given; give from 2 to {MOST_TEXTS} texts to compare")
    if any(not text.strip() for text in texts):
        raise UsageError("one of the texts is empty; an empty text is like nothing")
    used = spaces.searched(store, governor)
    with governor.encoder(used.variant, person=True) as encoder:
        vectors = encoder.encode(texts)
    matrix = np.clip(vectors @ vectors.T, -1, 1)
    langs = tuple(detect_query(text) for text in texts)
    known = tuple(lang in used.card.languages for lang in langs)
    rows = tuple(tuple(round(float(cosine), 4) for cosine in row) for row in matrix)
    return Similarity(tuple(texts), rows, langs, known, used.card.name, spaces.how_far(store, governor))


# More like this


def more(store: Store, governor: Governor, codes: SignCodes, item: int, limit: int) -> SearchResult:
    """Gives the items that are most like one item, best first, and never that item itself."""
    started = time.perf_counter()
    with store.snapshot():
        rows = [row for _, row in store.items.openings([item], OPENING)]
        passages = sorted(store.items.candidates(rows), key=lambda passage: passage.row)
        title = store.items.records([item])[item].title
        langs = Counter(passage.lang for passage in passages)
        lang = langs.most_common(1)[0][0] if langs else "other"
        query = more_like.about(store, title, [passage.text for passage in passages], lang)
        scope = filters.apart_from(store.database, item)
        scored, legs = _like(store, governor, codes, query, rows, scope)
        hits = recall.best_hits(store, query, scored, limit)
        unindexed = recall.what_is_missing(store)
    return SearchResult(query.record, hits, legs, unindexed, round((time.perf_counter() - started) * 1000, 1))


def _like(
    store: Store, governor: Governor, codes: SignCodes, query: Understood, rows: list[int], scope: Scope | None
) -> tuple[list[recall.Scored], tuple[Leg, ...]]:
    """Gathers and scores what is like an item with these passages."""
    if not rows:
        reason = "this item has no text that was read"
        return [], (Leg("words", "skipped", reason), Leg("vectors", "skipped", reason))
    words = WordsLeg(store, query)
    found = set(words.gather(scope)) if query.words else set()
    said = Leg("words", "ran") if query.words else Leg("words", "skipped", "nothing else holds a telling word of it")
    near = _near(store, governor, codes, rows, scope, found)
    return recall.fused(store, query, words, found, near), (said, *near.legs)


def _near(
    store: Store, governor: Governor, codes: SignCodes, rows: list[int], scope: Scope | None, found: set[int]
) -> recall.Near:
    """Gives how near any of an item's passages comes to each near or found passage, by their vectors."""
    from pomnit.search.fuse import vector_score
    from pomnit.search.vectors import nearest, noise

    used, making = spaces.searched(store, governor), spaces.how_far(store, governor)
    card, space = used.card, used.space
    if space is None:
        return recall.Near((Leg("vectors", "skipped", f"nothing is embedded by {card.name} yet"),))
    _, own = store.vectors.fetch(space.id, rows)
    if not _mostly(len(own), len(rows)):
        known = ", ".join(card.languages)
        reason = f"{card.name} knows {known}; most of this item is in another language or not embedded yet"
        return recall.Near((Leg("vectors", "skipped", reason if making is None else f"{reason}; {making}"),))
    asked = own[np.unique(np.linspace(0, len(own) - 1, _ASKED).astype(int))]
    asked /= np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)
    least = noise(card.cosines)
    near = {row for vector in asked for row in nearest(store, codes, space.id, vector, scope, least=least)}
    cosines: dict[int, float] = {}
    for vector in asked:
        for row, cosine in zip(*store.vectors.cosines(space.id, sorted(found | near), vector), strict=True):
            cosines[int(row)] = max(cosines.get(int(row), -1.0), float(cosine))
    scores = {row: vector_score(cosine, card.cosines) for row, cosine in cosines.items()}
    return recall.Near((Leg("vectors", "ran", making),), scores)


def _mostly(embedded: int, passages: int) -> bool:
    """Tells whether an item is compared by its vectors: when at least half of its passages have one."""
    return embedded * 2 >= passages and embedded > 0


# Topics


@dataclass(slots=True)
class _Space:
    """The items that are compared in one space, as unit vectors."""

    name: str
    items: list[int] = field(default_factory=list)
    parts: list[NDArray[np.float16]] = field(default_factory=list)


def topics(store: Store, governor: Governor, scope: Scope | None, groups: int | None, examples: int) -> Topics:
    """Gives the themes of the items in a scope: ``groups`` of them, or as many as part the data best.

    Raises:
        UsageError: a number of groups that does not fit.
    """
    if groups is not None and groups < 1:
        raise UsageError(f"groups = {groups}: there is at least one group")
    if examples < 0:
        raise UsageError(f"examples = {examples} is below zero")
    started = time.perf_counter()
    with store.snapshot():
        used = spaces.searched(store, governor)
        by_vectors, by_words, words, left_out = _spaces(store, used, scope)
        shares = _shares(groups, len(by_vectors.items), len(by_words.items))
        found: list[Topic] = []
        if by_vectors.items:
            found += _topics(store, by_vectors, themes.group(np.concatenate(by_vectors.parts), shares[0]), examples)
        if by_words.items:
            found += _topics(store, by_words, themes.group(words.vectors(), shares[1]), examples)
    found.sort(key=lambda topic: (-topic.size, topic.words))
    grouped = {space.name: len(space.items) for space in (by_vectors, by_words) if space.items}
    notes = _notes(used.card, grouped, by_words.name, groups, len(found))
    if making := spaces.how_far(store, governor):
        notes = (*notes, making)
    return Topics(tuple(found), grouped, left_out, notes, round((time.perf_counter() - started) * 1000, 1))


def _spaces(
    store: Store, used: Encoding, scope: Scope | None
) -> tuple[_Space, _Space, themes.WordSpace, Mapping[str, int]]:
    """Gives every item its vector, in the encoder's space or in that of words; and how many have none, and why."""
    by_vectors, by_words, words = _Space(used.card.name), _Space("words"), themes.WordSpace()
    items = filters.all_items(store.database, scope)
    unread = mute = 0
    for at in range(0, len(items), _BATCH):
        passages: dict[int, list[int]] = {}
        for item, row in store.items.openings(items[at : at + _BATCH], OPENING):
            passages.setdefault(item, []).append(row)
        unread += len(items[at : at + _BATCH]) - len(passages)
        embedded = _means(store, used.space.id, passages) if used.space is not None else {}
        by_vectors.items += embedded.keys()
        if embedded:
            by_vectors.parts.append(np.stack(list(embedded.values())).astype(np.float16))
        rest = [item for item in passages if item not in embedded]
        for item, text in _texts(store, rest, OPENING):
            if words.add(text):
                by_words.items.append(item)
            elif text.strip():
                mute += 1
            else:
                unread += 1
    left_out = {
        "without text: not read yet, failed, or nothing is written there": unread,
        "without a telling word": mute,
    }
    return by_vectors, by_words, words, {reason: n for reason, n in left_out.items() if n}


def _means(store: Store, space: int, passages: Mapping[int, Sequence[int]]) -> dict[int, NDArray[np.float32]]:
    """Gives the mean direction of each item's vectors, where it is compared by them."""
    found, vectors = store.vectors.fetch(space, [row for rows in passages.values() for row in rows])
    at = {int(row): i for i, row in enumerate(found)}
    means = {}
    for item, rows in passages.items():
        own = [at[row] for row in rows if row in at]
        if _mostly(len(own), len(rows)):
            mean = vectors[own].mean(axis=0)
            means[item] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return means


def _texts(store: Store, items: Sequence[int], most: int) -> Iterable[tuple[int, str]]:
    """Gives each item with the text of its first passages."""
    texts: dict[int, list[str]] = {item: [] for item in items}
    rows = [row for _, row in store.items.openings(items, most)]
    for passage in sorted(store.items.candidates(rows), key=lambda candidate: candidate.row):
        texts[passage.item].append(passage.text)
    return [(item, "\n".join(parts)) for item, parts in texts.items()]


def _shares(groups: int | None, by_vectors: int, by_words: int) -> tuple[int | None, int | None]:
    """Gives each space its part of the number of groups that was asked for, at least one."""
    if groups is None or not by_vectors or not by_words:
        return groups, groups
    first = min(max(1, round(groups * by_vectors / (by_vectors + by_words))), max(1, groups - 1))
    return first, max(1, groups - first)


def _topics(store: Store, space: _Space, groups: themes.Groups, examples: int) -> list[Topic]:
    """Gives the groups of one space with their words and the items nearest to their middles."""
    members = [[space.items[row] for row in groups.members(number)] for number in range(len(groups))]
    # One group after the other, so that only the texts of one are held.
    spoken = ((text for _, text in _texts(store, group[:_LABELLING], _SPOKEN)) for group in members)
    labels = themes.labels(spoken)
    records = store.items.records([item for group in members for item in group[:examples]])
    return [
        Topic(words, len(group), tuple(records[item] for item in group[:examples]), space.name)
        for words, group in zip(labels, members, strict=True)
    ]


def _notes(card: EncoderCard, grouped: Mapping[str, int], words: str, asked: int | None, found: int) -> tuple[str, ...]:
    notes = []
    if words in grouped:
        known = ", ".join(card.languages)
        notes.append(
            f"{card.name} knows {known}; {grouped[words]} of the items are in another language or not "
            "embedded yet, and are grouped apart, by their words"
        )
    if asked is not None and asked != found:
        notes.append(f"{asked} groups were asked for, and the items make {found}")
    return tuple(notes)
