"""The leg of words: FTS5 gathers passages, then each is scored on its own text.

Scoring is BM25 (Robertson and Zaragoza 2009) plus, for word forms that stemming misses and letters that OCR misread,
how much of each word's character 4-grams the passage holds, weighted by how rare the word is. Both are normalised by
the most a passage could get, so a score means the same for every query and any passage can be scored, whoever found
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pomnit.search.query import QueryWord, Understood
from pomnit.store import Store
from pomnit.store.filters import Scope
from pomnit.text.words import HEAD, WORD, fold, heads, quick_fold, stem

K1, B = 1.2, 0.75  # BM25's usual constants
TYPICAL_LENGTH = 600  # characters of a passage, what BM25 calls the average document
GRAMS = 0.4  # share of the 4-grams in a word score; see docs/LOG.md, "Fitting the fusion"
GRAM = 4
GATHER = 30  # passages that are scored
FREQUENT = 10_000  # postings that may be read to gather: FTS5 ranks every match, so very frequent words only score
SIMILAR = 0.55  # Dice coefficient of 3-grams from which an indexed word stands in for one that is nowhere
SIMILAR_MOST = 3


@dataclass(frozen=True, slots=True)
class Weighted:
    """A word of the query with its weight, and the indexed stems that stand for it."""

    word: QueryWord
    idf: float
    stems: tuple[str, ...]


class WordsLeg:
    """Gathering and scoring for one query."""

    def __init__(self, store: Store, query: Understood) -> None:
        self._store, self._query = store, query
        self._weighted = _weigh(store, query.words)
        self._scorer = Scorer(self._weighted)

    def gather(self, scope: Scope | None) -> list[int]:
        """Gives the passages worth scoring, best first."""
        match = self._expression()
        if not match:
            return []
        limit = GATHER * 8 if self._query.phrases else GATHER  # a phrase is checked on the text afterwards
        return [row for row, _ in self._store.words.gather(match, limit, scope)]

    def _expression(self) -> str:
        """Gives the FTS5 expression: all words of the phrases, else any word that is not too frequent."""
        if self._query.phrases:
            needed = dict.fromkeys(s for phrase in self._query.phrases for s in _stems(phrase))
            return " AND ".join(_quote(s) for s in needed)
        gathering: list[str] = []
        read = 0
        frequencies = self._store.words.frequencies([s for w in self._weighted for s in w.stems])
        for stem_, n in sorted(frequencies.items(), key=lambda pair: pair[1]):
            if gathering and read + n > FREQUENT:
                break
            gathering.append(stem_)
            read += n
        return " OR ".join(_quote(s) for s in gathering)

    def score(self, text: str, title: str) -> float:
        """Gives how well a passage fits, 0..1."""
        return self._scorer.score(text, title)


class Scorer:
    """Scores texts against weighted words."""

    def __init__(self, weighted: Sequence[Weighted]) -> None:
        self._weighted = weighted
        self._total = sum(w.idf for w in weighted)
        self._grams = [_grams(w.word.text) for w in weighted]
        self._by_stem = {s: w.word.stem for w in weighted for s in w.stems}
        self._heads = heads([*self._by_stem, *(w.word.text for w in weighted)])

    def score(self, text: str, title: str = "") -> float:
        """Gives how well a text (with its title, when it opens the item) fits, 0..1."""
        bm25, held = self.parts(text, title)
        return (1 - GRAMS) * bm25 + GRAMS * held

    def parts(self, text: str, title: str = "") -> tuple[float, float]:
        """Gives the shares of the best possible BM25 and of the words' 4-grams that a text holds, each 0..1."""
        if not self._total:
            return 0.0, 0.0
        whole = f"{title}\n{text}" if title else text
        words = WORD.findall(quick_fold(whole))
        counts: dict[str, int] = {}
        for word in words:
            if word[:HEAD] in self._heads and (stem_ := self._by_stem.get(stem(word))) is not None:
                counts[stem_] = counts.get(stem_, 0) + 1
        damp = K1 * (1 - B + B * len(whole) / TYPICAL_LENGTH)
        bm25 = sum(w.idf * n / (n + damp) for w in self._weighted if (n := counts.get(w.word.stem, 0)))
        there, spaced = set(words), f" {' '.join(words)} "
        held = 0.0
        for w, grams in zip(self._weighted, self._grams, strict=True):
            held += w.idf * (1.0 if w.word.text in there else sum(map(spaced.__contains__, grams)) / len(grams))
        return bm25 / self._total, held / self._total


def _weigh(store: Store, words: Sequence[QueryWord]) -> tuple[Weighted, ...]:
    """Gives each word its inverse document frequency; one that is nowhere is stood for by the most similar that are."""
    frequencies = store.words.frequencies([w.stem for w in words])
    n_passages = max(store.words.count(), 1)
    weighted = []
    for word in words:
        n = frequencies.get(word.stem, 0)
        stems = (word.stem,) if n else _similar(store, word.stem)
        weighted.append(Weighted(word, math.log(1 + (n_passages - n + 0.5) / (n + 0.5)), stems))
    return tuple(weighted)


def _similar(store: Store, stem_: str) -> tuple[str, ...]:
    """Gives indexed stems that are probably the same word, misread or misspelt: "ctenphores", "норманский"."""
    if len(stem_) < 5 or not stem_.isalpha():
        return ()
    own = frozenset(_grams(stem_, 3))
    near = []
    for other in store.words.beginning(stem_[:3]):
        if abs(len(other) - len(stem_)) <= 3:
            grams = frozenset(_grams(other, 3))
            near.append((2 * len(own & grams) / (len(own) + len(grams)), other))
    near.sort(reverse=True)
    return tuple(other for likeness, other in near[:SIMILAR_MOST] if likeness >= SIMILAR)


def contains(text: str, phrases: Sequence[str]) -> bool:
    """Tells whether all phrases stand in a text word for word, whatever the case and the signs between the words."""
    if not phrases:
        return True
    words = f" {' '.join(fold(w) for w in WORD.findall(text))} "
    return all(f" {' '.join(fold(w) for w in WORD.findall(phrase))} " in words for phrase in phrases)


def _grams(word: str, n: int = GRAM) -> list[str]:
    padded = f" {word} "
    return [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]


def _stems(phrase: str) -> list[str]:
    return [stem(w) for w in WORD.findall(phrase)]


def _quote(stem_: str) -> str:
    """Gives a stem as a string of FTS5; stems hold only letters and digits, but nothing is left to that."""
    return '"' + stem_.replace('"', '""') + '"'
