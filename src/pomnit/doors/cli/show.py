"""Records, printed for people. Text from outside never reaches the terminal with its control characters."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import click

from pomnit.doors.cli.terminal import clean, counted, one_line, sized
from pomnit.memory import name_of
from pomnit.records import (
    MARK_CLOSE,
    MARK_OPEN,
    AddReport,
    Check,
    Failure,
    Hit,
    Item,
    ItemView,
    Leg,
    Place,
    Query,
    Receipt,
    RetryReport,
    SearchResult,
    Similarity,
    SpaceView,
    Status,
    Topics,
)
from pomnit.text.times import clock

_MOST_FAILURES = 20
_WIDEST = 10  # texts whose matrix fits a terminal


def add_report(report: AddReport) -> None:
    """Prints what was added: counts, then each failure's reason."""
    parts = [f"{report.new} new", f"{report.known} known", f"{report.failed} failed"]
    parts += [f"{report.forgotten} forgotten earlier (--again brings them back)"] if report.forgotten else []
    parts += [f"{report.passed_over} of other kinds passed over"] if report.passed_over else []
    click.echo(f"{', '.join(parts)} in {report.took_ms / 1000:.1f} s")
    _failures(report.failures)
    _waiting(report.waiting, report.blocked, report.owner)


def retry_report(report: RetryReport) -> None:
    """Prints what was tried again."""
    click.echo(f"{report.tried} tried again, {report.failed} failed again")
    _failures(report.failures)
    _waiting(report.waiting, report.blocked, "this process")


def _failures(failures: Sequence[Failure]) -> None:
    for failure in failures[:_MOST_FAILURES]:
        click.echo(f"  {click.style('failed', fg='red')}  {clean(failure.name)}: {clean(failure.reason)}")
    if len(failures) > _MOST_FAILURES:
        click.echo(f"  … and {len(failures) - _MOST_FAILURES} more; `pomnit status` lists them")


def _waiting(waiting: int, blocked: Mapping[str, str], owner: str) -> None:
    for stage, reason in blocked.items():
        click.echo(f"  {click.style('waits', fg='yellow')}   {stage}: {clean(reason)}")
    if waiting and not blocked:
        click.echo(f"  {counted(waiting, 'task')} left to {owner}")


def search_result(result: SearchResult) -> None:
    """Prints the hits, then which legs ran and what is not indexed yet."""
    meant = _meant(result.query)
    if meant:
        click.echo(click.style(f"with {clean(', '.join(meant))}", dim=True))
    for number, hit in enumerate(result.hits, 1):
        _hit(number, hit)
    if not result.hits:
        click.echo("nothing found")
    legs = ", ".join(map(_leg, result.legs))
    click.echo(click.style(f"{counted(len(result), 'hit')} in {result.took_ms:.0f} ms; legs: {legs}", dim=True))
    if result.unindexed.waiting or result.unindexed.failed:
        stages = ", ".join(f"{stage} {n}" for stage, n in result.unindexed.by_stage.items())
        waiting = f"{result.unindexed.waiting} wait ({stages})" if result.unindexed.waiting else ""
        failed = f"{result.unindexed.failed} failed" if result.unindexed.failed else ""
        missing = ", ".join(p for p in (waiting, failed) if p)
        click.echo(click.style(f"not searched yet: {missing}; `pomnit status` says why", fg="yellow"))


def _meant(query: Query) -> list[str]:
    """Gives how a query was understood: the relative date and its days, the filters, the phrases."""
    filters = dict(query.filters)
    dates = []
    if query.dates:
        after, before = filters.pop("after"), filters.pop("before")
        if "T" not in after + before:
            last = date.fromisoformat(before) - timedelta(days=1)
            before = last.isoformat()
        days = after if after == before else f"{after} … {before}"
        dates = [f"{query.dates} = {days} (--as-words switches this off)"]
    return dates + [f"{name}:{value}" for name, value in filters.items()] + [f'"{phrase}"' for phrase in query.phrases]


def _leg(leg: Leg) -> str:
    return f"{leg.name}{' skipped' * (leg.state == 'skipped')}{f' ({clean(leg.reason)})' if leg.reason else ''}"


def _hit(number: int, hit: Hit) -> None:
    legs = "  ".join(f"{name} {score:.2f}" for name, score in hit.legs.items())
    head = click.style(clean(hit.item.title), bold=True)
    click.echo(f"{number:>2}. {head}  {_time(hit.item.time)}  {click.style(f'{hit.score:.2f}', fg='green')}  {legs}")
    click.echo(_marked(_wrap(clean(hit.snippet))))
    state = "" if hit.item.state in ("ready", "working") else f"  [{hit.item.state}]"
    click.echo(click.style(f"    {name_of(hit.item)}{state}", dim=True))
    where = _places(hit.passages[0].places) if hit.passages else ""
    click.echo(click.style(f"    {hit.item.id}{'  found at ' * bool(where)}{where}", dim=True))


def _wrap(snippet: str) -> str:
    """Gives a snippet in lines of the terminal's width; a marked piece stays on one line."""
    whole = re.sub(f"{MARK_OPEN}.*?{MARK_CLOSE}", lambda m: m.group().replace(" ", "\u00a0"), snippet)
    width = max(40, min(120, shutil.get_terminal_size().columns))
    indent = " " * 4
    return textwrap.fill(whole, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _marked(snippet: str) -> str:
    """Gives a snippet with its marks as colour; where there is no terminal, with its marks."""
    if not sys.stdout.isatty():
        return snippet
    return re.sub(f"{MARK_OPEN}(.*?){MARK_CLOSE}", _highlight, snippet)


def _highlight(found: re.Match[str]) -> str:
    return click.style(found.group(1), fg="black", bg="yellow")


def _places(places: Sequence[Place]) -> str:
    return "; ".join(_place(place) for place in places[:3]) + (
        f" and {len(places) - 3} more" if len(places) > 3 else ""
    )


def _place(place: Place) -> str:
    parts = [f"page {place.page}"] if place.page else []
    parts += [f"sheet {clean(place.sheet)}"] if place.sheet else []
    parts += [f"{'row' if place.sheet else 'line'} {place.line}"] if place.line else []
    if place.box:
        x0, y0, x1, y1 = (round(v * 100) for v in place.box)
        parts.append(f"x {x0}-{x1} %, y {y0}-{y1} %")
    if place.start_s is not None:
        parts.append(f"{clock(place.start_s)}-{clock(math.ceil(place.end_s or place.start_s))}")
    return " ".join(parts)


def _time(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def item_view(view: ItemView) -> None:
    """Prints an item with its passages."""
    item = view.item
    click.echo(click.style(clean(item.title), bold=True))
    state = item.state + (f": {clean(item.reason)}" if item.reason else "")
    rows = [("id", item.id), ("kind", f"{item.kind} ({item.original.media_type})"), ("time", _time(item.time))]
    rows += [
        ("added", _time(item.added)),
        ("state", state),
        ("size", f"{item.original.size} bytes"),
        ("digest", item.original.digest),
    ]
    rows += [("kept", ", ".join(["its bytes"] * view.kept + ["a preview"] * view.preview) or "nothing but its text")]
    rows += [
        ("waiting", f"{stage}{f' failed: {clean(reason)}' if reason else ''}") for stage, reason in view.waiting.items()
    ]
    for source in item.sources:
        rows.append(("source", clean(source.uri) + (" (gone)" if source.gone else "")))
    for name, value in rows:
        click.echo(f"  {name:8} {value}")
    for passage in view.passages:
        click.echo(click.style(f"\n[{passage.ordinal + 1}] {passage.lang}, {_places(passage.places)}", dim=True))
        click.echo(clean(passage.text))


def status(record: Status) -> None:
    """Prints what is remembered and what is not done yet."""
    click.echo(f"memory     {record.home}")
    for kind, states in record.items.items():
        click.echo(
            f"{kind + 's':10} {sum(states.values())} ({', '.join(f'{n} {state}' for state, n in states.items())})"
        )
    if not record.items:
        click.echo("items      none yet; `pomnit add PATH` remembers files and folders")
    languages = ", ".join(f"{lang} {n}" for lang, n in record.passages.items())
    click.echo(
        f"passages   {sum(record.passages.values())}"
        + (f" ({languages})" if languages else "")
        + f", {record.vectors} with vectors"
    )
    for space in record.spaces:
        if space.state != "current":
            click.echo(f"space      {_space(space)}")
    for stage, n in record.waiting.items():
        why = record.blocked.get(stage)
        click.echo(click.style(f"waiting    {stage}: {n}" + (f" ({clean(why)})" if why else ""), fg="yellow"))
    if record.n_failed:
        click.echo(click.style(f"failed     {record.n_failed}; `pomnit retry` tries again", fg="red"))
        _failures(record.failures)
    click.echo(
        f"sizes      database {sized(record.database_bytes)}, kept files and previews {sized(record.files_bytes)}"
    )
    click.echo(f"key        {record.key}")
    for choice in record.engines:
        click.echo(
            f"{choice.job:10} {choice.model}{f' on {choice.runtime}' if choice.runtime else ''}: {clean(choice.reason)}"
        )
    if record.advice:
        click.echo(f"advice     {clean(record.advice)}")


def _space(space: SpaceView) -> str:
    """Gives a line about a space that is not searched."""
    name = f"{space.card} {space.precision}"
    if space.state == "filling":
        why = f" ({clean(space.reason)})" if space.reason else ""
        return click.style(f"{name} is being made: {space.vectors:,} of {space.passages:,} passages{why}", fg="yellow")
    return (
        f"{name} is kept: {counted(space.vectors, 'vector')}, {sized(space.bytes)}; `pomnit models drop {space.card}`"
    )


def similarity(record: Similarity) -> None:
    """Prints the texts, numbered, and the cosines between them."""
    unknown = f"{record.encoder} does not know this language, so its figures mean little"
    for number, (text, lang, known) in enumerate(zip(record.texts, record.langs, record.known, strict=True), 1):
        why = "" if known else click.style(f"  ({lang}: {unknown})", fg="yellow")
        click.echo(f"{number:>3}  {textwrap.shorten(one_line(text), 100, placeholder='…')}{why}")
    if record.note:
        click.echo(click.style(f"     {clean(record.note)}", fg="yellow"))
    click.echo()
    n = len(record.texts)
    if n <= _WIDEST:
        click.echo("    " + "".join(f"{number:>7}" for number in range(1, n + 1)))
        for number, row in enumerate(record.matrix, 1):
            click.echo(f"{number:>3} " + "".join(f"{cosine:>7.2f}" for cosine in row))
        return
    pairs = sorted((-record.matrix[i][j], i + 1, j + 1) for i in range(n) for j in range(i + 1, n))
    click.echo(f"the {min(n, len(pairs))} nearest pairs; --json gives all")
    for cosine, one, other in pairs[:n]:
        click.echo(f"{one:>3} {other:>3} {-cosine:>7.2f}")


def topics(record: Topics) -> None:
    """Prints each topic's size and words, with the items nearest to its middle under it."""
    for number, topic in enumerate(record.topics, 1):
        name = click.style(clean(", ".join(topic.words)) or "no word of its own", bold=True)
        click.echo(f"{number:>2}. {name}  {counted(topic.size, 'item')}, by {topic.space}")
        for item in topic.items:
            line = f"{_time(item.time)}  {item.id}"
            click.echo(f"    {clean(item.title)}  {click.style(line, dim=True)}")
    if not record.topics:
        click.echo("no topics; `pomnit add PATH` remembers files and folders")
    total = sum(topic.size for topic in record.topics)
    found = f"{counted(len(record.topics), 'topic')} of {counted(total, 'item')} in {record.took_ms:.0f} ms"
    click.echo(click.style(found, dim=True))
    for note in record.notes:
        click.echo(click.style(note, dim=True))
    for reason, n in record.left_out.items():
        click.echo(click.style(f"left out: {counted(n, 'item')} {reason}", fg="yellow"))


def to_forget(items: Sequence[Item]) -> None:
    """Prints what would be forgotten."""
    for item in items[:_MOST_FAILURES]:
        click.echo(f"  {clean(item.title)}  {_time(item.time)}  {name_of(item)}")
    if len(items) > _MOST_FAILURES:
        click.echo(f"  … and {len(items) - _MOST_FAILURES} more")


def receipt(record: Receipt) -> None:
    """Prints what was forgotten."""
    if not record.items:
        click.echo("nothing fits, so nothing was forgotten")
        return
    click.echo(
        f"forgotten: {counted(len(record.items), 'item')}, {counted(record.sources, 'source')}, "
        f"{counted(record.passages, 'passage')}, {counted(record.vectors, 'vector')}, "
        f"{counted(record.files, 'kept file')}; {sized(record.bytes_freed)} freed"
    )
    for uid in record.items:
        click.echo(f"  {uid}")


def checks(records: Sequence[Check]) -> None:
    """Prints a line for each check, and the next command under it."""
    colours = {"ok": "green", "warning": "yellow", "problem": "red"}
    for check in records:
        click.echo(
            f"{click.style(f'{check.verdict:8}', fg=colours[check.verdict])} {check.name:10} {clean(check.text)}"
        )
        if check.next:
            click.echo(f"{'':19} type: {clean(check.next)}")
