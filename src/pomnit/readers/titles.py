"""Titles that documents give themselves: many are the name of a program or of a file."""

from __future__ import annotations

import re

LONGEST = 120
# What programs write when nobody named the document.
_NOT_SAID = re.compile(
    r"(?:microsoft\s+(?:word|excel|powerpoint)\b.*|untitled.*|без (?:имени|названия).*|(?:new )?document ?\d*"
    r"|документ ?\d*|(?:powerpoint )?presentation ?\d*|презентация(?: powerpoint)? ?\d*|(?:слайд|slide) ?\d+"
    r"|(?:book|книга|sheet|лист) ?\d*|title|заголовок|scan(?:ned)?(?:[ _-]?(?:document|image|file))?[ _\d-]*"
    r"|скан[ _\d-]*|about:blank)",
    re.IGNORECASE,
)
_SUFFIXES = "docx?|dotx?|xlsx?|pptx?|odt|ods|odp|rtf|indd|cdr|pdf|tex|dvi|ps|html?|tmp|txt|qxd|p65"
_FILE = re.compile(rf"\S+\.(?:{_SUFFIXES})", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


def sensible(title: str | None) -> str | None:
    """Gives a title in one line, at most ``LONGEST`` characters; None for one that says nothing."""
    line = _SPACE.sub(" ", title or "").strip()[: 4 * LONGEST]
    if sum(c.isalnum() for c in line) < 3 or not any(c.isalpha() for c in line):
        return None
    if _NOT_SAID.fullmatch(line) or _FILE.fullmatch(line) or "\ufffd" in line:
        return None
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
