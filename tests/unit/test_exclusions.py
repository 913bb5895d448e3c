"""What is never recorded: password managers and private windows from the first run, whatever the rules say, and what
nobody can tell apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.capture.frames import Window
from pomnit.errors import UsageError
from pomnit.privacy.exclusions import DEFAULTS, LONGEST, Exclusions, Rule, is_private

PLAIN = Window("Gedit", "notes", None, False, (0, 0, 10, 10), False, 1, ("gedit", "Gedit"))
FIRST_RUN = Exclusions.of()


def window(number: int = 1, **values: object) -> Window:
    """Gives a window that says of itself what is given."""
    made = replace(PLAIN, id=number, **values)
    told = is_private(made)
    return replace(made, private=bool(told), doubtful=told is None)


@pytest.mark.parametrize(
    "name",
    ["KeePassXC", "keepassxc", "Bitwarden", "1Password", "Keychain Access", "Связка ключей", "org.gnome.World.Secrets",
     "Pinentry-gtk-2", "pinentry-qt", "Gcr-prompter", "ksshaskpass", "Tor Browser", "SecurityAgent", "Enpass"],
)  # fmt: skip
def test_password_managers_are_left_out_from_the_first_run(name):
    assert FIRST_RUN.reason(window(app=name, names=(name,)))


def test_a_password_manager_is_known_by_any_of_its_names():
    assert FIRST_RUN.reason(window(app="Something", names=("keepassxc", "Something"))) == "app:KeePassXC"


@pytest.mark.parametrize(
    ("app", "title"),
    [
        ("firefox", "Bank — Mozilla Firefox Private Browsing"),
        ("firefox", "Mozilla Firefox (Private Browsing)"),
        ("firefox-esr", "Банк — Mozilla Firefox — Приватный просмотр"),
        ("Firefox", "Банк — Приватный просмотр"),
        ("Google-chrome", "New Incognito Tab - Google Chrome"),
        ("Google-chrome", "Page - Google Chrome (Incognito)"),
        ("Google-chrome", "Новая вкладка в режиме инкогнито - Google Chrome"),
        ("Chromium-browser", "Новая вкладка инкогнито – Chromium"),
        ("Microsoft-edge", "Page - [InPrivate] - Microsoft Edge"),
        ("Yandex-browser", "Инкогнито — Яндекс Браузер"),
        ("yandex-browser-beta", "Страница (Инкогнито)"),
        ("Brave-browser", "New Private Tab - Brave"),
        ("Opera", "Приватная вкладка - Opera"),
        ("Safari", "Page, Private Browsing"),
        ("Vivaldi-stable", "Private Window - Vivaldi"),
        ("librewolf", "x — LibreWolf Private Browsing"),
    ],
)
def test_private_windows_are_left_out_in_both_languages(app, title):
    assert FIRST_RUN.reason(window(app=app, names=(app,), title=title)) == "private browsing"


@pytest.mark.parametrize(
    ("app", "title"),
    [
        ("firefox", "Погода — Mozilla Firefox"),
        ("Google-chrome", "New Tab - Google Chrome"),
        ("Chromium", "Новая вкладка – Chromium"),
        ("Microsoft-edge", "Inbox - Microsoft Edge"),
        ("Gedit", "private browsing.txt"),  # no browser
        ("Code", "incognito.py - Code"),
        ("Telegram", "Private window tips"),
        ("Archive", "Private Window"),  # no browser that is called Arc
    ],
)
def test_other_windows_are_not(app, title):
    assert FIRST_RUN.reason(window(app=app, names=(app,), title=title)) is None


@pytest.mark.parametrize(
    ("app", "title"),
    [
        ("Google-chrome", "Inbox - Google Chrome"),
        ("Chromium-browser", "Почта – Chromium"),
        ("Brave-browser", "Bank - Brave"),
        ("Yandex-browser", "Банк — Яндекс Браузер"),
        ("Opera", "Bank - Opera"),
        ("Google Chrome", "New Tabs for old"),
        ("Vivaldi-stable", None),
    ],
)
def test_a_window_that_does_not_tell_whether_it_is_private_is_left_out_unless_the_unknown_is_kept(app, title):
    seen = window(app=app, names=(app,), title=title)
    assert "empty tab" in str(FIRST_RUN.reason(seen))
    assert Exclusions.of(unknown="keep").reason(seen) is None
    assert Exclusions.of(private=False).reason(seen) is None


def test_an_installed_page_has_no_private_windows():
    assert FIRST_RUN.reason(window(app="Google-chrome", names=("crx_abc", "Google-chrome"), title="Mail")) is None


def test_rules_mean_programs_titles_and_sites():
    rules = Exclusions.of(["app:Telegram*", "title:интернет*банк", "url:bank.ru", "url:*/private/*"])
    assert rules.reason(window(app="TelegramDesktop")) == "app:Telegram*"
    assert rules.reason(window(app="telegram", names=("x",)))
    assert not rules.reason(window(app="NotTelegram"))
    assert rules.reason(window(title="Мой ИНТЕРНЁТ и банк"))  # in either case, ё like е
    assert rules.reason(window(app="Safari", url="https://online.bank.ru/pay")) == "url:bank.ru"
    assert rules.reason(window(app="Safari", url="https://www.bank.ru"))
    assert not rules.reason(window(app="Safari", url="https://notbank.ru/"))
    assert not rules.reason(window(app="Safari", url="https://e.org/?next=bank.ru"))
    assert rules.reason(window(app="Safari", url="https://e.org/private/1"))


def test_a_pattern_is_no_other_language_than_the_star():
    assert Exclusions.of(["title:[a-z]?"]).reason(window(title="see [A-Z]? there"))
    assert not Exclusions.of(["title:[a-z]?"]).reason(window(title="bc"))


def test_a_browser_whose_address_is_not_told_is_left_out_when_there_are_rules_by_address():
    browser = window(app="firefox", names=("firefox",), title="Page — Mozilla Firefox")
    assert FIRST_RUN.reason(browser) is None
    assert "address" in str(Exclusions.of(["url:bank.ru"]).reason(browser))
    assert Exclusions.of(["url:bank.ru"]).reason(PLAIN) is None  # no browser
    assert Exclusions.of(["url:bank.ru"], unknown="keep").reason(browser) is None


def test_what_nobody_knows_is_left_out_unless_the_settings_keep_it():
    unknown = window(app=None, names=(), title=None)
    assert FIRST_RUN.reason(unknown)
    assert Exclusions.of(unknown="keep").reason(unknown) is None


def test_settings_can_let_everything_in():
    everything = Exclusions.of(defaults=False, private=False, unknown="keep")
    assert everything.reason(window(app="KeePassXC")) is None
    assert everything.reason(window(app="firefox", title="Mozilla Firefox Private Browsing")) is None


def test_a_dialog_belongs_to_its_window_over_any_number_of_others():
    vault = window(1, app="KeePassXC")
    dialog, question = window(2, app="Portal", above=1), window(3, app="Portal", above=2)
    other = window(4, app="Portal", above=5)
    assert FIRST_RUN.excluded([vault, dialog, question, other]).keys() == {1, 2, 3}


def test_windows_that_belong_to_each_other_in_a_ring_end():
    ring = [window(1, above=2), window(2, above=1)]
    assert FIRST_RUN.excluded(ring) == {}


def test_a_menu_that_says_no_window_belongs_to_those_of_its_program():
    private = window(1, app="firefox", names=("firefox",), title="Mozilla Firefox Private Browsing", pid=7)
    normal = window(2, app="firefox", names=("firefox",), title="Page — Mozilla Firefox", pid=7)
    lost = window(3, app="firefox", title=None, pid=7, popup=True)
    of_normal = window(4, app="firefox", title=None, pid=7, popup=True, above=2)
    of_other = window(5, app="gedit", title=None, pid=8, popup=True)
    assert FIRST_RUN.excluded([private, normal, lost, of_normal, of_other]).keys() == {1, 3}


@pytest.mark.parametrize(
    "text",
    ["", "app:", "app:*", "Telegram", "window:x", "title: ** ", "app:" + "x" * (LONGEST + 1), "title:" + "a*" * 9],
)
def test_what_is_no_rule_is_refused_with_the_way_to_write_one(text):
    with pytest.raises(UsageError, match="app:NAME"):
        Rule.parse(text)


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_text_is_a_rule_or_is_refused_and_every_rule_finds_itself(pattern, title):
    try:
        rule = Rule.parse(f"title:{pattern}")
    except UsageError:
        return
    assert rule.fits(window(title=f"{title}{rule.pattern}{title}"))


@given(st.from_regex(r"\A[^:]{0,20}:?[^\x00]{0,80}\Z"), st.text(max_size=80))
def test_an_address_of_any_kind_is_looked_at(pattern, url):
    try:
        rule = Rule.parse(f"url:{pattern}")
    except UsageError:
        return
    assert isinstance(rule.fits(window(url=url)), bool)


def test_a_pattern_of_many_stars_ends_soon():
    rule = Rule.parse("title:" + "*".join("aaaaaaa") + "b")
    assert not rule.fits(window(title="a" * 4000))  # would take years if it went back


def test_every_rule_of_the_first_run_is_one():
    assert len(Exclusions.of().rules) == len(set(map(str, map(Rule.parse, DEFAULTS))))
