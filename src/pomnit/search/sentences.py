"""The sentences of a text that was read from a page or a screen: lines are wrapped, and much of it is no sentence.

Unlike ``quotes.sentences``, which takes every line for a part to quote from, a sentence here runs over the ends of its
lines; headings, entries of menus and lines of a table or a chat stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from pomnit.store.spans import Range

LONGEST = 600  # characters of a sentence; a longer one is cut where a part of it ends
_FULL = 0.62  # of the longest line around: a shorter one that is followed by a capital was not wrapped

_LABEL, _VALUE = 6, 5  # words of a line that names something, and of the next one that tells how much or when
_FEW = 4  # words that are no sentence when the last one is cut short

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"[^\n]+")
_NUMBERED = re.compile(r"\s*\(?[0-9]{1,3}(?:\.[0-9]{1,3})*[.)]\s*")
_AMOUNT = re.compile(r"\s*[$€£₽+−-]?\s*[0-9]")
_BULLET = re.compile(r"\s*(?:[•·▪◦●■□✓✔►▶*§—–-]|\(?[0-9]{1,3}(?:\.[0-9]{1,3})*[.)]|\(?[a-zа-яё][)])\s+")
_END = re.compile(r"(?:[.!?…]+[»”\"'’)\]]*(?:\[[0-9]{1,3}\])*|:(?=[^\S\n]*\n))(?=\s|$)")
_NEXT = re.compile(r"\s*[«“\"'‘(\[]*(.)", re.DOTALL)
# What may stand before a full stop that ends no sentence: initials, and words that are cut short.
_SHORT = re.compile(
    r"(?<![^\W_])(?:[^\W\d_]|им|ул|пл|пр|просп|пер|корп|стр|рис|табл|гл|тыс|млн|млрд|трлн|руб|коп|кв|куб|см|ср|гг|вв"
    r"|др|проф|акад"
    r"|доц|ст|св|напр|прим|ред|изд|сокр|англ|нем|фр|лат|греч|исп|итал|рус|тел|обл|мин|сек|ок|св|т\.\s?[едкпн]"
    r"|и\.\s?о|н\.\s?э"
    r"|e\.\s?g|i\.\s?e|a\.\s?m|p\.\s?m|u\.\s?s|u\.\s?k|ph\.\s?d|mr|mrs|ms|dr|prof|sr|jr|st|mt|ft|vs|no|nos|vol|ed"
    r"|eds|fig|figs|pp"
    r"|approx|est|inc|ltd|co|corp|etc|cf|al|ca|gen|gov|sen|rep|lt|col|sgt|capt|rev|sq|jan|feb|mar|apr|jun|jul|aug"
    r"|sept?|oct|nov"
    r"|dec)$",
    re.IGNORECASE,
)
# Of those, what may also be the last word of a sentence: it is when the next word is long and begins with a capital.
_MAY_END = re.compile(
    r"(?:гг?|вв?|э|тыс|млн|млрд|трлн|руб|коп|др|п|д|т\.\s?[дп]|etc|inc|ltd|co|corp|a\.\s?m|p\.\s?m|u\.\s?s|jr|sq|al)$",
    re.IGNORECASE,
)
_TOWN = re.compile(r"(?:^|[^\d\s])\s*(?<![^\W_])г$")  # "г. Москва", not "в 1999 г. Она"
_CAPITAL_WORD = re.compile(r"\s*[«“\"(]?[A-ZА-ЯЁ][a-zа-яё]{2,}")
_CUTS = (re.compile(r";\s+"), re.compile(r"\n"), re.compile(r",\s+"), re.compile(r"\s+"))


def sentences(text: str) -> list[Range]:
    """Gives the sentences, in order, without the spaces around them; together all of the words."""
    found: list[Range] = []
    for start, end in _blocks(text):
        for first, last in _of_block(text, start, end):
            found.extend(_cut(text, first, last))
    return found


def _blocks(text: str) -> Iterator[Range]:
    """Gives the paragraphs; one that breaks off before a small letter goes on in the next."""
    start = 0
    for gap in _PARAGRAPH.finditer(text):
        before = text[start : gap.start()].rstrip()
        if before and before[-1] not in '.!?…:;»”"' and text[gap.end() : gap.end() + 1].islower():
            continue
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _of_block(text: str, start: int, end: int) -> Iterator[Range]:
    """Gives the sentences of a paragraph."""
    borders = {*_ends(text, start, end), *_breaks(text, start, end)}
    at = start
    for border in sorted(borders):
        if _SHORT.search(text[at : border - 1]) and text[border - 1] == "." and len(text[at:border].split()) < _FEW:
            continue  # "В 1999 г."
        yield at, border
        at = border
    yield at, end


def _ends(text: str, start: int, end: int) -> Iterator[int]:
    """Gives where signs end a sentence."""
    for found in _END.finditer(text, start, end):
        if _ends_here(text, found.start(), found.end(), found.group(), end):
            yield found.end()


def _ends_here(text: str, sign: int, after: int, signs: str, end: int) -> bool:
    follows = _NEXT.match(text, after, end)
    if follows is None:
        return False
    if follows[1].islower():
        return False
    if not signs.startswith(".") or signs.startswith(".."):
        return True
    before = text[max(0, sign - 12) : sign]
    if _BULLET.fullmatch(text[text.rfind("\n", 0, sign) + 1 : after] + " "):
        return False
    if _SHORT.search(before):
        if _TOWN.search(before):
            return False
        return bool(_MAY_END.search(before) and _CAPITAL_WORD.match(text, after, end))
    return True


def _breaks(text: str, start: int, end: int) -> Iterator[int]:
    """Gives the ends of lines that were not wrapped: before a bullet, and of short ones before a capital or a digit."""
    lines = [found.span() for found in _LINE.finditer(text, start, end)]
    longest = max((b - a for a, b in lines), default=0)
    for (first, last), (follows, to) in pairwise(lines):
        if _BULLET.match(text, follows, to):
            yield last
            continue
        line = text[first:last].rstrip()
        if _belong(line, text[follows:to]):
            continue
        begins = text[follows:to].lstrip()[:1]
        room = longest - len(line)  # a wrapped line is short only because the next word did not fit
        next_word = len(text[follows:to].split(" ", 1)[0])
        wrapped = len(line) >= _FULL * longest and room <= next_word + 12
        if line and line[-1] not in ",-–—" and not begins.islower() and not wrapped:
            yield last


def _belong(line: str, after: str) -> bool:
    """Tells whether a line is only a number of a paragraph, or names the value that stands alone on the next one."""
    if _NUMBERED.fullmatch(line):
        return True
    label, value = line.split(), after.split()
    named = 0 < len(label) <= _LABEL and line[-1:] not in ".!?…" and not any(c.isdigit() for c in line)
    return named and len(value) <= _VALUE and _AMOUNT.match(after) is not None and any(c.isalpha() for c in line)


def _cut(text: str, start: int, end: int) -> Iterator[Range]:
    """Gives a sentence without the spaces around it, in parts when it is too long."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    while end - start > LONGEST:
        at = next(
            (
                found[-1].end()
                for cut in _CUTS
                if (found := list(cut.finditer(text, start + LONGEST // 3, start + LONGEST)))
            ),
            start + LONGEST,
        )
        yield start, at - (len(text[start:at]) - len(text[start:at].rstrip()))
        start = at + len(text[at:end]) - len(text[at:end].lstrip())
    if start < end:
        yield start, end


def as_shown(text: str) -> str:
    """Gives a quote on one line: as it stands, but for the ends of lines."""
    return " ".join(re.sub(r"(?<=\w-)\n\s*", "", text).split())
