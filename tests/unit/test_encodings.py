"""Texts as they were written years ago: every encoding of Russian and English, and those that were encoded twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.errors import ItemError
from pomnit.readers import HEAD, choose
from pomnit.readers.encodings import decode, repair, undisguise

TEXTS = [
    "Встреча переносится на пятницу, захвати договор и печать.",
    "ПРИКАЗ № 17\nО назначении дежурных",
    "Ёжик шёл домой",
    "Счёт: 1200 руб. (без НДС) — оплатить до 7:45",
    "да",
    "В смете указан printer HP и два кабеля USB",
    "┌──────┬──────┐\n│ Цена │ 1200 │\n└──────┴──────┘\nИтого по таблице двенадцать",
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
OLD = ["cp1251", "koi8-r", "cp866"]


@pytest.mark.parametrize("encoding", [*ENCODINGS, *OLD])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_in_the_encoding_that_it_was_written_in(text: str, encoding: str):
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        pytest.skip("this encoding has no such letters")
    assert decode(data) == text
    assert choose("old.txt", data[:HEAD]) is not None


@pytest.mark.parametrize("encoding", ["mac_cyrillic", "iso8859-5"])
def test_rarer_encodings_are_known_too(encoding: str):
    assert decode("\n".join(TEXTS[:2]).replace("№", "N").encode(encoding)) == "\n".join(TEXTS[:2]).replace("№", "N")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", ["Le café était déjà fermé à midi", "naïve résumé", "Ein größerer Käufer müßte"])
def test_western_texts_are_not_taken_for_russian(text: str, encoding: str):
    assert decode(text.encode(encoding)) == text


def test_a_text_in_utf_8_with_a_few_bytes_lost_is_still_in_utf_8():
    data = ("Встреча переносится на пятницу. " * 5).encode()
    assert decode(data[:-2] + b"!").startswith("Встреча переносится на пятницу.")
    assert decode(data[1:]).endswith("Встреча переносится на пятницу. ")


@pytest.mark.parametrize(
    "data",
    [bytes(range(1, 32)) * 4 + bytes(range(128, 256)), b"\x7fELF" + bytes(range(127, 256)) + b"\x01\x02\x03\x04"],
)
def test_bytes_that_are_no_text_fail(data: bytes):
    with pytest.raises(ItemError, match="no text"):
        decode(data)


@pytest.mark.parametrize("data", [b"\x7fELF\0\0\0\1", bytes(100), b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" * 20])
def test_binary_files_are_no_texts_whatever_their_names_say(data: bytes):
    assert choose("a.txt", data) is None


def test_what_a_document_claims_decides_only_where_nothing_else_does():
    assert decode("Привет".encode(), "windows-1251") == "Привет"
    assert decode("Привет, капитан".encode("cp1251"), "iso-8859-1") == "Привет, капитан"
    assert decode("これは日本語".encode("shift_jis"), "shift_jis") == "これは日本語"
    assert decode(b"plain", "no such encoding") == "plain"


# Encoded twice

MISREAD = ["cp1251", "cp1252", "latin-1", "mac_roman", "cp866", "koi8-r"]


def lenient(data: bytes, encoding: str) -> str:
    """Reads bytes as programs do: what the encoding lacks becomes a control character."""
    return "".join(bytes([b]).decode(encoding, "ignore") or chr(b) for b in data)


@pytest.mark.parametrize("encoding", MISREAD)
@pytest.mark.parametrize("text", [t for t in TEXTS if "┌" not in t])
def test_a_text_that_was_encoded_twice_is_put_right(text: str, encoding: str):
    assert repair(lenient(text.encode(), encoding)) == text


def test_a_text_that_was_encoded_three_times_is_put_right():
    twice = lenient(lenient("Привет, капитан".encode(), "cp1251").encode(), "cp1252")
    assert repair(twice) == "Привет, капитан"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("РџСЂРёРІРµС‚", "Привет"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет"),
        ("I donâ€™t know", "I don’t know"),
        ("cafÃ© crÃ¨me", "café crème"),
        ("Ïðèâåò, äîðîãîé êàïèòàí", "Привет, дорогой капитан"),
    ],
)
def test_known_ruins_are_put_right(wrong: str, right: str):
    assert repair(wrong) == right
    assert decode(wrong.encode()) == right


def test_of_a_text_only_the_ruined_line_is_touched():
    ruined = lenient("Вторая строка".encode(), "cp1251")
    assert repair(f"Первая строка, витамин В»\n{ruined}\nтретья «Её»") == (
        "Первая строка, витамин В»\nВторая строка\nтретья «Её»"
    )


PROPER = st.text(
    st.sampled_from(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯabcdefghijklmnopqrstuvwxyzABCDEFGHIJ \n"
        "0123456789.,:;!?-()\"'"
    ),
    max_size=200,
)
ODD_WORDS = (
    "витамин В» «Её Я» № 5 — Ёлка МЁД ЁЖ её ещё А» Б» naïve café Größe Ærø día été © 2026 20 °C "
    "“yes” ‘no’ it’s… 5 € ½ • СЁРЁ ДА НЕТ Ђорђе Київ їжа ґанок Ã Â ñ 🐈"
)
WORDS = st.lists(st.sampled_from(ODD_WORDS.split()), max_size=40).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(PROPER | WORDS)
def test_repair_never_changes_a_proper_text(text: str):
    assert repair(text) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_repair_of_anything_gives_a_text_and_disguise_keeps_its_length(text: str):
    assert isinstance(repair(text), str)
    assert len(undisguise(text)) == len(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_text_or_an_error_that_says_so(data: bytes):
    try:
        text = decode(data)
    except ItemError:
        assert len(data) > 0
    else:
        assert isinstance(text, str)
