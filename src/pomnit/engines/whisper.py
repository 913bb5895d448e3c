"""What every Whisper does around its arithmetic: its tokens, its timestamps, and what it does when it fails.

A runtime gives ``decode``, a whole batch at once; the rules here are the same on all of them. They follow the paper
(Radford et al., 2022, section 4.5) with windows that are speech already: a text that repeats itself or is improbable is
decoded again with more chance in it; and where a model stops long before its window ends, what is left is a window of
its own, for there is speech in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pomnit.engines.protocols import WindowText
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.cards import TOKENIZER
from pomnit.records import Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = 16_000  # samples a second
WINDOW_S = 30  # that a model hears at once
MOST_TOKENS = 224  # of a window's text: half of what the decoder has places for, the rest is for a prompt
FIRST_TIMESTAMP = 50  # the first segment begins within so many steps,
STEP_S = 0.02  # of so many seconds

TEMPERATURES = (0.0, 0.4, 0.8)
TOO_REPETITIVE = 2.4  # bytes of a text for each byte of it packed
TOO_IMPROBABLE = -1.0  # mean logarithm of the probability of a token
NOBODY_SPEAKS = 0.6  # probability
LEFT_S = 4.0  # of a window behind the last timestamp, from which on it is looked at again,
AGAIN = 3  # so often at most


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tokens that a model gave for one window, timestamps among them, without those of the prompt and the end."""

    tokens: Sequence[int]
    language: str
    log_probability: float  # the mean of its tokens
    no_speech: float


class Decode(Protocol):
    """What a runtime does."""

    def __call__(
        self, windows: Sequence[NDArray[np.float32]], language: str | None, temperature: float
    ) -> list[Decoded]:
        """Gives the tokens of windows of up to 30 s; with a temperature above 0 they are drawn, not the likeliest."""
        ...


class Tokens:
    """The tokenizer of a checkpoint, and the tokens that Whisper speaks of itself with."""

    def __init__(self, folder: Path) -> None:
        """Reads ``tokenizer.json``.

        Raises:
            ModelDamaged: it is none, or not that of a Whisper.
        """
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # noqa: BLE001 the library raises nothing more precise
            raise ModelDamaged(f"{folder / TOKENIZER}: {error}") from None
        self._folder = folder
        self.start, self.end = self.of("<|startoftranscript|>"), self.of("<|endoftext|>")
        self.timestamps = self.of("<|notimestamps|>") + 1  # the first of them: 0.00
        self.transcribe = self.of("<|transcribe|>")

    def of(self, name: str) -> int:
        """Gives the number of a token.

        Raises:
            ModelDamaged: there is none.
        """
        number = self._tokenizer.token_to_id(name)
        if number is None:
            raise ModelDamaged(f"{self._folder / TOKENIZER}: it has no token {name}")
        return int(number)

    def prompt(self, language: str) -> list[int]:
        """Gives what a text in ``language`` with timestamps begins with.

        Raises:
            EngineError: the model does not know the language.
        """
        token = self._tokenizer.token_to_id(f"<|{language}|>") if language.isalpha() and len(language) < 4 else None
        if token is None:
            raise EngineError(f"{self._folder.name} knows no language {language!r:.20}; it is like ru or en")
        return [self.start, int(token), self.transcribe]

    def text(self, tokens: Sequence[int]) -> str:
        """Gives the text of tokens, without those that are no text."""
        return str(self._tokenizer.decode([token for token in tokens if token < self.end])).strip()

    def segments(self, tokens: Sequence[int], length_s: float) -> list[Segment]:
        """Gives the pieces between timestamps, in seconds within a window of that length."""
        found: list[Segment] = []
        start, text = 0.0, list[int]()
        for token in [*tokens, None]:
            if token is not None and token < self.timestamps:
                text.append(token)
                continue
            at = length_s if token is None else round((token - self.timestamps) * STEP_S, 2)
            at = min(max(at, start), length_s)
            if (said := self.text(text)) and start < length_s:  # behind the end nobody speaks
                found.append(Segment(start, at, said))
            start, text = at, []
        return found


def transcribe(
    decode: Decode, tokens: Tokens, windows: Sequence[NDArray[np.float32]], language: str | None
) -> list[WindowText]:
    """Gives the text of each window; see ``engines.protocols.Transcriber``."""
    found: list[WindowText | None] = [None] * len(windows)
    ahead = [(number, 0.0, window) for number, window in enumerate(windows)]
    for last in [False] * AGAIN + [True]:
        if not ahead:
            break
        left = []
        decoded = _decoded(decode, tokens, [window for _, _, window in ahead], language)
        for (number, offset, window), one in zip(ahead, decoded, strict=True):
            length = len(window) / RATE
            silent = one.no_speech > NOBODY_SPEAKS and one.log_probability < TOO_IMPROBABLE
            segments = [] if silent else tokens.segments(one.tokens, length)
            end = segments[-1].end if segments else length
            if not last and length - end > LEFT_S and end > LEFT_S / 4:
                left.append((number, offset + end, window[round(end * RATE) :]))
            moved = tuple(Segment(offset + s.start, offset + s.end, s.text) for s in segments)
            before = found[number]
            found[number] = (
                WindowText(moved, one.language, one.no_speech)
                if before is None
                else WindowText(before.segments + moved, before.language, before.no_speech)
            )
        ahead = left
    return [one for one in found if one is not None]


def _decoded(
    decode: Decode, tokens: Tokens, windows: Sequence[NDArray[np.float32]], language: str | None
) -> list[Decoded]:
    """Gives the tokens of each window, of several tries the first that is sound, else the most probable."""
    best = decode(windows, language, TEMPERATURES[0])
    for temperature in TEMPERATURES[1:]:
        failed = [i for i, one in enumerate(best) if not _sound(tokens, one)]
        if not failed:
            break
        for i, again in zip(failed, decode([windows[i] for i in failed], language, temperature), strict=True):
            if _sound(tokens, again) or again.log_probability > best[i].log_probability:
                best[i] = again
    return best


def _sound(tokens: Tokens, decoded: Decoded) -> bool:
    """Says whether a text neither repeats itself nor is improbable; where nobody speaks that is no fault."""
    if decoded.no_speech > NOBODY_SPEAKS and decoded.log_probability < TOO_IMPROBABLE:
        return True
    text = tokens.text(decoded.tokens).encode()
    repetitive = len(text) / len(zlib.compress(text)) > TOO_REPETITIVE
    return decoded.log_probability >= TOO_IMPROBABLE and not repetitive
