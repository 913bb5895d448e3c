"""A picture of a profile: memory and swap over time, the stages marked, the budget as a line. PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pomnit.doors.cli import chart
from pomnit.doors.cli.terminal import clean
from pomnit.errors import EngineMissing
from pomnit.records import ProfileReport, Sample

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDTH, HEIGHT, SCALE = 1000, 560, 2  # twice as fine as it is large
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 132, 72  # around the plot
PAPER, INK, SOFT, GRID = "#fbfaf7", "#1d1d1f", "#6b6a64", "#e3e1d9"
MEMORY, FILL, SWAP, BUDGET = "#2b6cb0", "#d3e2f0", "#c05621", "#b83232"
BANDS = ("#f1efe7", "#fbfaf7")  # behind every other stage
_VERDICTS = {"ok": "#2f855a", "warning": "#b7791f", "problem": "#b83232"}
_TICKS = 6  # at most, on an axis
_MOST_MB = 1e9  # above it the axis is in GB

Point = tuple[float, float]


def png(report: ProfileReport) -> bytes:
    """Gives the picture."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SCALE * WIDTH, SCALE * HEIGHT), PAPER)
    _Chart(report, ImageDraw.Draw(picture)).draw()
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


class _Chart:
    """The scales of one picture, and what is drawn by them."""

    def __init__(self, report: ProfileReport, pen: ImageDraw.ImageDraw) -> None:
        self.report, self.pen = report, pen
        self.fonts = {size: _font(SCALE * size) for size in (13, 14, 22)}
        self.ran = [stage for stage in report.stages if stage.verdict]
        self.memory = [(sample.s, sample.memory) for sample in report.samples]
        self.swap = _swap(report.samples)
        most = max([n for _, n in (*self.memory, *self.swap)], default=0)
        # a budget far above all the rest would press it flat: it is then named, with an arrow, and not drawn to scale
        self.shown = report.budget <= 3 * most
        highest = max(most, report.budget if self.shown else 0, 10_000_000) * 1.08  # a line at the top is seen
        self.unit, self.unit_name = (1e9, "GB") if highest > _MOST_MB else (1e6, "MB")
        self.top = highest / self.unit
        self.end = max([s for s, _ in self.memory], default=0.0) or 1.0

    def draw(self) -> None:
        self._stages()
        self._axes()
        self._curves()
        self._budget()
        self._head()

    def x(self, seconds: float) -> float:
        return LEFT + seconds / self.end * (WIDTH - LEFT - RIGHT)

    def y(self, n_bytes: float) -> float:
        return HEIGHT - BOTTOM - n_bytes / self.unit / self.top * (HEIGHT - TOP - BOTTOM)

    def _stages(self) -> None:
        for number, stage in enumerate(self.ran):
            left, right = self.x(stage.began_s), self.x(stage.ended_s)
            self._box((left, TOP - 24), (right, HEIGHT - BOTTOM), BANDS[number % 2])
            self._line([(left, TOP - 24), (left, HEIGHT - BOTTOM)], GRID, 1)
            self._line([(left, TOP - 25), (right, TOP - 25)], _VERDICTS[stage.verdict or "ok"], 3)
            self._text((left + 5, TOP - 8), self._cut(clean(stage.name), 13, right - left - 8), 13, INK)

    def _cut(self, text: str, size: int, room: float) -> str:
        """Gives as much of a text as there is room for."""
        while text and self.fonts[size].getlength(text) / SCALE > room:
            text = f"{text[:-2]}…" if len(text) > 2 else ""
        return text

    def _axes(self) -> None:
        for value in _steps(self.top):
            y = self.y(value * self.unit)
            self._line([(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1)
            self._text((LEFT - 8, y + 4), f"{value:g}", 13, SOFT, "rs")
        for value in _steps(self.end):
            x = self.x(value)
            self._line([(x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 5)], SOFT, 1)
            self._text((x, HEIGHT - BOTTOM + 20), f"{value:g}", 13, SOFT, "ms")
        self._line([(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], SOFT, 1)
        self._text((LEFT - 8, TOP - 14), self.unit_name, 13, SOFT, "rs")
        self._text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 44), "seconds", 13, SOFT, "ms")

    def _curves(self) -> None:
        points = [(self.x(s), self.y(n)) for s, n in self.memory]
        if len(points) > 1:
            floor = HEIGHT - BOTTOM
            area = [(points[0][0], floor), *points, (points[-1][0], floor)]
            self.pen.polygon([(SCALE * x, SCALE * y) for x, y in area], fill=FILL)
            self._axes()  # the grid goes over the area
            self._line(points, MEMORY, 2)
        self._line([(self.x(s), self.y(n)) for s, n in self.swap], SWAP, 2)

    def _budget(self) -> None:
        text = f"budget {self.report.budget / 1e9:.1f} GB"
        if not self.shown:
            self._text((WIDTH - RIGHT, TOP + 16), f"{text} ↑", 13, BUDGET, "rs")
            return
        y = self.y(self.report.budget)
        for x in range(LEFT, WIDTH - RIGHT, 14):
            self._line([(x, y), (min(x + 8, WIDTH - RIGHT), y)], BUDGET, 2)
        self._text((WIDTH - RIGHT, y - 6), text, 13, BUDGET, "rs")

    def _head(self) -> None:
        self._text((LEFT, 40), self._cut(f"Memory of {clean(self.report.title)}", 22, WIDTH - LEFT - RIGHT), 22, INK)
        peak = max([n for _, n in self.memory], default=0)
        self._text((LEFT, 66), f"{self.report.verdict}: {peak / 1e9:.2f} GB at most", 14, SOFT)
        legend = [(MEMORY, "memory of its processes, together")]
        legend += [(SWAP, "swap of the machine, more than before")] if self.swap else []
        right: float = WIDTH - RIGHT
        for colour, text in reversed(legend):
            left = right - self.fonts[14].getlength(text) / SCALE
            self._text((left, 66), text, 14, SOFT)
            self._line([(left - 30, 61), (left - 8, 61)], colour, 4)
            right = left - 54

    def _text(self, at: Point, text: str, size: int, colour: str, anchor: str = "ls") -> None:
        self.pen.text((SCALE * at[0], SCALE * at[1]), text, colour, self.fonts[size], anchor=anchor)

    def _line(self, points: Sequence[Point], colour: str, width: int) -> None:
        if len(points) > 1:
            self.pen.line([(SCALE * x, SCALE * y) for x, y in points], colour, SCALE * width, joint="curve")

    def _box(self, one: Point, other: Point, colour: str) -> None:
        self.pen.rectangle((SCALE * one[0], SCALE * one[1], SCALE * other[0], SCALE * other[1]), fill=colour)


def _swap(samples: Sequence[Sample]) -> list[tuple[float, int]]:
    """Gives how much more of the swap is used than at the beginning; nothing where it is not known."""
    if not samples or samples[0].swap is None:
        return []
    return [(one.s, max(one.swap - samples[0].swap, 0)) for one in samples if one.swap is not None]


def _steps(most: float) -> Iterator[float]:
    """Gives round numbers from 0 to ``most``."""
    raw = most / _TICKS
    unit: float = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return (round(number * step, 6) for number in range(int(most / step + 1e-9) + 1))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Gives a font of this machine, or that of Pillow, which has no Cyrillic letters."""
    from PIL import ImageFont

    try:
        return chart.font(size)
    except EngineMissing:
        return ImageFont.load_default(size)
