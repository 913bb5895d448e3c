"""Recordings, and the sound of films: windows of speech, one after the other, however long they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from pomnit.readers.builder import TextBuilder
from pomnit.readers.sound import RATE, Sound
from pomnit.readers.speech_windows import Samples, Window, windows
from pomnit.readers.titles import sensible
from pomnit.records import Place, Segment
from pomnit.settings import Settings
from pomnit.text.split import PlacedText
from pomnit.text.times import utc

PARAGRAPH_S = 3.0  # of a pause that ends one
_FIRST_YEAR = 1980  # before it a clock was not set


class Recording:
    """One recording that is being listened to. Used in a ``with`` block."""

    def __init__(self, file: BinaryIO, media_type: str, settings: Settings) -> None:
        """Reads the beginning of ``file``.

        Raises:
            ItemError: with the reason, when its sound cannot be read.
        """
        self._sound = Sound(file, media_type, settings.audio_hours * 3600)
        self.length_s = self._sound.length_s
        self.title = sensible(self._sound.title)
        self.time = _time(self._sound.made)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sound.close()

    def speech(self, after_s: float = 0.0) -> Iterator[Window]:
        """Gives the windows of speech behind the first ``after_s`` seconds.

        Raises:
            EngineMissing, ModelDamaged: what finds speech is not here.
            ItemError: the sound is damaged, or ends early; the windows before that were given.
        """
        from pomnit.engines.vad_silero import Listener

        start = round(after_s * RATE)
        yield from windows(self._behind(start), Listener(), start)

    def _behind(self, start: int) -> Iterator[Samples]:
        for block in self._sound.blocks():
            yield block[start:] if start else block
            start = max(0, start - len(block))


def lay_out(segments: Sequence[Segment], most_chars: int) -> PlacedText:
    """Gives the text of segments, a line for each, with the time of each as its place."""
    text, end = TextBuilder(most_chars), 0.0
    for segment in segments:
        text.gap("\n\n" if segment.start - end > PARAGRAPH_S else "\n")
        text.add(segment.text, Place(start_s=round(segment.start, 2), end_s=round(segment.end, 2)))
        end = segment.end
    return text.done()


def _time(made: str | None) -> str | None:
    """Gives when a recording says that it was made."""
    try:
        moment = datetime.fromisoformat(made or "")
    except ValueError:
        return None
    if not _FIRST_YEAR <= moment.year <= datetime.now(UTC).year + 1:
        return None
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
