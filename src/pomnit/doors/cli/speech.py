"""The command `pomnit transcribe`: what is said in a recording, as text, subtitles or JSON; nothing is stored."""

from __future__ import annotations

import html
import json
import os
import re
from typing import TYPE_CHECKING

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean

if TYPE_CHECKING:
    from pomnit.records import Segment, Transcript

_LANGUAGE = re.compile(r"[a-z]{2,3}")


@pomnit.command(
    epilog=examples(
        "pomnit transcribe interview.m4a",
        "pomnit transcribe лекция.mp3 --language ru --out лекция.txt",
        "pomnit transcribe film.mkv --format srt --out film.srt",
        "pomnit transcribe call.ogg --json",
    )
)
@common
@click.argument("file", metavar="FILE", type=click.Path(path_type=str))
@click.option("--language", metavar="CODE", help="Of all that is said (ru, en, …); else it is found out.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "srt", "vtt", "json"]),
    help="How to write it; by default as the name of --out says, else text.",
)
@click.option("--out", metavar="FILE", help="Write it there instead of printing it.")
@click.pass_obj
def transcribe(context: Context, file: str, language: str | None, form: str | None, out: str | None) -> int:
    """Print what is said in a recording or a film, without remembering it.

    WAV, MP3, M4A, AAC, FLAC, OGG and Opus, and the sound of MP4, MOV, MKV and WebM. Where nobody speaks nothing is
    printed, and no model is needed.
    """
    from pomnit.doors.cli.progress import Bars
    from pomnit.errors import UsageError

    if language is not None and not _LANGUAGE.fullmatch(language):
        raise UsageError(f"--language {clean(language)!r:.40} is no code of a language; it is like ru or en")
    form = form or ("json" if context.as_json else _form_of(out))
    with context.memory() as memory, Bars(quiet=context.as_json) as bars:
        transcript = memory.transcribe(file, language=language, on_progress=bars)
    written = _WRITERS[form](transcript)
    if out is None:
        click.echo(written, nl=False)
        return 0
    try:
        with open(os.path.expanduser(out), "w", encoding="utf-8", newline="\n") as target:
            target.write(written)
    except OSError as error:
        raise UsageError(f"--out {clean(out)}: {error.strerror}") from error
    return 0


def _form_of(out: str | None) -> str:
    """Gives the format that a file's name asks for."""
    suffix = os.path.splitext(out or "")[1].lower().removeprefix(".")
    return suffix if suffix in _WRITERS else "text"


def _text(transcript: Transcript) -> str:
    return "".join(f"{clean(segment.text)}\n" for segment in transcript.segments)


def _srt(transcript: Transcript) -> str:
    return "".join(
        f"{number}\n{_times(segment, ',')}\n{clean(segment.text)}\n\n"
        for number, segment in enumerate(transcript.segments, 1)
    )


def _vtt(transcript: Transcript) -> str:
    cues = (f"{_times(each, '.')}\n{html.escape(clean(each.text), quote=False)}\n\n" for each in transcript.segments)
    return "WEBVTT\n\n" + "".join(cues)


def _json(transcript: Transcript) -> str:
    from pomnit.records import to_json

    return json.dumps(to_json(transcript), ensure_ascii=False, indent=2) + "\n"


_WRITERS = {"text": _text, "srt": _srt, "vtt": _vtt, "json": _json}


def _times(segment: Segment, point: str) -> str:
    return f"{_moment(segment.start, point)} --> {_moment(segment.end, point)}"


def _moment(seconds: float, point: str) -> str:
    """Gives a moment as subtitles write it: 00:12:04,500."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
