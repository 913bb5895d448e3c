"""The records of `pomnit models`, printed for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from pomnit.doors.cli.terminal import clean, counted, sized
from pomnit.records import Inventory, ModelCheck, ModelConverted, ModelDropped, ModelPulled, ModelView, UseReport

_JOBS = {
    "embed": "Encoders: find by meaning",
    "rerank": "Rerankers: read question and passage together",
    "transcribe": "Speech: turn recordings into text",
    "answer": "Answers: look at pictures, and answer in words of their own",
}
_COLOURS = {"ready": "green", "partial": "yellow", "missing": None, "other format": "yellow"}
_VERDICTS = {"ok": "green", "warning": "yellow", "problem": "red"}
_HEAD = ("", "name", "languages", "weights", "licence", "disk", "memory", "state", "runs on")


def inventory(record: Inventory) -> None:
    """Prints the table of models, grouped by job, and under it what its marks mean."""
    rows = {model.name: _row(model) for model in record.models}
    cells: list[Sequence[str]] = [_HEAD, *rows.values()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    for job, title in _JOBS.items():
        of_job = [model for model in record.models if model.job == job]
        if not of_job:
            continue
        click.echo(click.style(title, bold=True))
        click.echo(click.style(_line(_HEAD, widths), dim=True))
        for model in of_job:
            line = _line(rows[model.name], widths)
            click.echo(click.style(line, fg=_COLOURS[model.state], bold=model.in_use))
        click.echo()
    for line in _notes(record):
        click.echo(line)


def _row(model: ModelView) -> Sequence[str]:
    known = [lang for lang in model.languages if lang != "other"]
    state: str = model.state
    if model.making is not None:
        state = f"making {model.making:.0%}"
    elif model.fetched is not None:
        state = f"partial {model.fetched:.0%}"
    return (
        "✓" if model.in_use else "→" if model.advised else "",
        model.name,
        "many" if "other" in model.languages else " ".join(known),
        _millions(model.parameters),
        model.licence,
        ("" if model.state in ("ready", "partial") else "~") + sized(model.disk_bytes),
        ("" if model.measured else "~") + sized(model.memory_bytes),
        state,
        f"{model.runtime} {model.bits}" + ("" if model.works else ", not here"),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    right = {3, 5, 6}  # numbers
    return "  ".join(
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def _millions(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 999_500_000 else f"{parameters / 1e6:.1f}M"


def _notes(record: Inventory) -> Iterator[str]:
    models = record.models
    used = [model.name for model in models if model.in_use]
    yield f"✓ in use: {', '.join(used) or 'none'}"
    for model in models:
        if model.making is not None:
            yield f"  {model.name} is being made, {model.making:.0%} of the passages; the one in use is searched"
    advised = [model for model in models if model.advised]
    if advised:
        yield f"→ advised here: {', '.join(model.name for model in advised)} ({record.advice})"
        for model in advised:
            serves = model.job in ("transcribe", "answer") and model.state == "ready"  # without being taken in use
            if not model.in_use and model.making is None and not serves:
                yield f"  type: pomnit models {'use' if model.state == 'ready' else 'pull'} {model.name}"
    yield "~ estimated: memory from the number of weights, until `pomnit models check NAME` measures it; disk from"
    yield "  what there is to fetch. The runtime is followed by the bits of a weight."
    reasons = {model.why: model.runtime for model in models}
    for why, runtime in reasons.items():
        yield f"{runtime}: {clean(why)}"
    for model in models:
        if model.state in ("partial", "other format"):
            yield click.style(f"{model.name}: {clean(model.reason)}", fg="yellow")
    yield f"files: {clean(record.folder)}"


def pulled(record: ModelPulled) -> None:
    """Prints what was got, and what to type next."""
    how = f"got in {_seconds(record.took_s)}" if record.fresh else "was here already, and is whole"
    click.echo(f"{record.name}: {sized(record.bytes)} {how}")
    click.echo(f"in {clean(record.folder)}")
    if record.revision:
        of = "the one that Pomnit names" if record.pinned else "the newest, since Pomnit names none"
        click.echo(f"revision {record.revision}, {of}")
    if record.job == "transcribe":
        click.echo("type: pomnit retry, which transcribes what waits for a model; which one does is the setting speech")
    elif record.job == "answer":
        click.echo("type: pomnit ask, and your question; which model answers is the setting answerer")
    else:
        click.echo(f"type: pomnit models use {record.name}")


def converted(record: ModelConverted) -> None:
    """Prints the sizes before and after, and where the new folder is."""
    part = f" ({record.bytes_after / record.bytes_before:.0%})" if record.bytes_before else ""
    click.echo(
        f"{record.name}: {sized(record.bytes_before)} → {sized(record.bytes_after)}{part} in {_seconds(record.took_s)}"
    )
    click.echo(f"in {clean(record.folder)}")


def used(record: UseReport) -> None:
    """Prints whether a model is in use now, and what happens until it is."""
    if record.in_use:
        vectors = f", {record.done:,} passages have its vectors" if record.job == "embed" else ""
        click.echo(f"in use: {record.model}{vectors}; {record.took_ms / 1000:.1f} s")
        return
    click.echo(f"{record.model}: {record.done:,} of {record.passages:,} passages embedded anew, by {record.owner}")
    click.echo(f"searched meanwhile: {record.searched}")
    if record.blocked:
        click.echo(f"  {click.style('waits', fg='yellow')}   {clean(record.blocked)}")


def dropped(record: ModelDropped) -> None:
    """Prints what went."""
    click.echo(f"{record.name}: {counted(record.vectors, 'vector')} dropped, {sized(record.bytes_freed)} freed")
    for folder in record.folders:
        click.echo(f"  {clean(folder)}")


def check(record: ModelCheck) -> None:
    """Prints what a model does here, and the verdict."""
    mb = 1e6
    if record.agreement_mean is not None and record.agreement_least is not None:
        agreement = (
            f"{record.agreement_mean:.4f} mean, {record.agreement_least:.4f} least, with the same weights in 32 bits"
        )
        click.echo(f"agreement   {agreement}")
    if record.terms_agreement is not None:
        click.echo(f"terms       {record.terms_agreement:.4f} mean, its weights of words with those in 32 bits")
    if record.published is not None:
        click.echo(f"published   in 32 bits its numbers differ by {record.published:.1e} at most from the publisher's")
    for lang, right in record.right.items():
        click.echo(f"questions   {lang}: {right} of {record.asked[lang]} have their own answer first")
    click.echo(f"loading     {record.load_ms:,.0f} ms; the first text {record.first_ms:,.1f} ms")
    click.echo(
        f"speed       {record.tokens_s:,.0f} tokens/s over {counted(2 * sum(record.asked.values()), 'short text')}"
    )
    own = record.resident_bytes - record.program_bytes
    click.echo(
        f"memory      {own / mb:,.0f} MB for the model, {record.resident_bytes / mb:,.0f} MB with the program "
        f"({record.program_bytes / mb:,.0f} MB), of it {record.mapped_bytes / mb:,.0f} MB mapped files; "
        f"{record.peak_bytes / mb:,.0f} MB at most"
    )
    if record.rounds > 2:
        click.echo(
            f"growth      {record.growth_bytes / mb:+,.1f} MB over {record.rounds} rounds of loading and closing"
        )
    for finding in record.findings:
        click.echo(f"            {clean(finding)}")
    click.echo(f"{click.style(f'{record.verdict:11}', fg=_VERDICTS[record.verdict])} {record.name}")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
