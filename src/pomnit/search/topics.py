"""Items grouped by theme: spherical k-means over one vector per item, groups named by their own telling words.

Items without vectors, such as Russian ones under an English encoder, get a space of their own: tf-idf of hashed
stems, brought to few dimensions by the singular vectors of a sample (latent semantic analysis, Deerwester 1990).
Everything is seeded, so equal memories give equal groups, and works on samples and chunks, so memory is bounded.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pomnit.text.stopwords import is_stop
from pomnit.text.words import stem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float16] | NDArray[np.float32]

SAMPLE = 2000  # items that make the first centres
CHOOSING = 1000  # items that choose the number of groups
MOST_GROUPS = 40  # that are chosen unasked
DIMENSIONS = 64  # of the space of words
LABEL = 5  # words that name a group
_STARTS, _ROUNDS, _ROUNDS_TO_CHOOSE, _ROUNDS_OVER_ALL = 3, 25, 10, 4
_FEWEST = 4  # items that are parted unasked
_CHUNK = 2048  # items that are spread out as float32 at once
_COLUMNS = 8192  # for hashed stems
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each row is in, and how near to its middle (cosine). Group 0 is the largest."""

    labels: NDArray[np.int64]  # (n,)
    likeness: NDArray[np.float32]  # (n,)

    def __len__(self) -> int:
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def members(self, group: int) -> NDArray[np.int64]:
        """Gives the rows of a group, the nearest to its middle first."""
        rows = np.flatnonzero(self.labels == group)
        return rows[np.argsort(-self.likeness[rows], kind="stable")]


def group(vectors: Vectors, groups: int | None = None) -> Groups:
    """Gives the groups of unit vectors (n, dimensions): so many, or as many as part the data best."""
    random = np.random.default_rng(0)
    chosen = np.arange(len(vectors))
    if len(vectors) > SAMPLE:
        chosen = np.sort(random.choice(len(vectors), SAMPLE, replace=False))
    sample = vectors[chosen].astype(np.float32)
    wanted = _how_many(sample[:: -(-len(sample) // CHOOSING)]) if groups is None else min(groups, len(sample))
    centres = _k_means(sample, wanted, _STARTS, _ROUNDS)
    labels, likeness = _assign(vectors, centres)
    for _ in range(_ROUNDS_OVER_ALL if len(vectors) > SAMPLE else 0):
        centres = _middles(vectors, labels, centres)
        labels, likeness = _assign(vectors, centres)
    _, labels = np.unique(labels, return_inverse=True)  # a group that nothing is in has no number
    number = np.argsort(np.argsort(-np.bincount(labels), kind="stable"))
    return Groups(number[labels], likeness)


def _how_many(sample: NDArray[np.float32]) -> int:
    """Gives the number of groups that has the largest mean silhouette (Rousseeuw 1987), 1 when nothing parts them."""
    n = len(sample)
    if n < _FEWEST:
        return 1
    distances = 1 - sample @ sample.T
    best, best_score = 1, 0.0
    for k in _numbers(min(MOST_GROUPS, max(2, n // 3))):
        labels, _ = _assign(sample, _k_means(sample, k, 1, _ROUNDS_TO_CHOOSE))
        score = _silhouette(distances, labels)
        if score > best_score:
            best, best_score = k, score
    return best


def _numbers(most: int) -> Iterator[int]:
    """Gives the numbers of groups that are tried: 2, 3, 4 … and then in steps of about an eighth."""
    k = 2
    while k <= most:
        yield k
        k += max(1, k // 8)


def _silhouette(distances: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Gives how much nearer rows are to their own group than to the next, -1..1; alone in a group counts 0."""
    sizes = np.bincount(labels)
    to_groups = distances @ np.eye(len(sizes), dtype=np.float32)[labels]  # sums
    own = (np.arange(len(labels)), labels)
    inside = to_groups[own] / np.maximum(sizes[labels] - 1, 1)
    to_groups /= np.maximum(sizes, 1)
    to_groups[own] = np.inf
    to_groups[:, sizes == 0] = np.inf
    outside = to_groups.min(axis=1)
    if not np.isfinite(outside).all():
        return 0.0
    scores = (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-9)
    return float(np.where(sizes[labels] > 1, scores, 0).mean())


def _k_means(sample: NDArray[np.float32], k: int, starts: int, rounds: int) -> NDArray[np.float32]:
    """Gives k centres of unit length (k, dimensions), the best of several k-means++ starts."""
    best, best_fit = sample[:k], -math.inf
    for start in range(starts):
        centres = _first_centres(sample, k, np.random.default_rng(start))
        labels, likeness = _assign(sample, centres)
        for _ in range(rounds):
            centres = _middles(sample, labels, centres)
            before = labels
            labels, likeness = _assign(sample, centres)
            if (labels == before).all():
                break
        if likeness.sum() > best_fit:
            best, best_fit = centres, float(likeness.sum())
    return best


def _first_centres(sample: NDArray[np.float32], k: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Gives rows far from each other (Arthur and Vassilvitskii 2007)."""
    rows = [int(random.integers(len(sample)))]
    distance = 1 - sample @ sample[rows[0]]
    while len(rows) < k:
        weight = np.clip(distance, 0, None).astype(np.float64)
        weight[rows] = 0
        if not weight.any():  # the rest are equal to rows that are chosen
            weight[:] = 1
            weight[rows] = 0
        rows.append(int(random.choice(len(sample), p=weight / weight.sum())))
        distance = np.minimum(distance, 1 - sample @ sample[rows[-1]])
    return sample[rows]


def _assign(vectors: Vectors, centres: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Gives each row's nearest centre and the cosine to it."""
    labels = np.empty(len(vectors), np.int64)
    likeness = np.empty(len(vectors), np.float32)
    for at in range(0, len(vectors), _CHUNK):
        cosines = vectors[at : at + _CHUNK].astype(np.float32, copy=False) @ centres.T
        labels[at : at + _CHUNK] = cosines.argmax(axis=1)
        likeness[at : at + _CHUNK] = cosines.max(axis=1)
    return labels, likeness


def _middles(vectors: Vectors, labels: NDArray[np.int64], before: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gives the mean direction of each group; one that nothing is in keeps its centre."""
    sums = np.zeros_like(before)
    for at in range(0, len(vectors), _CHUNK):
        members = np.eye(len(before), dtype=np.float32)[labels[at : at + _CHUNK]]
        sums += members.T @ vectors[at : at + _CHUNK].astype(np.float32, copy=False)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), before)


# The space of words


class WordSpace:
    """Texts as vectors without an encoder. ``add`` each, then ``vectors``."""

    def __init__(self) -> None:
        self._columns: list[NDArray[np.uint16]] = []
        self._counts: list[NDArray[np.uint16]] = []

    def __len__(self) -> int:
        return len(self._columns)

    def add(self, text: str) -> bool:
        """Takes a text; tells whether it has a telling word. One that has none is not taken."""
        counts = Counter(column for word in _WORD.findall(text) if (column := _column(word)) is not None)
        if not counts:
            return False
        self._columns.append(np.fromiter(counts.keys(), np.uint16, len(counts)))
        self._counts.append(np.minimum(np.fromiter(counts.values(), np.int64, len(counts)), 1000).astype(np.uint16))
        return True

    def vectors(self) -> NDArray[np.float32]:
        """Gives unit vectors (n, at most DIMENSIONS), in the order of adding."""
        n = len(self)
        chosen = np.arange(n)
        if n > SAMPLE:
            chosen = np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
        weights = self._weights()
        axes = _axes(self._spread(chosen, weights), min(DIMENSIONS, n))
        vectors = np.empty((n, axes.shape[1]), np.float32)
        for row in range(n):
            vectors[row] = self._row(row, weights) @ axes[self._columns[row]]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _weights(self) -> NDArray[np.float32]:
        """Gives each column's inverse document frequency; a word of one text likens it to nothing."""
        held = np.zeros(_COLUMNS, np.int64)
        for columns in self._columns:
            held[columns] += 1
        weights = np.log((1 + len(self)) / (1 + held)).astype(np.float32) + 1
        if len(self) > 3:
            weights[held < 2] *= 0.1
        return weights

    def _row(self, row: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives the tf-idf of a text's columns, of unit length."""
        values: NDArray[np.float32] = (1 + np.log(self._counts[row], dtype=np.float32)) * weights[self._columns[row]]
        return values / max(float(np.linalg.norm(values)), 1e-12)

    def _spread(self, rows: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives rows as unit vectors over all columns."""
        spread = np.zeros((len(rows), _COLUMNS), np.float32)
        for to, row in zip(spread, rows, strict=True):
            to[self._columns[row]] = self._row(row, weights)
        return spread


def _axes(sample: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Gives the first right singular vectors (columns, dimensions), by random projection (Halko 2011)."""
    width = min(dimensions + 8, len(sample))
    q = np.random.default_rng(0).standard_normal((len(sample), width)).astype(np.float32)
    for _ in range(3):
        q, _ = np.linalg.qr(sample.T @ q)
        q = sample @ q
    q, _ = np.linalg.qr(sample.T @ q)
    _, _, rotation = np.linalg.svd(sample @ q, full_matrices=False)
    axes: NDArray[np.float32] = (q @ rotation.T)[:, :dimensions]
    return axes


@lru_cache(maxsize=1 << 17)
def _column(word: str) -> int | None:
    """Gives the column of a word, None for a function word. crc32, for Python's own hash differs by process."""
    return None if is_stop(word) else zlib.crc32(stem(word).encode("utf-8", "replace")) % _COLUMNS


# Labels


def labels(groups: Iterable[Iterable[str]], most: int = LABEL) -> list[tuple[str, ...]]:
    """Gives each group of texts the words that are frequent in it and rare outside, as they are mostly written.

    A word counts by the share of the group's texts that hold it, so that no long text rules, times the logarithm of how
    much greater that is than its share of all texts.
    """
    held = [_Held(texts) for texts in groups]
    everywhere: Counter[str] = Counter()
    for one in held:
        everywhere.update(one.texts)
    return [one.label(everywhere, sum(one.size for one in held), most) for one in held]


class _Held:
    """How many texts of a group hold each stem, and in which forms."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.size = 0
        self.texts: Counter[str] = Counter()
        self.forms: dict[str, Counter[str]] = {}
        for text in texts:
            self.size += 1
            words = Counter(word for word in _WORD.findall(text) if not is_stop(word))
            self.texts.update({stem(word) for word in words})
            for word, n in words.items():
                self.forms.setdefault(stem(word), Counter())[word] += n

    def label(self, everywhere: Counter[str], n_texts: int, most: int) -> tuple[str, ...]:
        least = 2 if self.size > 2 else 1  # a word of one text does not name a group
        scored = []
        for stem_, n in self.texts.items():
            if n >= least:
                share = n / self.size
                more_than_all = math.log(share * n_texts / everywhere[stem_])
                scored.append((-share * more_than_all, -share, -sum(self.forms[stem_].values()), stem_))
        return tuple(self._form(stem_) for *_, stem_ in sorted(scored)[:most])

    def _form(self, stem_: str) -> str:
        """Gives the most frequent form, in small letters unless it is mostly written as a name."""
        forms = self.forms[stem_]
        small: Counter[str] = Counter()
        for word, n in forms.items():
            small[word.lower()] += n
        best = min(small, key=lambda word: (-small[word], len(word), word))
        if 3 * forms[best] > small[best]:
            return best
        return min((w for w in forms if w.lower() == best), key=lambda w: (w.isupper(), -forms[w], w))
