"""Files that hold what was found: readable by their owner alone, and whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pomnit.errors import HomeError, UsageError


def check(option: str, path: str, *suffixes: str) -> None:
    """Raises when a file should not be written there, before any work is done for it.

    Raises:
        UsageError: another suffix, or no folder to write it in.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise UsageError(f"{option} {path}: the name ends in {' or '.join(suffixes)}")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {Path(path).absolute().parent}")


def write(path: str, data: bytes) -> None:
    """Writes a file aside and renames it; what was there is replaced.

    Raises:
        HomeError: it cannot be written.
    """
    target = Path(path).absolute()
    try:
        handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".pomnit-")  # 0600
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
            os.replace(aside, target)
        finally:
            Path(aside).unlink(missing_ok=True)
    except OSError as error:
        raise HomeError(f"{path} cannot be written: {error.strerror}") from error
