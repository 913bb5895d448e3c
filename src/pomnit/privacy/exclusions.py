"""Which windows are never recorded: decided from what the system tells of them, before a pixel is taken.

A rule is a word of its kind and a pattern, in which * stands for anything:

::

    app:KeePassXC        the program's name, whole
    title:Online*Bank    somewhere in the window's title
    url:bank.ru          this site and those below it; with a * the whole address

Letters count alike in both cases, and ё like е. From the first run password managers, the system's own password
windows and private windows of browsers are left out. What nobody can tell apart is left out too, unless the settings
say otherwise: it fails closed.

Where the titles of private windows come from: Firefox's browser.ftl ("… — Mozilla Firefox Private Browsing", in
Russian "— Приватный просмотр"), Edge's "[InPrivate]". Chrome and its kin name only the *empty* tab ("New Incognito
Tab", or "New Tab" in an ordinary window): no property of the window, no icon and no process of Chromium 156 differs
otherwise. So what a window's empty tab once told counts for as long as the window is there, and a window that never
showed one is of unknown kind.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol
from urllib.parse import urlsplit

from pomnit.errors import UsageError

Unknown = Literal["hide", "keep"]

KINDS = ("app", "title", "url")
LONGEST = 300  # characters of a rule
MOST_STARS = 8  # of a pattern
_LONGEST_TITLE = 4000  # characters that are looked at

PASSWORDS = (
    "1Password", "Authenticator", "Authy", "Authy Desktop", "Bitwarden", "Buttercup", "Dashlane", "Ente Auth", "Enpass",
    "KeePass", "KeePass2", "KeePassX", "KeePassXC", "org.keepassxc.KeePassXC", "Keeper", "Keeper Password Manager",
    "Keychain Access", "com.apple.keychainaccess", "Связка ключей", "Kaspersky Password Manager", "LastPass", "MacPass",
    "NordPass", "Padloc", "Passwords", "com.apple.Passwords", "Пароли", "Proton Pass", "Psono", "QtPass", "RoboForm",
    "Seahorse", "org.gnome.seahorse.Application", "org.gnome.World.Secrets", "Secrets", "gnome-secrets", "Strongbox",
    "kwalletmanager", "kwalletmanager5", "kwalletmanager6", "org.kde.kwalletmanager5", "org.kde.kwalletmanager",
)  # fmt: skip
"""Programs that show passwords, as they call themselves on Linux and macOS."""

PROMPTS = (
    "*pinentry*", "gcr-prompter", "Gcr-prompter", "*askpass*", "SecurityAgent", "coreautha", "loginwindow",
    "polkit-gnome-authentication-agent-1", "polkit-kde-authentication-agent-1", "polkit-mate-authentication-agent-1",
    "lxpolkit", "lxqt-policykit-agent", "mate-screensaver-dialog", "kwalletd5", "kwalletd6", "light-locker", "i3lock",
)  # fmt: skip
"""The system's own windows that ask for passwords, and lock screens."""

ALWAYS_PRIVATE = ("Tor Browser", "tor browser", "Mullvad Browser", "mullvadbrowser", "Firefox Focus")
"""Browsers that have no other windows."""

DEFAULTS = (
    *(f"app:{name}" for name in (*PASSWORDS, *PROMPTS, *ALWAYS_PRIVATE)),
    *(f"title:{name}" for name in ("Bitwarden", "1Password", "LastPass", "KeePass", "Proton Pass", "Dashlane")),
)

_BROWSER = re.compile(
    r"\b(?:firefox|mozilla|navigator|librewolf|waterfox|floorp|chrom|brave|microsoft.edge|opera|vivaldi|yandex|яндекс"
    r"|safari|epiphany|falkon|konqueror|thorium|спутник|palemoon|seamonkey|icecat|qutebrowser|midori|"
    r"(?:arc|dia|edge|min|msedge|nyxt|orion|web|zen|zen.browser)\b)"
)  # what is in the names that browsers give themselves

_SILENT = re.compile(r"\b(?:google.chrome|chrom|brave|opera|vivaldi|yandex|яндекс|thorium|спутник|arc\b|dia\b)")
"""Browsers whose private windows are named only while an empty tab is shown."""

_EMPTY = re.compile(r"(?:new tab|новая вкладка|нова вкладка)(?:\s+[-–—]\s|$)")
"""The empty tab of an ordinary window."""

_MARKS = (
    # Firefox and its kin, in the languages of their users here, and in the others that are met most
    "private browsing", "приватный просмотр", "приватного просмотра", "приватний перегляд", "прыватнае агляданне",
    "privater modus", "navigation privée", "navegación privada", "navegação privativa", "navigazione anonima",
    "tryb prywatny", "プライベートブラウジング", "隐私浏览",
    # Edge
    "inprivate",
    # Chrome, Chromium, Yandex, Brave, Opera, Vivaldi; Safari
    "incognito", "инкогнито", "анонімний", "private tab", "private window", "приватная вкладка", "приватное окно",
    "приватный режим", "приватной вкладк", "частное окно", "частный доступ", "(private)", "[private]", "(приватный)",
    "(приватное)", ", private", "гостевой режим", "guest mode",
)  # fmt: skip


class Seen(Protocol):
    """What a rule looks at: see ``capture.frames.Window``."""

    @property
    def app(self) -> str | None: ...
    @property
    def title(self) -> str | None: ...
    @property
    def url(self) -> str | None: ...
    @property
    def private(self) -> bool: ...
    @property
    def doubtful(self) -> bool: ...
    @property
    def id(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def popup(self) -> bool: ...
    @property
    def above(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    kind: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Gives the rule of a text such as "app:KeePassXC".

        Raises:
            UsageError: it is none.
        """
        kind, colon, pattern = text.strip().partition(":")
        kind, pattern = kind.strip().lower(), pattern.strip()
        plain = pattern.replace("*", "").strip()
        if not colon or kind not in KINDS or not plain or len(pattern) > LONGEST or pattern.count("*") > MOST_STARS:
            raise UsageError(f"{text!r:.80} is no rule; write app:NAME, title:WORDS or url:SITE, with * for anything")
        return cls(kind, pattern)

    def __str__(self) -> str:
        return f"{self.kind}:{self.pattern}"

    def fits(self, window: Seen) -> bool:
        """Says whether it means this window."""
        if self.kind == "app":
            return any(_whole(self.pattern).match(_folded(name)) for name in (window.app, *window.names) if name)
        if self.kind == "title":
            return window.title is not None and bool(_part(self.pattern).search(_folded(window.title)))
        return window.url is not None and _is_site(self.pattern, window.url)


@dataclass(frozen=True, slots=True)
class Exclusions:
    """What is left out."""

    rules: tuple[Rule, ...]
    private: bool = True  # windows of private browsing
    unknown: Unknown = "hide"  # windows that neither program nor title is told of, and pages whose address is not

    @classmethod
    def of(
        cls, rules: Iterable[str] = (), *, defaults: bool = True, private: bool = True, unknown: Unknown = "hide"
    ) -> Exclusions:
        """Gives the exclusions of the texts of rules; ``defaults`` adds what is left out from the first run.

        Raises:
            UsageError: a text is no rule.
        """
        texts = (*(DEFAULTS if defaults else ()), *rules)
        return cls(tuple(dict.fromkeys(Rule.parse(text) for text in texts)), private, unknown)

    def reason(self, window: Seen) -> str | None:
        """Gives why a window is left out by what it says of itself; None when it is not."""
        if self.private and window.private:
            return "private browsing"
        for rule in self.rules:
            if rule.fits(window):
                return str(rule)
        if self.unknown == "keep":
            return None
        if self.private and window.doubtful:
            return "may be private: open an empty tab in that window once, and it tells"
        if not window.app and not window.names and not window.title:
            return "nothing is known of it"
        if window.url is None and self._has_sites() and is_browser(window):
            return "its address is not told, and there are rules by url"
        return None

    def _has_sites(self) -> bool:
        return any(rule.kind == "url" for rule in self.rules)

    def excluded(self, windows: Sequence[Seen]) -> dict[int, str]:
        """Gives the windows that are left out, by id, and why: those of ``reason``, and what belongs to one of them.

        A menu or a dialog belongs to the window that it says; a menu that says none, to those of its program.
        """
        out = {w.id: why for w in windows if (why := self.reason(w)) is not None}
        programs = {w.pid for w in windows if w.id in out and w.pid is not None}
        owners = {w.id: w.above for w in windows}
        for window in windows:
            if window.id in out:
                continue
            if (owner := _first(window.id, owners, out)) is not None:
                out[window.id] = f"belongs to {owner}: {out[owner]}"
            elif window.popup and window.above not in owners and window.pid in programs:
                out[window.id] = "a menu of a program that is left out"
        return out


def _first(window: int, owners: Mapping[int, int | None], out: Mapping[int, str]) -> int | None:
    """Gives the first of the windows that this one belongs to, directly or not, that is left out."""
    met = {window}
    owner = owners.get(window)
    while owner is not None and owner not in met:
        if owner in out:
            return owner
        met.add(owner)
        owner = owners.get(owner)
    return None


def is_browser(window: Seen) -> bool:
    """Says whether a window's program is a browser."""
    return any(_BROWSER.search(_folded(name)) for name in (window.app, *window.names) if name)


def is_private(window: Seen) -> bool | None:
    """Says by its title whether a window is one of private browsing; None where a browser's title does not tell.

    A page that is titled like one is one, too.
    """
    if not is_browser(window):
        return False
    title = _folded(window.title or "")
    if any(mark in title for mark in _MARKS):
        return True
    if not any(_SILENT.search(_folded(name)) for name in (window.app, *window.names) if name) or _is_app(window):
        return False
    return False if _EMPTY.match(title) else None


def _is_app(window: Seen) -> bool:
    """Says whether a window of Chrome is an installed page, which has no private windows."""
    return any(name.startswith("crx_") for name in window.names)


@lru_cache(512)
def _folded(text: str) -> str:
    return text[:_LONGEST_TITLE].casefold().replace("ё", "е")


@lru_cache(256)
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(_literal(pattern)))


@lru_cache(256)
def _part(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(f"*{_literal(pattern)}*"))


def _literal(pattern: str) -> str:
    """Gives a pattern in which only * is special."""
    return _folded(pattern).replace("[", "[[]").replace("?", "[?]")


def _is_site(pattern: str, url: str) -> bool:
    if "*" in pattern or "/" in pattern:
        return bool(_part(pattern).search(_folded(url)))
    try:
        host = (urlsplit(url if "://" in url else f"//{url}").hostname or "").casefold()
    except ValueError:  # no address: it may be anything
        return True
    wanted = _folded(pattern).removeprefix("www.")
    return host == wanted or host.endswith("." + wanted)
