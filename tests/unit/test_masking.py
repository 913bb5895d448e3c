"""What of a window shows on a monitor is blackened, and nothing else, however windows lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.capture.frames import Monitor, Window
from pomnit.capture.masking import blacken, on, shown, size_of

WIDTH, HEIGHT = 24, 16
MONITOR = Monitor("one", (10, 5, 10 + WIDTH, 5 + HEIGHT))


def made(number: int, box: tuple[int, int, int, int], *, opaque: bool = True) -> Window:
    return Window("app", "t", None, False, box, False, number, opaque=(box,) if opaque else ())


boxes = st.tuples(st.integers(0, 40), st.integers(0, 25), st.integers(1, 20), st.integers(1, 15)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
stacks = st.lists(st.tuples(boxes, st.booleans(), st.booleans()), max_size=7)


@given(stacks)
def test_a_pixel_is_blackened_exactly_when_the_highest_that_is_not_translucent_there_is_left_out(stack):
    windows = [made(i, box, opaque=opaque) for i, (box, _, opaque) in enumerate(stack)]
    out = {i for i, (_, left_out, _) in enumerate(stack) if left_out}
    mask = shown(windows, out, MONITOR)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            expected = False
            for i, (box, _, opaque) in enumerate(stack):
                if box[0] <= x + 10 < box[2] and box[1] <= y + 5 < box[3]:
                    expected = True if i in out else expected and not opaque
            assert expected == bool(mask is not None and mask[y, x])


@given(stacks, st.sampled_from([1.0, 1.25, 1.5, 2.0, 3.0]))
def test_on_a_scaled_monitor_no_pixel_of_a_window_is_left(stack, scale):
    monitor = Monitor("two", MONITOR.box, scale)
    windows = [made(i, box, opaque=opaque) for i, (box, _, opaque) in enumerate(stack)]
    out = {i for i, (_, left_out, _) in enumerate(stack) if left_out}
    mask = shown(windows, out, monitor)
    width, height = size_of(monitor)
    painted = np.zeros((height, width), np.bool_)  # where a part of a pixel may show it
    for i, (box, _, opaque) in enumerate(stack):
        if i in out and (found := on(monitor, box)):
            painted[found[1] : found[3], found[0] : found[2]] = True
        elif opaque and (found := on(monitor, box, inside=True)):
            painted[found[1] : found[3], found[0] : found[2]] = False
    assert np.array_equal(painted, np.zeros_like(painted) if mask is None else mask)


def test_nothing_left_out_costs_no_mask():
    assert shown([made(1, (10, 5, 20, 15))], set(), MONITOR) is None
    assert shown([made(1, (100, 100, 120, 120))], {1}, MONITOR) is None  # on another monitor
    assert shown([made(1, (12, 6, 20, 15)), made(2, (0, 0, 60, 60))], {1}, MONITOR) is None  # hidden


@pytest.mark.parametrize(("height", "width"), [(16, 24), (20, 30), (10, 20), (16, 30)])
def test_a_picture_of_another_size_is_blackened_beyond_what_was_thought(height, width):
    pixels = np.full((height, width, 4), 200, np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[2:4, 3:6] = True
    blacken(pixels, mask)
    assert not pixels[2:4, 3:6].any()
    if (height, width) != (HEIGHT, WIDTH):
        assert not pixels[HEIGHT:].any()
        assert not pixels[:, WIDTH:].any()
    assert pixels[0, 0].all()
