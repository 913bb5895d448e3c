"""One score from two legs, by competence: a leg counts only where it knows the language.

A convex combination of scores with fixed bounds (Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval"): unlike ranks, they say how much better one hit is. The weights come from ``bench/fit_fusion.py``.
"""

from __future__ import annotations

from pomnit.records import Lang

VECTOR_SHARE = 0.45  # of a competent vector leg in the fused score
COSINE_LOW, COSINE_HIGH = 0.05, 0.85  # the cosines that count as nothing and as everything
UNKNOWN = 0.3  # the vector score of a passage whose language the encoder does not know, when the leg ran
SAME_LANGUAGE = 0.04  # added when passage and question are in one language: a question in Russian wants Russian first


def vector_score(cosine: float) -> float:
    """Gives a cosine as a score, 0..1."""
    return min(1.0, max(0.0, (cosine - COSINE_LOW) / (COSINE_HIGH - COSINE_LOW)))


def fuse(words: float, vectors: float | None, *, ran: bool, passage: Lang, question: Lang) -> float:
    """Gives the score of a passage, 0..1.

    ``ran`` tells whether the leg of vectors took part in this search. Where it did, a passage without a vector
    (``vectors`` is None) is given a middling one, for else knowing less of a passage would rank it higher.
    """
    if ran:
        words = (1 - VECTOR_SHARE) * words + VECTOR_SHARE * (min(words, UNKNOWN) if vectors is None else vectors)
    same = SAME_LANGUAGE if passage == question else 0.0
    return (words + same) / (1 + SAME_LANGUAGE)
