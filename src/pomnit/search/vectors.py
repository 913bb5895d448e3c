"""The leg of vectors: signs are scanned in memory, the nearest are scored from their int8 rows.

One bit per dimension finds who is worth looking at (Hamming distance of 48 bytes at 384 dimensions, the whole memory
in a few milliseconds); the rows give the cosine. Few candidates, as a filter may leave, are scored without scanning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pomnit.store import Store
from pomnit.store.vectors import sign_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 4000  # from so few passages on, all are scored without scanning
RESCORED = 2000  # rows scored after a scan; recall@20 0.96 at a million (docs/LOG.md)
NEAREST = 60
NOISE = 0.2  # cosines below this are those of unrelated texts


class SignCodes:
    """The signs of one space in memory, read again when the vectors have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: tuple[int, int] | None = None
        self._passages = np.empty(0, np.int64)
        self._signs = np.empty((0, 0), np.uint8)

    def get(self, space: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Gives passages (n,) and packed sign bits (n, dimensions / 8)."""
        version = (space, self._store.vectors.version())
        if version != self._held:
            self._passages, self._signs = self._store.vectors.signs(space)
            self._held = version
        return self._passages, self._signs


def nearest(
    store: Store,
    codes: SignCodes,
    space: int,
    query: NDArray[np.float32],
    *,
    allowed: Sequence[int] | None = None,
    banned: Sequence[int] = (),
) -> dict[int, float]:
    """Gives the nearest passages with their cosine to ``query`` (dimensions,), a unit vector.

    ``allowed`` keeps only these passages, ``banned`` keeps these out.
    """
    if allowed is not None and len(allowed) <= EXACT:
        few = np.setdiff1d(np.array(allowed, np.int64), np.array(banned, np.int64))
        return _best(*similarities(store, space, query, few))
    passages, signs = codes.get(space)
    keep = ~np.isin(passages, banned) if len(banned) else np.ones(len(passages), bool)
    if allowed is not None:
        keep &= np.isin(passages, allowed)
    if not keep.all():
        passages, signs = passages[keep], signs[keep]
    if len(passages) > RESCORED:
        distances = hamming(signs, sign_bits(query[None, :])[0])
        passages = passages[np.argpartition(distances, RESCORED)[:RESCORED]]
    return _best(*similarities(store, space, query, passages))


def similarities(
    store: Store, space: int, query: NDArray[np.float32], passages: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Gives those passages that have a vector, and their cosines to ``query``."""
    found, vectors = store.vectors.fetch(space, passages.tolist())
    return found, vectors @ query if len(found) else np.empty(0, np.float32)


def hamming(signs: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Gives the number of differing bits of each row (n, bytes) from ``query`` (bytes,)."""
    wide = np.uint64 if signs.shape[1] % 8 == 0 else np.uint8
    differing = np.bitwise_xor(np.ascontiguousarray(signs).view(wide), query.view(wide))
    distances: NDArray[np.int64] = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    return distances


def _best(passages: NDArray[np.int64], cosines: NDArray[np.float32]) -> dict[int, float]:
    order = np.argsort(-cosines)[:NEAREST]
    return {int(passages[i]): float(cosines[i]) for i in order if cosines[i] >= NOISE}
