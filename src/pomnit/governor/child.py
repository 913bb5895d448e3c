"""An engine in a process of its own: ``python -m pomnit.governor.child NAME``, started by ``children.Child`` alone.

The first message says which engine to make; each later one asks it something. Several questions are worked on at
once, each answered when it is ready. One thread does nothing but read, so the process ends when its input ends,
whatever it is doing then, loading too: it outlives its parent in no case. Native code that holds Python's lock keeps
that thread from seeing the end, so a clock that needs no lock ends a process in which no thread had a turn for long.
Unloading an engine is ending its process.
"""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, cast

from pomnit.errors import EngineError, PomnitError
from pomnit.governor import allocator, frames
from pomnit.governor.plans import Plan
from pomnit.governor.remote import Served, Streaming, served
from pomnit.privacy import dumps

Answer = tuple[dict[str, Any], Sequence[Any]]

STUCK = 300.0  # seconds without a turn for any other thread, after which it is over


def make_planned(plan: Mapping[str, Any]) -> Served | Streaming:
    """Makes the engine of a plan.

    Raises:
        EngineError: and those below it.
    """
    made = Plan.from_json(plan)
    return served(made.job, made.make(), made.threads)


def main(make: Callable[[Mapping[str, Any]], Served | Streaming] = make_planned, stuck_s: float = STUCK) -> None:
    """Serves one engine until the input ends, and ends the process then."""
    dumps.forbid_measured()
    threading.Thread(target=_show_signs_of_life, args=(stuck_s,), name="signs of life", daemon=True).start()
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


def _show_signs_of_life(stuck_s: float) -> None:
    """Puts off the end of the process again and again; the clock itself is a thread of C."""
    while True:
        faulthandler.dump_traceback_later(stuck_s, exit=True)
        threading.Event().wait(stuck_s / 4)


class _Serving:
    """What goes on between the first message and the end of the input."""

    def __init__(self, answers: IO[bytes], make: Callable[[Mapping[str, Any]], Served | Streaming]) -> None:
        self._answers, self._make, self._writing = answers, make, threading.Lock()
        self._engine: Served | Streaming | None = None
        self._streams: dict[int, threading.Event] = {}  # of each answer that comes piece by piece: whether to stop
        self._pool = ThreadPoolExecutor(1)  # until it is known how many questions the engine works on at once

    def until_the_end_of(self, questions: IO[bytes]) -> None:
        """Answers all questions.

        Raises:
            FrameError: what came is no question.
        """
        while (asked := frames.read(questions)) is not None:
            message, arrays = asked
            if "stop" in message:
                self._stop(message["stop"])
            elif message.pop("stream", False):
                self._streams[message["number"]] = threading.Event()  # before its turn comes: it may be stopped first
                self._pool.submit(self._stream, message, arrays)
            else:
                self._pool.submit(self._reply, message, arrays)

    def _stop(self, number: int) -> None:
        if (stopped := self._streams.get(number)) is not None:
            stopped.set()

    def _stream(self, message: Mapping[str, Any], arrays: Sequence[Any]) -> None:
        """Answers one question piece by piece, until it is stopped. What comes without "more" says that it is over."""
        number = message["number"]
        stopped = self._streams[number]
        try:
            self._send({"number": number, "more": True})  # that it begins: from now on a death is by this question
            for answer, found in cast(Streaming, self._engine).stream(message, arrays, stopped.is_set):
                self._send({"number": number, "more": True, **answer}, found)
            self._send({"number": number})
        except Exception as error:  # noqa: BLE001 the other side must hear of a failure, whatever it is
            self._send({"number": number, **_failure(error)})
        finally:
            del self._streams[number]

    def _reply(self, message: Mapping[str, Any], arrays: Sequence[Any]) -> None:
        """Answers one question; the other side must hear of a failure, whatever it is."""
        number = message["number"]
        try:
            answer, found = self._answer(message, arrays)
            pieces = frames.packed({"number": number, **answer}, found)
        except Exception as error:  # noqa: BLE001 as said
            pieces = frames.packed({"number": number, **_failure(error)})
        self._write(pieces)

    def _send(self, message: Mapping[str, Any], arrays: Sequence[Any] = ()) -> None:
        self._write(frames.packed(message, arrays))

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        with self._writing:
            for piece in pieces:
                self._answers.write(piece)
            self._answers.flush()

    def _answer(self, message: Mapping[str, Any], arrays: Sequence[Any]) -> Answer:
        if self._engine is not None:
            return cast(Served, self._engine).answer(message, arrays)
        self._engine = self._make(message["make"])
        self._pool = ThreadPoolExecutor(self._engine.at_once, thread_name_prefix="engine")
        return {}, ()


def _failure(error: Exception) -> dict[str, str]:
    """Gives what is told of a failure: one of ours keeps its kind."""
    if isinstance(error, PomnitError):
        return {"error": type(error).__name__, "text": str(error)}
    return {"error": EngineError.__name__, "text": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
