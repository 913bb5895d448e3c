"""An engine child with the tiny Qwen3-VL, which waits in the middle of an answer: ``python -m support.vision_child``.

After a few tokens it opens the FIFO that the environment names in WAIT, and goes on when somebody opens the other end.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pomnit.governor import child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import Streaming, served

TOKENS = 8
CODE = "c0de"  # of the fences, which is drawn at random otherwise


def make(plan: Mapping[str, Any]) -> Streaming:
    engine = Plan.from_json(plan).make()
    begin, engine._code = engine._model.begin, CODE

    def haltingly(prompt: Any, most: int) -> Iterator[str]:
        for number, word in enumerate(begin(prompt, most)):
            if number == TOKENS and "WAIT" in os.environ:
                open(os.environ["WAIT"]).close()
            yield word

    engine._model.begin = haltingly
    return served("answer", engine, 1)  # type: ignore[return-value]


if __name__ == "__main__":
    child.main(make)
