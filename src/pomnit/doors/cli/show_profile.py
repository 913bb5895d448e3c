"""The report of `pomnit profile` and the moments of `pomnit status --watch`, printed for people."""

from __future__ import annotations

import shutil

import click

from pomnit.doors.cli.terminal import clean, one_line, sized
from pomnit.records import Moment, ProfileReport

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", None: None}
_PRESSURES = {"normal": "green", "warning": "yellow", "critical": "red"}
_WIDTH = 24


def report(record: ProfileReport, *, err: bool = False) -> None:
    """Prints the environment, the table, the reasons and the summary; ``err``: on standard error."""
    from pomnit import profile

    for check in record.environment:
        verdict = click.style(f"{check.verdict:8}", fg=_COLOURS[check.verdict])
        click.echo(f"{verdict} {check.name:9} {clean(check.text)}", err=err)
        if check.next:
            click.echo(f"{'':18} {clean(check.next)}", err=err)
    click.echo(err=err)
    head, *rows = profile.table(record.stages)
    click.echo(click.style(head, dim=True), err=err)
    for stage, row in zip(record.stages, rows, strict=True):
        click.echo(click.style(clean(row), fg=_COLOURS[stage.verdict], dim=stage.verdict is None), err=err)
    click.echo(err=err)
    for note in profile.notes(record.stages):
        click.echo(clean(note), err=err)
    click.echo(click.style(profile.summary(record), fg=_COLOURS[record.verdict], bold=True), err=err)


def moment(record: Moment) -> str:
    """Gives the lines of one moment, for a terminal."""
    part = record.memory / record.budget
    filled = min(round(_WIDTH * part), _WIDTH)
    bar = f"{'█' * filled}{'░' * (_WIDTH - filled)}"
    most = f"{sized(record.memory)} of {_gb(record.budget)} ({part:.0%}), {sized(record.memory_peak)} at most"
    lines = [f"memory    {bar}  {most}"]
    lines += [
        f"          {process.pid:>8}  {sized(process.memory):>8}  {process.command}" for process in record.processes
    ]
    if record.owner is None:
        lines.append("          no process works on this memory now")
    lines.append(f"machine   {_machine(record)}")
    lines.append(f"swap      {_swap(record)}")
    lines.append(f"pressure  {record.pressure or 'unknown'}: {record.pressure_why}")
    lines.append(f"CPU       {_cpu(record)}")
    lines.append(f"waiting   {_waiting(record)}")
    width = shutil.get_terminal_size().columns - 1
    texts = [one_text if len(one_text) <= width else f"{one_text[: width - 1]}…" for one_text in map(clean, lines)]
    colour = _PRESSURES.get(record.pressure or "")
    return "\n".join(click.style(text, fg=colour) if text.startswith("pressure") else text for text in texts)


def moment_line(record: Moment) -> str:
    """Gives one moment on one line, for a file or another program."""
    parts = [
        record.time,
        f"memory {sized(record.memory)} of {_gb(record.budget)}",
        f"in {len(record.processes)} process{'' if len(record.processes) == 1 else 'es'}",
        f"swap {_swap(record)}",
        f"pressure {record.pressure or 'unknown'}",
        f"CPU {_cpu(record)}",
        f"waiting {_waiting(record)}",
    ]
    return one_line("; ".join(parts))


def _machine(record: Moment) -> str:
    return f"{'' if record.available is None else f'{_gb(record.available)} available of '}{_gb(record.total)}"


def _swap(record: Moment) -> str:
    if record.swap_used is None or record.swap_growth is None:
        return "unknown"
    if not record.swap_total:
        return "none"
    return f"{_gb(record.swap_used)} of {_gb(record.swap_total)} ({record.swap_growth / 1e6 + 0.0:+.0f} MB)"


def _cpu(record: Moment) -> str:
    ours = f"ours {record.cpu_cores:.1f} cores"
    if record.cpu_user is None or record.cpu_system is None or record.cpu_idle is None:
        return ours
    return f"{ours}, {record.cpu_user:.0%} user, {record.cpu_system:.0%} system, {record.cpu_idle:.0%} idle"


def _waiting(record: Moment) -> str:
    return ", ".join(f"{stage} {n}" for stage, n in record.waiting.items()) or "nothing"


def _gb(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
