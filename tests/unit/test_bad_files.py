"""Files as they come: broken, huge, oddly named, unreadable. Each gets its reason, and the others go on."""

import os
import sys
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import EngineMissing
from pomnit.models.cards import ALL_MINILM_L6_V2
from support import processes
from support.pictures import bomb, engines, note, picture


def failures_beside_a_good_file(memory: Memory, files: Path) -> dict[str, str]:
    """Adds the folder with one more, good file; gives the reason of each failure by file name."""
    note(files / "good.txt", "unharmed words")
    report = memory.add([files])
    assert [hit.item.title for hit in memory.search("unharmed")] == ["good"]
    assert report.new == 1
    assert memory.status().waiting == {}
    return {os.path.basename(f.name): f.reason for f in report.failures}


def test_an_empty_file_fails(memory: Memory, files: Path):
    (files / "zero.png").touch()
    assert failures_beside_a_good_file(memory, files) == {"zero.png": "the file is empty (0 bytes)"}


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp"])
def test_a_picture_that_was_cut_short_fails(memory: Memory, files: Path, name: str):
    path = picture(files / name, "half a picture", size=(400, 300))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    reasons = failures_beside_a_good_file(memory, files)
    assert "damaged or cut short" in reasons[name]


def test_a_picture_of_noise_fails(memory: Memory, files: Path):
    (files / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    assert "damaged or cut short" in failures_beside_a_good_file(memory, files)["noise.png"]


def test_a_picture_is_known_by_its_bytes_not_by_its_name(memory: Memory, files: Path):
    picture(files / "really a photo.png", "jetty", form="JPEG")
    memory.add([files])
    assert memory.search("jetty")[0].item.original.media_type == "image/jpeg"


def test_a_text_that_is_called_a_picture_fails_clearly(memory: Memory, files: Path):
    note(files / "text.png", "not a picture at all")
    assert "no reader for it" in failures_beside_a_good_file(memory, files)["text.png"]


def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch
):
    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("it was decoded"))
    bomb(files / "bomb.png", 60_000, 60_000)
    reason = failures_beside_a_good_file(memory, files)["bomb.png"]
    assert "60000 x 60000 pixels" in reason
    assert "image_pixels" in reason


def test_a_picture_just_over_the_limit_is_refused_and_one_at_the_limit_is_not(settings: Settings, files: Path):
    from dataclasses import replace

    picture(files / "over.png", "over", size=(65, 48))
    picture(files / "at.png", "limit", size=(64, 48))
    with Memory.open(settings=replace(settings, image_pixels=64 * 48), engines=engines()) as memory:
        report = memory.add([files])
        assert [os.path.basename(f.name) for f in report.failures] == ["over.png"]
        assert len(memory.search("limit")) == 1


def test_files_larger_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch, files: Path):
    monkeypatch.setenv("POMNIT_TEXT_BYTES", str(1 << 20))
    note(files / "huge.txt", "words " * 200_000)
    with Memory.open(engines=engines()) as memory:
        assert "larger than the 1 MiB" in failures_beside_a_good_file(memory, files)["huge.txt"]
        assert "larger than the 1 MiB" in memory.add([files / "huge.txt"], copy=True).failures[0].reason


def test_a_text_in_an_unknown_encoding_fails(memory: Memory, files: Path):
    (files / "old.txt").write_bytes(bytes(range(1, 32)) + bytes(range(128, 256)))
    assert "it is no text" in failures_beside_a_good_file(memory, files)["old.txt"]


def test_a_binary_file_called_text_fails(memory: Memory, files: Path):
    (files / "binary.txt").write_bytes(b"\x7fELF\0\0\0\1")
    assert "no reader for it" in failures_beside_a_good_file(memory, files)["binary.txt"]


def test_a_path_that_is_not_there_fails(memory: Memory, files: Path):
    report = memory.add([files / "nowhere", note(files / "a.txt", "words")])
    assert [(f.name, f.reason) for f in report.failures] == [
        (str(files / "nowhere"), "there is no such file or folder")
    ]
    assert report.new == 1


def test_a_folder_without_permission_is_named_and_the_rest_goes_on(files: Path):
    note(files / "closed" / "a.txt", "hidden")
    note(files / "open" / "unreadable.txt", "hidden too")
    note(files / "open" / "b.txt", "visible words")
    (files / "closed").chmod(0)
    (files / "open" / "unreadable.txt").chmod(0)
    try:
        done = processes.finished("-m", "support.child", "cli", "add", str(files), before=processes.without_privileges)
    finally:
        (files / "closed").chmod(0o700)
    assert done.returncode == 4
    assert f"{files / 'closed'}: no permission to read it" in done.stdout
    assert f"{files / 'open' / 'unreadable.txt'}: no permission to read it" in done.stdout
    assert "1 new, 0 known, 2 failed" in done.stdout


ODD_NAMES = [
    b"new\nline.txt",
    b"tab\tand space .txt",
    b"not utf-8 \xff\xfe.txt",
    b"\x1b[2Jescape.txt",
    b"percent%41?#&.txt",
    "кот и «пёс» 🐈.txt".encode(),
    b"-rf.txt",
    b"quote'\".txt",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_of_any_bytes_survives(memory: Memory, files: Path, name: bytes):
    path = os.path.join(os.fsencode(files), name)
    try:
        with open(path, "wb") as file:
            file.write(b"strangely named words")
    except OSError:
        assert sys.platform == "darwin"  # its file system refuses names that are not text
        return
    assert memory.add([os.fsdecode(path)]).failures == ()
    hit = memory.search("strangely")[0]
    from urllib.parse import unquote_to_bytes, urlsplit

    assert unquote_to_bytes(urlsplit(hit.item.sources[0].uri).path) == path
    assert hit.item.title.isprintable()
    assert memory.add([files]).known == 1
    assert len(memory.to_forget(source=os.fsdecode(path))) == 1


def test_loops_of_links_end(memory: Memory, files: Path):
    note(files / "a" / "a.txt", "looped words")
    (files / "a" / "up").symlink_to(files)
    (files / "self").symlink_to("self")
    (files / "dangling").symlink_to("nowhere")
    report = memory.add([files])
    assert report.new == 1
    assert [hit.item.title for hit in memory.search("looped")] == ["a"]


def test_a_link_to_a_file_is_that_file(memory: Memory, files: Path):
    path = note(files / "a.txt", "linked words")
    (files / "b.txt").symlink_to(path)
    memory.add([files])
    assert [s.uri for s in memory.search("linked")[0].item.sources] == [path.as_uri()]


def test_a_pipe_is_never_waited_for(memory: Memory, files: Path):
    os.mkfifo(files / "pipe.txt")
    assert failures_beside_a_good_file(memory, files) == {}
    assert memory.add([files / "pipe.txt"]).failures[0].reason == "neither a file nor a folder"


def test_hidden_files_are_taken_only_when_they_are_named(memory: Memory, files: Path):
    note(files / ".hidden.txt", "concealed words")
    assert memory.add([files]).new == 0
    assert memory.add([files / ".hidden.txt"]).new == 1


def test_whatever_a_decoder_throws_fails_one_item_only(settings: Settings, files: Path):
    def recognise(image):
        if image.size == (7, 7):
            raise ZeroDivisionError("inside some library")
        return engines()["recognise"].recognise(image)

    picture(files / "bad.png", size=(7, 7))
    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        reason = failures_beside_a_good_file(memory, files)["bad.png"]
    assert "ZeroDivisionError" in reason


# Engines that are not there


@pytest.fixture
def no_model(settings: Settings) -> None:
    """An empty folder where the files of the encoder should be: it goes before those of the package."""
    (settings.models / ALL_MINILM_L6_V2.name).mkdir(parents=True)


@pytest.mark.usefixtures("no_model")
def test_without_a_model_its_stage_waits_and_words_still_find(files: Path):
    with Memory.open() as memory:
        report = memory.add([note(files / "a.txt", "the lonely lighthouse keeper")])
        assert (report.new, report.waiting) == (1, 1)
        assert "model.safetensors" in report.blocked["embed"]
        result = memory.search("lighthouse")
        assert [hit.item.title for hit in result] == ["a"]
        legs = {leg.name: leg for leg in result.legs}
        assert legs["words"].state == "ran"
        assert legs["vectors"].state == "skipped"
        assert legs["vectors"].reason
        assert result.unindexed.by_stage == {"embed": 1}
        assert "model.safetensors" in memory.status().blocked["embed"]
    with Memory.open(engines=engines()) as memory:
        assert memory.retry().waiting == 0
        assert memory.search("lighthouse").legs[1].state == "ran"


@pytest.mark.usefixtures("no_model")
def test_a_model_that_went_away_is_the_reason_why_vectors_are_skipped(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, files: Path
):
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.add([note(files / "a.txt", "the lonely lighthouse keeper")])
        with memory._store.transaction():  # as if the real encoder had been at work
            memory._store.database.write("UPDATE space SET precision = 'onnx-8'")
    monkeypatch.setenv("POMNIT_RUNTIME", "onnx")
    with Memory.open() as memory:
        leg = memory.search("lighthouse").legs[1]
    assert leg.state == "skipped"
    assert "model.safetensors" in leg.reason


@pytest.mark.usefixtures("no_model")
def test_without_language_files_pictures_wait_and_texts_are_read(monkeypatch: pytest.MonkeyPatch, files: Path):
    monkeypatch.setenv("POMNIT_RECOGNISER", "tesseract")
    monkeypatch.setattr("pomnit.engines.ocr_tesseract.find_tessdata", lambda extra=None: None)
    picture(files / "p.png", "harbour")
    note(files / "a.txt", "readable words")
    with Memory.open() as memory:
        report = memory.add([files])
        assert (report.new, report.failed) == (2, 0)
        assert "type: " in report.blocked["recognise"]
        assert len(memory.search("readable")) == 1
        assert memory.search("harbour").unindexed.by_stage["recognise"] == 1
        assert memory.status().items["image"] == {"waiting": 1}
    with Memory.open(engines=engines()) as memory:
        memory.retry()
        assert len(memory.search("harbour")) == 1


def test_an_engine_that_goes_missing_during_the_work_leaves_items_waiting(settings: Settings, files: Path):
    def recognise(image):
        raise EngineMissing("the recogniser was removed; type: install it")

    for i in range(5):
        picture(files / f"{i}.png", "harbour", colour=f"#00000{i}")
    with Memory.open(settings=settings, engines=engines(recognise)) as memory:
        report = memory.add([files])
        assert (report.new, report.failed, report.waiting) == (5, 0, 5)
        assert report.blocked == {"recognise": "the recogniser was removed; type: install it"}
        assert memory.status().items["image"] == {"waiting": 5}
    with Memory.open(settings=settings, engines=engines()) as memory:
        assert memory.retry().waiting == 0
        assert len(memory.search("harbour")) == 5
