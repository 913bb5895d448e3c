"""Where is a text cut, and do the places follow?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.records import Place
from pomnit.text.split import LONGEST, TARGET, PlacedText, Span, places, split

_GAPS = [" "] * 12 + [", ", ". ", "\n", ".\n", "\n\n", "\n \n", "; ", "…  ", "\t", "\u00a0"]


def written(seed: int, n_words: int, longest: int = 12) -> PlacedText:
    """Gives a text with a span for each word, numbered by its line."""
    chance = random.Random(seed)
    parts, spans, at = [], [], 0
    for number in range(n_words):
        word = chance.choice("аБzЖйё7Q") * chance.randint(1, longest)
        gap = chance.choice(_GAPS)
        spans.append(Span(at, at + len(word), Place(line=number + 1)))
        parts += [word, gap]
        at += len(word) + len(gap)
    return PlacedText("".join(parts), spans)


TEXTS = st.builds(written, st.integers(0, 1 << 30), st.integers(0, 900), st.sampled_from([12, 12, 300]))


@settings(max_examples=60)
@given(TEXTS)
def test_every_word_is_in_exactly_one_passage_in_order(placed):
    passages = split(placed)
    assert [word for p in passages for word in p.text.split()] == placed.text.split()
    assert all(0 < len(p.text) <= LONGEST and p.text == p.text.strip() for p in passages)


@settings(max_examples=60)
@given(TEXTS)
def test_places_stay_with_their_words(placed):
    before = [(placed.text[s.start : s.end], s.place) for s in placed.spans]
    after = [(p.text[s.start : s.end], s.place) for p in split(placed) for s in p.spans]
    assert after == before


@given(st.lists(st.text(max_size=30), max_size=12), st.integers(1, 200))
def test_no_character_of_any_text_is_lost(parts, times):
    text = "".join(parts) * times
    text = text[: 6 * LONGEST]
    passages = split(PlacedText(text))
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    assert all(len(p.text) <= LONGEST for p in passages)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", " \n" * 2000])
def test_a_text_without_words_has_no_passages(text):
    assert split(PlacedText(text, [Span(0, len(text), Place(line=1))])) == []


def test_a_short_text_is_one_passage_with_its_spans_moved():
    (only,) = split(PlacedText("  слово \n", [Span(2, 7, Place(page=3))]))
    assert only == PlacedText("слово", [Span(0, 5, Place(page=3))])


def test_a_line_longer_than_a_passage_keeps_its_place_in_each():
    text = "слово " * 500
    passages = split(PlacedText(text, [Span(0, len(text), Place(line=7))]))
    assert len(passages) >= 3
    for passage in passages:
        assert passage.spans == [Span(0, len(passage.text), Place(line=7))]


@pytest.mark.parametrize(
    ("border", "last"),
    [
        ("\n\n", "paragraph"),
        (". Then ", "sentence."),
        ("\n", "line"),
    ],
)
def test_a_text_is_cut_at_the_strongest_border_near_the_target(border, last):
    text = "word " * 110 + last.rstrip(".") + border + "more " * 200
    first = split(PlacedText(text))[0]
    assert first.text.endswith(last)
    assert TARGET // 2 <= len(first.text) <= LONGEST


def test_splitting_does_not_take_quadratic_time_in_the_number_of_lines():
    """Counts what is looked at, not seconds: a list that is told how often it is read."""

    class Counted(list):
        reads = 0

        def __getitem__(self, index):
            Counted.reads += len(range(*index.indices(len(self)))) if isinstance(index, slice) else 1
            return super().__getitem__(index)

    lines = 5000
    spans = Counted(Span(i * 20, i * 20 + 19, Place(line=i + 1)) for i in range(lines))
    passages = split(PlacedText("nineteen characters\n" * lines, spans))
    assert sum(len(p.spans) for p in passages) == lines
    assert Counted.reads < 20 * lines


def box(x0: float, y0: float, x1: float, y1: float, page: int | None = None) -> Place:
    return Place(page=page, box=(x0, y0, x1, y1))


def joined(*given_places: Place) -> tuple[Place, ...]:
    return places([Span(i, i + 1, place) for i, place in enumerate(given_places)])


def test_the_boxes_of_a_line_are_joined():
    assert joined(box(0.1, 0.5, 0.2, 0.52), box(0.205, 0.501, 0.3, 0.521), box(0.31, 0.5, 0.4, 0.52)) == (
        box(0.1, 0.5, 0.4, 0.521),
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (box(0.1, 0.5, 0.2, 0.52), box(0.1, 0.53, 0.2, 0.55)),  # the next line
        (box(0.1, 0.5, 0.2, 0.52), box(0.6, 0.5, 0.7, 0.52)),  # the next column
        (box(0.5, 0.5, 0.6, 0.52), box(0.1, 0.5, 0.2, 0.52)),  # to the left
        (box(0.1, 0.5, 0.2, 0.52, 1), box(0.21, 0.5, 0.3, 0.52, 2)),  # the next page
        (Place(line=1), Place(line=2)),
        (Place(start_s=0.0, end_s=2.0), Place(start_s=9.0, end_s=11.0)),
        (Place(), box(0.1, 0.5, 0.2, 0.52)),
    ],
)
def test_places_that_lie_apart_stay_apart(a, b):
    assert joined(a, b) == (a, b)


def test_equal_lines_and_touching_times_are_joined():
    assert joined(Place(line=4), Place(line=4), Place(line=4)) == (Place(line=4),)
    assert joined(Place(start_s=0.0, end_s=2.0), Place(start_s=2.5, end_s=4.0)) == (Place(start_s=0.0, end_s=4.0),)
    assert places([]) == ()


@given(st.lists(st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)), max_size=8))
def test_joined_boxes_cover_all_that_were_joined(corners):
    boxes = [box(x, y, x + 0.05, y + 0.02) for x, y in corners]
    result = joined(*boxes)
    assert len(result) <= len(boxes)
    for one in boxes:
        assert any(w.box[0] <= one.box[0] and w.box[1] <= one.box[1] and w.box[2] >= one.box[2] for w in result)
