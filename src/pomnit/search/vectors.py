"""The leg of vectors: signs are scanned in memory, the nearest are scored from their int8 rows.

One bit per dimension finds who is worth looking at (Hamming distance of 48 bytes at 384 dimensions, the whole memory
in a few milliseconds); the rows give the cosine. Few candidates, as a filter may leave, are scored without scanning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomnit.store import Store
from pomnit.store.filters import Scope
from pomnit.store.vectors import Signs, sign_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 4000  # from so few passages on, all are scored without scanning
RESCORED = 1000  # rows scored after a scan, at least,
SCORED_PER = 500  # and one of so many (docs/LOG.md)
WIDER = 2  # times as many are asked for when a broad filter will refuse some
CACHED = 16_384  # rows of 48 bytes
NEAREST = 30
NOISE = 0.1875  # of the range of the card's cosines: those below it are of unrelated texts


def noise(cosines: tuple[float, float]) -> float:
    """Gives the cosine below which texts are unrelated; ``cosines`` are the card's."""
    low, high = cosines
    return low + NOISE * (high - low)


class SignCodes:
    """The signs of one space in memory. After a change only the blocks that changed are read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: tuple[int, int] | None = None
        self._blocks: dict[int, tuple[int, Signs]] = {}  # number -> version, signs
        self._all: Signs = (np.empty(0, np.int64), np.empty((0, 0), np.uint8))

    def get(self, space: int) -> Signs:
        """Gives passages (n,) and packed sign bits (n, dimensions / 8)."""
        vectors = self._store.vectors
        held = (space, vectors.version(space))
        if held != self._held:
            if self._held is None or self._held[0] != space:
                self._blocks = {}
            kept = self._blocks
            self._blocks = {
                number: kept[number]
                if number in kept and kept[number][0] == version
                else (version, vectors.block(space, number))
                for number, version in vectors.blocks(space).items()
            }
            parts = [signs for _, signs in self._blocks.values()] + [vectors.newest_block(space)]
            self._all = _join([part for part in parts if len(part[0])] or parts[-1:])
            self._held = held
        return self._all


def _join(parts: list[Signs]) -> Signs:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([signs for _, signs in parts])


def nearest(
    store: Store,
    codes: SignCodes,
    space: int,
    query: NDArray[np.float32],
    scope: Scope | None = None,
    *,
    least: float = -1.0,
) -> dict[int, float]:
    """Gives the nearest passages in the scope with their cosine, ``least`` or more, to ``query`` (dimensions,), a unit
    vector.
    """
    few = None if scope is None or scope.few is None else np.array(sorted(scope.few), np.int64)
    if few is not None and len(few) <= EXACT:
        return _best(*store.vectors.cosines(space, few.tolist(), query), least)
    passages, signs = codes.get(space)
    if few is not None:  # both are in order
        at = np.minimum(np.searchsorted(passages, few), max(len(passages) - 1, 0))
        at = at[passages[at] == few] if len(passages) else at[:0]
        passages, signs = passages[at], signs[at]
    asked_for = scope is not None and few is None  # whether a passage is in the scope is asked of the nearest only
    rescored = max(RESCORED, len(passages) // SCORED_PER)
    wide = rescored * WIDER if asked_for else rescored
    if len(passages) > wide:
        distances = hamming(signs, sign_bits(query[None, :])[0])
        reach = int(np.searchsorted(np.cumsum(np.bincount(distances)), wide))  # how far the nearest so many lie
        near = np.flatnonzero(distances <= reach)
        passages = passages[near[np.argsort(distances[near], kind="stable")][:wide]]
    if scope is not None and asked_for:
        passages = passages[np.isin(passages, scope.accept(store.database, passages.tolist()))][:rescored]
    return _best(*store.vectors.cosines(space, passages.tolist(), query), least)


def hamming(signs: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Gives the number of differing bits of each row (n, bytes) from ``query`` (bytes,).

    Some thousand rows at a time, which stay in the processor's cache, and a column of 64 bits at a time: 4 times as
    fast as all at once.
    """
    wide = np.uint64 if signs.shape[1] % 8 == 0 else np.uint8
    rows, asked = np.ascontiguousarray(signs).view(wide), query.view(wide)
    distances = np.zeros(len(rows), np.uint16)
    for first in range(0, len(rows), CACHED):
        part, sums = rows[first : first + CACHED], distances[first : first + CACHED]
        for column, bits in enumerate(asked):
            sums += np.bitwise_count(part[:, column] ^ bits)
    return distances


def _best(passages: NDArray[np.int64], cosines: NDArray[np.float32], least: float) -> dict[int, float]:
    order = np.argsort(-cosines)[:NEAREST]
    return {int(passages[i]): float(cosines[i]) for i in order if cosines[i] >= least}
