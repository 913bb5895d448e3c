"""What stays and what goes: forget by hand, retention by rules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.capture import Duration
from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean, counted, sized

if TYPE_CHECKING:
    from pomnit.records import RetentionReport


@pomnit.command(
    epilog=examples(
        "pomnit forget 0193a5c2",
        "pomnit forget --source ~/Pictures/private",
        "pomnit forget --query паспорт",
        "pomnit forget --last 10m",
        "pomnit forget --app Telegram --during вчера",
        "pomnit forget --after 2026-11-01T09:30 --before 2026-11-01T10:15",
    )
)
@common
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--source", metavar="PATH", help="All that came from this file or folder.")
@click.option("--query", metavar="QUERY", help="All that holds every word of this query, and meets its filters.")
@click.option("--after", metavar="DATE", help="Seen from then on: 2026-11-01, 2026-11-01T09:30, yesterday, вчера.")
@click.option("--before", metavar="DATE", help="Seen before then.")
@click.option("--during", metavar="DATE", help="Seen on this day, in this month, last week, …")
@click.option("--last", type=Duration(), metavar="TIME", help="Seen or remembered in the last 10m, 2h, 3d.")
@click.option("--app", metavar="NAME", help="Seen in this application.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(
    context: Context,
    ids: tuple[str, ...],
    source: str | None,
    query: str | None,
    after: str | None,
    before: str | None,
    during: str | None,
    last: float | None,
    app: str | None,
    yes: bool,
) -> int:
    """Forget items completely and print the receipt: the IDs, and what meets all the options together.

    The files they came from stay where they are. What waits to be read goes, too.
    """
    from pomnit.doors.cli import show
    from pomnit.errors import UsageError

    with context.memory() as memory:
        items = memory.to_forget(
            ids=ids, source=source, query=query, after=after, before=before, during=during, last_s=last, app=app
        )
        if items and not yes:
            if not sys.stdin.isatty():
                raise UsageError(
                    f"{counted(len(items), 'item')} would be forgotten; add --yes to do it without being asked"
                )
            show.to_forget(items)
            if not click.confirm(f"Forget {counted(len(items), 'item')} for good?", err=True):
                return 1
        receipt = memory.forget(items)
    context.show(receipt, show.receipt)
    return 0


@pomnit.command(epilog=examples("pomnit retention", "pomnit retention --dry-run --json", "pomnit retention --apply"))
@common
@click.option("--dry-run", is_flag=True, help="Only show what would go; so it is without --apply, too.")
@click.option("--apply", "applied", is_flag=True, help="Let it go now, and print the receipt.")
@click.pass_obj
def retention(context: Context, dry_run: bool, applied: bool) -> int:
    """Show what would go by the rules of retention in the settings, or let it go.

    The rules are applied by themselves, once a day at most, after something was added. Without a rule nothing goes.
    """
    from pomnit.doors.cli.progress import Bars
    from pomnit.errors import UsageError

    if dry_run and applied:
        raise UsageError("give either --dry-run or --apply")
    with context.memory() as memory, Bars(quiet=context.as_json) as bars:
        report = memory.retention(apply=applied, on_progress=bars)
    context.show(report, _report)
    return 1 if report.unfinished else 0


def _report(report: RetentionReport) -> None:
    from pomnit.doors.cli import show

    rules = [f"{kind}s go after {counted(days, 'day')}" for kind, days in report.days.items()]
    rules += [] if report.quota is None else [f"at most {sized(report.quota)}"]
    nothing = 'none, so nothing ever goes; write one into settings.toml, such as retention.screen = "90d"'
    click.echo(f"rules      {', '.join(rules) or nothing}")
    click.echo(f"size       {sized(report.size)}")
    for share in report.shares:
        what = {"kept": "kept original", "preview": "preview", "item": "item"}[share.what]
        rule = "over the quota" if share.rule == "quota" else f"over its age ({share.rule})"
        days = (
            share.oldest[:10]
            if share.oldest[:10] == share.newest[:10]
            else f"{share.oldest[:10]} … {share.newest[:10]}"
        )
        verb = "went" if report.applied else "would go"
        click.echo(f"{verb:10} {counted(share.number, what)}, about {sized(share.bytes)}, of {days}: {rule}")
    if rules and not report.shares:
        click.echo("nothing is over its age or over the quota")
    if report.more:
        click.echo("           and more, behind these")
    if report.receipt is not None and (report.receipt.items or report.receipt.files):
        show.receipt(report.receipt)
    if report.unfinished:
        click.echo(click.style(f"unfinished {clean(report.unfinished)}", fg="yellow"))
    if report.last is not None:
        last = report.last
        click.echo(
            f"last       {show.local_time(last.at)}: {counted(last.items, 'item')}, {counted(last.files, 'file')}, "
            f"{sized(last.bytes_freed)} freed"
        )
    if report.shares and not report.applied:
        click.echo("type       pomnit retention --apply")
