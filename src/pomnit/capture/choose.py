"""Which kind of screen this desktop has, and why; or why it cannot be captured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pomnit.capture.frames import Screen
from pomnit.capture.x11_windows import Judge
from pomnit.errors import EngineError, EngineMissing, UsageError
from pomnit.privacy.exclusions import Exclusions
from pomnit.records import Check
from pomnit.settings import Settings

Kind = Literal["macos", "wayland", "x11", "none"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A kind of screen, and why it is this one."""

    kind: Kind
    reason: str


def choose(environ: Mapping[str, str] | None = None, system: str | None = None) -> Chosen:
    """Gives the kind of this desktop's screen. Opens nothing."""
    environ = os.environ if environ is None else environ
    if (system or platform.system()) == "Darwin":
        return Chosen("macos", "this is macOS: ScreenCaptureKit")
    session = environ.get("XDG_SESSION_TYPE", "").lower()
    # Under Wayland DISPLAY is that of Xwayland, which shows nothing of the desktop.
    if environ.get("WAYLAND_DISPLAY") or session == "wayland":
        return Chosen("wayland", "this session is Wayland's: the desktop portal gives the pictures")
    if environ.get("DISPLAY"):
        return Chosen("x11", f"DISPLAY is {environ['DISPLAY']}: an X display")
    return Chosen("none", "neither WAYLAND_DISPLAY nor DISPLAY is set: there is no desktop here")


def open_screen(judge: Judge = lambda _: None) -> Screen:
    """Opens this desktop's screen. ``judge`` says what decides about a window, see ``x11_windows``.

    Raises:
        EngineMissing: there is none, or it cannot be captured, with what to do.
    """
    chosen = choose()
    if chosen.kind == "x11":
        from pomnit.capture.x11 import X11Screen

        return X11Screen(judge=judge)
    if chosen.kind == "wayland":
        from pomnit.capture.wayland import WaylandScreen

        return WaylandScreen()
    if chosen.kind == "macos":
        from pomnit.capture.macos import MacScreen

        return MacScreen(judge=judge)
    raise EngineMissing(f"the screen cannot be captured: {chosen.reason}; run `pomnit capture` inside your desktop")


def exclusions(settings: Settings, more: Iterable[str] = ()) -> Exclusions:
    """Gives what is left out by the settings, and by ``more`` rules.

    Raises:
        UsageError: a text is no rule.
    """
    return Exclusions.of(
        (*settings.exclude, *more),
        defaults=settings.exclude_known == "on",
        private=settings.private_windows == "hide",
        unknown=settings.unknown_windows,
    )


def check(settings: Settings) -> Iterator[Check]:
    """Gives what `doctor` says of the screen: whether it can be captured, and what is left out."""
    chosen = choose()
    if chosen.kind == "none":
        yield Check("screen", "ok", f"not captured here: {chosen.reason}")
    else:
        yield _screen(chosen)
    try:
        left_out = exclusions(settings)
    except UsageError as error:
        yield Check("left out", "problem", str(error), "put the setting exclude right")
        return
    known = ["password managers"] if settings.exclude_known == "on" else []
    known += ["private windows"] if left_out.private else []
    text = (
        " and ".join(known) or "neither password managers nor private windows: settings exclude_known, private_windows"
    )
    text += f"; rules of your own: {', '.join(settings.exclude) or 'none'}"
    yield Check("left out", "ok" if len(known) == 2 else "warning", text)


def _screen(chosen: Chosen) -> Check:
    try:
        screen = open_screen()
        try:
            monitors = ", ".join(f"{m.name} {m.box[2] - m.box[0]}x{m.box[3] - m.box[1]}" for m in screen.monitors())
            windows = screen.look().windows
        finally:
            screen.close()
    except EngineError as error:
        what, _, command = str(error).partition("; type: ")
        return Check("screen", "warning", what, command or None)
    told = "its windows are told" if windows is not None else "what is on it is not told: setting unknown_windows"
    return Check("screen", "ok", f"{chosen.reason}; {monitors}; {told}")
