"""A question, understood: what kind of answer it wants, which words must be found, and the queries that look for them.

"Сколько стоил билет в Казань, который я смотрел во вторник?" wants an amount, of money; билет and Казань must be found;
Tuesday is a filter of the query. What is polite, what only asks and what tells of looking ("я видел") is left out. A
question that follows another one holds the words of the thread that it needs in parentheses at its end: those are
looked for, too, but what is asked for is said before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from pomnit.records import Lang
from pomnit.search.asking import (
    ASIDE,
    ASKING,
    I_LOOKED,
    KIND_NOUNS,
    KINDS,
    MEASURES,
    NOUNS,
    PERIOD_NOUNS,
    POLITE,
    POLITE_END,
    QUOTED,
    WHICH,
    YES_NO,
    Measure,
    Wants,
)
from pomnit.search.dates import says_something
from pomnit.search.query import LONGEST, QueryWord, Understood, understand, understand_dated
from pomnit.text.language import detect_query
from pomnit.text.stopwords import is_stop
from pomnit.text.words import fold, tokens

MOST_WORDS = 60  # that are looked for; a longer question is a pasted text


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a question asks for."""

    text: str  # without politeness, filters and relative dates
    lang: Lang
    wants: Wants
    measure: Measure  # of an amount
    of: tuple[str, ...]  # stems of what is counted or chosen among: "how many seconds", "which river"
    words: tuple[QueryWord, ...]  # that say something, each once, in their order
    names: frozenset[str]  # stems of those that are written like names
    numbers: frozenset[str]
    quoted: tuple[str, ...]
    aside: frozenset[str] = field(default_factory=frozenset)  # stems that only the thread said
    kind: frozenset[str] = field(default_factory=frozenset)  # stems that only name the kind of answer: "which river"
    leans: bool = False  # whether the thread says what is asked: "а в марте?"


@dataclass(frozen=True, slots=True)
class Understanding:
    """A question with the queries that look for its answer, the one with all of its words first."""

    wanted: Wanted
    queries: tuple[Understood, ...]


def understand_question(text: str, now: datetime, **given: str | None) -> Understanding:
    """Gives the meaning of a question, seen from ``now``. ``given`` are filters from outside, as for a search.

    A relative date is a filter, as in a search; but in "when was the meeting last week" the date is what is asked for,
    so there it stays words, unless the question tells of looking ("when did I see ... yesterday").

    Raises:
        UsageError: no word and no filter, or a filter with a value that does not fit.
    """
    legible = understand(text, **given)  # refuses what cannot be searched for, and takes the filters out
    plain = wanted(legible.text)
    dated = plain.wants != "when" or _tells_of_looking(legible.text)
    query = understand_dated(text, now, **given) if dated else legible
    asked = wanted(query.text) if query.dates else plain
    if query.dates:
        asked = replace(asked, wants=plain.wants, measure=plain.measure, of=plain.of)
    return Understanding(asked, tuple(_queries(query, asked)))


def _queries(query: Understood, asked: Wanted) -> list[Understood]:
    """Gives the queries: all words of the question, then what it quotes as exact phrases."""
    if not query.words:
        return [query]
    as_words = _only(query.as_words, asked) if query.as_words else None
    main = replace(_only(query, asked), phrases=(), as_words=as_words)
    if not asked.quoted:
        return [main]
    words = [word for phrase in asked.quoted for word in _words_of(phrase)]
    exact = replace(main, words=tuple(words), phrases=asked.quoted, as_words=None)
    return [main, exact] if words else [main]


def _only(query: Understood, asked: Wanted) -> Understood:
    """Gives a query with the words that say something, which an encoder reads without politeness."""
    words = asked.words if query.dates else wanted(query.text).words
    return replace(query, text=_without_politeness(query.text), words=words or query.words)


def wanted(text: str) -> Wanted:
    """Gives what a question without filters asks for."""
    text = _without_politeness(" ".join(text[:LONGEST].split()))
    focus, aside = _focus(text)
    wants, measure, of = _asked_for(focus)
    if aside and wants == "what" and not ASKING.search(focus):
        wants, measure, of = _refined("what", "", _following(focus))
        wants, measure, of = (wants, measure, of) if wants != "what" else _asked_for(aside)
    mine = _tells_of_looking(text)
    words: dict[str, QueryWord] = {}
    names: set[str] = set()
    for part in (focus, aside):
        for first, raw, stem_ in _telling(part, looking=not mine):
            words.setdefault(stem_, QueryWord(fold(raw), stem_))
            if _is_name(raw, first=first):
                names.add(stem_)
    own = {stem_ for _, _, stem_ in _telling(focus, looking=True)}
    chosen = tuple(words.values())[:MOST_WORDS]
    return Wanted(
        text=text,
        lang=detect_query(text),
        wants=wants,
        measure=measure,
        of=of,
        words=chosen,
        names=frozenset(names & {w.stem for w in chosen}),
        numbers=frozenset(w.stem for w in chosen if w.stem.isdigit()),
        quoted=tuple(q for found in QUOTED.findall(text) if len((q := "".join(found)).split()) > 1 or len(q) > 2)[:4],
        aside=frozenset(words.keys() - own),
        kind=frozenset(of[:1]) & KIND_NOUNS | (PERIOD_NOUNS & words.keys() if wants == "when" else frozenset()),
        leans=bool(aside) and not ASKING.search(focus),
    )


def asks(text: str) -> bool:
    """Tells whether a text has a word of asking, or begins like a question."""
    return ASKING.search(text) is not None or YES_NO.search(text) is not None


def _telling(text: str, *, looking: bool) -> list[tuple[bool, str, str]]:
    """Gives the words that say something: whether it is the first of its sentence, as written, its stem."""
    found: list[tuple[bool, str, str]] = []
    begins = True
    at = 0
    for t in tokens(text):
        raw = text[t.start : t.end]
        begins = begins or any(c in ".!?" for c in text[at : t.start])
        keep = not is_stop(raw) and (looking or says_something(raw))
        if keep and not (found and found[-1][2] == t.stem):
            found.append((begins, raw, t.stem))
        begins, at = False, t.end
    return found


def _words_of(text: str) -> list[QueryWord]:
    return [QueryWord(fold(text[t.start : t.end]), t.stem) for t in tokens(text)]


def _is_name(raw: str, *, first: bool) -> bool:
    """Tells whether a word is written like a name: a capital that no sentence puts there, or several."""
    capitals = sum(c.isupper() for c in raw)
    return capitals > 1 or (capitals == 1 and raw[0].isupper() and not first and not raw.isdigit())


def _focus(text: str) -> tuple[str, str]:
    found = ASIDE.fullmatch(text)
    return (found[1], found[2]) if found and found[1].strip() else (text, "")


def _without_politeness(text: str) -> str:
    """Gives a question without what only leads to it or thanks for it; all of it when nothing else is said."""
    rest = text
    for _ in range(4):
        shorter = POLITE_END.sub("", POLITE.sub("", rest)).strip()
        if shorter == rest:
            break
        rest = shorter
    return rest if next(tokens(rest), None) else text


def _tells_of_looking(text: str) -> bool:
    """Tells whether somebody speaks of what he saw, and not only of the world: "который я смотрел", "I read"."""
    return I_LOOKED.search(text) is not None


# What is asked for


def _asked_for(text: str) -> tuple[Wants, Measure, tuple[str, ...]]:
    """Gives the kind of answer, its measure, and the stems of what is counted or chosen among."""
    for pattern, wants, measure in KINDS:
        if found := pattern.search(text):
            of = _following(text[found.end() :]) if wants in ("amount", "what", "who", "where", "when") else ()
            return _refined(wants, measure, of)
    if found := WHICH.search(text):
        return _refined("what", "", _following(text[found.end() :]))
    if YES_NO.search(text):
        return "yes or no", "", ()
    return "what", "", ()


def _refined(wants: Wants, measure: Measure, of: tuple[str, ...]) -> tuple[Wants, Measure, tuple[str, ...]]:
    """Gives a kind as the noun behind the question word tells it: "which river", "в каком году", "how many dollars"."""
    if wants == "what":
        for noun in of[:2]:
            for nouns, kind, of_it in NOUNS:
                if noun in nouns:
                    return kind, of_it, of
    if wants == "amount" and not measure:
        for noun in of[:2]:
            for nouns, of_it in MEASURES.items():
                if noun in nouns:
                    return wants, of_it, of
        return wants, "count", of
    return wants, measure, of


def _following(text: str) -> tuple[str, ...]:
    """Gives the stems of the first words behind a question word that say something."""
    found = []
    for t in tokens(text[:80]):
        if not is_stop(text[t.start : t.end]):
            found.append(t.stem)
        if len(found) == 3:
            break
    return tuple(found)
