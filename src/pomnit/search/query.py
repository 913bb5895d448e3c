"""A query, understood: words, "exact phrases" and filters. Nothing a user types can be a syntax error of the index.

Filters are written ``name:value`` or ``name:"a value"``; any other word with a colon (an address, a time) is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from pomnit.errors import UsageError
from pomnit.records import KINDS, Lang, Query
from pomnit.search.dates import find_dates, says_something
from pomnit.text.language import detect_query
from pomnit.text.stopwords import is_stop
from pomnit.text.times import utc
from pomnit.text.words import fold, tokens

FILTERS = ("type", "after", "before", "in", "app", "state")
LONGEST = 2000  # characters; a longer query is a pasted text and its beginning says enough
_STATES = ("ready", "superseded", "all")

_FILTER = re.compile(rf'(?<!\S)({"|".join(FILTERS)}):(?:"([^"]*)"|(\S+))', re.IGNORECASE)
# Not «…»: those are the plain quotation marks around any name in Russian.
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|„([^“”]*)[“”]')
_DATE = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d))?)?)?)?")


@dataclass(frozen=True, slots=True)
class QueryWord:
    """One word that is searched for."""

    text: str  # folded
    stem: str


@dataclass(frozen=True)
class Understood:
    """A query as it will be carried out."""

    text: str  # without filters: what an encoder reads
    words: tuple[QueryWord, ...]  # each once, those of phrases too; function words only when there is nothing else
    phrases: tuple[str, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    dates: str | None = None  # the relative date that became a filter, as written
    as_words: Understood | None = None  # then: this query with the date's words as words

    @cached_property
    def lang(self) -> Lang:
        """The language of the question."""
        return detect_query(self.text)

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What queries that mean the same have in common."""
        whole = self.as_words.text if self.as_words else None
        return (self.text, self.words, self.phrases, *sorted(self.filters.items()), self.dates, whole)

    @property
    def record(self) -> Query:
        """What is shown of it."""
        words = tuple(w.text for w in self.words)
        return Query(self.text, words, self.phrases, dict(self.filters), self.lang, self.dates)


def understand(text: str, **given: str | None) -> Understood:
    """Gives the meaning of a query. ``given`` are filters from outside, which count before those written inside.

    Raises:
        UsageError: no word and no filter, or a filter with a value that does not fit.
    """
    text = _legible(text)
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]
    filters = {name.lower(): quoted or bare for name, quoted, bare in _FILTER.findall(text)}
    filters |= {name.rstrip("_"): _legible(value) for name, value in given.items() if value is not None}
    for name, value in filters.items():
        _check(name, value)
    rest = " ".join(_FILTER.sub(" ", text).split())
    phrases = tuple(quoted for groups in _QUOTED.findall(rest) if _has_word(quoted := "".join(groups)))
    words = _words(rest)
    if not words and not filters:
        raise UsageError(f"there is no word in {text!r} to search for; type a word, or a filter such as type:image")
    return Understood(rest, words, phrases, filters)


def understand_dated(text: str, now: datetime, **given: str | None) -> Understood:
    """Gives the meaning of a query whose relative date ("вчера"), seen from ``now``, is a filter and no words.

    A date that is given by ``after`` or ``before`` counts before it: then its words are words.

    Raises:
        UsageError: as ``understand``.
    """
    plain = understand(text, **given)
    if "after" in plain.filters or "before" in plain.filters:
        return plain
    found = find_dates(plain.text, now.astimezone().replace(tzinfo=None))
    if found is None:
        return plain
    start, end = found.span
    rest = " ".join((plain.text[:start] + " " + plain.text[end:]).split())
    words = _words(rest) if plain.phrases or says_something(rest) else ()
    dates = {"after": _written(found.after), "before": _written(found.before)}
    return Understood(rest, words, plain.phrases, {**plain.filters, **dates}, found.words, plain)


def _written(local: datetime) -> str:
    """Gives a moment as a filter writes it."""
    return local.isoformat(timespec="minutes").removesuffix("T00:00")


def _legible(text: str) -> str:
    """Gives a text with composed letters, and without what no database takes: NUL and halves of surrogate pairs."""
    return unicodedata.normalize("NFC", text.replace("\0", " ").encode("utf-8", "replace").decode())


def _words(text: str) -> tuple[QueryWord, ...]:
    found = [(text[t.start : t.end], t.stem) for t in tokens(text)]
    telling = [pair for pair in found if not is_stop(pair[0])] or found
    by_stem = {stem: QueryWord(fold(word), stem) for word, stem in reversed(telling)}
    return tuple(by_stem[stem] for stem in dict.fromkeys(stem for _, stem in telling))


def _has_word(text: str) -> bool:
    return next(tokens(text), None) is not None


def _check(name: str, value: str) -> None:
    if name not in FILTERS:
        raise UsageError(f"there is no filter {name!r}; the filters are {', '.join(FILTERS)}")
    if not value:
        raise UsageError(f"the filter {name}: has no value")
    if name == "type" and value.lower() not in KINDS:
        raise UsageError(f"type:{value} is not one of {', '.join(KINDS)}")
    if name == "state" and value.lower() not in _STATES:
        raise UsageError(f"state:{value} is not one of {', '.join(_STATES)}")
    if name in ("after", "before"):
        moment(name, value)


def moment(name: str, value: str) -> str:
    """Gives the beginning, in UTC, of a year, month, day, minute or second that is written in local time.

    Raises:
        UsageError.
    """
    found = _DATE.fullmatch(value.strip())
    try:
        if not found:
            raise ValueError
        parts = (given or least for given, least in zip(found.groups(), "111000", strict=True))
        year, month, day, hour, minute, second = map(int, parts)
        return utc(datetime(year, month, day, hour, minute, second))  # noqa: DTZ001 local
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{name}:{value} is not a date; write 2026, 2026-11, 2026-11-01 or 2026-11-01T09:30"
        ) from error
