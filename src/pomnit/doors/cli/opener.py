"""Opens an item with the program that this desktop uses for its kind.

The file it came from is opened when it is still there and still the same size; else what is kept of it, as a private
copy that is taken away again. Only names that a viewer shows are handed over: a captured file whose name makes the
desktop run it is never opened. Programs get a list of arguments; there is no shell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from pomnit.doors.cli.terminal import clean
from pomnit.errors import NotFound, PomnitError
from pomnit.memory import Memory, name_of
from pomnit.readers import files
from pomnit.records import Item, ItemView

# Not .html (it may load and send things), and nothing that a desktop starts, such as .desktop, .command or .app.
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif")
_TEXTS = (".txt", ".md", ".csv", ".srt", ".vtt", ".pdf", ".docx", ".pptx", ".xlsx", ".odt")
VIEWED = frozenset(_PICTURES + _TEXTS)
_BY_TYPE = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/heic": ".heic",
    "image/tiff": ".tiff",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
}
_WHY = "its file is gone, has changed, or is of a kind that is not opened from here"
LOOKING_S = 20.0  # how long a copy stays when there is no terminal to ask when the viewer is done


def open_item(memory: Memory, view: ItemView) -> int:
    """Shows an item in another program, and says what is shown; gives the exit code.

    Raises:
        PomnitError: this machine has nothing to open files with.
    """
    path = source_of(view.item)
    if not has_display():
        click.echo("there is no display here to open it on; it came from:", err=True)
        click.echo(name_of(view.item))
        return 1
    if path is not None:
        click.echo(f"opening {files.display(path)}", err=True)
        _launch(path)
        return 0
    data, suffix, what = _kept(memory, view)
    _open_copy(data, suffix, what)
    return 0


def source_of(item: Item) -> str | None:
    """Gives the path of an item's file: still there, of the same size, and of a kind that viewers show."""
    for source in item.sources:
        if source.kind != "file" or source.gone:
            continue
        path = files.path_of(source.uri)
        same = os.path.isfile(path) and os.path.getsize(path) == item.original.size
        if same and Path(path).suffix.lower() in VIEWED:
            return path
    return None


def has_display() -> bool:
    """Tells whether a window can be shown here."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _kept(memory: Memory, view: ItemView) -> tuple[bytes, str, str]:
    """Gives the bytes to show, their suffix and what they are.

    Raises:
        NotFound: nothing of the item is kept that could be shown.
    """
    suffix = _BY_TYPE.get(view.item.original.media_type)
    if view.kept and suffix:
        return memory.original(view.item.id), suffix, "the bytes that were kept"
    if view.preview:
        return memory.preview(view.item.id), ".webp", f"its small preview, for {_WHY}"
    text = "\n\n".join(passage.text for passage in view.passages)
    if text:
        return text.encode("utf-8", "replace"), ".txt", f"its text, for {_WHY}"
    raise NotFound(f"nothing of {view.item.id} is kept that could be shown, and {_WHY}")


def _open_copy(data: bytes, suffix: str, what: str) -> None:
    """Shows bytes from a file that only this user can read, in a folder that is removed in the end, also by Ctrl-C."""
    folder = tempfile.mkdtemp(prefix="pomnit-")  # 0700
    try:
        copy = os.path.join(folder, f"item{suffix}")
        with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        click.echo(f"opening {what}, decrypted into {clean(copy)} for as long as you look", err=True)
        _launch(copy)
        if sys.stdin.isatty():
            click.prompt("Press Enter when you have seen it", default="", show_default=False, err=True)
        else:
            time.sleep(LOOKING_S)  # what opened it returns at once; the viewer has read it by then
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo("the decrypted copy is removed", err=True)


def _launch(path: str) -> None:
    program = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        done = subprocess.run(
            [program, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        how = "; type: sudo apt-get install xdg-utils" if program == "xdg-open" else ""
        raise PomnitError(f"{program} cannot be started ({error.strerror}){how}") from error
    if done.returncode:
        raise PomnitError(f"{program} could not open {files.display(path)} (it ended with {done.returncode})")
