"""A child process of a test, with fake engines: ``python -m support.child WHAT …``. Each line it says is flushed.

adding            for each line [{environment}, [path, …]] of its input forks a child, which is quick; that one adds the
                  paths and says "pid N", "remembered PATH" and "done STAGE" as it happens. Then says "ended CODE".
                  With USE in the environment it uses that encoder instead, two passages at a time. With DIE_IN_BATCH
                  it is killed while it hears that batch of speech.
cli WORD…         the command line
gated WORD…       the command line, whose recogniser says "reading" and then waits for its input to say something
real WORD…        the command line with the engines of this machine, all in children; says "pid N" for each of these,
                  and "asked" for each question
hold              becomes the owner that works on the queue, says "holds" and stays so until its input ends
"""

import itertools
import json
import os
import signal
import sys
import traceback
from typing import Any

import apsw
from PIL import Image

from pomnit import ingest
from pomnit.engines.fake import FakeTranscriber
from pomnit.engines.protocols import Line
from pomnit.governor.leases import Governor
from pomnit.governor.ownership import Ownership
from pomnit.memory import Happening, Memory
from pomnit.settings import Settings
from support.pictures import engines, side_by_side, written_on
from support.recordings import CARD


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
        if name := os.environ.get("USE"):
            ingest.FILL_BATCH = 2
            with Memory.open(engines=side_by_side()) as memory:
                memory.use(name, on_progress=tell)
            return 0
        with Memory.open(engines=engines() | {"transcribe": mortal()}) as memory:
            memory.add(paths, copy="COPY" in os.environ, on_progress=tell)
    except Exception:  # noqa: BLE001 a fork must not go on as its parent
        traceback.print_exc()
        return 1
    return 0


def mortal() -> FakeTranscriber:
    """Gives a transcriber that hears the same words everywhere, and dies in the batch that the environment says."""
    heard = itertools.count(1)

    class Mortal(FakeTranscriber):
        def transcribe(self, windows: Any, *, language: str | None = None) -> Any:
            if next(heard) == int(os.environ.get("DIE_IN_BATCH", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().transcribe(windows, language=language)

    return Mortal(CARD, lambda _: "семь три", "ru")


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


def real(words: list[str]) -> int:
    from pomnit.doors.cli.commands import run
    from pomnit.governor import leases

    class Told(leases.Child):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            say("pid", str(self.pid))

        def ask(self, *args: Any, **named: Any) -> Any:
            say("asked")
            return super().ask(*args, **named)

    leases.Child, leases.SMALL = Told, 0  # type: ignore[misc]
    return run(words)


def hold() -> int:
    settings = Settings.load()
    say("holds" if Ownership(settings.home, Governor(settings)).begin() == "ours" else "held by another")
    sys.stdin.read()
    return 0


def main(what: str, *words: str) -> int:
    if what == "hold":
        return hold()
    if what == "adding":
        return adding()
    if what == "real":
        return real(list(words))
    return cli(list(words), gate if what == "gated" else written_on)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
