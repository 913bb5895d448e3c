"""Sensitive text in a memory: masked before it is stored, found in what is, gone from everywhere once it is masked."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from pomnit import Memory, Settings, records
from pomnit.engines.fake import FakeTranscriber
from pomnit.errors import UsageError
from support import database
from support.pictures import engines, note, picture, written_on

CARD = "4242 4242 4242 4242"
TRACE = b"4242 4242"
SECRET = "qzx7hunter2"
LETTER = f"Dear bob,\nthe card is {CARD} and\npassword: {SECRET}\nsee you in the harbour"


@pytest.fixture
def cautious(settings: Settings):
    """Opens a memory that masks (or drops, or keeps) what is sensitive, whatever it is told when things are added."""

    def open_(sensitive: str, **more: object) -> Memory:
        return Memory.open(settings=Settings.load(sensitive=sensitive, **more), engines=engines())

    return open_


def held(settings: Settings) -> list[str]:
    """Gives which of the secrets are anywhere in the memory's tables or pages, freed ones too."""
    data = database.dump(settings)
    stem = SECRET.encode()
    return [name for name, text in (("card", TRACE), ("password", stem), ("stem", b"42424242")) if text in data]


def kept(settings: Settings) -> int:
    return len(list((settings.home / "files").glob("??/*")))


def text_of(memory: Memory, query: str) -> str:
    view = memory.show(memory.search(query)[0].item.id)
    return "\n".join(passage.text for passage in view.passages)


def is_grey(data: bytes, box: tuple[float, float, float, float]) -> bool:
    with Image.open(io.BytesIO(data)) as opened:
        shown = opened.convert("RGB")
    x = round((box[0] + box[2]) / 2 * shown.width)
    y = round((box[1] + box[3]) / 2 * shown.height)
    return all(abs(part - 128) < 8 for part in shown.getpixel((x, y)))


# Adding


def test_files_are_kept_as_they_are_unless_somebody_says_otherwise(memory: Memory, settings: Settings, files: Path):
    report = memory.add([note(files / "letter.txt", LETTER)])
    assert (report.new, report.dropped) == (1, 0)
    assert CARD in text_of(memory, "harbour")


def test_what_is_added_with_mask_never_reaches_the_memory(memory: Memory, settings: Settings, files: Path):
    note(files / "letter.txt", LETTER)
    picture(files / "shot.png", f"harbour card\n{CARD}\nend", size=(400, 300))
    memory.add([files], sensitive="mask")
    text = text_of(memory, "bob")
    assert "[card ····4242]" in text
    assert "password: [password]" in text
    assert "see you in the harbour" in text
    assert held(settings) == []
    assert memory.search("harbour")[0].item.title in ("letter", "shot")
    assert database.what_disagrees(settings) == []


def test_the_preview_of_a_masked_picture_is_painted_over(memory: Memory, files: Path):
    memory.add([picture(files / "shot.png", f"pay {CARD} harbour", size=(400, 300))], sensitive="mask")
    item = memory.search("harbour")[0].item
    preview = memory.preview(item.id)
    assert is_grey(preview, (0.1, 0.0, 0.18, 0.05))
    assert is_grey(preview, (0.4, 0.0, 0.48, 0.05))
    assert not is_grey(preview, (0.6, 0.5, 0.9, 0.9))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_the_kept_bytes_of_a_masked_picture_are_painted_over(
    memory: Memory, settings: Settings, files: Path, suffix: str
):
    file = files / f"shot.{suffix}"
    if suffix == "bmp":  # has no place for what the fake recogniser reads
        Image.new("RGB", (64, 48), "white").save(file)
        with Image.open(picture(files / "other.png", f"pay {CARD} harbour")) as other:
            lines = written_on(other)
        with Memory.open(settings=settings, engines=engines(lambda _: lines)) as other:
            other.add([file], copy=True, sensitive="mask")
            data = other.original(other.search("harbour")[0].item.id)
    else:
        memory.add([picture(file, f"pay {CARD} harbour", size=(400, 300))], copy=True, sensitive="mask")
        data = memory.original(memory.search("harbour")[0].item.id)
        assert CARD.encode() not in data  # nor in what its EXIF says
    assert data != file.read_bytes()
    assert is_grey(data, (0.1, 0.0, 0.18, 0.05))
    assert kept(settings) == 2  # and a preview; the bytes as they were are gone


def test_the_kept_bytes_of_a_masked_text_are_masked_and_others_are_not_kept(memory: Memory, files: Path):
    note(files / "letter.txt", LETTER)
    note(files / "page.html", f"<p>A page of the {CARD} boat</p>")
    note(files / "plain.html", "<p>A page of the lighthouse</p>")
    memory.add([files], copy=True, sensitive="mask")
    data = memory.original(memory.search("harbour")[0].item.id).decode()
    assert data == LETTER.replace(CARD, "[card ····4242]").replace(SECRET, "[password]")
    assert memory.show(memory.search("boat")[0].item.id).kept is False
    assert memory.show(memory.search("lighthouse")[0].item.id).kept is True


def test_drop_stores_nothing_of_the_item_and_tells_how_many(cautious, settings: Settings, files: Path):
    note(files / "letter.txt", LETTER)
    picture(files / "shot.png", f"pay {CARD} harbour")
    note(files / "other.txt", "quite another thing")
    with cautious("drop") as memory:
        report = memory.add([files], copy=True)
        assert (report.new, report.dropped, report.failed, report.waiting) == (1, 2, 0, 0)
        assert [hit.item.title for hit in memory.search("another harbour bob")] == ["other"]
        assert kept(settings) == 1
        again = memory.add([files])
        assert (again.new, again.dropped, again.forgotten) == (0, 0, 2)
    assert held(settings) == []
    assert database.what_disagrees(settings) == []


def test_only_the_kinds_of_the_settings_are_masked(cautious, files: Path):
    with cautious("mask", sensitive_kinds=["password"]) as memory:
        memory.add([note(files / "letter.txt", LETTER)])
        text = text_of(memory, "harbour")
    assert CARD in text
    assert SECRET not in text


def test_what_another_process_reads_is_masked_as_it_was_added(settings: Settings, files: Path, monkeypatch):
    """The owner that reads may have other settings: what was said with `add` stands with the item."""
    note(files / "letter.txt", LETTER)
    with Memory.open(settings=settings, engines=engines()) as memory:
        with monkeypatch.context() as patch:
            patch.setattr(Memory, "_can_work", lambda *_: False)  # as if somebody else owned it
            assert memory.add([files], sensitive="mask").waiting == 1
        memory.retry()
        assert SECRET not in text_of(memory, "harbour")


def test_adding_again_what_was_masked_does_not_bring_it_back(memory: Memory, settings: Settings, files: Path):
    memory.add([note(files / "letter.txt", LETTER)], sensitive="mask")
    note(files / "twin.txt", LETTER)
    memory.add([files])
    assert held(settings) == []


SAID = "моя карта 4242 4242 4242 4242"


@pytest.fixture
def spoken(settings: Settings, files: Path):
    """Adds a recording in which a card is told, with a policy; gives what came of it, and the memory."""
    from support.recordings import CARD as MODEL
    from support.recordings import said_at, write_wav

    opened = []

    def add(sensitive: str):
        heard = FakeTranscriber(MODEL, lambda _: SAID, "ru")
        opened.append(Memory.open(settings=settings, engines=engines() | {"transcribe": heard}))
        file = write_wav(files / "Совет.wav", said_at([2.0], 6.0))
        return opened[-1].add([file], copy=True, sensitive=sensitive), opened[-1]

    yield add
    for memory in opened:
        memory.close()


def test_what_is_said_is_masked_and_its_sound_is_not_kept(spoken, settings: Settings):
    report, memory = spoken("mask")
    assert report.failed == 0
    view = memory.show(memory.search("карта")[0].item.id)
    assert view.passages[0].text == "моя карта [card ····4242]"
    assert view.kept is False
    assert kept(settings) == 0
    assert held(settings) == []


def test_a_recording_in_which_a_card_is_told_is_dropped(spoken, settings: Settings):
    report, memory = spoken("drop")
    assert (report.new, report.dropped, report.waiting) == (0, 1, 0)
    assert memory.status().items == {}
    assert kept(settings) == 0
    assert held(settings) == []
    assert database.what_disagrees(settings) == []


# Looking through


def fill(memory: Memory, files: Path) -> None:
    note(files / "letter.txt", LETTER)
    picture(files / "shot.png", f"harbour\npay {CARD} now", size=(400, 300))
    note(files / "other.txt", "quite another thing")
    memory.add([files], copy=True)


def test_a_scan_tells_kinds_items_and_places_and_changes_nothing(memory: Memory, settings: Settings, files: Path):
    fill(memory, files)
    before = database.dump(settings)
    seen = []
    report = memory.scan(on_progress=seen.append)
    assert report.kinds == {"card": 2, "password": 1}
    assert (report.items_seen, report.unread, report.masked, report.forgotten) == (3, 0, None, None)
    assert {one.item.title for one in report.items} == {"letter", "shot"}
    (find,) = next(one for one in report.items if one.item.title == "shot").finds
    assert (find.kind, find.mask, find.sure) == ("card", "[card ····4242]", True)
    assert find.places[0].box is not None
    assert [(h.stage, h.done, h.total) for h in seen] == [("scan", i, 3) for i in (1, 2, 3)]
    assert database.dump(settings) == before


def test_a_scan_never_shows_what_it_found(memory: Memory, files: Path):
    fill(memory, files)
    told = json.dumps(records.to_json(memory.scan()), ensure_ascii=False)
    assert "[password]" in told
    assert CARD not in told
    assert SECRET not in told


def test_a_scan_looks_for_the_kinds_that_it_is_asked_for(memory: Memory, files: Path):
    fill(memory, files)
    assert memory.scan(["password"]).kinds == {"password": 1}
    assert memory.scan(["iban"]).items == ()
    with pytest.raises(UsageError):
        memory.scan(["nonsense"])
    with pytest.raises(UsageError):
        memory.scan(mask=True, forget=True)


def test_masking_what_is_stored_leaves_no_trace_of_it_anywhere(memory: Memory, settings: Settings, files: Path):
    fill(memory, files)
    assert held(settings) == ["card", "password"]
    report = memory.scan(mask=True)
    assert report.masked == records.MaskReceipt(
        items=2, passages=2, vectors=report.masked.vectors, previews=1, originals=2, originals_removed=0
    )
    assert report.masked.vectors >= 1
    assert held(settings) == []
    assert "the card is [card ····4242] and" in text_of(memory, "bob")
    assert memory.search(SECRET).hits == () or all(SECRET not in h.snippet for h in memory.search(SECRET))
    assert memory.search("harbour", limit=5)[0].item.title in ("letter", "shot")
    assert database.what_disagrees(settings) == []
    shot = next(hit.item for hit in memory.search("harbour") if hit.item.title == "shot")
    for data in (memory.preview(shot.id), memory.original(shot.id)):
        assert is_grey(data, (0.1, 0.1, 0.18, 0.15))
    letter = next(hit.item for hit in memory.search("harbour") if hit.item.title == "letter")
    assert SECRET not in memory.original(letter.id).decode()
    assert kept(settings) == 4  # three originals and a preview, as before
    assert memory.scan().items == ()


def test_words_and_places_are_those_of_the_masked_text(memory: Memory, files: Path):
    memory.add([picture(files / "shot.png", f"pay {CARD} harbour")])
    memory.scan(mask=True)
    hit = memory.search("harbour")[0]
    assert hit.passages[0].places[0].box == pytest.approx((0.5, 0.0, 0.58, 0.05), abs=1e-3)
    masked = memory.search("card")[0]
    assert masked.passages[0].places[0].box[0] == pytest.approx(0.1, abs=1e-3)


def test_a_secret_over_the_border_of_two_passages_is_found_and_masked(memory: Memory, settings: Settings, files: Path):
    """Passages are cut at natural borders, and a line's end between two halves of a card is one."""
    with_border = "harbour " * 98 + "\n4242 4242\n4242 4242\n" + "boat " * 160
    memory.add([note(files / "long.txt", with_border)])
    item = memory.search("boat")[0].item.id
    assert len(memory.show(item).passages) > 1
    assert memory.scan().kinds == {"card": 1}
    memory.scan(mask=True)
    assert held(settings) == []


def test_a_long_item_is_looked_through_in_steps(memory: Memory, settings: Settings, files: Path, monkeypatch):
    monkeypatch.setattr("pomnit.scan.STEP", 3)
    lines = [f"page {chr(97 + i % 26)} " + "words of the harbour " * 30 + f"{CARD} end" for i in range(12)]
    memory.add([note(files / "long.txt", "\n\n".join(lines))])
    assert memory.scan().kinds == {"card": 12}
    memory.scan(mask=True)
    assert held(settings) == []
    assert database.what_disagrees(settings) == []


def test_a_title_is_masked_too(memory: Memory, settings: Settings, files: Path):
    memory.add([note(files / "page.md", f"# Card {CARD} of bob\n\nthe harbour")])
    report = memory.scan(mask=True)
    assert CARD not in str(report)
    assert "[card ····4242]" in memory.search("harbour")[0].item.title
    assert held(settings) == []


def test_forgetting_what_a_scan_found_gives_the_receipt(memory: Memory, settings: Settings, files: Path):
    fill(memory, files)
    report = memory.scan(["card"], forget=True)
    assert len(report.forgotten.items) == 2
    assert held(settings) == []
    assert [hit.item.title for hit in memory.search("another harbour")] == ["other"]
    assert memory.scan().items == ()


def test_items_without_text_yet_are_counted(settings: Settings, files: Path, monkeypatch):
    note(files / "letter.txt", LETTER)
    with Memory.open(settings=settings, engines=engines()) as memory:
        monkeypatch.setattr(Memory, "_can_work", lambda *_: False)
        memory.add([files])
        assert (memory.scan().unread, memory.scan().items) == (1, ())


def test_what_was_masked_is_masked_again_when_it_is_read_again(memory: Memory, settings: Settings, files: Path):
    memory.add([note(files / "letter.txt", LETTER)])
    memory.scan(mask=True)
    with memory._store.transaction():  # as after a failed stage
        memory._store.queue.put("read", 1, 0)
    memory.retry()
    assert held(settings) == []
    assert "[password]" in text_of(memory, "harbour")


def test_the_title_of_a_window_is_found_and_masked_too(memory: Memory, settings: Settings, files: Path):
    memory.add([note(files / "other.txt", "the harbour")])
    with memory._store.transaction():  # as capture does, where the settings say keep
        memory._store.items.add_screen(1, "screen:one", "bank", f"Card {CARD}", "2026-11-03T09:41:07.000Z")
    assert memory.scan().kinds == {"card": 1}
    assert CARD not in str(memory.scan())
    memory.scan(mask=True)
    assert {s.window for s in memory.search("harbour")[0].item.sources} == {None, "Card [card ····4242]"}
    assert held(settings) == []


def test_what_is_masked_while_it_is_read_is_read_again_and_masked(settings: Settings, files: Path):
    lines = []

    def recognise(image: Image.Image):
        lines.append(1)
        if len(lines) == 2:  # the second time it is read, somebody masks what the first one stored
            with Memory.open(settings=settings, engines=engines()) as other, other._store.transaction():
                other._store.items.set_sensitive(1, "mask")
        return written_on(image)

    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        memory.add([picture(files / "shot.png", f"pay {CARD} harbour", size=(400, 300))])
        with memory._store.transaction():
            memory._store.queue.put("recognise", 1, 0)
        memory.retry()
        assert len(lines) == 3
        assert memory.status().items == {"image": {"ready": 1}}
        assert text_of(memory, "harbour") == "pay [card ····4242] harbour"
    assert database.what_disagrees(settings) == []


# The command line


def test_scan_prints_kinds_and_places_but_no_secret_and_ends_with_1(cli, files: Path):
    note(files / "letter.txt", LETTER)
    cli("add", files)
    done = cli("scan")
    assert done.code == 1
    assert "[card ····4242]" in done.out
    assert "found: card 1, password 1 in 1 item" in done.out
    assert CARD not in done.out + done.err
    assert SECRET not in done.out + done.err
    assert cli("scan", "--kind", "iban").code == 0
    assert cli("scan", "--kind", "nonsense").code == 2


def test_scan_json_is_the_record(cli, files: Path):
    note(files / "letter.txt", LETTER)
    cli("add", files)
    report = json.loads(cli("scan", "--json").out)
    assert set(report) == {f.name for f in fields(records.ScanReport)}
    assert report["kinds"] == {"card": 1, "password": 1}


def test_scan_masks_and_forgets_only_when_it_is_told_twice(cli, settings: Settings, files: Path):
    note(files / "letter.txt", LETTER)
    cli("add", files)
    assert cli("scan", "--mask").code == 2  # nobody is there to be asked
    assert cli("scan", "--mask", "--dry-run").code == 1
    assert cli("scan", "--mask", "--forget", "--yes").code == 2
    assert held(settings) == ["card", "password"]
    done = cli("scan", "--mask", "--yes")
    assert done.code == 0
    assert "masked: 1 item, 1 passage" in done.out
    assert held(settings) == []
    assert cli("scan").code == 0


def test_scan_forget_says_what_went(cli, settings: Settings, files: Path):
    note(files / "letter.txt", LETTER)
    cli("add", files)
    done = cli("scan", "--forget", "--yes")
    assert (done.code, "forgotten: 1 item" in done.out) == (0, True)
    assert held(settings) == []


def test_add_mask_and_the_setting_work_from_the_command_line(cli, settings: Settings, files: Path, monkeypatch):
    cli("add", "--mask", note(files / "letter.txt", LETTER))
    assert held(settings) == []
    monkeypatch.setenv("POMNIT_SENSITIVE", "drop")
    done = cli("add", note(files / "more.txt", LETTER + " and more"))
    assert done.code == 0
    assert "1 dropped for what is sensitive" in done.out
