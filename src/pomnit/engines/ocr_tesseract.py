"""Tesseract as a Recogniser: the text of screenshots, in Russian and English, wherever Apple Vision is not.

Tesseract was made for scanned paper, so it gets a flattened image (see ``flatten``). Two things it does badly are
mended: whole lines that its search for lines passes over, and headings of very large letters. ``bench/ocr.py`` measures
what that brings; the log says what was tried.
"""

from __future__ import annotations

import itertools
import operator
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops, ImageOps

from pomnit.engines.flatten import PLAIN_RUN, Bits, bounded, cell_size, difference, prepare, to_rgb, window
from pomnit.engines.protocols import Line, Word
from pomnit.errors import EngineError, EngineMissing
from pomnit.records import Box
from pomnit.text.alphabets import one_alphabet

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANGUAGES = ("rus", "eng")

SETTINGS = {
    "debug_file": os.devnull,  # silences remarks on standard error
    "tessedit_do_invert": "0",  # flattening leaves no light text to try for
    "textord_tabfind_find_tables": "0",  # only the layout of tables is lost, not their text: 3 % less time
}
CELL = 8  # pixels as Tesseract sees them; small letters are 14 to 20 high there
LONG_RUN = 24  # cells: about three words
MOST_UNREAD = 8

Pixels = tuple[int, int, int, int]


# --- what is installed ------------------------------------------------------------------------------------------


def find_tessdata(extra: Path | None = None) -> Path | None:
    """Gives the first folder that holds the Russian and the English language files, or None.

    Looked at in this order: ``extra``, $TESSDATA_PREFIX, this Python's own share folder, the system's folders.
    """
    wanted = set(LANGUAGES)
    return next((folder for folder in _folders(extra) if wanted <= set(installed_languages(folder))), None)


def _folders(extra: Path | None) -> Iterator[Path]:
    if extra is not None:
        yield extra
    prefix = os.environ.get("TESSDATA_PREFIX")
    if prefix:
        yield Path(prefix)
        yield Path(prefix) / "tessdata"  # Tesseract 3 wanted the folder above
    yield Path(sys.prefix) / "share" / "tessdata"
    yield from sorted(Path("/usr/share/tesseract-ocr").glob("*/tessdata"), reverse=True)
    for root in ("/usr/share", "/opt/homebrew/share", "/usr/local/share"):
        yield Path(root) / "tessdata"


def installed_languages(tessdata: Path) -> tuple[str, ...]:
    """Gives the names of the language files in a folder, sorted; nothing when there is no such folder."""
    return tuple(sorted(file.name.removesuffix(".traineddata") for file in tessdata.glob("*.traineddata")))


def version() -> str:
    """Gives Tesseract's version, such as "5.5.4".

    Raises:
        EngineMissing: tesserocr is not installed.
    """
    return str(_tesserocr().tesseract_version()).split()[1]


def _tesserocr() -> Any:
    try:
        import tesserocr
    except ImportError as error:
        raise EngineMissing(f"tesserocr cannot be imported ({error}); type: pip install tesserocr") from error
    return tesserocr


def how_to_install(languages: tuple[str, ...] = LANGUAGES) -> str:
    """Gives the command that installs language files on this system."""
    if sys.platform == "darwin":
        return "brew install tesseract tesseract-lang"
    return "sudo apt-get install " + " ".join(f"tesseract-ocr-{language}" for language in languages)


# --- the engine -------------------------------------------------------------------------------------------------


class TesseractRecogniser:
    """Reads images with Tesseract: one native instance per image that is read at the same time, kept for the next."""

    def __init__(self, tessdata: Path, languages: tuple[str, ...] = LANGUAGES) -> None:
        """``tessdata`` is the folder of the language files (see ``find_tessdata``).

        Raises:
            EngineMissing: tesserocr or a language file is not here; the message says what to type.
        """
        self._library = _tesserocr()
        here = installed_languages(tessdata)
        missing = tuple(language for language in languages if language not in here)
        if missing:
            files = ", ".join(f"{language}.traineddata" for language in missing)
            raise EngineMissing(f"Tesseract has no {files} in {tessdata}; type: {how_to_install(missing)}")
        # Leptonica prints complaints about thin boxes that mean nothing; its level is one for the whole process.
        self._library.set_leptonica_log_level(self._library.LeptLogLevel.NONE)
        self._path = os.path.join(tessdata, "")  # Tesseract wants the final slash
        self._languages = "+".join(languages)
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._closed = False

    def recognise(self, image: Image.Image) -> list[Line]:
        """Gives the lines of ``image`` (any Pillow mode) in reading order; about 1 s of CPU for a full screen.

        Raises:
            EngineError: the image cannot be decoded, Tesseract failed on it, or the engine was closed.
        """
        try:
            rgb = bounded(to_rgb(image))
            page = prepare(rgb)
        except (OSError, SyntaxError, ValueError) as error:
            raise EngineError(f"an image of mode {image.mode}, {image.size} cannot be prepared: {error}") from error
        if page is None:
            return []
        with self._instance() as api:
            lines = self._read(api, page)
            self._read_skipped(api, np.asarray(page), lines)
            return [read for line in lines if (read := self._read_big(api, rgb, line)) is not None]

    def close(self) -> None:
        """Frees every instance; one that is reading now is freed when it is done. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for api in idle:
            api.End()

    @contextmanager
    def _instance(self) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise EngineError("this recogniser was closed; open the memory again")
            api = self._idle.pop() if self._idle else None
        if api is None:
            api = self._new_instance()
        keep = False
        try:
            yield api
            api.Clear()
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(api)
        except RuntimeError as error:
            raise EngineError(f"Tesseract failed: {error}") from error
        finally:
            if not keep:
                api.End()

    def _new_instance(self) -> Any:
        try:
            api = self._library.PyTessBaseAPI(path=self._path, lang=self._languages, psm=self._library.PSM.AUTO)
        except RuntimeError as error:
            raise EngineError(f"Tesseract cannot load {self._languages} from {self._path}: {error}") from error
        for name, value in SETTINGS.items():
            api.SetVariable(name, value)
        return api

    def _read(self, api: Any, page: Image.Image) -> list[Line]:
        """Gives the lines of a prepared image, by the page segmentation that is set."""
        api.SetImageBytes(page.tobytes(), page.width, page.height, 1, page.width)
        if not api.Recognize():
            raise EngineError(f"Tesseract gave up on an image of {page.size} pixels")
        return self._lines(api, np.asarray(page))

    def _read_skipped(self, api: Any, page: NDArray[np.uint8], lines: list[Line]) -> None:
        """Adds the lines that the search for lines passed over in the page that ``api`` holds."""
        with self._single_lines(api):
            for x0, y0, x1, y1 in unread_lines(page, [word.box for line in lines for word in line.words]):
                api.SetRectangle(x0, y0, x1 - x0, y1 - y0)
                if api.Recognize():
                    insert_lines(lines, [line for line in self._lines(api, page) if _certainty(line) > 0.7])

    def _read_big(self, api: Any, rgb: Image.Image, line: Line) -> Line | None:
        """Gives a line of big letters as it reads against one colour, when that is surer; any other as it is.

        The bars of letters of 60 pixels and more are long enough to pass for background. None when it stays unsure:
        then it was no line but a column of numbers, a picture or an icon.
        """
        big = big_line(rgb, line)
        if big is None:
            return line
        page, box = big
        with self._single_lines(api):
            found = self._read(api, page)
        if len(found) == 1 and _certainty(found[0]) > _certainty(line) - 0.05:
            words = (Word(word.text, _within(word.box, box), word.confidence) for word in found[0].words)
            line = Line(tuple(words), line.block)
        return line if _certainty(line) > 0.5 else None

    @contextmanager
    def _single_lines(self, api: Any) -> Iterator[None]:
        api.SetPageSegMode(self._library.PSM.SINGLE_LINE)
        try:
            yield
        finally:
            api.SetPageSegMode(self._library.PSM.AUTO)

    def _lines(self, api: Any, page: NDArray[np.uint8]) -> list[Line]:
        level = self._library.RIL
        lines: list[tuple[list[Word], int]] = []
        block = -1
        iterator = api.GetIterator()
        for at in self._library.iterate_level(iterator, level.WORD) if iterator else ():
            if at.IsAtBeginningOf(level.PARA):
                block += 1
            if at.IsAtBeginningOf(level.TEXTLINE) or not lines:
                lines.append(([], max(block, 0)))
            text = _text(at, level.WORD)
            confidence = min(1.0, max(0.0, at.Confidence(level.WORD) / 100))
            pixels = at.BoundingBox(level.WORD)
            if text and pixels and not is_noise(text, confidence):
                lines[-1][0].extend(_words(one_alphabet(text), pixels, confidence, page))
        return [Line(tuple(words), block) for words, block in lines if words]


def _text(at: Any, level: Any) -> str:
    try:
        return str(at.GetUTF8Text(level)).strip()
    except RuntimeError:  # how tesserocr says that a word has no letters
        return ""


# --- lines that were skipped ------------------------------------------------------------------------------------


def unread_lines(page: NDArray[np.uint8], boxes: Sequence[Box]) -> list[Pixels]:
    """Gives the places in ``page`` (dark on white) that look like a line of text and lie under none of ``boxes``.

    Tesseract's search for lines now and then leaves out a whole line in the middle of a paragraph. At most
    MOST_UNREAD are given: a picture may look like many lines.
    """
    height, width = page.shape
    rows, columns = height // CELL, width // CELL
    ink = page[: rows * CELL, : columns * CELL] < 160
    cells: Bits = ink.reshape(rows, CELL, columns, CELL).max(axis=(1, 3))
    for x0, y0, x1, y1 in boxes:
        cells[max(0, int(y0 * height) // CELL - 1) : int(y1 * height) // CELL + 2,
              max(0, int(x0 * width) // CELL - 1) : int(x1 * width) // CELL + 2] = False  # fmt: skip
    gap = 5  # cells: the spaces between words are closed
    cells = window(window(cells, gap, operator.or_, gap - 1), gap, operator.and_)
    return [place for place in _stacked_runs(cells) if _looks_like_text(ink, place)][:MOST_UNREAD]


def _stacked_runs(cells: Bits) -> list[Pixels]:
    """Gives boxes in pixels, with some margin, around the long runs of cells that lie one below the other."""
    edges = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    long = ends[:, 1] - starts[:, 1] >= LONG_RUN
    stacks: list[Pixels] = []
    for (y, x0), (_, x1) in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        above = next((box for box in stacks if box[3] == y and box[0] < x1 and x0 < box[2]), None)
        if above is None:
            stacks.append((x0, y, x1, y + 1))
            continue
        stacks[stacks.index(above)] = (min(above[0], x0), above[1], max(above[2], x1), y + 1)
    boxes = [box for box in stacks if 2 <= box[3] - box[1] <= 10]
    rows, columns = cells.shape
    grown = [(max(0, x0 - 1), max(0, y0 - 1), min(columns, x1 + 1), min(rows, y1 + 1)) for x0, y0, x1, y1 in boxes]
    return [(x0 * CELL, y0 * CELL, x1 * CELL, y1 * CELL) for x0, y0, x1, y1 in grown]


def _looks_like_text(ink: Bits, place: Pixels) -> bool:
    x0, y0, x1, y1 = place
    part = ink[y0:y1, x0:x1]
    strokes = int((part[:, 1:] & ~part[:, :-1]).sum(axis=1).max())  # in the row that has most
    return 0.05 < float(part.mean()) < 0.5 and strokes * 2 * CELL > x1 - x0  # rules and frames have few


def insert_lines(lines: list[Line], found: Sequence[Line]) -> None:
    """Puts each found line below the nearest line above it in ``lines``, and into its block."""
    for line in found:
        x0, y0, x1 = line.words[0].box[0], line.words[0].box[1], line.words[-1].box[2]
        above = [
            (other.words[0].box[1], at)
            for at, other in enumerate(lines)
            if other.words[0].box[1] < y0 and other.words[0].box[0] < x1 and x0 < other.words[-1].box[2]
        ]
        at = max(above)[1] + 1 if above else 0
        lines.insert(at, Line(line.words, lines[at - 1].block if at else 0))


def big_line(rgb: Image.Image, line: Line) -> tuple[Image.Image, Box] | None:
    """Gives a line of big letters, prepared by its difference from the commonest colour, and its box; else None."""
    x0, y0, x1, y1 = (min(word.box[0] for word in line.words), min(word.box[1] for word in line.words),
                      max(word.box[2] for word in line.words), max(word.box[3] for word in line.words))  # fmt: skip
    height = (y1 - y0) * rgb.height
    if height < PLAIN_RUN * cell_size(rgb) * 0.8:
        return None
    beside, above = 0.6 * height, 0.35 * height  # a broken letter at either end may have been left out
    left, top = max(0, int(x0 * rgb.width - beside)), max(0, int(y0 * rgb.height - above))
    right, bottom = min(rgb.width, int(x1 * rgb.width + beside)), min(rgb.height, int(y1 * rgb.height + above))
    part = rgb.crop((left, top, right, bottom))
    paper = tuple(int(level) for level in np.median(np.asarray(part).reshape(-1, 3), axis=0))
    ink = ImageOps.autocontrast(difference(part, Image.new("RGB", part.size, paper)))
    shrink = 60 / height
    ink = ink.resize((max(1, round(ink.width * shrink)), max(1, round(ink.height * shrink))), Image.Resampling.BICUBIC)
    box = left / rgb.width, top / rgb.height, right / rgb.width, bottom / rgb.height
    return ImageChops.invert(ink), box


def _within(inner: Box, outer: Box) -> Box:
    """Gives a box inside another as a box of the whole."""
    left, top, right, bottom = outer
    wide, high = right - left, bottom - top
    return left + inner[0] * wide, top + inner[1] * high, left + inner[2] * wide, top + inner[3] * high


def _certainty(line: Line) -> float:
    return sum(word.confidence for word in line.words) / len(line.words)


# --- words ------------------------------------------------------------------------------------------------------

_GROUPED_NUMBER = re.compile(r"\D{0,2}(\d{4,12})(?:[.,]\d{1,2})?\D{0,2}")
_RULE = re.compile(r"([^\W\d_])\1{5,}")  # "======" is read as a row of one letter


def is_noise(text: str, confidence: float) -> bool:
    """Says whether a word is an icon or a ruled line rather than text.

    Longer words stay whatever the confidence: below 0.5 there were as many right ones as wrong ones.
    """
    if sum(letter.isalnum() for letter in text) < 3:
        return confidence < 0.5
    return confidence < 0.7 and _RULE.search(text.lower()) is not None


def _words(text: str, pixels: Pixels, confidence: float, page: NDArray[np.uint8]) -> list[Word]:
    """Gives one word, or several where Tesseract read a grouped number ("1 284,50") as one."""
    pieces = split_number(text, pixels, page) if _GROUPED_NUMBER.fullmatch(text) else [(text, pixels)]
    return [Word(piece, _fractions(box, page.shape), confidence) for piece, box in pieces]


def _fractions(pixels: Pixels, shape: tuple[int, ...]) -> Box:
    x0, y0, x1, y1 = pixels
    height, width = shape
    return x0 / width, y0 / height, min(1.0, x1 / width), min(1.0, y1 / height)


def split_number(text: str, pixels: Pixels, page: NDArray[np.uint8]) -> list[tuple[str, Pixels]]:
    """Gives the groups of a number, each with its box in pixels: the number is cut where ``page`` shows wide gaps.

    Only gaps that leave groups of three digits before the comma or the end count, and only when every character
    stands for itself in the image; otherwise the number stays whole.
    """
    x0, y0, x1, y1 = pixels
    ink = np.pad((page[y0:y1, x0:x1] < 128).any(axis=0), 1)
    starts, ends = np.flatnonzero(~ink[:-1] & ink[1:]), np.flatnonzero(ink[:-1] & ~ink[1:])
    whole = [(text, pixels)]
    if len(starts) != len(text):
        return whole
    gaps = starts[1:] - ends[:-1]  # gaps[i] stands after the character i
    match = re.search(r"\d{4,}", text)
    if match is None:
        return whole
    inside = range(match.start(), match.end() - 1)
    expected = [at for at in inside if (match.end() - 1 - at) % 3 == 0]
    usual = max((int(gaps[at]) for at in inside if at not in expected), default=0)
    # A space adds 0.2 to 0.4 of the height; so does a narrow 1 in a year, hence more is asked of a plain number.
    needed = usual + (0.15 if text[match.end() :].strip(",.") else 0.3) * (y1 - y0)
    if not expected or min(int(gaps[at]) for at in expected) < needed:
        return whole
    cuts = [0, *(at + 1 for at in expected), len(text)]
    return [(text[a:b], (x0 + int(starts[a]), y0, x0 + int(ends[b - 1]), y1)) for a, b in itertools.pairwise(cuts)]
