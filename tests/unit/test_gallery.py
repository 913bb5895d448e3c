"""The page of `search --gallery`: what was captured stays text, nothing is loaded, boxes lie where the words are."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pomnit import Memory
from pomnit.doors.cli import gallery
from pomnit.errors import NotFound
from pomnit.records import Hit, Item, Leg, Original, Passage, Place, Query, SearchResult, Source, Unindexed
from support.pictures import box_of, note, picture

HOSTILE = "\"><script src='https://evil.example/x.js'></script><img src=x onerror=alert(1)>\u202e{style}&lt;"
WEBP = b"RIFF\x04\x00\x00\x00WEBP"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Parsed(HTMLParser):
    """A page's elements with their attributes, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


def a_hit(text: str, places: tuple[Place, ...] = (), **item: object) -> Hit:
    source = Source("file", "file:///a/b.png", "2026-11-03T00:00:00Z", "2026-11-03T00:00:00Z")
    found = Item(
        "0193",
        "image",
        "a title",
        "2026-11-03T09:41:07Z",
        "",
        "ready",
        Original("blake2b:0", 1, "image/png"),
        (source,),
    )
    passage = Passage("p", "0193", 0, text, "en", places)
    return Hit(replace(found, **item), 0.5, {"words": 0.25, "vectors": 0.75}, (passage,), f"⟦{text}⟧ …")


def a_result(*hits: Hit, words: tuple[str, ...] = ("bees",), text: str = "bees") -> SearchResult:
    legs = (Leg("words", "ran"), Leg("vectors", "skipped", "a <b>reason</b>"))
    return SearchResult(Query(text, words, (), {}, "en"), hits, legs, Unindexed(3, 1), 1.0)


def no_preview(item: str) -> bytes:
    raise NotFound(item)


@pytest.fixture
def paged(cli, files: Path, tmp_path: Path):
    """Writes the page of a search over a picture and a note; gives it parsed."""
    picture(files / "Screenshot 2026-11-03 at 09.41.07.png", "a hotel\nin Berlin with breakfast", size=(640, 400))
    note(files / "trains.txt", "the train to Berlin")
    assert cli("add", files).code == 0

    def page(query: str) -> Parsed:
        done = cli("search", query, "--gallery", tmp_path / "g.html")
        assert done.code == 0, done.err
        assert "not encrypted" in done.err
        return Parsed((tmp_path / "g.html").read_text("utf-8"))

    return page


def test_a_page_shows_each_hit_with_picture_title_time_snippet_source_and_scores(paged):
    page = paged("Berlin")
    names = [tag for tag, _ in page.elements]
    assert (names.count("article"), names.count("img"), names.count("mark")) == (2, 1, 2)
    for words in ("Screenshot 2026-11-03 at 09.41.07", "2026-11-03 09:41", "trains.txt", "words", "vectors", "score"):
        assert words in page.text
    (image,) = [attributes for tag, attributes in page.elements if tag == "img"]
    data = base64.b64decode((image["src"] or "").removeprefix("data:image/webp;base64,"))
    assert data[8:12] == b"WEBP"


def test_boxes_lie_in_per_cent_where_the_found_words_are(paged):
    page = paged("Berlin")
    boxes = [attributes["id"] for tag, attributes in page.elements if attributes.get("class") == "box"]
    x0, y0, x1, y1 = box_of(1, 1)
    assert len(boxes) == 1
    rule = re.search(rf"#{boxes[0]} {{ left: (.+)%; top: (.+)%; width: (.+)%; height: (.+)% }}", page.style)
    assert rule
    found = [float(value) for value in rule.groups()]
    assert found == pytest.approx([100 * x0, 100 * y0, 100 * (x1 - x0), 100 * (y1 - y0)], abs=0.02)


def test_a_page_without_the_words_in_it_boxes_nothing():
    places = (Place(box=(0.1, 0.1, 0.9, 0.9)),)
    assert gallery.found_boxes(a_hit("a hive", places), a_result().query) == []
    assert gallery.found_boxes(a_hit("a bee's hive", places), Query("пчела", ("пчела",))) == []
    assert len(gallery.found_boxes(a_hit("bees here", places), a_result().query)) == 1


def test_only_the_first_page_is_boxed_for_that_is_what_a_preview_shows():
    places = (Place(page=1, box=(0.1, 0.1, 0.2, 0.2)), Place(page=2, box=(0.3, 0.3, 0.4, 0.4)), Place(line=3))
    assert gallery.found_boxes(a_hit("bees", places), a_result().query) == [(0.1, 0.1, 0.2, 0.2)]


def test_captured_text_titles_and_file_names_stay_text():
    source = Source("file", "file:///a/%3Cscript%3Ex%3C/script%3E.png", "2026-11-03T00:00:00Z", "2026-11-03T00:00:00Z")
    hit = a_hit(HOSTILE, (Place(box=(0.0, 0.0, 1.0, 1.0)),), title=HOSTILE, sources=(source,))
    raw = gallery.page(a_result(hit, words=("script",), text=HOSTILE), lambda _: WEBP)
    page = Parsed(raw)
    assert page.open == []
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "form", "a", "base", "b"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script src='https://evil.example/x.js'></script>" in page.text
    assert "/a/<script>x</script>.png" in page.text
    assert "a <b>reason</b>" in page.text
    assert "\u202e" not in raw
    assert "evil.example" not in page.style


def test_a_page_loads_nothing_and_its_policy_allows_nothing():
    hit = a_hit("bees", (Place(box=(0.0, 0.0, 1.0, 1.0)),))
    page = Parsed(gallery.page(a_result(hit), lambda _: WEBP))
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses
    assert all((address or "").startswith("data:image/webp;base64,") for address in addresses)
    assert not re.search(r"url\(|@import|https?:", page.style)
    (policy,) = [a["content"] or "" for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy  # else a browser would drop the style
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_what_is_not_a_webp_picture_is_not_shown():
    page = Parsed(gallery.page(a_result(a_hit("bees")), lambda _: b"<svg onload=alert(1)>"))
    assert "img" not in [tag for tag, _ in page.elements]
    assert "article" in [tag for tag, _ in Parsed(gallery.page(a_result(a_hit("bees")), no_preview)).elements]


def test_a_page_says_what_was_not_searched_and_which_leg_did_not_run():
    page = Parsed(gallery.page(a_result(), no_preview))
    assert "Nothing was found." in page.text
    assert "3 wait, 1 failed" in page.text
    assert "vectors skipped" in page.text


def test_the_page_is_for_its_owner_alone_and_replaces_the_last_one(cli, files: Path, tmp_path: Path):
    note(files / "bees.txt", "bees")
    cli("add", files)
    target = tmp_path / "g.html"
    target.write_text("old")
    target.chmod(0o644)
    done = cli("search", "bees", "--gallery", target, "--json")
    assert json.loads(done.out)["hits"]
    assert "bees" in target.read_text("utf-8")
    assert target.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.glob(".pomnit-*")] == []


@pytest.mark.parametrize("name", ["notes.md", "no/such/folder.html", "html"])
def test_a_page_is_not_written_over_other_things(cli, files: Path, tmp_path: Path, name: str):
    (tmp_path / "notes.md").write_text("mine")
    done = cli("search", "bees", "--gallery", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_previews_come_from_the_memory(memory: Memory, files: Path):
    picture(files / "a.png", "bees")
    memory.add([files])
    page = gallery.page(memory.search("bees"), memory.preview)
    assert "data:image/webp;base64," in page
