"""Windows of speech: stretches in which somebody speaks, packed one after the other into windows of up to 30 s.

A model hears 30 s at once, whether they are full or not; so silence is left out, and short stretches share a window.
What is speech lies in exactly one window, in order, and each moment of a window is one of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pomnit.errors import ItemError

RATE = 16_000  # samples a second
CHUNK = 512  # samples that have one probability
LONGEST = 30 * RATE // CHUNK  # chunks of a window
BEGINS, GOES_ON = 0.5, 0.35  # probabilities from which on speech begins, and goes on
LEAST = 4  # chunks of sure speech in a stretch: no word is shorter, and a crack in a noise is
QUIET = 16  # chunks without speech that end a stretch: half a second
MARGIN = 7  # chunks before and behind a stretch that belong to it: sounds begin and fade softly
PAUSE = 30 * RATE // CHUNK  # chunks between two stretches that part windows: what is far apart is told apart
BLOCK = 64 * CHUNK  # samples that are listened to together

Samples = NDArray[np.float32]


class Listen(Protocol):
    """Says for each next chunk of a recording how probable speech is, 0 to 1."""

    def __call__(self, samples: Samples) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the recording in a window. All in samples."""

    start: int  # in the recording
    at: int  # in the window
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Speech to be heard at once: float32 mono at 16 kHz, and where its parts lie in the recording."""

    samples: Samples
    parts: tuple[Part, ...]

    @property
    def start_s(self) -> float:
        return self.parts[0].start / RATE

    @property
    def end_s(self) -> float:
        return (self.parts[-1].start + self.parts[-1].length) / RATE

    def seconds(self, within_s: float, *, end: bool = False) -> float:
        """Gives the moment of the recording for one of the window.

        Where two parts meet, it is the beginning of the second one, unless it is the ``end`` of something.
        """
        at = within_s * RATE
        part = self.parts[0]
        for each in self.parts:
            if each.at < at or (each.at == at and not end):
                part = each
        return (part.start + min(max(at - part.at, 0), part.length)) / RATE


def windows(blocks: Iterable[Samples], listen: Listen, start: int = 0) -> Iterator[Window]:
    """Gives the windows of a recording that comes in blocks of any size and begins at sample ``start``.

    Raises:
        ItemError: what ``blocks`` raised, after the windows of all that came before.
    """
    packer, rest, failed = _Packer(start), np.empty(0, np.float32), None
    ahead = iter(blocks)
    while True:
        try:
            block = next(ahead, None)
        except ItemError as error:
            block, failed = None, error
        if block is None:
            break
        rest = np.concatenate([rest, block])
        while len(rest) >= BLOCK:
            yield from packer.hear(rest[:BLOCK], listen(rest[:BLOCK]))
            rest = rest[BLOCK:]
    if len(rest):
        whole = np.pad(rest, (0, -len(rest) % CHUNK))
        yield from packer.hear(whole, listen(whole))
    yield from packer.done()
    if failed is not None:
        raise failed


class _Packer:
    """Finds stretches of speech and packs them. Chunks are counted from 0."""

    def __init__(self, start: int) -> None:
        self._offset = start
        self._kept, self._from = np.empty(0, np.float32), 0  # samples that may still be needed, from this chunk on
        self._now = 0  # chunks that were heard
        self._begin: int | None = None  # of the stretch that goes on
        self._spoken = 0  # the end of what is speech in it
        self._sure = 0  # its chunks that begin speech
        self._free = 0  # the end of the stretch before
        self._odds: list[float] = []  # the probabilities of the stretch that goes on
        self._parts: list[tuple[int, Samples]] = []  # of the window in the making: first chunk, samples

    def hear(self, samples: Samples, odds: NDArray[np.float32]) -> Iterator[Window]:
        """Takes the next whole chunks; gives the windows that are full."""
        self._kept = np.concatenate([self._kept, samples])
        for p in odds.tolist():
            yield from self._chunk(p)
        keep = max(self._free, self._now - MARGIN) if self._begin is None else self._begin
        self._kept, self._from = self._kept[(keep - self._from) * CHUNK :], keep

    def done(self) -> Iterator[Window]:
        """Gives the last windows."""
        if self._begin is not None and self._sure >= LEAST:
            yield from self._stretch(self._begin, min(self._spoken + MARGIN, self._now))
        yield from self._window()

    def _chunk(self, p: float) -> Iterator[Window]:
        here, self._now = self._now, self._now + 1
        if self._begin is None:
            if p < BEGINS:
                return
            self._begin = max(self._free, here - MARGIN)
            self._odds, self._sure = [1.0] * (here - self._begin), 0
        self._odds.append(p)
        self._sure += p >= BEGINS
        if p >= GOES_ON:
            self._spoken = self._now
        elif self._now - self._spoken >= QUIET:
            if self._sure >= LEAST:
                yield from self._stretch(self._begin, self._spoken + MARGIN)
            self._begin = None
            return
        if self._now - self._begin == LONGEST:
            yield from self._cut(self._begin)

    def _cut(self, begin: int) -> Iterator[Window]:
        """Ends a stretch that is as long as a window where it is quietest, in its later half."""
        half = LONGEST // 2
        later = self._odds[half:]
        quietest = min(range(len(later)), key=lambda i: (later[i], -i))
        at = begin + half + quietest + 1
        yield from self._stretch(begin, at)
        self._odds = self._odds[at - begin :]
        # What a cut leaves is speech however short it is.
        self._begin, self._sure = at, LEAST if self._spoken > at else 0
        self._spoken = max(self._spoken, at)

    def _stretch(self, begin: int, end: int) -> Iterator[Window]:
        """Packs one stretch."""
        self._free = end
        samples = self._kept[(begin - self._from) * CHUNK : (end - self._from) * CHUNK].copy()
        if self._parts:
            first, before = self._parts[-1]
            held = sum(len(part) for _, part in self._parts)
            if held + len(samples) > LONGEST * CHUNK or begin - (first + len(before) // CHUNK) > PAUSE:
                yield from self._window()
        self._parts.append((begin, samples))

    def _window(self) -> Iterator[Window]:
        parts, at = [], 0
        for first, samples in self._parts:
            parts.append(Part(self._offset + first * CHUNK, at, len(samples)))
            at += len(samples)
        if parts:
            yield Window(np.concatenate([samples for _, samples in self._parts]), tuple(parts))
        self._parts = []
