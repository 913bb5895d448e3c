"""Where the words of a quote stand in a text that was perhaps read from a picture, and the sentences of such a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from pomnit.store.spans import Range
from pomnit.text.words import fold

_GROUPED = re.compile(r"(?<![\w.,])[0-9]{1,3}(?:[ \u00a0\u202f,.][0-9]{3})+(?![0-9])")  # "1 284", "12,500,000"
_TWINS = str.maketrans("авсенкмортхуй", "abcehkmoptxyи")  # letters that are drawn alike in either alphabet
_DASHES = "‐‑‒–—−"
_ELISION = re.compile(r"\s*(?:\[(?:…|\.{3})\]|\((?:…|\.{3})\)|…|\.{3,})\s*")
# Ends of sentences, with the signs that close them; or of lines. What may stand before a full stop that ends nothing
# is looked for in `_ABBREVIATED`.
_ENDS = re.compile(r"[.!?…]+[»”\"“’)\]*_]*(?=\s|$|\[)|[^\S\n]*\n\s*")
_ABBREVIATED = re.compile(
    r"(?:(?<![^\W_])(?:[^\W\d_]|им|ул|стр|рис|тыс|млн|млрд|др|пр|см|ср|гг|вв|т\.\s?е|т\.\s?д|т\.\s?п|e\.g|i\.e|mr|mrs"
    r"|ms|dr|prof|st|vs|no|fig|approx|sq)|(?:^|\n)\s*[0-9]{1,3})$",
    re.IGNORECASE,
)
_LONGEST = 300  # characters of a sentence; a longer one is cut at spaces


def locate(quote: str, text: str) -> list[Range] | None:
    """Gives where the words of ``quote`` stand in ``text``, one range for each part that "…" sets apart, in order.

    Case, accents, spaces, signs between words, words divided at the end of a line and look-alike letters make no
    difference; numbers and their units do. None when a part is not there, or the quote has no words.
    """
    letters, at = _skeleton(text)
    found: list[Range] = []
    start = 0
    for part in _ELISION.split(quote):
        needle = _skeleton(part)[0]
        if not needle:
            continue
        begin = _at_borders(needle, letters, at, text, start)
        if begin is None:
            return None
        start = begin + len(needle)
        found.append((at[begin], at[start - 1] + 1))
    return found or None


def _at_borders(needle: str, letters: str, at: list[int], text: str, start: int) -> int | None:
    """Gives where ``needle`` stands in ``letters`` as whole words, from ``start`` on."""
    begin = letters.find(needle, start)
    while begin >= 0:
        first, last = at[begin], at[begin + len(needle) - 1]
        inside = first > 0 and text[first - 1].isalnum() and text[first].isalnum()
        if not inside and not text[last + 1 : last + 2].isalnum():
            return begin
        begin = letters.find(needle, begin + 1)
    return None


def _skeleton(text: str) -> tuple[str, list[int]]:
    """Gives the letters and digits of a text, folded, and the place of each; of signs only those that tell amounts.

    Between two digits stands what keeps them apart, unless they are groups of one number.
    """
    joined = [False] * len(text)
    for group in _GROUPED.finditer(text):
        joined[group.start() : group.end()] = [True] * (group.end() - group.start())
    letters: list[str] = []
    at: list[int] = []
    before = -1  # the place of the last one that was kept
    for i, c in enumerate(text):
        kept = _kept(c)
        if not kept:
            continue
        if before >= 0 and i - before > 1 and c.isdigit() and text[before].isdigit() and not joined[i - 1]:
            letters.append(_between(text[before + 1 : i]))
            at.append(i - 1)
        letters.extend(kept)
        at.extend([i] * len(kept))
        before = i
    return "".join(letters), at


@lru_cache(maxsize=1 << 14)
def _kept(c: str) -> str:
    """Gives what is compared of a character, "" for a space or a sign."""
    if c.isalnum():
        return "".join(k for k in fold(c).translate(_TWINS) if k.isalnum())
    return c if c in "%‰" or unicodedata.category(c) == "Sc" else ""


def _between(signs: str) -> str:
    sign = signs.strip()[:1]
    return "-" if sign and sign in _DASHES else sign or " "


def sentences(text: str, *, wrapped: bool, keep: tuple[Range, ...] = ()) -> Iterator[Range]:
    """Gives the sentences of a text, in order, without the spaces around them; together all of its words.

    ``wrapped`` says that a line may end within a sentence, as on pages that were read; then lines are parts to choose
    from, and long ones are cut. Nothing ends inside of ``keep``.
    """
    start = 0
    for end in _ENDS.finditer(text):
        at = end.end()
        if any(a < at < b for a, b in keep) or (end.group().strip() and not _ends(text, end)):
            continue
        if not wrapped and text[start : end.start()].rstrip().endswith(":"):  # what it announces belongs to it
            continue
        yield from _cut(text, start, at, wrapped)
        start = at
    yield from _cut(text, start, len(text), wrapped)


def _ends(text: str, end: re.Match[str]) -> bool:
    """Tells whether signs end a sentence: not after initials and the like, nor before a small letter."""
    after = text[end.end() : end.end() + 80].lstrip()
    if after[:1].islower():
        return False
    return end.group() != "." or not _ABBREVIATED.search(text, max(0, end.start() - 12), end.start())


def _cut(text: str, start: int, end: int, long_ones: bool) -> Iterator[Range]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    while long_ones and end - start > _LONGEST:
        at = text.rfind(" ", start + _LONGEST // 2, start + _LONGEST)
        at = at if at > 0 else start + _LONGEST
        yield start, at
        start = at + len(text[at:end]) - len(text[at:end].lstrip())
    if start < end:
        yield start, end
