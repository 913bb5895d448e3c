"""Answers, printed for people: the text as it comes, then what it rests on. Nothing of it is obeyed by a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pomnit.doors.cli import show
from pomnit.doors.cli.boxes import Drawn
from pomnit.doors.cli.terminal import clean, counted, one_line
from pomnit.errors import UsageError
from pomnit.memory import name_of
from pomnit.records import MARK_CLOSE, MARK_OPEN, Answer, Citation, DescribeReport, Place
from pomnit.search.marks import find
from pomnit.search.query import understand

_LONGEST_QUOTE = 600  # characters that are shown of one
_BRACKETS = str.maketrans({MARK_OPEN: "[", MARK_CLOSE: "]"})


class Streamed:
    """Prints the pieces of an answer as they come; ``text`` is what was printed."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, piece: str) -> None:
        shown = clean(piece.replace("\r\n", "\n"))
        shown = shown if self.text else shown.lstrip()
        self.text += shown
        click.echo(shown, nl=False)

    def end(self) -> None:
        """Ends the last line."""
        if self.text and not self.text.endswith("\n"):
            click.echo()


def answer(record: Answer, streamed: str = "") -> None:
    """Prints an answer whose text was printed as it came, or was not: its text, sources, doubts, and who answered.

    What came is not what counts: made-up numbers of citations are gone from the record's text, which is printed again
    where the two differ.
    """
    text = clean(record.text).strip()
    if not streamed.strip():
        click.echo(text)
    elif streamed.split() != text.split():
        click.echo(click.style("the answer, checked:", fg="yellow"))
        click.echo(text)
    for sentence in record.unsupported:
        click.echo(click.style(f"not supported by what was found: {one_line(sentence)}", fg="yellow"))
    sources(record)
    if record.abstained and record.nearest:
        click.echo("\nwhat comes closest:")
        for number, hit in enumerate(record.nearest, 1):
            show.print_hit(number, hit)
    click.echo()
    for note in record.notes:
        click.echo(click.style(f"note: {one_line(note)}", fg="yellow"))
    click.echo(click.style(_by(record), dim=True))
    show.unindexed(record.unindexed)


def _by(record: Answer) -> str:
    """Gives in one line who answered, why, how quickly, and which legs ran; `status` says what else could be done."""
    why = one_line(record.reason).partition("; ")[0]
    took = f"first words after {record.first_ms:.0f} ms, all in {record.took_ms:.0f} ms"
    legs = ", ".join(map(show.leg_line, record.legs))
    return f"answered by {one_line(record.answerer)} ({why}); {took}; legs: {legs}"


def sources(record: Answer) -> None:
    """Prints the citations by number, each with its quotes; the words of the question are marked."""
    words = _words(record.question)
    cited: dict[tuple[int, str], list[Citation]] = {}
    for citation in sorted(record.citations, key=lambda c: c.number):
        cited.setdefault((citation.number, citation.item.id), []).append(citation)
    for citations in cited.values():
        first = citations[0]
        places = [place for citation in citations for place in citation.places]
        head = f"[{first.number}] {click.style(one_line(first.item.title), bold=True)}"
        where = show.placed(_together(places))
        click.echo("\n" + " · ".join([head, show.local_time(first.item.time), *([where] if where else [])]))
        for quote in dict.fromkeys(citation.quote for citation in citations):
            click.echo(show.marked(show.wrapped(_quote(quote, words))))
        click.echo(click.style(f"    {_source(first)}", dim=True))


def _together(places: Sequence[Place]) -> Sequence[Place]:
    """Gives one box around those of a picture or page; other places as they are, each once."""
    boxes = [place.box for place in places if place.box is not None]
    if len(boxes) < len(places) or len({place.page for place in places}) != 1:
        return list(dict.fromkeys(places))
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return [Place(page=places[0].page, box=(min(x0), min(y0), max(x1), max(y1)))]


def _source(citation: Citation) -> str:
    """Gives the file that a citation comes from, and what else is to be known of it."""
    made = f"  {show.GENERATED}" if citation.passage.origin == "generated" else ""
    state = "" if citation.item.state in ("ready", "working") else f"  [{citation.item.state}]"
    return f"{one_line(name_of(citation.item))}{state}{made}"


def _words(question: str) -> Sequence[tuple[str, str]]:
    try:
        return [(word.stem, word.text) for word in understand(question).words]
    except UsageError:
        return []


def _quote(quote: str, words: Sequence[tuple[str, str]]) -> str:
    """Gives a quote with the words of the question marked."""
    whole = clean(quote)[:_LONGEST_QUOTE]
    text = whole.translate(_BRACKETS)
    parts, at = [], 0
    for start, end in find(text, {stem for stem, _ in words}, [word for _, word in words]):
        parts += [text[at:start], MARK_OPEN, text[start:end], MARK_CLOSE]
        at = end
    more = "…" if len(quote) > _LONGEST_QUOTE else ""
    marked = " ".join("".join([*parts, text[at:], more]).split())
    return f"“{marked}”" if marked else "(what the picture shows)"


def drawn(records: Sequence[Drawn]) -> None:
    """Prints which pictures were drawn, and why others were not."""
    for record in records:
        if record.path is not None:
            click.echo(f"drawn: [{record.number}] {clean(record.path)}, on {clean(record.text)}", err=True)
        else:
            click.echo(f"not drawn: [{record.number}] {clean(record.text)}", err=True)
    if any(record.path is not None for record in records):
        click.echo("they are not encrypted, and it is for you to remove them", err=True)
    if not records:
        click.echo("nothing is cited, so nothing was drawn", err=True)


def describe_report(record: DescribeReport) -> None:
    """Prints what was described."""
    if not record.described + record.failed + record.left:
        click.echo(
            "nothing to do: every picture with little text has a caption, or failed (`pomnit retry` tries again)"
        )
        return
    by = f" by {one_line(record.answerer)} ({one_line(record.reason)})" if record.answerer else ""
    took = f" in {record.took_ms / 1000:.1f} s"
    failed = f", {record.failed} failed" if record.failed else ""
    click.echo(f"{counted(record.described, 'picture')} described{by}{failed}{took}")
    show.print_failures(record.failures)
    if record.left:
        click.echo(f"{counted(record.left, 'picture')} with little text left; `pomnit describe` goes on")
