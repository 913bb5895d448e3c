"""An engine child whose engine is a fake one that does what its texts say: ``python -m support.fake_child``.

The plan is {"load": TEXT} with one of these texts as well, "" for an engine that loads.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pomnit import errors
from pomnit.engines.fake import FakeEncoder
from pomnit.governor import child
from pomnit.governor.remote import Served, served
from pomnit.models.cards import ALL_MINILM_L6_V2

IMPATIENT = "an engine that must not be stuck"


def die(_: str) -> None:
    os.write(2, b"out of luck\n")
    os._exit(7)


def die_once(path: str) -> None:
    if not os.path.exists(path):
        open(path, "x").close()
        os._exit(7)


def hang(fifo: str) -> None:
    """Hangs; when a FIFO is named, its other end can be opened from then on."""
    if fifo:
        open(fifo, "w").close()
    threading.Event().wait()


def spin(_: str) -> None:
    """Is busy for some hours, and no other thread of this process has a turn meanwhile."""
    re.match("(a+)+$", "a" * 64 + "b")


def fail(how: str) -> None:
    kind, _, message = how.partition(" ")
    raise getattr(errors, kind, ValueError)(message)


def talk(_: str) -> None:
    sys.stdout.write("a library says hello\n")
    sys.stdout.flush()
    os.write(1, b"and so does its C code\n")


def read(_: str) -> None:
    assert os.read(0, 100) == b""


def garble(_: str) -> None:
    for descriptor in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"this is no message at all")


DEEDS = {f.__name__.replace("_", "-"): f for f in (die, die_once, hang, spin, fail, talk, read, garble)}


def do(text: str) -> None:
    """Does what a text says, if it says something."""
    what, _, rest = text.partition(" ")
    if what in DEEDS:
        DEEDS[what](rest)


class Obedient(FakeEncoder):
    def encode(self, texts: Sequence[str], *, query: bool = False) -> Any:
        for text in texts:
            do(text)
            if text == "strange":
                return np.zeros(3, np.float64)  # of a type that no message holds
        return super().encode(texts, query=query)


def make(plan: Mapping[str, Any]) -> Served:
    do(plan["load"])
    return served("embed", Obedient(ALL_MINILM_L6_V2), 2)


if __name__ == "__main__":
    child.main(make, 0.5 if sys.argv[1:] == [IMPATIENT] else child.STUCK)
