"""An engine child that answers as it is told: ``python -m support.fake_answerer``.

Each line of the question is a piece of the answer, or says what else to do: one of the deeds of ``fake_child``,
"tell FILE" to write down all that was asked, "wait FIFO" to go on when its other end was opened, or "until FIFO" to say
"and" and then nothing until it is stopped, which it tells by opening that FIFO. The plan is {"load": TEXT}, as there.
"""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pomnit.engines.protocols import Asked
from pomnit.governor import child
from pomnit.governor.remote import Streaming, served
from support.fake_child import DEEDS, do


class Obedient:
    """The Answerer protocol."""

    name, sees = "obedient", True

    def answer(self, asked: Asked, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
        if stopped():
            return
        for line in asked.question.splitlines():
            what, _, rest = line.partition(" ")
            if what == "tell":
                Path(rest).write_text(json.dumps(dataclasses.asdict(asked), default=bytes.hex), "utf-8")
            elif what == "wait":
                open(rest).close()
                if stopped():
                    return
            elif what == "until":
                yield "and"
                while not stopped():
                    threading.Event().wait(0.005)
                open(rest, "w").close()
            elif what in DEEDS:
                do(line)
            else:
                yield line

    def close(self) -> None: ...


def make(plan: Mapping[str, Any]) -> Streaming:
    do(plan["load"])
    return served("answer", Obedient(), 1)  # type: ignore[return-value]


if __name__ == "__main__":
    child.main(make)
