"""Leases: the right to use an engine for a while. Only here are engines made.

One heavy stage after the other: a lease of another job unloads the engine of the last one, so that a drain holds one
engine at a time. Which runtime serves a job is decided here, with the reason, which ``status`` and ``doctor`` show.
"""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pomnit.engines.protocols import Encoder, Recogniser
from pomnit.errors import EngineError, EngineMissing
from pomnit.models.cards import ALL_MINILM_L6_V2, EncoderCard
from pomnit.records import Choice
from pomnit.settings import Settings

Job = Literal["recognise", "embed"]
JOBS: tuple[Job, ...] = ("recognise", "embed")


class Governor:
    """Loads engines and takes them away again. One lease at a time; a second thread waits."""

    def __init__(self, settings: Settings, *, engines: dict[Job, Any] | None = None) -> None:
        """``engines`` are ready engines to use instead of loading, as tests do with the fakes."""
        self._settings = settings
        self._given = dict(engines or {})
        self._lock = threading.RLock()
        self._loaded: tuple[Job, Any] | None = None

    @property
    def card(self) -> EncoderCard:
        """The card of the encoder in use."""
        given = self._given.get("embed")
        card: EncoderCard = given.card if given is not None else ALL_MINILM_L6_V2
        return card

    @property
    def precision(self) -> str:
        """The precision of the encoder in use; with the card it names the space."""
        if "embed" in self._given:
            return "fake"
        # MLX quantises the weights in another way, and rounds in another way in fp32: spaces of their own.
        return f"mlx-{self._settings.precision}" if self._runtime() == "mlx" else self._settings.precision

    @contextlib.contextmanager
    def recogniser(self) -> Iterator[Recogniser]:
        """Gives the recogniser for as long as the block runs.

        Raises:
            EngineMissing: it is not installed, with the command that installs it.
        """
        with self._lock:
            yield self._load("recognise")

    @contextlib.contextmanager
    def encoder(self) -> Iterator[Encoder]:
        """Gives the encoder for as long as the block runs.

        Raises:
            EngineMissing, ModelDamaged.
        """
        with self._lock:
            yield self._load("embed")

    def _load(self, job: Job) -> Any:
        if job in self._given:
            return self._given[job]
        if self._loaded and self._loaded[0] == job:
            return self._loaded[1]
        self.unload()
        self._loaded = (job, self._make_recogniser() if job == "recognise" else self._make_encoder())
        return self._loaded[1]

    def _make_recogniser(self) -> Recogniser:
        from pomnit.engines import ocr_tesseract, ocr_vision

        wanted = self._settings.recogniser
        if wanted == "vision" or (wanted == "auto" and ocr_vision.on_macos()):
            try:
                return ocr_vision.VisionRecogniser()
            except EngineMissing:
                if wanted == "vision":
                    raise
        return ocr_tesseract.TesseractRecogniser(_tessdata(self._settings))

    def _make_encoder(self) -> Encoder:
        from pomnit.models import hub

        s = self._settings
        files = hub.model_files(self.card, s.cache, s.model)
        if self._runtime() == "mlx":
            _check_mlx()
            from pomnit.engines import encoder_mlx

            return encoder_mlx.MlxEncoder(self.card, files, s.precision)
        from pomnit.engines import encoder_onnx

        return encoder_onnx.OnnxEncoder(self.card, files, s.cache, s.precision, s.threads)

    def _runtime(self) -> Literal["onnx", "mlx"]:
        """Gives what the encoder runs on, by what is installed, not by whether it loads.

        It names the space: were ONNX Runtime to step in when MLX cannot be loaded, a memory would change its space
        from one day to the next. And a search whose words suffice need not import MLX to know it.
        """
        asked = self._settings.runtime
        if asked != "auto":
            return asked
        return "mlx" if on_apple_silicon() and importlib.util.find_spec("mlx") is not None else "onnx"

    def unload(self) -> None:
        """Takes the loaded engine away."""
        with self._lock:
            if self._loaded:
                self._loaded[1].close()
                self._loaded = None

    def choices(self) -> list[Choice]:
        """Gives what would serve each job, without loading it."""
        return [self._choose_recogniser(), self._choose_encoder()]

    def _choose_recogniser(self) -> Choice:
        if "recognise" in self._given:
            return Choice("recognise", "given", "given", "handed in by the program", True)
        from pomnit.engines import ocr_vision

        wanted = self._settings.recogniser
        without = ""
        if wanted == "vision" or (wanted == "auto" and ocr_vision.on_macos()):
            try:
                return _vision(wanted)
            except EngineMissing as error:
                if wanted == "vision":
                    return Choice("recognise", _VISION, "", str(error), False)
                without = f"; {str(error).partition('; type: ')[0]}"
        elif wanted == "tesseract":
            without = "; asked for in the settings"
        return _tesseract(self._settings, without)

    def _choose_encoder(self) -> Choice:
        card, s = self.card, self._settings
        if "embed" in self._given:
            return Choice("embed", card.name, "given", "handed in by the program", True)
        from pomnit.models import hub

        runtime = self._runtime()
        try:
            files = hub.model_files(card, s.cache, s.model)
            if runtime == "mlx":
                _check_mlx()
        except EngineError as error:
            return Choice("embed", card.name, "", str(error), False)
        why = [_RUNTIME_REASONS[runtime] if s.runtime == "auto" else f"runtime = {runtime} in the settings"]
        why += ["the default precision" if s.precision == "int8" else "precision asked for in the settings"]
        name = {"onnx": "ONNX Runtime (CPU)", "mlx": "MLX (GPU)"}[runtime]
        return Choice("embed", f"{card.name} {s.precision}", name, f"{', '.join(why)}; files in {files}", True)


_VISION = "Apple Vision ru-RU and en-US"
_TESSERACT = "Tesseract rus+eng"
_RUNTIME_REASONS = {"mlx": "Apple silicon: MLX", "onnx": "a processor: ONNX Runtime"}


def on_apple_silicon() -> bool:
    """Says whether this is a Mac with a chip of Apple's."""
    return (platform.system(), platform.machine()) == ("Darwin", "arm64")


def _check_mlx() -> None:
    """Refuses MLX where it would be of no use or is not installed.

    Raises:
        EngineMissing.
    """
    if not on_apple_silicon():
        here = f"{platform.system()} on {platform.machine()}"
        raise EngineMissing(f"MLX needs Apple silicon, and this is {here}; set runtime = auto or onnx")
    if importlib.util.find_spec("mlx") is None:
        raise EngineMissing("mlx is not installed; type: pip install mlx, or set runtime = onnx")


def _vision(wanted: str) -> Choice:
    """Gives the choice of Apple Vision.

    Raises:
        EngineMissing: it cannot be imported.
    """
    from pomnit.engines import ocr_vision

    reason = "macOS: Apple Vision, ru-RU and en-US" if wanted == "auto" else "asked for in the settings"
    return Choice("recognise", _VISION, f"PyObjC {ocr_vision.version()}", reason, True)


def _tesseract(settings: Settings, without: str) -> Choice:
    """Gives the choice of Tesseract; ``without`` says why no other was chosen."""
    from pomnit.engines import ocr_tesseract

    try:
        tessdata = _tessdata(settings)
        runtime = f"tesserocr {ocr_tesseract.version()}"
    except EngineError as error:
        return Choice("recognise", _TESSERACT, "", str(error), False)
    return Choice("recognise", _TESSERACT, runtime, f"language files in {tessdata}{without}", True)


def _tessdata(settings: Settings) -> Path:
    """Gives the folder of Tesseract's language files.

    Raises:
        EngineMissing: there is none, with the command that installs them.
    """
    from pomnit.engines import ocr_tesseract

    tessdata = ocr_tesseract.find_tessdata(settings.tessdata)
    if tessdata is None:
        how = ocr_tesseract.how_to_install(ocr_tesseract.LANGUAGES)
        raise EngineMissing(f"Tesseract's language files for Russian and English are not on this machine; type: {how}")
    return tessdata
