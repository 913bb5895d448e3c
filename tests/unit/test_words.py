"""What is the same word?"""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.text.alphabets import one_alphabet
from pomnit.text.stopwords import STOP_WORDS, is_stop
from pomnit.text.words import fold, stem, stems, tokens

# Everything the analyser treats apart: both alphabets, marks, digits in groups, signs.
TRICKY = st.text("аеёийЙЁшHоmеcXabz019 .,:;_-\u00a0\u202f\u0301\u0306\u0308\n½ßŉİﬁ日ﾞ", max_size=40)
TEXTS = st.one_of(TRICKY, st.text(max_size=40))


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("Ёлка", "елка"),
        ("ещё", "еще"),
        ("Café", "cafe"),
        ("naïve", "naive"),
        ("Straße", "STRASSE"),
        (nfd("Ёжик"), "ежик"),
        (nfd("Йод"), "йод"),
        ("ﬁle", "file"),
        ("𝐇ello", "hello"),  # bold letters of chats and headlines
        ("ℌallo", "hallo"),
        ("ИСТО́РИЯ", "история"),
    ],
)
def test_letters_that_only_look_different_are_the_same(written, same):
    assert fold(written) == fold(same)


@pytest.mark.parametrize("written", ["мой", "Йод", nfd("мой"), nfd("ЙОД"), nfd("йо́гурт")])
def test_short_i_stays_another_letter_than_i(written):
    assert "й" in fold(written)
    assert fold(written) != fold(unicodedata.normalize("NFC", written).lower().replace("й", "и"))


@given(TEXTS)
def test_folding_twice_changes_nothing_more(text):
    assert fold(fold(text)) == fold(text)


@given(st.from_regex(r"[a-z]{1,20}|[а-яё]{1,20}", fullmatch=True))
def test_a_word_has_one_stem_however_it_is_written(word):
    forms = {word, word.upper(), word.title(), fold(word), nfd(word), word.replace("ё", "е")}
    assert {stem(form) for form in forms} == {stem(word)}


@pytest.mark.parametrize(
    "forms",
    [
        ("счёт", "счета", "Счетом", "СЧЕТУ"),
        ("октябрь", "октября", "октябре"),
        ("screenshot", "Screenshots", "SCREENSHOT"),
        ("invoice", "invoices", "invoiced"),
    ],
)
def test_the_forms_of_a_word_share_a_stem(forms):
    assert len({stem(form) for form in forms}) == 1


def test_words_of_the_two_languages_do_not_share_a_stem():
    assert stem("кот") != stem("cat")
    assert stem("вид") != stem("вода")


@pytest.mark.parametrize(
    ("mixed", "meant"),
    [
        ("H\u043em\u0435", "Home"),  # Cyrillic о and е
        ("Wind\u043ews", "Windows"),
        ("пр\u0061вда", "правда"),  # Latin a
        ("\u0041кт", "Акт"),
        ("C\u0447\u0451т", "Счёт"),
        ("\u0441ontext", "context"),
        ("Mосква", "Москва"),
    ],
)
def test_a_word_of_look_alike_letters_is_read_in_one_alphabet(mixed, meant):
    assert one_alphabet(mixed) == meant
    assert stem(mixed) == stem(meant)


@pytest.mark.parametrize("word", ["Home", "правда", "iМя", "日本", "", "123", "Джfг", "USB-кабель", "Wi-Fiроутер"])
def test_a_word_that_no_single_alphabet_explains_stays(word):
    assert one_alphabet(word) == word


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("1 284,50", "1284"),
        ("1\u00a0284,50 ₽", "1284"),
        ("1\u202f284", "1284"),
        ("$1,284.50", "1284"),
        ("12.500.000", "12500000"),
        ("12 500 000", "12500000"),
        ("12 500 000", "500"),
        ("Internet2", "internet"),
        ("Internet2", "Internet2"),
        ("15kg", "kg"),
        ("15kg", "15"),
        ("15кг", "кг"),
        ("snake_case_name", "case"),
        ("report-2026.final", "final"),
        ("foo@example.com", "example"),
        (nfd("Новый файл.png"), "новый"),
        (nfd("Счёт за ёлку.pdf"), "ёлку"),
    ],
)
def test_a_text_is_found_by_its_parts(text, searched):
    assert stem(searched) in stems(text)


@pytest.mark.parametrize("text", ["1 28", "12 34 56", "1284 567", "+7 9", "1,2,3"])
def test_numbers_that_are_not_grouped_are_not_joined(text):
    assert stems(text) == re.findall(r"\d+", text)


def test_a_decomposed_file_name_is_not_cut_at_its_accents():
    assert stems(nfd("Йогурт")) == stems("Йогурт")
    assert len(stems(nfd("Ёлочный йогурт"))) == 2


def test_offsets_lead_back_to_the_words_as_written():
    text = "Счёт №1 284: «Hоmе», Internet2"
    assert [text[t.start : t.end] for t in tokens(text)] == [
        "Счёт",
        "1",
        "284",
        "1 284",
        "Hоmе",
        "Internet2",
        "Internet",
    ]


def test_a_very_long_word_is_indexed_by_its_beginning():
    hexadecimal = "4f" * 5000
    (found,) = tokens(hexadecimal)
    assert (found.start, found.end) == (0, 10_000)
    assert len(found.stem) <= 64


@given(TEXTS)
def test_words_of_any_text_are_in_range_and_in_order(text):
    reached = 0
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)
        # A word begins after all words before it; its parts and the number it ends lie in what was reached.
        assert token.start >= reached or token.end <= reached
        reached = max(reached, token.end)
        piece = text[token.start : token.end]
        assert token.stem in (stem(piece), re.sub(r"\D", "", piece))


@given(TEXTS)
def test_every_letter_and_digit_belongs_to_a_word(text):
    covered = {i for token in tokens(text) for i in range(token.start, token.end)}
    assert all(i in covered for i, c in enumerate(text) if c.isalnum())


@pytest.mark.parametrize("word", ["the", "The", "ЧТО", "ещё", "еще", "её", nfd("мой")])
def test_function_words_are_known_however_they_are_written(word):
    assert is_stop(word)


@pytest.mark.parametrize("word", ["тема", "invoice", "счёт", "2026", "willow"])
def test_words_with_a_subject_are_no_function_words(word):
    assert not is_stop(word)


def test_stop_words_are_folded():
    assert all(fold(word) == word for word in STOP_WORDS)
