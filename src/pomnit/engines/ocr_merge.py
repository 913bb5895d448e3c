"""Two readings of one image made one: lines are put where they belong, words that overlap are chosen between.

Words that overlap, whether one on one or two on three, form a group, and a group comes whole from one reading: so no
word is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from pomnit.engines.protocols import Line, Word
from pomnit.records import Box

OVERLAP = 0.3  # of the smaller box: neighbours' boxes may touch
MARGIN = 0.025  # how much surer the second reading must be; the first is the better one on average
SURE = 0.6  # what a word that only the second reading has needs
LEAST_LETTERS = 3  # a photo reads as many short words

Group = tuple[list[Word], list[Word]]


def insert_lines(lines: list[Line], found: Sequence[Line]) -> None:
    """Puts each found line below the nearest line above it in ``lines``, and into its block."""
    for line in found:
        x0, y0, x1 = line.words[0].box[0], line.words[0].box[1], line.words[-1].box[2]
        above = [
            (other.words[0].box[1], at)
            for at, other in enumerate(lines)
            if other.words[0].box[1] < y0 and other.words[0].box[0] < x1 and x0 < other.words[-1].box[2]
        ]
        at = max(above)[1] + 1 if above else 0
        lines.insert(at, Line(line.words, lines[at - 1].block if at else 0))


def merge(first: Sequence[Line], second: Sequence[Line], aspect: float) -> list[Line]:
    """Gives the lines of the first reading with what the second reads more surely or alone reads at all.

    ``aspect`` is the image's width by its height: boxes are fractions of either.
    """
    ours, theirs = ([word for line in lines for word in line.words] for lines in (first, second))
    gone: set[int] = set()
    taken: set[int] = set()
    for old, new in _groups(ours, theirs):
        if _prefer_new(old, new):
            gone.update(map(id, old))
            taken.update(map(id, new))
    lines = [list(line.words) for line in first]
    rest: list[list[Word]] = []
    for line in second:
        words = [word for word in line.words if id(word) in taken and not _join(lines, word, aspect)]
        if words:
            rest.append(words)
    left = [Line(tuple(word for word in words if id(word) not in gone), line.block)
            for line, words in zip(first, lines, strict=True)]  # fmt: skip
    merged = [line for line in left if line.words]
    insert_lines(merged, [Line(tuple(words), 0) for words in sorted(rest, key=lambda words: words[0].box[1])])
    return merged


def _groups(ours: Sequence[Word], theirs: Sequence[Word]) -> list[Group]:
    """Gives the groups of words that overlap each other, directly or through others; each has a word of ``theirs``."""
    groups: list[Group] = []
    for new in theirs:
        touched = [group for group in groups if any(_overlap(new.box, old.box) for old in group[0])]
        known = {id(old) for group in touched for old in group[0]}
        olds = [old for old in ours if id(old) not in known and _overlap(new.box, old.box)]
        joined: Group = ([*olds], [new])
        for group in touched:
            joined[0].extend(group[0])
            joined[1].extend(group[1])
        groups = [group for group in groups if not any(group is other for other in touched)]
        groups.append(joined)
    return groups


def _overlap(one: Box, other: Box) -> bool:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return False
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return wide * high > OVERLAP * min(areas)


def _prefer_new(old: Sequence[Word], new: Sequence[Word]) -> bool:
    """Says whether a group is taken from the second reading."""
    if not old:
        return _sureness(new) >= SURE and _letters(new) >= LEAST_LETTERS
    gain = _sureness(new) - _sureness(old)
    if abs(gain) <= MARGIN:  # equally sure: the longer one, if it is no word with a speck at its edge
        return _letters(new) > _letters(old) and _sureness(new) > 0.8
    return gain > 0 and 2 * _letters(new) > _letters(old)


def _sureness(words: Sequence[Word]) -> float:
    """Gives the mean confidence, each word counted by its length."""
    return sum(word.confidence * len(word.text) for word in words) / sum(len(word.text) for word in words)


def _letters(words: Sequence[Word]) -> int:
    return sum(letter.isalnum() for word in words for letter in word.text)


def _join(lines: Sequence[list[Word]], word: Word, aspect: float) -> bool:
    """Puts a word into the line it stands in; False when there is none near."""
    for words in lines:
        if any(_beside(word.box, other.box, aspect) for other in words):
            words.append(word)
            words.sort(key=lambda one: one.box[0])
            return True
    return False


def _beside(one: Box, other: Box, aspect: float) -> bool:
    """Says whether two boxes stand in one line with at most about a letter's width between them."""
    high = min(one[3] - one[1], other[3] - other[1])
    shared = min(one[3], other[3]) - max(one[1], other[1])
    gap = max(one[0], other[0]) - min(one[2], other[2])
    return shared > 0.6 * high and gap * aspect < high
