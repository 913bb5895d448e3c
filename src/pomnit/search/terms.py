"""The leg of terms: the tokens that a sparse encoder (BGE-M3) weighs in question and passage, and their product.

Its score is the product divided by that of the question with itself: 1 for a passage that weighs the question's tokens
as the question does. That bound is the question's alone, so any passage can be scored, whoever found it. For the two
pairs whose weights the authors publish, both of a question and its answer, it gives 0.99 and 0.89; divided by the sum
of the question's weights they would get 0.19 and 0.20, and the scale of the weights would stay in the score.
"""

from __future__ import annotations

from collections.abc import Sequence

from pomnit.store import Store
from pomnit.store.filters import Scope
from pomnit.store.terms import Terms

GATHER = 30  # passages that are found
SCORED = 500  # of those that hold a telling token, so many are scored to find them


class TermsLeg:
    """Gathering and scoring for one question in one space."""

    def __init__(self, store: Store, space: int, terms: Terms) -> None:
        self._store, self._space, self._terms = store, space, terms
        self.own = sum(weight * weight for weight in terms.values())

    def gather(self, scope: Scope | None) -> list[int]:
        """Gives the passages of the greatest scores, best first."""
        scores = self.scores(self._store.terms.gather(self._space, self._terms, SCORED, scope))
        best = sorted((row for row in scores if scores[row]), key=lambda row: (-scores[row], -row))
        return best[:GATHER]

    def scores(self, passages: Sequence[int]) -> dict[int, float]:
        """Gives the score, 0..1, of each of ``passages`` that this space knows."""
        if not self.own:
            return {}
        products = self._store.terms.score(self._space, passages, self._terms)
        return {row: min(1.0, product / self.own) for row, product in products.items()}
