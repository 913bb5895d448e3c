"""An answer made of the sentences that are there: the best one to three, as they stand, each with its citation.

It needs no model. It says nothing at all when the evidence is thin: then nothing it could show is likely an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pomnit.engines.protocols import Asked, Offered
from pomnit.search.evidence import shingles
from pomnit.search.judge import (
    ANSWER,
    SENTENCE,
    Frequencies,
    Judged,
    Weights,
    counted_of_answer,
    judged,
    says_little,
)
from pomnit.search.question import Wanted, wanted
from pomnit.search.sentences import as_shown
from pomnit.search.weights import (
    ALSO,
    ANSWER_BIAS,
    ANSWER_WEIGHTS,
    LEAST,
    SENTENCE_BIAS,
    SENTENCE_WEIGHTS,
    THIN,
    chance,
)

SHOWN = 3  # sentences
_BRACKETED = re.compile(r"\[(\d+)\]")  # a note of the text itself, which would look like a citation
_PIECE = ANSWER.index("piece")
_FIT, _OF_THE_PIECE = SENTENCE.index("fit"), SENTENCE.index("piece")
BESIDE = 0.25  # of the question stands in a piece that is named beside the answer: what only sounds alike is no source
CLEAR = 0.6  # a fit from here on looks like what was asked for
NEAR = 160  # characters from the best sentence to one that only fits
_SAME = 0.7  # of the shingles of the shorter of two sentences: from there on they say the same


@dataclass(frozen=True, slots=True)
class Chosen:
    """A sentence of the answer: ``text[start:end]`` of the piece of that number."""

    number: int
    start: int
    end: int
    chance: float  # that it holds the answer


@dataclass(frozen=True, slots=True)
class Extracted:
    """The best sentences, in the order in which they are shown, and the best one of each piece that is not shown."""

    chosen: tuple[Chosen, ...] = ()
    beside: tuple[Chosen, ...] = ()
    chance: float = 0.0  # that they answer the question
    counted: tuple[float, ...] = ()  # what that comes from, as judge.ANSWER names it

    @property
    def is_thin(self) -> bool:
        """Whether this is no answer."""
        return not self.chosen or self.chance < THIN or (bool(self.counted) and self.counted[_PIECE] < LEAST)


def extract(
    asked: Wanted,
    offered: Sequence[Offered],
    frequencies: Frequencies = lambda _: {},
    passages: int = 0,
    scores: Mapping[int, float] | None = None,
    *,
    words_alone: bool = False,
) -> Extracted:
    """Gives the sentences that answer best. ``passages`` are those of the memory that the frequencies count."""
    weights = Weights(asked, frequencies, passages)
    texts = {piece.number: piece.text for piece in offered}
    found = [s for s in judged(weights, offered, scores or {}) if not says_little(texts[s.number][s.start : s.end])]
    if not found or not weights.of:
        return Extracted()
    chances = [chance(SENTENCE_WEIGHTS, SENTENCE_BIAS, s.counted) for s in found]
    ranked = sorted(range(len(found)), key=lambda i: (-chances[i], found[i].number, found[i].start))
    best = ranked[0]
    counted = counted_of_answer(found, chances, best, words_alone=words_alone)
    chosen = _choose([(found[i], chances[i]) for i in ranked], texts)
    chosen = _with_what_fits(chosen, found, chances) if asked.wants in ("when", "amount") else chosen
    shown = {one.number for one in chosen}
    beside: dict[int, Chosen] = {}
    for i in ranked:
        if found[i].number not in shown and found[i].counted[_OF_THE_PIECE] >= BESIDE:
            beside.setdefault(found[i].number, _as_chosen(found[i], chances[i]))
    return Extracted(
        chosen=tuple(chosen),
        beside=tuple(beside[number] for number in sorted(beside)),
        chance=chance(ANSWER_WEIGHTS, ANSWER_BIAS, counted),
        counted=counted,
    )


def _choose(ranked: Sequence[tuple[Judged, float]], texts: Mapping[int, str]) -> list[Chosen]:
    """Gives the best sentence and those nearly as good that say something else; neighbours in their order."""
    chosen: list[Chosen] = []
    prints: list[frozenset[tuple[str, ...]]] = []
    least = ranked[0][1] * ALSO
    for one, likely in ranked:
        if len(chosen) == SHOWN or likely < least:
            break
        own = shingles(texts[one.number][one.start : one.end])
        if all(len(own & other) < _SAME * min(len(own), len(other)) for other in prints):
            chosen.append(_as_chosen(one, likely))
            prints.append(own)
    first: dict[int, int] = {}
    for rank, sentence in enumerate(chosen):
        first.setdefault(sentence.number, rank)
    return sorted(chosen, key=lambda sentence: (first[sentence.number], sentence.start))


def _with_what_fits(chosen: list[Chosen], found: Sequence[Judged], chances: Sequence[float]) -> list[Chosen]:
    """Adds the nearest sentence that holds a date or an amount when none of the chosen does, and it was asked for: "You
    have an appointment with Dr Orlova." is often followed by when.
    """
    shown = {(one.number, one.start) for one in chosen}
    fit = {(one.number, one.start): one.counted[_FIT] for one in found}
    if len(chosen) == SHOWN or any(fit[place] >= CLEAR for place in shown):
        return chosen
    first = chosen[0]
    near = [
        (max(one.start - first.end, first.start - one.end, 0), i)
        for i, one in enumerate(found)
        if one.number == first.number and one.counted[_FIT] >= CLEAR
    ]
    distance, nearest = min(near, default=(NEAR + 1, -1))
    if distance > NEAR:
        return chosen
    there = [one for one in chosen if one.number == first.number] + [_as_chosen(found[nearest], chances[nearest])]
    return sorted(there, key=lambda one: one.start) + [one for one in chosen if one.number != first.number]


def _as_chosen(one: Judged, likely: float) -> Chosen:
    return Chosen(one.number, one.start, one.end, likely)


@dataclass(frozen=True, slots=True)
class ExtractiveAnswerer:
    """The Answerer protocol by choosing sentences. What it gets to know of a memory makes its choice better."""

    frequencies: Frequencies = lambda _: {}
    passages: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)  # of the search, by the number of the piece
    words_alone: bool = True  # whether no encoder took part in it
    name: str = "extractive"
    sees: bool = False

    def extracted_for(self, asked: Wanted, offered: Sequence[Offered]) -> Extracted:
        """Gives the sentences with what they were chosen by."""
        return extract(asked, offered, self.frequencies, self.passages, self.scores, words_alone=self.words_alone)

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Gives the sentences, each with its citation; nothing when the evidence is thin."""
        found = self.extracted_for(wanted(asked.question), asked.offered)
        if not found.is_thin:
            yield from said(found.chosen, asked.offered, stopped)

    def close(self) -> None:
        """Holds nothing."""


def said(
    chosen: Sequence[Chosen], offered: Sequence[Offered], stopped: Callable[[], bool] = lambda: False
) -> Iterator[str]:
    """Gives sentences as they stand, each with its citation."""
    texts = {piece.number: piece.text for piece in offered}
    for i, one in enumerate(chosen):
        if stopped():
            return
        text = _BRACKETED.sub(r"(\1)", as_shown(texts[one.number][one.start : one.end]))
        yield f"{' ' if i else ''}{text} [{one.number}]"
