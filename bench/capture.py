"""What recording costs, on a real X server (Xvfb): `pomnit capture` as a user starts it, and twelve hours replayed.

    .venv/bin/python bench/capture.py [--still 300] [--typing 120] [--frames 21600] [--only still,typing,replay]

Shares are of one core, of the program and all its children together, read from /proc. Bytes written are those that the
system counts for these processes (write_bytes of /proc/PID/io, which root alone may read of processes that hold keys);
bytes kept are what the memory is larger by on disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from PIL import Image, ImageDraw, ImageFont

from support import xserver

SIZE = (1920, 1080)
FONTS = ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "DejaVuSans.ttf", "Arial.ttf")
TICK = os.sysconf("SC_CLK_TCK")
TEXT = """
договор аренды квартиры подписан третьего ноября и вступает в силу сразу после регистрации the landlord promised to
repair the boiler before the first frost и прислать счёт за отопление до конца недели meeting moved to thursday билеты
на поезд лежат в папке документы please review the pull request about incremental capture when you can стоматолог
перенёс приём на среду after lunch we should call the insurance company again
"""
WORDS = TEXT.split()
WINDOW = 5  # frames until another one: what is kept of windows to compare with is full within the first hour


# Processes


def tree(pid: int) -> list[int]:
    """Gives a process and all that came from it."""
    found = [pid]
    for number in found:
        try:
            for task in Path(f"/proc/{number}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


@dataclass
class Spent:
    """What processes took so far, those that ended counted with their parents."""

    cpu_s: float = 0.0
    written: int = 0
    memory: int = 0


def spent(pid: int) -> Spent:
    """Gives what a process and all that came from it took."""
    total = Spent()
    for number in tree(pid):
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            total.cpu_s += sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICK
            lines = Path(f"/proc/{number}/io").read_text().splitlines()
            total.written += next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
            total.memory += int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total


def on_disk(folder: Path) -> int:
    """Gives the bytes of all files, the log of the database left out: it is not kept."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm")))


# The screen


def font(size: int) -> ImageFont.FreeTypeFont:
    """Gives a font with Latin and Cyrillic letters."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    raise SystemExit("no font with Cyrillic letters: apt-get install fonts-dejavu-core")


class Editor:
    """A window that somebody writes in."""

    def __init__(self, desk: xserver.Desk, seed: int = 1) -> None:
        self.desk, self.dice = desk, random.Random(seed)
        self.window = desk.window((0, 0, *SIZE), 0xFFFFFF, title="Заметки — редактор", app="Editor")
        self.page = Image.new("RGB", SIZE, "white")
        self.font = font(17)
        self.x, self.y = 30, 20
        while self.y < SIZE[1] - 400:
            self.word()
        desk.write(self.window, self.page)

    def word(self) -> None:
        """Writes one word; a full page is turned."""
        text = self.dice.choice(WORDS) + " "
        width = int(self.font.getlength(text)) + 1
        if self.x + width > SIZE[0] - 40:
            self.x, self.y = 30, self.y + 26
        if self.y > SIZE[1] - 40:
            self.page.paste("white", (0, 0, *SIZE))
            self.y = 20
        ImageDraw.Draw(self.page).text((self.x, self.y), text, fill="#222222", font=self.font)
        self.x += width

    def type(self) -> None:
        """Writes a word and shows its line."""
        y = self.y
        self.word()
        self.desk.type()
        if self.y < y:
            self.desk.write(self.window, self.page)
        for top in {y, self.y}:
            self.desk.write(self.window, self.page.crop((0, top, SIZE[0], top + 26)), (0, top))


@contextmanager
def recording(display: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Gives `pomnit capture` at work."""
    environ = {
        **os.environ,
        "DISPLAY": display,
        "WAYLAND_DISPLAY": "",
        "XDG_SESSION_TYPE": "x11",
        "POMNIT_HOME": str(home),
        "POMNIT_KEY": "file",
        "POMNIT_KEY_DIR": str(home.parent / "keys"),
        "POMNIT_CAPTURE_IDLE": "100000",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pomnit", "capture", "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def report(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ends the recording; gives what it did."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    if process.returncode:
        raise SystemExit(err)
    return json.loads(out)


def still_and_typing(still_s: float, typing_s: float) -> None:
    """Prints what a still screen costs, and one that somebody writes on."""
    with tempfile.TemporaryDirectory() as folder, xserver.running(*SIZE) as display, xserver.desk(display) as desk:
        home = Path(folder) / "home"
        editor = Editor(desk)
        with recording(display, home) as process:
            time.sleep(75)  # the first page is read, embedded, and the models leave
            if still_s:
                before, kept = spent(process.pid), on_disk(home)
                time.sleep(still_s)
                after = spent(process.pid)
                share = 100 * (after.cpu_s - before.cpu_s) / still_s
                print(
                    f"still screen, {still_s:.0f} s    {share:6.2f} % of a core (asked: < 1), "
                    f"{on_disk(home) - kept} bytes more on disk, {after.memory / 1e6:.0f} MB resident"
                )
            before, kept, started = spent(process.pid), on_disk(home), time.monotonic()
            words = 0
            while (gone := time.monotonic() - started) < typing_s:
                editor.type()
                words += 1
                time.sleep(max(0.0, 0.9 * words - gone))  # 65 words a minute
            after = spent(process.pid)
            said = report(process)
        # Written, and moved from the log into the database, by the end.
        grown = on_disk(home) - kept
        written = after.written - before.written
        print(
            f"typing, {typing_s:.0f} s          {100 * (after.cpu_s - before.cpu_s) / typing_s:6.2f} % of a core "
            f"(asked: < 25), {words} words, {after.memory / 1e6:.0f} MB resident"
        )
        print(
            f"bytes               {written / 1e6:6.2f} MB written, {grown / 1e6:.2f} MB kept: "
            f"{written / max(grown, 1):.2f} times (asked: <= 3)"
        )
        print(f"frames              {said['frames']} taken, {said['new']} new, {said['longer']} known for longer")


# Twelve hours


def replay(frames: int) -> None:
    """Feeds frames of a day, at a quarter of the size, through the whole of capture but Tesseract."""
    from pomnit import Memory, Settings, capturing
    from pomnit.capture.frames import Frame
    from pomnit.engines.protocols import Line, Word
    from support.pictures import engines

    side = (480, 270)
    small = font(11)
    dice = random.Random(2)
    shown: list[str] = []

    def read(_: Image.Image) -> list[Line]:
        """Says what was written last; a real recogniser is a process of its own, whose memory is not this one's."""
        words = tuple(Word(w, (0.1 * i, 0.1, 0.1 * i + 0.08, 0.2), 0.9) for i, w in enumerate(shown[-9:]))
        return [Line(words, 0)] if words else []

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(
            home=f"{folder}/home", key="file", key_dir=f"{folder}/keys", cache=f"{folder}/cache", environ={}
        )
        with Memory.open(settings=settings, engines=engines(read)) as memory:
            parts = capturing.Parts(
                memory._store, memory.keys, memory._governor, settings, memory._owner, lambda _: None, lambda _: None
            )
            recorder = capturing.Recorder(parts, capturing._reader(memory._governor))
            page = Image.new("RGB", side, "white")
            started, at, y, points = time.monotonic(), time.time(), 8, []
            for number in range(frames):
                shown.append(dice.choice(WORDS))
                if number % WINDOW == 0:  # another window
                    page.paste(dice.choice(["white", "#1e1e1e", "#fafaf0"]), (0, 0, *side))
                    y = 8
                ImageDraw.Draw(page).text((dice.randint(5, 300), y), shown[-1], fill="#777777", font=small)
                y = 8 + (y + 5) % (side[1] - 24)
                window = number // WINDOW % 300
                recorder.take(Frame("one", page.copy(), at + 2 * number, "Editor", f"window {window}", None, window))
                if number % max(1, frames // 24) == 0:
                    points.append((number, resident(), len(os.listdir("/proc/self/fd"))))
            recorder.write()
            points.append((frames, resident(), len(os.listdir("/proc/self/fd"))))
            settled = [p for p in points if p[0] >= frames // 12]
            low, high = (f(p[1] for p in settled) for f in (min, max))
            print(
                f"{frames * 2 / 3600:.0f} h replayed        in {time.monotonic() - started:.0f} s: "
                f"{recorder.counts['new']} new, {recorder.counts['longer']} known for longer"
            )
            print(
                f"memory              {low / 1e6:.0f} to {high / 1e6:.0f} MB after the first hour: "
                f"+-{(high - low) / 2e6:.1f} MB (asked: +-20), at the end {points[-1][1] / 1e6:.0f} MB"
            )
            print("                    " + ", ".join(f"{p[1] / 1e6:.0f}" for p in points) + " MB, every half hour")
            print(f"descriptors         {settled[0][2]} after the first hour, {points[-1][2]} at the end")


def resident() -> int:
    """Gives the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--still", type=float, default=300, help="seconds of a still screen")
    parser.add_argument("--typing", type=float, default=120, help="seconds of typing")
    parser.add_argument("--frames", type=int, default=21_600, help="frames of the replay, two seconds apart")
    parser.add_argument("--only", default="screen,replay")
    arguments = parser.parse_args()
    if reason := xserver.why_not():
        raise SystemExit(reason)
    if "screen" in arguments.only:
        still_and_typing(arguments.still, arguments.typing)
    if "replay" in arguments.only:
        replay(arguments.frames)


if __name__ == "__main__":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", line_buffering=True)
    main()
