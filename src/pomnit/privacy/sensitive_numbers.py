"""Numbers with a check digit or a printed form: cards, СНИЛС, ИНН, Russian passports, US social security numbers.

A check digit must hold, whatever letters stand for digits. A number without a label counts when it is written as such
numbers are, or when it stands alone and its check digit tells it from others; a label of something else (order, phone,
ISBN …) takes that away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pomnit.privacy.sensitive_ibans import ibans
from pomnit.privacy.sensitive_view import DIGIT, LEAST, Group, View, any_of, to_digits
from pomnit.records import SensitiveKind

_MOST_GROUPS = 8
_LONGEST = 19  # digits

# What a number is called, by kind; "other" is what nobody hides.
_LABELS = {
    "card": "карт|карта|карты|карте|карту|картой|card|visa|mastercard|maestro|amex|unionpay|мир|pan|cc",
    "snils": "снилс~|snils|сфр|пфр|страхов~ номер~",
    "inn": "инн|инн/кпп|инн / кпп|inn|inn/kpp|tin|налогоплательщик~",
    "passport": "паспорт~|passport|загранпаспорт~|серия|series",
    "ssn": "ssn|social security|social security number|social security no|itin",
    "other": (
        "заказ~|order|orders|тел|телефон~|phone|tel|моб|mobile|fax|факс|isbn|issn|ean|upc|imei|штрих-код|штрихкод"
        "|артикул~|арт|sku|трек~|track|tracking|накладн~|invoice|счет~|счёт~|р/с|к/с|account|acct|огрн|огрнип|кпп|бик"
        "|окпо|октмо|bic|swift|timestamp|ts|unix|epoch|time|date|дата|время|id|uid|ticket|тикет|заявк~|build|version"
        "|версия|hash|commit|sha|md5|lat|lon|long|latitude|longitude|широта|долгота|билет~|договор~|contract|parcel"
        "|посылк~|serial|s/n|part|batch|lot"
    ),
}
_LABEL = re.compile("|".join(rf"(?P<{kind}>(?<!\w)(?:{any_of(words)})(?!\w))" for kind, words in _LABELS.items()))
_PHONE = re.compile(r"(?:\+ ?[0-9]{1,3}|(?<!\w)[78])[ (-]{0,3}$")
_NEAR = re.compile(r"\W{0,4}(?:[^\W\d]{1,12}\W{1,4})?")  # between a label of something else and its number: a word
_NUMBER_SIGN = re.compile(r"[№#][ ]?$")
_MONEY_BEFORE = re.compile(r"[$€£₽¥+][ ]?$|\w[-./,:_]$|[-./_\\=?&@]$")
_AFTER = re.compile(r"[-.,:]\w|[\\_/@][^\W\d]|[ ]?(?:[%°$€£₽¥]|(?:руб|р|usd|eur|rub|шт|кг|км|мм|px|ms|kb|mb)(?!\w))")


@dataclass(frozen=True, slots=True)
class Number:
    """Neighbouring groups, as one number: ``cuts`` are the places between its digits where a gap is."""

    start: int
    end: int
    digits: str
    cuts: tuple[int, ...]
    gaps: frozenset[str]
    letters: int
    n_groups: int
    whole: bool  # no other number stands beside it

    def parted(self, *cuts: int) -> bool:
        """Tells whether gaps stand only where such numbers have them: one may be lost, none added."""
        return set(self.cuts) <= set(cuts)


class Looked:
    """A number with what stands around it, looked at when a rule asks: most numbers fail before."""

    def __init__(self, view: View, number: Number) -> None:
        self.number = number
        self._view = view

    @cached_property
    def label(self) -> str | None:
        """What it is called: by the nearest label."""
        return _label(self._view, self.number.start) or _behind(self._view, self.number.end)

    def named(self, kind: str) -> bool:
        """Tells whether it is called so."""
        return self.label == kind

    @property
    def nameless(self) -> bool:
        """Whether it is called nothing, and is no amount, no phone and no part of a longer thing."""
        return self.label is None and _alone(self._view, self.number)


Hit = tuple[int, int, SensitiveKind, bool]
"""Start, end, kind, and whether it is sure."""


def numbers(view: View) -> Iterator[Hit]:
    """Gives the numbers of these kinds in a text. They may overlap with IBANs, which come first."""
    yield from ibans(view)
    for chain in view.chains():
        at = 0
        while at < len(chain):
            found = _first(view, chain, at)
            if found is None:
                at += 1
                continue
            number, kind, sure = found
            yield number.start, number.end, kind, sure
            at += number.n_groups


def _first(view: View, chain: Sequence[Group], at: int) -> tuple[Number, SensitiveKind, bool] | None:
    """Gives the number that begins with a group, if one does."""
    windows = list(_windows(view, chain, at))
    if not windows:
        return None
    looked = [Looked(view, number) for number in windows]
    for kind, rule in _RULES:
        for one in looked:
            sure = rule(one)
            if sure is not None:
                return one.number, kind, sure
    return None


def _windows(view: View, chain: Sequence[Group], at: int) -> Iterator[Number]:
    """Gives the numbers that may begin with a group: 9 to 20 digits in at most eight groups; likelier lengths first."""
    digits, cuts, gaps, letters = "", [], set(), 0
    found: list[Number] = []
    for i in range(at, min(len(chain), at + _MOST_GROUPS)):
        group = chain[i]
        if i > at:
            cuts.append(len(digits))
            gaps.add(view.between(chain[i - 1], group))
        digits += group.digits
        letters += group.letters
        if len(digits) > 20:
            break
        if len(digits) >= LEAST:
            found += _without_bars(
                view,
                Number(
                    chain[at].start,
                    group.end,
                    digits,
                    tuple(cuts),
                    frozenset(gaps),
                    letters,
                    i - at + 1,
                    i - at + 1 == len(chain),
                ),
            )
    return iter(sorted(found, key=lambda number: (len(number.digits) != 16, -len(number.digits))))


def _without_bars(view: View, number: Number) -> Iterator[Number]:
    """Gives a number with a bar at its ends read as 1, and without it: it may be the border of a table."""
    first, last = view.plain[number.start] == "|", view.plain[number.end - 1] == "|"
    for front in range(1 + first):
        for back in range(1 + last):
            yield replace(
                number,
                start=number.start + front,
                end=number.end - back,
                digits=number.digits[front : len(number.digits) - back],
                cuts=tuple(cut - front for cut in number.cuts),
            )


def _label(view: View, start: int) -> str | None:
    """Gives what a number is called: the nearest label before it in its line, else in the line above."""
    before = view.before(start)
    named = _last(before)
    if named is None and not before.strip():
        named = _last(view.above(start))
        return None if named is None or named.lastgroup == "other" else named.lastgroup
    if named is None:
        return "other" if _NUMBER_SIGN.search(before) else None
    return None if named.lastgroup == "other" and not _NEAR.fullmatch(before, named.end()) else named.lastgroup


def _last(text: str) -> re.Match[str] | None:
    found = None
    for found in _LABEL.finditer(text):  # noqa: B007 the last one is wanted
        pass
    return found


def _behind(view: View, end: int) -> str | None:
    """Gives what a number is called behind it: "4242… (card)"."""
    found = _LABEL.search(view.after(end))
    return found.lastgroup if found and found.lastgroup != "other" else None


def _alone(view: View, number: Number) -> bool:
    before, after = view.plain[max(0, number.start - 8) : number.start], view.plain[number.end : number.end + 8]
    before, after = before.rpartition("\n")[2], after.partition("\n")[0]
    return not (_MONEY_BEFORE.search(before) or _PHONE.search(before) or _AFTER.match(after.lower()))


# Cards

_ISSUERS = (  # the first digits from one number to another, and the lengths
    (4, 4, (16, 13, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (300, 305, (14,)),
    (36, 36, (14,)),
    (38, 39, (14, 16)),
    (6011, 6011, (16, 19)),
    (644, 659, (16, 19)),
    (3528, 3589, (16, 19)),
    (62, 62, (16, 17, 18, 19)),
    (81, 82, (16,)),
    (2200, 2204, (16, 17, 18, 19)),
    (5018, 5018, (16, 18, 19)),
    (5020, 5020, (16, 18, 19)),
    (5038, 5038, (16, 18, 19)),
    (5893, 5893, (16, 18, 19)),
    (6304, 6304, (16, 18, 19)),
    (6759, 6763, (16, 18, 19)),
    (508, 508, (16,)),
    (8600, 8600, (16,)),
    (9860, 9860, (16,)),
    (9112, 9112, (16,)),
    (9792, 9792, (16,)),
)
_RARE = (13, 17, 18)  # lengths that other numbers have far more often
_ACCOUNT = re.compile(r"(?:30[1-9]|40[5-8]|42[0-9]|45[0-9])[0-9]{17}")  # 20 digits, of a Russian bank


def is_card(digits: str) -> bool:
    """Tells whether a card may have this number: an issuer of its length, and the sum of Luhn."""
    return any(
        len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high for low, high, lengths in _ISSUERS
    ) and luhn(digits)


def luhn(digits: str) -> bool:
    """Tells whether the last digit is the check digit of Luhn (ISO/IEC 7812-1)."""
    total = sum(map(int, digits[-1::-2]))
    for digit in digits[-2::-2]:
        total += int(digit) * 2 - 9 * (digit > "4")
    return total % 10 == 0


def _card(looked: Looked) -> bool | None:
    number = looked.number
    if len(number.digits) < 13 or number.letters * 3 > len(number.digits) or not is_card(number.digits):
        return None
    if looked.named("card"):
        return True
    length = len(number.digits)
    printed = number.cuts and (
        number.parted(4, 8, 12, 16)
        or (length == 15 and number.parted(4, 10))
        or (length == 14 and number.parted(4, 10))
    )
    if printed and length not in _RARE:
        return True if not looked.named("other") or len(number.cuts) > 1 else None
    if looked.nameless and not number.cuts and length not in _RARE:
        return True
    return None


# Russian numbers


def is_snils(digits: str) -> bool:
    """Tells whether the last two of eleven digits are the check number of a СНИЛС."""
    if len(digits) != 11 or digits[:9] <= "001001998":
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(9, 0, -1), strict=False))
    return total % 101 % 100 == int(digits[9:])


def _snils(looked: Looked) -> bool | None:
    number = looked.number
    if number.letters > 3 or _spread(number) or not is_snils(number.digits):
        return None
    if looked.named("snils"):
        return True
    if number.parted(3, 6, 9) and (len(number.cuts) > 1 or (number.cuts and looked.nameless)):
        return True
    bare = not number.cuts and looked.nameless and number.digits[:2] not in ("79", "89")  # those of mobile phones
    return True if bare else None


_WEIGHTS = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)


def is_inn(digits: str) -> bool:
    """Tells whether the check digit of ten digits, or both of twelve, are those of an ИНН of some region."""
    if len(digits) == 10:
        checks: tuple[int, ...] = (9,)
    elif len(digits) == 12:
        checks = (10, 11)
    else:
        return False
    if digits[:2] == "00" or not digits[4:].strip("0"):
        return False
    return all(
        sum(int(d) * w for d, w in zip(digits, _WEIGHTS[11 - at :], strict=False)) % 11 % 10 == int(digits[at])
        for at in checks
    )


def _named_inn(looked: Looked) -> bool | None:
    number = looked.number
    fits = number.letters <= 3 and not _spread(number) and is_inn(number.digits)
    return True if fits and looked.named("inn") else None


def _bare_inn(looked: Looked) -> bool | None:
    """An ИНН without its label: a number of ten digits is far more often a phone or a time in seconds."""
    number = looked.number
    if number.cuts or number.letters > 3 or not is_inn(number.digits) or not looked.nameless:
        return None
    seconds_or_phone = len(number.digits) == 10 and number.digits[:2] in (
        "15",
        "16",
        "17",
        "18",
        "90",
        "91",
        "92",
        "95",
    )
    return None if seconds_or_phone else True


_OKATO = """01 03 04 05 07 08 10 11 12 14 15 17 18 19 20 22 24 25 26 27 28 29 32 33 34 35 36 37 38 40 41 42 43 44 45 46
47 49 50 52 53 54 56 57 58 60 61 63 64 65 66 67 68 69 70 71 73 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92
93 94 95 96 97 98 99"""
_REGIONS = frozenset(_OKATO.split())  # the first two digits of a series
_YEARS = frozenset(f"{year % 100:02}" for year in range(1997, 2036))  # when its blank was printed


def _passport(looked: Looked) -> bool | None:
    number, digits = looked.number, looked.number.digits
    if _spread(number) or number.letters > 2:
        return None
    if len(digits) == 9 and number.parted(2) and looked.named("passport"):  # for travelling abroad
        return False
    if len(digits) != 10 or digits[:2] not in _REGIONS or digits[2:4] not in _YEARS:
        return None
    if number.parted(2, 4) and looked.named("passport"):
        return True
    printed = number.cuts in ((2, 4), (4,)) and number.gaps <= {" ", "  "} and number.whole and number.letters < 2
    return False if printed and looked.nameless else None


def _ssn(looked: Looked) -> bool | None:
    number, digits = looked.number, looked.number.digits
    if len(digits) != 9 or _spread(number) or number.letters > 2:
        return None
    if digits[:3] in ("000", "666") or digits[0] == "9" or digits[3:5] == "00" or digits[5:] == "0000":
        return None
    if number.parted(3, 5) and looked.named("ssn"):
        return True
    printed = number.cuts == (3, 5) and all(gap.strip() == "-" for gap in number.gaps)
    return False if printed and looked.nameless else None


def _spread(number: Number) -> bool:
    """Tells whether a number goes over the end of a line, as only those of cards do."""
    return any("\n" in gap for gap in number.gaps)


_RULES: tuple[tuple[SensitiveKind, Callable[[Looked], bool | None]], ...] = (
    ("card", _card),
    ("snils", _snils),
    ("inn", _named_inn),
    ("passport", _passport),
    ("ssn", _ssn),
    ("inn", _bare_inn),
)

# A passport's number apart from its series by a sign or a word: "серия 45 08 № 123456".
_SERIES = re.compile(
    rf"(?<![\w.,-])[{DIGIT}]{{2}} ?[{DIGIT}]{{2}},? {{0,2}}(?:№|N[oº°.]?|номер|number|no\.?):? {{0,2}}[{DIGIT}]{{6}}"
    r"(?!\w|[.,-][0-9])",
    re.IGNORECASE,
)


def parted_passports(view: View) -> Iterator[Hit]:
    """Gives passports whose series and number have a sign or a word between them."""
    for found in _SERIES.finditer(view.plain):
        series, number = to_digits(found.group()[:5].replace(" ", "")[:4]), found.group()[-6:]
        letters = sum(not c.isdecimal() for c in found.group()[:4] + number)
        fits = series[:2] in _REGIONS and series[2:] in _YEARS and letters < 4
        if fits and _label(view, found.start()) != "other":
            yield found.start(), found.end(), "passport", True
