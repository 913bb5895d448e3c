"""A stand-in of the modules objc, Foundation and Vision, as far as ``ocr_vision`` calls them.

It is as strict as the real ones where a mistake would hide: an unknown selector, a range past the end of a string in
UTF-16 units, an error argument that is not None, or an object used after its autorelease pool was drained all raise.
Signatures and constants are those of the PyObjC wheels that ``ocr_vision`` names.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from PIL import Image

from pomnit.engines import ocr_vision
from pomnit.records import Box


@dataclass(frozen=True)
class Seen:
    """A line that the stand-in sees: text, box from the top left, confidence, and boxes of parts that are special.

    ``parts`` are by (start, length) in UTF-16 units; None where Vision would have no box. Other parts have their
    share of the line.
    """

    text: str
    box: Box
    confidence: float = 1.0
    parts: dict[tuple[int, int], Box | None] = field(default_factory=dict)
    candidates: int = 1


def rect(box: Box) -> SimpleNamespace:
    """Gives a CGRect, its origin at the bottom left, from a box whose origin is at the top left."""
    x0, y0, x1, y1 = box
    return SimpleNamespace(origin=SimpleNamespace(x=x0, y=1 - y1), size=SimpleNamespace(width=x1 - x0, height=y1 - y0))


def error(text: str, code: int) -> SimpleNamespace:
    return SimpleNamespace(localizedDescription=lambda: text, domain=lambda: "com.apple.Vision", code=lambda: code)


class FakeVision:
    """What happened in the frameworks, and what they are to do next."""

    def __init__(self, seen: Sequence[Seen] | Callable[[Image.Image], Sequence[Seen]] = ()) -> None:
        self.seen = seen
        self.known = ["en-US", "fr-FR", "ru-RU", "uk-UA"]
        self.revisions = {1, 2, 3}
        self.fails: SimpleNamespace | None = None  # the NSError of the next requests
        self.raises: Exception | None = None  # what PyObjC makes of an Objective-C exception
        self.requests: list[dict[str, Any]] = []
        self.images: list[Image.Image] = []
        self.pools = 0  # drained
        self._local = threading.local()

    def modules(self) -> dict[str, ModuleType]:
        objc, foundation, vision = (ModuleType(name) for name in ("objc", "Foundation", "Vision"))
        objc.__dict__.update(__version__="13.0", autorelease_pool=self._pool)
        foundation.__dict__.update(NSData=SimpleNamespace(dataWithBytes_length_=self._data))
        vision.__dict__.update(
            VNRecognizeTextRequestRevision3=3,
            VNRequestTextRecognitionLevelAccurate=0,
            VNRequestTextRecognitionLevelFast=1,
            VNRecognizeTextRequest=SimpleNamespace(
                alloc=lambda: SimpleNamespace(init=lambda: _Request(self)),
                supportedRevisions=lambda: SimpleNamespace(containsIndex_=lambda index: index in self.revisions),
            ),
            VNImageRequestHandler=SimpleNamespace(
                alloc=lambda: SimpleNamespace(initWithData_options_=lambda data, options: _Handler(self, data, options))
            ),
        )
        return {"objc": objc, "Foundation": foundation, "Vision": vision}

    @contextlib.contextmanager
    def _pool(self) -> Iterator[None]:
        assert self.pool() is None, "a pool inside a pool: not what ocr_vision means to do"
        self._local.pool = SimpleNamespace(drained=False)
        try:
            yield
        finally:
            self._local.pool.drained = True
            self._local.pool = None
            self.pools += 1

    def pool(self) -> Any:
        return getattr(self._local, "pool", None)

    def _data(self, data: bytes, length: int) -> Any:
        assert length == len(data)
        return _Object(self, data=data)


class _Object:
    """Something that belongs to the pool in which it was made."""

    def __init__(self, fake: FakeVision, **values: Any) -> None:
        assert fake.pool() is not None, "an object made outside of an autorelease pool would leak"
        self._fake, self._pool, self._values = fake, fake.pool(), values

    def value(self, name: str) -> Any:
        assert not self._pool.drained, f"{name} used after its autorelease pool was drained"
        return self._values[name]


class _Request(_Object):
    """VNRecognizeTextRequest with Apple's defaults."""

    def __init__(self, fake: FakeVision) -> None:
        super().__init__(fake, results=None)
        self.settings: dict[str, Any] = {
            "revision": 1, "level": 0, "languages": ["en-US"], "detects": False, "corrects": True, "height": 1 / 32,
        }  # fmt: skip

    def setRevision_(self, revision: int) -> None:  # noqa: N802 selectors have their own spelling
        assert revision in self._fake.revisions
        self.settings["revision"] = revision

    def setRecognitionLevel_(self, level: int) -> None:  # noqa: N802
        self.settings["level"] = level

    def setRecognitionLanguages_(self, languages: list[str]) -> None:  # noqa: N802
        assert isinstance(languages, list)
        self.settings["languages"] = languages

    def setAutomaticallyDetectsLanguage_(self, on: bool) -> None:  # noqa: N802
        assert self.settings["revision"] == 3
        self.settings["detects"] = on

    def setUsesLanguageCorrection_(self, on: bool) -> None:  # noqa: N802
        self.settings["corrects"] = on

    def setMinimumTextHeight_(self, height: float) -> None:  # noqa: N802
        assert 0 <= height <= 1
        self.settings["height"] = height

    def supportedRecognitionLanguagesAndReturnError_(self, out: None) -> tuple[list[str] | None, Any]:  # noqa: N802
        assert out is None
        if self._fake.fails:
            return None, self._fake.fails
        return [name for name in self._fake.known if name == "en-US" or self.settings["revision"] == 3], None

    def results(self) -> Any:
        return self.value("results")


class _Handler(_Object):
    """VNImageRequestHandler over the bytes of an image file."""

    def __init__(self, fake: FakeVision, data: _Object, options: dict[str, Any]) -> None:
        super().__init__(fake)
        assert options == {}
        self.image = Image.open(io.BytesIO(data.value("data")))
        self.image.load()

    def performRequests_error_(self, requests: list[_Request], out: None) -> tuple[bool, Any]:  # noqa: N802
        assert out is None
        fake = self._fake
        if fake.raises:
            raise fake.raises
        if fake.fails:
            return False, fake.fails
        (request,) = requests
        fake.requests.append(request.settings)
        fake.images.append(self.image)
        seen = fake.seen(self.image) if callable(fake.seen) else fake.seen
        request._values["results"] = [_Observation(fake, line) for line in seen] or None
        return True, None


class _Observation(_Object):
    """VNRecognizedTextObservation."""

    def __init__(self, fake: FakeVision, line: Seen) -> None:
        super().__init__(fake, line=line)

    def boundingBox(self) -> SimpleNamespace:  # noqa: N802
        return rect(self.value("line").box)

    def topCandidates_(self, most: int) -> list[Any]:  # noqa: N802
        line: Seen = self.value("line")
        return [_Text(self._fake, line=line)][: min(most, line.candidates)]


class _Text(_Object):
    """VNRecognizedText."""

    def string(self) -> str:
        return self.value("line").text

    def confidence(self) -> float:
        return self.value("line").confidence

    def boundingBoxForRange_error_(self, span: tuple[int, int], out: None) -> tuple[Any, Any]:  # noqa: N802
        assert out is None
        start, length = span
        line: Seen = self.value("line")
        units = len(line.text.encode("utf-16-le")) // 2
        if length < 1 or start + length > units:
            return None, error("the range is outside of the string", 14)
        x0, y0, x1, y1 = line.box
        share = (x0 + (x1 - x0) * start / units, y0, x0 + (x1 - x0) * (start + length) / units, y1)
        box = line.parts.get((start, length), share)
        if box is None:
            return None, None
        return SimpleNamespace(boundingBox=lambda: rect(box)), None


@contextlib.contextmanager
def installed(fake: FakeVision) -> Iterator[None]:
    """Makes ``ocr_vision`` believe that this is a Mac whose frameworks are ``fake``."""
    with mock.patch.dict("sys.modules", fake.modules()), mock.patch.object(ocr_vision, "on_macos", return_value=True):
        yield


def recogniser(fake: FakeVision, **options: Any) -> ocr_vision.VisionRecogniser:
    with installed(fake):
        return ocr_vision.VisionRecogniser(**options)
