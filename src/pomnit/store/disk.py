"""Folders that are private, and names that a power cut does not lose."""

from __future__ import annotations

import os
from pathlib import Path


def make_private(folder: Path) -> None:
    """Makes a folder of mode 0700 and those above it, each durable; one that is there stays as it is."""
    if folder.is_dir():
        return
    make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync(folder.parent)


def make_private_file(path: Path) -> None:
    """Makes an empty file of mode 0600; one that is there stays as it is.

    Raises:
        OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def sync(folder: Path) -> None:
    """Makes the names in ``folder`` durable, such as a file that was renamed into it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
