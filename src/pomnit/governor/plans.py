"""Engines that are to be made: all that is needed for it, in this process or in a child."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pomnit.models.cards import Card, EncoderCard, RerankerCard, SpeechCard, VisionCard

Job = Literal["recognise", "transcribe", "embed", "rerank", "answer"]
JOBS: tuple[Job, ...] = ("recognise", "transcribe", "embed", "rerank", "answer")
_CARDS: dict[str, Callable[..., Card]] = {
    "transcribe": SpeechCard,
    "embed": EncoderCard,
    "rerank": RerankerCard,
    "answer": VisionCard,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make one engine."""

    job: Job
    name: str  # what a person calls it; two plans of one name make the same engine
    kind: Literal["tesseract", "vision", "faster-whisper", "onnx", "mlx", "mlx-vlm"]
    threads: int
    folder: Path | None = None  # of the model's files, or of Tesseract's language files
    card: Card | None = None
    bits: int = 0
    digest: str = ""  # of the model's files
    tokens: int = 0  # that one answer takes at most, with all that it rests on
    pixels: int = 0  # of all pictures that are looked at for it
    side: int = 0  # of the longer side of each

    @property
    def key(self) -> str:
        """What its measured memory is kept under."""
        return f"{self.name} {self.digest or self.threads}"

    def make(self) -> Any:
        """Makes the engine in this process.

        Raises:
            EngineError: and those below it.
        """
        return _MAKERS[self.job, self.kind](self)

    def to_json(self) -> dict[str, Any]:
        """Gives what ``from_json`` makes the plan of again, in another process."""
        return dataclasses.asdict(self) | {"folder": str(self.folder) if self.folder else None}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Plan:
        """Gives the plan that ``to_json`` described."""
        fields = dict(plain)
        fields["folder"] = Path(plain["folder"]) if plain["folder"] else None
        if plain["card"] is not None:
            card = {key: tuple(value) if isinstance(value, list) else value for key, value in plain["card"].items()}
            fields["card"] = _CARDS[plain["job"]](**card)
        return cls(**fields)


def _tesseract(plan: Plan) -> Any:
    from pomnit.engines.ocr_tesseract import TesseractRecogniser

    assert plan.folder is not None
    return TesseractRecogniser(plan.folder)


def _vision(_: Plan) -> Any:
    from pomnit.engines.ocr_vision import VisionRecogniser

    return VisionRecogniser()


def _faster_whisper(plan: Plan) -> Any:
    from pomnit.engines.transcriber_faster_whisper import FasterWhisperTranscriber

    assert isinstance(plan.card, SpeechCard)
    assert plan.folder is not None
    return FasterWhisperTranscriber(plan.card, plan.folder, plan.threads)


def _mlx_transcriber(plan: Plan) -> Any:
    from pomnit.engines.transcriber_mlx import MlxTranscriber

    assert isinstance(plan.card, SpeechCard)
    assert plan.folder is not None
    return MlxTranscriber(plan.card, plan.folder, plan.bits)


def _onnx_encoder(plan: Plan) -> Any:
    from pomnit.engines.encoder_onnx import OnnxEncoder

    assert isinstance(plan.card, EncoderCard)
    assert plan.folder is not None
    return OnnxEncoder(plan.card, plan.folder, plan.threads)


def _mlx_encoder(plan: Plan) -> Any:
    from pomnit.engines.encoder_mlx import MlxEncoder

    assert isinstance(plan.card, EncoderCard)
    assert plan.folder is not None
    return MlxEncoder(plan.card, plan.folder, plan.bits)


def _onnx_reranker(plan: Plan) -> Any:
    from pomnit.engines.reranker_onnx import OnnxReranker

    assert isinstance(plan.card, RerankerCard)
    assert plan.folder is not None
    return OnnxReranker(plan.card, plan.folder, plan.threads)


def _mlx_reranker(plan: Plan) -> Any:
    from pomnit.engines.reranker_mlx import MlxReranker

    assert isinstance(plan.card, RerankerCard)
    assert plan.folder is not None
    return MlxReranker(plan.card, plan.folder, plan.bits)


def _mlx_vlm_answerer(plan: Plan) -> Any:
    from pomnit.engines.answerer_mlx_vlm import MlxVlmAnswerer

    assert isinstance(plan.card, VisionCard)
    assert plan.folder is not None
    return MlxVlmAnswerer(plan.card, plan.folder, tokens=plan.tokens, pixels=plan.pixels, side=plan.side)


_MAKERS: dict[tuple[str, str], Callable[[Plan], Any]] = {
    ("recognise", "tesseract"): _tesseract,
    ("recognise", "vision"): _vision,
    ("transcribe", "faster-whisper"): _faster_whisper,
    ("transcribe", "mlx"): _mlx_transcriber,
    ("embed", "onnx"): _onnx_encoder,
    ("embed", "mlx"): _mlx_encoder,
    ("rerank", "onnx"): _onnx_reranker,
    ("rerank", "mlx"): _mlx_reranker,
    ("answer", "mlx-vlm"): _mlx_vlm_answerer,
}
