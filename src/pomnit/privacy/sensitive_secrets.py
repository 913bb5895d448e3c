"""Secrets that somebody made up: tokens by their prefixes, private keys, passwords and PINs beside their labels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pomnit.privacy.sensitive_view import View, any_of, fold
from pomnit.records import SensitiveKind

Hit = tuple[int, int, SensitiveKind, bool]

# Private keys

_PEM = re.compile(
    rf"-{{2,8}} ?({fold('BEGIN')}|{fold('END')}) (?:[a-z0-9]{{1,12}} ){{0,3}}{fold('PRIVATE KEY')}"
    rf"(?: {fold('BLOCK')})? ?-{{2,8}}"
)
_END = fold("END")
_BASE64_LINES = re.compile(r"(?:[ \n>|]{0,8}[A-Za-z0-9+/=:,-]{16,200}+(?=[ \n]|\Z)){1,400}")
_AGE = re.compile(r"(?<![A-Z0-9])AGE-SECRET-KEY-1[A-Z0-9]{50,70}")
_LONGEST_KEY = 20_000  # characters


def private_keys(view: View) -> Iterator[Hit]:
    """Gives private keys from their first line to their last; without a last one, as far as there is base64."""
    markers = list(_PEM.finditer(view.skeleton))
    end = 0
    for i, marker in enumerate(markers):
        if marker[1] == _END or marker.start() < end:
            continue
        closing = markers[i + 1] if i + 1 < len(markers) else None
        if closing is not None and closing[1] == _END and closing.end() - marker.start() <= _LONGEST_KEY:
            end = closing.end()
        else:
            lines = _BASE64_LINES.match(view.latin, marker.end())
            end = lines.end() if lines else marker.end()
        yield marker.start(), end, "key", True
    for found in _AGE.finditer(view.latin):
        yield found.start(), found.end(), "key", True


# Tokens

_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}"
    r"|github_pat_[A-Za-z0-9_]{22,255}"
    r"|gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"
    r"|xapp-[0-9]-[A-Za-z0-9-]{10,250}"
    r"|(?<=hooks\.slack\.com/services/)T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,40}"
    r"|sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]{2,8}-|or-v1-)?[A-Za-z0-9_-]{20,255}"
    r"|AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"
    r"|ya29\.[0-9A-Za-z_-]{20,255}"
    r"|GOCSPX-[0-9A-Za-z_-]{20,40}"
    r"|(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,255}"
    r"|whsec_[0-9A-Za-z]{16,255}"
    r"|(?<![_-])eyJ[A-Za-z0-9_-]{8,1000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,1000}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{32,36}(?![A-Za-z0-9_-])"
    r"|npm_[A-Za-z0-9]{36}"
    r"|pypi-AgEI[A-Za-z0-9_-]{20,255}"
    r"|hf_[A-Za-z0-9]{30,40}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"
    r"|do[opr]_v1_[0-9a-f]{40,80}"
    r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"
    r"|AQVN[A-Za-z0-9_-]{30,50}"
    r"|y[0-3]_[A-Za-z0-9_-]{30,70}"
    r"|vk1\.a\.[A-Za-z0-9_-]{40,255}"
    r")"
)
# What is called a key, before a value that nobody would write by hand.
_CALLED = re.compile(
    r"(?<![a-z])(?:(?:api|access|secret|client|auth|account|encryption|signing|private|session|bot)[ _-]?)?"
    r"(?:key|secret|token|bearer|credentials?)(?:[ _-]?(?:id|key|value))?['\"]?"
    r" {0,2}(?:[:=]>?|(?<=bearer) ) {0,2}['\"]?(?P<value>[A-Za-z0-9_+/=.~-]{16,512})",
    re.IGNORECASE,
)
_KEYS = "ключ|токен|секрет|ключ api|api ключ|api-ключ|ключ доступа|токен доступа"
_CALLED_RU = re.compile(rf"(?<!\w)(?:{any_of(_KEYS)}) {{0,2}}[:=] {{0,2}}")
_VALUE = re.compile(r"['\"]?(?P<value>[A-Za-z0-9_+/=.~-]{16,512})")
_LEAST_BITS = 3.0  # of a character, by how often each one stands in the value
_FILE_OR_NAME = re.compile(r"[a-z]++(?:[._/-][a-z]++)*+", re.IGNORECASE)


def tokens(view: View) -> Iterator[Hit]:
    """Gives keys of services: those with a known beginning, and what is called a key and looks drawn by lot."""
    for found in _PREFIXED.finditer(view.latin):
        yield found.start(), found.end(), "token", True
    for found in _CALLED.finditer(view.latin):
        if looks_drawn(found["value"]):
            yield *found.span("value"), "token", False
    for label in _CALLED_RU.finditer(view.skeleton):
        value = _VALUE.match(view.latin, label.end())
        if value and looks_drawn(value["value"]):
            yield *value.span("value"), "token", False


def looks_drawn(value: str) -> bool:
    """Tells whether nobody would write this by hand: letters and digits mixed, hardly a character twice."""
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value) or _FILE_OR_NAME.fullmatch(value):
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= _LEAST_BITS


# Passwords

_NAMES = (
    "пароль|пароля|паролем|парол|пассворд|кодовое слово|кодовая фраза|секретное слово|код доступа|код-пароль"
    "|password|passwd|passwort|passphrase|pwd|passcode|access code|pass|psw"
)
_COMMON = (fold("pass"), fold("psw"))
_PINS = "пин|пин-код|пинкод|пин код|pin|pin-code|pin code|cvv|cvc|cvv2|cvc2|cvv/cvc"
_SEEDS = (
    "seed phrase|seed|recovery phrase|secret phrase|mnemonic|mnemonic phrase|backup phrase|сид-фраза|сид фраза"
    "|секретная фраза|фраза восстановления|мнемоническая фраза|резервная фраза"
)


_OF = any_of("от|для|к|на|for|to|of")
_IS = any_of("это|is|was|будет|такой")
_NAMED = re.compile(
    rf"(?<![^\W_])(?P<name>{any_of(_NAMES)})(?![^\W_])"
    rf"(?:[\"'»)\]]{{0,2}}(?: (?:{_OF}) [^\n:=]{{1,40}}?)? {{0,3}}"
    rf"(?:[:=]>?|->?(?= )| (?:{_IS})(?= |:)| ?\n) {{0,3}}\n?|(?P<gap> {{1,3}}))"
)
_PIN = re.compile(
    rf"(?<![^\W_])(?:{any_of(_PINS)})(?![^\W_])(?: (?:{_OF}) [^\n:=]{{1,30}}?)?[\"')]{{0,2}}"
    rf" {{0,2}}(?:[:=#-]|{_IS})?[ \n]{{0,2}}"
)
_FOUR = re.compile(r"[0-9OoОоlI|SsBВЗз]{3,8}(?!\w|[.,:/-][0-9])")
_SEED = re.compile(rf"(?<!\w)(?:{any_of(_SEEDS)})(?!\w)[^\n:]{{0,40}}:?[ \n]{{0,3}}")
_WORDS = re.compile(r"(?:[0-9]{1,2}[.)]? ?)?[a-z]{3,8}(?:[ ,\n]{1,3}(?:[0-9]{1,2}[.)]? ?)?[a-z]{3,8}){11,23}(?![a-z])")
_LOGIN = re.compile(
    rf"(?<!\w)(?:{any_of('логин|login|user|username|пользователь|почта|email')})(?!\w)\W{{0,3}}\S{{2,64}}\W{{1,3}}$"
)
_QUOTED = re.compile(r"\"([^\"\n]{3,128})\"|'([^'\n]{3,128})'|«([^»\n]{3,128})»|`([^`\n]{3,128})`")
_ONE_WORD = re.compile(r"[^\s]{3,128}")
_IN_ADDRESS = re.compile(r"(?<=://)[^\s:/@]{1,64}:(?P<value>[^\s@/:]{3,128})@")
_ENDS = ".,;:!?)»\"'"
_OPENS = "([«\"'"
_HIDDEN = frozenset("*•●·.…_-x—")
_MASKED = re.compile(r"\[[a-z]{3,10}(?: ····[0-9]{4})?\]")
_IN_PROGRAMS = re.compile(r"[A-Za-z_.]{1,64}[\[({]|[{<]\w|[$%][({]|\$[A-Z_]{3,64}\Z|[\[({]")
_PROGRAM_NAME = re.compile(r"[A-Za-z_.]++")
_NAME_IN = re.compile(any_of("password|passwd|passphrase|pwd"))
_WORD_OF_PROSE = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)?")
_SAID = """забыли забыл забыт неверный неверен введите введён изменён изменен обязателен обязательно должен нужен
требуется минимум повторите новый старый сбросить сброс восстановить показать скрыть не нет да или для это был есть
на от сменить придумайте подтвердите слишком обновлён истёк сохранён отправлен установлен указан пуст пустой скрыт
required forgotten forgot reset change changed enter invalid incorrect wrong new old confirm repeat show hide is
must should not the a an none null true false yes no optional missing empty expired hidden strength manager weak
strong policy field string str here please your hint updated saved protected hash hashed encrypted prompt input
example generator bool int bytes text object any login email username"""  # said behind these labels in prose and forms
_PROSE = frozenset(_SAID.split())


def passwords(view: View) -> Iterator[Hit]:
    """Gives what stands beside the labels of passwords, PINs and phrases of recovery, and in addresses."""
    for found in _NAMED.finditer(view.skeleton):
        led = _led(view, found)
        span = _password(view.plain, found.end(), led)
        if span is not None:
            yield *span, "password", led != "space"
    for found in _PIN.finditer(view.skeleton):
        value = _FOUR.match(view.plain, found.end())
        if value and sum(c.isdecimal() for c in value.group()) * 2 >= len(value.group()):
            yield *value.span(), "password", True
    for found in _SEED.finditer(view.skeleton):
        words = _WORDS.match(view.text, found.end())
        if words:
            yield *words.span(), "password", True
    for found in _IN_ADDRESS.finditer(view.plain):
        if not _is_hidden(found["value"]) and not _MASKED.fullmatch(found["value"]):
            yield *found.span("value"), "password", True


Led = Literal["sign", "line", "space"]
"""What leads from a label to a password: a sign or a verb, the end of a line, a space alone."""


def _led(view: View, found: re.Match[str]) -> Led:
    between = view.skeleton[found.end("name") : found.end()]
    if found["name"] in _COMMON:  # a word of every day: only what looks like nothing else is a password
        return "line" if "=" in between or ":" in between else "space"
    if "\n" in between:  # in a form the next line may be a button
        return "line"
    return "sign" if found["gap"] is None or _LOGIN.search(view.before(found.start(), 80)) else "space"


def _password(text: str, start: int, led: Led) -> tuple[int, int] | None:
    """Gives where the password behind a label stands."""
    quoted = _QUOTED.match(text, start)
    if quoted and led == "sign":
        start, end = quoted.span(quoted.lastindex or 0)
        return None if _is_no_secret(text[start:end]) or _MASKED.search(text[start:end]) else (start, end)
    word = _ONE_WORD.match(text, start)
    if word is None or _MASKED.match(text, start):
        return None
    start, end = word.span()
    while end - start > 3 and text[end - 1] in _ENDS and not (text[end - 1] in "!?" and _line_ends(text, end)):
        end -= 1
    while end - start > 3 and text[start] in _OPENS:
        start += 1
    if _is_no_secret(text[start:end]) or not _may_be_password(text, start, end, led):
        return None
    return start, end


def _line_ends(text: str, at: int) -> bool:
    """Tells whether nothing but spaces is left in a line."""
    return not text[at : at + 8].partition("\n")[0].strip()


def _may_be_password(text: str, start: int, end: int, led: Led) -> bool:
    """Tells a password from the next word of a sentence, of a form or of a program."""
    value = text[start:end]
    letters, others = any(c.isalpha() for c in value), any(c.isdigit() or c in "!@#$%^&*" for c in value)
    if led == "space":
        return letters and others and 6 <= len(value) <= 64 and not value[:1].isdigit()
    if len(value) < 4 or (led == "line" and not others):
        return False
    if not _WORD_OF_PROSE.fullmatch(value):
        return True
    plain = value.islower() or value.istitle() or (value.isupper() and len(value) < 6)
    return not plain or _line_ends(text, end) or text[end : end + 1] in ";,|"


def _is_no_secret(value: str) -> bool:
    """Tells what stands behind the labels of programs and forms: dots, a word of prose, a name, a call, an address."""
    return (
        _is_hidden(value)
        or "://" in value
        or value.lower() in _PROSE
        or _IN_PROGRAMS.match(value) is not None
        or (_PROGRAM_NAME.fullmatch(value) is not None and _NAME_IN.search(fold(value)) is not None)
    )


def _is_hidden(value: str) -> bool:
    return set(value.lower()) <= _HIDDEN
