"""Sensitive text: where it stands, and the same text, words and pixels without it.

``find`` looks for payment cards, IBANs, Russian passports, СНИЛС, ИНН, US social security numbers, tokens, private keys
and passwords, in what OCR makes of them too. ``masked`` puts the kind in the place of each: ``[card ····4242]``. The
``masked_…`` for words that have boxes give the boxes to ``paint`` over as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from pomnit.privacy import sensitive_numbers, sensitive_secrets
from pomnit.privacy.sensitive_view import View, to_digits
from pomnit.records import SENSITIVE_KINDS, Box, SensitiveKind
from pomnit.text.split import PlacedText, Span

if TYPE_CHECKING:
    from PIL import Image

Action = Literal["mask", "keep", "drop"]

PIECE = 200_000  # characters that are looked at together, with
OVERLAP = 24_000  # before and behind them: more than the longest private key
_MARGIN = 0.15  # of a word's height, painted around it
_GREY = 128
_FINDERS = (
    sensitive_secrets.private_keys,
    sensitive_secrets.tokens,
    sensitive_numbers.parted_passports,
    sensitive_numbers.numbers,
    sensitive_secrets.passwords,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Sensitive text from ``start`` to ``end``. ``sure``: a check digit, a known beginning or a label says so."""

    kind: SensitiveKind
    start: int
    end: int
    sure: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of sensitive text: masked, kept as it is, or its whole item dropped; and of which kinds."""

    action: Action = "mask"
    kinds: frozenset[SensitiveKind] = frozenset(SENSITIVE_KINDS)

    def find(self, text: str) -> list[Found]:
        """Gives what this policy does not keep."""
        return [] if self.action == "keep" else [found for found in find(text) if found.kind in self.kinds]


MASK_ALL = Policy()


# Finding


def find(text: str) -> list[Found]:
    """Gives the sensitive text in order; nothing overlaps. Takes time in proportion to the text's length."""
    if len(text) <= PIECE + OVERLAP:
        return _apart(_find(text))
    founds: list[Found] = []
    for start in range(0, len(text), PIECE):
        first = max(0, start - OVERLAP)
        shifted = (
            replace(f, start=f.start + first, end=f.end + first) for f in _find(text[first : start + PIECE + OVERLAP])
        )
        founds += [f for f in shifted if start <= f.start < start + PIECE]
    return _apart(founds)


def _find(text: str) -> list[Found]:
    view = View(text)
    return [Found(kind, start, end, sure) for finder in _FINDERS for start, end, kind, sure in finder(view)]


def _apart(founds: Iterable[Found]) -> list[Found]:
    """Gives those that overlap as one of both lengths; its kind is that of the finder which comes first."""
    order = {found: number for number, found in reversed(list(enumerate(founds)))}
    apart: list[Found] = []
    for found in sorted(order, key=lambda f: (f.start, f.end)):
        if not apart or found.start >= apart[-1].end:
            apart.append(found)
            continue
        last = apart[-1]
        one = last if order[last] <= order[found] else found
        apart[-1] = joined = replace(one, start=last.start, end=max(last.end, found.end))
        order.setdefault(joined, order[one])
    return apart


# Masking text


def mask_of(found: Found, text: str) -> str:
    """Gives what stands in the place of a found one: its kind, and the last four digits of a card."""
    if found.kind == "card":
        digits = [c for c in to_digits(text[found.start : found.end]) if c.isdecimal()]
        return f"[card ····{''.join(str(int(c)) for c in digits[-4:])}]"
    return f"[{found.kind}]"


def masked(text: str, policy: Policy = MASK_ALL) -> str:
    """Gives a text without what the policy does not keep. Masked again, it stays the same."""
    founds = policy.find(text)
    return _masked(text, founds, [mask_of(found, text) for found in founds])


def _masked(text: str, founds: Iterable[Found], masks: Iterable[str]) -> str:
    parts, at = [], 0
    for found, mask in zip(founds, masks, strict=True):
        parts += [text[at : found.start], mask]
        at = found.end
    return "".join([*parts, text[at:]])


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its sensitive parts, those parts as they stood in it, and where they lie in the picture."""

    placed: PlacedText
    founds: tuple[Found, ...]
    spans: tuple[Span, ...]  # of the words that were masked, as they were


def masked_placed(placed: PlacedText, policy: Policy = MASK_ALL) -> Masked:
    """Gives a text with places without what the policy does not keep; a mask has the place of what it stands for."""
    founds = policy.find(placed.text)
    return mask_founds(placed, founds)


def mask_founds(placed: PlacedText, founds: Sequence[Found], masks: Sequence[str] | None = None) -> Masked:
    """Gives a text with places without these, which are in order and apart; ``masks`` stand for them where told."""
    if not founds:
        return Masked(placed, (), ())
    masks = [mask_of(found, placed.text) for found in founds] if masks is None else masks
    moved = _Moved(founds, masks)
    hidden: list[Span] = []
    spans: list[Span] = []
    for span in placed.spans:
        touched = moved.touches(span.start, span.end)
        if touched:
            hidden.append(span)
        start, end = moved.at(span.start, end=False), moved.at(span.end, end=True)
        # A mask takes the place of all the words it stands for; spans must not overlap.
        if spans and start < spans[-1].end:
            start = spans[-1].end
        if end > start:
            spans.append(Span(start, end, span.place))
    return Masked(PlacedText(_masked(placed.text, founds, masks), spans), tuple(founds), tuple(hidden))


class _Moved:
    """Where offsets of a text lie once it is masked. Asked in rising order, so that all together is one pass."""

    def __init__(self, founds: Sequence[Found], masks: Sequence[str]) -> None:
        self._founds = founds
        self._lengths = [len(mask) for mask in masks]
        self._first, self._shift = 0, 0  # founds that end before what is asked, and how much they moved it

    def _go_to(self, at: int) -> None:
        while self._first < len(self._founds) and self._founds[self._first].end <= at:
            found = self._founds[self._first]
            self._shift += self._lengths[self._first] - (found.end - found.start)
            self._first += 1

    def touches(self, start: int, end: int) -> bool:
        """Tells whether a found one has characters between ``start`` and ``end``."""
        self._go_to(start)
        return self._first < len(self._founds) and self._founds[self._first].start < end

    def at(self, offset: int, *, end: bool) -> int:
        """Gives where an offset lies; inside a found one, at the beginning or the end of its mask."""
        first, shift = self._first, self._shift
        while first < len(self._founds) and self._founds[first].end <= offset:
            shift += self._lengths[first] - (self._founds[first].end - self._founds[first].start)
            first += 1
        if first < len(self._founds) and self._founds[first].start < offset:
            found = self._founds[first]
            return found.start + shift + (self._lengths[first] if end else 0)
        return offset + shift


# Masking lines and pixels


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Word(_Dataclass, Protocol):
    @property
    def text(self) -> str: ...
    @property
    def box(self) -> Box: ...


class _Line(_Dataclass, Protocol):
    @property
    def words(self) -> tuple[Any, ...]: ...


L = TypeVar("L", bound=_Line)


def masked_lines(lines: Sequence[L], policy: Policy = MASK_ALL) -> tuple[list[L], list[Box]]:
    """Gives recognised lines without what the policy does not keep, and the boxes to paint over.

    A number may be spread over several words: its mask is one word with their common box. A line without words left is
    left out.
    """
    text, words = _joined(lines)
    founds = policy.find(text)
    if not founds:
        return list(lines), []
    boxes: list[Box] = []
    kept: list[list[Any]] = [[] for _ in lines]
    begun: set[int] = set()  # founds whose mask stands already
    first = 0
    for number, word, start, end in words:
        while first < len(founds) and founds[first].end <= start:
            first += 1
        inside = list(_touching(founds, first, start, end))
        if not inside:
            kept[number].append(word)
            continue
        boxes.append(word.box)
        left = _without(text, start, end, inside, founds, begun)
        if left:
            kept[number].append(replace(word, text=left))
        elif kept[number]:  # the rest of a number whose mask stands on this line
            kept[number][-1] = replace(kept[number][-1], box=_around(kept[number][-1].box, word.box))
        begun.update(inside)
    return [replace(line, words=tuple(new)) for line, new in zip(lines, kept, strict=True) if new], boxes


def _joined(lines: Sequence[_Line]) -> tuple[str, Iterator[tuple[int, Any, int, int]]]:
    """Gives the text of lines, as readers lay it out, and each word with the number of its line, start and end."""
    parts: list[str] = []
    placed: list[tuple[int, Any, int, int]] = []
    at = 0
    for number, line in enumerate(lines):
        for i, word in enumerate(line.words):
            if number or i:
                parts.append(" " if i else "\n")
                at += 1
            parts.append(word.text)
            placed.append((number, word, at, at + len(word.text)))
            at += len(word.text)
    return "".join(parts), iter(placed)


def _touching(founds: Sequence[Found], first: int, start: int, end: int) -> Iterator[int]:
    """Gives the numbers of the founds, from ``first`` on, that have characters between ``start`` and ``end``."""
    for number in range(first, len(founds)):
        if founds[number].start >= end:
            return
        if founds[number].end > start:
            yield number


def _without(text: str, start: int, end: int, inside: Iterable[int], founds: Sequence[Found], begun: set[int]) -> str:
    """Gives what a word becomes: the parts that are not sensitive, and the masks that begin in it."""
    parts, at = [], start
    for number in inside:
        found = founds[number]
        parts.append(text[at : max(at, found.start)])
        if number not in begun:
            parts.append(mask_of(found, text))
        at = min(end, found.end)
    return "".join([*parts, text[at:end]])


def _around(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def paint(image: Image.Image, boxes: Iterable[Box]) -> Image.Image:
    """Gives a copy of a picture with grey over the boxes, each a little larger, so that no edge of a letter is left."""
    from PIL import ImageDraw

    mode = image.mode if image.mode in ("RGB", "L", "RGBA") else "RGB"
    painted = image.convert(mode) if image.mode != mode else image.copy()
    colour = _GREY if mode == "L" else (_GREY,) * 3 + ((255,) if mode == "RGBA" else ())
    draw = ImageDraw.Draw(painted)
    width, height = painted.size
    for x0, y0, x1, y1 in boxes:
        margin = max(1.0, _MARGIN * (y1 - y0) * height)
        corners = (x0 * width - margin, y0 * height - margin, x1 * width + margin, y1 * height + margin)
        draw.rectangle(corners, fill=colour)
    return painted
