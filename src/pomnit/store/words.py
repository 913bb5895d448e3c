"""The index of words: FTS5 without content, over stems that the analyser makes. Rows are passages."""

from __future__ import annotations

from collections.abc import Sequence

from pomnit.store.database import Database
from pomnit.store.filters import SUPERSEDED, Condition
from pomnit.text.words import ANALYSER, stems

TITLE_WEIGHT = 1.5  # of a word in the title against one in the text, in bm25


class Words:
    """The index of words of one memory."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, passage: int, text: str, title: str) -> None:
        """Indexes a passage; ``title`` only with the first one of its item, so that it does not count many times."""
        self._db.write("INSERT INTO words (rowid, stems, title) VALUES (?, ?, ?)", (passage, _join(text), _join(title)))

    def remove(self, passages: Sequence[int]) -> None:
        """Takes passages out. Their stems stay in the index's segments until ``purge``."""
        for passage in passages:
            self._db.write("DELETE FROM words WHERE rowid = ?", (passage,))

    def purge(self) -> None:
        """Writes the index anew without what was removed, so that no stem of it is left anywhere."""
        self._db.write("INSERT INTO words (words) VALUES ('optimize')")

    def frequencies(self, stems_: Sequence[str]) -> dict[str, int]:
        """Gives in how many passages each stem is; absent when in none."""
        return {
            term: n
            for stem in dict.fromkeys(stems_)
            for term, n in self._db.rows("SELECT term, doc FROM vocabulary WHERE term = ?", (stem,))
        }

    def beginning(self, start: str, limit: int = 2000) -> list[str]:
        """Gives indexed stems that begin with ``start``, at most ``limit``."""
        rows = self._db.rows(
            "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT ?", (start, start + "\U0010ffff", limit)
        )
        return [term for (term,) in rows]

    def count(self) -> int:
        """Gives about how many passages there are: the highest row, which costs no scan."""
        return int(self._db.value("SELECT coalesce(max(id), 0) FROM passage"))

    def gather(
        self, match: str, limit: int, condition: Condition | None = None, *, superseded: bool = False
    ) -> list[tuple[int, float]]:
        """Gives passages that match an FTS5 expression, with their bm25 (positive, more is better), best first.

        The plus keeps SQLite from running the match again for each row of the inner query.
        """
        where, values = "", {}
        if condition:
            where += f" AND +rowid IN ({condition.passages})"
            values = dict(condition.values)
        if not superseded:
            where += f" AND +rowid NOT IN ({SUPERSEDED})"
        values |= {"match_": match, "limit_": limit, "weight_": TITLE_WEIGHT}
        return [
            (row, -score)
            for row, score in self._db.rows(
                f"""SELECT rowid, bm25(words, 1.0, :weight_) AS score FROM words WHERE words MATCH :match_ {where}
                    ORDER BY score LIMIT :limit_""",  # noqa: S608
                values,
            )
        ]

    def rebuild_if_stale(self) -> bool:
        """Indexes everything again when another analyser made the index; tells whether it did."""
        made_by = self._db.value("SELECT value FROM meta WHERE key = 'analyser'")
        if made_by == ANALYSER:
            return False
        with self._db.transaction():
            self.rebuild()
        return made_by is not None

    def rebuild(self) -> None:
        """Indexes everything again, from the passages."""
        self._db.write("INSERT INTO words (words) VALUES ('delete-all')")
        last = 0
        while rows := self._db.rows(
            """SELECT passage.id, text, iif(ordinal = 0, title, '') FROM passage JOIN item ON item.id = passage.item
               WHERE passage.id > ? ORDER BY passage.id LIMIT 1000""",
            (last,),
        ):
            for passage, text, title in rows:
                self.add(passage, text, title)
            last = rows[-1][0]
        self._db.write("INSERT OR REPLACE INTO meta VALUES ('analyser', ?)", (ANALYSER,))


def _join(text: str) -> str:
    return " ".join(stems(text))
