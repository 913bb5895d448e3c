"""Which of an answer's citations and quotes hold, and what is said without support?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.protocols import Offered
from pomnit.search.cite import MARK, Checked, checked
from pomnit.search.quotes import locate, sentences

TICKET = "Билет Москва — Казань\nСтоимость: 2 450,50 ₽\nПоезд 112Г, вагон 7. Отправление 03.11.2026 в 12:30."
HERON = "The grey heron (Ardea cinerea) stands up to 100 cm tall. It weighs from 1.02 to 2.08 kg. Herons eat fish."


def offered(*texts: str, title: str = "", time: str = "2026-11-03T09:41:07.000Z") -> list[Offered]:
    return [Offered(i, title, time, "", text) for i, text in enumerate(texts, 1)]


def quotes(result: Checked, *texts: str) -> list[str]:
    return [texts[s.number - 1][s.start : s.end] for s in result.supports]


# ------------------------------------------------------------------------------------------------- made-up numbers


@pytest.mark.parametrize(
    ("said", "left", "removed"),
    [
        ("Herons eat fish [1].", "Herons eat fish [1].", ()),
        ("Herons eat fish [1][99].", "Herons eat fish [1].", (99,)),
        ("Herons eat fish [99].", "Herons eat fish.", (99,)),
        ("Herons eat fish [1, 2, 7].", "Herons eat fish [1][2].", (7,)),
        ("Herons eat fish [1-2].", "Herons eat fish [1][2].", ()),
        ("Herons eat fish [1–9].", "Herons eat fish [1][2].", (9,)),
        ("Herons eat fish [^1].", "Herons eat fish [1].", ()),
        ("Herons eat fish【1†source】.", "Herons eat fish[1].", ()),
        ("Herons eat fish [0].", "Herons eat fish.", (0,)),
        ("Herons eat fish [007].", "Herons eat fish.", (7,)),
        ("Herons eat fish [[99]98].", "Herons eat fish.", (99, 98)),
        ("Herons eat fish [1](http://evil.example/x).", "Herons eat fish [1].", ()),
        ("Herons eat fish [3](http://evil.example/x).", "Herons eat fish.", (3,)),
        ("Herons eat fish [99999999999999999999].", "Herons eat fish.", (99999999999999999999,)),
        ("a[i] and [x] stay [1]", "a[i] and [x] stay [1]", ()),
    ],
)
def test_only_offered_numbers_stay(said, left, removed):
    result = checked(said, offered(HERON, "Herons eat fish."))
    assert result.text == left.replace("[007]", "")
    assert result.removed == removed


def test_numbers_that_hide_in_each_other_are_no_citations():
    result = checked("[" * 40 + "99" + "]98" * 40, offered(HERON))
    assert not MARK.search(result.text)


def test_without_evidence_nothing_is_cited():
    result = checked("Herons eat fish [1].", [])
    assert result == Checked("Herons eat fish.", (), (1,), ("Herons eat fish.",))


def test_an_empty_answer_is_empty():
    assert checked("", offered(HERON)) == Checked("", (), (), ())
    assert checked(" \n ", []) == Checked("", (), (), ())


# ---------------------------------------------------------------------------------------------------------- quotes


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("stands up to 100 cm", HERON, "stands up to 100 cm"),
        ("STANDS  up to\n100 cm!", HERON, "stands up to 100 cm"),
        ("стоимость 2450,50 ₽", TICKET, "Стоимость: 2 450,50 ₽"),
        ("зеленая ёлка", "Зелёная елка", "Зелёная елка"),
        ("Москва", "билет Mоcквa", "Mоcквa"),  # Latin M, c and a
        ("информация о рейсе", "инфор-\nмация о рейсе", "инфор-\nмация о рейсе"),
        ("grey heron … eat fish", HERON, "grey heron"),
        ("finest", "the ﬁnest of all", "ﬁnest"),
        ("и\u0306од", "йод", "йод"),
        ("café", "the cafe\u0301 here", "cafe"),
    ],
)
def test_a_quote_is_found_however_it_was_read(quote, text, found):
    start, end = locate(quote, text)[0]
    assert text[start:end] == found


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("stands up to 110 cm", HERON),
        ("weighs from 102 to 208 kg", HERON),  # 1.02
        ("costs 15", "costs 1.5"),
        ("costs 5 €", "costs 5 $"),
        ("50 рублей", "150 рублей"),
        ("50%", "50 of them"),
        ("at 12:30", "at 12.30"),
        ("from 57", "from 5-7"),
        ("her", HERON),  # of "heron"
        ("eat fish … grey heron", HERON),  # in another order
        ("", HERON),
        ("…!", HERON),
    ],
)
def test_what_is_not_there_is_not_found(quote, text):
    assert locate(quote, text) is None


def test_a_true_quote_is_the_support():
    result = checked('It says: "stands up to 100 cm tall" [1].', offered(HERON))
    assert quotes(result, HERON) == ["stands up to 100 cm tall"]
    assert result.unsupported == ()
    assert '"stands up to 100 cm tall"' in result.text


def test_both_parts_of_a_shortened_quote_are_supports():
    result = checked("«The grey heron … Herons eat fish» [1].", offered(HERON))
    assert quotes(result, HERON) == ["The grey heron", "Herons eat fish"]


@pytest.mark.parametrize("marks", ["«»", "“”", "„“", '""'])
def test_a_made_up_quote_loses_its_marks(marks):
    said = f"It says {marks[0]}herons hate all fish{marks[1]} [1]."
    result = checked(said, offered(HERON))
    assert result.text == "It says herons hate all fish [1]."
    assert result.unsupported == (result.text,)


def test_a_quote_must_stand_in_the_piece_that_is_cited():
    result = checked("«Herons eat fish» [2].", offered(HERON, "Something else about herons and fish."))
    assert result.text == "Herons eat fish [2]."
    assert result.unsupported == (result.text,)


def test_a_name_in_quotation_marks_is_no_quote():
    result = checked("Herons of «Ласточки» eat fish [1].", offered(HERON))
    assert "«Ласточки»" in result.text
    assert result.unsupported == ()


def test_a_quote_of_several_sentences_is_one():
    said = "«The grey heron stands up to 100 cm tall. It weighs from 1.02 to 2.08 kg.» [1]"
    bare = HERON.replace(" (Ardea cinerea)", "")
    result = checked(said, offered(bare))
    assert result.text == said
    assert result.unsupported == ()
    assert len(result.supports) == 1


# -------------------------------------------------------------------------------------------------------- supports


@pytest.mark.parametrize(
    ("said", "quote"),
    [
        ("Это стоило 2450,50 ₽ [1].", "Стоимость: 2 450,50 ₽"),
        ("Отправлен в 12:30 [1].", "Отправление 03.11.2026 в 12:30."),
        ("Вагон был седьмой, поезд 112Г [1].", "Поезд 112Г, вагон 7."),
    ],
)
def test_the_stretch_that_fits_best_is_the_quote(said, quote):
    result = checked(said, offered(TICKET))
    assert quotes(result, TICKET) == [quote]
    assert result.unsupported == ()


def test_two_lines_are_the_quote_where_both_are_needed():
    text = "The station\nBuilt of brick\nOpened in 1874\nPlatforms: 4\nClosed on Sundays"
    result = checked("It was built of brick and opened in 1874 [1].", offered(text))
    assert quotes(result, text) == ["Built of brick\nOpened in 1874"]


@pytest.mark.parametrize(
    "said",
    [
        "Herons weigh 5 kg [1].",  # another number
        "Herons stand 100.5 cm tall [1].",
        "Penguins live in Antarctica [1].",  # other words
        "The capital of Mars stands 100 metres above Venus [1].",  # a number that is there does not carry all the rest
        "Herons eat fish.",  # no citation
        "Цапли едят лягушек [1].",  # another language, and no number to compare
    ],
)
def test_what_the_evidence_does_not_say_is_marked(said):
    result = checked(said, offered(HERON))
    assert result.unsupported == (said,)


@pytest.mark.parametrize(
    "said",
    [
        "Herons eat fish [1].",
        "A heron eats fish. [1]",
        "Рост цапли до 100 см [1].",  # another alphabet: the number is compared
        "1. Herons eat fish [1]",  # the number of a list is none of the sentence
        "It was seen in November 2026: a heron [1].",  # by the time of the piece
        "**Herons** eat *fish* [1]",
    ],
)
def test_what_the_evidence_says_is_not_marked(said):
    assert checked(said, offered(HERON, title="November")).unsupported == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("А. С. Пушкин родился в 1799 г. в Москве [1]. Он поэт [2].", 2),
        ("Herons eat fish. [1] [2] They fly. [3]", 2),
        ("Herons eat fish [1]\n[2]\nThey fly", 2),
        ("Цены:\n- хлеб 30 [1]\n- соль 20 [2]", 2),
        ("[1] Herons eat fish.\n[2] They fly.", 2),
        ("It costs 1.5 kg, e.g. Bread. Then more!", 2),
        ("Стоит 5 тыс. рублей. Дорого?", 2),
    ],
)
def test_an_answer_is_cut_into_its_sentences(text, parts):
    result = checked(text, [])
    assert len([*result.unsupported]) == parts


def test_citations_behind_the_full_stop_belong_to_the_sentence_before():
    result = checked("Herons eat fish. [1] Penguins are black. [2]", offered(HERON, "The price is 5."))
    assert result.unsupported == ("Penguins are black. [2]",)


def test_a_line_that_begins_with_its_citation_is_its_own():
    result = checked("[1] Herons eat fish.\n[2] Penguins are black.", offered(HERON, "The price is 5."))
    assert result.unsupported == ("[2] Penguins are black.",)


def test_a_line_that_announces_belongs_to_what_follows():
    result = checked("They eat:\n- fish [1]", offered(HERON))
    assert result.unsupported == ()


def test_a_doubtful_sentence_adds_no_quote_to_a_piece_that_is_quoted_already():
    result = checked("Herons eat fish [1]. They are all blue [1].", offered(HERON))
    assert quotes(result, HERON) == ["Herons eat fish."]
    assert result.unsupported == ("They are all blue [1].",)


def test_a_picture_without_text_is_cited_and_not_believed():
    result = checked("A heron stands in water [1].", offered(""))
    assert [(s.number, s.start, s.end) for s in result.supports] == [(1, 0, 0)]
    assert result.unsupported == ("A heron stands in water [1].",)


# ------------------------------------------------------------------------------------------------------ invariants

_SIGNS = [*"[]«»“”„\"“'().,;:!?…-–\n \t", "ë", "й", "и\u0306", "\u202e", "x" * 50]
_MARKS = ["[1]", "[2]", " [99]", "[1, 2]", "[3-7]", "【2】"]
_WORDS = ["Herons", "eat fish", "100 cm", "The grey heron", "2 450,50 ₽", "вагон 7", "Билет", "12:30", "№ 5"]
_BITS = st.sampled_from([*_SIGNS, *_MARKS, *_WORDS])
_SAID = st.lists(_BITS | st.text(max_size=6), max_size=40).map("".join)
_TEXTS = st.lists(st.sampled_from([HERON, TICKET, "", "Herons"]) | _SAID, max_size=4)


@given(_SAID, _TEXTS)
def test_every_number_of_the_text_is_offered_and_has_a_support(said, texts):
    result = checked(said, offered(*texts))
    cited = {int(number) for number in MARK.findall(result.text)}
    assert cited <= set(range(1, len(texts) + 1))
    assert cited == {support.number for support in result.supports}
    assert not cited & set(result.removed)


@given(_SAID, _TEXTS)
def test_quotes_lie_in_their_pieces_and_sentences_in_the_text(said, texts):
    result = checked(said, offered(*texts))
    assert all(0 <= s.start <= s.end <= len(texts[s.number - 1]) for s in result.supports)
    assert all(s.start < s.end or not texts[s.number - 1].strip() for s in result.supports)
    assert all(sentence in result.text for sentence in result.unsupported)
    assert len(set(result.supports)) == len(result.supports)


@given(_SAID, _TEXTS)
def test_nothing_is_added_to_what_was_said(said, texts):
    result = checked(said, offered(*texts))
    words = [*filter(str.isalpha, said)]
    assert [*filter(str.isalpha, result.text)] == words or "†" in said or "](" in said


@given(st.sampled_from([HERON, TICKET]), st.data())
def test_any_run_of_words_is_found_where_it_stands(text, data):
    words = text.split()
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    quote = " ".join(words[first:last])
    if any(c.isalnum() for c in quote):
        found = [text[a:b] for a, b in locate(quote.swapcase(), text)]
        assert [c for c in "".join(found) if c.isalnum()] == [c for c in quote if c.isalnum()]


@given(_SAID, st.booleans())
def test_sentences_hold_every_word_once(text, wrapped):
    ranges = list(sentences(text, wrapped=wrapped))
    assert all(a < b for a, b in ranges)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert "".join("".join(text[a:b].split()) for a, b in ranges) == "".join(text.split())


def test_a_long_hostile_answer_is_checked_soon():
    for said in ("[" * 20_000, "«" * 20_000, "[1] " * 5_000, "1 " * 10_000, "т. е. " * 4_000, "\n" * 20_000):
        assert len(checked(said, offered(HERON * 10)).text) <= len(said)
