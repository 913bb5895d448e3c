"""The real thing, end to end: the samples, Tesseract and all-MiniLM-L6-v2, as a user meets them."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from pomnit import Memory, Settings
from pomnit.records import Hit, SearchResult
from pomnit.text.words import stems
from support import database, processes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
QUESTIONS = [
    tuple(line.split("\t")) for line in (ROOT / "scripts" / "samples" / "questions.tsv").read_text("utf-8").splitlines()
]
WORDS = [  # in a picture of the samples, as it is written there
    ("стоматологу", "Снимок экрана 2026-11-05 в 20.14.33.png"),
    ("platform", "Screenshot 2026-11-03 at 09.41.07.png"),
    ("hive", "beekeeping.webp"),
]


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, dict]]:
    """The samples, added by the command line in its own process, which ends when it reaches for the network."""
    place = tmp_path_factory.mktemp("corridor")
    settings = Settings(home=place / "home", cache=place / "cache", key="file", key_dir=place / "keys", threads=2)
    done = processes.finished("-m", "pomnit", "add", str(SAMPLES), "--json", environ=environment(settings))
    assert done.returncode == 0, done.stderr + done.stdout
    return settings, json.loads(done.stdout)


def environment(settings: Settings) -> dict[str, str]:
    given = {"home": settings.home, "cache": settings.cache, "key": "file", "key_dir": settings.key_dir, "threads": 2}
    return {f"POMNIT_{name.upper()}": str(value) for name, value in given.items()}


@pytest.fixture
def memory(corridor: tuple[Settings, dict]) -> Iterator[Memory]:
    with Memory.open(settings=corridor[0]) as memory:
        yield memory


def file_of(hit: Hit) -> str:
    return Path(unquote(urlsplit(hit.item.sources[0].uri).path)).name


def state_of_vectors(result: SearchResult) -> str:
    return {leg.name: leg.state for leg in result.legs}["vectors"]


def test_every_sample_is_read_and_embedded(corridor: tuple[Settings, dict], memory: Memory):
    settings, report = corridor
    n = len([p for p in SAMPLES.iterdir() if not p.name.startswith(".")])
    assert (report["new"], report["failed"], report["waiting"], report["blocked"]) == (n, 0, 0, {})
    status = memory.status()
    assert {state for states in status.items.values() for state in states} == {"ready"}
    assert status.vectors == status.passages["en"]
    assert all(choice.works for choice in status.engines if choice.job != "transcribe")
    assert database.what_disagrees(settings) == []


@pytest.mark.parametrize(("question", "file"), QUESTIONS)
def test_each_question_finds_its_file_first(memory: Memory, question: str, file: str):
    result = memory.search(question)
    assert file_of(result[0]) == file
    assert state_of_vectors(result) == ("skipped" if result.query.lang == "ru" else "ran")
    assert "⟦" in result[0].snippet
    assert (result.unindexed.waiting, result.unindexed.failed) == (0, 0)


@pytest.mark.parametrize(("word", "file"), WORDS)
def test_the_box_of_a_found_word_lies_where_the_word_is(memory: Memory, word: str, file: str):
    """What is cut out of the picture at the place of a hit, and read alone, is that word."""
    from pomnit.engines.ocr_tesseract import TesseractRecogniser, find_tessdata

    hit = next(h for h in memory.search(word) if file_of(h) == file)
    boxes = [place.box for place in hit.passages[0].places]
    assert boxes
    image = Image.open(SAMPLES / file).convert("RGB")
    recogniser = TesseractRecogniser(find_tessdata())
    for x0, y0, x1, y1 in boxes:
        assert 0 < x1 - x0 < 0.4
        assert 0 < y1 - y0 < 0.1
        air = (y1 - y0) * image.height * 0.3
        cut = image.crop(
            (
                round(x0 * image.width - air),
                round(y0 * image.height - air),
                round(x1 * image.width + air),
                round(y1 * image.height + air),
            )
        )
        page = Image.new("RGB", (cut.width + 200, cut.height + 200), cut.getpixel((1, 1)))
        page.paste(cut, (100, 100))
        read = " ".join(w.text for line in recogniser.recognise(page) for w in line.words)
        assert stems(word)[0] in stems(read), read
    recogniser.close()


def test_a_meaning_without_a_common_word_is_found_by_its_vector(memory: Memory):
    result = memory.search("insects collecting nectar")
    assert file_of(result[0]) == "beekeeping.webp"
    assert result[0].legs["vectors"] > 0


def test_a_search_as_a_process_of_its_own_sends_nothing_and_finds(corridor: tuple[Settings, dict]):
    question, file = QUESTIONS[0]
    done = processes.finished("-m", "pomnit", "search", question, environ=environment(corridor[0]))
    assert done.returncode == 0, done.stderr
    assert file in done.stdout
    assert done.stderr == ""


def test_times_come_from_the_names_of_screenshots(memory: Memory):
    hit = next(h for h in memory.search("Berlin") if file_of(h).startswith("Screenshot 2026-11-03"))
    assert hit.item.time == "2026-11-03T09:41:07.000Z"


def test_nothing_readable_lies_in_the_home(corridor: tuple[Settings, dict]):
    for path in corridor[0].home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for text in ("стоматолог", "Berlin", "beekeeping", "RIFF"):
                assert text.encode() not in data, path
