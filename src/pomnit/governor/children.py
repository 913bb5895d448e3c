"""The other end of an engine child: starts it, asks it, notices its death, ends it."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomnit import errors
from pomnit.errors import EngineDied, EngineError
from pomnit.governor import frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answer = tuple[dict[str, Any], "list[NDArray[Any]]"]

LOADING = 120.0  # seconds that an engine may take to load
ENDING = 3.0  # seconds that it has to end by itself
LOOKING = 0.05  # seconds between two looks at whether an answer that comes piece by piece is still wanted
_LAST_WORDS = 2000  # bytes of what it wrote to standard error,
_LAST_WORDS_S = 1.0  # and seconds in which they must have come
_SIGNALS = {one.value: one.name for one in signal.Signals}


class Child:
    """One engine in a process of its own. ``ask`` may be called from several threads at once."""

    def __init__(
        self, name: str, plan: Mapping[str, Any], *, loading_s: float = LOADING, module: str = "pomnit.governor.child"
    ) -> None:
        """Starts the process; ``load`` makes the engine of ``plan`` in it. ``module`` serves it, by ``child.main``."""
        self.name = name
        self._plan, self._loading_s = dict(plan), loading_s
        self._numbers = itertools.count()
        self._registering = threading.Lock()
        self._open: dict[int, Future[Answer] | _Pieces] | None = {}  # None once it is dead: nobody answers any more
        self._to_write: queue.SimpleQueue[list[bytes | memoryview] | None] = queue.SimpleQueue()
        self._last_words = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, name],  # -P: the working folder holds no code of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": _python_path()},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
        )
        self._threads = [
            threading.Thread(target=work, name=f"{work.__name__} {name}", daemon=True)
            for work in (self._read_last_words, self._write, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def load(self) -> None:
        """Waits until the engine is made.

        Raises:
            EngineError: what the engine raised while loading; EngineDied when it died or took too long.
        """
        try:
            self.ask({"make": self._plan}, timeout_s=self._loading_s)
        except BaseException:
            self.close()
            raise

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        return self._open is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, message: Mapping[str, Any], arrays: Sequence[Any] = (), *, timeout_s: float | None = None) -> Answer:
        """Gives the engine's answer.

        Raises:
            EngineError: what the engine raised.
            EngineDied: its process ended first, or took longer than ``timeout_s`` and was ended.
        """
        future = Future[Answer]()
        self._send(message, arrays, future)
        try:
            answer, found = future.result(timeout_s)
        except FutureTimeout:
            self.kill()
            raise EngineDied(f"{self.name}: no answer within {timeout_s:g} s, so its process was ended") from None
        _check(answer)
        return answer, found

    def stream(
        self,
        message: Mapping[str, Any],
        arrays: Sequence[Any] = (),
        *,
        stopped: Callable[[], bool] = lambda: False,
        timeout_s: float | None = None,
    ) -> Generator[Answer, None, None]:
        """Gives the engine's answer piece by piece, the first an empty one: it begins. Whoever closes the iterator, or
        says that it is ``stopped``, waits for no more; the engine is told and ends soon.

        Raises:
            EngineError: what the engine raised.
            EngineDied: its process ended first, or nothing came for longer than ``timeout_s`` and it was ended.
        """
        pieces = _Pieces()
        number = self._send({"stream": True, **message}, arrays, pieces)
        try:
            while not stopped():
                try:
                    (answer, found), more = pieces.next(stopped, timeout_s)
                except TimeoutError:
                    self.kill()
                    raise EngineDied(
                        f"{self.name}: nothing came for {timeout_s:g} s, so its process was ended"
                    ) from None
                except _NotWanted:
                    return
                _check(answer)
                if not more:
                    return
                yield answer, found
        finally:
            with self._registering:
                left = (self._open or {}).pop(number, None)
            if left is not None:
                self._to_write.put(frames.packed({"stop": number}))

    def _send(self, message: Mapping[str, Any], arrays: Sequence[Any], waiting: Future[Answer] | _Pieces) -> int:
        number = next(self._numbers)
        pieces = frames.packed({"number": number, **message}, arrays)
        with self._registering:
            if self._open is None:
                raise self._death()
            self._open[number] = waiting
        self._to_write.put(pieces)
        return number

    def _write(self) -> None:
        """Writes what is asked. In a thread of its own: a process that hangs does not read, and nobody may wait for it
        longer than for an answer.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # broken: the listener tells of it
            while (pieces := self._to_write.get()) is not None:
                for piece in pieces:
                    self._process.stdin.write(piece)
                self._process.stdin.flush()
                del pieces  # or the last picture would be kept until the next one comes
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _listen(self) -> None:
        """Hands each answer to who waits for it; at the end everybody hears of the death."""
        assert self._process.stdout is not None
        with contextlib.suppress(EngineError, OSError, ValueError):
            while (came := frames.read(self._process.stdout)) is not None:
                number, more = came[0].pop("number", -1), came[0].pop("more", False) is True
                with self._registering:
                    waiting = (self._open or {}).get(number)
                    if waiting is not None and not more:
                        del (self._open or {})[number]
                if isinstance(waiting, _Pieces):
                    waiting.put(came, more=more)
                elif waiting is not None and not more:
                    waiting.set_result(came)
        self._process.kill()
        self._threads[0].join(_LAST_WORDS_S)
        with self._registering:
            left, self._open = self._open or {}, None
        self._to_write.put(None)
        for future in left.values():
            future.set_exception(self._death())

    def _read_last_words(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while piece := self._process.stderr.read1(4096):  # type: ignore[attr-defined]
                self._last_words = (self._last_words + piece)[-_LAST_WORDS:]

    def _death(self) -> EngineDied:
        code = self._process.wait()
        how = f"by {_SIGNALS.get(-code, f'signal {-code}')}" if code < 0 else f"with code {code}"
        lines = self._last_words.decode("utf-8", "replace").strip().splitlines()
        return EngineDied(f"{self.name}: its process ended {how}{f': {lines[-1]}' if lines else ''}")

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the process: its input is closed; when it does not go by itself it is killed."""
        self._to_write.put(None)
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.kill()
        except BaseException:  # Ctrl-C
            self.kill()
            raise
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class _NotWanted(Exception):
    """Nobody waits for the next piece any more."""


class _Pieces:
    """What came of an answer and was not taken yet."""

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[tuple[Answer, bool] | BaseException] = queue.SimpleQueue()

    def put(self, answer: Answer, *, more: bool) -> None:
        self._came.put((answer, more))

    def set_exception(self, error: BaseException) -> None:
        self._came.put(error)

    def next(self, stopped: Callable[[], bool], timeout_s: float | None) -> tuple[Answer, bool]:
        """Gives the next piece, and whether more will come.

        Raises:
            TimeoutError: none came in time.
            _NotWanted: it was stopped.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(queue.Empty):
                came = self._came.get(timeout=LOOKING)
                if isinstance(came, BaseException):
                    raise came
                return came
            if stopped():
                raise _NotWanted
            if until is not None and time.monotonic() > until:
                raise TimeoutError


def _check(answer: Mapping[str, Any]) -> None:
    """Raises what the engine raised."""
    if "error" in answer:
        kind = getattr(errors, str(answer["error"]), EngineError)
        raise (kind if isinstance(kind, type) and issubclass(kind, EngineError) else EngineError)(answer["text"])


def _python_path() -> str:
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
