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
    reached: float | None = None  # seconds of a recording that are done; None before it was listened to


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
            """INSERT INTO task (stage, item, handed_in) VALUES (?, ?, ?)
               ON CONFLICT DO UPDATE SET failed = NULL, handed_in = excluded.handed_in""",
            (stage, item, handed_in),
        )

    def next(self, stages: Sequence[str], limit: int, *, but: Iterable[int] = ()) -> list[Task]:
        """Gives up to ``limit`` waiting tasks of the first of ``stages`` that has any, without the items in ``but``."""
        skipped = set(but)
        for stage in stages:
            rows = self._db.rows(
                """SELECT item, handed_in, reached FROM task WHERE stage = ? AND failed IS NULL
                   ORDER BY handed_in DESC, item LIMIT ?""",
                (stage, limit + len(skipped)),
            )
            tasks = [Task(stage, item, number, reached) for item, number, reached in rows if item not in skipped]
            if tasks:
                return tasks[:limit]
        return []

    def reach(self, task: Task, seconds: float) -> bool:
        """Notes how much of a recording is done; False when the task is gone (its item forgotten meanwhile)."""
        values = (seconds, task.stage, task.item)
        return self._db.write("UPDATE task SET reached = ? WHERE stage = ? AND item = ?", values) > 0

    def done(self, task: Task) -> bool:
        """Takes a task away; False when it was gone already (its item forgotten meanwhile)."""
        return self._db.write("DELETE FROM task WHERE stage = ? AND item = ?", (task.stage, task.item)) > 0

    def fail(self, task: Task, reason: str) -> bool:
        """Marks a task failed; it is tried again on demand only. False when its item was forgotten meanwhile."""
        return (
            self._db.write("UPDATE task SET failed = ? WHERE stage = ? AND item = ?", (reason, task.stage, task.item))
            > 0
        )

    def drop(self, stage: str) -> None:
        """Takes the waiting tasks of a stage away, but those of number 0: a person asked for them."""
        self._db.write("DELETE FROM task WHERE stage = ? AND failed IS NULL AND handed_in > 0", (stage,))

    def retry(self) -> list[int]:
        """Makes all failed tasks wait again; gives their items."""
        items = [i for (i,) in self._db.rows("SELECT DISTINCT item FROM task WHERE failed IS NOT NULL")]
        self._db.write("UPDATE task SET failed = NULL WHERE failed IS NOT NULL")
        return items

    def waiting(self) -> dict[str, int]:
        """Gives the number of waiting tasks by stage."""
        return dict(self._db.rows("SELECT stage, count(*) FROM task WHERE failed IS NULL GROUP BY stage"))

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
