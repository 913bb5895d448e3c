"""The screen becomes items: found by their words, kept without what is sensitive, one item as long as nothing new is
shown; and nothing is lost when capture ends, however it ends."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pomnit import Memory, Settings, capturing
from pomnit.capture import sign
from pomnit.capture.sign import Stop
from pomnit.errors import EngineMissing, Locked, UsageError
from pomnit.privacy.exclusions import Exclusions
from pomnit.store.disk import open_to_others
from support import processes, screens
from support.pictures import engines, note
from support.screens import KEY, WORDS, Stage, colours, has

RED, GREEN, BLUE, YELLOW, CYAN, PURPLE, CARD = list(WORDS)[:7]
CARD_RGB = (0x44, 0x66, 0x88)


@pytest.fixture(scope="module")
def server() -> Iterator[Stage]:
    with screens.stage(Exclusions.of()) as stage:
        yield stage


@pytest.fixture
def stage(server: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A desk with one window, "notes" of Gedit, in the colour of "договор"."""
    server.desk.window((0, 0, 400, 300), RED, title="notes", app="Gedit")
    monkeypatch.setattr(capturing, "WRITTEN_S", 0.0)
    yield server
    server.desk.destroy()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, capture_quality=100, capture_idle=1_000_000)  # however long these tests take


@pytest.fixture
def memory(settings: Settings) -> Iterator[Memory]:
    with Memory.open(settings=settings, engines=engines(colours)) as memory:
        yield memory


def once(memory: Memory, stage: Stage, **more):
    return memory.capture(once=True, screen=stage.screen, monitors=["LEFT"], **more)


def found(memory: Memory, query: str) -> list[str]:
    return [hit.item.title for hit in memory.search(query)]


def items(memory: Memory) -> dict[str, int]:
    return dict(memory.status().items.get("image", {}))


def original(memory: Memory, item: str) -> Image.Image:
    return Image.open(io.BytesIO(memory.original(item))).convert("RGB")


class Recording:
    """Capture that goes on in another thread; ``until`` waits for so many frames to be kept."""

    def __init__(self, memory: Memory, stage: Stage, **more) -> None:
        self.stop, self.kept, self.begun = Stop(), threading.Semaphore(0), threading.Event()
        self.report = None
        self.error: BaseException | None = None
        self._arguments = {"every_s": 0.1, "screen": stage.screen, "monitors": ["LEFT"], **more}
        self._memory = memory
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.report = self._memory.capture(
                stop=self.stop, on_begin=lambda _: self.begun.set(), **self._arguments
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 told at the end
            self.error = error
        finally:
            self.begun.set()

    def __enter__(self) -> Recording:
        real = capturing.Recorder.take

        def take(recorder, frame):
            outcome = real(recorder, frame)
            self.kept.release()
            return outcome

        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(capturing.Recorder, "take", take)
        self._thread.start()
        assert self.begun.wait(60)
        return self

    def until(self, frames: int = 1) -> None:
        for _ in range(frames):
            assert self.kept.acquire(timeout=60)

    def __exit__(self, *_: object) -> None:
        self.stop.ask()
        self._thread.join(60)
        self._patch.undo()
        self.stop.close()
        assert not self._thread.is_alive()


# What is kept


def test_what_was_on_the_screen_is_found_by_its_words_its_title_and_its_application(memory, stage):
    report = once(memory, stage)
    assert (report.frames, report.new, report.failed) == (1, 1, 0)
    assert found(memory, "договор") == found(memory, "notes") == found(memory, "app:gedit") == ["notes"]
    assert found(memory, "договор app:xterm") == []
    (hit,) = memory.search("договор").hits
    (source,) = hit.item.sources
    assert (source.kind, source.uri, source.app, source.window) == ("screen", "screen:LEFT", "Gedit", "notes")
    assert source.first_seen == source.last_seen == hit.item.time
    assert original(memory, hit.item.id).size == (400, 300)
    assert original(memory, hit.item.id).getpixel((5, 5)) == (0xCC, 0x22, 0x00)
    assert hit.passages[0].places[0].box == pytest.approx((0, 0, 1, 1))


def test_each_monitor_is_an_item_of_its_own(memory, stage):
    stage.desk.window((500, 50, 700, 200), GREEN, title="tickets", app="Web")
    assert memory.capture(once=True, screen=stage.screen).new == 2
    assert found(memory, "boiler") == ["tickets"]
    assert memory.search("boiler")[0].item.sources[0].uri == "screen:RIGHT"


def test_an_unchanged_screen_is_one_item_with_a_longer_time(memory, stage):
    once(memory, stage)
    first = memory.search("договор")[0].item.sources[0]
    report = once(memory, stage)
    assert (report.new, report.longer) == (0, 1)
    assert items(memory) == {"ready": 1}
    again = memory.search("договор")[0].item.sources[0]
    assert again.first_seen == first.first_seen
    assert again.last_seen > first.last_seen


def test_only_new_words_make_an_item_while_it_records(memory, stage):
    desk = stage.desk
    desk.fill(desk.windows[0], 0xDDDDDD, (120, 0, 400, 300))
    desk.fill(desk.windows[0], 0xDDDDDD, (0, 60, 400, 300))
    with Recording(memory, stage, every_s=0.5) as recording:
        recording.until()
        desk.fill(desk.windows[0], 0x111111, (390, 290, 395, 295))  # a caret that blinks
        recording.until()
        for x in range(200, 300, 4):  # a plain area is read as nothing
            desk.fill(desk.windows[0], GREEN, (x, 200, x + 2, 240))
        recording.until()
    assert recording.error is None
    assert recording.report.new == 2
    assert recording.report.longer >= 1
    assert items(memory) == {"ready": 2}
    assert len(memory.search("договор")) == 2
    assert len(memory.search("boiler")) == 1


def test_frames_are_embedded_by_the_owner(memory, stage):
    stage.desk.fill(stage.desk.windows[0], GREEN)
    once(memory, stage)
    assert memory.waiting() == {}
    assert memory.status().vectors == 1


def test_the_files_of_frames_are_for_their_user_alone(memory, stage, settings):
    once(memory, stage)
    assert open_to_others(settings.home) is None
    assert all(b"WEBP" not in path.read_bytes() for path in settings.home.rglob("*") if path.is_file())


# What is not kept


def test_what_is_left_out_is_neither_in_the_picture_nor_in_the_words_nor_in_the_preview(memory, stage):
    stage.desk.window((50, 50, 250, 250), KEY, title="Passwords - KeePassXC", app="KeePassXC")
    report = once(memory, stage)
    assert (report.blackened, dict(report.reasons)) == (1, {"app:KeePassXC": 1})
    assert found(memory, "secret") == found(memory, "passwords") == found(memory, "app:keepassxc") == []
    (hit,) = memory.search("договор").hits
    assert not has(original(memory, hit.item.id), KEY)
    shown = np.asarray(Image.open(io.BytesIO(memory.preview(hit.item.id))).convert("RGB")).astype(int)
    assert shown[150, 150].max() < 40


def test_a_rule_of_the_settings_and_one_of_the_call_leave_out_alike(settings, stage):
    own = replace(settings, exclude=("title:notes",))
    with Memory.open(settings=own, engines=engines(colours)) as memory:
        assert once(memory, stage).blackened == 1
        assert found(memory, "договор") == []
    with Memory.open(settings=settings, engines=engines(colours)) as memory:
        assert once(memory, stage, exclude=["app:gedit"]).blackened == 1
        with pytest.raises(UsageError, match="app:NAME"):
            once(memory, stage, exclude=["gedit"])


def test_sensitive_text_is_masked_in_words_title_and_picture(memory, stage):
    desk = stage.desk
    desk.fill(desk.windows[0], CARD, (100, 100, 300, 200))
    desk.name(desk.windows[0], "4111 1111 1111 1111 — notes")
    once(memory, stage)
    (hit,) = memory.search("договор").hits
    assert "4111111111111111" not in hit.passages[0].text
    assert "1111" in hit.passages[0].text
    assert "4111 1111" not in hit.item.title + (hit.item.sources[0].window or "")
    assert not (np.asarray(original(memory, hit.item.id)) == CARD_RGB).all(axis=-1).any()
    assert found(memory, "4111111111111111") == []


def test_what_was_forgotten_does_not_come_back_while_it_stands_there(memory, stage):
    desk = stage.desk
    with Recording(memory, stage) as recording:
        recording.until()
        memory.forget([memory.search("договор")[0].item])
        for n in range(3):
            desk.fill(desk.windows[0], 0xCC2201 + n, (390, 290, 395, 295))
            recording.until()
        assert memory.search("договор").hits == ()
        desk.fill(desk.windows[0], GREEN, (0, 0, 400, 280))
        recording.until()
    assert len(memory.search("boiler")) == 1


def test_a_pause_keeps_the_screen_out_and_is_seen_in_the_status(memory, stage):
    desk = stage.desk
    with Recording(memory, stage) as recording:
        recording.until()
        assert memory.status().capture.recorder == os.getpid()
        assert memory.pause_capture(600).until
        desk.fill(desk.windows[0], GREEN)
        assert not recording.kept.acquire(timeout=0.5)
        assert memory.status().capture.paused
        desk.fill(desk.windows[0], BLUE)
        assert not memory.resume_capture().paused
        recording.until()
    assert found(memory, "boiler") == []
    assert found(memory, "счёт") == ["notes"]
    assert memory.status().capture.recorder is None


# Together with others


def test_what_another_process_hands_in_is_done_while_it_records(memory, stage, settings, files):
    with Recording(memory, stage) as recording:
        recording.until()
        with Memory.open(settings=settings, engines=engines(colours)) as other:
            report = other.add([note(files / "a.txt", "green tea from the mountains")])
            assert "another process" in report.owner
            done = threading.Event()
            for _ in range(600):
                if not other.waiting():
                    break
                done.wait(0.1)
            assert other.waiting() == {}
            assert len(other.search("mountains")) == 1


def test_a_memory_that_is_locked_is_recorded_into_no_more(memory, stage):
    with Recording(memory, stage) as recording:
        recording.until()
        memory._owner.lock()
        recording._thread.join(60)
        assert not recording._thread.is_alive()
        assert recording.error is None or isinstance(recording.error, Locked)


def test_what_is_left_out_as_recording_begins_is_told(memory, stage):
    stage.desk.window((0, 0, 50, 50), KEY, title="Bank - Google Chrome", app="Google-chrome")
    stage.desk.window((50, 0, 99, 50), KEY, title="x", app="KeePassXC")
    begun = []
    once(memory, stage, on_begin=begun.append)
    assert begun[0].monitors == (("LEFT", 400, 300),)
    assert dict(begun[0].left_out).keys() == {"Google-chrome", "KeePassXC"}
    assert "empty tab" in dict(begun[0].left_out)["Google-chrome"]


def test_a_second_recorder_is_refused(memory, stage, settings):
    with Recording(memory, stage) as recording:
        recording.until()
        with (
            Memory.open(settings=settings, engines=engines(colours)) as other,
            pytest.raises(UsageError, match="records already"),
        ):
            once(other, stage)


def test_without_a_recogniser_nothing_is_taken_and_the_command_is_named(settings, stage, monkeypatch):
    with Memory.open(settings=settings, engines=engines(colours)) as memory:

        @contextmanager
        def missing() -> Iterator[None]:
            raise EngineMissing("there is no Tesseract; type: apt-get install tesseract-ocr-rus")
            yield

        monkeypatch.setattr(memory._governor, "recogniser", missing)
        with pytest.raises(EngineMissing, match="apt-get"):
            once(memory, stage)
        assert items(memory) == {}
        assert sign.recorder(settings.home) is None


def test_an_error_of_the_work_behind_ends_the_recording_and_is_told(memory, stage, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(memory, "_can_work", lambda _: True)
    monkeypatch.setattr(memory, "_work", broken)
    with Recording(memory, stage) as recording:
        recording._thread.join(60)
    assert "fire" in str(recording.error)


# How it ends


@pytest.fixture
def recorder(stage: Stage, settings: Settings) -> Iterator[Callable[..., object]]:
    """Starts ``pomnit capture`` as its own process; see ``support.recorder``."""
    started = []

    def start(*words: str):
        environ = {
            "DISPLAY": stage.name,
            "XDG_SESSION_TYPE": "x11",
            "WAYLAND_DISPLAY": "",
            "POMNIT_CAPTURE_IDLE": "1000000",
        }
        words = ("--every", "0.1", "--monitor", "LEFT", *words)
        process = processes.started(*words, module="support.recorder", environ=environ)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kept(process) -> str:
    """Waits for the next frame that was kept; gives its words."""
    for line in process.stdout:
        if line.startswith("kept "):
            return line.removeprefix("kept ").strip()
    raise AssertionError(process.stderr.read())


def test_ctrl_c_ends_it_with_a_report_and_loses_nothing(recorder, stage, settings):
    stage.desk.type()
    process = recorder()
    assert kept(process) == "new"
    stage.desk.fill(stage.desk.windows[0], GREEN)
    assert kept(process) == "new"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "2 new" in out
    assert "recording" in err
    with Memory.open(settings=settings, engines=engines(colours)) as memory:
        assert items(memory) == {"ready": 2}


def test_a_kill_loses_at_most_the_frame_in_the_air(recorder, stage, settings):
    stage.desk.type()
    process = recorder()
    assert kept(process) == "new"
    for colour in (GREEN, BLUE, YELLOW, CYAN):
        stage.desk.fill(stage.desk.windows[0], colour)
        assert kept(process) == "new"
    stage.desk.fill(stage.desk.windows[0], PURPLE)
    process.kill()
    process.wait(60)
    with Memory.open(settings=settings, engines=engines(colours)) as memory:
        counts = items(memory)
        assert counts in ({"ready": 5}, {"ready": 6})
        for word in ("договор", "boiler", "счёт", "ticket", "чай"):
            (hit,) = memory.search(word).hits
            assert original(memory, hit.item.id).size == (400, 300)
        assert once(memory, stage).frames == 1  # the signs of the dead one hold nobody up


def test_the_command_says_once_that_it_records_and_nothing_after(recorder, stage):
    """A line that counted would change the screen, and be recorded in turn, for ever."""
    stage.desk.type()
    process = recorder("--json")
    assert kept(process) == "new"
    stage.desk.fill(stage.desk.windows[0], GREEN)
    assert kept(process) == "new"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert '"new": 2' in out
    assert err == ""


def test_the_commands_pause_resume_and_status_speak_of_it(cli):
    assert "paused until" in cli("pause", "--for", "10m").out
    assert "paused" in cli("status").out
    assert "off" in cli("resume").out
    assert '"paused": false' in cli("resume", "--json").out
    assert cli("pause", "--for", "soon").code == 2
    assert cli("capture", "--every", "0").code == 2


def test_without_a_desktop_capture_says_so_and_doctor_too(cli, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    outcome = cli("capture", "--once")
    assert outcome.code == 21
    assert "there is no desktop here" in outcome.err
    assert "not captured here" in cli("doctor").out


def test_doctor_names_the_monitors_and_what_is_left_out(cli, stage, monkeypatch):
    monkeypatch.setenv("DISPLAY", stage.name)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("XDG_SESSION_TYPE", "x11")
    monkeypatch.setenv("POMNIT_EXCLUDE", "app:Telegram; title:*bank*")
    out = cli("doctor").out
    assert "LEFT 400x300, RIGHT 400x300" in out
    assert "app:Telegram, title:*bank*" in out
    assert "private windows" in out
    monkeypatch.setenv("POMNIT_EXCLUDE", "Telegram")
    assert "no rule" in cli("doctor").out
