"""Citations checked: what an answer says beside what it cites. Numbers that were not offered go, quotes are found.

Whoever wrote the answer is not believed: a number must be one that was offered, a quote must stand in the piece that is
cited for it, and a sentence must share its numbers and its words with its pieces. What a picture shows and no text says
cannot be checked so, and counts as unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pomnit.engines.protocols import Offered
from pomnit.search.quotes import locate, sentences
from pomnit.store.spans import Range
from pomnit.text.alphabets import alphabet, one_alphabet
from pomnit.text.stopwords import is_stop
from pomnit.text.words import WORD, quick_fold, stem

MARK = re.compile(r"\[([0-9]{1,9})\]")
"""A citation in a checked text."""
# As models write them: [1], [1, 2], [1-3], [^1], 【1】, 【1†source】.
_MARKS = re.compile(
    r"[ \t]*[\[【]\^?([0-9]{1,40}(?:[ \t]*[,;–—-][ \t]*\^?[0-9]{1,40}){0,40})(?:†[^\]】\n]{0,40})?[\]】](?!\()"
)
_LINKED = re.compile(r"(\[\^?[0-9]{1,40}\])\([^()\s]{0,2000}\)")  # a citation is no link
_RANGE = re.compile(r"([0-9]{1,40})[ \t]*[–—-][ \t]*\^?([0-9]{1,40})")
_BEHIND = re.compile(r"(?:\[[0-9]{1,9}\]\s*)+")
_PASSES = 8  # taking one away may make another: [[99]1]
_QUOTED = re.compile(r"«([^«»]{1,2000})»|“([^“”]{1,2000})”|„([^„“”]{1,2000})[“”]|\"([^\"\n]{1,2000})\"")
CLAIM = 3  # words in quotation marks that claim to be a quote; fewer may be a name in another case
SHARED = 0.5  # share of a sentence's words and numbers that its pieces must hold, beside all of its numbers
NUMBER = 2  # words that a number counts for
STRETCH = 3  # sentences or lines of a piece that a quote may take,
_EACH = 0.1  # if each brings so much more of what is said
_BULLET = re.compile(r"\A\s*(?:[-*•–—]|[0-9]{1,3}[.)])\s+")
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<groups>[0-9]{1,3}(?:[ \u00a0\u202f,.][0-9]{3})+)(?:[.,](?P<rest>[0-9]{1,2}))?(?![0-9])"
    r"|(?P<plain>[0-9]+(?:[.,][0-9]+)*)"  # the one is "1 284,50", the other "1284.50"
)
_CLOCK = re.compile(r"(?<![0-9.])([0-9]{1,2})\.([0-9]{2})(?![0-9])")  # 12.30, or the third of November
_NEAR = 5  # letters that two forms of a word share when stemming keeps them apart


@dataclass(frozen=True, slots=True)
class Support:
    """What an answer rests on: the quote is ``text[start:end]`` of the piece of that number."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer that was checked. Each number of the text has a support, and each support's number is in the text."""

    text: str  # its citations are [1], [2]
    supports: tuple[Support, ...]  # as the text cites them, each once; of doubtful sentences where there is no other
    removed: tuple[int, ...]  # numbers that were not offered, each once
    unsupported: tuple[str, ...]  # sentences as they stand in the text


def checked(text: str, offered: Sequence[Offered]) -> Checked:
    """Gives an answer's text without made-up numbers and quotes, with what supports it in the pieces it cites."""
    pieces = {piece.number: _Piece(piece) for piece in offered}
    text, removed = _plain_marks(text, pieces.keys())
    quotes = tuple(found.span() for found in _QUOTED.finditer(text))
    parts: list[str] = []
    supports: list[Support] = []
    doubtful: list[Support] = []  # of sentences that are not supported
    unsupported: list[str] = []
    at = 0
    for start, end in _sentences(text, quotes):
        sentence = _Sentence(text[start:end], pieces)
        parts += [text[at:start], sentence.text]
        (supports if sentence.is_supported else doubtful).extend(sentence.supports)
        unsupported += [] if sentence.is_supported else [sentence.text]
        at = end
    parts.append(text[at:])
    sure = {support.number for support in supports}
    supports += [support for support in doubtful if support.number not in sure]
    return Checked("".join(parts), tuple(dict.fromkeys(supports)), removed, tuple(unsupported))


def _plain_marks(text: str, offered: Iterable[int]) -> tuple[str, tuple[int, ...]]:
    """Gives a text whose citations are [1][2], all of them offered, and the numbers that were not."""
    known, removed = frozenset(offered), dict[int, None]()

    def plain(found: re.Match[str]) -> str:
        numbers = list(dict.fromkeys(_numbers(found.group(1), known)))
        removed.update(dict.fromkeys(n for n in numbers if n not in known))
        kept = "".join(f"[{n}]" for n in numbers if n in known)
        space = found.group()[: len(found.group()) - len(found.group().lstrip())]
        return space + kept if kept else ""

    text = _LINKED.sub(r"\1", text)
    for _ in range(_PASSES):
        before, text = text, _MARKS.sub(plain, text)
        if text == before:
            break
    else:
        text = text.replace("[", "(").replace("【", "(")
    return text.strip(), tuple(removed)


def _numbers(listed: str, known: frozenset[int]) -> Iterator[int]:
    """Gives the numbers of "1, 3-5"; of those within a range only what was offered."""
    for part in re.split(r"[,;]", listed):
        if found := _RANGE.search(part):
            first, last = int(found[1]), int(found[2])
            yield from (first, *sorted(n for n in known if first < n < last), last)
        else:
            yield int(part.strip(" \t^"))


def _sentences(text: str, quotes: tuple[Range, ...]) -> Iterator[Range]:
    """Gives the sentences of an answer; citations behind the full stop belong to the sentence before."""
    last: Range | None = None
    for start, end in sentences(text, wrapped=False, keep=quotes):
        first = start
        behind = _BEHIND.match(text, start, end) if last else None
        if last and behind and (behind.end() == end or "\n" not in text[last[1] : start]):
            last, first = (last[0], start + len(behind.group().rstrip())), behind.end()
        if first < end:
            if last:
                yield last
            last = (first, end)
    if last:
        yield last


class _Sentence:
    """A sentence of an answer beside the pieces that it cites."""

    def __init__(self, text: str, pieces: dict[int, _Piece]) -> None:
        self._cited = [pieces[n] for n in dict.fromkeys(int(found[1]) for found in MARK.finditer(text))]
        self._quoted: list[Support] = []
        self._made_up = False
        self.text = _QUOTED.sub(self._quote, text)
        said = MARK.sub(" ", _BULLET.sub("", self.text))
        self._stems, self._numbers = _content(said), frozenset(_amounts(said))
        self._says_something = bool(WORD.search(said))

    def _quote(self, found: re.Match[str]) -> str:
        """Gives a quote as it stands when a cited piece holds it, else its words without the marks."""
        words = MARK.sub(" ", next(filter(None, found.groups())))
        for piece in self._cited:
            if ranges := locate(words, piece.offered.text):
                self._quoted += [Support(piece.offered.number, *stretch) for stretch in ranges]
                return found.group()
        if len(WORD.findall(words)) < CLAIM:
            return found.group()
        self._made_up = True
        return found.group()[1:-1]

    @cached_property
    def supports(self) -> list[Support]:
        """The quotes, and of a cited piece that is not quoted the stretch that fits best."""
        found: list[Support] = []
        for piece in self._cited:
            own = [support for support in self._quoted if support.number == piece.offered.number]
            found += own or [Support(piece.offered.number, *piece.best(self._stems, self._numbers))]
        return found

    @property
    def is_supported(self) -> bool:
        """Whether the cited pieces hold what is said, as far as words and numbers tell."""
        if not self._cited:
            return not self._says_something
        if self._made_up or any(not any(p.has_number(n) for p in self._cited) for n in self._numbers):
            return False
        if not self._stems:
            return True
        if self._numbers and all(_strangers(self.text, piece.offered.text) for piece in self._cited):
            return True  # in another alphabet the numbers are all there is to compare
        numbers = NUMBER * len(self._numbers)
        shared = sum(any(p.has_word(s) for p in self._cited) for s in self._stems) + numbers
        return shared >= SHARED * (len(self._stems) + numbers)


class _Piece:
    """A piece that was offered, with its words and numbers."""

    def __init__(self, offered: Offered) -> None:
        self.offered = offered

    @cached_property
    def _whole(self) -> str:
        o = self.offered
        return f"{o.title}\n{o.time}\n{o.place}\n{o.text}"

    @cached_property
    def _words(self) -> tuple[frozenset[str], frozenset[str]]:
        found = frozenset(stem(word) for word in WORD.findall(quick_fold(one_alphabet(self._whole))))
        return found, frozenset(s[:i] for s in found for i in range(_NEAR, len(s) + 1))

    @cached_property
    def _amounts(self) -> frozenset[str]:
        times = (part.lstrip("0") or "0" for found in _CLOCK.finditer(self._whole) for part in found.groups())
        return frozenset((*_amounts(self._whole), *times))

    def has_number(self, number: str) -> bool:
        """Tells whether the piece, its title or its time holds a number."""
        return number in self._amounts

    def has_word(self, stem_: str) -> bool:
        """Tells whether the piece or its title holds a word, or another form of it."""
        stems, beginnings = self._words
        return stem_ in stems or (len(stem_) > _NEAR and stem_[: max(_NEAR, len(stem_) - 2)] in beginnings)

    @cached_property
    def _parts(self) -> list[tuple[Range, frozenset[str], frozenset[str]]]:
        text = self.offered.text
        ranges = sentences(text, wrapped=True)
        return [((a, b), frozenset(_content(text[a:b])), frozenset(_amounts(text[a:b]))) for a, b in ranges]

    def best(self, stems: Iterable[str], numbers: frozenset[str]) -> Range:
        """Gives the stretch that holds most of some words and numbers with the fewest lines; the first of equals."""
        wanted = frozenset(stems)
        whole = max(len(wanted) + NUMBER * len(numbers), 1)
        best, found = -1.0, (0, 0)
        for i, (first, *_) in enumerate(self._parts):
            words, amounts = frozenset[str](), frozenset[str]()
            for n, (last, more, numbers_) in enumerate(self._parts[i : i + STRETCH]):
                words, amounts = words | more, amounts | numbers_
                share = (len(wanted & words) + NUMBER * len(numbers & amounts)) / whole
                if share - _EACH * n > best + 1e-9:
                    best, found = share - _EACH * n, (first[0], last[1])
        return found


def _content(text: str) -> tuple[str, ...]:
    """Gives the stems of the words that say something, without numbers, each once."""
    words = WORD.findall(quick_fold(one_alphabet(text)))
    return tuple(dict.fromkeys(stem(w) for w in words if not is_stop(w) and not w.isdigit()))


def _amounts(text: str) -> Iterator[str]:
    """Gives the numbers of a text as "1284", "499.9"; a date in signs as its parts."""
    for found in _NUMBER.finditer(text):
        if found["groups"]:
            yield _decimal(re.sub(r"[^0-9]", "", found["groups"]), found["rest"] or "")
        elif len(parts := re.split(r"[.,]", found["plain"])) == 2:
            yield _decimal(*parts)
        else:
            yield from (_decimal(part, "") for part in parts)


def _decimal(whole: str, fraction: str) -> str:
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _strangers(a: str, b: str) -> bool:
    """Tells whether two texts are mostly written in different alphabets."""
    return {_mostly(a), _mostly(b)} == {"Latin", "Cyrillic"}


def _mostly(text: str) -> str | None:
    counts = {"Latin": 0, "Cyrillic": 0}
    for word in WORD.findall(text):
        if found := alphabet(word):
            counts[found] += len(word)
    return max(counts, key=lambda name: counts[name]) if any(counts.values()) else None
