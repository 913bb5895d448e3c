"""The commands of `pomnit models`: the inventory, and what gets, makes, chooses, checks and removes a model.

commands.py imports this file at its end, so that its group is among the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, memory_if_any, pomnit
from pomnit.errors import INTERRUPTED, SOME_FAILED, EngineError

if TYPE_CHECKING:
    from pomnit.models.cards import Runtime

_BITS = click.Choice(["4", "6", "8", "16", "32"])
_RUNTIMES = click.Choice(["onnx", "mlx"])
_EXIT = {"ok": 0, "warning": SOME_FAILED, "problem": EngineError.exit_code}


@pomnit.group(
    invoke_without_command=True,
    epilog=examples(
        "pomnit models",
        "pomnit models pull multilingual-e5-small",
        "pomnit models use multilingual-e5-small",
        "pomnit models check BGE-M3 --bits 4 --json",
    ),
)
@common
@click.pass_context
def models(context: click.Context) -> int:
    """Show the models that Pomnit knows: what is here, what is in use, what this machine's memory advises."""
    if context.invoked_subcommand is not None:
        return 0
    from pomnit import catalogue
    from pomnit.doors.cli import show_models

    shared: Context = context.obj
    with memory_if_any(shared) as memory:
        record = catalogue.inventory(shared.settings(), memory)
    shared.show(record, show_models.inventory)
    return 0


@models.command(
    epilog=examples("pomnit models pull multilingual-e5-small", "pomnit models pull BGE-M3 --from ~/Downloads/bge-m3")
)
@common
@click.argument("name")
@click.option("--from", "folder", metavar="FOLDER", help="Copy the published files from here; nothing is fetched.")
@click.pass_obj
def pull(context: Context, name: str, folder: str | None) -> int:
    """Get the files of a model from the Hugging Face hub, or from a folder. This alone reaches for the network."""
    from pomnit import catalogue
    from pomnit.doors.cli import show_models
    from pomnit.doors.cli.progress import Bars

    with _kept("type the same again to go on"), Bars(quiet=context.as_json) as bars:
        record = catalogue.pull(context.settings(), name, folder, on_progress=bars)
    context.show(record, show_models.pulled)
    return 0


@models.command(
    epilog=examples(
        "pomnit models convert BGE-M3 --bits 4",
        "pomnit models convert Qwen3-Embedding-0.6B --bits 6 --runtime mlx",
        "pomnit models convert ~/Downloads/bge-m3 --card BGE-M3 --delete-published",
    )
)
@common
@click.argument("model", metavar="NAME|FOLDER")
@click.option("--bits", type=_BITS, help="Of a weight; 6 with MLX only. Else those of the model's card: 8, or 4.")
@click.option("--runtime", type=_RUNTIMES, help="Else the one that this machine uses.")
@click.option("--card", metavar="NAME", help="Which model a FOLDER holds, where its own name does not say it.")
@click.option("--delete-published", is_flag=True, help="Remove the published files afterwards.")
@click.pass_obj
def convert(
    context: Context, model: str, bits: str | None, runtime: Runtime | None, card: str | None, delete_published: bool
) -> int:
    """Make a folder with fewer bits of a weight, which needs the published files no longer. No torch is needed."""
    from pomnit import catalogue
    from pomnit.doors.cli import show_models
    from pomnit.doors.cli.progress import Bars

    with _kept("nothing was changed"), Bars(quiet=context.as_json) as bars:
        record = catalogue.convert(
            context.settings(),
            model,
            card=card,
            bits=_number(bits),
            runtime=runtime,
            delete_published=delete_published,
            on_progress=bars,
        )
    context.show(record, show_models.converted)
    return 0


@models.command(epilog=examples("pomnit models use multilingual-e5-small", "pomnit models use BGE-M3 --bits 4"))
@common
@click.argument("name")
@click.option("--bits", type=_BITS, help="Of a weight; else those of the model's card.")
@click.pass_obj
def use(context: Context, name: str, bits: str | None) -> int:
    """Do the model's job with it from now on. For an encoder all passages are embedded anew.

    Search goes on with the encoder of before, until every passage has a vector of the new one.
    """
    from pomnit import catalogue
    from pomnit.doors.cli import show_models
    from pomnit.doors.cli.progress import Bars

    card = catalogue.card_named(name)
    again = "what is done is kept; the next command that adds goes on, or type the same again"
    with context.memory() as memory, _kept(again), Bars(quiet=context.as_json) as bars:
        record = memory.use(card.name, bits=_number(bits), on_progress=bars)
    context.show(record, show_models.used)
    return 0


@models.command(epilog=examples("pomnit models drop all-MiniLM-L6-v2", "pomnit models drop Qwen3-Embedding-4B --files"))
@common
@click.argument("name")
@click.option("--files", is_flag=True, help="Remove its files from the folder of models too.")
@click.pass_obj
def drop(context: Context, name: str, files: bool) -> int:
    """Forget the vectors that a model made, which is not in use; with --files the model too."""
    from pomnit import catalogue
    from pomnit.doors.cli import show_models

    with memory_if_any(context) as memory:
        record = catalogue.drop(context.settings(), memory, name, files=files)
    context.show(record, show_models.dropped)
    return 0


@models.command(
    epilog=examples("pomnit models check all-MiniLM-L6-v2", "pomnit models check BGE-M3 --bits 4 --rounds 3")
)
@common
@click.argument("name")
@click.option("--bits", type=_BITS, help="Of a weight; else those of the model's card.")
@click.option("--runtime", type=_RUNTIMES, help="Else the one that this machine uses.")
@click.option("--rounds", type=click.IntRange(0, 1000), default=10, show_default=True, help="Of loading and closing.")
@click.pass_obj
def check(context: Context, name: str, bits: str | None, runtime: Runtime | None, rounds: int) -> int:
    """Load a model and run its golden texts: agreement with 32 bits, answers found, speed, memory, growth.

    The memory is remembered, and `pomnit models` shows it. Exit code 4 with a warning, 20 with a problem.
    """
    from pomnit import catalogue
    from pomnit.doors.cli import show_models

    record = catalogue.check(context.settings(), name, bits=_number(bits), runtime=runtime, rounds=rounds)
    context.show(record, show_models.check)
    return _EXIT[record.verdict]


def _number(bits: str | None) -> int | None:
    return int(bits) if bits else None


@contextmanager
def _kept(what: str) -> Iterator[None]:
    """Ends the command after Ctrl-C, and says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nstopped; {what}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
