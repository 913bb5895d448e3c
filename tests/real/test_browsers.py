"""Private windows of real browsers on a real X server: what they show is on no frame, whatever page they are on.

Skipped without Xvfb, or without Chromium or Firefox on the PATH (CHROMIUM and FIREFOX name them elsewhere).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pomnit.privacy.exclusions import Exclusions
from support import screens
from support.screens import Stage, has

pytestmark = pytest.mark.slow

FIRST_RUN = Exclusions.of()
KEY = 0xFF00FE
PAGE = "data:text/html,<title>Online%20Shop</title><body%20style='background:%23ff00fe'>"
WITHIN_S = 60


@pytest.fixture
def stage() -> Iterator[Stage]:
    with screens.stage(FIRST_RUN) as stage:
        yield stage


def browser(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"no {names[0]} on the PATH, and {variable} names none")


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Callable[..., None]]:
    started: list[subprocess.Popen[bytes]] = []

    def start_(*command: str) -> None:
        environ = {**os.environ, "DISPLAY": stage.name, "HOME": str(tmp_path), "MOZ_ENABLE_WAYLAND": "0"}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environ, start_new_session=True, **silent))

    yield start_
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            process.wait(30)


def until(holds: Callable[[], bool]) -> bool:
    """Waits until something holds; False when it never does."""
    pause = threading.Event()
    return any(holds() or pause.wait(0.1) for _ in range(WITHIN_S * 10))


def shown(stage: Stage) -> bool:
    """Says whether the colour of the page is on the screen."""
    return any(
        (stage.screen.pixels(m)[..., :3] == [0xFE, 0x00, 0xFF]).all(axis=-1).any() for m in stage.screen.monitors()
    )


def taken(stage: Stage) -> bool:
    """Says whether it is on a frame."""
    return any(has(frame.image, KEY) for frame in stage.frames(FIRST_RUN).values())


def chromium(tmp_path: Path) -> tuple[str, ...]:
    quiet = ("--no-first-run", "--disable-gpu", "--disable-background-networking", "--ozone-platform=x11")
    where = (f"--user-data-dir={tmp_path / 'profile'}", "--window-position=0,0", "--window-size=700,290")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    return browser("CHROMIUM", "chromium", "chromium-browser", "google-chrome"), *quiet, *where, *sandbox


def test_a_page_in_a_private_window_of_chromium_is_on_no_frame(stage, start, tmp_path):
    start(*chromium(tmp_path), "--incognito", PAGE)
    assert until(lambda: shown(stage))
    assert not taken(stage)


def test_a_page_in_an_ordinary_window_of_chromium_is_once_its_empty_tab_told(stage, start, tmp_path):
    start(*chromium(tmp_path), "chrome://newtab")
    assert until(lambda: any(str(w.title).startswith("New Tab") for w in stage.screen.look().windows))
    start(*chromium(tmp_path), PAGE)  # another tab of that window
    assert until(lambda: shown(stage))
    assert until(lambda: taken(stage))


def test_a_page_in_a_private_window_of_firefox_is_on_no_frame(stage, start, tmp_path):
    profile = tmp_path / "profile"
    profile.mkdir()
    start(browser("FIREFOX", "firefox", "firefox-esr"), "--profile", str(profile), "--private-window", PAGE)
    # Firefox shows no data: page that another program hands it; its own window is enough.
    assert until(lambda: any(w.private for w in stage.screen.look().windows))
    assert all("firefox" not in str(f.app).lower() for f in stage.frames(FIRST_RUN).values())
