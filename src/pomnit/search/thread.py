"""What a question means that follows another: "а в марте?", "and the price?", "when was he born?".

Such a question gets the words of the thread that it needs, in parentheses behind it: they are looked for, too, and are
seen by whoever asked. A question that stands on its own stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pomnit.engines.protocols import Turn
from pomnit.errors import UsageError
from pomnit.search.dates import find_dates
from pomnit.search.fits import found_names
from pomnit.search.query import understand
from pomnit.search.question import Wanted, asks, wanted

MOST = 200  # characters that a question takes over from the thread
_FEW = 2  # words that say too little to stand alone

_LEADS = re.compile(
    r"^\W*(?:(?:а|и|но|ну|или|ещё|еще)(?!\w)[\s,]*(?:что (?:насчёт|насчет|про|с|о|об)(?!\w)|как (?:насчёт|насчет"
    r"|же)(?!\w))?"
    r"|(?:and|or|but|also|then)(?!\w)[\s,]*|(?:what|how) about(?!\w))\s*",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"(?<!\w)(?:he|she|him|her|his|hers|they|them|their|theirs|он|она|они|его|её|ее|ему|ей|ею|им|их|ними|него|неё"
    r"|нее|нему|ней"
    r"|нём|нем|них)(?!\w)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(?<!\w)(?:(?<!is )(?<!are )(?<!was )(?<!were )there|там|туда|оттуда)(?!\w)", re.IGNORECASE)
_THING = re.compile(
    r"(?<!\w)(?:it|its|this|these|those|this one|that one|оно|это|этот|эта|эти|этого|этой|этому|этом|этим|этих"
    r"|тогда)(?!\w)",
    re.IGNORECASE,
)
_PERIOD = re.compile(
    r"(?:(?:в|во|за|с|на|к|до|in|on|for|since|by|of|from)\s+)?"
    r"(?<!\w)(?:(?:январ|феврал|март|апрел|июн|июл|август|сентябр|октябр|ноябр|декабр)\w{0,3}|ма[йяе]|january"
    r"|february|march|april|may"
    r"|june|july|august|september|october|november|december|(?:1[0-9]|20)\d\d(?: год\w*)?"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|понедельник\w?|вторник\w?|сред[ауы]|четверг\w?|пятниц\w|суббот\w"
    r"|воскресень\w)(?!\w)",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"(?<!\w)(?P<prep>в|во|на|из|от|до|к|для|о|об|у|с|со|про|in|on|at|to|from|for|of|by|with"
    r"|about)\s+(?P<name>[A-ZА-ЯЁ][\w-]*"
    r"(?:\s+[A-ZА-ЯЁ][\w-]*)*)"
)


def resolved(question: str, earlier: Sequence[Turn]) -> str:
    """Gives a question with what it takes over from the turns before it; as it is when it stands alone."""
    if not earlier or not question.strip():
        return question
    last = earlier[-1]
    own, before = wanted(_bare(question)), _bare(last.question)
    context = _meant(question, own, last, before)
    if not context and _is_cut_short(question, own):
        context = _without_replaced(before, _bare(question))
    context = " ".join(context.replace("(", " ").replace(")", " ").split()).strip(" ?!.,;")[:MOST].strip()
    return f"{question.strip()} ({context})" if context else question


def _bare(text: str) -> str:
    """Gives a question without filters."""
    try:
        return understand(text).text
    except UsageError:
        return ""


def _is_cut_short(question: str, own: Wanted) -> bool:
    """Tells whether a question lacks what it asks about: it follows on, and says little or does not ask anything."""
    few = len(own.words) <= _FEW
    if _LEADS.match(question):
        return not asks(question) or (len(own.words) < _FEW and not own.names)
    return few and not own.names and (not own.words or not asks(question))


def _without_replaced(before: str, now: str) -> str:
    """Gives the question before without what this one says otherwise: another date, another name behind the same"
    " word.
    """
    moment = datetime.now(UTC)
    dated = find_dates(now, moment)
    if dated or _PERIOD.search(now):
        if old := find_dates(before, moment):
            before = before[: old.span[0]] + " " + before[old.span[1] :]
        before = _PERIOD.sub(" ", before)
    for found in _WITH.finditer(now):
        for old_name in _WITH.finditer(before):
            if old_name["prep"].lower() == found["prep"].lower():
                before = before[: old_name.start()] + " " + before[old_name.end() :]
                break
    return before


def _meant(question: str, own: Wanted, last: Turn, before: str) -> str:
    """Gives what a word like "he" or "there" stands for; nothing when the question says it itself."""
    if own.names:
        return ""
    few = len(own.words) <= _FEW + 1
    asked = wanted(before)
    if _PERSON.search(question):
        return _names(last, asked, "who") or _subject(asked)
    if _PLACE.search(question):
        return _names(last, asked, "where") or _subject(asked)
    if few and _THING.search(question):
        return _subject(asked)
    return ""


def _names(last: Turn, asked: Wanted, wants: str) -> str:
    """Gives the name that was asked for and answered with, else those of the question before.

    What an answerer said becomes words alone: a date would be a filter.
    """
    if asked.wants == wants:
        moment = datetime.now(UTC)
        for name in found_names(asked, _first_sentence(last.answer)):
            if find_dates(name, moment) is None:
                return name
    return " ".join(word.text.capitalize() for word in asked.words if word.stem in asked.names)


def _first_sentence(answer: str) -> str:
    return re.split(r"\s*\[\d+\]", answer, maxsplit=1)[0]


def _subject(asked: Wanted) -> str:
    """Gives what the question before was about: its names, else all that it said."""
    words = [word for word in asked.words if word.stem in asked.names] or asked.words
    return " ".join(word.text.capitalize() if word.stem in asked.names else word.text for word in words)
