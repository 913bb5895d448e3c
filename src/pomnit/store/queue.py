"""What is still to be done, stage by stage, durably. A task goes away in the transaction that stores its result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pomnit.store.database import Database


@dataclass(frozen=True, slots=True)
class Task:
    """One item that waits for one stage."""

    stage: str
    item: int  # row
    handed_in: int


class Queue:
    """The tasks of one memory. The newest ``add`` is worked on first, each in its own order."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def next_number(self) -> int:
        """Gives the number of a new add."""
        return 1 + int(self._db.value("SELECT coalesce(max(handed_in), 0) FROM task"))

    def put(self, stage: str, item: int, handed_in: int) -> None:
        """Adds a task, or makes a failed one wait again."""
        self._db.write(
            """INSERT INTO task VALUES (?, ?, ?, NULL)
               ON CONFLICT DO UPDATE SET failed = NULL, handed_in = excluded.handed_in""",
            (stage, item, handed_in),
        )

    def next(self, stages: Sequence[str], limit: int, *, but: Iterable[int] = ()) -> list[Task]:
        """Gives up to ``limit`` waiting tasks of the first of ``stages`` that has any, without the items in ``but``."""
        skipped = set(but)
        for stage in stages:
            rows = self._db.rows(
                """SELECT item, handed_in FROM task WHERE stage = ? AND failed IS NULL
                   ORDER BY handed_in DESC, item LIMIT ?""",
                (stage, limit + len(skipped)),
            )
            tasks = [Task(stage, item, number) for item, number in rows if item not in skipped]
            if tasks:
                return tasks[:limit]
        return []

    def done(self, task: Task) -> bool:
        """Takes a task away; False when it was gone already (its item forgotten meanwhile)."""
        return self._db.write("DELETE FROM task WHERE stage = ? AND item = ?", (task.stage, task.item)) > 0

    def fail(self, task: Task, reason: str) -> bool:
        """Marks a task failed; it is tried again on demand only. False when its item was forgotten meanwhile."""
        return (
            self._db.write("UPDATE task SET failed = ? WHERE stage = ? AND item = ?", (reason, task.stage, task.item))
            > 0
        )

    def retry(self) -> list[int]:
        """Makes all failed tasks wait again; gives their items."""
        items = [i for (i,) in self._db.rows("SELECT DISTINCT item FROM task WHERE failed IS NOT NULL")]
        self._db.write("UPDATE task SET failed = NULL WHERE failed IS NOT NULL")
        return items

    def waiting(self) -> dict[str, int]:
        """Gives the number of waiting tasks by stage."""
        return dict(self._db.rows("SELECT stage, count(*) FROM task WHERE failed IS NULL GROUP BY stage"))

    def waits_in(self, stages: Iterable[str]) -> bool:
        """Tells whether a task of one of these stages waits."""
        return not set(stages).isdisjoint(self.waiting())

    def stages_of(self, item: int) -> dict[str, str | None]:
        """Gives the stages an item still has to pass, with the reason where one failed."""
        return dict(self._db.rows("SELECT stage, failed FROM task WHERE item = ?", (item,)))

    def failed(self, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Gives item, stage and reason of failed tasks."""
        return self._db.rows(
            "SELECT item, stage, failed FROM task WHERE failed IS NOT NULL ORDER BY item LIMIT ?", (limit,)
        )

    def n_failed(self) -> int:
        """Gives the number of failed tasks."""
        return int(self._db.value("SELECT count(*) FROM task WHERE failed IS NOT NULL"))
