"""Which language is a text in?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.text.language import detect, detect_query

SPANISH = "La casa de mi hermano queda lejos del centro pero tiene vista hermosa sobre toda la ciudad " * 4
ENGLISH = "The house of my brother is far from the centre but it has a beautiful view of the whole city " * 4


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Счёт за октябрь оплачен", "ru"),
        ("Ёлка", "ru"),
        ("Откройте меню File и выберите Save, чтобы сохранить документ", "ru"),
        ("Invoice for October", "en"),
        ("File Edit View Help", "en"),
        ("Open the меню", "en"),
        (ENGLISH, "en"),
        ("café menu for the evening guests of our little hotel on the hill by the sea this year", "en"),
        (SPANISH, "other"),
        ("Привіт, їжаче! Як твої справи сьогодні?", "other"),
        ("Größenänderung für Straßenschäden", "other"),
        ("日本語のテキスト", "other"),
        ("12:30 — 100 %", "other"),
        ("", "other"),
    ],
)
def test_a_text_is_in_the_language_of_most_of_its_letters(text, lang):
    assert detect(text) == lang


@pytest.mark.parametrize(
    ("query", "lang"),
    [
        ("invoice october", "en"),
        ("invoice за октябрь", "ru"),
        ("x", "en"),
        ("1284", "other"),
        ("größe", "other"),
        ("日本", "other"),
    ],
)
def test_one_russian_word_makes_a_query_russian(query, lang):
    assert detect_query(query) == lang


@given(st.text(max_size=80))
def test_any_text_has_a_language(text):
    assert detect(text) in ("ru", "en", "other")
    assert detect_query(text) in ("ru", "en", "other")
