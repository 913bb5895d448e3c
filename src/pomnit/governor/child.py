"""An engine in a process of its own: ``python -m pomnit.governor.child NAME``, started by ``children.Child`` alone.

The first message says which engine to make; each later one asks it something. Several questions are worked on at
once, each answered when it is ready. One thread does nothing but read, so the process ends when its input ends,
whatever it is doing then, loading too: it outlives its parent in no case. Unloading an engine is ending its process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from pomnit.errors import EngineError, PomnitError
from pomnit.governor import allocator, frames
from pomnit.governor.plans import Plan
from pomnit.governor.remote import Served, served

Answer = tuple[dict[str, Any], Sequence[Any]]


def make_planned(plan: Mapping[str, Any]) -> Served:
    """Makes the engine of a plan.

    Raises:
        EngineError: and those below it.
    """
    made = Plan.from_json(plan)
    return served(made.job, made.make(), made.threads)


def main(make: Callable[[Mapping[str, Any]], Served] = make_planned) -> None:
    """Serves one engine until the input ends, and ends the process then."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the messages, and what it reads must not be one.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    allocator.be_frugal()
    try:
        _Serving(answers, make).until_the_end_of(questions)
    except EngineError as error:
        os.write(2, f"{error}\n".encode())
        os._exit(error.exit_code)
    os._exit(0)  # without waiting for what is being worked on: nobody reads it any more


class _Serving:
    """What goes on between the first message and the end of the input."""

    def __init__(self, answers: IO[bytes], make: Callable[[Mapping[str, Any]], Served]) -> None:
        self._answers, self._make, self._writing = answers, make, threading.Lock()
        self._engine: Served | None = None
        self._pool = ThreadPoolExecutor(1)  # until it is known how many questions the engine works on at once

    def until_the_end_of(self, questions: IO[bytes]) -> None:
        """Answers all questions.

        Raises:
            FrameError: what came is no question.
        """
        while (asked := frames.read(questions)) is not None:
            self._pool.submit(self._reply, *asked)

    def _reply(self, message: Mapping[str, Any], arrays: Sequence[Any]) -> None:
        """Answers one question; the other side must hear of a failure, whatever it is."""
        try:
            answer, found = self._answer(message, arrays)
            pieces = frames.packed({"number": message["number"], **answer}, found)
        except PomnitError as error:
            pieces = frames.packed({"number": message["number"], "error": type(error).__name__, "text": str(error)})
        except Exception as error:  # noqa: BLE001 as said
            text = f"{type(error).__name__}: {error}"
            pieces = frames.packed({"number": message["number"], "error": EngineError.__name__, "text": text})
        with self._writing:
            for piece in pieces:
                self._answers.write(piece)
            self._answers.flush()

    def _answer(self, message: Mapping[str, Any], arrays: Sequence[Any]) -> Answer:
        if self._engine is not None:
            return self._engine.answer(message, arrays)
        self._engine = self._make(message["make"])
        self._pool = ThreadPoolExecutor(self._engine.at_once, thread_name_prefix="engine")
        return {}, ()


if __name__ == "__main__":
    main()
