"""Leases: the right to use an engine for a while. Only here are engines made.

One heavy stage after the other: a lease of another job unloads the engine of the last one, so that a drain holds one
engine at a time. Which runtime serves a job is decided here, with the reason, which ``status`` and ``doctor`` show.
"""

from __future__ import annotations

import contextlib
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
        return "fake" if "embed" in self._given else self._settings.precision

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
        from pomnit.engines import ocr_tesseract

        return ocr_tesseract.TesseractRecogniser(_tessdata(self._settings))

    def _make_encoder(self) -> Encoder:
        from pomnit.engines import encoder_onnx
        from pomnit.models import hub

        s = self._settings
        files = hub.model_files(self.card, s.cache, s.model)
        return encoder_onnx.OnnxEncoder(self.card, files, s.cache, s.precision, s.threads)

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
        from pomnit.engines import ocr_tesseract

        try:
            tessdata = _tessdata(self._settings)
            version = ocr_tesseract.version()
        except EngineError as error:
            return Choice("recognise", "Tesseract rus+eng", "", str(error), False)
        return Choice("recognise", "Tesseract rus+eng", f"tesserocr {version}", f"language files in {tessdata}", True)

    def _choose_encoder(self) -> Choice:
        card = self.card
        if "embed" in self._given:
            return Choice("embed", card.name, "given", "handed in by the program", True)
        from pomnit.models import hub

        try:
            files = hub.model_files(card, self._settings.cache, self._settings.model)
        except EngineError as error:
            return Choice("embed", card.name, "", str(error), False)
        why = (
            "the processor's default: dynamic int8"
            if self._settings.precision == "int8"
            else "asked for in the settings"
        )
        return Choice(
            "embed", f"{card.name} {self._settings.precision}", "ONNX Runtime (CPU)", f"{why}; files in {files}", True
        )


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
