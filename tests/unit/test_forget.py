"""Forgetting: what is chosen, what the receipt says, and that nothing is left of it anywhere."""

from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import NotFound, UsageError
from pomnit.governor.owner import OwnerLock
from support import database
from support.pictures import CUT, engines, note, picture

CANARY = "qzx7canary9"  # no word begins like it, so the index cannot hide its beginning in a neighbour's
STARLING = "щъыскворцовый"  # its stem ends before "ый"


def add_canaries(memory: Memory, files: Path) -> None:
    note(files / "note.md", f"# A {CANARY} heading\n\nThe {CANARY} sings. Здесь {STARLING} дом.")
    picture(files / "shot.png", f"seen {CANARY}\nи {STARLING}")
    note(files / "other.txt", "quite another thing that stays")
    memory.add([files], copy=True)


def traces(settings: Settings) -> list[str]:
    """Gives which of the canaries are anywhere in the memory's tables or in its pages, freed ones too."""
    held = database.dump(settings).lower()
    marks = {"word": CANARY, "beginning": CANARY[:6], "russian": STARLING[:9], "path": "note.md", "shot": "shot.png"}
    return [name for name, text in marks.items() if text.encode() in held]


def forget(memory: Memory, **chosen):
    return memory.forget(memory.to_forget(**chosen))


def test_forgetting_leaves_no_trace_in_any_table_page_or_file(memory: Memory, settings: Settings, files: Path):
    add_canaries(memory, files)
    assert traces(settings) == ["word", "beginning", "russian", "path", "shot"]  # else this test sees nothing
    assert len(list((settings.home / "files").glob("??/*"))) == 4  # three originals, a preview
    receipt = forget(memory, query=CANARY)
    assert len(receipt.items) == 2
    assert traces(settings) == []
    assert len(list((settings.home / "files").glob("??/*"))) == 1
    assert (settings.home / "memory.db-wal").stat().st_size == 0
    for query in (CANARY, STARLING, "sings", "seen"):
        assert [hit.item.title for hit in memory.search(query, state="all")] in ([], ["other"])
    assert memory.search("another")[0].item.title == "other"
    assert database.what_disagrees(settings) == []


def test_the_receipt_counts_what_went(memory: Memory, settings: Settings, files: Path):
    add_canaries(memory, files)
    item = memory.search(CANARY, type="note")[0].item
    note(files / "twin.md", (files / "note.md").read_text("utf-8"))
    memory.add([files])
    before = len(database.rows(settings, "SELECT 1 FROM vector"))
    receipt = memory.forget([item])
    assert receipt.items == (item.id,)
    assert (receipt.sources, receipt.passages, receipt.files) == (2, 1, 1)
    assert receipt.vectors == before - len(database.rows(settings, "SELECT 1 FROM vector"))
    assert receipt.bytes_freed > 0


def test_vectors_are_counted_and_gone(memory: Memory, settings: Settings, files: Path):
    memory.add([note(files / "a.txt", "english words only"), note(files / "b.txt", "more english words")])
    assert forget(memory, source=str(files / "a.txt")).vectors == 1
    assert memory.status().vectors == 1
    assert database.what_disagrees(settings) == []


def test_the_beginning_of_an_id_is_enough(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "the only one")])
    item = memory.search("only")[0].item
    assert [i.id for i in memory.to_forget(ids=[item.id[:13]])] == [item.id]
    assert memory.forget([item.id[:13]]).items == (item.id,)
    with pytest.raises(NotFound):
        memory.show(item.id)


def test_an_id_that_is_not_there_forgets_nothing(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "the only one")])
    item = memory.search("only")[0].item
    with pytest.raises(NotFound):
        memory.forget([item, "00000000-0000-7000-8000-000000000000"])
    assert len(memory.search("only")) == 1
    for wrong in ("", "0", "xyz", "%", "00000000"):
        with pytest.raises(NotFound):
            memory.to_forget(ids=[wrong])


def test_a_beginning_that_several_ids_share_is_refused(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "first of two"), note(files / "b.txt", "second of two")])
    with pytest.raises(NotFound, match="several"):
        memory.to_forget(ids=[memory.search("first")[0].item.id[:4]])


def test_a_file_or_a_folder_takes_all_that_came_from_it(memory: Memory, files: Path):
    note(files / "sub" / "a.txt", "one in the folder")
    note(files / "sub" / "deep" / "b.txt", "two in the folder")
    note(files / "subway.txt", "not in the folder")
    memory.add([files])
    assert len(memory.to_forget(source=str(files / "sub" / "a.txt"))) == 1
    assert len(forget(memory, source=str(files / "sub")).items) == 2
    assert [hit.item.title for hit in memory.search("folder")] == ["subway"]


def test_a_source_is_found_by_a_path_from_here_and_after_its_file_is_gone(
    memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch
):
    memory.add([note(files / "100%_of it!.txt", "relative words"), note(files / "100x-of it!.txt", "other words")])
    monkeypatch.chdir(files)
    (files / "100%_of it!.txt").unlink()
    assert [i.title for i in memory.to_forget(source="100%_of it!.txt")] == ["100%_of it!"]


def test_a_source_that_is_gone_does_not_take_its_neighbours_along(memory: Memory, files: Path):
    path = note(files / "note.txt", "forget this one")
    memory.add([path, note(files / "note.txt.bak.txt", "but not this one")])
    path.unlink()
    assert [i.title for i in memory.to_forget(source=str(path))] == ["note"]


def test_a_source_is_named_with_its_case(memory: Memory, files: Path):
    lower, upper = note(files / "note.txt", "lower case"), note(files / "Note.txt", "upper case")
    if lower.samefile(upper):  # a disk that knows no case
        return
    memory.add([files])
    assert [i.title for i in memory.to_forget(source=str(upper))] == ["Note"]


def test_a_source_takes_what_failed_what_waits_and_what_was_replaced(memory: Memory, settings: Settings, files: Path):
    folder = files / "private"
    plan = note(folder / "plan.txt", "old plan")
    (folder / "broken.png").write_bytes(CUT)
    memory.add([folder])
    note(plan, "new plan")
    memory.add([folder])
    other = OwnerLock(settings.home)
    assert other.take()
    memory.add([note(folder / "waiting.txt", "unread")])
    other.give_back()
    assert sorted(i.state for i in memory.to_forget(source=str(folder))) == [
        "failed",
        "ready",
        "superseded",
        "waiting",
    ]
    forget(memory, source=str(folder))
    status = memory.status()
    assert (status.items, status.waiting, status.failures) == ({}, {}, ())


def test_a_query_takes_only_what_holds_all_its_words(memory: Memory, files: Path):
    note(files / "a.txt", "red passport scan")
    note(files / "b.txt", "red bicycle")
    note(files / "c.txt", "passport office hours")
    memory.add([files])
    assert [i.title for i in memory.to_forget(query="red passports")] == ["a"]
    assert [i.title for i in memory.to_forget(query='"passport office"')] == ["c"]
    assert memory.to_forget(query='"office passport"') == ()
    assert memory.to_forget(query="pasport") == ()  # likeness is not enough to lose something
    assert len(memory.to_forget(query="passport type:note")) == 2
    assert len(memory.to_forget(query="type:note")) == 3
    assert memory.to_forget(query="passport type:image") == ()


def test_nothing_chosen_is_an_error(memory: Memory):
    with pytest.raises(UsageError, match="--query"):
        memory.to_forget()


def test_forgetting_nothing_gives_an_empty_receipt(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", "words")])
    receipt = memory.forget([])
    assert (receipt.items, receipt.passages, receipt.files) == ((), 0, 0)
    assert len(memory.search("words")) == 1


def test_what_was_forgotten_comes_back_only_when_asked_to(memory: Memory, files: Path):
    path = note(files / "a.txt", "forgotten words")
    memory.add([path])
    forget(memory, source=str(path))
    note(files / "copy elsewhere.txt", "forgotten words")
    report = memory.add([files])
    assert (report.new, report.known, report.forgotten) == (0, 0, 2)
    assert len(memory.search("forgotten")) == 0
    assert memory.add([path], again=True).new == 1
    assert len(memory.search("forgotten")) == 1
    assert memory.add([files]).forgotten == 0  # once asked back, it stays


def test_the_file_itself_stays_where_it_is(memory: Memory, files: Path):
    path = note(files / "a.txt", "words on disk")
    memory.add([path])
    forget(memory, source=str(path))
    assert path.read_text("utf-8") == "words on disk"


def test_an_item_that_waits_can_be_forgotten(memory: Memory, settings: Settings, files: Path):
    other = OwnerLock(settings.home)
    assert other.take()
    memory.add([note(files / "a.txt", "never read"), note(files / "b.txt", "read later")])
    assert len(forget(memory, source=str(files / "a.txt")).items) == 1
    other.give_back()
    assert memory.retry().waiting == 0
    assert memory.status().items == {"note": {"ready": 1}}
    assert len(memory.search("never")) == 0


@pytest.mark.parametrize("also_waiting", [False, True])
def test_an_item_that_is_forgotten_while_it_is_read_stays_forgotten(
    settings: Settings, files: Path, also_waiting: bool
):
    """The reader finishes after the item is gone; what it read must not be stored, and the others are still read."""
    picture(files / "a secret.png", f"seen {CANARY}")
    for i in range(9):
        picture(files / f"b{i}.png", f"harbour {i}", colour=f"#00000{i}")
    done = False

    def recognise(image):
        nonlocal done
        lines = engines()["recognise"].recognise(image)
        if not done and lines[0].words[0].text == "seen":
            done = True
            forget(memory, source=str(files / "a secret.png"))
            if also_waiting:
                forget(memory, source=str(files / "b8.png"))
        return lines

    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        report = memory.add([files])
        assert done
        assert report.failed == 0
        assert len(memory.search("harbour", limit=20)) == 9 - also_waiting
        assert memory.status().items["image"] == {"ready": 9 - also_waiting}
        memory.retry()
    assert CANARY.encode() not in database.dump(settings)
    assert database.what_disagrees(settings) == []


def test_no_preview_is_left_of_an_item_that_is_forgotten_while_it_is_read(settings: Settings, files: Path):
    def recognise(image):
        forget(memory, source=str(files / "p.png"))
        return engines()["recognise"].recognise(image)

    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        memory.add([picture(files / "p.png", "harbour")])
        assert [p for p in (settings.home / "files").rglob("*") if p.is_file()] == []
