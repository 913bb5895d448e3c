"""Progress on standard error: a line that is written over on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.terminal import one_line, sized

if TYPE_CHECKING:
    from pomnit.memory import Happening

_NAMES = {
    "remember": "remembering",
    "read": "reading texts",
    "recognise": "reading pictures",
    "transcribe": "listening",
    "embed": "embedding",
    "describe": "describing",
    "rerank": "reranking",
    "retention": "letting go",
    "scan": "looking through",
    "mask": "masking",
    "fill": "embedding anew",
    "pull": "getting",
    "convert": "converting",
    "quantise": "converting",
}
_IN_BYTES = ("pull", "quantise")
_IN_SECONDS = ("transcribe",)  # each recording has a bar of its own
_WIDTH = 24
_NAME = 40  # characters of a recording's
_OFTEN = 0.1  # seconds between two writings


class Bars:
    """One bar per stage, each left on the screen when the next begins. Called with what happened."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._stage = ""
        self._began = self._written = 0.0
        self._first = 0  # done when the stage began: what an earlier attempt got takes no time
        self._last: Happening | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def __call__(self, happening: Happening) -> None:
        if not self._shown:
            return
        now = time.monotonic()
        new = happening.stage in _IN_SECONDS and self._last is not None and happening.name != self._last.name
        if happening.stage != self._stage or new:
            self._finish()
            self._stage, self._began, self._first = happening.stage, now, happening.done
        self._last = happening
        if now - self._written >= _OFTEN:
            self._write(now)

    def _write(self, now: float) -> None:
        if self._last is None:
            return
        self._written = now
        name, done, total = _NAMES.get(self._stage, self._stage), self._last.done, self._last.total
        if total:
            filled = min(_WIDTH, _WIDTH * done // total)
            gone, new = now - self._began, done - self._first
            left = gone / max(new, 1) * (total - done)
            text = f"{name:>16}  {'█' * filled}{'░' * (_WIDTH - filled)}  {self._counted(done, total, new, gone)}"
            text += f"  {_duration(left)} left"
        elif self._stage in _IN_SECONDS:
            text = f"{name:>16}  {_duration(done)}"
        else:
            text = f"{name:>16}  {done} files"
        text += f"  {one_line(self._last.name)[:_NAME]}" if self._stage in _IN_SECONDS else ""
        click.echo(f"\r\x1b[2K{text}", nl=False, err=True)

    def _counted(self, done: int, total: int, new: int, seconds: float) -> str:
        if self._stage in _IN_SECONDS:
            return f"{_duration(done)} of {_duration(total)}"
        if self._stage not in _IN_BYTES:
            return f"{done:,}/{total:,}"
        speed = f"  {sized(new / seconds)}/s" if seconds > _OFTEN else ""
        return f"{sized(done)} of {sized(total)}{speed}"

    def _finish(self) -> None:
        if self._shown and self._last is not None:
            self._write(time.monotonic())
            click.echo(err=True)
        self._last = None


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
    )
