"""Letters that look the same in two alphabets, and words that mix them: people and OCR write "Mосква", "сontext"."""

from __future__ import annotations

import re

_LATIN = "ABCEHKMOPTXYaceopxyëË"
_CYRILLIC = "АВСЕНКМОРТХУасеорхуёЁ"
_TO_LATIN = str.maketrans(_CYRILLIC, _LATIN)
_TO_CYRILLIC = str.maketrans(_LATIN, _CYRILLIC)
_LETTERS = re.compile(r"[^\W\d_]+")
_MIXED = re.compile(r"[A-Za-zëË][А-Яа-яёЁ]|[А-Яа-яёЁ][A-Za-zëË]")
_HAS_LATIN, _HAS_CYRILLIC = re.compile(r"[A-Za-zëË]"), re.compile(r"[А-Яа-яёЁ]")
_ANY_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]")


def one_alphabet(text: str) -> str:
    """Gives ``text`` with the letters of each run in one alphabet, where look-alikes of the other slipped in.

    "сontext" with a Cyrillic с becomes Latin, since n and t have no Cyrillic twin. A run that either alphabet could
    write goes by the one that most of its letters are of; a run that neither could write stays.
    """
    return _LETTERS.sub(_one_alphabet, text) if _MIXED.search(text) else text


def _one_alphabet(found: re.Match[str]) -> str:
    run = found.group()
    latin, cyrillic = len(_HAS_LATIN.findall(run)), len(_HAS_CYRILLIC.findall(run))
    if not latin or not cyrillic:
        return run
    as_latin, as_cyrillic = run.translate(_TO_LATIN), run.translate(_TO_CYRILLIC)
    can_be_latin, can_be_cyrillic = not _HAS_CYRILLIC.search(as_latin), not _HAS_LATIN.search(as_cyrillic)
    if can_be_latin and can_be_cyrillic:
        return as_latin if latin > cyrillic else as_cyrillic
    return as_latin if can_be_latin else as_cyrillic if can_be_cyrillic else run


# Letters that a reader of pictures takes for letters of the other alphabet: т for m, г for r, H for н. More than the
# twins above, and only a reason to look again: the picture decides (see engines.ocr_alphabets).
_MAY_BE_CYRILLIC = frozenset("ABCEHKMOPTUXYabcdeghikmnoprtuxy3460ëË")
_MAY_BE_LATIN = frozenset("АБВГДЕЗИКМНОПРСТУХЬабвгдезийкмнопрстухь")


def imitates(run: str) -> str | None:
    """Gives the alphabet, "Latin" or "Cyrillic", that all of a run may have been misread from; None when neither."""
    letters = set(run)
    if letters <= _MAY_BE_LATIN:
        return "Latin"
    return "Cyrillic" if letters <= _MAY_BE_CYRILLIC and any(letter.isalpha() for letter in letters) else None


def alphabet(text: str) -> str | None:
    """Gives the alphabet that all letters of ``text`` are of, "Latin" or "Cyrillic"; None when mixed or neither."""
    letters = [letter for letter in text if letter.isalpha()]
    latin, cyrillic = (sum(1 for _ in pattern.finditer("".join(letters))) for pattern in (_ANY_LATIN, _HAS_CYRILLIC))
    if not letters or len(letters) not in (latin, cyrillic):
        return None
    return "Latin" if latin else "Cyrillic"
