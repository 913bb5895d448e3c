"""Relative dates in plain Russian and English: "вчера", "на прошлой неделе", "last Tuesday", "in the last 3 days".

Only clear forms count, for a date that is seen wrongly hides what was asked for. A year, a month's name or a number is
a word. What stands in quotation marks or is written like a title ("Last Night in Soho") is a word, and so are forms
that mostly tell of the story and not of the screenshot, unless something in the question speaks for them:

- "today", "this week", whole months and years: not in a question about the world ("Which street is there today?");
- "on Tuesday", "at the weekend", "за прошлый месяц": only beside a word of looking ("saw", "screenshot", "заметка"), or
  when the question has no other word that says something.

All looks back: "on Tuesday" and "last Tuesday" are the last one before today, "last summer" the last that has ended;
an interval that has not begun is none, and none reaches beyond the end of today. "Two weeks ago" is that day and half
a unit to either side. Morning is 5-12, afternoon 12-18, evening 17-24, night 21-6 of the next day; last night 18-6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from pomnit.text.stopwords import is_stop
from pomnit.text.words import stem, tokens

_MOST_MATCHES = 8
Interval = tuple[datetime, datetime]
_CLEAR, _UNASKED, _SIGNED = range(3)  # always; not in a question about the world; only beside a word of looking


@dataclass(frozen=True, slots=True)
class FoundDates:
    """A relative date of a text: where it stands, and the interval that it means, in local time."""

    span: tuple[int, int]
    after: datetime  # the first moment
    before: datetime  # the first moment that is no longer meant
    words: str


@dataclass(frozen=True)
class _Form:
    """A way to say a date."""

    words: str  # a regular expression, in which a space is any white space
    meaning: Callable[[re.Match[str], datetime], Interval | None]
    needs: int = _CLEAR

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds this form as whole words. Compiled when first asked for: all take 22 ms."""
        whole = rf"(?<![\w/@#.'’:_-])(?:{self.words})(?![\w/@_-]|[.:'’]\w)"
        return re.compile(whole.replace(" ", r"\s+"), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Match:
    form: _Form
    found: re.Match[str]

    def said(self, name: str) -> str:
        """Gives what a named group matched, in lower case; nothing where the form has no such group."""
        return _said(self.found, name)


def find_dates(text: str, now: datetime) -> FoundDates | None:
    """Gives the relative date that ``text`` names, seen from ``now``: a wall clock's time, whose zone is not looked at.

    None when it names none, or several of which none stands out.
    """
    now = now.replace(tzinfo=None)
    plain = text.replace("ё", "е").replace("Ё", "Е")
    matches = list(_matches(plain)) if _HINT.search(plain) else []
    if len(matches) > _MOST_MATCHES:  # a pasted text
        return None
    fitting = [m for m in matches if _stands_free(plain, m) and m.form.needs <= _allowed(plain, m)]
    best = min((m.form.needs for m in fitting), default=0)
    chosen = [m for m in fitting if m.form.needs == best]
    if len(chosen) != 1 or _has_neighbour(plain, chosen[0], matches):
        return None
    interval = _interval(chosen[0], now)
    if interval is None:
        return None
    start, end = chosen[0].found.span()
    return FoundDates((start, end), *interval, " ".join(text[start:end].split()))


def says_something(text: str) -> bool:
    """Tells whether a text has a word to search for, beside function words and words of looking ("saw", "скриншот")."""
    return any(not is_stop(text[t.start : t.end]) and t.stem not in _LOOKING for t in tokens(text))


def _interval(match: _Match, now: datetime) -> Interval | None:
    try:
        interval = match.form.meaning(match.found, now)
        tomorrow = _day(now) + timedelta(days=1)
    except (OverflowError, ValueError):  # before the year 1 or after 9999
        return None
    if interval is None or interval[0] > now:
        return None
    return interval[0], tomorrow if match.said("since") else min(interval[1], tomorrow)


# Which matches count


def _matches(text: str) -> Iterator[_Match]:
    """Gives what looks like a date, forms that come first before others at the same place."""
    taken: list[tuple[int, int]] = []
    for form in _FORMS:
        for found in form.pattern.finditer(text):
            if all(found.end() <= start or end <= found.start() for start, end in taken):
                taken.append(found.span())
                yield _Match(form, found)


def _stands_free(text: str, match: _Match) -> bool:
    """Tells that nothing around a match makes it a title, a part of an absolute date, or a part of another relation."""
    start, end = match.found.span()
    before, after = text[:start], text[end:]
    if any(q.start() < start and end < q.end() for q in _QUOTED.finditer(text)):
        return False
    if _NOT_BEFORE.search(before) or _NOT_AFTER.match(after):
        return False
    for name, pattern, beside in (("day", _NUMBER_AFTER, after), ("n", _NUMERAL, before), ("last", _OWNED, before)):
        if match.said(name) and pattern.search(beside):
            return False
    return text.isupper() or not _is_title(before, match.found.group(), after)


def _is_title(before: str, words: str, after: str) -> bool:
    """Tells whether a match is written with capitals that no sentence puts there."""
    first, *rest = words.split()
    if any(word[0].isupper() and not _WEEKDAY_NAME.match(word) for word in rest):
        return True
    if not first[0].isupper():
        return False
    begins = not before.strip() or before.rstrip()[-1] in ".!?…:;([—-"
    if not begins and not _WEEKDAY_NAME.match(first):
        return True
    # "Yesterday Beatles chords", "Today Show"; Russian has the name of a person there more often than a title.
    follows = re.match(r"\s+([A-Z][a-z]\w*)", after)
    return not rest and first.isascii() and follows is not None and not _speaks_of_me(after)


def _allowed(text: str, match: _Match) -> int:
    """Gives up to which need the words around a match speak for it."""
    rest = text[: match.found.start()] + " " + text[match.found.end() :]
    if not says_something(rest):
        return _SIGNED
    stems = {t.stem for t in tokens(rest)}
    asks = "?" in rest or _ASKS.search(rest) is not None
    if asks and not stems & _SCREENSHOT and not _speaks_of_me(rest):
        return _UNASKED if match.said("from") else _CLEAR
    return _SIGNED if stems & _LOOKING else _UNASKED


def _speaks_of_me(text: str) -> bool:
    return _ME.search(text) is not None


def _has_neighbour(text: str, match: _Match, others: list[_Match]) -> bool:
    """Tells whether another date, or tomorrow, stands beside a match: "вчера, сегодня, завтра"; "last week tonight"."""
    start, end = match.found.span()
    spans = [m.found.span() for m in others if m is not match] + [m.span() for m in _FUTURE.finditer(text)]
    gaps = [text[e:start] if e <= start else text[end:s] for s, e in spans if e <= start or end <= s]
    return any(_LINK.fullmatch(gap) for gap in gaps)


# What they mean


def _said(found: re.Match[str], name: str) -> str:
    said = found.groupdict().get(name)
    return " ".join(said.lower().split()) if said else ""


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _back(day: datetime, n: int, unit: str) -> datetime:
    """Gives the day that lies ``n`` units earlier; the last one of a month that is shorter."""
    if unit in ("day", "week"):
        return day - timedelta(days=n * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 - n * (12 if unit == "year" else 1)
    first = day.replace(year=months // 12, month=months % 12 + 1, day=1)
    longest = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(day.day, longest.day))


def _first(day: datetime, unit: str) -> datetime:
    """Gives the first day of the week, month or year that a day is in."""
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day.replace(month=1, day=1)


def _days_back(n: int) -> Callable[[re.Match[str], datetime], Interval | None]:
    return lambda found, now: _part(found, _day(now) - timedelta(days=n), now)


def _part(found: re.Match[str], day: datetime, now: datetime) -> Interval:
    """Gives a day, or the part of it that is named beside it."""
    said = _said(found, "part") or _said(found, "part2")
    part = next((name for name, beginnings in _PARTS.items() if said and said.startswith(beginnings)), None)
    if part is None:
        return day, day + timedelta(days=1)
    if part == "night" and day == _day(now) and now.hour < _HOURS["night"][0]:
        day -= timedelta(days=1)  # "сегодня ночью" is the night that has just gone
    start, end = _HOURS[part]
    return day + timedelta(hours=start), day + timedelta(hours=end)


def _last_night(_: re.Match[str], now: datetime) -> Interval:
    yesterday = _day(now) - timedelta(days=1)
    return yesterday + timedelta(hours=18), yesterday + timedelta(hours=30)


def _weekday(found: re.Match[str], now: datetime) -> Interval | None:
    """Gives a weekday: the last before today, one of this week, or one of the week that is named with it."""
    today, number = _day(now), _number_of_weekday(_said(found, "day"))
    weeks = _weeks_back(_said(found, "week"))
    if weeks is None and _said(found, "which").startswith(("эт", "this")):
        weeks = 0
    if weeks is None:
        day = today - timedelta(days=(today.weekday() - number - 1) % 7 + 1)
    else:
        day = _first(today, "week") + timedelta(days=number - 7 * weeks)
    return _part(found, day, now) if day <= today else None


def _weeks_back(said: str) -> int | None:
    if not said:
        return None
    if "позапрошл" in said or "before" in said:
        return 2
    return 0 if "эт" in said or "this" in said else 1


def _number_of_weekday(said: str) -> int:
    return next(i for i, names in enumerate(_WEEKDAYS) if said.startswith(names))


def _weekend(found: re.Match[str], now: datetime) -> Interval | None:
    today, which = _day(now), _said(found, "which")
    monday = _first(today, "week")
    in_it = today.weekday() > 4
    if in_it and not which.startswith(("прошл", "позапрошл", "last")):
        return monday + timedelta(days=5), monday + timedelta(days=7)
    if which.startswith(("эт", "this")):
        return None
    monday -= timedelta(days=7 if which.startswith("позапрошл") else 0)
    return monday - timedelta(days=2), monday


def _calendar(found: re.Match[str], now: datetime) -> Interval:
    """Gives this, the last or the last but one calendar week, month or year."""
    unit, which = _unit(_said(found, "unit")), _said(found, "which")
    n = 0 if which.startswith(("эт", "this")) else 2 if which.startswith("позапрошл") or _said(found, "but") else 1
    first = _first(_day(now), unit)
    return _back(first, n, unit), _back(first, n - 1, unit)


def _season(found: re.Match[str], now: datetime) -> Interval | None:
    today, said = _day(now), _said(found, "season")
    month = next(month for month, beginnings in _SEASONS.items() if said.startswith(beginnings))
    start = today.replace(month=month, day=1)
    start = start if start <= today else _back(start, 1, "year")
    end = _back(start, -3, "month")
    if _said(found, "which").startswith(("эт", "this")):
        over = end.year == today.year and today < _back(end, -6, "month")
        return (start, end) if today < end or over else None
    n = (today < end) + _said(found, "which").startswith("позапрошл")
    return _back(start, n, "year"), _back(end, n, "year")


def _ago(found: re.Match[str], now: datetime) -> Interval | None:
    least, most = _count(_said(found, "n"))
    unit = _unit(_said(found, "unit"))
    if _said(found, "unit") in ("полгода", "half a year"):
        least = most = 6
    if not 1 <= most <= _MOST[unit]:
        return None
    far, near = _back(_day(now), most, unit), _back(_day(now), least, unit)
    if unit == "year":
        return _back(far, 6, "month"), _back(near, -6, "month")
    if unit == "day" and least == most:
        return _part(found, far, now)
    half = timedelta(days={"day": 0, "week": 3, "month": 15}[unit])
    return far - half, near + half + timedelta(days=1)


def _rolling(found: re.Match[str], now: datetime) -> Interval | None:
    n, unit = _count(_said(found, "n"))[1], _unit(_said(found, "unit"))
    if not 1 <= n <= _MOST[unit]:
        return None
    return _back(_day(now), n, unit), _day(now) + timedelta(days=1)


def _count(said: str) -> tuple[int, int]:
    """Gives the least and the most that a number, as written, means."""
    if not said:
        return 1, 1
    if said.isdecimal():
        return (int(said),) * 2 if len(said) < 4 else (0, 0)
    if "coup" in said or said == "пару":
        return 1, 3
    if "few" in said or said in ("several", "несколько"):
        return 2, 7
    return next((n, n) for n, words in enumerate(_NUMBERS) if said in words)


def _unit(said: str) -> str:
    return next(unit for unit, beginnings in _UNITS.items() if said.startswith(beginnings))


# Words

_WEEKDAYS = (
    ("понедельник", "monday"),
    ("вторник", "tuesday"),
    ("сред", "wednesday"),
    ("четверг", "thursday"),
    ("пятниц", "friday"),
    ("суббот", "saturday"),
    ("воскресень", "sunday"),
)
_NUMBERS = (
    (),
    ("a", "an", "one", "один", "одну"),
    ("two", "два", "две"),
    ("three", "три"),
    ("four", "четыре"),
    ("five", "пять"),
    ("six", "шесть"),
    ("seven", "семь"),
    ("eight", "восемь"),
    ("nine", "девять"),
    ("ten", "десять"),
)
_UNITS = {
    "month": ("month", "месяц", "полгода", "half"),
    "day": ("day", "д", "сутки"),
    "week": ("week", "недел"),
    "year": ("year", "год", "лет"),
}
_MOST = {"day": 99, "week": 52, "month": 36, "year": 20}
_SEASONS = {3: ("весн", "spring"), 6: ("лет", "summer"), 9: ("осен", "autumn", "fall"), 12: ("зим", "winter")}
_PARTS = {
    "morning": ("утр", "с утра", "morning"),
    "afternoon": ("дн", "afternoon"),
    "evening": ("вечер", "evening", "tonight"),
    "night": ("ноч", "night"),
}
_HOURS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (21, 30)}

_LOOKING_WORDS = """
видел видела видели увидел увидела смотрел смотрела смотрели читал читала читали прочитал прочитала открывал открывала
сохранил сохранила сохранили скачал скачала делал делала делали сделал сделала снял сняла искал искала писал писала
скрин скрины скриншот скриншоты скриншотов экран экране экрана снимок снимки снимке фото фотка фотки фотография
фотографии картинка картинки картинку заметка заметки заметку документ документы файл файлы письмо письма сообщение
сообщения переписка переписку статья статью статьи страница страницу сайт вкладка вкладку
saw see seen looked looking watched watching read reading saved downloaded wrote screenshot screenshots screen
photo photos picture pictures image images note notes document documents file files email emails mail message messages
chat article articles page pages tab website
"""
_LOOKING = frozenset(map(stem, _LOOKING_WORDS.split()))
_SCREENSHOT = frozenset(map(stem, ("скрин", "скрины", "скриншот", "скриншоты", "screenshot", "screenshots")))
_ME = re.compile(
    r"(?<!\w)(?:я|меня|мне|мной|мною|мы|нас|нам|нами|мо(?:й|я|е|и|его|ей|ему|ем|им|ими|их|ю)|наш\w{0,3}"
    r"|me|my|we|our|i['’](?:ve|d|m)|i(?=\s+[a-z]))(?!\w)",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"(?<!\w)(?:кто|кого|кому|кем|ком|чей|чья|чье|чьи|что|чего|чему|чем|как(?:|ой|ая|ое|ие|ого|ому|ом|ую|им|ими|их|ова|ов"
    r"|ово|овы)|сколько|скольких|почему|зачем|откуда|куда|когда|где|ли|who|whom|whose|what|which|when|where|why|how)(?!\w)"
    r"|^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)(?!\w)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"«[^»]*»|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|(?<![\w'])'[^']+'(?!\w)|‘[^’]*’")
# "until yesterday", "more than last year", "USA Today", "задачи на сегодня" (a plan) are other things.
_NOT_BEFORE = re.compile(
    r"(?<!\w)(?:before|after|until|till|by|than|not|to|even|still|usa|russia|psychology|india"
    r"|до|после|к|ко|перед|кроме|не|даже|чем|раша)\s+$",
    re.IGNORECASE,
)
_OWNED = re.compile(
    r"(?:(?<!\w)(?:the|my|his|her|its|their|our|your|whose|every|each|a|very|that)|['’]s)\s+$", re.IGNORECASE
)
_NOT_AFTER = re.compile(
    r"\s+(?:of|(?:19|20)\d\d|(?:по|до|to|till|until)\s+\w+|обитания|разработки|программирования|выполнения|исполнения)(?!\w)",
    re.IGNORECASE,
)
_MONTHS = (
    "январ|феврал|март|апрел|ма[йя]|июн|июл|август|сентябр|октябр|ноябр|декабр|january|february|march|april|may|june|july"
    "|august|september|october|november|december"
)
_NUMBER_AFTER = re.compile(rf"^[\s,]*(?:the\s+)?(?:\d|{_MONTHS})", re.IGNORECASE)
_NUMERAL = re.compile(
    r"(?:дцать|десят|сорок|девяносто|сто|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|and|\d)\s+$",
    re.IGNORECASE,
)
_FUTURE = re.compile(r"(?<!\w)(?:завтра|послезавтра|tomorrow|tonight)(?!\w)", re.IGNORECASE)
_LINK = re.compile(r"[\s,;/+&-]*(?:and|or|to|и|или)?[\s,;/+&-]*", re.IGNORECASE)
# Every form has one of these.
_HINT = re.compile(
    "сегодня|вчера|прошл|назад|последн|выходн|понедельник|вторник|сред|четверг|пятниц|суббот|воскресень|эт(?:ой|о[мтг]|у|а|и)"
    "|day|week|month|year|last|night|this|past|ago",
    re.IGNORECASE,
)
_WEEKDAY_NAME = re.compile("|".join(name for names in _WEEKDAYS for name in names), re.IGNORECASE)

# Forms. Where two fit at one place, the earlier counts.

_RU_PART = "утром|с утра|днем|вечером|ночью"
_EN_PART = "morning|afternoon|evening|night"
_RU_DAY = "понедельник|вторник|среду|четверг|пятницу|субботу|воскресенье"
_RU_DAY_OF = "понедельника|вторника|среды|четверга|пятницы|субботы|воскресенья"
_EN_DAY = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_RU_N = r"(?<![\d.,–—-])(?:\d+|один|одну|два|две|три|четыре|пять|шесть|семь|восемь|девять|десять|пару|несколько)"
_EN_N = (
    r"(?<![\d.,–—-])"
    "(?:\\d+|(?:a )?couple of|(?:a )?few|several|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
)
_RU_UNIT = "день|дня|дней|неделю|недели|недель|месяц|месяца|месяцев|год|года|лет"
_EN_UNIT = "days?|weeks?|months?|years?"
_S = "(?:['’]s)?"


def _ru_day(day: str) -> str:
    """Gives the pattern of a day with a part of it before or after."""
    return rf"(?:(?P<part>{_RU_PART}) )?{day}(?: (?P<part2>{_RU_PART}))?"


_FORMS: tuple[_Form, ...] = (
    # Days
    _Form(_ru_day("(?:(?P<since>со?) |от |за )?позавчера"), _days_back(2)),
    _Form(r"(?P<since>со?) позавчерашнего дня|позавчерашн(?!ий день|его дня)\w{2,3}", _days_back(2)),
    _Form(
        r"(?P<since>со?) вчерашнего дня|вчерашн(?!ий день|его дня)\w{2,3}(?: (?P<part>утро\w*|вечер\w*|ноч\w+))?",
        _days_back(1),
    ),
    _Form(_ru_day(r"(?<!\bна\s)(?:(?P<since>со?) |от )?вчера"), _days_back(1)),
    _Form(_ru_day("за (?P<from>вчера)"), _days_back(1), _SIGNED),
    _Form(rf"сегодня (?P<part>{_RU_PART})|(?P<part2>{_RU_PART}) сегодня", _days_back(0), _UNASKED),
    _Form(r"(?<!\bна\s)(?:(?P<from>за|от) )?сегодня", _days_back(0), _UNASKED),
    _Form(r"сегодняшн(?!ий день|его дня|ему дню|ем дне)\w{2,3}", _days_back(0), _SIGNED),
    _Form("(?P<part>(?:прошлой )ночью)", _last_night),
    _Form("прошлым (?P<part>вечером)", _days_back(1)),
    _Form(rf"(?:on |from )?the day before yesterday{_S}(?: (?P<part>{_EN_PART}))?", _days_back(2)),
    _Form(
        rf"(?:(?P<since>since) |from |of )?yesterday{_S}(?: (?P<part>{_EN_PART})| in the (?P<part2>{_EN_PART}))?",
        _days_back(1),
    ),
    _Form(rf"(?:from )?(?P<last>last) night{_S}", _last_night),
    _Form(rf"(?:from )?(?P<last>last) (?P<part>evening){_S}", _days_back(1)),
    _Form("(?:(?P<from>from) )?this (?P<part>morning|afternoon|evening)", _days_back(0), _UNASKED),
    _Form("(?P<part>tonight)", _days_back(0), _UNASKED),
    _Form(r"(?<!\bof\s)(?:(?P<from>from) )?today", _days_back(0), _UNASKED),
    _Form("today['’]s", _days_back(0), _SIGNED),
)
_RU_WEEK = "на прошлой неделе|прошлой недели|на этой неделе|этой недели|на позапрошлой неделе|позапрошлой недели"
_EN_WEEK = "last week|this week|the week before last"
_FORMS += (
    # Weekdays
    _Form(_ru_day(rf"во? (?P<day>{_RU_DAY}),? (?P<week>{_RU_WEEK})"), _weekday),
    _Form(_ru_day(rf"(?P<week>{_RU_WEEK}),? во? (?P<day>{_RU_DAY})"), _weekday),
    _Form(_ru_day(rf"в (?P<which>прошл|эт)(?:ый|ую|ое|от|у|о) (?P<day>{_RU_DAY})"), _weekday),
    _Form(rf"(?:(?P<since>с) )?(?P<which>прошл)(?:ого|ой) (?P<day>{_RU_DAY_OF})", _weekday),
    _Form(rf"(?P<which>прошл)(?:ый|ую|ое) (?P<day>{_RU_DAY})", _weekday, _SIGNED),
    _Form(_ru_day(rf"во? (?P<day>{_RU_DAY})(?! и )"), _weekday, _SIGNED),
    _Form(rf"(?P<since>со?) (?P<day>{_RU_DAY_OF})", _weekday, _SIGNED),
    _Form(rf"(?:on )?(?P<day>{_EN_DAY})(?: (?P<part>{_EN_PART}))?(?: of)? (?P<week>{_EN_WEEK})", _weekday),
    _Form(rf"(?P<week>{_EN_WEEK}),? (?:on )?(?P<day>{_EN_DAY})(?: (?P<part>{_EN_PART}))?", _weekday),
    _Form(
        rf"(?:(?P<since>since) |on |from |of )?(?P<which>(?P<last>last)) (?P<day>{_EN_DAY}){_S}"
        rf"(?: (?P<part>{_EN_PART}))?",
        _weekday,
    ),
    _Form(rf"(?:on |from |of )?(?P<which>this) (?P<day>{_EN_DAY})(?: (?P<part>{_EN_PART}))?", _weekday, _UNASKED),
    _Form(
        rf"(?!(?<=\bmail\s)on sunday)(?:(?P<since>since)|on) (?P<day>{_EN_DAY})(?: (?P<part>{_EN_PART}))?(?! and )",
        _weekday,
        _SIGNED,
    ),
    # So long ago
    _Form(_ru_day(rf"(?:(?P<n>{_RU_N}) )(?P<unit>день|дня|дней|неделю|недели|недель) (?:тому )?назад"), _ago),
    _Form(_ru_day("(?P<unit>день|неделю) (?:тому )?назад"), _ago),
    _Form(rf"(?:(?P<n>{_RU_N}) )(?P<unit>{_RU_UNIT}) (?:тому )?назад", _ago, _UNASKED),
    _Form("(?P<unit>месяц|год|полгода) (?:тому )?назад", _ago, _UNASKED),
    _Form("(?P<unit>half a year) ago", _ago, _UNASKED),
    _Form(rf"(?:from )?(?P<n>{_EN_N}) (?P<unit>days?|weeks?) ago", _ago),
    _Form(rf"(?:(?P<from>from) )?(?P<n>{_EN_N}) (?P<unit>{_EN_UNIT}) ago", _ago, _UNASKED),
    # Up to today
    _Form(rf"(?:за|в) последн(?:ие|их) (?P<n>{_RU_N}) (?P<unit>{_RU_UNIT})", _rolling, _UNASKED),
    _Form("за последн(?:юю|ий|ие) (?P<unit>день|сутки|неделю|месяц|год)", _rolling, _UNASKED),
    _Form(
        rf"(?:(?:in|over|during|within|for|from) )?(?:the )?(?:last|past) (?P<n>{_EN_N}) (?P<unit>{_EN_UNIT})",
        _rolling,
        _UNASKED,
    ),
    _Form("(?:in|over|during|within|for|from) the (?:last|past) (?P<unit>day|week|month|year)", _rolling, _UNASKED),
    # Weekends
    _Form("(?:в|на) (?P<which>прошлы|позапрошлы|эт)(?:е|х|и|их) выходны[ех]", _weekend),
    _Form("(?P<which>прошлых|позапрошлых) выходных", _weekend),
    _Form("(?:в|на) выходны[ех]", _weekend, _SIGNED),
    _Form(rf"(?:on |over |from |of )?(?P<which>(?P<last>last)) weekend{_S}", _weekend),
    _Form("(?:on |over |from |of )?(?P<which>this) weekend", _weekend, _UNASKED),
    _Form("(?:on|over|at) the weekend", _weekend, _SIGNED),
    # Weeks, months, years, seasons
    _Form("на (?P<which>прошл|позапрошл)ой (?P<unit>неделе)", _calendar),
    _Form("на (?P<which>эт)ой (?P<unit>неделе)", _calendar, _UNASKED),
    _Form("(?:(?P<since>с) |от )?(?P<which>прошл|позапрошл)ой (?P<unit>недели)", _calendar),
    _Form("(?:(?P<since>с) |от )?(?P<which>эт)ой (?P<unit>недели)", _calendar, _UNASKED),
    _Form("в (?P<which>прошл|позапрошл|эт)ом (?P<unit>месяце|году)", _calendar, _UNASKED),
    _Form("(?:(?P<since>с) |от )?(?P<which>прошл|позапрошл|эт)ого (?P<unit>месяца|года)", _calendar, _UNASKED),
    _Form("(?:за )?(?P<which>прошл|позапрошл|эт)(?:ую|ая|у|а) (?P<unit>неделю|неделя)", _calendar, _SIGNED),
    _Form("(?:за )?(?P<which>прошл|позапрошл|эт)(?:ый|от) (?P<unit>месяц|год)", _calendar, _SIGNED),
    _Form("(?P<which>прошл|позапрошл|эт)(?:ым|им|ой) (?P<season>летом|зимой|весной|осенью)", _season, _UNASKED),
    _Form("(?P<which>прошл|позапрошл)(?:ого|ой) (?P<season>лета|зимы|весны|осени)", _season, _UNASKED),
    _Form("for (?P<which>last) (?P<unit>week|month|year)", _calendar, _SIGNED),
    _Form(rf"(?:(?P<since>since) |from |of )?(?P<which>(?P<last>last)) (?P<unit>week){_S}", _calendar),
    _Form(
        rf"(?:(?P<since>since) |(?P<from>from) |of )?(?P<which>(?P<last>last)) (?P<unit>month|year){_S}",
        _calendar,
        _UNASKED,
    ),
    _Form("(?:(?P<from>from) |in |of )?(?P<which>this) (?P<unit>week|month|year)", _calendar, _UNASKED),
    _Form("(?:(?P<from>from) )?the (?P<unit>week|month|year) (?P<but>before last)", _calendar, _UNASKED),
    _Form(
        "(?:(?P<since>since) |(?P<from>from) |of )?(?P<which>(?P<last>last)|this) "
        rf"(?P<season>spring|summer|autumn|fall|winter){_S}",
        _season,
        _UNASKED,
    ),
)
