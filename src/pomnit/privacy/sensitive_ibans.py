"""IBANs: a country, its length, what stands at each place (letters, digits, either), and the remainder of 97."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pomnit.privacy.sensitive_view import View, to_digits, to_letters
from pomnit.records import SensitiveKind

# ISO 13616: behind country and check digits so many n(umerals), a(lphabetic) or c(haracters of either).
_COUNTRIES = """AD 8n12c|AE 19n|AL 8n16c|AT 16n|AZ 4a20c|BA 16n|BE 12n|BG 4a6n8c|BH 4a14c|BR 23n1a1c|BY 4c4n16c
|CH 5n12c|CR 18n|CY 8n16c|CZ 20n|DE 18n|DK 14n|DO 4c20n|EE 16n|EG 25n|ES 20n|FI 14n|FO 14n|FR 10n11c2n|GB 4a14n
|GE 2a16n|GI 4a15c|GL 14n|GR 7n16c|GT 4c20c|HR 17n|HU 24n|IE 4a14n|IL 19n|IQ 4a15n|IS 22n|IT 1a10n12c|JO 4a4n18c
|KW 4a22c|KZ 3n13c|LB 4n20c|LC 4a24c|LI 5n12c|LT 16n|LU 3n13c|LV 4a13c|LY 21n|MC 10n11c2n|MD 2c18c|ME 18n|MK 3n10c2n
|MN 16n|MR 23n|MT 4a5n18c|MU 4a19n3a|NL 4a10n|NO 11n|PK 4a16c|PL 24n|PS 4a21c|PT 21n|QA 4a21c|RO 4a16c|RS 18n
|RU 14n15c|SA 2n18c|SC 4a20n3a|SD 14n|SE 20n|SI 15n|SK 20n|SM 1a10n12c|ST 21n|SV 4a20n|TL 19n|TN 20n|TR 5n1n16c
|UA 6n19c|VA 18n|VG 4a16n|XK 16n"""
_PART = re.compile(r"([0-9]{1,2})([nac])")
_SHAPES = {
    entry[:2]: "".join(sign * int(times) for times, sign in _PART.findall(entry[3:]))
    for entry in _COUNTRIES.replace("\n", "").split("|")
}
_START = re.compile(r"(?<![^\W_])([A-Za-z0156|]{2}) ?[0-9OoQlIi|SsZzBGgq]{2}(?=[ -]{0,2}[0-9A-Za-z])")
_GAP = " -"
_MOST_GAPS = 2  # signs between two characters

Hit = tuple[int, int, SensitiveKind, bool]


def ibans(view: View) -> Iterator[Hit]:
    """Gives the IBANs in a text."""
    end = 0
    for start in _START.finditer(view.latin):
        country = _country(start[1])
        if start.start() < end or country is None:
            continue
        taken = _taken(view.latin, start.start(), len(_SHAPES[country]) + 4)
        if taken is not None and is_iban(taken[0]):
            end = taken[1]
            yield start.start(), end, "iban", True


def _country(characters: str) -> str | None:
    """Gives the country that two characters stand for, whatever was read for its letters."""
    upper = to_letters(characters.replace("|", "I")).upper()
    for country in (upper, upper.replace("L", "I")):
        if country in _SHAPES:
            return country
    return None


def _taken(text: str, start: int, length: int) -> tuple[str, int] | None:
    """Gives so many letters and digits from ``start`` on, without the gaps, and where they end; None when fewer."""
    characters: list[str] = []
    at, gaps = start, 0
    while len(characters) < length and at < len(text):
        character = text[at]
        if character in _GAP and gaps < _MOST_GAPS:
            gaps += 1
        elif (character.isascii() and character.isalnum()) or character == "|":
            characters.append(character)
            gaps = 0
        else:
            return None
        at += 1
    if len(characters) < length or (at < len(text) and (text[at].isalnum() or text[at] == "_")):
        return None
    return "".join(characters), at


def is_iban(characters: str) -> bool:
    """Tells whether a country has such an IBAN, whatever letters were read for digits and digits for letters."""
    country = _country(characters[:2])
    if country is None or len(characters) != len(_SHAPES[country]) + 4:
        return False
    shape, check, rest = _SHAPES[country], to_digits(characters[2:4]), characters[4:]
    read = [
        to_digits(c) if sign == "n" else to_letters(c).upper() if sign == "a" else c
        for c, sign in zip(rest, shape, strict=True)
    ]
    if not check.isdecimal() or any(
        (sign == "n" and not c.isdecimal()) or (sign == "a" and not c.isalpha())
        for c, sign in zip(read, shape, strict=True)
    ):
        return False
    # Where either may stand, as it is read, else digits: most banks use nothing else there.
    as_read = "".join(read).upper()
    as_digits = "".join(to_digits(c) if sign == "c" else c for c, sign in zip(read, shape, strict=True)).upper()
    return any(_remainder(text + country + check) == 1 for text in dict.fromkeys((as_read, as_digits)))


def _remainder(characters: str) -> int:
    """Gives the remainder of 97 of a number in which letters count from 10 (ISO 7064)."""
    if not (characters.isascii() and characters.isalnum()):
        return 0
    return int("".join(str(int(c, 36)) for c in characters)) % 97
