"""What changed between two pictures of one screen?"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pomnit.capture.difference import NOISE, TILE, areas, box_of, difference, shape_of
from pomnit.capture.restless import FIRST_WAIT, FRAME_S, Tiles
from support import glyphs

WIDTH, HEIGHT = 400, 300


def page(height: int = HEIGHT, *, seed: int = 1, left: int = 20, words: int = 6) -> Image.Image:
    """A page of lines, all of them different."""
    return _page(height, seed, left, words).copy()


@functools.cache
def _page(height: int, seed: int, left: int, words: int) -> Image.Image:
    image = Image.new("RGB", (WIDTH, height), "white")
    chosen = np.random.default_rng(seed)
    for y in range(4, height - glyphs.HIGH, glyphs.PITCH):
        glyphs.draw(image, left, y, chosen.integers(1, 4096, words).tolist(), "#202020")
    return image


def scrolled(by: float, height: int = HEIGHT, top: int = 0) -> tuple[Image.Image, Image.Image]:
    """A page before and after it was scrolled upwards by so many pixels, under a header of ``top``."""
    whole, header = page(3 * height), page(top or 1, seed=9, words=3)
    pictures = []
    for at in (height, height + by):
        part = whole.transform((WIDTH, height), Image.Transform.AFFINE, (1, 0, 0, 0, 1, at), Image.Resampling.BILINEAR)
        part.paste(header.crop((0, 0, WIDTH, top)), (0, 0))
        pictures.append(part)
    return pictures[0], pictures[1]


def differing(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one).astype(int) - np.asarray(other)).max(axis=2)


def covered(boxes: tuple[tuple[int, int, int, int], ...]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        mask[y0:y1, x0:x1] = True
    return mask


def test_the_same_picture_is_the_same():
    change = difference(page(), page())
    assert (change.kind, change.boxes, change.dy, change.share) == ("same", (), 0, 0.0)


def test_noise_is_no_change():
    levels = np.asarray(page()).astype(int)
    noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, levels.shape)
    dithered = Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))
    assert difference(page(), dithered).kind == "same"


CHANGES = st.lists(
    st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, 60), st.integers(1, 30),
              st.integers(0, 255)),
    max_size=6,
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(CHANGES)
def test_every_changed_pixel_lies_in_a_box(changes):
    before, now = page(), page()
    for x, y, wide, high, level in changes:
        now.paste((level, 255 - level, 128), (x, y, min(WIDTH, x + wide), min(HEIGHT, y + high)))
    changed, change = differing(before, now) > NOISE, difference(before, now)
    assert (change.kind == "same") == (not changed.any())
    assert not (changed & ~covered(change.boxes)).any() or change.dy
    if change.dy:  # blocks of one colour may agree with a scroll; then what it does not explain lies in the boxes
        levels = np.minimum(change.still, change.moved)
        assert not ((levels > NOISE) & ~covered(change.boxes)).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(-200, 200).filter(lambda dy: abs(dy) > 2), st.sampled_from([0, 40]))
def test_a_scroll_is_found_and_only_what_came_in_is_new(by, top):
    before, now = scrolled(by, top=top)
    change = difference(before, now)
    assert (change.kind, change.dy) == ("scroll", -by)
    came_in = covered(change.boxes)
    entered = slice(max(top, HEIGHT - by - TILE), HEIGHT) if by > 0 else slice(top, min(HEIGHT, top - by + TILE))
    came_in[entered] = False
    assert not came_in.any()
    stayed = (24, max(top, top - by) + TILE, 280, min(HEIGHT, HEIGHT - by) - TILE)
    assert stayed[1] >= stayed[3] or change.came(stayed)


@pytest.mark.parametrize("by", [30.5, -30.5, 77.25, -101.7])
def test_a_scroll_by_parts_of_pixels_is_found(by):
    before, now = scrolled(by)
    change = difference(before, now)
    assert change.kind == "scroll"
    assert abs(change.dy + by) <= 0.5
    assert change.share < abs(by) / HEIGHT + 0.2


def test_a_scroll_of_one_pane_leaves_the_other_alone():
    before, now = scrolled(60)
    side = page(seed=4, left=4, words=2).crop((0, 0, 100, HEIGHT))
    for image in (before, now):
        image.paste(side, (0, 0))
    change = difference(before, now)
    assert (change.kind, change.dy) == ("scroll", -60)
    assert change.stays((0, 0, 100, HEIGHT))
    assert all(box[0] >= 96 for box in change.boxes)


def test_lines_that_a_scroll_rounds_by_one_pixel_are_not_new():
    before, now = scrolled(43)
    now.paste(now.crop((0, 101, WIDTH, 140)), (0, 100))  # one stretch went a pixel farther
    assert not difference(before, now).is_new((0, 105, WIDTH, 135))


def test_another_line_in_what_was_scrolled_is_new():
    before, now = scrolled(40)
    now.paste("white", (0, 100, WIDTH, 140))
    glyphs.draw(now, 20, 110, [1, 2, 3])
    change = difference(before, now)
    assert change.dy == -40
    assert change.is_new((20, 110, 20 + glyphs.WIDE, 110 + glyphs.HIGH))


@pytest.mark.parametrize("now", [page(seed=2), Image.new("RGB", (WIDTH, HEIGHT), "black")], ids=["window", "blank"])
def test_another_picture_is_all_new(now):
    change = difference(page(words=8), now)
    assert change.kind == "all"
    assert change.boxes == ((0, 0, WIDTH, HEIGHT),)


def test_another_size_is_all_new():
    change = difference(page(), page().resize((WIDTH, HEIGHT + 1)))
    assert (change.kind, change.boxes) == ("all", ((0, 0, WIDTH, HEIGHT + 1),))
    assert change.is_new((0, 0, 1, 1))
    assert not change.stays((0, 0, 1, 1))


def test_what_is_left_out_is_no_change():
    now = page()
    now.paste("red", (0, 0, 64, 64))
    change = difference(page(), now, lambda new, _: np.zeros_like(new))
    assert change.kind == "same"
    assert change.stays((0, 0, WIDTH, HEIGHT))


def test_what_is_wanted_is_new_though_it_did_not_change():
    wanted = np.zeros(shape_of((WIDTH, HEIGHT)), bool)
    wanted[2, 3] = True
    change = difference(page(), page(), lambda new, _: new | wanted)
    assert change.boxes == ((3 * TILE, 2 * TILE, 4 * TILE, 3 * TILE),)
    assert not change.stays((3 * TILE, 2 * TILE, 4 * TILE, 3 * TILE))


@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=8))
def test_areas_hold_each_tile_once_and_do_not_touch(rows):
    bits = np.array(rows)
    numbers = np.zeros(bits.shape, int)
    for number, area in enumerate(areas(bits), 1):
        for y, x0, x1 in area:
            assert not numbers[y, x0:x1].any()
            numbers[y, x0:x1] = number
            bx0, by0, bx1, by1 = box_of(area)
            assert bx0 <= x0 < x1 <= bx1
            assert by0 <= y < by1
    assert ((numbers > 0) == bits).all()
    for a, b in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1]), (numbers[1:, 1:], numbers[:-1, :-1]),
                 (numbers[1:, :-1], numbers[:-1, 1:])):  # fmt: skip
        assert ((a == b) | (a == 0) | (b == 0)).all()


# --- what keeps changing ------------------------------------------------------------------------------------------

SHAPE = (40, 60)
NOTHING = np.zeros(SHAPE, bool)
VIDEO = NOTHING.copy()
VIDEO[5:20, 10:40] = True


def after(frames: int, *, step: float = FRAME_S, words: np.ndarray = NOTHING) -> tuple[Tiles, list[int]]:
    """Gives the tiles after so many frames of a video, and how many tiles were read in each."""
    tiles = Tiles(SHAPE)
    return tiles, [int(tiles.wanted(VIDEO, 0, words, 100 + i * step).sum()) for i in range(frames)]


def test_a_video_is_left_out_after_some_frames_and_read_now_and_then():
    tiles, read = after(60)
    assert read[0] == VIDEO.sum()
    assert 0 in read[:4]
    assert 2 <= sum(count > 0 for count in read[4:]) <= 60 // FIRST_WAIT
    assert tiles.unread == pytest.approx(VIDEO.mean())


def test_a_video_that_stops_is_read_once_more():
    tiles, read = after(6)
    assert read[-1] == 0
    assert (tiles.wanted(NOTHING, 0, NOTHING, 112) == VIDEO).all()
    assert tiles.unread == 0
    assert not tiles.wanted(NOTHING, 0, NOTHING, 114).any()


def test_a_change_beside_a_video_is_read():
    tiles, _ = after(6)
    typed = NOTHING.copy()
    typed[30, 5] = True
    assert (tiles.wanted(VIDEO | typed, 0, NOTHING, 112) == typed).all()


def test_a_text_that_keeps_changing_is_read_each_time():
    words = NOTHING.copy()
    words[5:20:2, 10:40] = True
    assert set(after(30, words=words)[1]) == {VIDEO.sum()}


def test_pages_that_are_turned_slowly_are_read_each_time():
    assert set(after(30, step=20 * FRAME_S)[1]) == {VIDEO.sum()}


def test_a_clock_is_read_each_time():
    clock, tiles = NOTHING.copy(), Tiles(SHAPE)
    clock[0, 50:53] = True
    assert all(tiles.wanted(clock, 0, NOTHING, 2.0 * i).any() for i in range(20))


def test_after_a_scroll_what_was_left_out_is_read_where_it_is_now():
    tiles, _ = after(6)
    wanted = tiles.wanted(NOTHING, -3 * TILE, NOTHING, 112)
    assert wanted[2:17, 10:40].all()
    assert tiles.unread == 0
