"""In which order does one read the lines of a page?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.engines.reading_order import blocks

SIZE = (1000, 1000)


def line(x: int, y: int, width: int, height: int = 20) -> tuple[float, float, float, float]:
    return x / 1000, y / 1000, (x + width) / 1000, (y + height) / 1000


def column(x: int, width: int, *tops: int) -> list[tuple[float, float, float, float]]:
    return [line(x, y, width) for y in tops]


def test_no_lines_have_no_blocks():
    assert blocks([], SIZE) == []


def test_lines_are_read_from_the_top_and_a_wide_gap_begins_a_block():
    assert blocks(column(0, 400, 300, 30, 60, 0), SIZE) == [[3, 1, 2], [0]]


def test_two_columns_of_prose_are_read_one_after_the_other_below_their_title():
    page = [
        line(100, 0, 800, 40),
        *column(0, 400, 110, 140, 170),
        *column(500, 400, 110, 140, 170),
    ]
    assert blocks(page, SIZE) == [[0], [1, 2, 3], [4, 5, 6]]


def test_a_sidebar_is_read_before_the_text_beside_it():
    page = [*column(300, 600, 100, 130, 160, 190, 220), *column(0, 120, 115, 165, 213)]
    assert blocks(page, SIZE) == [[5], [6], [7], [0, 1, 2, 3, 4]]


def test_a_chat_of_two_sides_is_read_by_turns():
    page = [*column(0, 300, 0, 25), *column(500, 300, 80, 105), *column(0, 300, 160), *column(500, 300, 215)]
    assert blocks(page, SIZE) == [[0, 1], [2, 3], [4], [5]]


def test_a_table_is_read_row_by_row():
    page = [*column(600, 80, 0, 30, 60), *column(0, 150, 0, 30, 60), *column(300, 100, 1, 31, 61)]
    assert blocks(page, SIZE) == [[3, 6, 0, 4, 7, 1, 5, 8, 2]]


def test_the_words_of_one_line_that_came_apart_stay_in_their_row():
    assert blocks([line(220, 2, 100), line(0, 0, 200), line(0, 30, 320)], SIZE) == [[1, 0, 2]]


def test_fractions_are_measured_in_pixels():
    """On a wide page the same fractions are a wider gap."""
    page = [line(0, 0, 300), line(340, 5, 300), line(0, 30, 300), line(340, 38, 300)]
    assert len(blocks(page, (1000, 1000))) == 2
    assert len(blocks(page, (500, 1000))) == 1


def test_a_thousand_lines_nested_in_each_other_do_not_exhaust_the_stack():
    staircase = [(i / 1001, i / 1001, (i + 0.4) / 1001, (i + 0.4) / 1001) for i in range(1000)]
    assert [i for block in blocks(staircase, SIZE) for i in block] == list(range(1000))


BOX = st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda b: line(b[0] * 14, b[1] * 14, b[2] * 14, b[3])
)


@given(st.lists(BOX, max_size=40))
def test_every_line_is_read_exactly_once(page):
    assert sorted(i for block in blocks(page, SIZE) for i in block) == list(range(len(page)))


@pytest.mark.parametrize("count", [1, 5])
def test_equal_boxes_keep_their_order(count):
    assert blocks([line(0, 0, 10)] * count, SIZE) == [list(range(count))]
