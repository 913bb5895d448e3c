"""The command `pomnit scan`: what is stored, looked through for cards, passwords and the like; never showing them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean, counted, sized

if TYPE_CHECKING:
    from pomnit.records import MaskReceipt, ScanReport

FOUND = 1  # the exit code when something sensitive was found and is left as it is
_MOST_ITEMS = 50
_MOST_FINDS = 10  # of one item


@pomnit.command(
    epilog=examples(
        "pomnit scan",
        "pomnit scan --kind card --kind password --json",
        "pomnit scan --mask",
        "pomnit scan --kind key --forget --yes",
    )
)
@common
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Only card, iban, passport, snils, inn, ssn, token, key or password.",
)
@click.option("--mask", is_flag=True, help="Mask what is found: text, words, vectors, previews and kept bytes.")
@click.option("--forget", is_flag=True, help="Forget the items in which something is found.")
@click.option("--dry-run", is_flag=True, help="Only show what is found; so it is without --mask and --forget, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def scan(context: Context, kinds: tuple[str, ...], mask: bool, forget: bool, dry_run: bool, yes: bool) -> int:
    """Look through what is stored for cards, IBANs, passports, СНИЛС, ИНН, SSNs, tokens, keys and passwords.

    Shows kinds, counts, items and places, never the text itself. Ends with 0 when nothing was found or all of it was
    masked or forgotten, with 1 when something was found and left.
    """
    from pomnit.doors.cli.progress import Bars
    from pomnit.errors import UsageError

    if mask and forget:
        raise UsageError("give either --mask or --forget")
    act = (mask or forget) and not dry_run
    with context.memory() as memory:
        if act and not yes:
            if not sys.stdin.isatty():
                raise UsageError(
                    "what is masked or forgotten does not come back; add --yes to do it without being asked"
                )
            with Bars(quiet=context.as_json) as bars:
                report = memory.scan(kinds, on_progress=bars)
            _print_found(report)
            what = "Mask what was found in" if mask else "Forget"
            if not report.items or not click.confirm(
                f"{what} {counted(len(report.items), 'item')} for good?", err=True
            ):
                return FOUND if report.items else 0
        with Bars(quiet=context.as_json) as bars:
            report = memory.scan(kinds, mask=mask and act, forget=forget and act, on_progress=bars)
    context.show(report, _print_done if act and not yes else print_report)
    return FOUND if report.items and not act else 0


def print_report(report: ScanReport) -> None:
    """Prints what was found, and what was done about it."""
    _print_found(report)
    _print_done(report)
    if report.items and report.masked is None and report.forgotten is None:
        click.echo("`pomnit scan --mask` masks it, `pomnit scan --forget` forgets these items")


def _print_done(report: ScanReport) -> None:
    if report.masked is not None:
        _print_masked(report.masked)
    if report.forgotten is not None and report.items:
        gone = report.forgotten
        click.echo(
            f"forgotten: {counted(len(gone.items), 'item')}, {counted(gone.passages, 'passage')}, "
            f"{counted(gone.files, 'kept file')}; {sized(gone.bytes_freed)} freed"
        )


def _print_found(report: ScanReport) -> None:
    from pomnit.doors.cli.show import local_time, placed

    for one in report.items[:_MOST_ITEMS]:
        click.echo(
            f"{click.style(clean(one.item.title), bold=True)}  {local_time(one.item.time)}  "
            f"{click.style(one.item.id, dim=True)}"
        )
        for find in one.finds[:_MOST_FINDS]:
            where = "in a title" if find.passage is None else placed(find.places)
            click.echo(f"    {find.mask:18} {where}{'' if find.sure else '  (not sure)'}")
        if len(one.finds) > _MOST_FINDS:
            click.echo(f"    … and {len(one.finds) - _MOST_FINDS} more")
    if len(report.items) > _MOST_ITEMS:
        click.echo(f"… and {counted(len(report.items) - _MOST_ITEMS, 'item')} more; --json shows all")
    kinds = ", ".join(f"{kind} {n}" for kind, n in report.kinds.items())
    found = f"found: {kinds} in {counted(len(report.items), 'item')}" if report.items else "nothing sensitive found"
    click.echo(
        f"{found}; looked through {counted(report.passages_seen, 'passage')} of {counted(report.items_seen, 'item')}"
    )
    if report.unread:
        click.echo(click.style(f"not read yet, so not looked through: {counted(report.unread, 'item')}", fg="yellow"))


def _print_masked(receipt: MaskReceipt) -> None:
    parts = [counted(receipt.items, "item"), counted(receipt.passages, "passage"), counted(receipt.vectors, "vector")]
    parts += [f"{counted(receipt.previews, 'preview')} painted over"] if receipt.previews else []
    parts += [f"{counted(receipt.originals, 'kept file')} written anew"] if receipt.originals else []
    removed = receipt.originals_removed
    parts += [f"{counted(removed, 'kept file')} not kept any more"] if removed else []
    click.echo(f"masked: {', '.join(parts)}")
