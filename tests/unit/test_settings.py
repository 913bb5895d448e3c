"""Where is everything, and who said so?"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pomnit.errors import UsageError
from pomnit.settings import Settings


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "settings.toml"


def load(file: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: object) -> Settings:
    file.write_text(toml, "utf-8")
    return Settings.load(environ=environ or {}, file=file, **flags)


@pytest.mark.parametrize(
    ("toml", "environ", "flags", "threads"),
    [
        ("threads = 3", {"POMNIT_THREADS": "4"}, {"threads": 5}, 5),
        ("threads = 3", {"POMNIT_THREADS": "4"}, {}, 4),
        ("threads = 3", {"POMNIT_THREADS": "4"}, {"threads": None}, 4),
        ("threads = 3", {}, {}, 3),
        ("threads = 3", {"POMNIT_THREADS": ""}, {}, 3),
        ("", {}, {"threads": "5"}, 5),
    ],
)
def test_the_strongest_origin_wins(file, toml, environ, flags, threads):
    assert load(file, toml, environ, **flags).threads == threads


def test_without_any_origin_defaults_are_in_force(file):
    assert Settings.load(environ={}, file=file) == Settings()
    assert Settings.load(environ={}, file=file / "below" / "a file") == Settings()
    assert load(file, "") == Settings()


def test_origins_of_different_keys_are_put_together(file, tmp_path):
    found = load(file, f'home = "{tmp_path}/a"\nbusy_s = 3', {"POMNIT_KEY": "file"}, bits=32)
    assert (found.home, found.busy_s, found.key, found.bits) == (tmp_path / "a", 3, "file", 32)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Settings)])
def test_every_setting_can_come_from_the_environment(file, name):
    value = {"key": "keychain", "bits": "32", "recogniser": "tesseract", "runtime": "onnx", "profile": "16gb"}
    value |= {"describe": "on", "answer_url": "http://127.0.0.1:7777/v1"}
    value |= {"sensitive": "drop", "sensitive_kinds": "card", "retention_quota": "77770000"}
    value |= {"exclude_known": "off", "private_windows": "keep", "unknown_windows": "keep", "excluded": "skip"}
    value |= {"capture_quality": "77"}
    value = value.get(name, "/7777" if "Path" in str(Settings.__annotations__[name]) else "7777")
    found = getattr(load(file, "", {f"POMNIT_{name.upper()}": value}), name)
    assert found == (value,) or str(found) == value
    assert found != getattr(Settings(), name)


def test_paths_are_absolute_with_the_home_folder_expanded(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = load(file, 'home = "~/память"', {"POMNIT_CACHE": "relative/../cache"}, models=Path("m"))
    assert found.home == tmp_path / "память"
    assert found.cache == tmp_path / "cache"
    assert found.models == tmp_path / "m"


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("4000000000", 4_000_000_000),
        ("4GB", 4_000_000_000),
        ("4 GiB", 4 << 30),
        ("3500MB", 3_500_000_000),
        (" 4.5 gb ", 4_500_000_000),
        ("512 MiB", 512 << 20),
    ],
)
def test_a_budget_is_told_in_bytes_or_with_a_unit(file, text, n_bytes):
    assert load(file, f'budget = "{text}"').budget == n_bytes
    assert load(file, "", {"POMNIT_BUDGET": text}).budget == n_bytes
    assert load(file, "budget = 4000000000").budget == 4_000_000_000


@pytest.mark.parametrize(
    ("toml", "environ", "flags", "named"),
    [
        ("thread = 3", {}, {}, ["settings.toml", "'thread'", "threads"]),
        ("", {}, {"colour": "red"}, ["an argument", "'colour'"]),
        ('threads = "many"', {}, {}, ["settings.toml", "threads", "'many'"]),
        ("", {"POMNIT_THREADS": "0"}, {}, ["environment", "threads", "'0'"]),
        ("", {"POMNIT_BUSY_S": "-1"}, {}, ["environment", "busy_s", "'-1'"]),
        ("", {}, {"threads": []}, ["an argument", "threads", "[]"]),
        ("threads = 2.5", {}, {}, ["settings.toml", "threads", "2.5"]),
        ("threads = true", {}, {}, ["settings.toml", "threads", "True"]),
        ("", {"POMNIT_KEY": "nowhere"}, {}, ["environment", "key", "'nowhere'", "keychain"]),
        ("bits = 5", {}, {}, ["settings.toml", "bits", "5", "4, 6, 8, 16, 32"]),
        ("bits = ['8']", {}, {}, ["settings.toml", "bits"]),
        ("", {"POMNIT_RECOGNISER": "rapid"}, {}, ["environment", "recogniser", "'rapid'", "vision, tesseract"]),
        ("runtime = 'cuda'", {}, {}, ["settings.toml", "runtime", "'cuda'", "onnx, mlx"]),
        ("profile = '64gb'", {}, {}, ["settings.toml", "profile", "'64gb'", "8gb, 16gb, 32gb"]),
        ("budget = 4.5", {}, {}, ["settings.toml", "budget", "4.5", "4GB"]),
        ("budget = true", {}, {}, ["settings.toml", "budget", "True"]),
        ("", {"POMNIT_BUDGET": "lots"}, {}, ["environment", "budget", "'lots'", "3500MB"]),
        ("", {"POMNIT_BUDGET": "-4GB"}, {}, ["environment", "budget", "'-4GB'"]),
        ("", {"POMNIT_BUDGET": "0 GB"}, {}, ["environment", "budget", "'0 GB'"]),
        ("", {"POMNIT_BUDGET": "4.5"}, {}, ["environment", "budget", "'4.5'"]),
        ("", {"POMNIT_BUDGET": "٤GB"}, {}, ["environment", "budget"]),
        ("", {"POMNIT_BUDGET": "9" * 18 + "TB"}, {}, ["environment", "budget"]),
        ("", {}, {"budget": []}, ["an argument", "budget", "[]"]),
        ("home = 5", {}, {}, ["settings.toml", "home", "5"]),
        ("home = ['/a']", {}, {}, ["settings.toml", "home", "/a"]),
        ('home = ""', {}, {}, ["settings.toml", "home", "''"]),
        ('home = "a\\u0000b"', {}, {}, ["settings.toml", "home"]),
        ("[home]\npath = '/a'", {}, {}, ["settings.toml", "home"]),
        ("threads = ", {}, {}, ["settings.toml"]),
    ],
)
def test_what_does_not_fit_is_refused_with_key_value_and_origin(file, toml, environ, flags, named):
    with pytest.raises(UsageError) as caught:
        load(file, toml, environ, **flags)
    assert all(part in str(caught.value) for part in named), str(caught.value)


def test_a_weaker_origin_is_checked_though_a_stronger_one_wins(file):
    with pytest.raises(UsageError, match="threads"):
        load(file, 'threads = "many"', {}, threads=2)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"threads = 1\nthreads = 2\n"])
def test_a_file_that_is_no_toml_is_refused_by_name(file, content):
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        Settings.load(environ={}, file=file)


def test_a_folder_instead_of_the_file_is_refused_by_name(file):
    file.mkdir()
    with pytest.raises(UsageError, match=r"settings\.toml"):
        Settings.load(environ={}, file=file)


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().threads = 2


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://localhost:11434/v1/", "http://localhost:11434/v1"),
        ("https://example.org/api/v1/chat/completions", "https://example.org/api/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        (" HTTP://127.0.0.1:1234 ", "http://127.0.0.1:1234/v1"),
    ],
)
def test_a_servers_address_is_understood_as_people_copy_it(file, given, url):
    assert load(file, f'answer_url = "{given}"').answer_url == url


@pytest.mark.parametrize(
    "given",
    [
        "localhost:11434",
        "ftp://localhost",
        "file:///etc",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://[::1",
        "http://ho st/",
        "http://ho\nst/",
        "http://хост/",
        "http://host/\u202e",
        "http://host/" + "a" * 1000,
    ],
)
def test_what_is_no_address_is_refused_with_an_example(file, given):
    with pytest.raises(UsageError, match=r"answer_url.*http://localhost:11434/v1"):
        load(file, answer_url=given)


@pytest.mark.parametrize("given", ["http://me:s3cret@host/v1", "http://s3cret@host", "https://host/v1?key=s3cret"])
def test_a_secret_in_an_address_is_refused_and_not_shown(file, given):
    with pytest.raises(UsageError, match="POMNIT_ANSWER_KEY") as caught:
        load(file, answer_url=given)
    assert "s3cret" not in str(caught.value)


def test_rules_of_what_is_never_captured_are_a_list_or_parted_by_semicolons(file):
    rules = ("app:Telegram", "title:Счёт, банк")
    assert load(file, 'exclude = ["app:Telegram", "title:Счёт, банк"]').exclude == rules
    assert load(file, "", {"POMNIT_EXCLUDE": "app:Telegram; title:Счёт, банк;"}).exclude == rules
    for wrong in ("exclude = 3", "exclude = [3]", "capture_quality = 101", 'private_windows = "show"'):
        with pytest.raises(UsageError):
            load(file, wrong)
