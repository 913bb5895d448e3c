"""A child process of a test, with fake engines: ``python -m support.child WHAT …``. Each line it says is flushed.

adding            for each line [{environment}, [path, …]] of its input forks a child, which is quick; that one adds the
                  paths and says "pid N", "remembered PATH" and "done STAGE" as it happens. Then says "ended CODE".
cli WORD…         the command line
gated WORD…       the command line, whose recogniser says "reading" and then waits for its input to say something
hold              becomes the owner, says "holds" and stays so until its input ends
"""

import json
import os
import signal
import sys
import traceback
from typing import Any

import apsw
from PIL import Image

from pomnit.engines.protocols import Line
from pomnit.governor.owner import OwnerLock
from pomnit.memory import Happening, Memory
from pomnit.settings import Settings
from support.pictures import engines, written_on


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())  # at once and whole, whoever else speaks


def tell(happening: Happening) -> None:
    say("remembered" if happening.stage == "remember" else f"done {happening.stage}", happening.name)


def adding() -> int:
    for line in sys.stdin:
        environ, paths = json.loads(line)
        pid = os.fork()
        if not pid:
            os.environ.update(environ)
            os._exit(add(paths))
        _, status = os.waitpid(pid, 0)
        say("ended", str(os.waitstatus_to_exitcode(status)))
    return 0


def add(paths: list[str]) -> int:
    say("pid", str(os.getpid()))
    if statements := int(os.environ.get("DIE_AFTER_STATEMENTS", "0")):
        die_after(statements)
    try:
        with Memory.open(engines=engines()) as memory:
            memory.add(paths, copy="COPY" in os.environ, on_progress=tell)
    except Exception:  # noqa: BLE001 a fork must not go on as its parent
        traceback.print_exc()
        return 1
    return 0


def die_after(statements: int) -> None:
    """Kills this process before one of its statements, be it in the middle of a transaction."""
    left = statements

    def trace(*_: Any) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = trace

    apsw.connection_hooks.append(hook)


def gate(image: Image.Image) -> list[Line]:
    say("reading")
    sys.stdin.readline()
    return written_on(image)


def cli(words: list[str], recognise: Any) -> int:
    from pomnit.doors.cli.commands import run

    opened = Memory.open
    Memory.open = lambda *args, **named: opened(*args, **named, engines=engines(recognise))  # type: ignore[method-assign]
    return run(words)


def hold() -> int:
    lock = OwnerLock(Settings.load().home)
    say("holds" if lock.take() else "held by another")
    sys.stdin.read()
    return 0


def main(what: str, *words: str) -> int:
    if what == "hold":
        return hold()
    if what == "adding":
        return adding()
    return cli(list(words), gate if what == "gated" else written_on)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
