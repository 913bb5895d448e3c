"""A text as the finders of sensitive text look at it: the same length, so that every offset stays true.

``plain`` has one kind of space, dash and digit; ``latin`` has Latin letters where Cyrillic ones look like them, too.
``skeleton`` has one sign for all that look alike in small letters of both alphabets: key words are looked up there.
``chains`` gives the numbers of a text: groups of digits, and of letters that a reader of pictures takes for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_SPACES = "\t\v\f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_UNSEEN = "\xad\u200b\u200c\u200d\u2060\ufeff"  # they part groups as a space does
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d\u2e3a\u2e3b"
_ZEROS = (0x660, 0x6F0, 0x966, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6)  # each begins ten digits
_PLAIN = (
    {ord(c): " " for c in _SPACES + _UNSEEN}
    | {ord(c): "-" for c in _DASHES}
    | {zero + i: str(i) for zero in _ZEROS for i in range(10)}
)

# Letters that are read for digits. Only a check digit, or a key word beside it, makes a number of them.
_LOOK_ALIKE = {
    "0": "OoОоQ",
    "1": "lIiіІ",
    "2": "Zz",
    "3": "Зз",
    "4": "Чч",
    "5": "SsЅѕ",
    "6": "бG",
    "8": "BВ",
    "9": "gq",
}
DIGIT = "0-9" + "".join(_LOOK_ALIKE.values())
_TO_DIGIT = {ord(letter): digit for digit, letters in _LOOK_ALIKE.items() for letter in letters} | {ord("|"): "1"}
_TO_LETTER = str.maketrans("0125689", "OIZSGBG")

_TWINS = zip("АВЕЅКМНОРСТХУІЈаеѕорсхуіј", "ABESKMHOPCTXYIJaesopcxyij", strict=True)
_LATIN = {ord(cyrillic): latin for cyrillic, latin in _TWINS} | str.maketrans("ЗзбЧч", "33644")

_SAME = "аaвbеeёeкkмmнhоoрpсcтtуyхxиuйuпnгrіlil1l|l0o3з5s6б8b"  # pairs: what is seen, and the sign for it
_CAPITALS = [chr(c) for c in (*range(0x41, 0x5B), 0x401, 0x406, *range(0x410, 0x430))]
_SIGNS = dict(zip(_SAME[::2], _SAME[1::2], strict=True))
_SKELETON = {ord(c): sign for c, sign in _SIGNS.items()} | {ord(c): _SIGNS.get(c.lower(), c.lower()) for c in _CAPITALS}

_BAR = rf"(?<=[{DIGIT}])\||\|(?=[{DIGIT}])"  # a 1, or the border of a table
_DIGIT_RUN = rf"(?:[{DIGIT}]|{_BAR})++(?!\w)"
_CHAIN = re.compile(rf"(?<!\w)(?<![{DIGIT}]\|){_DIGIT_RUN}(?:(?:[ .-]{{1,3}}+| ?\n ?){_DIGIT_RUN})*+")
_RUN = re.compile(rf"[{DIGIT}|]++")
_TRUE_DIGIT = re.compile(r"[0-9]")
LEAST = 9  # digits of the shortest number that anybody looks for


def fold(words: str) -> str:
    """Gives the skeleton of a text, of the same length: one for "ПИН", "ПИH" and "пин"."""
    return words.translate(_SKELETON)


def any_of(words: str) -> str:
    """Gives a pattern of skeletons for words between bars, the longest first; a ~ stands for some ending."""
    return "|".join(sorted((fold(word).replace("~", r"\w{0,4}") for word in words.split("|")), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Group:
    """Digits without a gap: where they stand, what they are, and how many of them are letters in the text."""

    start: int
    end: int
    digits: str
    letters: int


class View:
    """One text in its several looks, each made when somebody asks for it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.plain = text.translate(_PLAIN)

    @cached_property
    def latin(self) -> str:
        """The text in which Latin letters and digits stand for Cyrillic letters that look like them."""
        return self.plain.translate(_LATIN)

    @cached_property
    def skeleton(self) -> str:
        """The text in which one sign stands for all that look alike."""
        return fold(self.plain)

    def chains(self) -> Iterator[list[Group]]:
        """Gives the numbers: groups one after the other with a little between them, nine digits and more in all.

        A group of letters alone is no group: it ends the chain.
        """
        for found in _CHAIN.finditer(self.plain):
            chain: list[Group] = []
            for run in _RUN.finditer(self.plain, found.start(), found.end()):
                text = run.group()
                true = len(_TRUE_DIGIT.findall(text))
                if true:
                    chain.append(Group(run.start(), run.end(), text.translate(_TO_DIGIT), len(text) - true))
                    continue
                if sum(len(group.digits) for group in chain) >= LEAST:
                    yield chain
                chain = []
            if sum(len(group.digits) for group in chain) >= LEAST:
                yield chain

    def between(self, one: Group, other: Group) -> str:
        """Gives what stands between two groups."""
        return self.plain[one.end : other.start]

    def before(self, start: int, most: int = 40) -> str:
        """Gives the skeleton of what stands before ``start`` in its line."""
        return self.skeleton[max(0, start - most) : start].rpartition("\n")[2]

    def above(self, start: int, most: int = 80) -> str:
        """Gives the skeleton of the line above, where nothing stands before ``start`` in its own."""
        lines = self.skeleton[max(0, start - most) : start].split("\n")
        return lines[-2] if len(lines) > 1 and not lines[-1].strip() else ""

    def after(self, end: int, most: int = 20) -> str:
        """Gives the skeleton of what stands behind ``end`` in its line."""
        return self.skeleton[end : end + most].partition("\n")[0]


def to_digits(text: str) -> str:
    """Gives a text with digits for the letters that are read for them."""
    return text.translate(_TO_DIGIT)


def to_letters(text: str) -> str:
    """Gives a text with Latin letters for the digits that are read for them."""
    return text.translate(_TO_LETTER)
