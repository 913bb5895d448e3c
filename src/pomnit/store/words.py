"""The index of words: FTS5 without content, over stems that the analyser makes. Rows are passages."""

from __future__ import annotations

from collections.abc import Sequence

from pomnit.store.database import Database, numbers
from pomnit.store.filters import Scope
from pomnit.text.words import ANALYSER, stems

FREQUENT = 500  # passages from which on a stem's frequency is kept
WIDER = 4  # times as many matches are asked about a broad scope before all are
TITLE_WEIGHT = 1.5  # of a word in the title against one in the text, in bm25


class Words:
    """The index of words of one memory."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._frequent: dict[str, int] = {}
        self._counted_at = 0

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
        """Gives in how many passages each stem is; absent when in none.

        Those of frequent stems are kept, for SQLite counts them one by one: tens of milliseconds each at a million
        passages. They are counted again when the memory has grown or shrunk by a twentieth.
        """
        n_passages = self.count()
        if abs(n_passages - self._counted_at) * 20 > self._counted_at:
            self._frequent, self._counted_at = {}, n_passages
        found = {}
        for stem in dict.fromkeys(stems_):
            n = self._frequent.get(stem) or self._db.value("SELECT doc FROM vocabulary WHERE term = ?", (stem,))
            if n:
                found[stem] = n
                if n >= FREQUENT:
                    self._frequent[stem] = n
        return found

    def beginning(self, start: str, limit: int = 2000) -> list[str]:
        """Gives indexed stems that begin with ``start``, at most ``limit``."""
        rows = self._db.rows(
            "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT ?", (start, start + "\U0010ffff", limit)
        )
        return [term for (term,) in rows]

    def count(self) -> int:
        """Gives about how many passages there are: the highest row, which costs no scan."""
        return int(self._db.value("SELECT coalesce(max(id), 0) FROM passage"))

    def gather(self, match: str, limit: int, scope: Scope | None = None) -> list[tuple[int, float]]:
        """Gives passages that match an FTS5 expression, with their bm25 (positive, more is better), best first.

        A broad scope is asked of the best few first; only when it refuses too many of those, of every match.
        """
        if scope is None or limit < 0 or scope.few is not None:
            return self._ranked(match, limit, scope)
        best = self._ranked(match, limit * WIDER, None)
        accepted = set(scope.accept(self._db, (row for row, _ in best)))
        if len(accepted) < limit and len(best) == limit * WIDER:
            return self._ranked(match, limit, scope)
        return [pair for pair in best if pair[0] in accepted][:limit]

    def _ranked(self, match: str, limit: int, scope: Scope | None) -> list[tuple[int, float]]:
        """Gives the best matches in a scope.

        The plus keeps SQLite from running the match again for each listed row, and CROSS JOIN from beginning with the
        items: both would take minutes in a large memory.
        """
        where, joined, values = "", "", {"match_": match, "limit_": limit, "weight_": TITLE_WEIGHT}
        if scope and scope.few is not None:
            where, values = "AND +words.rowid IN carray(:few_)", values | {"few_": numbers(scope.few)}
        elif scope:
            joined = "CROSS JOIN passage ON passage.id = words.rowid CROSS JOIN item ON item.id = passage.item"
            where, values = f"AND {scope.condition.sql}", values | scope.condition.values
        rows = self._db.rows(
            f"""SELECT words.rowid, bm25(words, 1.0, :weight_) AS score FROM words {joined}
                WHERE words MATCH :match_ {where} ORDER BY score LIMIT :limit_""",  # noqa: S608
            values,
        )
        return [(row, -score) for row, score in rows]

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
