"""Bytes to text: UTF-8, 16 and 32, the encodings that Russian and English were written in, and text encoded twice.

An encoding with one byte for a letter accepts any bytes, so each is scored by how much what it gives looks like
Russian (letters by their frequency, capitals where capitals stand) or like Latin letters with accents. Text that was
read in a wrong encoding and saved again ("РџСЂРёРІРµС‚", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "donâ€™t") is put right where it
cannot be meant.
"""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache

from pomnit.errors import ItemError

_BOMS = (  # the longest first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SINGLE = ("cp1251", "koi8_r", "cp866", "cp1252", "mac_cyrillic", "iso8859_5", "latin_1")  # the first wins a tie
_LIKELY = {"cp1251": 1.5, "mac_cyrillic": -0.5, "iso8859_5": -1.0, "latin_1": -1.0}  # before anything is seen
_SAMPLE = 8_000  # bytes above 127, with their neighbours, that decide
_LEAST = -7.0  # mean score of what is still a text
# What other systems' controls become; a NUL or a form feed would end or hide text elsewhere.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x19\x1c-\x1f\x7f]")
_RARE = re.compile(rb"[A-Za-z]?[\x80-\xff][A-Za-z\x80-\xff]*")
_REPEATED = re.compile(rb"([\x80-\xff])\1{2,}")  # rules and frames

# How often each letter stands in Russian texts, as a logarithm.
_OFTEN = """о 1097 е 845 а 801 и 735 н 670 т 626 с 547 р 473 в 454 л 440 к 349 м 321 д 298 п 281 у 262 я 201 ы 190 ь 174
г 170 з 165 б 159 ч 144 й 121 х 97 ж 94 ш 73 ю 64 ц 48 щ 36 э 32 ф 26 ё 20 ъ 4"""  # of 10,000 letters
_LETTERS = {letter: math.log(int(n) / 10_000) for letter, n in re.findall(r"(\w) (\d+)", _OFTEN)}
_PUNCTUATION = frozenset("«»—–…№“”„‘’•·©®°±§\xa0€‹›™×−²³½¼¾")


def decode(data: bytes, hint: str | None = None) -> str:
    """Gives the text of bytes; ``hint`` is the encoding that a document claims for itself, and is not believed blindly.

    Raises:
        ItemError: the bytes are no text, or in no encoding that is known here.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return repair(data.decode(encoding, "replace"))
    if wide := _wide(data):
        return repair(data.decode(wide, "replace"))
    try:
        return repair(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    damaged = data.decode("utf-8", "replace")
    bad, good = damaged.count("\ufffd"), sum(map(len, re.findall(r"[^\x00-\x7f\ufffd]+", damaged[:1_000_000])))
    if bad * 20 <= good:  # a few bytes were lost from what is UTF-8 all the same
        return repair(damaged)
    if len(_BINARY.findall(data)) * 100 > len(data):
        raise ItemError("it is no text: it holds bytes that no text has")
    return undisguise(data.decode(_single(data, hint), "replace"))


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file may be those of a text."""
    return b"\0" not in head or head.startswith(tuple(bom for bom, _ in _BOMS)) or _wide(head) is not None


def clean(text: str) -> str:
    """Gives a text with line feeds for line ends, composed letters, and no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(" ", unicodedata.normalize("NFC", text))


# UTF-16 and UTF-32 without a byte order mark


_HIGH = (0x00, 0x04, 0x20, 0x25)  # of Latin letters, Russian ones, typographic signs, frames


def _wide(data: bytes) -> str | None:
    """Gives the encoding of letters in two or four bytes each, seen by how regularly the high ones repeat."""
    head = data[: 4096 - 4096 % 4]
    if len(head) < 4 or not (b"\0" in head or b"\x04" in head):
        return None
    for encoding, width, high in (("utf-32-le", 4, 2), ("utf-32-be", 4, 1), ("utf-16-le", 2, 1), ("utf-16-be", 2, 0)):
        rows = head[: len(head) - len(head) % width][high::width]
        usual = sum(map(rows.count, _HIGH if width == 2 else (0,)))
        if usual < len(rows) * 0.95:
            continue
        try:
            text = head[: len(head) - len(head) % width].decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROLS.search(text):
            return encoding
    return None


# One byte for a letter


def _single(data: bytes, hint: str | None) -> str:
    """Gives the encoding in which bytes look most like a text.

    Raises:
        ItemError: in none do they.
    """
    sample = b" ".join(_RARE.findall(_REPEATED.sub(b" ", data[:4_000_000])))[:_SAMPLE]
    scores: dict[str, float] = {}
    for encoding in _SINGLE:
        try:
            scores[encoding] = _plausible(sample.decode(encoding)) + _LIKELY.get(encoding, 0.0) / max(1, len(sample))
        except UnicodeDecodeError:
            continue
    claimed = _known(hint)
    if claimed in scores:
        scores[claimed] += 0.5
    best = max(scores, key=lambda encoding: scores[encoding])
    if claimed and claimed not in scores and scores[best] < -5.0:
        return claimed
    if scores[best] < _LEAST:
        raise ItemError("the text is in an encoding that is not known here; save it in UTF-8")
    return best


def _known(hint: str | None) -> str | None:
    try:
        name = codecs.lookup(hint or "").name.replace("-", "_")
    except (LookupError, ValueError, TypeError):
        return None
    return {"iso8859_1": "latin_1"}.get(name, name)


def _plausible(text: str) -> float:
    """Gives the mean score of the characters beyond ASCII, about -3 for Russian."""
    total, n, before = 0.0, 0, " "
    for c in text:
        if c > "\x7f":
            total += _score(c, before)
            n += 1
        elif c.isalpha() and "\u0400" <= before <= "\u04ff":
            total -= 6.0
        before = c
    return total / n if n else 0.0


def _score(c: str, before: str) -> float:
    """Gives how likely a character is after the one before it, as a logarithm."""
    low = c.lower()
    if low in _LETTERS:
        score = _LETTERS[low]
        if before.isascii() and before.isalpha():
            return score - 6.0
        if c != low:
            return score - (6.0 if before.islower() else 1.0)
        return score
    if c in _PUNCTUATION:
        return -6.0
    if "À" <= c <= "ÿ" and c.isalpha():
        return -4.0 if before.isascii() and before.isalpha() else -6.0
    if "\u0400" <= c <= "\u04ff":
        return -7.0
    return -8.0 if "\u2500" <= c <= "\u25ff" else -11.0


# Encoded twice

_BEYOND = re.compile(r"[^\x00-\x7f]+")
_MISREAD = ("cp1251", "cp1252", "latin_1", "mac_roman", "cp866", "koi8_r")
_WESTERN_MISREAD = ("cp1252", "latin_1", "mac_roman")


def repair(text: str) -> str:
    """Gives a text with what was encoded twice put right; any other text as it is.

    Only runs that are UTF-8 to the last byte and give letters or signs in use are touched, and a lone pair, which may
    be meant («витамин В»), only beside others.
    """
    for _ in range(3):  # it happens to a text more than once
        runs: Counter[str] = Counter() if text.isascii() else Counter(m.group() for m in _BEYOND.finditer(text))
        for encoding in _MISREAD:
            meant = _meant(runs, encoding)
            if meant:
                text = _put_right(text, meant, encoding)
                break
        else:
            break
    return undisguise(text)


def _meant(runs: Counter[str], encoding: str) -> dict[str, str]:
    """Gives what each run of characters beyond ASCII was before it was read in ``encoding``; {} if it was not."""
    pattern, letters = _twice(encoding)
    meant: dict[str, str] = {}
    for run in runs:
        if pattern.fullmatch(run):
            try:
                again = run.translate(letters).encode("latin-1").decode("utf-8")
            except UnicodeError:
                continue
            if all(map(_in_use, again)):
                meant[run] = again
    many = encoding in _WESTERN_MISREAD and sum(runs[run] for run in meant) >= 2
    return meant if many or any(_is_sure(*both, encoding) for both in meant.items()) else {}


def _put_right(text: str, meant: dict[str, str], encoding: str) -> str:
    sure = {run for run, again in meant.items() if _is_sure(run, again, encoding)}
    lines = []
    for line in text.split("\n"):
        runs = set(_BEYOND.findall(line))
        wrong = runs & sure or (encoding in _WESTERN_MISREAD and runs & meant.keys())
        lines.append(_BEYOND.sub(lambda m: meant.get(m.group(), m.group()), line) if wrong else line)
    return "\n".join(lines)


def _is_sure(run: str, meant: str, encoding: str) -> bool:
    """Whether nobody can have meant these characters."""
    if encoding in _WESTERN_MISREAD:
        return len(run) >= 3
    return len(meant) >= 2 and 2 * sum(c.lower() in _LETTERS for c in meant) >= len(meant)


def _in_use(c: str) -> bool:
    return (
        c.lower() in _LETTERS
        or c in _PUNCTUATION
        or "\xa0" <= c <= "ž"
        or "\u0402" <= c <= "\u045f"
        or "\u2010" <= c <= "\u214f"
        or unicodedata.category(c) == "So"
        or c == "\ufeff"
    )


@cache
def _twice(encoding: str) -> tuple[re.Pattern[str], dict[int, int]]:
    """Gives what UTF-8 looks like when read in ``encoding``, and the byte that each character was."""
    letter: Callable[[int], str] = lambda byte: bytes([byte]).decode(encoding, "ignore") or chr(byte)  # noqa: E731
    letters = {ord(letter(byte)): byte for byte in range(0x80, 0x100)}

    def group(first: int, last: int) -> str:
        return "[" + "".join(re.escape(letter(byte)) for byte in range(first, last + 1)) + "]"

    tail = group(0x80, 0xBF)
    parts = (group(0xC2, 0xDF) + tail, group(0xE0, 0xEF) + tail * 2, group(0xF0, 0xF4) + tail * 3)
    return re.compile(f"(?:{'|'.join(parts)})+"), letters


# Russian that pretends to be Western


_WESTERN = re.compile(r"[A-Za-zÀ-ÿ¨¸]+")
_DISGUISED = re.compile(r"(?<![A-Za-zÀ-ÿ])[À-ÖØ-öø-ÿ¨¸]{4,}(?![A-Za-zÀ-ÿ])")
_MASK = {ord(bytes([b]).decode("cp1252")): bytes([b]).decode("cp1251") for b in (*range(0xC0, 0x100), 0xA8, 0xB8)}


def undisguise(text: str) -> str:
    """Gives a text in which Russian read as Western ("Ïðèâåò") is Russian again; each character stays one.

    Old fonts and programs wrote windows-1251 and said it was Latin-1. No Western language has words of four letters
    that are all accented.
    """
    if len(found := _DISGUISED.findall(text[:200_000])) < 2:
        return text
    if _plausible(" ".join(found[:500]).translate(_MASK)) < -4.0:
        return text

    def unmask(m: re.Match[str]) -> str:
        word = m.group()
        return word.translate(_MASK) if 2 * sum(c > "\x7f" for c in word) > len(word) else word

    return _WESTERN.sub(unmask, text)
