"""The pictures of `ask --show`: the boxes lie around what is quoted, and nothing that is there is replaced."""

import io
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pomnit.doors.cli import boxes
from pomnit.errors import HomeError, UsageError
from pomnit.memory import Memory
from pomnit.records import Citation, Item, Place
from support.documents import pdf
from support.pictures import box_of, note, picture

INK = (232, 89, 12)
EVIL = "../../\x1b[31m\u202ea/b\\c:d|e\n.png"
fraction = st.floats(-0.5, 1.5)


def cited(item: Item, *places: Place, number: int = 1, memory: Memory) -> Citation:
    return Citation(number, item, memory.show(item.id).passages[0], places, "a quote")


def the_item(memory: Memory, path: Path, **how: object) -> Item:
    memory.add([path], **how)
    (hit,) = memory.search("hotel")
    return hit.item


def opened(path: str | None) -> Image.Image:
    assert path is not None
    with Image.open(path) as image:
        return image.copy()


def marked(image: Image.Image) -> tuple[int, int, int, int]:
    """Gives the corners of all that is drawn in the colour of boxes."""
    dots = [(x, y) for x in range(image.width) for y in range(image.height) if image.getpixel((x, y)) == INK]
    return min(x for x, _ in dots), min(y for _, y in dots), max(x for x, _ in dots), max(y for _, y in dots)


# Boxes


def test_a_box_lies_around_what_is_quoted_and_leaves_the_rest_as_it_was():
    image = Image.open(io.BytesIO(boxes.drawn(Image.new("RGB", (300, 200), "white"), [(0.4, 0.5, 0.6, 0.7)])))
    assert image.size == (300, 200)
    x0, y0, x1, y1 = marked(image)
    assert 110 < x0 < 120 < 180 < x1 < 190
    assert 90 < y0 < 100 < 140 < y1 < 150
    assert image.getpixel((10, 10)) == (255, 255, 255)
    assert image.getpixel((150, 120)) not in ((255, 255, 255), INK)  # washed, and still to be read


def test_no_box_covers_the_line_of_another():
    data = boxes.drawn(Image.new("RGB", (300, 200), "white"), [(0.2, 0.2, 0.6, 0.6), (0.4, 0.4, 0.9, 0.9)])
    image = Image.open(io.BytesIO(data))
    x1, y1 = boxes.corners((0.2, 0.2, 0.6, 0.6), (300, 200), 2)[2:]
    assert [image.getpixel((x1, y)) for y in range(100, 120)] == [INK] * 20
    assert [image.getpixel((x, y1)) for x in range(140, 170)] == [INK] * 30


@given(st.tuples(fraction, fraction, fraction, fraction), st.integers(1, 400), st.integers(1, 400))
def test_any_box_stays_inside_of_any_picture(box: tuple[float, float, float, float], w: int, h: int):
    x0, y0, x1, y1 = boxes.corners(box, (w, h), 2)
    assert 0 <= x0 <= x1 <= w - 1
    assert 0 <= y0 <= y1 <= h - 1
    boxes.drawn(Image.new("L", (w, h)), [box])


def test_nothing_of_what_came_with_a_picture_is_written(tmp_path: Path):
    path = picture(tmp_path / "a.png", "a secret note")
    with Image.open(path) as image:
        assert image.getexif()
        again = Image.open(io.BytesIO(boxes.drawn(image, [])))
    assert not again.getexif()
    assert not again.info


# Where the picture comes from


def test_the_file_is_drawn_on_while_it_is_unchanged_then_what_is_kept_then_the_preview(memory, files, tmp_path):
    def one(out: str) -> boxes.Drawn:
        (drawn,) = boxes.write(str(tmp_path / out), [citation], memory)
        return drawn

    for out in "abc":
        boxes.check(str(tmp_path / out))
    path = picture(files / "Hotel.png", "a hotel", size=(1000, 500))
    citation = cited(the_item(memory, path, copy=True), Place(box=box_of(0, 1)), memory=memory)
    first = one("a")
    assert first.text == str(path)
    assert opened(first.path).size == (1000, 500)
    picture(path, "another", size=(1000, 500), colour="black")
    second = one("b")
    assert second.text == "the bytes that were kept"
    assert opened(second.path).size == (1000, 500)
    assert opened(second.path).getpixel((5, 5)) == (255, 255, 255)


def test_the_preview_is_drawn_on_when_nothing_else_is_left(memory, files, tmp_path):
    path = picture(files / "Hotel.png", "a hotel", size=(1000, 500))
    citation = cited(the_item(memory, path), Place(box=box_of(0, 1)), memory=memory)
    path.unlink()
    (drawn,) = boxes.write(str(tmp_path), [citation], memory)
    assert drawn.text.startswith("its preview")
    assert opened(drawn.path).size == (640, 320)


def test_a_page_of_a_document_is_drawn(memory, files, tmp_path):
    path = files / "report.pdf"
    path.write_bytes(pdf("first page of all", "the hotel of the second page"))
    citation = cited(the_item(memory, path), Place(page=2, box=(0.1, 0.1, 0.4, 0.2)), memory=memory)
    (drawn,) = boxes.write(str(tmp_path), [citation], memory)
    assert Path(drawn.path or "").name.startswith("1 ")
    assert Path(drawn.path or "").name.endswith(" page 2.png")
    assert marked(opened(drawn.path))
    path.unlink()
    (gone,) = boxes.write(str(tmp_path), [citation], memory)
    assert gone.path is None
    assert "page 2" in gone.text


def test_what_has_no_picture_is_said(memory, files, tmp_path):
    item = the_item(memory, note(files / "hotel.txt", "a hotel"))
    (drawn,) = boxes.write(str(tmp_path), [cited(item, Place(line=1), memory=memory)], memory)
    assert (drawn.number, drawn.path) == (1, None)
    assert "no picture" in drawn.text
    assert list(tmp_path.glob("*.png")) == []


# Files


def test_each_number_has_its_own_file_with_all_its_quotes(memory, files, tmp_path):
    item = the_item(memory, picture(files / "Hotel.png", "a hotel", size=(300, 200)))
    cites = [
        cited(item, Place(box=(0.0, 0.0, 0.1, 0.1)), memory=memory),
        cited(item, Place(box=(0.8, 0.8, 0.9, 0.9)), memory=memory),
        cited(item, Place(box=(0.5, 0.5, 0.6, 0.6)), number=2, memory=memory),
    ]
    one, two = boxes.write(str(tmp_path), cites, memory)
    assert [Path(d.path or "").name for d in (one, two)] == ["1 Hotel.png", "2 Hotel.png"]
    x0, y0, x1, y1 = marked(opened(one.path))
    assert (x0 < 30, y0 < 20, x1 > 240, y1 > 160) == (True,) * 4
    x0, y0, x1, y1 = marked(opened(two.path))
    assert (x0 > 120, y0 > 80, x1 < 200, y1 < 130) == (True,) * 4


def test_a_file_that_is_there_is_never_replaced_and_the_same_is_not_written_twice(memory, files, tmp_path):
    item = the_item(memory, picture(files / "Hotel.png", "a hotel"))
    mine = tmp_path / "1 Hotel.png"
    mine.write_bytes(b"mine")
    citation = cited(item, Place(box=box_of(0, 1)), memory=memory)
    for _ in range(2):
        (drawn,) = boxes.write(str(tmp_path), [citation], memory)
        assert drawn.path == str(tmp_path / "1 Hotel (2).png")
    assert mine.read_bytes() == b"mine"
    assert len(list(tmp_path.glob("*.png"))) == 2
    (other,) = boxes.write(str(tmp_path), [replace(citation, places=(Place(box=box_of(0, 0)),))], memory)
    assert other.path == str(tmp_path / "1 Hotel (3).png")


def test_a_link_in_the_folder_is_not_written_through(memory, files, tmp_path):
    item = the_item(memory, picture(files / "Hotel.png", "a hotel"))
    target = tmp_path / "elsewhere"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1 Hotel.png").symlink_to(target)
    (drawn,) = boxes.write(str(tmp_path / "out"), [cited(item, memory=memory)], memory)
    assert not target.exists()
    assert (drawn.path or "").endswith("(2).png")


def test_files_are_for_their_owner_alone(memory, files, tmp_path):
    out = tmp_path / "new" / "folder"
    boxes.check(str(out))
    item = the_item(memory, picture(files / "Hotel.png", "a hotel"))
    (drawn,) = boxes.write(str(out), [cited(item, memory=memory)], memory)
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(drawn.path or "").st_mode) == 0o600


@given(st.text())
def test_a_title_is_one_plain_name_whatever_it_is(title: str):
    for text in (title, EVIL + title):
        name = boxes.file_name(text)
        assert name
        assert len(name) <= 80
        assert len(name.encode()) <= 200
        assert name == name.strip(" .")
        assert not set(name) & set('/\\:|"<>*?\0\n\x1b\u202e')


def test_what_cannot_be_a_folder_is_refused_before_any_work(tmp_path):
    path = note(tmp_path / "a file", "x")
    with pytest.raises(UsageError, match="a file"):
        boxes.check(str(path))
    with pytest.raises(UsageError):
        boxes.check(str(path / "below"))


def test_a_folder_that_is_gone_is_said(memory, files, tmp_path):
    item = the_item(memory, picture(files / "Hotel.png", "a hotel"))
    with pytest.raises(HomeError, match="cannot be written to"):
        boxes.write(str(tmp_path / "absent"), [cited(item, memory=memory)], memory)
