"""The commands that answer: ask, chat; and describe, which gives pictures words to be found by.

commands.py imports this file at its end, so that its commands are in the same group.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import one_line
from pomnit.errors import INTERRUPTED, SOME_FAILED, NotFound, PomnitError, UsageError

if TYPE_CHECKING:
    from pomnit.memory import Memory
    from pomnit.records import Answer

_LONGEST_LINE = 20_000  # characters of a question; a longer line is a pasted text
_COMMANDS = "/sources shows again what the last answer rests on, /new forgets the thread, Ctrl-D leaves"


def asking(command: Any) -> Any:
    """Adds what `ask` and `chat` have in common: filters, and who answers from how much."""
    options = (
        click.option("--type", "kind", metavar="KIND", help="Only from image, document, audio or note."),
        click.option("--after", metavar="DATE", help="Only from what is of this day, month or year on (2026-11-01)."),
        click.option("--before", metavar="DATE", help="Only from what is older than this day, month or year."),
        click.option("--in", "within", metavar="FOLDER", help="Only from what came from this folder or file."),
        click.option("--app", metavar="NAME", help="Only from what was seen in this application."),
        click.option(
            "-n", "--limit", type=int, default=5, show_default=True, help="Rest it on at most so many pieces."
        ),
        click.option(
            "--answerer", metavar="NAME", help="extractive, server or a vision model; else as the settings say."
        ),
        click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Give up after so long."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@pomnit.command(
    epilog=examples(
        'pomnit ask "сколько стоил билет, который я смотрел во вторник?"',
        'pomnit ask "when does the train to Berlin leave?" --show cited',
        'pomnit ask "кому я обещал вернуть книгу" --type note --after 2026-10',
        'pomnit ask "what is this plant, and where did I read about it?" --image photo.jpg',
        'pomnit ask "what did the landlord promise" --answerer extractive --json',
    )
)
@common
@click.argument("question", nargs=-1, required=True)
@asking
@click.option("--image", metavar="FILE", help="A picture that the question is about; it is not remembered.")
@click.option("--show", "folder", metavar="FOLDER", help="Draw what is cited there: pictures with the quotes boxed.")
@click.pass_obj
def ask(
    context: Context,
    /,
    question: tuple[str, ...],
    image: str | None,
    folder: str | None,
    kind: str | None,
    **named: Any,
) -> int:
    """Answer a question from what is remembered, citing it: [1], [2], each with its item, quote and place.

    The answer is in the language of the question. Where the evidence is thin it says that it does not know, and shows
    what comes closest. Without a model that writes, it is made of the best sentences that were found.
    """
    from pomnit.doors.cli import boxes, show_ask

    if image is not None and not os.path.isfile(os.path.expanduser(image)):
        raise NotFound(f"--image {image:.200}: there is no such file")
    if folder is not None:
        boxes.check(folder)
    streamed = None if context.as_json else show_ask.Streamed()
    with context.memory() as memory, _stopping():
        answer = memory.ask(" ".join(question), type=kind, image=image, on_text=streamed, **named)
        _show(context, answer, streamed)
        if folder is not None:
            show_ask.drawn(boxes.write(folder, answer.citations, memory))
    return 0


@pomnit.command(
    epilog=examples(
        "pomnit chat",
        "pomnit chat --type document --in ~/Documents",
        "printf 'когда у меня стоматолог?\\nа где это?\\n' | pomnit chat",
        "pomnit chat --json < questions.txt",
    )
)
@common
@asking
@click.pass_obj
def chat(context: Context, /, kind: str | None, **named: Any) -> int:
    """Answer questions one after the other; a later one may lean on those before ("а в марте?", "and the price?").

    Each answer is cited anew. /sources shows again what the last one rests on, /new forgets the thread. Ctrl-C stops an
    answer, a second one leaves, and so does Ctrl-D. With --json each answer is one line.
    """
    with context.memory() as memory:
        return _Talk(context, memory, {"type": kind, **named}).until_the_end()


@pomnit.command(epilog=examples("pomnit describe", "pomnit describe --limit 50", 'pomnit search "рыжая кошка на окне"'))
@common
@click.option("-n", "--limit", type=int, metavar="N", help="At most so many pictures, the newest first.")
@click.pass_obj
def describe(context: Context, limit: int | None) -> int:
    """Give pictures with little text a caption in English and Russian, so that they are found by what they show.

    A model that sees makes them: a vision model, or a server of your own that takes pictures. They are marked as
    generated. Ctrl-C loses nothing. With `describe = "on"` in the settings it is done as pictures are added.
    """
    from pomnit.doors.cli import show_ask
    from pomnit.doors.cli.progress import Bars

    kept = "; what was described is kept, and `pomnit describe` goes on"
    with context.memory() as memory, _stopping(kept), Bars(quiet=context.as_json) as bars:
        report = memory.describe(limit=limit, on_progress=bars)
    context.show(report, show_ask.describe_report)
    return SOME_FAILED if report.failed else 0


def _show(context: Context, answer: Answer, streamed: Any) -> None:
    """Prints an answer whose text may have been printed as it came."""
    from pomnit.doors.cli import show_ask

    if streamed is None:
        context.show(answer, show_ask.answer)
    else:
        streamed.end()
        show_ask.answer(answer, streamed.text)


@contextlib.contextmanager
def _stopping(what: str = "") -> Iterator[None]:
    """Ends the command after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nstopped{what}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


class _Talk:
    """A conversation, line by line."""

    def __init__(self, context: Context, memory: Memory, asked: dict[str, Any]) -> None:
        self._context, self._memory, self._asked = context, memory, asked
        self._thread = memory.chat()
        self._last: Answer | None = None
        self._is_terminal = sys.stdin.isatty()

    def until_the_end(self) -> int:
        """Answers until the input ends, or Ctrl-C comes twice; gives the exit code."""
        self._prepare()
        stopped = False
        while True:
            try:
                line = self._line()
                if line is None:
                    return 0
                stopped = False
                self._do(line.strip())
            except KeyboardInterrupt:
                click.echo("\nstopped" + ("" if stopped else "; Ctrl-C again leaves, and so does Ctrl-D"), err=True)
                if stopped:
                    return INTERRUPTED
                stopped = True

    def _prepare(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):  # a stand-in of tests has no encoding
            sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
        if self._is_terminal:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 input() then edits its line, and remembers those before
            click.echo(click.style(_COMMANDS, dim=True), err=True)

    def _line(self) -> str | None:
        if self._is_terminal:
            try:
                return input("" if self._context.as_json else "> ")
            except EOFError:
                click.echo(err=True)
                return None
        line = sys.stdin.readline()
        if line and not self._context.as_json and line.strip():
            click.echo(click.style(f"> {one_line(line[:_LONGEST_LINE])}", bold=True))
        return line or None

    def _do(self, line: str) -> None:
        commands: dict[str, Callable[[], None]] = {"/sources": self._sources, "/new": self._new, "/help": self._help}
        if not line:
            return
        if line in commands:
            commands[line]()
        elif line.startswith("/") and line[1:].isalpha():
            self._say(UsageError(f"there is no {line:.40}; {_COMMANDS}"))
        else:
            self._answer(line)

    def _answer(self, question: str) -> None:
        from pomnit.doors.cli import show_ask

        streamed = None if self._context.as_json else show_ask.Streamed()
        try:
            if len(question) > _LONGEST_LINE:
                raise UsageError(f"a question has at most {_LONGEST_LINE} characters, and this line {len(question)}")
            self._last = self._thread.ask(question, on_text=streamed, **self._asked)
        except PomnitError as error:
            if streamed is not None:
                streamed.end()
            self._say(error)
            return
        if streamed is None:
            self._print_line(self._last)
        else:
            _show(self._context, self._last, streamed)
            click.echo()

    def _say(self, error: PomnitError) -> None:
        if self._context.as_json:
            self._print_line({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code})
        click.echo(f"pomnit: {one_line(str(error))}", err=True)

    def _print_line(self, record: Any) -> None:
        from pomnit.records import to_json

        click.echo(json.dumps(to_json(record), ensure_ascii=False))

    def _sources(self) -> None:
        from pomnit.doors.cli import show_ask

        citations = self._last.citations if self._last else ()
        if self._context.as_json:
            self._print_line({"citations": citations})
        elif self._last is None or not citations:
            click.echo("the last answer cites nothing" if self._last else "nothing was asked yet")
        else:
            show_ask.sources(self._last)
            click.echo()

    def _new(self) -> None:
        self._thread, self._last = self._memory.chat(), None
        click.echo("a new thread", err=True)

    def _help(self) -> None:
        click.echo(_COMMANDS, err=True)
