"""Words for a terminal, and what may reach it: text from outside brings no control characters."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Gives a text with replacement characters for what a terminal would obey."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode())


def one_line(text: str) -> str:
    """Gives a clean text without line ends."""
    return " ".join(clean(text).split())


def counted(number: int, noun: str) -> str:
    """Gives a number with its noun: "1 hit", "2 hits"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sized(n: float) -> str:
    """Gives a number of bytes in the unit that suits it: "512 bytes", "91.6 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if n < 999.95:
            return f"{n:.0f} {unit}" if unit == "bytes" or n >= 99.95 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.2f} GB"
