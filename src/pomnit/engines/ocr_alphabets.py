"""Words read in the wrong alphabet, read again: "тетогу" for memory, "Onnata" for оплата.

Tesseract with two languages takes the first that is sure enough of a word, and letters that look alike make either
sure. Such words are found without a list: all their letters may stand for letters of the other alphabet, and the
language's own dictionary does not know them. The picture of the word is then read with one language only. The other
alphabet is believed when its dictionary knows what it reads there, and the first alphabet's does not; without
dictionaries (names), when the rest of the line is of that alphabet and it reads the word more surely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pomnit.text.alphabets import alphabet, imitates

Pixels = tuple[int, int, int, int]

SURE = 0.85  # right repairs were read at 0.93 and more, wrong ones at 0.78 and less
LEAST_LETTERS = 3
_RUN = re.compile(r"[^\W\d_]+(?:[3460]+[^\W\d_]+)*")  # with digits inside: з, б, ч and о are read as 3, 6, 4 and 0
_PRICE = re.compile(r"((?:\d{1,3} ?)?\d{3}(?:,\d\d)?)([РрPp])")
_LANGUAGE = {"Latin": "eng", "Cyrillic": "rus"}
_OTHER = {"Latin": "Cyrillic", "Cyrillic": "Latin"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word as Tesseract gave it: ``known`` to its dictionary or not, and its characters' boxes where looked at."""

    text: str
    pixels: Pixels
    confidence: float
    known: bool
    symbols: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One word as a single language reads it."""

    text: str
    confidence: float
    known: bool


Reread = Callable[[str, Pixels], Reading | None]


def is_doubtful(text: str, known: bool) -> bool:
    """Says whether a word has a part that may have been read in the wrong alphabet."""
    return not known and any(True for _ in _doubtful_runs(text))


def _doubtful_runs(text: str) -> list[re.Match[str]]:
    return [run for run in _RUN.finditer(text) if len(run.group()) >= LEAST_LETTERS and imitates(run.group())]


def repair(line: Sequence[Token], reread: Reread) -> list[Token]:
    """Gives the words of a line, those in the wrong alphabet mended; ``reread`` reads a place with one language."""
    leaning = sum(_leans(token.text) for token in line)
    whole = [_repair(token, leaning, reread) if is_doubtful(token.text, token.known) else token for token in line]
    return [_with_rouble(token, before) for token, before in zip(whole, [None, *whole], strict=False)]


def _with_rouble(token: Token, before: Token | None) -> Token:
    """Gives a price's end its sign back: "490Р" after "3" is 490 ₽, a sign that neither language knows."""
    grouped = before is not None and before.text.isdecimal() and len(before.text) <= 3
    number = _PRICE.fullmatch(token.text)
    return replace(token, text=number[1] + "₽") if number and (grouped or number[2] in "РP") else token


def _leans(text: str) -> int:
    """Gives +1 for a word that can only be Cyrillic, -1 for one that can only be Latin, else 0."""
    runs = [run.group() for run in _RUN.finditer(text) if len(run.group()) > 1]
    alphabets = {alphabet(run) for run in runs if imitates(run) is None}
    return 1 if alphabets == {"Cyrillic"} else -1 if alphabets == {"Latin"} else 0


def _repair(token: Token, leaning: int, reread: Reread) -> Token:
    runs = _doubtful_runs(token.text)
    if len(runs) == 1 and len(token.text) - len(runs[0].group()) == 1:
        whole = _better(runs[0].group(), token.pixels, 0, reread)  # "!" may be its last letter, l
        if whole is not None and len(whole.text) == len(token.text):
            return replace(token, text=whole.text, confidence=whole.confidence, known=True)
    mended, cut = token.text, 0
    for run in runs:
        better = _read_run(token, run, leaning, reread)
        if better is not None:
            mended = mended[: run.start() + cut] + better.text + mended[run.end() + cut :]
            cut += len(better.text) - len(run.group())
            token = replace(token, confidence=max(token.confidence, better.confidence))
    return replace(token, text=mended)


def _read_run(token: Token, run: re.Match[str], leaning: int, reread: Reread) -> Reading | None:
    if run.group() == token.text:
        return _better(run.group(), token.pixels, leaning, reread)
    if len(token.symbols) != len(token.text):
        return None
    boxes = token.symbols[run.start() : run.end()]
    place = min(box[0] for box in boxes), token.pixels[1], max(box[2] for box in boxes), token.pixels[3]
    return _better(run.group(), place, leaning, reread)


def _better(run: str, place: Pixels, leaning: int, reread: Reread) -> Reading | None:
    """Gives how a place reads in the alphabet that ``run`` may stand for; None unless that is clearly better."""
    other = imitates(run)
    if other is None:
        return None
    found = reread(_LANGUAGE[other], place)
    if found is None or found.confidence < SURE or alphabet(found.text) != other or not found.text.isalpha():
        return None
    line_says = abs(leaning) > 2 and (leaning > 0) == (other == "Cyrillic")
    if not found.known and not (line_says and len(found.text) > LEAST_LETTERS):
        return None
    same = reread(_LANGUAGE[_OTHER[other]], place)
    if same is None or found.known > same.known:
        return found
    return found if line_says and not same.known and found.confidence > same.confidence + 0.005 else None
