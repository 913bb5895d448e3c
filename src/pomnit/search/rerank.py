"""Reranking: the best passages are read once more together with the question, as many as a deadline allows.

A reranker judges better than the fused score, but one pair costs it milliseconds to seconds. So it reads passages in
their fused order, a few at a time, and stops in time; what it has read is put in its order, the rest stays. It is a
weaker matcher of exact words than BM25 (Rau and Kamps 2022, "How Different are Pre-trained Transformers for Text
Ranking?"), and mixing the two scores linearly does not help it (Askari et al. 2023, "Injecting the BM25 Score as Text
Improves BERT-Based Re-rankers"). So its order counts alone, but what holds the question word for word stays in front.
None of this is fitted to our data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pomnit.engines.protocols import Reranker
from pomnit.errors import Stopped
from pomnit.models.cards import RerankerCard
from pomnit.search.query import Understood
from pomnit.search.words import contains

OF_AN_ITEM = 2  # passages that may speak for it
TOGETHER = 8  # pairs of a step, at most,
STEP_S = 0.1  # which takes about so long, if a pair does not take longer: between two steps a search can be stopped


@dataclass(frozen=True, slots=True)
class Reranking:
    """Which reranker reads the best passages, and how long."""

    card: RerankerCard
    most: int = 30  # passages
    deadline_s: float | None = 0.4  # from the first pair on, the loading not counted

    @classmethod
    def on_demand(cls, card: RerankerCard) -> Reranking:
        """Gives what is done when a reranker was asked for by name: it may be large, and takes its time."""
        return cls(card, most=20, deadline_s=None)


def scores(
    reranker: Reranker,
    question: str,
    texts: Sequence[str],
    *,
    deadline_s: float | None,
    at_once: int = 1,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[float]:
    """Gives the scores, 0..1, of the first of ``texts``: of all, or of those that could be read until the deadline.

    ``at_once`` is how many pairs the reranker reads in the time of one. The deadline is overrun by at most one pair,
    as long as a text is not read more than twice as slowly as the texts before it. ``tell`` hears after each step how
    many are done.

    Raises:
        EngineError: the reranker failed.
        Stopped: ``stop`` said True.
    """
    found: list[float] = []
    for count in _steps([max(1, len(text)) for text in texts], deadline_s, at_once, clock):
        if stop():
            raise Stopped("the search was stopped before it was done")
        found += reranker.score(question, texts[len(found) : len(found) + count]).tolist()
        tell(len(found))
    return found


def _steps(lengths: Sequence[int], deadline_s: float | None, at_once: int, clock: Callable[[], float]) -> Iterator[int]:
    """Gives how many texts to read next, as long as there is time.

    The first ones say how long a character takes. A step takes half of the time that is left, so that the last steps
    before the deadline are as small as they can be without leaving processors idle.
    """
    done, began, pace = 0, clock(), math.inf  # seconds per character
    now = began
    while done < len(lengths):
        left = math.inf if deadline_s is None else began + deadline_s - now
        if left <= 0:
            return
        rest = lengths[done:]
        count = at_once
        while count < TOGETHER and (count + 1) * max(rest[: count + 1]) * pace <= min(left / 2, STEP_S):
            count += 1
        count = min(count, len(rest))
        yield count
        before, now = now, clock()
        pace = (now - before) / (count * max(rest[:count]))
        done += count


def order(query: Understood, texts: Sequence[str], found: Sequence[float]) -> list[int]:
    """Gives the order of texts that were scored, as indexes: the best first, those that hold the question word for
    word before all others; of equal ones the first.
    """
    exact = [_holds(query, text) for text in texts]
    return sorted(range(len(found)), key=lambda i: (not exact[i], -found[i], i))


def _holds(query: Understood, text: str) -> bool:
    """Tells whether the words of a question stand in a text as they were typed; a single plain word says too little."""
    telling = len(query.words) > 1 or any(c.isdigit() for c in query.text)
    return telling and contains(text, (query.text,))
