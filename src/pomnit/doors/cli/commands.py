"""The commands: each parses its words, calls one method of Memory, and gives the record to ``show``.

Only click is imported here; what a command needs comes when it runs, so ``pomnit --help`` is instant.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from pomnit import __version__
from pomnit.doors.cli.terminal import one_line
from pomnit.errors import INTERRUPTED, SOME_FAILED, Locked, PomnitError

if TYPE_CHECKING:
    from pomnit.memory import Memory
    from pomnit.settings import Settings


class Context:
    """What all commands share: the flags that stand before or after the command's name."""

    def __init__(self) -> None:
        self.home: str | None = None
        self.as_json = False

    def settings(self) -> Settings:
        from pomnit.settings import Settings

        return Settings.load(home=self.home)

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        from pomnit.memory import Memory

        with Memory.open(settings=self.settings()) as memory:
            yield memory

    def show(self, record: Any, show: Any) -> None:
        """Prints a record as JSON, or with ``show`` for people."""
        from pomnit.records import to_json

        if self.as_json:
            click.echo(json.dumps(to_json(record), ensure_ascii=False, indent=2))
        else:
            show(record)


@contextmanager
def memory_if_any(context: Context) -> Iterator[Memory | None]:
    """Gives the memory, None when there is none yet, or it is locked: looking at a machine or its models makes none."""
    if not (context.settings().home / "home.json").exists():
        yield None
        return
    with ExitStack() as stack:
        memory = None
        try:
            memory = stack.enter_context(context.memory())
        except Locked:
            click.echo("the memory is locked, so what it uses is not shown; `pomnit unlock` opens it", err=True)
        yield memory


def _set_home(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Context).home = value


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Context).as_json = True


def common(command: Any) -> Any:
    """Adds --home and --json, which every command takes."""
    home = click.option(
        "--home", metavar="FOLDER", callback=_set_home, expose_value=False, help="The memory's folder (or POMNIT_HOME)."
    )
    as_json = click.option(
        "--json", is_flag=True, callback=_set_json, expose_value=False, help="Print records as JSON."
    )
    return home(as_json(command))


def examples(*lines: str) -> str:
    """Gives the end of a help text; click leaves the lines after a backspace as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "pomnit add ~/Pictures/Screenshots",
        'pomnit search "счёт за октябрь"',
        'pomnit search "train ticket" --type image',
    ),
)
@common
@click.version_option(__version__)
@click.pass_context
def pomnit(context: click.Context) -> None:
    """Pomnit remembers what you saw and finds it again, in Russian and in English. Nothing leaves this machine."""
    context.ensure_object(Context)


@pomnit.command(epilog=examples("pomnit add ~/Pictures/Screenshots ~/notes", "pomnit add --copy photo.jpg"))
@common
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--copy", is_flag=True, help="Keep the bytes too, encrypted; else files are referred to where they are.")
@click.option("--again", is_flag=True, help="Bring back what was forgotten.")
@click.option("--mask", is_flag=True, help="Mask cards, passwords, passports … before anything of new files is stored.")
@click.pass_obj
def add(context: Context, paths: tuple[str, ...], copy: bool, again: bool, mask: bool) -> int:
    """Remember files and whole folders: pictures, documents, texts, recordings and the sound of films.

    What is known is skipped. Ctrl-C loses nothing: what was remembered is read by the next command that adds.
    """
    from pomnit.doors.cli import show
    from pomnit.doors.cli.progress import Bars

    with context.memory() as memory, Bars(quiet=context.as_json) as bars:
        report = memory.add(paths, copy=copy, again=again, sensitive="mask" if mask else None, on_progress=bars)
    context.show(report, show.add_report)
    return SOME_FAILED if report.failed else 0


@pomnit.command(
    epilog=examples(
        'pomnit search "когда у меня стоматолог"',
        "pomnit search 'type:image after:2026-11-01 \"точная фраза\"'",
        'pomnit search "чек за такси на прошлой неделе"',
        "pomnit search invoice --in ~/Documents --before 2026 --json",
        'pomnit search "what did the landlord promise" --rerank bge-reranker-v2-m3',
    )
)
@common
@click.argument("query", nargs=-1, required=True)
@click.option("--type", "kind", metavar="KIND", help="Only image, document, audio or note.")
@click.option("--after", metavar="DATE", help="Only from this day, month or year on (2026-11-01).")
@click.option("--before", metavar="DATE", help="Only before this day, month or year.")
@click.option(
    "--in", "within", metavar="FOLDER", help="Only what came from this folder or file, or a part of its path."
)
@click.option("--app", metavar="NAME", help="Only what was seen in this application.")
@click.option("--state", metavar="STATE", help="superseded: replaced by newer bytes; all: those too.")
@click.option("-n", "--limit", type=int, default=10, show_default=True, help="At most so many hits.")
@click.option("--as-words", is_flag=True, help="Search for the words of a relative date (вчера, last week), not by it.")
@click.option(
    "--rerank", metavar="NAME", help="Let this reranker order the best hits, however long it takes; none: let no one."
)
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Give up after so long.")
@click.option("--gallery", metavar="FILE", help="Write the hits as a page too: pictures with the found words boxed.")
@click.pass_obj
def search(
    context: Context,
    query: tuple[str, ...],
    kind: str | None,
    after: str | None,
    before: str | None,
    within: str | None,
    app: str | None,
    state: str | None,
    limit: int,
    as_words: bool,
    rerank: str | None,
    timeout_s: float | None,
    gallery: str | None,
) -> int:
    """Find again. The query may hold "exact phrases" and filters: type: after: before: in: app: state:.

    A relative date (вчера, на прошлой неделе, last Tuesday, 3 days ago) keeps what is of that time.
    """
    from pomnit.doors.cli import show
    from pomnit.doors.cli.progress import Bars

    explore.check_gallery(gallery)
    with context.memory() as memory, Bars(quiet=context.as_json or rerank is None) as bars:
        result = memory.search(
            " ".join(query),
            type=kind,
            after=after,
            before=before,
            within=within,
            app=app,
            state=state,
            limit=limit,
            as_words=as_words,
            rerank=rerank,
            timeout_s=timeout_s,
            on_progress=bars,
        )
        if gallery is not None:
            explore.write_gallery(gallery, result, memory)
    context.show(result, show.search_result)
    return 0


@pomnit.command("show", epilog=examples("pomnit show 0193a5c2", "pomnit show 0193a5c2 --open"))
@common
@click.argument("item", metavar="ID")
@click.option("--open", "opened", is_flag=True, help="Open its file too, with the program of this desktop for it.")
@click.pass_obj
def show_item(context: Context, item: str, opened: bool) -> int:
    """Show an item: text, passages, places, sources, state. The beginning of its id is enough."""
    from pomnit.doors.cli import show

    with context.memory() as memory:
        view = memory.show(item)
        context.show(view, show.item_view)
        return explore.open_item(memory, view) if opened else 0


@pomnit.command(epilog=examples("pomnit status", "pomnit status --json", "pomnit status --watch"))
@common
@click.option("--watch", is_flag=True, help="Show memory, swap, pressure and processor each second, until Ctrl-C.")
@click.pass_obj
def status(context: Context, watch: bool) -> int:
    """Show what is remembered, what waits or failed and why, sizes, and which models do the work."""
    from pomnit.doors.cli import show

    with context.memory() as memory:
        if watch:
            return profile.watch(memory, as_json=context.as_json)
        record = memory.status()
    context.show(record, show.status)
    return 0


@pomnit.command(epilog=examples("pomnit retry"))
@common
@click.pass_obj
def retry(context: Context) -> int:
    """Try again what failed, and go on with what waits."""
    from pomnit.doors.cli import show
    from pomnit.doors.cli.progress import Bars

    with context.memory() as memory, Bars(quiet=context.as_json) as bars:
        report = memory.retry(on_progress=bars)
    context.show(report, show.retry_report)
    return SOME_FAILED if report.failed else 0


@pomnit.command(epilog=examples("pomnit doctor"))
@common
@click.pass_obj
def doctor(context: Context) -> int:
    """Check this machine: a line each with ok, warning or problem, and the next command to type."""
    from pomnit.doctor import examine
    from pomnit.doors.cli import show

    checks = list(examine(context.settings()))
    context.show(checks, show.checks)
    return 1 if any(check.verdict == "problem" for check in checks) else 0


from pomnit.doors.cli import ask, capture, explore, folders, keeping, keys, models, profile, scan, speech  # noqa: E402, F401 they add their commands to the group above


def run(arguments: Sequence[str]) -> int:
    """Runs one command; gives the exit code. Errors are one line on standard error, with --json an object."""
    context = Context()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Pillow's, about odd files; `python -W default` shows them
    try:
        code = pomnit.main(list(arguments), prog_name="pomnit", obj=context, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        click.echo(f"pomnit: {one_line(error.format_message()).rstrip('.')}; `pomnit --help` shows how", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; what was remembered is kept, and `pomnit retry` goes on", err=True)
        return INTERRUPTED
    except PomnitError as error:
        if context.as_json:
            click.echo(json.dumps({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code}))
        click.echo(f"pomnit: {one_line(str(error))}", err=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
