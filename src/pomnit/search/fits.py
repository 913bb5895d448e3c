"""Where in a sentence an answer of the wanted kind may stand: a date for "when", an amount of money for "how much"."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from pomnit.search.asking import Measure, Wants
from pomnit.search.question import Wanted
from pomnit.text.stopwords import is_stop
from pomnit.text.words import stem

Fit = tuple[int, float]
"""Where it begins in the sentence, and how well it fits, 0..1."""
_Finder = Callable[[Wanted, str], Iterator[Fit]]

_MONTHS = (
    "январ[ьяею]|феврал[ьяею]|март[ае]?|апрел[ьяею]|ма[йяе]|июн[ьяею]|июл[ьяею]|август[ае]?|сентябр[ьяею]|октябр[ьяею]"
    "|ноябр[ьяею]|декабр[ьяею]|january|february|march|april|may|june|july|august|september|october|november|december"
)
_DAYS = (
    "понедельник\\w?|вторник\\w?|сред[ауы]|четверг\\w?|пятниц\\w|суббот\\w|воскресень\\w"
    "|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
)
_WHEN = re.compile(
    r"(?<![\w.,$€£₽-])(?P<year>(?:1[0-9]|20)\d\d)(?:s|-?х)?(?![\w%]|[.,]\d)"
    rf"|(?<!\w)(?P<month>\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTHS})|(?:{_MONTHS})(?: \d{{1,2}})?)(?!\w)"
    r"|(?<![\w.])(?P<date>\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d\d)|\d{4}-\d\d-\d\d)(?!\w)"
    r"|(?<!\w)(?P<era>[IVX]+(?:[–-][IVX]+)? ?(?:в\.|вв\.|век\w*|столети\w+)|\d+(?:st|nd|rd|th)[ -]centur\w+"
    r"|\d+(?:-\w+)? (?:век\w*|столети\w+)"
    r"|\d+ (?:BC|AD|BCE|CE|до н\. ?э)|\d+ г(?:од\w*|\.))"
    rf"|(?<!\w)(?P<day>{_DAYS})(?!\w)"
    r"|(?<![\w:.,])(?P<clock>\d{1,2}:\d\d)(?![\w:])"
    r"|(?<!\w)(?P<span>\w+ (?:years?|months?|weeks?|days?|лет|года?|месяц\w*|недел\w+|дн\w+) (?:ago|later|after"
    r"|before|earlier|назад"
    r"|спустя)|через \w+ (?:лет|года?|месяц\w*|недел\w+|дн\w+))(?!\w)",
    re.IGNORECASE,
)
_PERIOD = re.compile(f"{_MONTHS}|{_DAYS}", re.IGNORECASE)
_CLEAR_DATES = frozenset(("year", "month", "date", "era"))
_NUMBER = re.compile(r"(?<![\w])\d+(?:[ \u00a0\u202f,.]\d+)*")
_WORDS = re.compile(
    "(?<!\\w)(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    "|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundreds?|thousands?|millions?|billions?|dozens?|half|twice|once"
    "|third|quarter"
    "|one|single|no|дв(?:а|е|ух|ум|умя|ое)|тр(?:и|ех|ёх|ем|ём|емя|ое)|четыр(?:е|ех|ёх|ем|ём)|пят(?:ь|и)|шест(?:ь|и)"
    "|сем(?:ь|и)|вос(?:емь|ьми)|девят(?:ь|и)|десят(?:ь|и|к\\w+)|\\w+надцат(?:ь|и)|двадцат(?:ь|и)|тридцат(?:ь|и)|сорока?"
    "|пят(?:ь|и)десяти?|сто|ста|сот\\w*|двести|триста|тысяч\\w*|миллион\\w*|миллиард\\w*|полов\\w+|треть\\w*"
    "|четверт\\w+"
    "|один|одн(?:а|о|ого|ой|им)|дважды|трижды|оба|обе)(?!\\w)",
    re.IGNORECASE,
)
_BESIDE: Mapping[Measure, re.Pattern[str]] = {
    "money": re.compile(
        r"[$€£₽¥]|(?<!\w)(?:руб\w*|р\.|коп\w*|доллар\w*|евро|фунт\w*|usd|eur|rub|gbp|dollars?|euros?|pounds?|cents?"
        r"|roubles?|rubles?"
        r"|франк\w*|francs?|марок|marks|тыс|млн|млрд)(?!\w)",
        re.IGNORECASE,
    ),
    "share": re.compile(
        r"%|(?<!\w)(?:percent\w*|per cent|процент\w*|half|third|quarter|полов\w+|треть\w*|четверт\w+)", re.IGNORECASE
    ),
    "time": re.compile(
        r"(?<!\w)(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?|decades?|centur\w+|секунд\w*|минут\w*"
        r"|час\w*|дн\w+|день"
        r"|недел\w+|месяц\w*|лет|год\w*|век\w*|столети\w*|сут\w+|мин|сек|ч|min|sec|h)(?!\w)",
        re.IGNORECASE,
    ),
    "length": re.compile(
        r"(?<!\w)(?:m|km|cm|mm|ft|mi|miles?|met(?:re|er)s?|kilomet\w+|feet|foot|inch\w*|yards?|sq|square|acres?"
        r"|hectares?|mph"
        r"|м|км|см|мм|миль|мил[яиь]|метр\w*|километр\w*|фут\w*|дюйм\w*|ярд\w*|кв|квадратн\w+|гектар\w*|degrees?"
        r"|градус\w*|°)",
        re.IGNORECASE,
    ),
    "weight": re.compile(
        r"(?<!\w)(?:kg|g|tons?|tonnes?|gigaton\w*|pounds?|lbs?|grams?|kilograms?|кг|г|т|тонн\w*|гигатонн\w*|фунт\w*"
        r"|грамм\w*"
        r"|килограмм\w*)(?!\w)",
        re.IGNORECASE,
    ),
}
_WHY = re.compile(
    r"(?<!\w)(?:because|due to|since|as a result|so that|in order to|owing to|thanks to|caused|reasons?|therefore"
    r"|led to"
    r"|потому|из-за|так как|поскольку|чтобы|благодаря|вследствие|в результате|причин\w+|ввиду|поэтому|вызва\w+"
    r"|прив[её]л\w*"
    r"|ради|для того|в связи с|по\s?этому)(?!\w)",
    re.IGNORECASE,
)
_HOW = re.compile(
    r"(?<!\w)(?:by|through|using|via|with|путем|путём|посредством|с помощью|через|образом|способом|благодаря"
    r"|используя)(?!\w)",
    re.IGNORECASE,
)
_IS = re.compile(
    r"\s[—–-]\s|(?<!\w)(?:is|are|was|were|means?|refers?|called|known as|defined|это|является|являются|называ\w+"
    r"|представля\w+"
    r"|означа\w+|состо\w+|определя\w+|иными словами|т\. ?е\.)(?!\w)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(
    r"(?<!\w)[A-ZА-ЯЁÀ-Þ][\w'’.&-]*(?:[ \n]+(?:(?:of|de|von|van|the|and|и|фон|де|дю)[ \n]+)?[A-ZА-ЯЁÀ-Þ][\w'’&-]*)*"
)
_AT = re.compile(
    r"(?<!\w)(?:in|at|on|near|from|to|into|of|along|across|в|во|на|из|от|до|к|ко|у|около|близ|возле|под|за)\s+$",
    re.IGNORECASE,
)
_NEAR = 24  # characters from a number to its unit


def fits(asked: Wanted, sentence: str) -> list[Fit]:
    """Gives where an answer of the wanted kind may stand in a sentence; nothing for kinds that no sign tells."""
    find = _FINDERS.get(asked.wants)
    return list(find(asked, sentence)) if find else []


def _when(asked: Wanted, sentence: str) -> Iterator[Fit]:
    for found in _WHEN.finditer(sentence):
        said = found.group()
        if found.lastgroup == "year" and found["year"] in asked.numbers:
            continue
        yield found.start(), 1.0 if found.lastgroup in _CLEAR_DATES and len(said) > 1 else 0.7


def _amount(asked: Wanted, sentence: str) -> Iterator[Fit]:
    beside = _BESIDE.get(asked.measure)
    for pattern, clear in ((_NUMBER, 1.0), (_WORDS, 0.8)):
        for found in pattern.finditer(sentence):
            plain = re.sub(r"\D", "", found.group())
            if plain and plain in asked.numbers:
                continue
            around = sentence[max(0, found.start() - 6) : found.end() + _NEAR]
            if beside is not None and not beside.search(around):
                clear_here = 0.4 * clear
            elif asked.measure == "count" and _is_counted(asked.of, sentence[found.end() : found.end() + 40]):
                clear_here = clear
            elif asked.measure == "count":
                clear_here = 0.6 * clear if not re.fullmatch(r"(?:1[0-9]|20)\d\d", found.group()) else 0.3
            else:
                clear_here = clear
            yield found.start(), clear_here


def _is_counted(of: Collection[str], behind: str) -> bool:
    """Tells whether what is counted stands right behind a number."""
    return any(stem(word) in of for word in re.findall(r"[^\W\d_]+", behind)[:4])


def found_names(asked: Wanted, sentence: str) -> list[str]:
    """Gives the names in a sentence that the question does not hold, the likeliest answer first."""
    at = {found.start(): " ".join(found.group().split()) for found in _CAPITAL.finditer(sentence)}
    return [at[start] for start, _ in sorted(_names(asked, sentence), key=lambda fit: -fit[1])]


def _names(asked: Wanted, sentence: str) -> Iterator[Fit]:
    """Gives names: capitals within a sentence, or several words with capitals, that the question does not hold."""
    known = {word.stem for word in asked.words}
    for found in _CAPITAL.finditer(sentence):
        words = [w for w in re.findall(r"[^\W_]+", found.group()) if w[0].isupper() and not is_stop(w)]
        new = [w for w in words if stem(w) not in known and not _PERIOD.fullmatch(w)]
        if not new or (len(new) == 1 and len(new[0]) == 1):
            continue
        first = not sentence[: found.start()].strip(" «“\"'(—–-•")
        yield found.start(), 1.0 if not first or len(words) > 1 else 0.5


def _places(asked: Wanted, sentence: str) -> Iterator[Fit]:
    for start, clear in _names(asked, sentence):
        yield start, clear if _AT.search(sentence[:start]) else 0.7 * clear


def _signs(pattern: re.Pattern[str]) -> _Finder:
    def find(_asked: Wanted, sentence: str) -> Iterator[Fit]:
        for found in pattern.finditer(sentence):
            yield found.start(), 1.0

    return find


_FINDERS: Mapping[Wants, _Finder] = {
    "when": _when,
    "amount": _amount,
    "who": _names,
    "where": _places,
    "why": _signs(_WHY),
    "how": _signs(_HOW),
    "definition": _signs(_IS),
}
