"""Progress on standard error: a line that is written over on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pomnit.memory import Happening

_NAMES = {"remember": "remembering", "read": "reading texts", "recognise": "reading pictures", "embed": "embedding"}
_WIDTH = 24
_OFTEN = 0.1  # seconds between two writings


class Bars:
    """One bar per stage, each left on the screen when the next begins. Called with what happened."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._stage = ""
        self._began = self._written = 0.0
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
        if happening.stage != self._stage:
            self._finish()
            self._stage, self._began = happening.stage, now
        self._last = happening
        if now - self._written >= _OFTEN:
            self._write(now)

    def _write(self, now: float) -> None:
        if self._last is None:
            return
        self._written = now
        name, done, total = _NAMES.get(self._stage, self._stage), self._last.done, self._last.total
        if total:
            filled = _WIDTH * done // total
            left = (now - self._began) / max(done, 1) * (total - done)
            text = f"{name:>16}  {'█' * filled}{'░' * (_WIDTH - filled)}  {done}/{total}  {_duration(left)} left"
        else:
            text = f"{name:>16}  {done} files"
        click.echo(f"\r\x1b[2K{text}", nl=False, err=True)

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
