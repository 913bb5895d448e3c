"""Which words of a text were found, and the piece of it that shows them best."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pomnit.records import MARK_CLOSE, MARK_OPEN
from pomnit.store.spans import Range
from pomnit.text.alphabets import one_alphabet
from pomnit.text.words import HEAD, WORD, fold, heads, quick_fold, stem, tokens

SNIPPET = 200  # characters
_LEAD = 40  # characters shown before the first found word
_MIN_PREFIX = 5  # letters that two forms of a word share when stemming keeps them apart


def find(text: str, stems: Collection[str], words: Collection[str]) -> list[Range]:
    """Gives where the words of a query stand in ``text``, in order and apart.

    A word counts by its stem, or when it shares all but the end with a word of the query ("замок", "замки").
    """
    starts = tuple({fold(w)[: max(_MIN_PREFIX, len(w) - 2)] for w in words if len(w) > _MIN_PREFIX})
    if any(stem_.isdigit() and len(stem_) > HEAD for stem_ in stems):  # may stand in groups: "1 284"
        found = sorted((t.start, t.end) for t in tokens(text) if t.stem in stems)
    else:
        looked_for = heads([*stems, *map(fold, words)])
        low = quick_fold(one_alphabet(text))
        if len(low) != len(text):  # a letter whose small form is two
            low = text
        found = [
            (m.start(), m.end())
            for m in WORD.finditer(low)
            if low[m.start() : m.start() + HEAD] in looked_for
            and (stem(m.group()) in stems or (starts and m.group().startswith(starts)))
        ]
    ranges: list[Range] = []
    for start, end in found:
        if ranges and start < ranges[-1][1]:  # a number that is joined, and its parts
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], end))
        else:
            ranges.append((start, end))
    return ranges


def snippet(text: str, ranges: Sequence[Range]) -> str:
    """Gives the piece of ``text`` with the most found words, marked, on one line."""
    start, end = _window(text, ranges)
    parts: list[str] = ["…"] if start else []
    at = start
    for low, high in ranges:
        if low >= start and high <= end:
            parts += [_plain(text[at:low]), MARK_OPEN, _plain(text[low:high]), MARK_CLOSE]
            at = high
    parts.append(_plain(text[at:end]))
    if end < len(text):
        parts.append("…")
    return " ".join("".join(parts).split())


def _window(text: str, ranges: Sequence[Range]) -> Range:
    """Gives the borders of the piece to show, at spaces."""
    if len(text) <= SNIPPET:
        return 0, len(text)
    first = max(
        ranges,
        key=lambda r: len({text[a:b].lower() for a, b in ranges if r[0] <= a and b <= r[0] + SNIPPET - _LEAD}),
        default=(0, 0),
    )[0]
    start = min(max(0, first - _LEAD), len(text) - SNIPPET)
    if start:
        start = text.find(" ", start, first) + 1 or _after_newline(text, start, first)
    end = min(len(text), start + SNIPPET)
    if end < len(text):
        end = max(text.rfind(" ", start + SNIPPET // 2, end), text.rfind("\n", start + SNIPPET // 2, end), 0) or end
    return start, end


def _after_newline(text: str, start: int, first: int) -> int:
    found = text.find("\n", start, first)
    return found + 1 if found >= 0 else start


def _plain(text: str) -> str:
    return re.sub(f"[{MARK_OPEN}{MARK_CLOSE}]", lambda m: "[" if m.group() == MARK_OPEN else "]", text)
