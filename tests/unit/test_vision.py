"""Apple Vision over a stand-in of its frameworks: what is asked of it, and what its answers become.

That Vision itself reads is seen only on a Mac, by ``tests/contract/test_recogniser.py``.
"""

from __future__ import annotations

import platform
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from pomnit.engines import ocr_vision
from pomnit.errors import EngineError, EngineMissing
from support.fake_vision import FakeVision, Seen, error, installed, recogniser

PAGE = Image.new("RGB", (1000, 500), "white")
LINE = (0.1, 0.2, 0.5, 0.3)


def words(fake: FakeVision, image: Image.Image = PAGE):
    return [word for line in recogniser(fake).recognise(image) for word in line.words]


def test_the_request_names_both_languages_and_asks_for_all_that_small_text_needs():
    fake = FakeVision()
    recogniser(fake).recognise(PAGE)
    assert fake.requests == [
        {
            "revision": 3,
            "level": 0,
            "languages": ["ru-RU", "en-US"],
            "detects": False,
            "corrects": True,
            "height": 5 / 500,
        }
    ]


def test_a_thorough_reading_lets_vision_see_every_pixel():
    fake = FakeVision()
    recogniser(fake).recognise(PAGE, thorough=True)
    assert fake.requests[0]["height"] == 0


def test_detection_of_the_language_can_be_switched_on():
    fake = FakeVision()
    recogniser(fake, detect_language=True).recognise(PAGE)
    assert fake.requests[0]["detects"] is True
    assert fake.requests[0]["languages"] == ["ru-RU", "en-US"]


def test_a_box_is_turned_from_the_bottom_left_to_the_top_left():
    (word,) = words(FakeVision([Seen("привет", LINE, 0.5)]))
    assert word.text == "привет"
    assert word.box == pytest.approx(LINE)
    assert word.confidence == 0.5


def test_each_word_has_its_own_box_also_behind_a_letter_of_two_utf16_units():
    line = Seen("😀 ab  привет", (0.0, 0.0, 0.65, 0.1), parts={(3, 2): (0.2, 0.0, 0.3, 0.1)})  # 13 units
    found = words(FakeVision([line]))
    assert [word.text for word in found] == ["😀", "ab", "привет"]
    assert np.allclose([word.box[::2] for word in found], [(0.0, 0.1), (0.2, 0.3), (0.35, 0.65)])


@pytest.mark.parametrize("part", [None, (0.5, 0.2, 0.5, 0.3), (float("nan"), 0.2, 0.5, 0.3), (1.2, 0.2, 1.4, 0.3)])
def test_a_word_without_a_proper_box_gets_its_share_of_the_line(part):
    found = words(FakeVision([Seen("ab cd", LINE, parts={(3, 2): part})]))
    assert found[1].box == pytest.approx((0.1 + 0.4 * 3 / 5, 0.2, 0.5, 0.3))


def test_what_reaches_over_the_edge_is_cut_off_there():
    found = words(FakeVision([Seen("край", (-0.05, -0.02, 1.04, 0.1), 1.5)]))
    assert found[0].box == pytest.approx((0, 0, 1, 0.1))
    assert found[0].confidence == 1


def test_lines_come_in_reading_order_whatever_vision_says_first():
    lines = [
        Seen("footer", (0.1, 0.90, 0.4, 0.93)),
        Seen("second line of it", (0.1, 0.24, 0.5, 0.27)),
        Seen("right", (0.6, 0.10, 0.7, 0.13)),
        Seen("Title", (0.1, 0.10, 0.3, 0.13)),
        Seen("first line of a text", (0.1, 0.20, 0.5, 0.23)),
    ]
    read = recogniser(FakeVision(lines)).recognise(PAGE)
    assert [line.words[0].text for line in read] == ["Title", "right", "first", "second", "footer"]
    assert [line.block for line in read] == [0, 0, 1, 1, 2]


def test_letters_of_the_wrong_alphabet_are_mended():
    assert [word.text for word in words(FakeVision([Seen("Mосква сontext", LINE)]))] == ["Москва", "context"]


@pytest.mark.parametrize(
    "seen", [[], [Seen("", LINE)], [Seen(" \n", LINE)], [Seen("no candidate", LINE, candidates=0)]]
)
def test_an_image_without_text_gives_no_lines(seen):
    assert recogniser(FakeVision(seen)).recognise(PAGE) == []


def test_an_error_of_vision_is_told_with_its_number():
    fake = FakeVision()
    engine = recogniser(fake)
    fake.fails = error("The image is too small", 13)
    with pytest.raises(EngineError, match=r"The image is too small \(com\.apple\.Vision 13\)"):
        engine.recognise(PAGE)
    fake.fails = None
    assert engine.recognise(PAGE) == []


def test_an_objective_c_exception_is_an_engine_error():
    fake = FakeVision()
    engine = recogniser(fake)
    fake.raises = ValueError("NSInvalidArgumentException - out of bounds")
    with pytest.raises(EngineError, match="NSInvalidArgumentException"):
        engine.recognise(PAGE)


def test_every_image_has_a_pool_of_its_own_also_when_it_fails():
    fake = FakeVision([Seen("a", LINE)])
    engine = recogniser(fake)
    assert fake.pools == 1
    engine.recognise(PAGE)
    engine.recognise(PAGE)
    assert fake.pools == 3
    fake.fails = error("no", 3)
    with pytest.raises(EngineError):
        engine.recognise(PAGE)
    assert fake.pools == 4
    assert fake.pool() is None


def test_vision_gets_the_pixels_as_they_are_without_profile_or_orientation(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(noise).save(tmp_path / "a.tiff", exif=exif, icc_profile=b"not a profile")
    fake = FakeVision()
    with Image.open(tmp_path / "a.tiff") as image:
        recogniser(fake).recognise(image)  # Pillow turns a TIFF upright when it loads it
    assert np.array_equal(np.asarray(fake.images[0]), np.rot90(noise, -1))
    assert 0x0112 not in fake.images[0].getexif()
    assert "icc_profile" not in fake.images[0].info


def test_an_image_too_small_for_a_letter_is_not_shown_to_vision():
    fake = FakeVision([Seen("a", LINE)])
    assert recogniser(fake).recognise(Image.new("RGB", (4, 900))) == []
    assert fake.requests == []


def test_threads_share_no_request():
    fake = FakeVision(lambda image: [Seen(str(image.width), LINE)])
    engine = recogniser(fake)
    found = {}
    workers = [
        threading.Thread(target=lambda i=i: found.update({i: engine.recognise(Image.new("RGB", (100 + i, 50)))}))
        for i in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {i: found[i][0].words[0].text for i in range(6)} == {i: str(100 + i) for i in range(6)}


def test_a_closed_recogniser_refuses():
    engine = recogniser(FakeVision())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.recognise(PAGE)


@pytest.mark.parametrize("change", [{"known": ["en-US"]}, {"revisions": {1, 2}}])
def test_a_macos_that_cannot_read_russian_is_named_with_what_to_do(change, monkeypatch):
    monkeypatch.setattr(platform, "mac_ver", lambda: ("12.7", ("", "", ""), "arm64"))
    fake = FakeVision()
    for name, value in change.items():
        setattr(fake, name, value)
    with pytest.raises(EngineMissing, match=r"macOS 12\.7 does not read ru-RU.*macOS 13.*recogniser = tesseract"):
        recogniser(fake)


def test_without_pyobjc_the_command_that_installs_it_is_named(monkeypatch):
    with installed(FakeVision()):
        monkeypatch.setitem(sys.modules, "Vision", None)
        with pytest.raises(EngineMissing, match="type: pip install pyobjc-framework-Vision"):
            ocr_vision.version()


def test_elsewhere_than_on_macos_it_says_so(monkeypatch):
    monkeypatch.setattr(ocr_vision, "on_macos", lambda: False)
    with pytest.raises(EngineMissing, match="Apple Vision is a part of macOS"):
        ocr_vision.VisionRecogniser()
