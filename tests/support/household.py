"""Tiny real models that count as large, so that only a memory's owner may load them; and processes that use them.

``python -m support.household WHAT PATH…``, each line it says is flushed:

add      adds the paths; its recogniser says "reading" and then waits for its input to say something
search   searches for the first word, says which legs ran and how many were found, and stays until its input ends
dies     becomes the owner, says "holds", and is killed by the first question to an engine
"""

from __future__ import annotations

import operator
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pomnit.engines.fake import FakeRecogniser
from pomnit.governor import service
from pomnit.memory import Memory
from pomnit.models import cards
from support import golden_models, processes
from support.child import gate, say
from support.pictures import written_on

ENCODER, RERANKER = "bert-mean", "bert-pair"


def lay_out(models: Path) -> None:
    """Puts the files of the models where they are looked for."""
    for kind in (ENCODER, RERANKER):
        shutil.copytree(golden_models.FOLDER / kind, models / kind, ignore=shutil.ignore_patterns("expected.json"))


def make_known(change: Callable[[Any, str, Any], None] = operator.setitem) -> None:
    """Adds the cards to those that Pomnit knows."""
    for known, card in (
        (cards.ENCODERS, golden_models.ENCODERS[ENCODER]),
        (cards.RERANKERS, golden_models.RERANKERS[RERANKER]),
    ):
        change(known, card.name, card)


def opened(recognise: Any = written_on, **more: Any) -> Memory:
    """Opens the memory of the environment, with a recogniser that needs no model."""
    return Memory.open(engines={"recognise": FakeRecogniser(recognise)}, **more)


def started(*words: str) -> subprocess.Popen[str]:
    return processes.started(*words, module="support.household")


def ran(result: Any) -> dict[str, str]:
    """Gives the legs of a search, each with its state, or why it was skipped."""
    return {leg.name: leg.state if leg.state == "ran" else str(leg.reason) for leg in result.legs}


def main(what: str, *words: str) -> None:
    make_known()
    if what == "add":
        with opened(gate) as memory:
            say(memory.add(words).owner)
    elif what == "search":
        with opened() as memory:
            found = memory.search(words[0])
            say(ran(found)["vectors"], str(len(found)))
            sys.stdin.read()
    else:
        routes = dict(service.ROUTES)
        routes["POST", "/v1/encode"] = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        service.ROUTES = routes
        with opened() as memory:
            say("holds" if memory._owner.hold() else "held by another")
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
