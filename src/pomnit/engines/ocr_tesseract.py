"""Tesseract as a Recogniser: the text of screenshots, in Russian and English, wherever Apple Vision is not.

Tesseract was made for scanned paper, so it gets a flattened image (see ``flatten``). Two things it does badly are
mended: whole lines that its search for lines passes over, and headings of very large letters. ``bench/ocr.py`` measures
what that brings; the log says what was tried.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.engines.flatten import bounded, prepare, to_rgb
from pomnit.engines.ocr_alphabets import Pixels, Reading, Token, is_doubtful, repair
from pomnit.engines.ocr_merge import insert_lines, merge
from pomnit.engines.ocr_page import big_line, has_picture, is_poor, second_page, unread_lines
from pomnit.engines.protocols import Line, Word
from pomnit.errors import EngineError, EngineMissing
from pomnit.records import Box
from pomnit.text.alphabets import one_alphabet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

LANGUAGES = ("rus", "eng")

SETTINGS = {
    "debug_file": os.devnull,  # silences remarks on standard error
    "tessedit_do_invert": "0",  # flattening leaves no light text to try for
    "textord_tabfind_find_tables": "0",  # only the layout of tables is lost, not their text: 3 % less time
}
MARGIN = 3  # pixels around a word that is read again; with more, its neighbours' edges become quotation marks


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

    def __init__(self, tessdata: Path, languages: tuple[str, ...] = LANGUAGES, *, second_pass: bool = True) -> None:
        """``tessdata`` is the folder of the language files (see ``find_tessdata``).

        Without ``second_pass`` an image is read once however poorly, unless a call asks to be thorough.

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
        self._alone = set(languages) == set(LANGUAGES)  # a language alone may read again what both took wrongly
        self._idle: dict[str, list[Any]] = {}
        self._second_pass = second_pass
        self._closed = False

    def recognise(self, image: Image.Image, *, thorough: bool = False) -> list[Line]:
        """Gives the lines of ``image`` (any Pillow mode) in reading order; about 1 s of CPU for a full screen.

        A second reading takes as long again. It is done when the first is poor, and whenever ``thorough``.

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
        with self._instance(self._languages) as api:
            lines = self._read(api, page)
            self._read_skipped(api, np.asarray(page), lines)
            lines = [read for line in lines if (read := self._read_big(api, rgb, line)) is not None]
            if thorough or (self._second_pass and is_poor(np.asarray(page), lines)):
                lines = merge(lines, self._read_again(api, rgb, page), rgb.width / rgb.height)
            return lines

    def close(self) -> None:
        """Frees every instance; one that is reading now is freed when it is done. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for api in itertools.chain.from_iterable(idle.values()):
            api.End()

    @contextmanager
    def _instance(self, languages: str) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise EngineError("this recogniser was closed; open the memory again")
            idle = self._idle.get(languages)
            api = idle.pop() if idle else None
        if api is None:
            api = self._new_instance(languages)
        keep = False
        try:
            yield api
            api.Clear()
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.setdefault(languages, []).append(api)
        except RuntimeError as error:
            raise EngineError(f"Tesseract failed: {error}") from error
        finally:
            if not keep:
                api.End()

    def _new_instance(self, languages: str) -> Any:
        try:
            api = self._library.PyTessBaseAPI(path=self._path, lang=languages, psm=self._library.PSM.AUTO)
        except RuntimeError as error:
            raise EngineError(f"Tesseract cannot load {languages} from {self._path}: {error}") from error
        for name, value in SETTINGS.items():
            api.SetVariable(name, value)
        return api

    def _read(self, api: Any, page: Image.Image, flattened: Image.Image | None = None) -> list[Line]:
        """Gives the lines of a prepared image, by the page segmentation that is set."""
        api.SetImageBytes(page.tobytes(), page.width, page.height, 1, page.width)
        if not api.Recognize():
            raise EngineError(f"Tesseract gave up on an image of {page.size} pixels")
        return self._lines(api, np.asarray(flattened or page))

    def _read_skipped(self, api: Any, page: NDArray[np.uint8], lines: list[Line]) -> None:
        """Adds the lines that the search for lines passed over in the page that ``api`` holds."""
        with self._segmentation(api, self._library.PSM.SINGLE_LINE):
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
        with self._segmentation(api, self._library.PSM.SINGLE_LINE):
            found = self._read(api, page)
        if len(found) == 1 and _certainty(found[0]) > _certainty(line) - 0.05:
            words = (Word(word.text, _within(word.box, box), word.confidence) for word in found[0].words)
            line = Line(tuple(words), line.block)
        return line if _certainty(line) > 0.5 else None

    def _read_again(self, api: Any, rgb: Image.Image, page: Image.Image) -> list[Line]:
        """Gives the second reading: text anywhere, on an image that was not flattened."""
        again = second_page(rgb, page.size, has_picture(np.asarray(page)))
        api.SetVariable("tessedit_do_invert", "1")  # light text on a dark button is left in it
        try:
            with self._segmentation(api, self._library.PSM.SPARSE_TEXT):
                return self._read(api, again, flattened=page)
        finally:
            api.SetVariable("tessedit_do_invert", "0")

    @contextmanager
    def _segmentation(self, api: Any, mode: int) -> Iterator[None]:
        api.SetPageSegMode(mode)
        try:
            yield
        finally:
            api.SetPageSegMode(self._library.PSM.AUTO)

    def _lines(self, api: Any, page: NDArray[np.uint8]) -> list[Line]:
        level = self._library.RIL
        lines: list[tuple[list[Token], int]] = []
        block = -1
        iterator = api.GetIterator()
        for at in self._library.iterate_level(iterator, level.WORD) if iterator else ():
            if at.IsAtBeginningOf(level.PARA):
                block += 1
            if at.IsAtBeginningOf(level.TEXTLINE) or not lines:
                lines.append(([], max(block, 0)))
            token = self._token(at)
            if token is not None and not is_noise(token.text, token.confidence):
                lines[-1][0].append(token)
        return [Line(self._words(tokens, page), block) for tokens, block in lines if tokens]

    def _token(self, at: Any) -> Token | None:
        """Gives the word that an iterator is at, with its characters' boxes when it is doubtful."""
        word, symbol = self._library.RIL.WORD, self._library.RIL.SYMBOL
        text, pixels = one_alphabet(_text(at, word)), at.BoundingBox(word)
        if not text or not pixels:
            return None
        confidence, known = min(1.0, max(0.0, at.Confidence(word) / 100)), bool(at.WordIsFromDictionary())
        symbols: list[Pixels] = []
        if self._alone and is_doubtful(text, known):
            symbols.append(at.BoundingBox(symbol))
            while not at.IsAtFinalElement(word, symbol) and at.Next(symbol):
                symbols.append(at.BoundingBox(symbol))
        return Token(text, pixels, confidence, known, tuple(symbols))

    def _words(self, tokens: list[Token], page: NDArray[np.uint8]) -> tuple[Word, ...]:
        if self._alone:
            tokens = repair(tokens, lambda language, place: self._read_word(language, page, place))
        return tuple(word for token in tokens for word in _words(token, page))

    def _read_word(self, language: str, page: NDArray[np.uint8], place: Pixels) -> Reading | None:
        """Gives how one language reads a place of ``page``; None unless it is one word there."""
        x0, y0, x1, y1 = place
        part = page[max(0, y0 - MARGIN) : y1 + MARGIN, max(0, x0 - MARGIN) : x1 + MARGIN]
        level = self._library.RIL.WORD
        with self._instance(language) as api:
            api.SetPageSegMode(self._library.PSM.SINGLE_WORD)
            api.SetImageBytes(part.tobytes(), part.shape[1], part.shape[0], 1, part.shape[1])
            at = api.GetIterator() if api.Recognize() else None
            if at is None or at.Empty(level):
                return None
            reading = Reading(_text(at, level), at.Confidence(level) / 100, bool(at.WordIsFromDictionary()))
            return None if at.Next(level) else reading


def _text(at: Any, level: Any) -> str:
    try:
        return str(at.GetUTF8Text(level)).strip()
    except RuntimeError:  # how tesserocr says that a word has no letters
        return ""


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


def _words(token: Token, page: NDArray[np.uint8]) -> list[Word]:
    """Gives one word, or several where Tesseract read a grouped number ("1 284,50") as one."""
    whole = [(token.text, token.pixels)]
    pieces = split_number(token.text, token.pixels, page) if _GROUPED_NUMBER.fullmatch(token.text) else whole
    return [Word(piece, _fractions(box, page.shape), token.confidence) for piece, box in pieces]


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
