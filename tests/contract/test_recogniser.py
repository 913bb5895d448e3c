"""What every Recogniser promises, and what is expected of one that really reads.

Another engine is added to READERS (it reads pictures) or only to ENGINES (it keeps the protocol).
"""

import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pomnit.engines import flatten, ocr_page, ocr_tesseract, ocr_vision
from pomnit.engines.fake import FakeRecogniser
from pomnit.engines.protocols import Line, Recogniser, Word
from pomnit.errors import EngineError, EngineMissing
from pomnit.governor.children import Child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import RemoteRecogniser
from support import fake_vision

GOLDEN = Path(__file__).parent.parent / "golden"
SCREENS = ("screen_light", "screen_dark", "screen_heading", "screen_cards")


def tesseract() -> Recogniser:
    tessdata = ocr_tesseract.find_tessdata()
    if tessdata is None:
        pytest.skip(f"no Russian and English for Tesseract; type: {ocr_tesseract.how_to_install()}")
    return ocr_tesseract.TesseractRecogniser(tessdata)


def child() -> Recogniser:
    """Tesseract in a process of its own."""
    tessdata = ocr_tesseract.find_tessdata()
    if tessdata is None:
        pytest.skip(f"no Russian and English for Tesseract; type: {ocr_tesseract.how_to_install()}")
    plan = Plan("recognise", "Tesseract rus+eng", "tesseract", 2, tessdata)
    return RemoteRecogniser(None, lambda: Child(plan.name, plan.to_json()))


def vision() -> Recogniser:
    try:
        return ocr_vision.VisionRecogniser()
    except EngineMissing as error:
        pytest.skip(str(error))


def vision_stand_in() -> Recogniser:
    """The engine's own code over a stand-in of the frameworks: it shows the protocol kept, not that Vision reads."""
    seen = [fake_vision.Seen("привет, мир", (0.1, 0.2, 0.5, 0.3)), fake_vision.Seen("hello", (0.1, 0.6, 0.3, 0.7))]
    return fake_vision.recogniser(fake_vision.FakeVision(seen))


def fake() -> Recogniser:
    word = Word("привет", (0.1, 0.2, 0.3, 0.4), 0.9)
    return FakeRecogniser([Line((word,), 0)])


READERS: dict[str, Callable[[], Recogniser]] = {"tesseract": tesseract, "child": child, "vision": vision}
ENGINES = {**READERS, "vision stand-in": vision_stand_in, "fake": fake}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Recogniser]:
    made = ENGINES[request.param]()
    yield made
    made.close()


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest) -> Iterator[Recogniser]:
    made = READERS[request.param]()
    yield made
    made.close()


def screen(name: str) -> Image.Image:
    return Image.open(GOLDEN / f"{name}.png").convert("RGB")


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower().replace("ё", "е")


def found(lines: list[Line]) -> list[str]:
    """The words of three letters and more: on, he, на and не may come out in the other alphabet."""
    return [text for line in lines for word in line.words if len(text := letters(word.text)) >= 3]


def same_place(box: Sequence[float], truth: Sequence[float]) -> bool:
    """Whether two boxes in pixels cover each other for the most part of the smaller one and have nearly one centre."""
    wide = min(box[2], truth[2]) - max(box[0], truth[0])
    high = min(box[3], truth[3]) - max(box[1], truth[1])
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (box, truth)]
    off_x = abs(box[0] + box[2] - truth[0] - truth[2]) / 2
    return wide > 0 and wide * high > 0.7 * min(areas) and off_x < 6 + 0.1 * (truth[2] - truth[0])


def pixels(word: Word) -> list[float]:
    """A word's box on an image of a thousand pixels each way."""
    return [at * 1000 for at in word.box]


def drawn(mode: str, ink: object, paper: object) -> Image.Image:
    """An image of any mode that says: The quick brown fox."""
    image = Image.new(mode, (420, 90), paper)  # type: ignore[arg-type]
    font = ImageFont.load_default(24)
    ImageDraw.Draw(image).text((20, 30), "The quick brown fox", font=font, fill=ink)  # type: ignore[arg-type]
    return image


# --- every engine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCREENS)
def test_every_box_lies_inside_the_image_and_every_confidence_between_0_and_1(engine: Recogniser, name: str) -> None:
    words = [word for line in engine.recognise(screen(name)) for word in line.words]
    assert words
    for word in words:
        x0, y0, x1, y1 = word.box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert 0 <= word.confidence <= 1
        assert word.text.strip() == word.text != ""


def test_no_line_is_empty_and_blocks_are_numbered_from_0_in_reading_order(engine: Recogniser) -> None:
    lines = engine.recognise(screen("screen_light"))
    blocks = [line.block for line in lines]
    assert all(line.words for line in lines)
    assert blocks == sorted(blocks)
    assert blocks[0] >= 0


def test_the_same_image_gives_the_same_lines_after_another_one(engine: Recogniser) -> None:
    first = engine.recognise(screen("screen_light"))
    engine.recognise(screen("screen_heading"))
    assert engine.recognise(screen("screen_light")) == first


def test_several_threads_at_once_get_what_one_gets(engine: Recogniser) -> None:
    alone = {name: engine.recognise(screen(name)) for name in SCREENS}
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda name: (name, engine.recognise(screen(name))), SCREENS * 3))
    assert all(lines == alone[name] for name, lines in together)


@pytest.mark.parametrize("name", SCREENS)
def test_a_thorough_reading_keeps_every_promise_and_has_no_word_twice(engine: Recogniser, name: str) -> None:
    lines = engine.recognise(screen(name), thorough=True)
    blocks = [line.block for line in lines]
    words = [word for line in lines for word in line.words]
    assert words
    assert blocks == sorted(blocks)
    assert all(0 <= word.box[0] < word.box[2] <= 1 and 0 <= word.box[1] < word.box[3] <= 1 for word in words)
    twice = [(a, b) for a, b in itertools.combinations(words, 2) if same_place(pixels(a), pixels(b))]
    assert twice == []


def test_the_image_itself_is_not_changed(engine: Recogniser) -> None:
    image = screen("screen_dark")
    before = image.tobytes()
    engine.recognise(image)
    assert (image.mode, image.tobytes()) == ("RGB", before)


@pytest.mark.parametrize("name", ENGINES)
def test_a_closed_engine_refuses_and_closes_twice_in_peace(name: str) -> None:
    engine = ENGINES[name]()
    engine.recognise(screen("screen_light"))
    engine.close()
    engine.close()
    with pytest.raises(EngineError):
        engine.recognise(screen("screen_light"))


# --- engines that read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCREENS)
def test_russian_and_english_words_are_found_where_they_stand(reader: Recogniser, name: str) -> None:
    image = screen(name)
    lines = reader.recognise(image)
    words = [(letters(word.text), np.multiply(word.box, image.size * 2)) for line in lines for word in line.words]
    missing = []
    for expected in json.loads((GOLDEN / f"{name}.json").read_text("utf-8")):
        text, (x0, y0, x1, y1) = letters(expected["text"]), expected["box"]
        if len(text) < 3:
            continue
        if not any(same_place(box, (x0, y0, x1, y1)) for box in (boxes for read, boxes in words if read == text)):
            missing.append(expected)
    assert missing == []


def test_a_dark_screen_reads_like_a_light_one(reader: Recogniser) -> None:
    assert found(reader.recognise(screen("screen_dark"))) == found(reader.recognise(screen("screen_light")))


def test_a_screen_of_twice_the_pixels_has_its_words_at_the_same_fractions(reader: Recogniser) -> None:
    small = screen("screen_light")
    large = small.resize((small.width * 2, small.height * 2), Image.Resampling.BICUBIC)
    lines, large_lines = reader.recognise(small), reader.recognise(large)
    assert found(lines) == found(large_lines)
    once, twice = ([word for line in each for word in line.words] for each in (lines, large_lines))
    assert all(np.allclose(a.box, b.box, atol=0.01) for a, b in zip(once, twice, strict=True))


def test_lines_and_words_come_in_reading_order(reader: Recogniser) -> None:
    lines = reader.recognise(screen("screen_light"))
    tops = [line.words[0].box[1] for line in lines]
    assert len(lines) == 4
    assert tops == sorted(tops)
    for line in lines:
        lefts = [word.box[0] for word in line.words]
        assert lefts == sorted(lefts)


@pytest.mark.parametrize("colour", ["white", "black", "#3366cc"])
def test_a_blank_image_gives_no_lines(reader: Recogniser, colour: str) -> None:
    assert reader.recognise(Image.new("RGB", (800, 600), colour)) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (8, 8), (6, 3000), (40, 12)])
def test_a_tiny_image_gives_lines_or_none_but_never_fails(reader: Recogniser, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for image in (Image.new("RGB", size, "white"), Image.fromarray(noise)):
        assert isinstance(reader.recognise(image), list)


@pytest.mark.parametrize(
    "image",
    [
        drawn("1", 0, 1),
        drawn("L", 255, 0),
        drawn("LA", (0, 255), (0, 0)),
        drawn("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        drawn("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        drawn("RGB", "black", "white").quantize(8),
        drawn("RGB", "black", "white").convert("CMYK"),
        Image.fromarray(np.asarray(drawn("L", 40, 200)).astype(np.uint16) * 100),
        Image.fromarray(np.asarray(drawn("L", 40, 200)).astype(np.int32) * 1000),
        Image.fromarray(np.asarray(drawn("L", 40, 200)).astype(np.float32) / 255),
    ],
    ids=["1", "L", "LA", "RGBA dark ink", "RGBA light ink", "P", "CMYK", "I;16", "I", "F"],
)
def test_an_image_of_any_mode_is_read(reader: Recogniser, image: Image.Image) -> None:
    assert found(reader.recognise(image)) == ["the", "quick", "brown", "fox"]


def test_text_on_a_dithered_screen_of_twice_the_pixels_is_found(reader: Recogniser) -> None:
    cells = (np.indices((400, 640)).sum(axis=0) % 2 * 45 + 190).astype(np.uint8)
    large = Image.fromarray(cells).resize((2560, 1600), Image.Resampling.NEAREST).convert("RGB")
    for at, text in enumerate(("Network interface restarted successfully", "Backup completed without errors") * 4):
        ImageDraw.Draw(large).text((80, 80 + 120 * at), text, font=ImageFont.load_default(32), fill="#222222")
    words = found(reader.recognise(large))
    assert len([word for word in words if word in {"network", "interface", "restarted", "backup", "completed"}]) > 18


def test_a_picture_that_cannot_be_decoded_is_an_error_and_the_next_one_is_read(reader: Recogniser) -> None:
    cut = Image.open(io.BytesIO((GOLDEN / "screen_light.png").read_bytes()[:2000]))
    with pytest.raises(EngineError, match="cannot be prepared"):
        reader.recognise(cut)
    assert len(reader.recognise(screen("screen_light"))) == 4


def test_what_is_transparent_by_one_of_its_colours_reads_as_in_the_same_process() -> None:
    """A PNG says so beside its pixels."""
    image = drawn("RGB", "white", "black")
    image.info["transparency"] = (0, 0, 0)
    both = [make() for make in (tesseract, child)]
    near, far = (engine.recognise(image) for engine in both)
    for engine in both:
        engine.close()
    assert found(near) == ["the", "quick", "brown", "fox"]
    assert far == near


def test_words_made_of_look_alikes_come_in_the_alphabet_of_their_language(reader: Recogniser) -> None:
    expected = [word["text"] for word in json.loads((GOLDEN / "screen_alphabets.json").read_text("utf-8"))]
    words = {word.text for line in reader.recognise(screen("screen_alphabets")) for word in line.words}
    assert set(expected) <= words


# --- Tesseract's own --------------------------------------------------------------------------------------------


def test_missing_languages_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    (tmp_path / "eng.traineddata").write_bytes(b"")
    with pytest.raises(EngineMissing, match=r"(?s)rus\.traineddata.*(apt-get|brew) install .*tesseract"):
        ocr_tesseract.TesseractRecogniser(tmp_path)


def test_language_files_that_are_no_models_are_an_engine_error(tmp_path: Path) -> None:
    for name in ("rus", "eng"):
        (tmp_path / f"{name}.traineddata").write_bytes(b"not a model")
    with pytest.raises(EngineError, match=re.escape(str(tmp_path))):
        ocr_tesseract.TesseractRecogniser(tmp_path).recognise(screen("screen_light"))


def test_the_named_folder_is_found_before_the_systems_and_only_when_both_languages_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, prefix = tmp_path / "named", tmp_path / "prefix"
    for folder in (named, prefix):
        folder.mkdir()
        (folder / "eng.traineddata").touch()
        (folder / "rus.traineddata").touch()
    monkeypatch.setenv("TESSDATA_PREFIX", str(prefix))
    assert ocr_tesseract.find_tessdata(named) == named
    (named / "rus.traineddata").unlink()
    assert ocr_tesseract.find_tessdata(named) == prefix
    assert ocr_tesseract.installed_languages(named) == ("eng",)


def test_a_line_that_the_layout_skipped_is_offered_again_and_one_that_was_read_is_not() -> None:
    page = flatten.prepare(screen("screen_light"))
    assert page is not None
    boxes = [word["box"] for word in json.loads((GOLDEN / "screen_light.json").read_text("utf-8"))]
    known = [(x0 / 640, y0 / 360, x1 / 640, y1 / 360) for x0, y0, x1, y1 in boxes]
    second_line = [box for box in known if 55 / 360 < box[1] < 80 / 360]
    left_out = ocr_page.unread_lines(np.asarray(page), [box for box in known if box not in second_line])
    assert ocr_page.unread_lines(np.asarray(page), known) == []
    assert len(left_out) == 1
    x0, y0, x1, y1 = (at / side for at, side in zip(left_out[0], page.size * 2, strict=True))
    assert x0 <= min(box[0] for box in second_line) + 0.02
    assert x1 >= max(box[2] for box in second_line) - 0.02
    assert y0 < second_line[0][3]
    assert y1 > second_line[0][1]


def test_a_grouped_number_becomes_its_groups_and_a_year_stays_whole() -> None:
    tessdata = ocr_tesseract.find_tessdata()
    if tessdata is None:
        pytest.skip("no Russian and English for Tesseract")
    page = np.full((20, 90), 255, np.uint8)
    lefts = (4, 24, 34, 44)  # a wide gap after the first digit
    for left in lefts:
        page[2:18, left : left + 7] = 0
    pieces = ocr_tesseract.split_number("1284", (0, 0, 60, 20), page)
    assert pieces == [("1", (4, 0, 11, 20)), ("284", (24, 0, 51, 20))]
    page[:] = 255
    for left in (4, 16, 26, 36):
        page[2:18, left : left + 7] = 0
    assert ocr_tesseract.split_number("1773", (0, 0, 60, 20), page) == [("1773", (0, 0, 60, 20))]
