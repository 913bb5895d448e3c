"""The command line. ``main`` is the entry point; commands.py parses, show.py prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and ends the process with the exit code of its outcome."""
    from pomnit.doors.cli.commands import run

    sys.exit(run(sys.argv[1:]))
