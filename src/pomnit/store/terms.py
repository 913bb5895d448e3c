"""Weighed terms: which tokens of a passage tell something, and how much, as a sparse encoder says.

Two tables. ``term`` holds the weights of each passage, to score by: one number of 32 bits for each token, the token's
number and then a weight of 8 bits, times the passage's scale. ``term_index`` is FTS5 without content or positions, to
find which passages hold a token: its words are a space and a token's number. Rows are ``space << 40 | passage``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pomnit.store.database import Database, numbers
from pomnit.store.filters import Scope
from pomnit.store.vectors import SPACE_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Terms = Mapping[int, float]
"""The weight, above 0, of each token of a text, by the token's number."""

MOST = 512  # tokens of a passage, the heaviest; about 250 stand in one
GATHERING = 32  # tokens of a question that may gather, the heaviest
FREQUENT = 10_000  # passages that hold a token from which on it only scores, when rarer ones are there
_TOKEN_BITS, _WEIGHT_BITS = 24, 8
_HEAVIEST = (1 << _WEIGHT_BITS) - 1
_LIGHTEST = 1e-9


class TermWeights:
    """All weighed terms of one memory."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, space: int, passages: Sequence[int], terms: Sequence[Terms]) -> None:
        """Stores the terms of passages, in place of those they had in this space."""
        for passage, weights in zip(passages, terms, strict=True):
            row = _row(space, passage)
            codes, scale = _packed(weights)
            self._db.write("INSERT OR REPLACE INTO term VALUES (?, ?, ?)", (row, scale, codes.tobytes()))
            held = " ".join(_word(space, token) for token in (codes >> _WEIGHT_BITS).tolist())
            self._db.write("INSERT OR REPLACE INTO term_index (rowid, tokens) VALUES (?, ?)", (row, held))

    def remove(self, passages: Sequence[int]) -> int:
        """Takes the terms of passages out of every space; gives how many had any.

        Their tokens stay in the index's segments until ``purge``.
        """
        removed = 0
        for (space,) in self._db.rows("SELECT id FROM space"):
            for passage in passages:
                row = _row(space, passage)
                if self._db.write("DELETE FROM term WHERE id = ?", (row,)):
                    self._db.write("DELETE FROM term_index WHERE rowid = ?", (row,))
                    removed += 1
        return removed

    def drop(self, space: int) -> int:
        """Takes all terms of a space away for good; gives how many passages had any."""
        low, high = _row(space, 0), _row(space + 1, 0) - 1
        rows = self._db.rows("SELECT id FROM term WHERE id BETWEEN ? AND ?", (low, high))
        if not rows:
            return 0
        self._db.write("DELETE FROM term WHERE id BETWEEN ? AND ?", (low, high))
        if self._db.value("SELECT 1 FROM term LIMIT 1"):
            for (row,) in rows:
                self._db.write("DELETE FROM term_index WHERE rowid = ?", (row,))
            self.purge()
        else:
            self._db.write("INSERT INTO term_index (term_index) VALUES ('delete-all')")
        return len(rows)

    def purge(self) -> None:
        """Writes the index anew without what was removed, so that no token of it is left anywhere."""
        self._db.write("INSERT INTO term_index (term_index) VALUES ('optimize')")

    def count(self, space: int) -> int:
        """Gives the number of passages of a space that have terms."""
        low, high = _row(space, 0), _row(space + 1, 0) - 1
        return int(self._db.value("SELECT count(*) FROM term WHERE id BETWEEN ? AND ?", (low, high)))

    def gather(self, space: int, terms: Terms, limit: int, scope: Scope | None = None) -> list[int]:
        """Gives passages that hold a token of ``terms`` and are in the scope, those with the greatest sum of these
        tokens' weights first, at most ``limit``.

        Very frequent tokens do not gather when rarer ones are there; when not, only the newest that hold one are seen.
        """
        if scope is not None and scope.few is not None and len(scope.few) <= limit:
            return scope.few
        weights, held = [], []
        for token, passages in self._holding(space, terms):
            held.append(passages)
            weights.append(np.full(len(passages), terms[token]))
        if not held:
            return []
        passages, places = np.unique(np.concatenate(held), return_inverse=True)
        sums = np.bincount(places, np.concatenate(weights))
        if scope is not None and scope.few is not None:
            wanted = np.isin(passages, scope.few)
            passages, sums = passages[wanted], sums[wanted]
        best: list[int] = passages[np.lexsort((-passages, -sums))].tolist()
        if scope is None or scope.few is not None:
            return best[:limit]
        return _accepted(self._db, best, limit, scope)

    def score(self, space: int, passages: Sequence[int], terms: Terms) -> dict[int, float]:
        """Gives the product of ``terms`` with the weights of each of ``passages`` that has any."""
        low = _row(space, 0)
        rows = self._db.rows(
            "SELECT id, scale, codes FROM term WHERE id IN carray(?)", (numbers(low + p for p in passages),)
        )
        if not rows or not terms:
            return {row - low: 0.0 for row, _, _ in rows}
        codes = np.frombuffer(b"".join(blob for _, _, blob in rows), np.uint32)
        of = np.repeat(np.arange(len(rows)), [len(blob) // codes.itemsize for _, _, blob in rows])
        asked = np.array(sorted(terms))
        tokens = codes >> _WEIGHT_BITS
        at = np.minimum(np.searchsorted(asked, tokens), len(asked) - 1)
        there = asked[at] == tokens
        products = np.array([terms[int(token)] for token in asked])[at[there]] * (codes[there] & _HEAVIEST)
        sums = np.bincount(of[there], products, minlength=len(rows))
        return {row - low: float(total * scale) for (row, scale, _), total in zip(rows, sums, strict=True)}

    def _holding(self, space: int, terms: Terms) -> Iterable[tuple[int, NDArray[np.int64]]]:
        """Gives tokens with the passages that hold them: the rarest token, and more while they are rare enough."""
        low = _row(space, 0)
        heaviest = sorted(terms, key=lambda token: -terms[token])[:GATHERING]
        frequencies = {token: self._frequency(_word(space, token)) for token in heaviest}
        read = 0
        for token in sorted((t for t in heaviest if frequencies[t]), key=lambda t: frequencies[t]):
            if read and read + frequencies[token] > FREQUENT:
                return
            read += frequencies[token]
            rows = self._db.rows(
                "SELECT rowid FROM term_index WHERE term_index MATCH ? ORDER BY rowid DESC LIMIT ?",
                (f'"{_word(space, token)}"', FREQUENT),
            )
            yield token, np.array([row - low for (row,) in rows], np.int64)

    def _frequency(self, word: str) -> int:
        """Gives how many passages hold a token; of very frequent ones only that they are."""
        return int(
            self._db.value(
                "SELECT count(*) FROM (SELECT 1 FROM term_index WHERE term_index MATCH ? LIMIT ?)",
                (f'"{word}"', FREQUENT + 1),
            )
        )


def _accepted(db: Database, passages: list[int], limit: int, scope: Scope) -> list[int]:
    """Gives the first ``limit`` passages that are in a broad scope, in their order."""
    accepted: list[int] = []
    for at in range(0, len(passages), 2 * limit):
        part = passages[at : at + 2 * limit]
        inside = set(scope.accept(db, part))
        accepted += [passage for passage in part if passage in inside]
        if len(accepted) >= limit:
            break
    return accepted[:limit]


def _row(space: int, passage: int) -> int:
    return (space << SPACE_BITS) + int(passage)


def _word(space: int, token: int) -> str:
    return f"{space}t{token}"


def _packed(terms: Terms) -> tuple[NDArray[np.uint32], float]:
    """Gives the heaviest of some terms as codes (n,), by token, and what their weights are multiples of."""
    if any(not 0 <= token < 1 << _TOKEN_BITS or not math.isfinite(weight) for token, weight in terms.items()):
        raise ValueError(f"terms need tokens of {_TOKEN_BITS} bits and finite weights")
    telling = [token for token, weight in terms.items() if weight > 0]
    tokens = sorted(sorted(telling, key=lambda token: (-terms[token], token))[:MOST])
    weights = np.array([terms[token] for token in tokens], np.float64)
    scale = max(float(weights.max(initial=0.0)) / _HEAVIEST, _LIGHTEST)
    # A weight that is too small for 8 bits still says that the token is there.
    steps = np.maximum(np.rint(weights / scale), 1).astype(np.uint32)
    return (np.array(tokens, np.uint32) << np.uint32(_WEIGHT_BITS)) | steps, scale
