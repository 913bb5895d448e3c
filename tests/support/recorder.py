"""``pomnit capture`` as a process, whose recogniser reads colours: ``python -m support.recorder WORD…``.

Says "kept OUTCOME" for each frame as soon as it is kept.
"""

import sys

from pomnit import capturing
from pomnit.doors.cli.commands import run
from pomnit.memory import Memory
from support.child import say
from support.pictures import engines
from support.screens import colours


def main() -> int:
    opened, take = Memory.open, capturing.Recorder.take

    def told(recorder: capturing.Recorder, frame: object) -> object:
        outcome = take(recorder, frame)
        say("kept", outcome[0])
        return outcome

    Memory.open = lambda *args, **named: opened(*args, **{"engines": engines(colours), **named})
    capturing.Recorder.take = told
    return run(["capture", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
