"""From what a Whisper expects next to what it says: the rules of times, drawing, and a batch whose rows end each in its
own time. In NumPy, the same for every runtime that gives logits.

The rules are those of openai/whisper (decoding.py): times come in pairs around a text and never go back; the first one
is early; and where all times together are likelier than any word, it is time for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pomnit.engines.text import Floats
from pomnit.engines.whisper import MOST_TOKENS, Decoded
from pomnit.engines.whisper_tokens import WhisperTokens

Ids = NDArray[np.int32]

_NEVER = np.float32(-np.inf)


class Listener(Protocol):
    """A batch of windows that a model has heard, and the tokens that stand in each of its rows so far."""

    def __call__(self, tokens: Ids) -> Floats:
        """Takes the next tokens, shape (rows, count), and gives logits of what follows, shape (rows, vocabulary)."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with these rows alone."""
        ...


@dataclass(slots=True)
class _Row:
    """What is said in one window."""

    draw: np.random.Generator  # of its own: a batch draws what single windows draw
    tokens: list[int] = field(default_factory=list)
    logarithm: float = 0.0  # of the probability of all tokens, and of the end


def decode(
    listener: Listener,
    rows: int,
    tokens: WhisperTokens,
    language: str | None,
    temperature: float,
    *,
    times: bool = True,
    most: int = MOST_TOKENS,
) -> list[Decoded]:
    """Gives what is said in each of the rows: the likeliest token each time, or above temperature 0 one that is drawn.

    ``language`` is that of all rows; else each row's own is what the model thinks likeliest. Without ``times`` there is
    text alone. At most so many tokens are said.

    Raises:
        EngineError: the model does not know the language.
    """
    told = [tokens.prompt(language)[1]] * rows if language else None
    first = listener(np.full((rows, 1), tokens.start, np.int32))
    no_speech = _softmax(first)[:, tokens.no_speech]
    if told is None:
        known = np.array(sorted(tokens.languages.values()))
        told = known[first[:, known].argmax(axis=1)].tolist()
    prompt = [[one, tokens.transcribe] + ([] if times else [tokens.no_timestamps]) for one in told]
    said = [_Row(np.random.default_rng(0)) for _ in range(rows)]
    _say(listener, prompt, said, tokens, temperature, times, most)
    names = {number: name for name, number in tokens.languages.items()}
    return [
        Decoded(row.tokens, names[one], row.logarithm / (len(row.tokens) + 1), float(silent))
        for row, one, silent in zip(said, told, no_speech, strict=True)
    ]


def _say(
    listener: Listener,
    prompt: list[list[int]],
    rows: list[_Row],
    tokens: WhisperTokens,
    temperature: float,
    times: bool,
    most: int,
) -> None:
    """Adds to each row its tokens, until it ends."""
    logits = listener(np.array(prompt, np.int32))
    for left in reversed(range(most)):
        allow(logits, [row.tokens for row in rows], tokens, times=times)
        logarithms = _log_softmax(logits)
        chosen = logits.argmax(axis=1).tolist() if temperature == 0 else _drawn(logits / temperature, rows)
        going = []
        for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            row.logarithm += float(logarithms[place, token])
            if token != tokens.end:
                row.tokens.append(token)
                going.append(place)
        if not going or not left:
            break
        if len(going) < len(rows):
            listener.keep(going)
            rows = [rows[place] for place in going]
        logits = listener(np.array([row.tokens[-1:] for row in rows], np.int32))


def allow(logits: Floats, said: Sequence[Sequence[int]], tokens: WhisperTokens, *, times: bool = True) -> None:
    """Leaves of the logits, shape (rows, vocabulary), what each row may say after what it has said.

    Without ``times`` no row says one.
    """
    logits[:, tokens.never] = _NEVER
    if not times:
        logits[:, tokens.timestamps :] = _NEVER
    for row, before in zip(logits, said, strict=True):
        if not before:
            row[tokens.never_first] = _NEVER
        if times:
            _allow_times(row, before, tokens)


def _allow_times(row: Floats, before: Sequence[int], tokens: WhisperTokens) -> None:
    first = tokens.timestamps
    if not before:
        row[:first] = _NEVER  # a time comes first,
        row[first + tokens.first_within + 1 :] = _NEVER  # and an early one
        return
    opened = len(before) < 2 or before[-2] >= first
    if before[-1] >= first:
        if opened:
            row[first:] = _NEVER  # a second time stands there already: text, or the end
        else:
            row[tokens.is_text] = _NEVER  # a text has ended: when does the next begin?
    past = max((token for token in before if token >= first), default=first)
    closes = before[-1] >= first and not opened
    row[first : past if closes else past + 1] = _NEVER  # the next text may begin where one ended, but takes time
    if _log_sum(row[first:]) > row[:first].max(initial=_NEVER):
        row[:first] = _NEVER


def _drawn(logits: Floats, rows: Sequence[_Row]) -> list[int]:
    """Gives a token for each row, each as probable as its logits say."""
    sums = np.cumsum(_softmax(logits), axis=1, dtype=np.float64)
    points = [row.draw.random() * total for row, total in zip(rows, sums[:, -1], strict=True)]
    return [int(np.searchsorted(one, point, "right")) for one, point in zip(sums, points, strict=True)]


def _softmax(logits: Floats) -> Floats:
    return np.exp(_log_softmax(logits))


def _log_softmax(logits: Floats) -> Floats:
    moved = logits - logits.max(axis=1, keepdims=True)
    found: Floats = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return found


def _log_sum(logits: Floats) -> float:
    """Gives the logarithm of the sum of what these are logarithms of."""
    most = logits.max(initial=_NEVER)
    return float(most + np.log(np.exp(logits - most).sum())) if np.isfinite(most) else -np.inf
