"""The commands that look around: similar, more, topics; and what `search --gallery` and `show --open` do.

commands.py imports this file at its end, so that its commands are in the same group.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit

if TYPE_CHECKING:
    from pomnit.memory import Memory
    from pomnit.records import ItemView, SearchResult


@pomnit.command(
    epilog=examples('pomnit similar "the train is late" "a delayed train"', "pomnit similar - < lines.txt --json")
)
@common
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.pass_obj
def similar(context: Context, texts: tuple[str, ...]) -> int:
    """Show how near texts are in meaning: the cosine of each with each. - takes the lines of standard input."""
    from pomnit.doors.cli import show

    given: list[str] = []
    for text in texts:
        given += [line for line in map(str.strip, sys.stdin) if line] if text == "-" else [text]
    with context.memory() as memory:
        record = memory.similar(given)
    context.show(record, show.similarity)
    return 0


@pomnit.command(epilog=examples("pomnit more 0193a5c2", "pomnit more 0193a5c2 -n 3 --json"))
@common
@click.argument("item", metavar="ID")
@click.option("-n", "--limit", type=int, default=10, show_default=True, help="At most so many hits.")
@click.pass_obj
def more(context: Context, item: str, limit: int) -> int:
    """Show what is like an item: by its telling words, and by meaning where the encoder knows its language."""
    from pomnit.doors.cli import show

    with context.memory() as memory:
        result = memory.more(item, limit=limit)
    context.show(result, show.search_result)
    return 0


@pomnit.command(
    epilog=examples("pomnit topics", "pomnit topics --groups 8 --type image", "pomnit topics --chart topics.png")
)
@common
@click.option("--groups", type=int, metavar="N", help="So many groups; else as many as part the items best.")
@click.option("-n", "--examples", "n_examples", type=int, default=3, show_default=True, help="Items shown of each.")
@click.option("--chart", metavar="FILE", help="Draw them too, as .png or .svg.")
@click.option("--type", "kind", metavar="KIND", help="Only image, document, audio or note.")
@click.option("--after", metavar="DATE", help="Only from this day, month or year on.")
@click.option("--before", metavar="DATE", help="Only before this day, month or year.")
@click.option("--in", "within", metavar="FOLDER", help="Only what came from this folder or file.")
@click.pass_obj
def topics(
    context: Context,
    groups: int | None,
    n_examples: int,
    chart: str | None,
    kind: str | None,
    after: str | None,
    before: str | None,
    within: str | None,
) -> int:
    """Show the themes of what is remembered: groups of items, each named by its own telling words."""
    from pomnit.doors.cli import private, show

    if chart is not None:
        private.check("--chart", chart, ".png", ".svg")
    with context.memory() as memory:
        record = memory.topics(groups=groups, examples=n_examples, type=kind, after=after, before=before, within=within)
    context.show(record, show.topics)
    if chart is not None:
        from pomnit.doors.cli.chart import draw

        private.write(chart, draw(chart, record))
        click.echo(f"drawn: {chart}; it is not encrypted", err=True)
    return 0


def check_gallery(path: str | None) -> None:
    """Raises UsageError when the page of `search --gallery` should not be written there."""
    if path is not None:
        from pomnit.doors.cli import private

        private.check("--gallery", path, ".html", ".htm")


def write_gallery(path: str, result: SearchResult, memory: Memory) -> None:
    """Writes the page of `search --gallery`."""
    from pomnit.doors.cli import gallery, private

    private.write(path, gallery.page(result, memory.preview).encode())
    click.echo(f"written: {path}; it is not encrypted, and loads nothing", err=True)


def open_item(memory: Memory, view: ItemView) -> int:
    """Does what `show --open` says; gives the exit code."""
    from pomnit.doors.cli import opener

    return opener.open_item(memory, view)
