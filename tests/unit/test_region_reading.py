"""Is a frame's text the same, whether all of it is read or only what changed? And when is there nothing new?"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pomnit.capture.frames import Frame
from pomnit.capture.reading import MOST_READINGS, FrameText, RegionReader
from pomnit.engines import flatten, ocr_tesseract
from pomnit.engines.protocols import Line
from pomnit.errors import EngineError
from support import glyphs

SIZE = (640, 480)
HEADER = 40
GOLDEN = Path(__file__).parent.parent / "golden"


class Screen:
    """A monitor whose frames are read, and what the recogniser was given for it."""

    def __init__(self, recognise: Callable[[Image.Image], list[Line]] = glyphs.read, **options: int) -> None:
        self.pictures: list[Image.Image] = []
        self.broken = False
        self._recognise = recognise
        self._at = 1000.0
        self.reader = RegionReader(self._seen, **options)

    def _seen(self, image: Image.Image) -> list[Line]:
        self.pictures.append(image)
        if self.broken:
            raise EngineError("the recogniser fell over")
        return self._recognise(image)

    def show(self, image: Image.Image, window: str = "notes", *, monitor: str = "left", number: int = 1) -> FrameText:
        """Reads a frame, two seconds after the one before; ``pictures`` is what was read for it."""
        self.pictures.clear()
        self._at += 2
        return self.reader.read(Frame(monitor, image.copy(), self._at, "editor", window, None, number))


def page(rows: list[list[int]], *, at: int = 0, size: tuple[int, int] = SIZE, ink: str = "black") -> Image.Image:
    """A page of lines under a header, scrolled so that its pixel ``at`` is the first one."""
    whole = Image.new("RGB", (size[0], len(rows) * glyphs.PITCH + 8), "white")
    for i, words in enumerate(rows):
        glyphs.draw(whole, 30, 4 + i * glyphs.PITCH, words, ink)
    image = Image.new("RGB", size, "white")
    image.paste(whole.crop((0, at, size[0], at + size[1] - HEADER)), (0, HEADER))
    if at + size[1] - HEADER > whole.height:
        image.paste("white", (0, HEADER + whole.height - at, *size))
    image.paste("white", (0, 0, size[0], HEADER))
    glyphs.draw(image, 30, 10, [7, 8, 9])
    return image


@functools.cache
def numbers(seed: int, count: int) -> list[list[int]]:
    chosen = np.random.default_rng(seed)
    return [chosen.integers(10, 4096, 8).tolist() for _ in range(count)]


def texts(lines: tuple[Line, ...] | list[Line]) -> list[list[str]]:
    return [[word.text for word in line.words] for line in lines]


def words(lines: tuple[Line, ...] | list[Line]) -> Counter[str]:
    """Gives the words that were read whole."""
    return Counter(word.text for line in lines for word in line.words if word.text != "cut")


def places(lines: tuple[Line, ...] | list[Line], size: tuple[int, int] = SIZE) -> dict[str, tuple[int, int]]:
    return {word.text: (round(word.box[0] * size[0]), round(word.box[1] * size[1]))
            for line in lines for word in line.words if word.text != "cut"}  # fmt: skip


# --- only what changed is read ------------------------------------------------------------------------------------


def test_the_first_frame_is_read_as_a_whole():
    screen, image = Screen(), page(numbers(1, 15))
    read = screen.show(image)
    assert [picture.size for picture in screen.pictures] == [SIZE]
    assert (read.fresh, read.near, read.read_share) == (True, False, 1.0)
    assert read.lines == tuple(glyphs.read(image))


def test_a_still_screen_is_not_read_again():
    screen, image = Screen(), page(numbers(1, 15))
    first = screen.show(image)
    second = screen.show(image)
    assert screen.pictures == []
    assert (second.fresh, second.near, second.read_share) == (False, True, 0.0)
    assert second.lines == first.lines


def test_a_typed_line_is_read_alone_and_put_in_its_place():
    rows, screen = [*numbers(1, 9), [], *numbers(2, 5)], Screen()
    screen.show(page(rows))
    rows[9] = [41, 42, 43]
    read = screen.show(page(rows))
    assert sum(picture.width * picture.height for picture in screen.pictures) < 0.25 * SIZE[0] * SIZE[1]
    assert (read.fresh, read.near) == (True, False)
    assert texts(read.lines) == texts(glyphs.read(page(rows)))
    assert places(read.lines) == places(glyphs.read(page(rows)))


def test_a_word_that_changes_takes_the_place_of_the_one_before():
    rows, screen = [list(row) for row in numbers(1, 12)], Screen()
    screen.show(page(rows))
    rows[5][3] ^= 0b100
    assert texts(screen.show(page(rows)).lines) == texts(glyphs.read(page(rows)))


def test_a_word_whose_pixels_did_not_change_keeps_its_reading():
    rows, unsteady = [list(row) for row in numbers(1, 12)], iter(range(1000))

    def noisy(image: Image.Image) -> list[Line]:
        turn = next(unsteady)
        return [
            Line(tuple(type(w)(f"{w.text}{'x' * turn}", w.box, w.confidence) for w in line.words), line.block)
            for line in glyphs.read(image)
        ]

    screen = Screen(noisy)
    first = screen.show(page(rows))
    changed = glyphs.name(rows[5][3] ^ 0b100)
    rows[5][3] ^= 0b100
    second = screen.show(page(rows))
    assert words(second.lines) - words(first.lines) == Counter([f"{changed}x"])


def test_a_line_that_goes_is_gone():
    rows, screen = [list(row) for row in numbers(1, 12)], Screen()
    screen.show(page(rows))
    gone = {glyphs.name(number) for number in rows[4]}
    rows[4] = []
    read = screen.show(page(rows))
    assert not gone & set(words(read.lines))
    assert texts(read.lines) == texts(glyphs.read(page(rows)))


@pytest.mark.parametrize("by", [60, 48, 130, -60, -77, 300])
def test_after_a_scroll_only_what_came_in_is_read(by):
    rows, screen = numbers(1, 60), Screen()
    screen.show(page(rows, at=320))
    image = page(rows, at=320 + by)
    read = screen.show(image)
    whole = glyphs.read(image)
    assert words(read.lines) == words(whole)
    assert places(read.lines) == places(whole)
    assert read.read_share < (abs(by) + 60) / SIZE[1]
    assert read.near is False


def test_blocks_are_numbered_in_reading_order():
    rows, screen = [*numbers(1, 4), [], [], *numbers(2, 4)], Screen()
    screen.show(page(rows))
    rows[3][0] ^= 1
    read = screen.show(page(rows))
    blocks = [line.block for line in read.lines]
    assert blocks == sorted(blocks)
    assert set(blocks) == set(range(max(blocks) + 1))
    assert [line.block for line in read.lines if line.words[0].box[1] > 0.3] == [2] * 4


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("type"), st.integers(0, 18), st.lists(st.integers(10, 4095), min_size=1, max_size=4)),
        st.tuples(st.just("clear"), st.integers(0, 18), st.just([])),
        st.tuples(st.just("scroll"), st.integers(-9, 12), st.just([])),
        st.tuples(st.just("none"), st.just(0), st.just([])),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, deadline=None)
@given(OPERATIONS)
def test_whatever_happens_on_a_screen_its_words_are_those_of_a_whole_reading(operations):
    rows, at, screen, size = [list(row)[:5] for row in numbers(3, 60)], 200, Screen(), (320, 300)
    screen.show(page(rows, at=at, size=size))
    for what, where, typed in operations:
        line = at // glyphs.PITCH + 1 + where % 11
        if what == "type":
            rows[line] = [*rows[line][:2], *typed[:3]]
        elif what == "clear":
            rows[line] = []
        elif what == "scroll":
            at = max(0, min(700, at + where * glyphs.PITCH))  # whole lines: a cut one is no word for either
        image = page(rows, at=at, size=size)
        whole, read = glyphs.read(image), screen.show(image)
        assert words(read.lines) == words(whole)
        assert places(read.lines, size) == places(whole, size)


def test_parts_of_a_large_screen_look_as_large_to_an_engine():
    rows, screen, size = [list(row) for row in numbers(1, 40)], Screen(), (2880, 900)
    screen.show(page(rows, size=size))
    rows[5][3] ^= 0b100
    read = screen.show(page(rows, size=size))
    assert [flatten.cell_size(picture) for picture in screen.pictures] == [flatten.cell_size(page(rows, size=size))]
    assert read.read_share < 0.1
    assert places(read.lines, size) == places(glyphs.read(page(rows, size=size)), size)


def test_many_readings_of_parts_are_followed_by_one_of_all():
    rows, screen = [list(row) for row in numbers(1, 12)], Screen()
    screen.show(page(rows))
    shares = []
    for turn in range(MOST_READINGS + 1):
        rows[0] = [100 + turn]
        shares.append(screen.show(page(rows)).read_share)
    assert shares[-1] == 1.0
    assert max(shares[:-1]) < 0.3


# --- what keeps changing ------------------------------------------------------------------------------------------


def film(turn: int, rows: list[list[int]]) -> Image.Image:
    image = page(rows)
    levels = np.random.default_rng(turn).integers(100, 255, (5, 8, 3), np.uint8)
    image.paste(Image.fromarray(levels).resize((400, 200), Image.Resampling.BICUBIC), (100, 240))
    return image


def test_a_playing_video_is_left_out_and_read_once_it_stops():
    rows, screen = numbers(1, 9), Screen()
    shown = [screen.show(film(turn, rows)) for turn in range(9)]
    assert [read.read_share for read in shown[-4:]] == [0.0] * 4
    assert all(read.near for read in shown[-4:])
    assert shown[-1].unread == pytest.approx(400 * 200 / (640 * 480), rel=0.2)
    stopped = film(8, rows)
    last = screen.show(stopped)
    assert last.read_share > 0.2
    assert last.unread == 0


def test_what_is_typed_beside_a_playing_video_is_read():
    rows, screen = [list(row) for row in numbers(1, 9)], Screen()
    for turn in range(7):
        screen.show(film(turn, rows))
    rows[2] = [51, 52]
    read = screen.show(film(8, rows))
    assert {"word51", "word52"} <= set(words(read.lines))
    assert read.read_share < 0.2
    assert not read.near


# --- what is near -------------------------------------------------------------------------------------------------


def clock(image: Image.Image, minute: int) -> Image.Image:
    """Puts a count into a corner, which reads as two digits."""
    image.paste(((minute * 40) % 250, 0, 0), (600, 10, 620, 22))
    return image


def test_a_lamp_that_blinks_is_near():
    screen = Screen()
    screen.show(clock(page(numbers(1, 12)), 1))
    assert [screen.show(clock(page(numbers(1, 12)), i)).near for i in range(2, 6)] == [True] * 4


def test_numbers_of_two_digits_that_go_on_are_near_and_larger_ones_are_not():
    def counting(image: Image.Image) -> list[Line]:
        lines = glyphs.read(image)
        return [Line(tuple(type(w)(w.text.removeprefix("word"), w.box, 0.9) for w in line.words), 0) for line in lines]

    rows, screen = [list(row) for row in numbers(1, 12)], Screen(counting)
    rows[3] = [10]
    screen.show(page(rows))
    rows[3] = [11]
    second = screen.show(page(rows))
    assert (second.fresh, second.near) == (True, True)
    rows[3] = [1112]
    assert screen.show(page(rows)).near is False


def test_what_is_typed_word_by_word_is_not_near_however_slowly():
    rows, screen = [*numbers(1, 9), []], Screen()
    screen.show(page(rows))
    shown = []
    for number in range(100, 106):
        rows[9].append(number)
        shown.append(screen.show(page(rows)).near)
    assert shown == [False] * 6


def test_another_picture_with_the_same_words_is_not_near():
    rows, screen = numbers(1, 5), Screen()
    shown = []
    for turn in range(2):
        image = page(rows)
        image.paste((40 * turn, 120, 90), (100, 200, 600, 440))
        shown.append(screen.show(image).near)
    assert shown == [False, False]


def test_scrolling_to_and_fro_is_not_near():
    rows, screen = numbers(1, 60), Screen()
    screen.show(page(rows, at=0))
    assert screen.show(page(rows, at=100)).near is False
    assert screen.show(page(rows, at=0)).near is False


# --- windows and monitors -----------------------------------------------------------------------------------------


def test_coming_back_to_a_window_costs_only_what_changed_in_it():
    letters, notes = [list(row) for row in numbers(1, 12)], numbers(2, 12)
    screen = Screen()
    screen.show(page(letters), "letters", number=1)
    screen.show(page(notes), "notes", number=2)
    letters[11] = [77]
    back = screen.show(page(letters), "letters", number=1)
    assert back.read_share < 0.2
    assert (back.fresh, back.near) == (True, False)
    assert texts(back.lines) == texts(glyphs.read(page(letters)))


def test_coming_back_to_a_window_that_did_not_change_is_not_near():
    screen = Screen()
    screen.show(page(numbers(1, 12)), "letters", number=1)
    screen.show(page(numbers(2, 12)), "notes", number=2)
    back = screen.show(page(numbers(1, 12)), "letters", number=1)
    assert (back.read_share, back.fresh, back.near) == (0.0, True, False)


def test_another_title_over_the_same_text_is_near():
    screen = Screen()
    screen.show(page(numbers(1, 12)), "chat")
    again = screen.show(page(numbers(1, 12)), "(1) chat")
    assert (again.read_share, again.near) == (0.0, True)


def test_monitors_are_told_apart():
    screen = Screen()
    screen.show(page(numbers(1, 12)), monitor="left")
    other = screen.show(page(numbers(1, 12)), monitor="right")
    assert (other.read_share, other.near) == (1.0, False)
    assert screen.show(page(numbers(1, 12)), monitor="left").near


def test_a_window_of_another_size_is_read_as_a_whole():
    screen = Screen()
    screen.show(page(numbers(1, 12)))
    read = screen.show(page(numbers(1, 12), size=(700, 480)))
    assert (read.read_share, read.near) == (1.0, False)


def test_pictures_that_are_kept_to_compare_are_bounded():
    screen = Screen(most_bytes=2 * SIZE[0] * SIZE[1] * 3)
    for number in (1, 2, 3):
        screen.show(page(numbers(number, 12)), str(number), number=number)
    assert screen.show(page(numbers(3, 12)), "3", number=3).read_share == 0.0
    assert screen.show(page(numbers(1, 12)), "1", number=1).read_share == 1.0


def test_what_was_forgotten_is_read_again_and_near_to_nothing():
    screen = Screen()
    screen.show(page(numbers(1, 12)))
    screen.reader.forget()
    again = screen.show(page(numbers(1, 12)))
    assert (again.read_share, again.fresh, again.near) == (1.0, True, False)


def test_a_recogniser_that_failed_loses_no_text():
    rows, screen = [list(row) for row in numbers(1, 12)], Screen()
    screen.show(page(rows))
    rows[4] = [61, 62]
    screen.broken = True
    with pytest.raises(EngineError):
        screen.show(page(rows))
    screen.broken = False
    read = screen.show(page(rows))
    assert words(read.lines) == words(glyphs.read(page(rows)))
    assert read.near is False


# --- with a real engine -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tesseract() -> Callable[[Image.Image], list[Line]]:
    tessdata = ocr_tesseract.find_tessdata()
    if tessdata is None:
        pytest.skip(f"no Russian and English for Tesseract; type: {ocr_tesseract.how_to_install()}")
    return ocr_tesseract.TesseractRecogniser(tessdata).recognise


def truth(name: str, above: int, below: int) -> set[str]:
    """Gives the words of a golden screen that stand between two rows of pixels."""
    found = json.loads((GOLDEN / f"screen_{name}.json").read_text("utf-8"))
    seen = [word["text"] for word in found if above <= word["box"][1] and word["box"][3] <= below]
    return {part for text in seen for part in re.findall(r"[^\W_]{3,}", text.lower())}


def read_words(read: FrameText) -> set[str]:
    text = " ".join(word.text for line in read.lines for word in line.words)
    return set(re.findall(r"[^\W_]{3,}", text.lower()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light", "dark"])
def test_lines_that_appear_are_read_by_tesseract(tesseract, name):
    whole = Image.open(GOLDEN / f"screen_{name}.png").convert("RGB")
    half, paper = whole.copy(), whole.getpixel((1, 1))
    half.paste(paper, (0, 180, *whole.size))
    screen = Screen(tesseract)
    screen.show(half)
    read = screen.show(whole)
    assert read.read_share < 0.7
    found = truth(name, 0, whole.height)
    assert len(found & read_words(read)) >= 0.95 * len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light", "dark"])
def test_what_a_scroll_brings_in_is_read_by_tesseract(tesseract, name):
    whole = Image.open(GOLDEN / f"screen_{name}.png").convert("RGB")
    screen = Screen(tesseract)
    screen.show(whole.crop((0, 0, 640, 280)))
    read = screen.show(whole.crop((0, 60, 640, 340)))
    assert read.read_share < 0.6
    found = truth(name, 60, 340)
    assert len(found & read_words(read)) >= 0.95 * len(found)
