"""Apple Vision as a Recogniser: the text of screenshots, in Russian and English, on macOS.

Written without a Mac. Checked in the published wheels of PyObjC (Vision 12.2.2, core, Cocoa and Quartz 13.0, the
``_metadata.py`` of each): the out-arguments of ``performRequests:error:``, ``boundingBoxForRange:error:`` and
``supportedRecognitionLanguagesAndReturnError:`` (each gives a pair with the error second), the booleans, the keywords
of ``initWithData:options:``, the constants VNRequestTextRecognitionLevelAccurate = 0 and
VNRecognizeTextRequestRevision3 = 3, ``NSIndexSet containsIndex:``, ``NSData dataWithBytes:length:``,
``objc.autorelease_pool``. Checked in Apple's documentation and headers (Vision, VNRecognizeTextRequest, VNRequest,
VNObservation):

- The default revision is that of the SDK the *program* was linked with, so an old Python would get one without
  Russian. Revision 3 (macOS 13 and later) is the newest; ``supportedRevisions`` belongs to the class.
- ``recognitionLanguages`` come in order of priority. Others report that the first one decides most.
- ``automaticallyDetectsLanguage`` is off by default, and a no-op before revision 3. It chooses a model for what it
  takes a text to be, and Apple says that this cannot always be right and advises to set the languages where they are
  known: here they are. ``bench/ocr.py`` measures both on a Mac.
- ``minimumTextHeight`` is 1/32 of the image by default: 56 pixels on a 1800 pixel screen, taller than its text. The
  smaller it is, the less Vision reduces the image first; at 0 not at all.
- Boxes are fractions with the origin at the bottom left, and "not guaranteed to be an exact fit"; ranges count
  UTF-16 units; a confidence is of the whole candidate.
"""

from __future__ import annotations

import io
import math
import platform
import re
from typing import TYPE_CHECKING, Any

from pomnit.engines.flatten import SMALLEST_LETTER, bounded, to_rgb
from pomnit.engines.protocols import Line, Word
from pomnit.engines.reading_order import blocks
from pomnit.errors import EngineError, EngineMissing
from pomnit.records import Box
from pomnit.text.alphabets import one_alphabet

if TYPE_CHECKING:
    from PIL import Image

LANGUAGES = ("ru-RU", "en-US")  # Russian first: what reads Cyrillic meets Latin letters too, hardly the reverse
INSTEAD = "set recogniser = tesseract"
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


# --- what is installed ------------------------------------------------------------------------------------------


def version() -> str:
    """Gives the version of PyObjC, such as "13.0".

    Raises:
        EngineMissing: this is not macOS, or PyObjC cannot be imported.
    """
    return str(_frameworks()[0].__version__)


def on_macos() -> bool:
    """Says whether this is a Mac; asked while it runs, so that tests can answer."""
    return platform.system() == "Darwin"


def _frameworks() -> tuple[Any, Any, Any]:
    """Gives the modules objc, Foundation and Vision."""
    if not on_macos():
        raise EngineMissing(f"Apple Vision is a part of macOS, and this is {platform.system()}; {INSTEAD} or auto")
    try:
        import Foundation
        import objc
        import Vision
    except ImportError as error:
        how = f"pip install pyobjc-framework-Vision, or {INSTEAD}"
        raise EngineMissing(f"Apple Vision cannot be imported ({error}); type: {how}") from None
    return objc, Foundation, Vision


# --- the engine -------------------------------------------------------------------------------------------------


class VisionRecogniser:
    """Reads images with VNRecognizeTextRequest, one request per image, so that threads share nothing."""

    def __init__(self, languages: tuple[str, ...] = LANGUAGES, *, detect_language: bool = False) -> None:
        """``detect_language`` lets Vision guess the language of each text; ``languages`` then only break ties.

        Raises:
            EngineMissing: no macOS, no PyObjC, or a macOS whose Vision cannot read these languages.
        """
        self._objc, self._foundation, self._vision = _frameworks()
        # kept alive with the engine: others report crashes of Vision over a list that was gone too early
        self._languages = list(languages)
        self._detect = detect_language
        self._closed = False
        with self._objc.autorelease_pool():
            known, error = self._request().supportedRecognitionLanguagesAndReturnError_(None)
            missing = [name for name in languages if name not in {str(each) for each in known or ()}]
            if missing:
                why = f": {_said(error)}" if error is not None else ""
                raise EngineMissing(
                    f"Apple Vision of macOS {platform.mac_ver()[0]} does not read {', '.join(missing)}{why}; Russian"
                    f" needs macOS 13 or newer; {INSTEAD}"
                )

    def recognise(self, image: Image.Image, *, thorough: bool = False) -> list[Line]:
        """Gives the lines of ``image`` (any Pillow mode) in reading order.

        ``thorough`` lets Vision look at every pixel, which takes it longest; else it may reduce the image as far as
        the smallest letters allow.

        Raises:
            EngineError: the image cannot be decoded, Vision failed on it, or the engine was closed.
        """
        if self._closed:
            raise EngineError("this recogniser was closed; open the memory again")
        try:
            rgb = bounded(to_rgb(image))
            data = _tiff(rgb)
        except (OSError, SyntaxError, ValueError) as error:
            raise EngineError(f"an image of mode {image.mode}, {image.size} cannot be prepared: {error}") from error
        if min(rgb.size) < SMALLEST_LETTER:
            return []
        smallest = 0.0 if thorough else SMALLEST_LETTER / rgb.height
        try:
            with self._objc.autorelease_pool():  # what Vision makes for one image goes before the next one
                found = [words for seen in self._observe(data, smallest) if (words := _words(seen))]
        except EngineError:
            raise
        except Exception as error:  # PyObjC turns Objective-C exceptions into objc.error, ValueError and others
            raise EngineError(f"Apple Vision failed on an image of {rgb.size} pixels: {error}") from error
        order = blocks([_around(words) for words in found], rgb.size)
        return [Line(found[i], number) for number, block in enumerate(order) for i in block]

    def close(self) -> None:
        """Nothing is held between two images; a closed recogniser reads no more."""
        self._closed = True

    def _request(self, smallest: float = 0.0) -> Any:
        """Gives a request for text from this height on, as a fraction of the image's height."""
        vision = self._vision
        request = vision.VNRecognizeTextRequest.alloc().init()
        if vision.VNRecognizeTextRequest.supportedRevisions().containsIndex_(vision.VNRecognizeTextRequestRevision3):
            request.setRevision_(vision.VNRecognizeTextRequestRevision3)
            request.setAutomaticallyDetectsLanguage_(self._detect)
        request.setRecognitionLevel_(vision.VNRequestTextRecognitionLevelAccurate)
        request.setRecognitionLanguages_(self._languages)
        request.setUsesLanguageCorrection_(True)
        request.setMinimumTextHeight_(smallest)
        return request

    def _observe(self, data: bytes, smallest: float) -> list[Any]:
        """Gives the VNRecognizedTextObservations of an image, in Vision's order, which means nothing."""
        request = self._request(smallest)
        pixels = self._foundation.NSData.dataWithBytes_length_(data, len(data))
        handler = self._vision.VNImageRequestHandler.alloc().initWithData_options_(pixels, {})
        done, error = handler.performRequests_error_([request], None)
        if not done:
            raise EngineError(f"Apple Vision failed: {_said(error)}")
        return list(request.results() or ())


def _said(error: Any) -> str:
    """Gives what an NSError says, such as "The image is too small (com.apple.Vision 13)"."""
    return (
        f"{error.localizedDescription()} ({error.domain()} {error.code()})" if error is not None else "no reason given"
    )


def _tiff(rgb: Image.Image) -> bytes:
    """Gives the pixels as an uncompressed TIFF without metadata: 5 ms for a 2x screen, where a PNG takes 115 ms."""
    bare = rgb.copy()
    bare.info.clear()  # no colour profile, no EXIF orientation: the image is upright already
    out = io.BytesIO()
    bare.save(out, "TIFF")
    return out.getvalue()


# --- words and boxes --------------------------------------------------------------------------------------------


def _words(seen: Any) -> tuple[Word, ...]:
    """Gives the words of the best candidate of one observation, left to right; none without a candidate."""
    best = next(iter(seen.topCandidates_(1) or ()), None)
    if best is None:
        return ()
    text = str(best.string())
    confidence = min(1.0, max(0.0, float(best.confidence())))
    line = _box(seen.boundingBox()) or WHOLE
    return tuple(
        Word(one_alphabet(match.group()), _word_box(best, text, match.span(), line), confidence)
        for match in re.finditer(r"\S+", text)
    )


def _word_box(best: Any, text: str, span: tuple[int, int], line: Box) -> Box:
    """Gives the box of a part of a candidate; its share of the line where Vision has none."""
    start, end = (len(text[:at].encode("utf-16-le", "surrogatepass")) // 2 for at in span)
    seen, _ = best.boundingBoxForRange_error_((start, end - start), None)
    box = _box(seen.boundingBox()) if seen is not None else None
    if box is None:
        x0, y0, x1, y1 = line
        box = x0 + (x1 - x0) * span[0] / len(text), y0, x0 + (x1 - x0) * span[1] / len(text), y1
    return box


def _box(rect: Any) -> Box | None:
    """Gives a CGRect (fractions, origin at the bottom left) as a box from the top left; None when it is empty."""
    x, y, width, height = rect.origin.x, rect.origin.y, rect.size.width, rect.size.height
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    x0, x1 = (min(1.0, max(0.0, at)) for at in (x, x + width))
    y0, y1 = (min(1.0, max(0.0, 1 - at)) for at in (y + height, y))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _around(words: tuple[Word, ...]) -> Box:
    """Gives the box around the boxes of all words."""
    lefts, tops, rights, bottoms = zip(*(word.box for word in words), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
