"""One score from several legs, by competence: a leg counts only where it knows the language.

A convex combination of scores with fixed bounds (Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval"): unlike ranks, they say how much better one hit is. The weights come from ``bench/fit_fusion.py``,
but for those of the terms, which are their authors' own (``terms_share``).
"""

from __future__ import annotations

from pomnit.records import Lang

VECTOR_SHARE = 0.45  # of a competent vector leg in the fused score
UNKNOWN = 0.3  # the vector score of a passage whose language the encoder does not know, when the leg ran
SAME_LANGUAGE = 0.04  # added when passage and question are in one language: a question in Russian wants Russian first
TERMS_WEIGHT = 0.3  # of a product of terms beside a cosine; see terms_share


def vector_score(cosine: float, cosines: tuple[float, float]) -> float:
    """Gives a cosine as a score, 0..1; ``cosines`` are those that count as nothing and as everything (the card's)."""
    low, high = cosines
    return min(1.0, max(0.0, (cosine - low) / (high - low)))


def terms_share(own: float, cosines: tuple[float, float]) -> float:
    """Gives the share of the terms beside the vectors of the same encoder, 0..1.

    The authors of BGE-M3 (Chen et al. 2024, arXiv:2402.03216) rank by ``cosine + 0.3 * product`` of the raw scores.
    So that the order stays theirs when both are brought to 0..1, each weighs as much as its range is wide: that of the
    cosine is the card's, that of the product ends at ``own``, the question's with itself. Not fitted here.
    """
    most = TERMS_WEIGHT * own
    return most / (most + cosines[1] - cosines[0])


def fuse(words: float, vectors: float | None, *, ran: bool, passage: Lang, question: Lang) -> float:
    """Gives the score of a passage, 0..1.

    ``ran`` tells whether the leg of vectors took part in this search. Where it did, a passage without a vector
    (``vectors`` is None) is given a middling one, for else knowing less of a passage would rank it higher.
    """
    if ran:
        words = (1 - VECTOR_SHARE) * words + VECTOR_SHARE * (min(words, UNKNOWN) if vectors is None else vectors)
    same = SAME_LANGUAGE if passage == question else 0.0
    return (words + same) / (1 + SAME_LANGUAGE)
