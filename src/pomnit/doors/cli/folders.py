"""Folders that are watched: one line per event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.capture import Duration, ended_by_signals
from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean, counted

if TYPE_CHECKING:
    from pomnit.records import FolderEvent, WatchReport

_COLOURS = {"new": "green", "changed": "green", "moved": "cyan", "gone": "yellow", "failed": "red", "away": "yellow"}


@pomnit.command(
    epilog=examples("pomnit watch ~/Documents ~/Pictures/Screenshots", "pomnit watch ~/Downloads --quiet 5s")
)
@common
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=str), metavar="FOLDER...")
@click.option("--quiet", type=Duration(), metavar="TIME", help="How long a file is left alone before it is read (1s).")
@click.pass_obj
def watch(context: Context, folders: tuple[str, ...], quiet: float | None) -> int:
    """Remember what is new or changed in folders until Ctrl-C; first all that is there.

    What was moved stays the same item; what was deleted is marked, and stays remembered. Hidden files and what is still
    being downloaded are passed over, links are not followed. With --json each event is a line of its own.
    """
    from pomnit.capture.sign import Stop

    def hear(event: FolderEvent) -> None:
        _event(event, as_json=context.as_json)

    stop = Stop()
    try:
        with context.memory() as memory, ended_by_signals(stop):
            report = memory.watch(folders, quiet_s=quiet, stop=stop, on_event=hear)
    finally:
        stop.close()
    if context.as_json:
        _line(report)
    else:
        _report(report)
    return 0


def _event(event: FolderEvent, *, as_json: bool) -> None:
    if as_json:
        _line(event)
        return
    path = clean(event.path) if event.before is None else f"{clean(event.before)} → {clean(event.path)}"
    reason = f": {clean(event.reason)}" if event.reason else ""
    if event.what == "looked":
        click.echo(click.style(f"looked at all of {path}; Ctrl-C ends it", dim=True), err=True)
    else:
        click.echo(f"{click.style(f'{event.what:9}', fg=_COLOURS.get(event.what))} {path}{reason}")


def _line(record: object) -> None:
    """Prints a record as one line, at once: a program may be reading along."""
    from pomnit.records import to_json

    click.echo(json.dumps(to_json(record), ensure_ascii=False))


def _report(report: WatchReport) -> None:
    parts = [f"{report.new} new", f"{report.changed} changed", f"{report.moved} moved", f"{report.gone} gone"]
    parts += [f"{report.known} known", f"{report.failed} failed"]
    parts += [f"{report.forgotten} forgotten earlier"] if report.forgotten else []
    parts += [f"{report.passed_over} of other kinds passed over"] if report.passed_over else []
    click.echo(f"watched for {report.took_s:.0f} s: {', '.join(parts)}")
    if report.waiting:
        click.echo(f"  {counted(report.waiting, 'task')} left; `pomnit retry` goes on")
