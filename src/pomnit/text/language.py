"""Which of our two languages a text is in, by its letters and its most frequent words."""

from __future__ import annotations

import re

from pomnit.records import Lang
from pomnit.text.stopwords import STOP_WORDS

_RUSSIAN = re.compile(r"[а-яёА-ЯЁ]")
_OTHER_CYRILLIC = re.compile(r"[іїєґўђјљњћџќѓѕІЇЄҐЎЂЈЉЊЋЏЌЃЅ]")
_ENGLISH = re.compile(r"[A-Za-z]")
_OTHER_LATIN = re.compile(r"[À-ÖØ-öø-ÿĀ-žƀ-ɏ]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
# The most frequent words of German, French, Spanish, Italian, Portuguese, Dutch and Polish that are not English words.
_FOREIGN_WORDS = """
aan aber al alla alle als anche ante aos auch auf aus aux avec bardzo bei bin być był była było były ce ces cette che
chi ci col com come comme como con cuando czy dal dalla dann dans das dat degli dei della delle dem den des desde deux
deze di dich dit dla doch donde durch een ein eine einen einer eines el ela ele ella elle ellos em en entre er era es
essa esse est esta estas este estos et eu foi fue für gdy gli ha haar haben hanno hat hay heeft het hij ich ihr ihre
ik il ils im io isso ist jak jako je jego jej jest już kann le les leur leurs lo loro lub lui ma maar mais mas mehr
met mi mijn mit może muy même na naar nach nas ne nei nel nella nicht nie niet no noch nog non nos nous nu num numa
nur não oder om ont ook op oraz os ou où par para pas pela pelo per pero più plus po por porque pour przez przy quando
que quem questa questo qui quien quoi sa se según sein sem ser ses seu si sich sie sin sind się sobre son sono sont su
sua sul sur sus são są tak también também te tego tej tem tiene to todo todos tot tra tutti tylko tym uit um uma un
una und une uno unos uns unter vom voor vor vous w wat we wenn werd wie wij wir worden wordt y ya z za zal ze zich zij
zijn zum zur às être że
"""
_FOREIGN = frozenset(_FOREIGN_WORDS.split()) - STOP_WORDS


def detect(text: str) -> Lang:
    """Gives "ru", "en" or "other" for the language that most letters of ``text`` are in.

    Latin letters count as English, for names, code and menus are what screens show, unless many are accented or the
    function words of other languages outnumber the English ones.
    """
    letters = len(_LETTER.findall(text))
    if not letters:
        return "other"
    russian, english = len(_RUSSIAN.findall(text)), len(_ENGLISH.findall(text))
    if russian >= english:
        foreign = len(_OTHER_CYRILLIC.findall(text))
        return "ru" if russian * 2 > letters and foreign * 50 < russian else "other"
    if english * 2 <= letters or len(_OTHER_LATIN.findall(text)) * 50 > english:
        return "other"
    words = _LATIN_WORD.findall(text.lower())
    foreign, known = sum(w in _FOREIGN for w in words), sum(w in STOP_WORDS for w in words)
    return "other" if foreign > known + 1 else "en"


def detect_query(text: str) -> Lang:
    """Gives the language of a query: any Russian word makes it Russian, for an English encoder cannot read it."""
    if _RUSSIAN.search(text):
        return "ru"
    return "en" if _ENGLISH.search(text) and not _OTHER_LATIN.search(text) else "other"
