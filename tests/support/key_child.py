"""Changes a memory's key in children that die: ``python -m support.key_child``.

For each line {what, to, secret, new, file, die_at} of its input it forks a child, which does that with the memory of
the environment, and is killed before the step ``die_at``: anything that it does to files, and each statement of SQL.
Says "ended CODE".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from pomnit.privacy import changing, wrapped
from pomnit.settings import Settings
from support.keychains import CHEAP

STEPS = ("open", "fsync", "link", "rename", "replace", "unlink", "mkdir")


class Dying:
    """Counts steps, and kills this process before one of them."""

    def __init__(self, die_at: int) -> None:
        self.done, self._die_at = 0, die_at

    def begin(self) -> None:
        for name in STEPS:
            setattr(os, name, self._counted(getattr(os, name)))
        apsw.connection_hooks.append(self._hook)

    def _step(self) -> None:
        self.done += 1
        if self.done == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self._step()
            return real(*args, **named)

        return counted

    def _hook(self, connection: apsw.Connection) -> None:
        connection.exec_trace = lambda *_: (self._step(), True)[1]


def do(asked: dict[str, Any]) -> int:
    settings = Settings.load()
    Dying(asked["die_at"]).begin()
    try:
        if asked["what"] == "import":
            changing.restore(settings, Path(asked["file"]), asked["to"], asked["new"])
        else:
            changing.change(settings, asked["to"], secret=asked["secret"], new=asked["new"])
    except Exception:  # noqa: BLE001 a fork must not go on as its parent
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    wrapped.COST = CHEAP
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os._exit(do(json.loads(line)))
        _, status = os.waitpid(pid, 0)
        os.write(1, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
