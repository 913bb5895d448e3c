"""Which words may have been read in the wrong alphabet, when they are mended, and how two readings become one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.ocr_alphabets import Reading, Token, is_doubtful, repair
from pomnit.engines.ocr_merge import merge
from pomnit.engines.protocols import Line, Word
from pomnit.text.alphabets import alphabet, imitates, one_alphabet

CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяё"
PLACE = (0, 0, 100, 20)


def token(text, known=False, confidence=0.9):
    return Token(text, PLACE, confidence, known, tuple((10 * at, 0, 10 * at + 9, 20) for at in range(len(text))))


def reader(eng=None, rus=None):
    answers = {"eng": eng, "rus": rus}
    return lambda language, place: answers[language]


def texts(tokens):
    return [one.text for one in tokens]


@pytest.mark.parametrize(
    ("text", "other"),
    [("тетогу", "Latin"), ("арреагапсе", "Latin"), ("Onnata", "Cyrillic"), ("enka", "Cyrillic"), ("3a6op", "Cyrillic"),
     ("жизнь", None), ("window", None), ("память", None), ("314", None), ("сontext", None)],
)  # fmt: skip
def test_only_words_made_of_look_alikes_are_suspected(text, other):
    assert imitates(text) == other


@given(st.text(st.sampled_from(CYRILLIC + CYRILLIC.upper()), min_size=1))
def test_no_cyrillic_word_is_suspected_to_be_cyrillic(word):
    assert imitates(word) in (None, "Latin")
    assert alphabet(word) == "Cyrillic"
    assert one_alphabet(word) == word


@given(st.text(st.sampled_from(string.ascii_letters), min_size=1))
def test_no_latin_word_is_suspected_to_be_latin(word):
    assert imitates(word) in (None, "Cyrillic")
    assert alphabet(word) == "Latin"


def test_a_word_that_only_the_other_dictionary_knows_is_mended():
    line = [token("тетогу")]
    mended = repair(line, reader(eng=Reading("memory", 0.96, True), rus=Reading("тетогу", 0.8, False)))
    assert texts(mended) == ["memory"]


def test_a_part_of_a_word_is_mended_in_its_place():
    read = reader(eng=Reading("pager", 0.97, True), rus=Reading("радег", 0.92, False))
    assert texts(repair([token("--по-радег;")], read)) == ["--по-pager;"]


def test_a_letter_that_passed_for_a_sign_comes_back():
    read = reader(eng=Reading("General", 0.97, True), rus=Reading("Сепега!", 0.9, False))
    assert texts(repair([token("Сепега!")], read)) == ["General"]


@pytest.mark.parametrize(
    ("known", "eng", "rus"),
    [
        (True, Reading("memory", 0.96, True), Reading("тетогу", 0.8, False)),  # its dictionary knew it
        (False, Reading("memory", 0.6, True), Reading("тетогу", 0.8, False)),  # unsure
        (False, Reading("memory", 0.96, True), Reading("тетогу", 0.9, True)),  # both know it
        (False, Reading("memory", 0.96, False), Reading("тетогу", 0.8, False)),  # neither does, and no line to tell
        (False, Reading("тетогу", 0.96, True), Reading("тетогу", 0.8, False)),  # not of the other alphabet
        (False, Reading("me|mory", 0.96, True), Reading("тетогу", 0.8, False)),  # not a word
        (False, None, None),
    ],
)
def test_a_word_without_clear_evidence_stays(known, eng, rus):
    line = [token("тетогу", known)]
    assert repair(line, reader(eng, rus)) == line


def test_a_name_follows_its_line_when_that_is_the_surer_reading():
    read = reader(eng=Reading("Krane", 0.93, False), rus=Reading("Кгапе", 0.91, False))
    latin = [token("the", True), token("window", True), token("always", True), token("looks", True)]
    assert texts(repair([*latin, token("Кгапе")], read))[-1] == "Krane"
    assert texts(repair([token("Кгапе")], read)) == ["Кгапе"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["3", "490Р"], ["3", "490₽"]),
        (["250Р"], ["250₽"]),
        (["видео", "1080p"], ["видео", "1080p"]),
        (["250р"], ["250р"]),
    ],
)
def test_a_price_keeps_its_number(line, expected):
    assert texts(repair([token(text) for text in line], reader())) == expected


words = st.text(st.sampled_from(CYRILLIC + string.ascii_letters + string.digits + '.,!?"-₽'), min_size=1, max_size=12)
readings = st.none() | st.builds(Reading, words, st.floats(0, 1), st.booleans())


@given(st.lists(st.tuples(words, st.booleans())), readings, readings)
def test_repair_keeps_the_number_and_places_of_words_and_all_that_is_not_doubtful(line, eng, rus):
    tokens = [token(text, known) for text, known in line]
    mended = repair(tokens, reader(eng, rus))
    assert [one.pixels for one in mended] == [one.pixels for one in tokens]
    for before, after in zip(tokens, mended, strict=True):
        if not is_doubtful(before.text, before.known):
            assert after.text.rstrip("₽") == before.text.rstrip("₽РрPp") or after == before


# --- two readings -----------------------------------------------------------------------------------------------


def word(text, x0, y0, x1, y1, confidence=0.9):
    return Word(text, (x0, y0, x1, y1), confidence)


def bag(lines):
    return [one.text for line in lines for one in line.words]


FIRST = [
    Line((word("один", 0.1, 0.10, 0.2, 0.13), word("gap", 0.30, 0.10, 0.4, 0.13, 0.4)), 0),
    Line((word("конец", 0.1, 0.50, 0.2, 0.53),), 1),
]


def test_the_same_reading_twice_changes_nothing():
    assert merge(FIRST, FIRST, 1.6) == FIRST


def test_a_new_word_stands_in_its_line_and_a_new_line_between_its_neighbours():
    second = [
        Line((word("два", 0.205, 0.10, 0.28, 0.13),), 0),
        Line((word("середина", 0.1, 0.30, 0.25, 0.33),), 1),
    ]
    merged = merge(FIRST, second, 1.6)
    assert [[one.text for one in line.words] for line in merged] == [["один", "два", "gap"], ["середина"], ["конец"]]
    assert [line.block for line in merged] == [0, 0, 1]


def test_of_two_readings_of_one_place_the_surer_stays_and_of_equal_ones_the_longer():
    surer = [Line((word("три", 0.30, 0.10, 0.4, 0.13, 0.95), word("одни", 0.1, 0.1, 0.2, 0.13, 0.5)), 0)]
    assert bag(merge(FIRST, surer, 1.6)) == ["один", "три", "конец"]
    longer = [Line((word("одинокий", 0.1, 0.1, 0.25, 0.13, 0.9),), 0)]
    assert bag(merge(FIRST, longer, 1.6)) == ["одинокий", "gap", "конец"]


def test_a_speck_that_only_the_second_reading_has_is_not_taken():
    specks = [Line((word("a", 0.7, 0.7, 0.71, 0.72), word("eed", 0.8, 0.7, 0.9, 0.72, 0.3)), 0)]
    assert merge(FIRST, specks, 1.6) == FIRST


places = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4), st.floats(0, 1), words)
pages = st.lists(
    places.map(lambda p: Line((word(p[4], p[0] / 14, p[1] / 10, (p[0] + p[2]) / 14, (p[1] + 0.9) / 10, p[3]),), 0)),
    max_size=12,
)


@given(pages, pages)
def test_merged_words_come_from_the_readings_and_none_of_one_covers_one_of_the_other(first, second):
    merged = [one for line in merge(first, second, 1.6) for one in line.words]
    ours, theirs = ({id(one) for line in lines for one in line.words} for lines in (first, second))
    assert {id(one) for one in merged} <= ours | theirs
    assert len({id(one) for one in merged}) == len(merged)
    kept, added = [one for one in merged if id(one) in ours], [one for one in merged if id(one) in theirs]
    for old in kept:
        for new in added:
            wide = min(old.box[2], new.box[2]) - max(old.box[0], new.box[0])
            high = min(old.box[3], new.box[3]) - max(old.box[1], new.box[1])
            area = min((one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in (old, new))
            assert min(wide, high) <= 0 or wide * high <= 0.31 * area
