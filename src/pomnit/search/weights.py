"""The weights by which sentences are chosen and thin evidence is told, made by ``bench/fit_ask.py``.

They are those of two logistic models over what ``judge`` counts: the chance that a sentence holds the answer, and the
chance that the best one does, given the question was asked of this memory at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

SENTENCE_BIAS = -7.53
SENTENCE_WEIGHTS: Mapping[str, float] = {
    "held": 2.36,
    "around": 0.00,
    "piece": 0.86,
    "pairs": 1.25,
    "names": 0.86,
    "numbers": 0.40,
    "fit": 0.17,
    "lacks": -0.84,
    "near": 1.01,
    "score": 0.51,
    "first": 1.90,
    "words": 0.81,
    "short": -1.27,
    "asks": -2.00,
}
ANSWER_BIAS = -6.97
ANSWER_WEIGHTS: Mapping[str, float] = {
    "chance": 1.04,
    "held": 1.79,
    "together": 1.68,
    "piece": 1.22,
    "names": 1.75,
    "numbers": 0.58,
    "pairs": 1.61,
    "fit": -0.03,
    "score": 2.96,
    "lead": 2.54,
    "words alone": 0.74,
}
THIN = 0.131  # below this chance nothing is answered
LEAST = 0.3  # of the question must stand in the piece of the best sentence: 1 % of the right ones hold less
ALSO = 0.5  # of the chance of the best sentence: those above it are shown beside it


def chance(weights: Mapping[str, float], bias: float, counted: Sequence[float]) -> float:
    """Gives the chance, 0..1, of what was counted in the order of the weights."""
    total = bias + sum(w * x for w, x in zip(weights.values(), counted, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
