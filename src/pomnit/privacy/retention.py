"""What goes by the rules of retention, and in what order. Pure: it looks at ages and sizes, and removes nothing.

By its age an item goes whole. By the quota what is dearest in bytes and cheapest to lose goes first: kept bytes of the
oldest items, then their previews, and only then whole items with their text. Bytes that are still to be read stay as
long as their item does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from pomnit.settings import Settings
from pomnit.text.times import utc

KINDS = ("screen", "image", "document", "audio", "note")
What = Literal["kept", "preview", "item"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in force."""

    days: dict[str, int] = field(default_factory=dict)  # kind -> after how many days it goes
    quota: int | None = None  # bytes

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Gives the rules of the settings."""
        days = {kind: getattr(settings, f"retention_{kind}") for kind in KINDS}
        return cls({kind: n for kind, n in days.items() if n is not None}, settings.retention_quota)

    def __bool__(self) -> bool:
        """Whether anything ever goes."""
        return bool(self.days) or self.quota is not None

    def cutoffs(self, now: datetime) -> dict[str, str]:
        """Gives for each kind that has a rule the time, as records write it, before which it goes."""
        return {kind: _ago(now, days) for kind, days in self.days.items()}


@dataclass(frozen=True, slots=True)
class Held:
    """An item as retention sees it."""

    row: int
    kind: str  # of KINDS
    since: str  # from when its age counts, as records write times
    kept: int = 0  # bytes of its kept original
    preview: int = 0
    text: int = 0  # bytes of its rows in the database: text, words, vectors
    unread: bool = False  # what is still to be read needs its bytes

    @property
    def size(self) -> int:
        """All its bytes."""
        return self.kept + self.preview + self.text


@dataclass(frozen=True, slots=True)
class Step:
    """Something that goes: the kept bytes or the preview of an item, or all of it."""

    row: int
    what: What
    rule: str  # the kind whose age it is over, or "quota"
    size: int  # bytes, about
    since: str


def expired(items: Iterable[Held], rules: Rules, now: datetime) -> list[Step]:
    """Gives the items that are over their age, the oldest first."""
    cutoffs = rules.cutoffs(now)
    over = [item for item in items if item.kind in cutoffs and item.since < cutoffs[item.kind]]
    return [Step(item.row, "item", item.kind, item.size, item.since) for item in _oldest_first(over)]


def over_quota(items: Sequence[Held], total: int, quota: int, *, partial: bool = False) -> list[Step]:
    """Gives what goes so that not more than ``quota`` of ``total`` bytes are left: the least that does it in order.

    ``partial``: there are more items, and those given are the ones that go first by the first way there is; then
    nothing goes by the next way.
    """
    steps: list[Step] = []
    taken: dict[int, int] = {}
    excess = total - quota
    oldest = _oldest_first(items)
    for what in ("kept", "preview", "item"):
        before = len(steps)
        for item in oldest:
            if excess <= 0:
                return steps
            size = _size_of(item, what) - (taken.get(item.row, 0) if what == "item" else 0)
            if what != "item" and (item.unread or size <= 0):
                continue
            steps.append(Step(item.row, what, "quota", size, item.since))
            taken[item.row] = taken.get(item.row, 0) + size
            excess -= size
        if partial and len(steps) > before:
            break
    return steps


def _size_of(item: Held, what: str) -> int:
    if what == "item":
        return item.size
    return item.kept if what == "kept" else item.preview


def _oldest_first(items: Iterable[Held]) -> list[Held]:
    return sorted(items, key=lambda item: (item.since, item.row))


def _ago(now: datetime, days: int) -> str:
    try:
        return utc(now.astimezone(UTC) - timedelta(days=days))
    except OverflowError:
        return ""  # before it is nothing
