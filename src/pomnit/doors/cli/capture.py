"""The commands that record the screen: capture, pause, resume; and what status says of it.

commands.py imports this file at its end, so that its commands are in the same group.
"""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean, counted

if TYPE_CHECKING:
    from pomnit.capture.sign import Stop
    from pomnit.capturing import Begun
    from pomnit.memory import Happening
    from pomnit.records import CaptureReport

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) *(s|m|h|d)?", re.ASCII | re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg] # only some versions of click have it
    """A time such as 5s, 10m, 1h; seconds without a letter."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Gives the seconds."""
        found = _DURATION.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r:.40} is no time such as 5s, 10m or 1h", param, ctx)
        return float(found[1]) * _UNITS[(found[2] or "s").lower()]


@pomnit.command(
    epilog=examples(
        "pomnit capture",
        "pomnit capture --once",
        "pomnit capture --every 5s --monitor 1",
        "pomnit capture --exclude 'title:Online Bank' --exclude app:Telegram",
    )
)
@common
@click.option("--once", is_flag=True, help="One picture of each monitor, now; then end.")
@click.option(
    "--every", type=Duration(), metavar="TIME", help="At most one picture in so long (2s; setting capture_every)."
)
@click.option("--for", "length", type=Duration(), metavar="TIME", help="End after so long.")
@click.option(
    "--monitor", "monitors", multiple=True, metavar="N", help="Only this monitor, by number or name; may be repeated."
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="RULE",
    help="Never show this: app:NAME, title:WORDS, url:SITE; may be repeated.",
)
@click.pass_obj
def capture(
    context: Context,
    once: bool,
    every: float | None,
    length: float | None,
    monitors: tuple[str, ...],
    exclude: tuple[str, ...],
) -> int:
    """Record the screen until Ctrl-C: what changes on it, while somebody is there.

    Password managers, private windows and what the settings exclude are left out before a picture is taken; sensitive
    text is masked before it is stored. `pomnit pause` and `pomnit resume` speak to it.
    """
    from pomnit.capture.sign import Stop
    from pomnit.capturing import LEAST_S, STAGE

    if every is not None and every < LEAST_S:
        raise click.BadParameter(f"at least {LEAST_S:g} s", param_hint="--every")

    def hear(happening: Happening) -> None:
        if happening.stage == STAGE and happening.reason:
            click.echo(clean(happening.reason), err=True)

    stop = Stop()
    try:
        with context.memory() as memory, ended_by_signals(stop):
            report = memory.capture(
                once=once,
                every_s=every,
                monitors=monitors,
                exclude=exclude,
                seconds=length,
                stop=stop,
                on_begin=None if context.as_json or once else _begun,
                on_progress=hear,
            )
    finally:
        stop.close()
    context.show(report, _report)
    return 0 if report.frames or not report.failed else 1


@pomnit.command(epilog=examples("pomnit pause", "pomnit pause --for 10m"))
@common
@click.option("--for", "length", type=Duration(), metavar="TIME", help="Go on by itself after so long.")
@click.pass_obj
def pause(context: Context, length: float | None) -> int:
    """Pause recording, in whatever process it runs. It stays paused over a restart, until resumed."""
    from pomnit.doors.cli import show

    with context.memory() as memory:
        state = memory.pause_capture(length)
    context.show(state, show.capture_state)
    return 0


@pomnit.command(epilog=examples("pomnit resume"))
@common
@click.pass_obj
def resume(context: Context) -> int:
    """Let recording go on."""
    from pomnit.doors.cli import show

    with context.memory() as memory:
        state = memory.resume_capture()
    context.show(state, show.capture_state)
    return 0


@contextlib.contextmanager
def ended_by_signals(stop: Stop) -> Iterator[None]:
    """Lets Ctrl-C and a polite kill end the recording behind the frame in work; a second Ctrl-C ends it at once."""

    def ask(number: int, _: object) -> None:
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask()

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody sends signals here
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begun(begun: Begun) -> None:
    """Says that it records. Nothing is written after that: it would change the screen, and be recorded in turn."""
    from pomnit.privacy.exclusions import DEFAULTS

    monitors = ", ".join(
        clean(name) + (f" {width}x{height}" if width else "") for name, width, height in begun.monitors
    )
    click.echo(
        click.style("recording", fg="red", bold=True) + f" {monitors}, at most every {begun.every_s:g} s", err=True
    )
    for app, why in begun.left_out:
        click.echo(f"black     {clean(app)}: {clean(why)}", err=True)
    known = set(DEFAULTS)
    own = [str(rule) for rule in begun.exclusions.rules if str(rule) not in known]
    never = ["password managers"] if len(own) < len(begun.exclusions.rules) else []
    never += ["private windows"] if begun.exclusions.private else []
    what = ", ".join(map(clean, [*never, *own])) or "nothing"
    click.echo(f"left out  {what}; `pomnit pause` pauses it, Ctrl-C ends it", err=True)


def _report(report: CaptureReport) -> None:
    click.echo(
        f"recorded: {counted(report.frames, 'frame')} in {report.took_s:.0f} s, {report.new} new, "
        f"{report.longer} known for longer"
    )
    for number, what in (
        (report.blackened, "with something left out"),
        (report.passed_over, "not taken, since something on that monitor is left out or not known"),
        (report.moved, "thrown away, since a window moved meanwhile"),
        (report.dropped, "dropped: sensitive, or forgotten"),
    ):
        if number:
            click.echo(f"  {counted(number, 'frame')} {what}")
    for why, number in sorted(report.reasons.items(), key=lambda each: (-each[1], each[0])):
        click.echo(f"  left out: {clean(why)} ({counted(number, 'frame')})")
    if report.failed:
        click.echo(click.style(f"  {counted(report.failed, 'frame')} failed: {clean(report.reason or '')}", fg="red"))
