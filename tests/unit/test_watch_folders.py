"""Watching folders: real files, the system's real events, and a real memory; what is not there any more is marked."""

import json
import os
import queue
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pomnit import Memory, Settings
from pomnit.capture import folders as following_folders
from pomnit.capture.folders import Folders, Quiet, is_passed_over, walk
from pomnit.capture.sign import Stop
from pomnit.errors import EngineError, UsageError
from pomnit.records import FolderEvent, WatchReport
from support import database, processes
from support.pictures import CUT, engines, note, picture

PATIENCE_S = 60  # of a test on a busy machine; no test waits so long for what comes


class Watched:
    """A memory that watches folders in a thread, and what it told."""

    def __init__(self, memory: Memory, folders: list[Path]) -> None:
        self.memory, self.stop, self.told = memory, Stop(), queue.Queue(maxsize=10_000)
        self.report: WatchReport | None = None
        self.error: BaseException | None = None
        self._folders = folders
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.report = self.memory.watch(self._folders, quiet_s=0.05, stop=self.stop, on_event=self.told.put_nowait)
        except BaseException as error:  # noqa: BLE001 raised in the test
            self.error = error

    def next(self) -> FolderEvent:
        """Gives the next event."""
        return self.told.get(timeout=PATIENCE_S)

    def until(self, what: str, name: str) -> list[FolderEvent]:
        """Gives the events up to one of a kind about a file or folder of a name."""
        events = [self.next()]
        while (events[-1].what, Path(events[-1].path).name) != (what, name):
            events.append(self.next())
        return events

    def end(self) -> WatchReport:
        """Ends it; gives its report."""
        self.stop.ask()
        self.thread.join(PATIENCE_S)
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report


@contextmanager
def watching(memory: Memory, *folders: Path) -> Iterator[Watched]:
    """Watches folders from when they were all looked at."""
    watched = Watched(memory, list(folders))
    watched.thread.start()
    try:
        for folder in folders:
            watched.until("looked", folder.name)
        yield watched
        watched.end()
    finally:
        watched.stop.ask()
        watched.thread.join(PATIENCE_S)
        watched.stop.close()


def found(memory: Memory, query: str) -> list[str]:
    memory.retry()  # what still waits is read
    return sorted(hit.item.title for hit in memory.search(query))


def told(events: list[FolderEvent]) -> list[tuple[str, str]]:
    return [(event.what, Path(event.path).name) for event in events]


def sources(settings: Settings) -> dict[str, bool]:
    """Gives the names of all files that sources know, and whether they are gone."""
    return {Path(uri).name: bool(gone) for uri, gone in database.rows(settings, "SELECT uri, gone FROM source")}


# What happens in a folder


def test_what_is_there_is_remembered_first_and_then_what_comes(memory: Memory, files: Path):
    note(files / "there.txt", "an old heron")
    with watching(memory, files) as watched:
        note(files / "new.txt", "a young heron")
        picture(files / "deep" / "shot.png", "a heron on a picture")
        events = watched.until("new", "shot.png")
        if len(events) < 2:
            events += watched.until("new", "new.txt")
        assert sorted(told(events)) == [("new", "new.txt"), ("new", "shot.png")]
        assert all(memory.show(event.item).item.id == event.item for event in events)
        report = watched.end()
    assert found(memory, "heron") == ["new", "shot", "there"]
    assert (report.new, report.changed, report.gone, report.failed) == (3, 0, 0, 0)


def test_a_changed_file_is_a_new_item_that_replaces_the_old_one(memory: Memory, files: Path):
    path = note(files / "plan.txt", "sail north")
    memory.add([files])
    with watching(memory, files) as watched:
        note(path, "walk southward instead")
        assert told(watched.until("changed", "plan.txt")) == [("changed", "plan.txt")]
    assert found(memory, "southward") == ["plan"]
    assert found(memory, "north") == []
    assert memory.search("north", state="superseded")[0].item.state == "superseded"


def test_a_file_that_is_written_aside_and_put_in_place_is_one_change(memory: Memory, files: Path):
    path = note(files / "plan.txt", "sail north")
    memory.add([files])
    with watching(memory, files) as watched:
        aside = note(files / "plan.txt.tmp", "walk southward instead")
        os.replace(aside, path)
        assert told(watched.until("changed", "plan.txt")) == [("changed", "plan.txt")]
        report = watched.end()
    assert (report.new, report.changed, report.gone) == (0, 1, 0)


def test_a_moved_file_keeps_its_item_and_its_history(memory: Memory, settings: Settings, files: Path):
    path = note(files / "a.txt", "a travelling heron")
    (files / "sub").mkdir()
    memory.add([files])
    uid = memory.search("heron")[0].item.id
    with watching(memory, files) as watched:
        os.rename(path, files / "sub" / "b.txt")
        (event,) = watched.until("moved", "b.txt")
        assert (event.item, event.before) == (uid, str(path))
    item = memory.show(uid).item
    assert [(Path(s.uri).name, s.gone) for s in item.sources] == [("b.txt", False), ("a.txt", True)]
    assert item.state == "ready"
    assert found(memory, "heron") == ["a"]


def test_a_moved_folder_takes_its_files_along(memory: Memory, settings: Settings, files: Path):
    for number in range(3):
        note(files / "one" / "deep" / f"n{number}.txt", f"heron {number}")
    with watching(memory, files) as watched:
        os.rename(files / "one", files / "two")
        events = [watched.next() for _ in range(3)]
        assert sorted(told(events)) == [("moved", f"n{number}.txt") for number in range(3)]
        report = watched.end()
    assert (report.new, report.moved, report.gone) == (3, 3, 0)
    gone = dict(database.rows(settings, "SELECT uri LIKE '%/one/%', min(gone) FROM source GROUP BY 1"))
    assert gone == {0: 0, 1: 1}


def test_a_deleted_file_is_marked_and_stays_remembered(memory: Memory, settings: Settings, files: Path):
    note(files / "kept.txt", "a kept heron")
    path = note(files / "gone.txt", "a gone heron")
    memory.add([files])
    with watching(memory, files) as watched:
        path.unlink()
        assert told(watched.until("gone", "gone.txt")) == [("gone", "gone.txt")]
        assert sources(settings) == {"kept.txt": False, "gone.txt": True}
        assert sorted(hit.item.title for hit in memory.search("heron")) == ["gone", "kept"]
        note(path, "a gone heron")  # it comes back
        note(files / "last.txt", "the last")
        watched.until("new", "last.txt")
    assert sources(settings) == {"kept.txt": False, "gone.txt": False, "last.txt": False}


def test_a_deleted_folder_marks_all_that_was_in_it(memory: Memory, settings: Settings, files: Path):
    note(files / "kept.txt", "a kept heron")
    for number in range(3):
        note(files / "sub" / f"n{number}.txt", f"heron {number}")
    note(files / "subway.txt", "beside it")
    with watching(memory, files) as watched:
        shutil.rmtree(files / "sub")
        assert sorted(told([watched.next() for _ in range(3)])) == [("gone", f"n{number}.txt") for number in range(3)]
    assert [name for name, gone in sorted(sources(settings).items()) if not gone] == ["kept.txt", "subway.txt"]


def test_what_happened_while_nobody_watched_is_found_at_the_next_start(memory: Memory, settings: Settings, files: Path):
    note(files / "gone.txt", "a gone heron")
    note(files / "moved.txt", "a moved heron")
    note(files / "kept.txt", "a kept heron")
    memory.add([files])
    (files / "gone.txt").unlink()
    (files / "sub").mkdir()
    os.rename(files / "moved.txt", files / "sub" / "elsewhere.txt")
    note(files / "new.txt", "a new heron")
    watched = Watched(memory, [files])
    watched.thread.start()
    events = watched.until("looked", files.name)
    report = watched.end()
    assert sorted(told(events[:-1])) == [("gone", "gone.txt"), ("moved", "elsewhere.txt"), ("new", "new.txt")]
    assert (report.new, report.moved, report.gone) == (1, 1, 1)
    assert sources(settings)["gone.txt"]


def test_what_was_forgotten_does_not_come_back(memory: Memory, files: Path):
    path = note(files / "secret.txt", "a secret heron")
    memory.add([files])
    memory.forget(memory.to_forget(source=str(path)))
    with watching(memory, files) as watched:
        note(files / "copy.txt", "a secret heron")
        assert told(watched.until("forgotten", "copy.txt")) == [("forgotten", "copy.txt")]
    assert found(memory, "heron") == []


def test_a_file_that_cannot_be_read_is_told_with_the_reason_and_the_rest_goes_on(memory: Memory, files: Path):
    with watching(memory, files) as watched:
        (files / "cut.png").write_bytes(CUT)
        event = watched.until("failed", "cut.png")[-1]
        assert event.reason
        assert event.item is not None
        note(files / "next.txt", "a heron")
        watched.until("new", "next.txt")
    assert found(memory, "heron") == ["next"]


# What is passed over


@pytest.mark.parametrize(
    "name",
    [".hidden.txt", "~$report.docx", ".~lock.a.odt#", "film.part", "a.pdf.crdownload", "x.TMP", "a.txt~", "#a.txt#"],
)
def test_hidden_and_unfinished_files_are_passed_over(name: str):
    assert is_passed_over(name)
    assert not is_passed_over("a" + name.strip(".~$#").replace(".", "_") + ".txt")


def test_hidden_and_unfinished_files_and_links_out_are_not_remembered(
    memory: Memory, settings: Settings, files: Path, tmp_path: Path
):
    outside = note(tmp_path / "outside" / "secret.txt", "an outside heron")
    (files / "link.txt").symlink_to(outside)
    (files / "linked").symlink_to(outside.parent)
    note(files / ".git" / "config.txt", "hidden words")
    with watching(memory, files) as watched:
        note(files / ".hidden.txt", "hidden words")
        note(files / "half.txt.part", "half words")
        note(files / ".git" / "more.txt", "hidden words")
        (files / "link2.txt").symlink_to(outside)
        (files / "linked2").symlink_to(outside.parent)
        note(outside.parent / "more.txt", "an outside heron too")
        note(files / "real.txt", "real words")
        assert told(watched.until("new", "real.txt")) == [("new", "real.txt")]
        os.rename(files / "half.txt.part", files / "whole.txt")
        assert told(watched.until("new", "whole.txt")) == [("new", "whole.txt")]
    assert sorted(sources(settings)) == ["real.txt", "whole.txt"]


def test_other_kinds_are_passed_over_and_counted(memory: Memory, files: Path):
    (files / "archive.zip").write_bytes(b"PK\3\4")
    with watching(memory, files) as watched:
        (files / "more.bin").write_bytes(b"\0")
        note(files / "a.txt", "words")
        assert told(watched.until("new", "a.txt")) == [("new", "a.txt")]
        assert watched.end().passed_over >= 1


def test_the_memorys_own_folder_is_not_looked_into(settings: Settings, tmp_path: Path):
    with Memory.open(settings=settings, engines=engines()) as memory:
        note(settings.home / "inside.txt", "own words")
        files = note(tmp_path / "a.txt", "other words").parent
        with watching(memory, files) as watched:
            note(settings.home / "more.txt", "own words")
            note(tmp_path / "b.txt", "more words")
            assert told(watched.until("new", "b.txt")) == [("new", "b.txt")]
        with pytest.raises(UsageError, match="the memory itself"):
            memory.watch([settings.home])


@pytest.mark.parametrize("given_", [[], ["not there"], ["a.txt"]])
def test_what_is_no_folder_is_refused(memory: Memory, files: Path, given_: list[str]):
    note(files / "a.txt", "words")
    with pytest.raises(UsageError):
        memory.watch([files / name for name in given_])


# Folders that are not there


def test_a_folder_that_is_taken_away_marks_nothing_and_is_followed_again_when_it_is_back(
    memory: Memory, settings: Settings, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(following_folders, "AWAY_S", 0.02)
    for number in range(3):
        note(files / f"n{number}.txt", f"heron {number}")
    with watching(memory, files) as watched:
        os.rename(files, files.with_name("taken out"))
        watched.until("away", files.name)
        assert set(sources(settings).values()) == {False}
        os.rename(files.with_name("taken out"), files)
        watched.until("looked", files.name)
        note(files / "new.txt", "a new heron")
        watched.until("new", "new.txt")
        report = watched.end()
    assert (report.gone, report.new) == (0, 4)
    assert set(sources(settings).values()) == {False}


def test_an_empty_place_where_a_disk_was_marks_nothing(memory: Memory, settings: Settings, files: Path):
    note(files / "n.txt", "a heron")
    note(files / "disk" / "m.txt", "a heron on a disk")
    memory.add([files])
    shutil.rmtree(files / "disk")
    (files / "disk").mkdir()  # as a mount point without its disk
    with watching(memory, files):
        assert sources(settings) == {"n.txt": False, "m.txt": False}
    (files / "n.txt").unlink()
    (files / "disk").rmdir()
    with watching(memory, files):  # the folder itself is empty now
        assert sources(settings) == {"n.txt": False, "m.txt": False}
    note(files / "other.txt", "something is there")
    with watching(memory, files):
        assert sources(settings) == {"n.txt": True, "m.txt": True, "other.txt": False}


@pytest.mark.parametrize("seed", range(5))
def test_after_whatever_happened_the_sources_are_the_files_that_are_there(
    memory: Memory, settings: Settings, files: Path, seed: int
):
    chance = random.Random(seed)
    folders = [files, files / "a", files / "a" / "b"]
    with watching(memory, files) as watched:
        for number in range(40):
            folder = chance.choice(folders)
            there = sorted(path for path in files.rglob("*.txt"))
            what = chance.choice(("write", "write", "change", "move", "delete", "clear", "shift"))
            if what == "write":
                note(folder / f"n{chance.randrange(12)}.txt", f"text {chance.randrange(6)}")
            elif what == "change" and there:
                note(chance.choice(there), f"text {number + 100}")
            elif what == "move" and there:
                folder.mkdir(parents=True, exist_ok=True)
                os.replace(chance.choice(there), folder / f"n{chance.randrange(12)}.txt")
            elif what == "delete" and there:
                chance.choice(there).unlink()
            elif what == "clear":
                shutil.rmtree(folders[2], ignore_errors=True)
            elif what == "shift" and folders[2].exists():
                os.rename(folders[2], files / f"shifted{number}")
        for name in ("zz.txt", "zzz.txt"):  # what happened before the first of them is done when the second is told
            note(files / name, name)
            watched.until("new", name)
    live = database.rows(settings, "SELECT uri FROM source WHERE NOT gone ORDER BY uri")
    assert [Path(uri.removeprefix("file://")) for (uri,) in live] == sorted(files.rglob("*.txt"))
    memory.retry()
    assert database.what_disagrees(settings) == []


def test_a_system_that_follows_no_more_folders_is_told_with_what_to_do(
    memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> Iterator[object]:
        raise OSError("OS file watch limit reached")
        yield

    monkeypatch.setattr("watchfiles.watch", full)
    with pytest.raises(EngineError, match="max_user_watches"):
        memory.watch([files])


# Being quiet


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from("abc"), st.integers(0, 3)), max_size=40), st.floats(0.1, 2))
def test_a_file_is_told_only_when_it_was_left_alone_for_so_long_and_is_never_lost(
    happened: list[tuple[float, str, int]], quiet_s: float
):
    """Each time something is written: time passes, a file gets a size, the system hints, and it is looked at."""
    quiet, sizes, now = Quiet(quiet_s), {}, 0.0
    last: dict[str, float] = {}
    told_: dict[str, tuple[int, int, int] | None] = {}
    look: Callable[[str], tuple[int, int, int] | None] = lambda path: (1, sizes[path], 0)  # noqa: E731
    for gap, path, size in happened:
        now += gap
        for done, seen in quiet.due(now, look):
            assert now - last[done] >= quiet_s
            told_[done] = seen
        sizes[path], last[path] = size, now
        quiet.hint(path, look(path), now)
    told_ |= dict(quiet.due(now + 2 * quiet_s, look))
    assert told_ == {path: (1, size, 0) for path, size in sizes.items()}


def test_a_file_that_grows_without_a_hint_waits_on():
    quiet = Quiet(1.0)
    quiet.hint("a", (1, 10, 0), 0.0)
    assert quiet.due(0.9, lambda _: (1, 10, 0)) == []
    assert quiet.due(1.0, lambda _: (1, 20, 0)) == []
    assert quiet.due(1.9, lambda _: (1, 20, 0)) == []
    assert quiet.due(2.0, lambda _: (1, 20, 0)) == [("a", (1, 20, 0))]
    assert quiet.due(9.0, lambda _: (1, 20, 0)) == []


def test_more_paths_than_can_wait_lead_to_a_look_at_all(memory: Memory, files: Path, monkeypatch: pytest.MonkeyPatch):
    quiet = Quiet(1.0, most=2)
    for path in "abc":
        quiet.hint(path, None, 0.0)
    assert quiet.overflowed
    init = Folders.__init__

    def small(self: Folders, *args: object, **named: object) -> None:
        init(self, *args, **named)
        self._quiet = Quiet(0.05, most=5)

    monkeypatch.setattr(Folders, "__init__", small)
    with watching(memory, files) as watched:
        for number in range(20):
            note(files / "sub" / f"n{number}.txt", f"heron {number}")
        names = {Path(watched.next().path).name for _ in range(20)} - {files.name}
        while len(names) < 20:
            names |= {Path(watched.next().path).name} - {files.name}
    assert names == {f"n{number}.txt" for number in range(20)}


def test_a_folder_is_walked_once_in_the_order_of_names_though_links_make_loops(files: Path):
    for name in ("b.txt", "a.txt", "sub/c.txt", "avoid/d.txt"):
        note(files / name, name)
    (files / "sub" / "loop").symlink_to(files)
    assert [os.path.relpath(path, files) for path in walk(str(files), [str(files / "avoid")])] == [
        "a.txt",
        "b.txt",
        "sub/c.txt",
    ]


def test_folders_inside_others_are_followed_once(files: Path):
    (files / "sub").mkdir()
    (files / "subway").mkdir()
    (files / "link").symlink_to(files / "subway")
    some = [files / "sub", files / "subway", files / "link"]
    assert Folders(some, quiet_s=1).folders == (str(files / "sub"), str(files / "subway"))
    assert Folders([*some, files], quiet_s=1).folders == (str(files),)


# With others, and from the command line


def test_while_another_process_owns_the_memory_files_are_handed_in(memory: Memory, settings: Settings, files: Path):
    from pomnit.governor.owner import OwnerLock

    other = OwnerLock(settings.home)
    assert other.take()
    with watching(memory, files) as watched:
        note(files / "a.txt", "a heron")
        watched.until("new", "a.txt")
        other.give_back()
    assert found(memory, "heron") == ["a"]
    assert database.what_disagrees(settings) == []


def test_ctrl_c_ends_it_with_a_report_and_leaves_nothing_half(settings: Settings, files: Path):
    note(files / "there.txt", "an old heron")
    process = processes.started("cli", "watch", str(files), "--json", "--quiet", "0.05s")
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline())]
    while lines[-1].get("what") != "looked":
        lines.append(json.loads(process.stdout.readline()))
    note(files / "new.txt", "a young heron")
    lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert [line["what"] for line in lines] == ["new", "looked", "new"]
    assert Path(lines[-1]["path"]).name == "new.txt"
    assert json.loads(out.splitlines()[-1])["new"] == 2
    assert sources(settings) == {"there.txt": False, "new.txt": False}


def test_a_kill_loses_nothing_that_was_told(settings: Settings, files: Path):
    process = processes.started("cli", "watch", str(files), "--json", "--quiet", "0.05s")
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["what"] != "looked":
        pass
    note(files / "new.txt", "a young heron")
    assert json.loads(process.stdout.readline())["what"] == "new"
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    with Memory.open(settings=settings, engines=engines()) as memory:
        memory.retry()
        assert [hit.item.title for hit in memory.search("heron")] == ["new"]
    assert database.what_disagrees(settings) == []


def test_the_command_line_prints_a_line_for_each_event(cli, files: Path, monkeypatch: pytest.MonkeyPatch):
    def watch(self: Memory, folders: object, *, quiet_s: float, stop: Stop, on_event: Callable) -> WatchReport:
        on_event(FolderEvent("moved", "/b\x1b[31m.txt", before="/a.txt"))
        on_event(FolderEvent("failed", "/c.txt", reason="damaged"))
        return WatchReport(("/f",), 1, 0, 1, 0, 0, 0, 1, 0, 2, 1.5)

    monkeypatch.setattr(Memory, "watch", watch)
    done = cli("watch", files)
    assert done.code == 0
    assert "moved     /a.txt → /b\N{REPLACEMENT CHARACTER}[31m.txt" in done.out
    assert "failed    /c.txt: damaged" in done.out
    assert "1 moved" in done.out
    assert "2 tasks left" in done.out
    assert cli("watch", files, "--quiet", "soon").code == 2


def test_a_mount_that_is_taken_out_marks_nothing(memory: Memory, settings: Settings, files: Path):
    disk = files / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        note(disk / "m.txt", "a heron on a disk")
        with watching(memory, disk) as watched:
            subprocess.run(["umount", "-l", disk], check=True)
            note(files / "later.txt", "not followed")
            watched.until("looked", "disk")  # the empty place where it was
            assert sources(settings) == {"m.txt": False}
    finally:
        subprocess.run(["umount", "-l", disk], capture_output=True, check=False)
