"""What does a query mean, whatever was typed?"""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.errors import UsageError
from pomnit.search.query import FILTERS, LONGEST, moment, understand


def words(text: str, **given_: str) -> tuple[str, ...]:
    return tuple(w.text for w in understand(text, **given_).words)


@pytest.fixture
def moscow(monkeypatch):
    """A zone without summer time, three hours east: in POSIX notation the sign is turned."""
    monkeypatch.setenv("TZ", "MSK-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["type:image", "after:2026-11-01", 'in:"My Files"', "счёт"]))
)
def test_filters_may_stand_in_any_order(order):
    understood = understand(" ".join(order))
    assert understood.filters == {"type": "image", "after": "2026-11-01", "in": "My Files"}
    assert understood.text == "счёт"
    assert [w.text for w in understood.words] == ["счет"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zoom.us", ("zoom",)),  # "us" is a function word
        ("https://zoom.us/j/123", ("https", "zoom", "j", "123")),
        ("foo:bar", ("foo", "bar")),
        ("meeting 12:30", ("meeting", "12", "30")),
        ("subtype:image", ("subtype", "image")),
        ("type: image", ("image",)),
        ("AND", ("and",)),
        ("NEAR(", ("near",)),
        ("cats OR dogs", ("cats", "dogs")),
        ("invoice*", ("invoice",)),
        ("-invoice ^total {stems}", ("invoice", "total", "stems")),
        ("stems:invoice", ("stems", "invoice")),
        ("'; DROP TABLE item; --", ("drop", "table", "item")),
        ("the the of", ("the", "of")),
        ("счета Счёт СЧЕТОМ", ("счета",)),  # one stem, as first written
        ("где мой счёт", ("счет",)),
        ("a\0b", ("b",)),
    ],
)
def test_anything_else_is_words(text, expected):
    understood = understand(text)
    assert tuple(w.text for w in understood.words) == expected
    assert understood.filters == {}


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('"exact phrase" more', ("exact phrase",)),
        ("“exact phrase” more", ("exact phrase",)),
        ("„exact phrase“ more", ("exact phrase",)),
        ("«Название» more", ()),
        ('"one" "two words"', ("one", "two words")),
        ('say "hello', ()),
        ('"" more', ()),
        ('"..." more', ()),
        ('"a " b', ("a ",)),
    ],
)
def test_quotes_make_phrases(text, phrases):
    understood = understand(text)
    assert understood.phrases == phrases
    assert understood.words


@pytest.mark.parametrize("text", ["", " ", '"', '""', "*", "!?…", "—", "\0", "()", "🙂", "_"])
def test_a_query_without_words_and_filters_is_refused(text):
    with pytest.raises(UsageError, match="no word"):
        understand(text)


@pytest.mark.parametrize("text", ["type:image", "TYPE:Image", "in:/tmp", 'app:"Visual Studio"', "state:all"])
def test_a_filter_alone_is_a_query(text):
    understood = understand(text)
    assert not understood.words
    assert len(understood.filters) == 1
    assert understood.record.filters == dict(understood.filters)


@pytest.mark.parametrize(
    "text",
    ["type:picture", "state:gone", "after:yesterday", "before:2026-13", "after:2026-02-30", 'app:""', "after:26"],
)
def test_a_filter_with_a_value_that_does_not_fit_is_refused_and_named(text):
    with pytest.raises(UsageError, match=text.split(":")[0]):
        understand("word " + text)


def test_filters_from_outside_count_before_those_inside():
    understood = understand("счёт type:image", type="note", in_="Docs", app=None)
    assert understood.filters == {"type": "note", "in": "Docs"}
    with pytest.raises(UsageError, match="colour"):
        understand("счёт", colour="red")
    with pytest.raises(UsageError, match="no value"):
        understand("счёт", app="")


@pytest.mark.parametrize(
    ("value", "utc"),
    [
        ("2026", "2025-12-31T21:00:00.000Z"),
        ("2026-11", "2026-10-31T21:00:00.000Z"),
        ("2026-11-03", "2026-11-02T21:00:00.000Z"),
        ("2026-1-3", "2026-01-02T21:00:00.000Z"),
        ("2026-11-03T09:30", "2026-11-03T06:30:00.000Z"),
        ("2026-11-03 9:30:15", "2026-11-03T06:30:15.000Z"),
        (" 2026-11-03 ", "2026-11-02T21:00:00.000Z"),
        ("0500", "0499-12-31T21:00:00.000Z"),  # times compare as strings: four digits, always
    ],
)
@pytest.mark.usefixtures("moscow")
def test_a_date_is_local_time(value, utc):
    assert moment("after", value) == utc


@pytest.mark.parametrize(
    "value", ["2026-13", "2026-00", "2026-11-00", "2026-11-31", "0000", "2026-11-03T24:00", "26-1-1", "2026-", "x", ""]
)
def test_what_is_no_date_is_refused(value):
    with pytest.raises(UsageError, match="not a date"):
        moment("after", value)


def test_a_pasted_text_counts_by_its_beginning():
    understood = understand("слово " * 10_000 + "конец")
    assert len(understood.text) <= LONGEST
    assert understood.words[0].text == "слово"
    assert "конец" not in [w.text for w in understood.words]


QUERIES = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [f"{name}:" for name in FILTERS] + ['"', "“", "”", " ", "2026", "-11", "image", "счёт", "*", ":"]
        ),
        max_size=12,
    ).map("".join),
)


@given(QUERIES)
def test_no_text_breaks_a_query(text):
    try:
        understood = understand(text)
    except UsageError:
        return
    assert understood.words or understood.filters
    assert set(understood.filters) <= set(FILTERS)
    assert understood.record.lang in ("ru", "en", "other")
    stems = [w.stem for w in understood.words]
    assert len(stems) == len(set(stems))
