"""How well each sentence of the evidence answers a question: what it holds of it, and whether it holds an answer.

Everything is counted on stems, weighted by how rare they are in the memory. The numbers are parts of a logistic model;
its weights (``weights.py``) are made by ``bench/fit_ask.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from pomnit.engines.protocols import Offered
from pomnit.search.fits import fits
from pomnit.search.question import Wanted
from pomnit.search.sentences import sentences
from pomnit.text.stopwords import is_stop
from pomnit.text.words import fold, tokens

Frequencies = Callable[[Sequence[str]], Mapping[str, int]]
"""In how many passages of the memory each stem is; absent when in none."""

UNSEEN = 1000  # passages that a memory is thought to have besides: in a small one every word would look frequent
CLASS = 0.5  # of the weight of a word that only names the kind of answer: "which river", "в каком году"
ASIDE, LEANING = 0.25, 0.75  # of the weight of a word that only the thread said; where it says what is asked
SURE = ("when", "amount", "who")  # kinds of answers that look like nothing else
UNFIT = 0.35  # a fit below this is none
CARRIED = 0.6  # of the words of the sentence before one that begins with "it" or "he"
_SHARED = 5  # letters that two forms of a word share when stemming keeps them apart
_CLOSE = 3  # words between two that stand side by side in the question
_LETTERS = 0.6  # Dice coefficient of pairs of letters from which a misread word is the one that is meant

# A sentence that begins so speaks of what the one before named.
_REFERS = re.compile(
    r"\W*(?:it|its|he|she|his|her|they|their|this|these|those|that|он|она|оно|они|его|её|ее|их|это|этот|эта|эти|там|тогда)(?!\w)",
    re.IGNORECASE,
)

SENTENCE = (
    "held",
    "around",
    "piece",
    "pairs",
    "names",
    "numbers",
    "fit",
    "lacks",
    "near",
    "score",
    "first",
    "words",
    "short",
    "asks",
)
"""What is counted of a sentence."""
ANSWER = (
    "chance",
    "held",
    "together",
    "piece",
    "names",
    "numbers",
    "pairs",
    "fit",
    "score",
    "lead",
    "words alone",
)
"""What is counted of all sentences, to tell whether the evidence is thin."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence: ``text[start:end]`` of the piece of that number, and what was counted."""

    number: int
    start: int
    end: int
    counted: tuple[float, ...]  # as SENTENCE names it
    held: frozenset[str]  # stems of the question


class Weights:
    """The words of a question, each with what it counts for."""

    def __init__(self, asked: Wanted, frequencies: Frequencies, passages: int) -> None:
        stems = [word.stem for word in asked.words]
        known = frequencies(stems) if stems else {}
        self.asked = asked
        self.of: dict[str, float] = {}
        for stem_ in stems:
            weight = math.log((passages + UNSEEN) / (known.get(stem_, 0) + 1))
            if stem_ in asked.kind:
                weight *= CLASS
            said_before = LEANING if asked.leans else ASIDE
            self.of[stem_] = weight * (said_before if stem_ in asked.aside else 1.0)
        self.total = sum(self.of.values()) or 1.0
        self._exact = frozenset(stems)
        self._starts = {w.text[: max(_SHARED, len(w.text) - 2)]: w.stem for w in asked.words if len(w.text) > _SHARED}
        self._misread = {w.stem: _pairs(w.stem) for w in asked.words if len(w.stem) > _SHARED and w.stem.isalpha()}
        self._known: dict[str, str | None] = {}

    def which(self, word: str, stem_: str) -> str | None:
        """Gives the stem of the question that a word of a text stands for: itself, another form, or misread."""
        if stem_ in self._exact:
            return stem_
        if stem_ not in self._known:
            self._known[stem_] = self._like(fold(word), stem_)
        return self._known[stem_]

    def _like(self, word: str, stem_: str) -> str | None:
        if len(word) <= _SHARED:
            return None
        for start, meant in self._starts.items():
            if word.startswith(start):
                return meant
        own = _pairs(stem_)
        for meant, other in self._misread.items():
            if stem_[:2] == meant[:2] and abs(len(stem_) - len(meant)) <= 2 and _dice(own, other) >= _LETTERS + 0.15:
                return meant
        return None

    def share(self, stems: frozenset[str] | set[str]) -> float:
        """Gives how much of the question some of its stems are, 0..1."""
        return sum(self.of[s] for s in stems) / self.total

    @cached_property
    def side_by_side(self) -> tuple[tuple[str, str], ...]:
        """The words that stand side by side in the question."""
        stems = [word.stem for word in self.asked.words]
        return tuple(pairwise(stems))


def _pairs(word: str) -> frozenset[str]:
    return frozenset(word[i : i + 2] for i in range(len(word) - 1))


def _dice(a: frozenset[str], b: frozenset[str]) -> float:
    return 2 * len(a & b) / max(len(a) + len(b), 1)


@dataclass(frozen=True, slots=True)
class _Sentence:
    start: int
    end: int
    n_words: int
    places: tuple[tuple[int, int, str], ...]  # of words of the question: number of the word, offset, stem

    @property
    def held(self) -> frozenset[str]:
        return frozenset(stem_ for _, _, stem_ in self.places)


def judged(weights: Weights, offered: Sequence[Offered], scores: Mapping[int, float]) -> list[Judged]:
    """Gives every sentence of the pieces that has a letter. ``scores`` are those of the search, 0..1, by number."""
    found: list[Judged] = []
    top = max(scores.values(), default=1.0) or 1.0
    for piece in offered:
        parts = [_read(weights, piece.text, start, end) for start, end in sentences(piece.text)]
        parts = [part for part in parts if part.n_words]
        title = frozenset(w for t in tokens(piece.title) if (w := weights.which(piece.title[t.start : t.end], t.stem)))
        whole = frozenset().union(title, *(part.held for part in parts))
        rank = scores.get(piece.number, top / piece.number)
        for i, part in enumerate(parts):
            near = [parts[j].held for j in (i - 1, i + 1) if 0 <= j < len(parts)]
            around = frozenset().union(title, *near) - part.held
            before = parts[i - 1] if i and _REFERS.match(piece.text, part.start) else None
            counted = _counted(weights, piece.text, part, before, around, whole, rank, rank / top)
            found.append(Judged(piece.number, part.start, part.end, counted, part.held))
    return found


def _read(weights: Weights, text: str, start: int, end: int) -> _Sentence:
    own = text[start:end]
    found = [(n, t.start, weights.which(own[t.start : t.end], t.stem)) for n, t in enumerate(tokens(own))]
    letters = any(c.isalpha() for c in own)
    return _Sentence(start, end, len(found) if letters else 0, tuple((n, at, s) for n, at, s in found if s is not None))


def _counted(
    weights: Weights,
    text: str,
    part: _Sentence,
    before: _Sentence | None,
    around: frozenset[str],
    whole: frozenset[str],
    score: float,
    lead: float,
) -> tuple[float, ...]:
    asked, own = weights.asked, text[part.start : part.end]
    held = part.held
    carried = before.held - held if before else frozenset[str]()
    pairs = _side_by_side(weights, part) + (CARRIED * _side_by_side(weights, before) if before else 0.0)
    found = fits(asked, own)
    best = max((clear for _, clear in found), default=0.0)
    near = max((clear * _nearness(at, part) for at, clear in found), default=0.0)
    names, numbers = asked.names, asked.numbers
    return (
        weights.share(held) + CARRIED * weights.share(carried),
        weights.share(around - carried),
        weights.share(whole),
        min(1.0, pairs),
        _share_of(names, held | carried, around),
        _share_of(numbers, held, around),
        best,
        1.0 if asked.wants in SURE and best < UNFIT else 0.0,
        near,
        score,
        lead,
        math.log(1 + part.n_words) / 4,
        1.0 if part.n_words < 5 else 0.0,
        1.0 if own.rstrip(" »”\"')").endswith("?") else 0.0,
    )


def _nearness(at: int, part: _Sentence) -> float:
    """Gives how near a possible answer is to the words of the question, 0..1."""
    if not part.places:
        return 0.0
    distances = sorted(abs(at - place) for _, place, _ in part.places)[:3]
    return sum(1 / (1 + d / 40) for d in distances) / 3


def _side_by_side(weights: Weights, part: _Sentence) -> float:
    """Gives the share of the question's pairs of words that stand near each other in a sentence."""
    pairs = weights.side_by_side
    if not pairs:
        return 0.0
    at: dict[str, list[int]] = {}
    for n, _, stem_ in part.places:
        at.setdefault(stem_, []).append(n)
    near = 0
    for a, b in pairs:
        near += any(abs(i - j) <= _CLOSE for i in at.get(a, ()) for j in at.get(b, ()))
    return near / len(pairs)


def _share_of(wanted: frozenset[str], held: frozenset[str], around: frozenset[str]) -> float:
    """Gives the share of some stems that a sentence holds; what only its surroundings hold counts half. 1 for none."""
    if not wanted:
        return 1.0
    return (len(wanted & held) + 0.5 * len(wanted & around)) / len(wanted)


# The whole


def counted_of_answer(
    sentences_: Sequence[Judged], chances: Sequence[float], best: int, *, words_alone: bool
) -> tuple[float, ...]:
    """Gives what tells whether the best sentence answers at all, as ANSWER names it.

    ``words_alone`` says that no encoder took part in the search: its scores mean something else then.
    """
    one = sentences_[best]
    values = dict(zip(SENTENCE, one.counted, strict=True))
    elsewhere = max((s.counted[2] for s in sentences_ if s.number != one.number), default=0.0)
    return (
        chances[best],
        values["held"],
        values["held"] + values["around"],
        values["piece"],
        values["names"],
        values["numbers"],
        values["pairs"],
        values["fit"],
        values["score"],
        values["piece"] - elsewhere,
        float(words_alone),
    )


def says_little(text: str) -> bool:
    """Tells whether a sentence has only function words and signs."""
    return all(is_stop(word) for word in re.findall(r"[^\W_]+", text))
