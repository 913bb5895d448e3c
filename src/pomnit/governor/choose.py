"""What there is to choose from, how each model is run on this machine, and why.

Which runtime serves a model is decided here, with the reason, which ``status`` and ``doctor`` show. Nothing is loaded.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomnit.engines.protocols import Answerer, Encoder, Recogniser, Reranker, Transcriber
from pomnit.errors import EngineError, EngineMissing, UsageError
from pomnit.governor import answering
from pomnit.governor.answering import Answering
from pomnit.governor.budget import detect
from pomnit.governor.machine import machine
from pomnit.governor.plans import Job, Plan
from pomnit.models.cards import (
    ALL_MINILM_L6_V2,
    ENCODERS,
    RERANKERS,
    SPEECH,
    EncoderCard,
    RerankerCard,
    SpeechCard,
    TextCard,
    Variant,
)
from pomnit.records import Choice
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.models.cards import Runtime
    from pomnit.models.hub import ModelFiles

_ONNX_BITS = (4, 8, 16, 32)
_GIVEN_BITS = 32  # of an engine that was handed in, whatever it is


class Chooser:
    """Says which engine serves a job on this machine."""

    def __init__(self, settings: Settings, engines: Mapping[Job, Any] | None = None) -> None:
        """``engines`` are ready engines to use instead of loading, as tests do with the fakes: one for a job, or a
        list of encoders or rerankers with different cards, the first of which is the default.
        """
        given = dict(engines or {})
        self._settings = settings
        self._recogniser: Recogniser | None = given.get("recognise")
        self._transcriber: Transcriber | None = given.get("transcribe")
        self._answerer: Answerer | None = given.get("answer")
        self._encoders: dict[str, Encoder] = {e.card.name: e for e in _listed(given.get("embed"))}
        self._rerankers: dict[str, Reranker] = {e.card.name: e for e in _listed(given.get("rerank"))}

    @property
    def default(self) -> EncoderCard:
        """The encoder of a memory that was not told to use another one."""
        return next((engine.card for engine in self._encoders.values()), ALL_MINILM_L6_V2)

    def encoder_card(self, name: str) -> EncoderCard | None:
        """Gives the card of an encoder by its name, None when there is none."""
        return self._encoders[name].card if name in self._encoders else ENCODERS.get(name)

    def reranker_card(self, name: str) -> RerankerCard | None:
        """Gives the card of a reranker by its name, None when there is none."""
        return self._rerankers[name].card if name in self._rerankers else RERANKERS.get(name)

    def variant(self, card: TextCard, bits: int | None = None) -> Variant:
        """Gives how a card is run here: ``bits`` of a weight, else those of the settings (encoders), else its own."""
        if card.name in self._encoders or card.name in self._rerankers:
            return Variant(card, "given", _GIVEN_BITS)
        if card.made_for is not None:  # published in this form only
            return Variant(card, card.made_for, card.bits)
        asked = self._settings.bits if isinstance(card, EncoderCard) else None
        return Variant(card, self._runtime(), bits or asked or card.bits)

    def _runtime(self) -> Runtime:
        """Gives what models of texts run on, by what is installed, not by whether it loads.

        It names the space: were ONNX Runtime to step in when MLX cannot be loaded, a memory would change its space
        from one day to the next. And a search whose words suffice need not import MLX to know it.
        """
        asked = self._settings.runtime
        if asked != "auto":
            return asked
        return "mlx" if on_apple_silicon() and importlib.util.find_spec("mlx") is not None else "onnx"

    def check(self, variant: Variant) -> None:
        """Refuses what cannot be run here; loads nothing.

        Raises:
            EngineMissing, ModelDamaged: with what to do next.
        """
        if variant.runtime != "given":
            self._files(variant)
        elif variant.card.name not in self._encoders and variant.card.name not in self._rerankers:
            raise EngineMissing(f"{variant.card.name} was handed in by a program that is not this one")

    def at_once(self, card: RerankerCard) -> int:
        """Gives how many texts a reranker reads in the time of one."""
        return self._settings.threads if self.variant(card).runtime == "onnx" else 1

    # Plans

    def recogniser_plan(self) -> Plan:
        """Gives how the recogniser is made.

        Raises:
            EngineMissing: it is not installed, with the command that installs it.
        """
        from pomnit.engines import ocr_vision

        wanted, threads = self._settings.recogniser, self._settings.threads
        if wanted == "vision" or (wanted == "auto" and ocr_vision.on_macos()):
            try:
                ocr_vision.VisionRecogniser().close()  # a macOS may know no Russian; asking takes a moment
                return Plan("recognise", _VISION, "vision", threads)
            except EngineMissing:
                if wanted == "vision":
                    raise
        return Plan("recognise", _TESSERACT, "tesseract", threads, _tessdata(self._settings))

    def speech_card(self) -> SpeechCard:
        """Gives the model that transcribes: the one of the settings or of the profile.

        On Apple silicon it is the one for MLX that is tried first. Where the profile's is not here, others are tried:
        the largest of those that are smaller, else the smallest.

        Raises:
            EngineMissing: the settings name one that is not known.
        """
        from pomnit.models import hub

        if self._transcriber is not None:
            return self._transcriber.card
        s = self._settings
        if s.speech != "auto":
            if (card := SPEECH.get(s.speech)) is None:
                raise EngineMissing(f"speech = {s.speech!r:.80} in the settings; models: auto, {', '.join(SPEECH)}")
            return card
        name = detect(machine(), s.profile, s.budget).profile.speech
        by_mlx = on_apple_silicon() and importlib.util.find_spec("mlx") is not None
        usable = [card for card in SPEECH.values() if by_mlx or card.runtime != "mlx"]
        here = [c for c in usable if hub.state(c, s.models, s.cache, runtime=None, bits=c.bits).state == "ready"]
        here.sort(key=lambda card: card.runtime != "mlx")  # of two that are as large, the first is taken
        wanted = [SPEECH[f"{name}-mlx"], SPEECH[name]] if by_mlx else [SPEECH[name]]
        for card in wanted:
            if card in here or not here:
                return card
        smaller = [card for card in here if card.parameters <= wanted[0].parameters]
        return max(smaller, key=lambda c: c.parameters) if smaller else min(here, key=lambda c: c.parameters)

    def check_transcriber(self) -> None:
        """Refuses to transcribe where it cannot be done; loads nothing.

        Raises:
            EngineMissing, ModelDamaged: with what to do next.
        """
        if self._transcriber is None:
            self.transcriber_plan()

    def transcriber_plan(self) -> Plan:
        """Gives how the model that transcribes is made.

        Raises:
            EngineMissing, ModelDamaged.
        """
        from pomnit.models import hub

        card, s = self.speech_card(), self._settings
        check_speech(card)
        files = hub.published(card, s.models, s.cache)
        name = f"{card.name} {card.runtime}-{card.bits}"
        if card.runtime == "mlx":
            return Plan("transcribe", name, "mlx", 1, files.folder, card, card.bits, files.digest)
        return Plan("transcribe", name, "faster-whisper", s.threads, files.folder, card, card.bits, files.digest)

    def answering(self, name: str | None = None) -> Answering:
        """Gives who answers questions, and why: by ``name``, else by the settings; asks nobody and loads nothing.

        Raises:
            EngineMissing: nobody does but the extractive answerer; says why, and what could be done.
        """
        return answering.chosen(self._settings, name, self._answerer)

    def plan(self, variant: Variant) -> Plan:
        """Gives how a model of texts is made; what ONNX Runtime needs is built when it is not there yet.

        Raises:
            EngineMissing, ModelDamaged.
        """
        card, files = variant.card, self._files(variant)
        job: Job = "embed" if isinstance(card, EncoderCard) else "rerank"
        if variant.runtime == "mlx":
            return Plan(job, variant.name, "mlx", 1, files.folder, card, variant.bits, files.digest)
        folder = self._graph(variant, files)
        return Plan(job, variant.name, "onnx", self._settings.threads, folder, card, variant.bits, files.digest)

    def _files(self, variant: Variant) -> ModelFiles:
        """Gives the files of a model that can be run here.

        Raises:
            EngineMissing, ModelDamaged.
        """
        from pomnit.models import hub

        check_runtime(variant)
        s = self._settings
        runtime: Runtime = "mlx" if variant.runtime == "mlx" else "onnx"
        return hub.find(variant.card, s.models, s.cache, runtime=runtime, bits=variant.bits)

    def _graph(self, variant: Variant, files: ModelFiles) -> Path:
        """Gives the folder that ONNX Runtime reads, made when it is not there."""
        from pomnit.engines import onnx_build

        if files.form == "onnx":
            return files.folder
        return onnx_build.prepared(variant.card, files, variant.bits, self._settings.cache)

    # What is chosen, and why

    def choices(self, encoder: Variant | None = None, reranker: RerankerCard | None = None) -> list[Choice]:
        """Gives what would serve each job, without loading it; no reranker need be in use."""
        found = [self._choose_recogniser(), self._choose("embed", encoder or self.variant(self.default))]
        found += [] if reranker is None else [self._choose("rerank", self.variant(reranker))]
        return [*found, self._choose_transcriber(), self._choose_answerer()]

    def _choose_answerer(self) -> Choice:
        try:
            chosen = self.answering()
        except EngineMissing as error:
            asked = self._settings.answerer in ("auto", answering.EXTRACTIVE)
            return Choice("answer", answering.EXTRACTIVE, "", str(error), asked)
        return Choice("answer", chosen.name, chosen.runtime, chosen.reason, True)

    def _choose_transcriber(self) -> Choice:
        if self._transcriber is not None:
            return Choice("transcribe", self._transcriber.card.name, "given", "handed in by the program", True)
        name = self._settings.speech
        try:
            name = self.speech_card().name
            plan = self.transcriber_plan()
        except (EngineError, UsageError) as error:
            return Choice("transcribe", name, "", str(error), False)
        why = "by the profile and what is here" if self._settings.speech == "auto" else "asked for in the settings"
        runtime = _RUNTIMES["mlx"] if plan.kind == "mlx" else f"CTranslate2 {version('ctranslate2')} (CPU)"
        return Choice("transcribe", plan.name, runtime, f"{why}, {plan.bits} bits; files in {plan.folder}", True)

    def _choose_recogniser(self) -> Choice:
        if self._recogniser is not None:
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

    def _choose(self, job: Job, variant: Variant) -> Choice:
        """Gives how a model of texts is run."""
        try:
            if variant.runtime == "given":
                self.check(variant)
                return Choice(job, variant.card.name, "given", "handed in by the program", True)
            folder = self._files(variant).folder
        except EngineError as error:
            return Choice(job, variant.card.name, "", str(error), False)
        asked, card = self._settings.runtime, variant.card
        why = [_RUNTIME_REASONS[variant.runtime] if asked == "auto" else f"runtime = {asked} in the settings"]
        if card.made_for is not None:
            why = [f"published for {_RUNTIMES[card.made_for]}"]
        why += [f"{variant.bits} bits, {'its default' if variant.bits == card.bits else 'which were asked for'}"]
        return Choice(job, variant.name, _RUNTIMES[variant.runtime], f"{', '.join(why)}; files in {folder}", True)


_VISION = "Apple Vision ru-RU and en-US"
_TESSERACT = "Tesseract rus+eng"
_RUNTIMES = {"onnx": "ONNX Runtime (CPU)", "mlx": "MLX (GPU)"}
_RUNTIME_REASONS = {"mlx": "Apple silicon: MLX", "onnx": "a processor: ONNX Runtime"}


def _listed(given: Any) -> list[Any]:
    """Gives the engines that were handed in for a job."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def on_apple_silicon() -> bool:
    """Says whether this is a Mac with a chip of Apple's."""
    return (platform.system(), platform.machine()) == ("Darwin", "arm64")


def check_runtime(variant: Variant) -> None:
    """Refuses a runtime where it would be of no use or is not installed, and bits that it does not have.

    Raises:
        EngineMissing.
    """
    if variant.runtime == "onnx" and variant.bits not in _ONNX_BITS:
        raise EngineMissing(
            f"{variant.name}: ONNX Runtime has no products of {variant.bits} bits; choose "
            f"{', '.join(map(str, _ONNX_BITS))}"
        )
    if variant.runtime == "mlx":
        then = "choose a model of another form" if variant.card.made_for else "set runtime = auto or onnx"
        _check_mlx(variant.card.name if variant.card.made_for else "", then)


def _check_mlx(model: str, then: str) -> None:
    """Refuses MLX where it would be of no use or is not installed.

    Raises:
        EngineMissing: says what else can be done, ``then``.
    """
    what = f"{model}: " if model else ""
    if not on_apple_silicon():
        here = f"{platform.system()} on {platform.machine()}"
        raise EngineMissing(f"{what}MLX needs Apple silicon, and this is {here}; {then}")
    if importlib.util.find_spec("mlx") is None:
        raise EngineMissing(f"{what}mlx is not installed; type: pip install mlx, or {then}")


def check_speech(card: SpeechCard | None = None) -> None:
    """Refuses to transcribe where the packages for it are not installed, or what this model runs on is not here.

    Raises:
        EngineMissing.
    """
    if lacking := [name for name in ("faster_whisper", "ctranslate2", "av") if importlib.util.find_spec(name) is None]:
        names = ", ".join(name.replace("_", "-") for name in lacking)
        raise EngineMissing(f"speech: {names} not installed; type: pip install 'pomnit[speech]'")
    if card is not None and card.runtime == "mlx":
        _check_mlx(card.name, f"set speech = {card.name.removesuffix('-mlx')}")


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
