"""Words of a text and their stems: the one analyser that indexing, searching and marking share.

``ANALYSER`` names its version; a memory indexed by another one is indexed again from its passages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import Stemmer

from pomnit.text.alphabets import one_alphabet

ANALYSER = "1"

# Letters and digits of any script, with the combining marks that follow them (file names on macOS are decomposed).
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
# "1 284", "1,284", "12 500 000": people search for the number without its separators.
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:[ \u00a0\u202f,.]\d{3})+(?!\d)")
_TWO_RUNS = re.compile(r"([^\W\d_]+)(\d+)|(\d+)([^\W\d_]+)")
_SEPARATORS = re.compile(r"\D+")
WORD = re.compile(r"[^\W_]+")
"""A run of letters and digits: a word of a text whose marks were composed or dropped, as quick_fold leaves it."""
HEAD = 3  # letters by which most words are told apart from those that are looked for
_BASE = {
    ord(c): base
    for c in map(chr, range(0xC0, 0x530))
    if len(base := unicodedata.normalize("NFKD", c)[0]) == 1 and c.lower() not in "йіїєґў" and base != c
}
_ACCENTED = re.compile("[\u00c0-\u024f]")
_LONGEST = 64  # characters of a word that are indexed; hashes and base64 do not fill the index


class Token(NamedTuple):
    """A word of a text: its place ``text[start:end]`` and its stem."""

    start: int
    end: int
    stem: str


def tokens(text: str) -> Iterator[Token]:
    """Gives the words of ``text`` in order.

    A number with grouped digits comes once more, joined, after its parts; the letters and digits of a word made of one
    run of each ("Internet2", "15kg") come once more apart.
    """
    groups = {m.end(): m for m in _GROUPED.finditer(text)}
    for m in _WORD.finditer(text):
        word = m.group()
        yield Token(m.start(), m.end(), stem(word))
        if not word.isalpha() and not word.isdigit() and (two := _TWO_RUNS.fullmatch(word)):
            middle = m.start() + len(two.group(1) or two.group(3))
            for start, end in ((m.start(), middle), (middle, m.end())):
                if end - start > 1:
                    yield Token(start, end, stem(text[start:end]))
        group = groups.get(m.end())
        if group:
            yield Token(group.start(), group.end(), _SEPARATORS.sub("", group.group())[:_LONGEST])


def stems(text: str) -> list[str]:
    """Gives the stems of the words of ``text``, in order."""
    return [t.stem for t in tokens(text)]


def fold(word: str) -> str:
    """Gives ``word`` in lower case, without diacritics, ё as е; й stays й, for it is another letter than и."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    kept = [
        c for i, c in enumerate(decomposed) if not unicodedata.combining(c) or decomposed[i - 1 : i + 1] == "и\u0306"
    ]
    return unicodedata.normalize("NFC", "".join(kept))


def quick_fold(text: str) -> str:
    """Gives a whole text much as ``fold`` gives its words, in a twentieth of the time."""
    low = text.lower()
    if low.isascii():
        return low
    low = low.replace("ё", "е")
    return low.translate(_BASE) if _ACCENTED.search(low) else low


def heads(words: Iterable[str]) -> frozenset[str]:
    """Gives the first letters of words: what does not begin so has none of their stems."""
    return frozenset(word[:HEAD] for word in words)


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Gives the stem of one word: folded, then Snowball Russian or English by its script, else the folded word."""
    folded = fold(one_alphabet(word))[:_LONGEST]
    if folded.isascii():
        return _snowball("english", folded) if folded.isalpha() else folded
    return _snowball("russian", folded) if all("а" <= c <= "я" for c in folded) else folded


def _snowball(language: str, word: str) -> str:
    stemmed: str = _stemmer(language).stemWord(word)
    return stemmed


@lru_cache(maxsize=2)
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language, 0)  # our own cache is by the word as written
