"""Looking around: how near texts are, what is like an item, which themes there are, and pictures of them."""

import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pomnit import Memory, records
from pomnit.doors.cli import chart, opener
from pomnit.errors import EngineMissing, NotFound, UsageError
from pomnit.search import topics as themes
from support.pictures import note, picture

BEES = ["bees leave the hive in June", "the hive swarms when bees crowd", "honey from the bees of one hive"]
TRAINS = ["the train to Berlin departs late", "a ticket for the Berlin train", "the train ticket costs sixty"]
BORSCH = ["борщ варят из свёклы и капусты", "свёкла и капуста для борща", "рецепт борща: капуста, свёкла"]
BIKES = ["велосипед: цепь и тормоз", "на велосипеде ослабла цепь", "тормоз велосипеда скрипит, цепь тоже"]


def keys(record: type) -> set[str]:
    return {f.name for f in fields(record)}


@pytest.fixture
def house(memory: Memory, files: Path) -> Memory:
    """A memory with two themes in each language, three notes of each."""
    for theme, texts in {"bees": BEES, "trains": TRAINS, "borsch": BORSCH, "bikes": BIKES}.items():
        for i, text in enumerate(texts):
            note(files / theme / f"{theme}{i}.txt", text)
    assert memory.add([files]).failed == 0
    return memory


def theme_of(item: records.Item) -> str:
    return Path(item.sources[0].uri).parent.name


def an_item(memory: Memory, query: str) -> records.Item:
    return memory.search(query).hits[0].item


# Similar


def test_similarity_is_one_with_itself_symmetric_and_greater_for_nearer_texts(memory: Memory):
    record = memory.similar([BEES[0], BEES[1], TRAINS[0]])
    matrix = np.array(record.matrix)
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1, atol=1e-3)
    assert matrix[0, 1] > matrix[0, 2]
    assert record.texts == (BEES[0], BEES[1], TRAINS[0])


def test_similarity_says_which_texts_the_encoder_cannot_read(memory: Memory):
    record = memory.similar(["a hive", "улей", "hive и улей"])
    assert record.langs == ("en", "ru", "ru")
    assert record.known == (True, False, False)


@pytest.mark.parametrize("texts", [[], ["one"], ["one", " "], ["x"] * 1001])
def test_texts_that_cannot_be_compared_are_refused(memory: Memory, texts: list[str]):
    with pytest.raises(UsageError):
        memory.similar(texts)


def test_similar_prints_a_matrix_or_json_and_reads_lines(cli, monkeypatch: pytest.MonkeyPatch):
    shown = cli("similar", "a hive", "улей")
    assert shown.code == 0
    assert "1.00" in shown.out
    assert "does not know this language" in shown.out
    monkeypatch.setattr(sys, "stdin", io.StringIO("a hive\n\nthe hive\n"))
    record = json.loads(cli("similar", "-", "--json").out)
    assert set(record) == keys(records.Similarity)
    assert record["texts"] == ["a hive", "the hive"]
    assert len(record["matrix"]) == len(record["matrix"][0]) == 2
    assert cli("similar", "alone").code == 2


def test_a_long_list_of_texts_is_shown_as_its_nearest_pairs(cli):
    shown = cli("similar", *[f"text {i}" for i in range(15)], "text 3")
    assert "nearest pairs" in shown.out
    assert "\n  4  16    1.00\n" in shown.out


# More


@pytest.mark.parametrize(("query", "theme", "vectors"), [("honey", "bees", "ran"), ("скрипит", "bikes", "skipped")])
def test_more_finds_what_is_like_an_item_in_either_language_and_never_itself(
    house: Memory, query: str, theme: str, vectors: str
):
    item = an_item(house, query)
    result = house.more(item.id)
    assert item.id not in {hit.item.id for hit in result}
    assert [theme_of(hit.item) for hit in result][:2] == [theme] * 2
    assert [leg.state for leg in result.legs] == ["ran", vectors]
    assert result.hits[0].passages[0].places
    assert "⟦" in result.hits[0].snippet


def test_more_says_why_the_vectors_did_not_run(house: Memory):
    _, vectors = house.more(an_item(house, "скрипит").id).legs
    assert "knows en" in (vectors.reason or "")


def test_more_of_an_item_without_company_or_text_is_empty_and_says_so(memory: Memory, files: Path):
    note(files / "alone.txt", "совершенно одинокая заметка")
    picture(files / "blank.png", "")
    memory.add([files])
    alone = memory.search("одинокая").hits[0].item
    result = memory.more(alone.id)
    assert result.hits == ()
    assert result.legs[0].reason == "nothing else holds a telling word of it"
    blank = next(item for item in memory.to_forget(source=str(files)) if item.kind == "image")
    assert memory.more(blank.id).hits == ()


def test_more_leaves_out_what_was_replaced(house: Memory, files: Path):
    note(files / "bees" / "bees1.txt", "an altogether different matter now")
    house.add([files])
    found = house.more(an_item(house, "honey").id, limit=50)
    assert {hit.item.state for hit in found} == {"ready"}


def test_more_wants_an_item_that_is_there_and_a_limit_that_fits(house: Memory):
    with pytest.raises(NotFound):
        house.more("0000dead")
    with pytest.raises(UsageError):
        house.more(an_item(house, "honey").id, limit=0)
    assert len(house.more(an_item(house, "honey").id, limit=1)) == 1


def test_a_passage_that_shares_one_word_of_many_scores_low(house: Memory, files: Path):
    note(files / "far.txt", "пожалуйста, купите капусту, гречку, молоко, хлеб и чай для гостей")
    house.add([files])
    scores = {theme_of(hit.item): hit.score for hit in house.more(an_item(house, "рецепт").id)}
    assert scores["borsch"] > 2 * scores["files"]


def test_more_is_a_command(cli, files: Path):
    for i, text in enumerate(BEES):
        note(files / f"{i}.txt", text)
    cli("add", files)
    uid = json.loads(cli("search", "honey", "--json").out)["hits"][0]["item"]["id"]
    result = json.loads(cli("more", uid[:18], "-n", 1, "--json").out)
    assert set(result) == keys(records.SearchResult)
    assert len(result["hits"]) == 1
    assert "legs: words, vectors" in cli("more", uid).out
    assert cli("more", "0000dead").code == 3


# Topics


def test_topics_part_the_themes_each_space_by_itself_and_name_them_by_their_own_words(house: Memory):
    record = house.topics(groups=4, examples=10)
    found = {frozenset(map(theme_of, topic.items)): topic for topic in record.topics}
    assert set(found) == {frozenset([theme]) for theme in ("bees", "trains", "borsch", "bikes")}
    assert found[frozenset(["bees"])].space == "all-MiniLM-L6-v2"
    assert found[frozenset(["bikes"])].space == "words"
    assert set(found[frozenset(["bees"])].words) >= {"bees", "hive"}
    assert "Berlin" in found[frozenset(["trains"])].words
    assert found[frozenset(["bikes"])].words[0] in ("цепь", "тормоз", "велосипед", "велосипеда", "велосипеде")
    assert sum(topic.size for topic in record.topics) == 12
    assert record.grouped == {"all-MiniLM-L6-v2": 6, "words": 6}
    assert any("grouped apart" in line for line in record.notes)


def test_the_number_of_topics_comes_from_the_data_and_is_the_same_each_time(house: Memory):
    first, again = house.topics(), house.topics()
    assert first.topics == again.topics
    assert len(first.topics) == 4


def test_topics_keep_to_filters(house: Memory, files: Path):
    within = house.topics(within=str(files / "bees"))
    assert {theme_of(item) for topic in within.topics for item in topic.items} == {"bees"}
    assert house.topics(type="image").topics == ()
    assert house.topics(before="1999").topics == ()


def test_topics_count_what_they_leave_out(memory: Memory, files: Path):
    picture(files / "blank.png", "")
    note(files / "numbers.txt", "12 345 678")
    note(files / "bees.txt", BEES[0])
    memory.add([files])
    record = memory.topics()
    assert sum(topic.size for topic in record.topics) + sum(record.left_out.values()) == 3
    assert any("without text" in reason for reason in record.left_out)


def test_topics_of_an_empty_memory_are_none(memory: Memory):
    assert memory.topics().topics == ()


def test_topics_that_were_asked_for_but_are_not_there_are_said(house: Memory):
    record = house.topics(groups=1)
    assert len(record.topics) == 2
    assert "1 groups were asked for" in " ".join(record.notes)
    with pytest.raises(UsageError):
        house.topics(groups=0)
    with pytest.raises(UsageError):
        house.topics(examples=-1)


def test_a_large_number_of_vectors_is_grouped_by_a_sample_and_equal_groups_come_back():
    random = np.random.default_rng(3)
    centres = random.standard_normal((6, 64))
    truth = random.integers(6, size=7000)
    vectors = (centres[truth] + 0.5 * random.standard_normal((7000, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = themes.group(vectors.astype(np.float16))
    assert len(groups) == 6
    assert all(len(set(truth[groups.members(i)])) == 1 for i in range(6))
    sizes = [len(groups.members(i)) for i in range(6)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_equal_vectors_and_few_of_them_make_a_group(n: int):
    vectors = np.ones((n, 16), np.float32) / 4
    assert sorted(np.concatenate([themes.group(vectors).members(0)]).tolist()) == list(range(n))
    assert len(themes.group(vectors, n)) >= 1


def test_labels_show_the_form_that_is_written_most_not_the_stem():
    texts = ["счёта нет", "Счёта ждём и счёта просим", "оплата счёта"]
    assert themes.labels([texts, ["погода в мае", "погода в июне"]])[0][0] == "счёта"


def test_topics_print_json_or_lines(cli, files: Path):
    for i, text in enumerate(BEES + BORSCH):
        note(files / f"{i}.txt", text)
    cli("add", files)
    record = json.loads(cli("topics", "--json", "-n", 1).out)
    assert set(record) == keys(records.Topics)
    assert set(record["topics"][0]) == keys(records.Topic)
    assert all(len(topic["items"]) == 1 for topic in record["topics"])
    shown = cli("topics", "--groups", 2)
    assert "hive" in shown.out
    assert "2 topics of 6 items" in shown.out


# The chart


def topic(words: tuple[str, ...], size: int, space: str = "words") -> records.Topic:
    return records.Topic(words, size, (), space)


HOSTILE = records.Topics(
    (topic(("<script>alert(1)</script>", "счёт", '"&'), 7), topic(("bees\x1b[2J",), 2, "e5")),
    {"words": 7, "e5": 2},
    {},
    (),
    1,
)


def test_a_chart_as_svg_is_well_formed_and_its_words_stay_text():
    root = ET.fromstring(chart.svg(HOSTILE))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("<script>alert(1)</script>, счёт" in text for text in texts)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "\x1b" not in chart.svg(HOSTILE)
    assert "href" not in chart.svg(HOSTILE)


def test_a_chart_as_png_draws_both_alphabets(tmp_path: Path):
    with Image.open(io.BytesIO(chart.png(HOSTILE))) as drawn:
        assert drawn.width == 2 * chart.WIDTH
        assert len(drawn.getcolors(1 << 20)) > 10
    letters = chart.font(20)
    assert bytes(letters.getmask("Ж")) != bytes(letters.getmask("Щ"))


def test_the_longest_bar_is_the_largest_topic():
    widths = [
        float(bar.get("width") or 0)
        for bar in ET.fromstring(chart.svg(HOSTILE)).iter("{http://www.w3.org/2000/svg}rect")
        if bar.get("fill") in chart._COLOURS and bar.get("height") == str(chart.BAR)
    ]
    assert widths[1] == pytest.approx(widths[0] * 2 / 7, abs=0.2)


def test_without_a_cyrillic_font_a_png_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chart, "_FONTS", ("/nowhere.ttf",))
    with pytest.raises(EngineMissing, match=r"fonts-dejavu-core.*\.svg"):
        chart.png(HOSTILE)
    assert "счёт" in chart.svg(HOSTILE)


def test_the_chart_is_written_for_its_owner_alone_and_only_as_a_picture(cli, files: Path, tmp_path: Path):
    note(files / "a.txt", BEES[0])
    cli("add", files)
    for name in ("t.svg", "t.png"):
        done = cli("topics", "--chart", tmp_path / name)
        assert done.code == 0, done.err
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    done = cli("topics", "--chart", tmp_path / "t.txt")
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "t.txt").exists()
    assert cli("topics", "--chart", tmp_path / "no" / "t.png").code == 2


# Opening


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What was handed to the desktop: the arguments, and what the file then held."""
    calls: list[dict] = []

    def run(arguments, **named):
        path = Path(arguments[1])
        folder = path.parent.stat().st_mode & 0o777
        calls.append(
            {"arguments": arguments, "data": path.read_bytes(), "mode": path.stat().st_mode & 0o777, "folder": folder}
        )
        assert not named.get("shell")
        return subprocess.CompletedProcess(arguments, 0)

    monkeypatch.setattr(opener.subprocess, "run", run)
    monkeypatch.setattr(opener, "LOOKING_S", 0)
    monkeypatch.setenv("DISPLAY", ":1")
    return calls


def test_open_hands_the_file_itself_to_the_desktop(cli, files: Path, launched: list[dict]):
    path = note(files / "$(touch owned) a'b.txt", BEES[0])
    cli("add", files)
    uid = json.loads(cli("search", "bees", "--json").out)["hits"][0]["item"]["id"]
    done = cli("show", uid, "--open")
    assert done.code == 0, done.err
    assert [call["arguments"][1:] for call in launched] == [[str(path)]]


@pytest.mark.parametrize("why", ["gone", "changed"])
def test_a_file_that_is_gone_or_changed_is_shown_from_a_private_copy_that_is_removed(
    cli, files: Path, launched: list[dict], why: str
):
    path = picture(files / "hotel.png", "Berlin hotel")
    data = path.read_bytes()
    cli("add", "--copy", files)
    uid = json.loads(cli("search", "hotel", "--json").out)["hits"][0]["item"]["id"]
    path.unlink()
    if why == "changed":
        path.write_bytes(b"other")
    done = cli("show", uid, "--open")
    assert done.code == 0, done.err
    assert launched[0]["data"] == data
    assert (launched[0]["mode"], launched[0]["folder"]) == (0o600, 0o700)
    assert launched[0]["arguments"][1].endswith(".png")
    assert not os.path.exists(os.path.dirname(launched[0]["arguments"][1]))
    assert "decrypted" in done.err
    assert "removed" in done.err


@pytest.mark.parametrize("name", ["bees.desktop", "bees.command", "bees.html", "bees", "bees.txt.sh", "bees.app"])
def test_a_name_that_a_desktop_would_run_is_never_handed_over(memory: Memory, files: Path, name: str):
    note(files / "bees.txt", BEES[0])
    memory.add([files])
    item = an_item(memory, "bees")
    assert opener.source_of(item) == str(files / "bees.txt")
    (files / "bees.txt").rename(files / name)
    uri = item.sources[0].uri.replace("bees.txt", name)
    assert opener.source_of(replace(item, sources=(replace(item.sources[0], uri=uri),))) is None


def test_without_a_display_the_path_is_printed(cli, files: Path, launched: list[dict], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(opener.sys, "platform", "linux")
    path = note(files / "bees.txt", BEES[0])
    cli("add", files)
    uid = json.loads(cli("search", "bees", "--json").out)["hits"][0]["item"]["id"]
    done = cli("show", uid, "--open")
    assert done.code == 1
    assert "no display" in done.err
    assert done.out.endswith(f"{path}\n")
    assert launched == []


def test_a_missing_opener_says_what_to_install(cli, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISPLAY", ":1")
    monkeypatch.setattr(opener.sys, "platform", "linux")
    monkeypatch.setenv("PATH", "/nowhere")
    note(files / "bees.txt", BEES[0])
    cli("add", files)
    uid = json.loads(cli("search", "bees", "--json").out)["hits"][0]["item"]["id"]
    done = cli("show", uid, "--open")
    assert done.code == 1
    assert "xdg-utils" in done.err
