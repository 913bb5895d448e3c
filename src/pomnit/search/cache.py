"""Results of equal queries, kept until anything is remembered or forgotten, in whatever process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from pomnit.records import SearchResult

MOST = 64


class ResultCache:
    """The last results. Each holds for one generation of the memory only."""

    def __init__(self) -> None:
        self._results: OrderedDict[Hashable, tuple[int, SearchResult]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, generation: int) -> SearchResult | None:
        """Gives the result of an equal query in the same generation."""
        with self._lock:
            kept = self._results.get(key)
            if kept is None or kept[0] != generation:
                return None
            self._results.move_to_end(key)
            return kept[1]

    def put(self, key: Hashable, generation: int, result: SearchResult) -> None:
        """Keeps a result; ``generation`` is what was read before the search began."""
        with self._lock:
            self._results[key] = generation, result
            self._results.move_to_end(key)
            if len(self._results) > MOST:
                self._results.popitem(last=False)
