"""Processes of Pomnit: the command line as a user starts it, and children with fake engines that can be killed."""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pomnit

TESTS = Path(__file__).parents[1]
LONGEST_S = 120  # a hung child fails its test instead of holding all of them


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Gives the environment of a child: that of the test, the sources under test and the guard of the network."""
    sources = Path(pomnit.__file__).parents[1]
    path = os.pathsep.join(map(str, (sources, TESTS, TESTS / "support" / "guard")))
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **(more or {})}


def finished(
    *command: str, environ: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``python COMMAND`` to its end."""
    return subprocess.run(
        [sys.executable, *command],
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LONGEST_S,
        check=False,
        preexec_fn=before,
    )


def started(
    *command: str, environ: Mapping[str, str] | None = None, module: str = "support.child"
) -> subprocess.Popen[str]:
    """Starts ``python -m support.child COMMAND``, with pipes to talk to it."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *command],
        env=environment(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ended(pid: int, within_s: float = 20) -> bool:
    """Waits until a process that is no child of this one has ended; False when it lives on."""
    try:
        if hasattr(os, "pidfd_open"):
            process = os.pidfd_open(pid)
            found = select.select([process], [], [], within_s)[0]
            os.close(process)
            return bool(found)
        queue = select.kqueue()
        exits = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        return bool(queue.control([exits], 1, within_s))
    except ProcessLookupError:
        return True


def without_privileges() -> None:
    """Lets permissions of files count for root too. To be called in a child before it becomes another program."""
    if os.geteuid() == 0 and sys.platform == "linux":
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


class Adding:
    """A process whose children add files and may be killed at any moment. See "adding" in child.py."""

    def __init__(self) -> None:
        self._process = started("adding", environ={"OPENBLAS_NUM_THREADS": "1"})

    def __enter__(self) -> "Adding":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(
        self, paths: Sequence[Path], *, kill_after: int | None = None, environ: Mapping[str, str] | None = None
    ) -> tuple[list[str], int]:
        """Gives the lines that one child said, and how it ended; after ``kill_after`` lines it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([environ or {}, [str(path) for path in paths]]) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline().removeprefix("pid "))
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith("ended "):
                return said, int(line.removeprefix("ended "))
            said.append(line.rstrip("\n"))
            if len(said) == kill_after:
                os.kill(pid, signal.SIGKILL)  # not reaped before it said "ended", so the number is still its own
        raise AssertionError("the process that starts the children is gone")
