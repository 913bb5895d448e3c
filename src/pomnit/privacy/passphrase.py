"""Passphrases: which ones there may be, and how one is read from a file. Never shown, not even in an error."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from pomnit.errors import UsageError

FEWEST = 8  # letters
GOOD = 16
LONGEST = 1024  # bytes in UTF-8
HINT = "four or five words chosen by dice are easy to keep in mind and hard to guess"


def fit(text: str) -> bytes:
    """Gives a passphrase as bytes, the same for the same letters however a keyboard composes them (NFC).

    Raises:
        UsageError: it is empty, too long, or holds what no keyboard types. It is not shown.
    """
    if len(text) > LONGEST:
        raise UsageError(f"the passphrase is longer than {LONGEST} bytes; {HINT}")
    if not text:
        raise UsageError(f"the passphrase is empty; {HINT}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise UsageError("the passphrase holds a control character (NUL, Tab); type letters and signs alone")
    data = unicodedata.normalize("NFC", text).encode()
    if len(data) > LONGEST:
        raise UsageError(f"the passphrase is longer than {LONGEST} bytes; {HINT}")
    return data


def fit_new(text: str) -> bytes:
    """Gives a passphrase that is to be set.

    Raises:
        UsageError: as ``fit``, or it is too short to hold anybody off.
    """
    data = fit(text)
    if len(text) < FEWEST or len(set(text)) < FEWEST // 2:
        raise UsageError(f"the passphrase has fewer than {FEWEST} letters, or nearly all are the same; {HINT}")
    return data


def hint(text: str) -> str | None:
    """Gives what to think of before this passphrase is used; None when it is long enough."""
    return None if len(text) >= GOOD else f"with fewer than {GOOD} letters it may be guessed from a stolen copy; {HINT}"


def read(file: Path) -> str:
    """Gives the passphrase in a file of this user alone, or that comes through a pipe, without the end of its line.

    Raises:
        UsageError: it cannot be read, others can read it too, or it is none.
    """
    try:
        with file.open("rb") as opened:
            facts = os.fstat(opened.fileno())
            if stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o077:
                raise UsageError(f"others can read the passphrase in {file}; type: chmod 600 '{file}'")
            data = opened.read(LONGEST + 3)
    except OSError as error:
        raise UsageError(f"the passphrase is not in {file}: {error.strerror}; correct POMNIT_PASSPHRASE_FILE") from None
    return decoded(data, str(file))


def decoded(data: bytes, where: str) -> str:
    """Gives the passphrase of a line of bytes.

    Raises:
        UsageError: it is too long, or no UTF-8.
    """
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > LONGEST:
        raise UsageError(f"what is in {where} is longer than {LONGEST} bytes, so it is no passphrase")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise UsageError(f"what is in {where} is no text in UTF-8, so it is no passphrase") from None
