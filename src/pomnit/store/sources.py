"""Sources of files: which items were seen at which paths, and that nothing is there any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pomnit.store.database import Database
from pomnit.text.times import now

_PAGE = 1000


class Sources:
    """The paths of one memory's items, by their URIs. Only those count that were not gone when last looked at."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def at(self, uris: Iterable[str]) -> dict[str, int]:
        """Gives the items that lie at these URIs."""
        found = {}
        for uri in uris:
            item = self._db.value("SELECT item FROM source WHERE uri = ? AND kind = 'file' AND NOT gone", (uri,))
            if item is not None:
                found[uri] = int(item)
        return found

    def below(self, uri: str) -> Iterator[tuple[str, int]]:
        """Gives URI and item of all that lies at a URI or below it, in the order of the URIs."""
        last = ""
        while True:
            # "0" is the character after "/", so this is a range of the index on uri.
            rows = self._db.rows(
                """SELECT uri, item FROM source WHERE uri > :last AND NOT gone AND kind = 'file'
                       AND (uri = :uri OR uri > :uri || '/' AND uri < :uri || '0')
                   ORDER BY uri LIMIT :page""",
                {"uri": uri, "last": last, "page": _PAGE},
            )
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def mark_gone(self, uris: Sequence[str]) -> None:
        """Notes that what lay there does not any more. The items stay; in a transaction of the caller."""
        at = now()
        for uri in uris:
            self._db.write(
                "UPDATE source SET gone = 1, last_seen = ? WHERE uri = ? AND kind = 'file' AND NOT gone", (at, uri)
            )
