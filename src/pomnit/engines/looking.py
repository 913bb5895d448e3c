"""Pictures as a model looks at them: upright, in colour, no larger than it needs; and what it saw, kept by digests."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from pomnit.engines.flatten import to_rgb
from pomnit.engines.protocols import Asked, Picture
from pomnit.errors import EngineError

MOST_PICTURES = 4  # that are looked at for one answer: that of the question, then those of the best evidence
MOST_PIXELS = 100_000_000  # of a picture before it is reduced; the readers take no larger one
LEAST_PIXELS = 65_536  # that Qwen3-VL looks at: it enlarges smaller ones itself
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture that is looked at."""

    image: Image.Image  # RGB
    key: str  # its digest and its size: what is known of another one says nothing of it


def shown(asked: Asked) -> Asked:
    """Gives the same with only the pictures that are looked at, each once: the question's, and of the best evidence."""
    left = MOST_PICTURES - (asked.picture is not None)
    known = {asked.picture.digest} if asked.picture is not None else set()
    offered = []
    for piece in asked.offered:
        if piece.picture is not None and (left == 0 or piece.picture.digest in known):
            offered.append(replace(piece, picture=None))
            continue
        if piece.picture is not None:
            known.add(piece.picture.digest)
            left -= 1
        offered.append(piece)
    return replace(asked, offered=tuple(offered))


def looked_at(pictures: Sequence[Picture], *, pixels: int, side: int, step: int) -> list[Looked]:
    """Gives pictures as they are looked at; together they have at most ``pixels``.

    ``side`` bounds each longer side; sides are multiples of ``step``, as the model cuts them.

    Raises:
        EngineError: one cannot be decoded.
    """
    share = max(LEAST_PIXELS, pixels // max(len(pictures), 1))
    return [_reduced(picture, share, side, step) for picture in pictures]


def size_of(width: int, height: int, *, pixels: int, side: int, step: int) -> tuple[int, int]:
    """Gives the width and height at which a picture of this size is looked at: small ones are enlarged a little.

    Proportions are kept to a step; what is longer than ``side`` / ``step`` times its width is squeezed.
    """
    area = width * height
    scale = min(math.sqrt(pixels / area), side / max(width, height), max(1.0, math.sqrt(LEAST_PIXELS / area)))
    steps = [max(1, min(side // step, round(each * scale / step))) for each in (width, height)]
    while steps[0] * steps[1] * step * step > pixels and max(steps) > 1:
        steps[steps.index(max(steps))] -= 1  # rounded up
    return steps[0] * step, steps[1] * step


def _reduced(picture: Picture, pixels: int, side: int, step: int) -> Looked:
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, the same for every program; ours follows
    try:
        with Image.open(io.BytesIO(picture.data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise EngineError(f"a picture of {opened.width} x {opened.height} pixels is too large to be looked at")
            opened.draft("RGB", (2 * side, 2 * side))  # a photo is decoded at a fraction of its size
            image = to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise EngineError(f"a picture of {len(picture.data)} bytes is none of {', '.join(FORMATS)}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise EngineError(f"a picture of {len(picture.data)} bytes cannot be decoded: {error!s:.200}") from error
    size = size_of(*image.size, pixels=pixels, side=side, step=step)
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if size != image.size else image
    return Looked(image, f"{picture.digest} {size[0]}x{size[1]}")


class Seen:
    """What was made of pictures, by their keys: the least recently looked at goes when it becomes too much."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, key: str) -> Any:
        """Gives what was made of a picture, None when it is not known."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: str, made: Any, n_bytes: int) -> None:
        """Keeps what was made of a picture."""
        self._bytes += n_bytes
        self._kept[key] = made, n_bytes
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        self._bytes = 0
