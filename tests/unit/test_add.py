"""Adding: what is counted, what makes an item new, known or replaced, and what is read of it."""

from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import EngineError, NotFound
from support.pictures import box_of, engines, note, picture


def titles(result) -> list[str]:
    return [hit.item.title for hit in result]


def one(result):
    assert len(result) == 1, titles(result)
    return result[0]


def counts(report) -> tuple[int, ...]:
    return (report.new, report.known, report.failed, report.forgotten, report.passed_over)


def test_each_file_counts_once(memory: Memory, files: Path):
    note(files / "new.txt", "grey herons")
    picture(files / "new.png", "blue ferry")
    gone = note(files / "gone.txt", "old secret")
    memory.add([gone])
    memory.forget(memory.to_forget(source=str(gone)))
    note(files / "known.txt", "known words")
    memory.add([files / "known.txt"])
    (files / "empty.txt").touch()
    (files / "archive.zip").write_bytes(b"PK\3\4")
    report = memory.add([files])
    assert counts(report) == (2, 1, 1, 1, 1)
    assert [(f.name, f.reason) for f in report.failures] == [(str(files / "empty.txt"), "the file is empty (0 bytes)")]
    assert report.waiting == 0
    assert report.owner == "this process"


def test_the_same_bytes_at_two_paths_are_one_item_with_two_sources(memory: Memory, files: Path):
    note(files / "a.txt", "twin words")
    note(files / "sub" / "b.txt", "twin words")
    assert counts(memory.add([files])) == (1, 1, 0, 0, 0)
    item = one(memory.search("twin")).item
    assert sorted(Path(s.uri).name for s in item.sources) == ["a.txt", "b.txt"]


def test_adding_again_changes_nothing(memory: Memory, files: Path):
    note(files / "a.txt", "steady words")
    memory.add([files])
    before = one(memory.search("steady")).item
    assert counts(memory.add([files])) == (0, 1, 0, 0, 0)
    assert one(memory.search("steady")).item == before


def test_new_bytes_at_a_known_path_replace_the_old_ones(memory: Memory, files: Path):
    path = note(files / "plan.txt", "first plan: sail north")
    memory.add([files])
    note(path, "second plan: walk southward")
    assert memory.add([files]).new == 1
    assert len(memory.search("north")) == 0
    assert one(memory.search("plan")).passages[0].text == "second plan: walk southward"
    old = one(memory.search("plan", state="superseded"))
    assert old.item.state == "superseded"
    assert old.passages[0].text == "first plan: sail north"
    assert len(memory.search("plan", state="all")) == 2


def test_going_back_to_old_bytes_revives_the_old_item(memory: Memory, files: Path):
    path = note(files / "plan.txt", "first plan: sail north")
    memory.add([files])
    first = one(memory.search("plan")).item
    note(path, "second plan: walk southward")
    memory.add([files])
    note(path, "first plan: sail north")
    assert counts(memory.add([files])) == (0, 1, 0, 0, 0)
    revived = one(memory.search("plan")).item
    assert (revived.id, revived.state) == (first.id, "ready")
    assert one(memory.search("plan", state="superseded")).passages[0].text == "second plan: walk southward"


def test_an_item_that_lies_elsewhere_too_is_not_replaced(memory: Memory, files: Path):
    note(files / "a.txt", "shared words here")
    note(files / "b.txt", "shared words here")
    memory.add([files])
    note(files / "a.txt", "quite different")
    memory.add([files])
    assert one(memory.search("shared")).item.state == "ready"


def test_copied_bytes_are_given_back_when_the_file_is_gone(memory: Memory, files: Path):
    path = picture(files / "photo.png", "lighthouse")
    data = path.read_bytes()
    memory.add([path], copy=True)
    path.unlink()
    item = one(memory.search("lighthouse")).item
    assert memory.original(item.id) == data
    assert memory.show(item.id).kept


def test_copying_later_keeps_the_bytes_of_a_known_item(memory: Memory, files: Path):
    path = note(files / "a.txt", "kept afterwards")
    memory.add([path])
    item = one(memory.search("afterwards")).item
    with pytest.raises(NotFound, match="--copy"):
        memory.original(item.id)
    memory.add([path], copy=True)
    assert memory.original(item.id) == path.read_bytes()


def test_what_is_kept_is_encrypted(memory: Memory, files: Path, settings: Settings):
    memory.add([note(files / "a.txt", "plainlyvisible " * 50), picture(files / "p.png", "pictured")], copy=True)
    written = [p for p in settings.home.rglob("*") if p.is_file()]
    assert len([p for p in written if "files" in p.parts]) == 3  # two originals and a preview
    for path in written:
        data = path.read_bytes()
        assert b"plainlyvisible" not in data
        assert b"\x89PNG" not in data
        assert b"WEBP" not in data


def test_a_text_has_the_lines_of_its_words(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "one\ntwo\n\nthe herons came\n")])
    hit = one(memory.search("herons"))
    assert [place.line for place in hit.passages[0].places] == [4]
    assert hit.item.title == "a"
    assert hit.item.original.media_type == "text/plain"


def test_the_first_heading_of_markdown_is_its_title(memory: Memory, files: Path):
    memory.add([note(files / "n.md", "intro\n\n## Winter birds ##\n\nherons stay\n")])
    hit = one(memory.search("stay"))
    assert hit.item.title == "Winter birds"
    assert [place.line for place in hit.passages[0].places] == [5]


def test_texts_in_utf16_and_with_windows_line_ends_are_read(memory: Memory, files: Path):
    (files / "w.txt").write_bytes("первая\r\nцапля прилетела\r\n".encode("utf-16"))
    memory.add([files])
    hit = one(memory.search("цапля"))
    assert hit.passages[0].text == "первая\nцапля прилетела"
    assert [place.line for place in hit.passages[0].places] == [2]


def test_a_hit_in_a_picture_has_the_boxes_of_the_found_words_only(memory: Memory, files: Path):
    memory.add([picture(files / "p.png", "red roof\ngreen door and window")])
    hit = one(memory.search("door"))
    assert [place.box for place in hit.passages[0].places] == [pytest.approx(box_of(1, 1), abs=1e-4)]
    whole = memory.show(hit.item.id).passages[0]
    assert whole.text == "red roof\ngreen door and window"
    assert whole.places


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.JPEG", "p.webp"])
def test_every_kind_of_picture_is_read_and_has_a_preview(memory: Memory, files: Path, name: str):
    memory.add([picture(files / name, "quay")])
    item = one(memory.search("quay")).item
    assert item.kind == "image"
    assert memory.preview(item.id)[8:12] == b"WEBP"


def test_a_photo_has_the_time_at_which_it_was_taken(memory: Memory, files: Path):
    picture(files / "local.jpg", "one", taken="2024:05:06 07:08:09")
    picture(files / "offset.jpg", "two", taken="2024:05:06 07:08:09", offset="+03:00", colour="red")
    memory.add([files])
    assert one(memory.search("one")).item.time == "2024-05-06T07:08:09.000Z"
    assert one(memory.search("two")).item.time == "2024-05-06T04:08:09.000Z"


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("Screenshot 2026-11-03 at 09.41.07.png", "2026-11-03T09:41:07.000Z"),
        ("Screenshot 2026-11-07 at 4.02.55\u202fPM.png", "2026-11-07T16:02:55.000Z"),
        ("Снимок экрана 2026-11-05 в 20.14.33.png", "2026-11-05T20:14:33.000Z"),
        ("Снимок экрана от 2026-10-28 18-22-41.png", "2026-10-28T18:22:41.000Z"),
        ("Screenshot_20261103_094107.png", "2026-11-03T09:41:07.000Z"),
    ],
)
def test_a_screenshot_has_the_time_in_its_name(memory: Memory, files: Path, name: str, time: str):
    memory.add([picture(files / name, "desktop")])
    assert one(memory.search("desktop")).item.time == time


def test_a_file_without_a_better_time_has_that_of_its_last_change(memory: Memory, files: Path):
    import os

    os.utime(note(files / "a.txt", "undated"), (1_700_000_000, 1_700_000_000))
    memory.add([files])
    assert one(memory.search("undated")).item.time == "2023-11-14T22:13:20.000Z"


def test_a_picture_without_text_is_found_by_its_name(memory: Memory, files: Path):
    memory.add([picture(files / "kitten on the piano.png")])
    hit = one(memory.search("piano"))
    assert hit.item.state == "ready"
    assert hit.passages[0].text == ""


def test_a_file_that_changes_before_it_is_read_fails_and_can_be_added_again(memory: Memory, files: Path):
    path = note(files / "a.txt", "early words")
    report = memory.add([path], on_progress=lambda h: h.stage == "remember" and note(path, "late words"))
    assert counts(report) == (0, 0, 1, 0, 0)
    assert "changed since it was added" in report.failures[0].reason
    assert memory.add([path]).new == 1
    assert one(memory.search("late")).item.state == "ready"
    assert len(memory.search("early")) == 0


def test_what_was_replaced_before_it_was_read_does_not_fail_for_ever(memory: Memory, files: Path):
    path = note(files / "a.txt", "early words")
    memory.add([path], on_progress=lambda h: h.stage == "remember" and note(path, "late words"))
    memory.add([path])
    assert memory.retry().failed == 0
    assert memory.status().n_failed == 0


def test_a_file_that_vanishes_before_it_is_read_fails_and_the_rest_goes_on(memory: Memory, files: Path):
    path = note(files / "a.txt", "vanishing words")
    note(files / "b.txt", "staying words")
    report = memory.add([files], on_progress=lambda h: h.name == str(path) and path.unlink())
    assert [(f.name, f.reason) for f in report.failures] == [(str(path), "the file is no longer there")]
    assert counts(report) == (1, 0, 1, 0, 0)
    assert one(memory.search("staying"))
    assert memory.status().n_failed == 1


def test_a_copied_file_may_vanish_before_it_is_read(memory: Memory, files: Path):
    path = note(files / "a.txt", "safe words")
    report = memory.add([path], copy=True, on_progress=lambda h: path.unlink(missing_ok=True))
    assert counts(report) == (1, 0, 0, 0, 0)
    assert one(memory.search("safe"))


def test_retry_reads_what_failed_once_its_reason_is_gone(settings: Settings, files: Path):
    broken = True

    def recognise(image):
        if broken:
            raise EngineError("the recogniser is out of sorts")
        return engines()["recognise"].recognise(image)

    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        report = memory.add([picture(files / "p.png", "harbour")])
        assert [f.reason for f in report.failures] == ["the recogniser is out of sorts"]
        failed = memory.show(report.failures[0].item)
        assert (failed.item.state, failed.item.reason) == ("failed", "the recogniser is out of sorts")
        again = memory.retry()
        assert (again.tried, again.failed) == (1, 1)
        broken = False
        again = memory.retry()
        assert (again.tried, again.failed, again.waiting) == (1, 0, 0)
        assert one(memory.search("harbour")).item.state == "ready"
        assert memory.status().n_failed == 0
        assert memory.retry().tried == 0


def test_progress_names_every_file_and_every_stage(memory: Memory, files: Path):
    picture(files / "p.png", "harbour")
    note(files / "a.txt", "words")
    told = []
    memory.add([files], on_progress=told.append)
    assert [h.name for h in told if h.stage == "remember"] == [str(files / "a.txt"), str(files / "p.png")]
    assert {(h.stage, h.done, h.total) for h in told if h.stage != "remember"} == {
        ("read", 1, 1),
        ("recognise", 1, 1),
        ("embed", 1, 2),
        ("embed", 2, 2),
    }


def test_an_interrupted_add_goes_on_with_the_next_one(memory: Memory, files: Path):
    for i in range(6):
        picture(files / f"{i}.png", f"berth number{i}", colour=f"#00000{i}")

    def interrupt(happening):
        if happening.stage == "recognise" and happening.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory.add([files], on_progress=interrupt)
    assert memory.status().waiting["recognise"] > 0
    assert "working" not in memory.status().items["image"]
    assert counts(memory.add([files])) == (0, 6, 0, 0, 0)
    assert len(memory.search("berth")) == 6
    assert memory.status().waiting == {}
