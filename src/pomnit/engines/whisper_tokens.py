"""Which tokens a Whisper may say, and when: text, times, and no signs of what is no speech. From its own files alone.

A Whisper is told its task by tokens of no text (Radford et al. 2022, arXiv:2212.04356, 2.3): <|startoftranscript|>,
a language, <|transcribe|>, and <|notimestamps|> where no times are wanted; <|0.00|> … <|30.00|> are times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.engines.whisper import FIRST_TIMESTAMP, Tokens
from pomnit.engines.whisper_config import WhisperConfig
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import TOKENIZER
from pomnit.models.hub import read_json

GENERATION = "generation_config.json"

_LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # of large-v3, of those before it

# Signs of no speech, which openai/whisper keeps from being said: brackets around "music" or "applause", and notes.
_SIGNS = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
_SIGNS += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("']
_SIGNS += ["((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
_NOTES = "♩♪♫♬♭♮♯"
_BEFORE_A_WORD = (" -", " '")  # within a word they are letters


class WhisperTokens(Tokens):
    """The tokens of one checkpoint, for a runtime that chooses among them itself."""

    def __init__(self, folder: Path, config: WhisperConfig) -> None:
        """Reads tokenizer.json, and generation_config.json where there is one.

        Raises:
            EngineMissing: there is no tokenizer in the folder.
            ModelDamaged: a file cannot be read, or does not fit the weights.
            EngineError: it is a Whisper for English alone.
        """
        if not (folder / TOKENIZER).is_file():
            raise EngineMissing(
                f"{folder}: no {TOKENIZER} here, which says what the tokens stand for; put that of the model as OpenAI"
                f" published it there, and its {GENERATION}"
            )
        super().__init__(folder)
        said = _read(folder / GENERATION)
        words = self._tokenizer.get_vocab()
        self.languages = {word[2:-2]: number for word, number in words.items() if _LANGUAGE.fullmatch(word)}
        if said.get("is_multilingual") is False or len(self.languages) < 2:
            raise EngineError(f"{folder}: a Whisper for English alone; the one without .en hears Russian too")
        self.no_timestamps = self.timestamps - 1
        self.no_speech = self.of(next((name for name in _NO_SPEECH if name in words), _NO_SPEECH[0]))
        self.last_timestamp = self.timestamps + config.places  # those of older checkpoints have no names
        largest = max(self.last_timestamp, *words.values())
        if largest >= config.words:
            raise ModelDamaged(f"{folder}: its tokenizer has a token {largest}, its weights {config.words} tokens")
        special = {number for number, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        self._allow(said, [n for n in words.values() if n not in special and n < self.end], config.words)

    def _allow(self, said: Mapping[str, Any], text: list[int], words: int) -> None:
        """Notes which tokens are text, which are never said, which not at first, and how late the first time may be."""
        never, first = _numbers(said, "suppress_tokens", words), _numbers(said, "begin_suppress_tokens", words)
        self.is_text = np.zeros(words, bool)
        self.is_text[text] = True
        sayable = self.is_text.copy()
        sayable[[self.end, *range(self.timestamps, self.last_timestamp + 1)]] = True
        sayable[self._signs() if never is None else never] = False
        self.never = np.flatnonzero(~sayable)
        self.never_first = np.array([self.end, *self._ids(" ")] if first is None else first, int)
        within = said.get("max_initial_timestamp_index")
        self.first_within = within if type(within) is int and within >= 0 else FIRST_TIMESTAMP

    def _signs(self) -> list[int]:
        """Gives the tokens of signs of no speech, alone or after a space; of a note that is several, the first."""
        each = [self._ids(f"{before}{sign}") for sign in _SIGNS for before in ("", " ")]
        found = [ids[0] for ids in each if len(ids) == 1]
        notes = [f"{before}{note}" for note in _NOTES for before in ("", " ")]
        return found + [self._ids(sign)[0] for sign in (*notes, *_BEFORE_A_WORD)]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _read(path: Path) -> dict[str, Any]:
    said = read_json(path) if path.is_file() else {}
    if not isinstance(said, dict):
        raise ModelDamaged(f"{path}: not a JSON object")
    return said


def _numbers(said: Mapping[str, Any], key: str, words: int) -> list[int] | None:
    """Gives the tokens of a list, None where there is no such list."""
    found = said.get(key)
    if not isinstance(found, list):
        return None
    return [n for n in found if type(n) is int and 0 <= n < words]
