"""In which order lines of text are read when an engine gives them in none: columns, blocks, rows.

The page is cut, again and again, where nothing stands from edge to edge (the recursive X-Y cut of Nagy and Seth 1984);
the wider gap goes first. What cannot be cut is a block, read row by row. A gap that runs down a table or between
labels and their values is no gutter: there the lines of both sides stand level with each other.
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections.abc import Sequence

from pomnit.records import Box

BLOCK_GAP = 1.0  # heights of a line: less is the space between lines, more that between paragraphs
GUTTER = 1.5  # heights of a line between columns; words of a line stand nearer
SHORT_LINE = 10.0  # heights: cells and labels are shorter, lines of prose are longer

Numbers = list[int]


def blocks(boxes: Sequence[Box], size: tuple[int, int]) -> list[Numbers]:
    """Gives the numbers of the boxes by block, in reading order.

    ``boxes`` are lines as fractions of an image of ``size`` pixels (width, height), whose origin is at the top left.
    """
    width, height = size
    pixels = [(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes]
    return _cut(pixels, list(range(len(boxes)))) if boxes else []


def _cut(boxes: Sequence[Box], chosen: Numbers) -> list[Numbers]:
    """Gives the blocks of the chosen boxes: of each part when they can be cut, else one."""
    line = statistics.median(boxes[i][3] - boxes[i][1] for i in chosen)
    between = [gap for gap in _gaps(boxes, chosen, 1) if gap[0] > BLOCK_GAP * line]
    down = [gap for gap in _gaps(boxes, chosen, 0) if gap[0] > GUTTER * line]
    columns = itertools.pairwise(_parts(boxes, chosen, 0, [where for _, where in down]))
    gutters = [gap for gap, sides in zip(down, columns, strict=True) if _are_columns(boxes, sides, line)]
    widest_down, widest_across = (max((gap for gap, _ in found), default=0.0) for found in (gutters, between))
    if not gutters and not between:
        return [_rows(boxes, chosen)]
    axis, cuts = (0, gutters) if widest_down >= widest_across else (1, [at for at in between if at[0] > widest_down])
    parts = _parts(boxes, chosen, axis, [where for _, where in cuts])
    return [block for part in parts for block in _cut(boxes, part)]


def _gaps(boxes: Sequence[Box], chosen: Numbers, axis: int) -> list[tuple[float, float]]:
    """Gives the stretches where nothing stands, as (length, middle), along x (axis 0) or y (axis 1)."""
    found: list[tuple[float, float]] = []
    end: float | None = None
    for start, stop in sorted((boxes[i][axis], boxes[i][axis + 2]) for i in chosen):
        if end is not None and start > end:
            found.append((start - end, (start + end) / 2))
        end = stop if end is None else max(end, stop)
    return found


def _parts(boxes: Sequence[Box], chosen: Numbers, axis: int, cuts: list[float]) -> list[Numbers]:
    parts: list[Numbers] = [[] for _ in range(len(cuts) + 1)]
    for i in chosen:
        parts[bisect.bisect(cuts, boxes[i][axis])].append(i)
    return parts


def _are_columns(boxes: Sequence[Box], sides: tuple[Numbers, Numbers], line: float) -> bool:
    """Says whether what stands on two sides of a gap is read one side after the other."""
    fewer, more = sorted(sides, key=len)
    return _beside(boxes, fewer, more, line) and not _is_table(boxes, fewer, more, line)


def _beside(boxes: Sequence[Box], fewer: Numbers, more: Numbers, line: float) -> bool:
    """Says whether the sides stand beside each other, and not by turns like what two people write in a chat."""
    filled: list[tuple[float, float]] = []  # stretches of y that the larger side fills, small gaps closed
    for top, bottom in sorted((boxes[i][1], boxes[i][3]) for i in more):
        if filled and top - filled[-1][1] <= BLOCK_GAP * line:
            filled[-1] = filled[-1][0], max(filled[-1][1], bottom)
        else:
            filled.append((top, bottom))
    tops = [top for top, _ in filled]
    at = [(i, bisect.bisect(tops, boxes[i][3]) - 1) for i in fewer]  # the last stretch that begins above its end
    return 4 * sum(n >= 0 and filled[n][1] > boxes[i][1] for i, n in at) >= len(fewer)


def _is_table(boxes: Sequence[Box], fewer: Numbers, more: Numbers, line: float) -> bool:
    """Says whether what stands in two neighbouring columns belongs together row by row."""
    level = sum(any(_level(boxes[i], boxes[j]) for j in more) for i in fewer)
    widths = [statistics.median(boxes[i][2] - boxes[i][0] for i in side) for side in (fewer, more)]
    return min(widths) < SHORT_LINE * line and level >= 0.8 * len(fewer)


def _level(a: Box, b: Box) -> bool:
    return abs(a[1] + a[3] - b[1] - b[3]) < 0.6 * min(a[3] - a[1], b[3] - b[1])


def _rows(boxes: Sequence[Box], chosen: Numbers) -> Numbers:
    """Gives the boxes of one block from top to bottom, those that stand level from left to right."""
    rows: list[Numbers] = []
    for i in sorted(chosen, key=lambda i: boxes[i][1] + boxes[i][3]):
        if rows and _level(boxes[rows[-1][0]], boxes[i]):
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]
