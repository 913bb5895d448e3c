"""`pomnit profile`: what Pomnit's own work, or any command, does to this machine.

commands.py imports this file at its end, so that its command is in the same group.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, memory_if_any, pomnit
from pomnit.doors.cli.terminal import one_line
from pomnit.errors import SOME_FAILED, EngineError, NotFound, UsageError
from pomnit.records import ProfileReport, to_json

if TYPE_CHECKING:
    from pomnit.memory import Memory

_EXIT = {"ok": 0, "warning": SOME_FAILED, "problem": EngineError.exit_code}
_NOT_FOUND, _NOT_STARTED = 127, 126  # as shells, env and nice say it: other codes are the command's own


@pomnit.command(
    epilog=examples(
        "pomnit profile",
        "pomnit profile --stage ocr --rounds 3",
        "pomnit profile --chart memory.png",
        "pomnit profile --out report.json -- python train.py --epochs 3",
    )
)
@common
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="Only this stage; may be given several times.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Of each stage, to see what is not given back; 10.")
@click.option("--chart", metavar="FILE", help="Draw memory and swap over time too, as .png.")
@click.option("--out", metavar="FILE", help="Write the report to this file too, as .json.")
@click.pass_obj
def profile(
    context: Context,
    command: tuple[str, ...],
    stages: tuple[str, ...],
    rounds: int | None,
    chart: str | None,
    out: str | None,
) -> int:
    """Measure what the work does to this machine: seconds, memory, swap, pressure, processor, and a verdict.

    Each stage runs on samples that are part of Pomnit, ten times. Exit code 4 with a warning, 20 with a problem. A
    COMMAND is run as it is, without a shell; its exit code is passed on, and the report goes to standard error.
    """
    from pomnit.doors.cli import private

    if chart is not None:
        private.check("--chart", chart, ".png")
    if out is not None:
        private.check("--out", out, ".json")
    if not command:
        report = _built_in(context, stages, rounds)
        _tell(context, report, chart, out, err=False)
        return _EXIT[report.verdict]
    if stages or rounds is not None:
        raise UsageError("--stage and --rounds are for Pomnit's own stages; leave them out before a command")
    from pomnit.profile import command as run_command

    settings = context.settings()
    try:
        report = run_command(command, settings)
    except NotFound as error:
        click.echo(f"pomnit: {one_line(str(error))}", err=True)
        return _NOT_FOUND
    except UsageError as error:
        click.echo(f"pomnit: {one_line(str(error))}", err=True)
        return _NOT_STARTED
    _tell(context, report, chart, out, err=True)
    return report.exit_code or 0


def _built_in(context: Context, stages: tuple[str, ...], rounds: int | None) -> ProfileReport:
    from pomnit.doors.cli.progress import Bars
    from pomnit.governor.leases import Governor
    from pomnit.profile import ROUNDS, in_use, run

    settings = context.settings()
    with memory_if_any(context) as memory:
        status = memory.status() if memory is not None else None
    with Bars(quiet=context.as_json) as bars:
        use = in_use(Governor(settings), status)
        return run(settings, use, stages=stages, rounds=rounds or ROUNDS, on_progress=bars)


def watch(memory: Memory, *, as_json: bool) -> int:
    """Does what `status --watch` says until Ctrl-C: on a terminal each moment is written over the one before it."""
    from pomnit.doors.cli import show_profile
    from pomnit.watch import moments

    lines = 0
    with contextlib.suppress(KeyboardInterrupt):
        for moment in moments(memory):
            if as_json:
                click.echo(json.dumps(to_json(moment), ensure_ascii=False))
            elif not sys.stdout.isatty():
                click.echo(show_profile.moment_line(moment))
            else:
                text = show_profile.moment(moment)
                up = f"\x1b[{lines}A\x1b[J" if lines else ""
                click.echo(f"{up}{text}")
                lines = text.count("\n") + 1
    return 0


def _tell(context: Context, report: ProfileReport, chart: str | None, out: str | None, *, err: bool) -> None:
    from pomnit.doors.cli import private, show_profile

    text = json.dumps(to_json(report), ensure_ascii=False, indent=2)
    if context.as_json:
        click.echo(text, err=err)
    else:
        show_profile.report(report, err=err)
    if out is not None:
        private.write(out, f"{text}\n".encode())
    if chart is not None:
        from pomnit.doors.cli.profile_chart import png

        private.write(chart, png(report))
        click.echo(f"drawn: {chart}", err=True)
