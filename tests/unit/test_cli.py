"""The command line: what it prints, where, and with which exit code."""

import importlib.metadata
import io
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest

import pomnit
from pomnit import Settings, records
from pomnit.doors.cli.commands import pomnit as commands
from support import processes
from support.pictures import CUT, bomb, note, picture

HEAVY = {"numpy", "onnxruntime", "onnx", "PIL", "apsw", "cryptography", "keyring", "tokenizers", "tesserocr"}
HEAVY |= {"mlx", "objc", "Foundation", "Vision", "Quartz"}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egnp.exe\x7f\x08"


def keys(record: type) -> set[str]:
    return {f.name for f in fields(record)}


@pytest.fixture
def filled(cli, files: Path):
    """The command line over a memory with two items."""
    note(files / "bees.md", "# Beekeeping\n\nThe bees leave the hive in June.")
    picture(files / "Screenshot 2026-11-03 at 09.41.07.png", "Berlin hotel")
    assert cli("add", files).code == 0
    return cli


def an_id(cli, query: str = "bees") -> str:
    return json.loads(cli("search", query, "--json").out)["hits"][0]["item"]["id"]


# Starting


@pytest.mark.parametrize("words", [["--help"], ["add", "--help"], ["search", "-h"], ["--version"]])
def test_help_loads_no_heavy_package(words: list[str]):
    code = f"import sys; from pomnit.doors.cli.commands import run; run({words}); print(*sys.modules, file=sys.stderr)"
    done = processes.finished("-c", code)
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stderr.split()} & HEAVY == set()
    assert "pomnit" in done.stderr.split()


def test_importing_pomnit_loads_no_heavy_package():
    done = processes.finished("-c", "import sys, pomnit; print(*sys.modules)")
    assert {name.partition(".")[0] for name in done.stdout.split()} & HEAVY == set()


def test_python_m_pomnit_says_its_version(pomnit_process):
    done = pomnit_process("--version")
    assert done.returncode == 0, done.stderr
    assert pomnit.__version__ in done.stdout


def test_every_command_has_help_with_an_example(cli):
    assert {"add", "search", "show", "status", "retry", "forget", "doctor"} <= set(commands.commands)
    for name in commands.commands:
        shown = cli(name, "--help")
        assert shown.code == 0
        assert f"pomnit {name}" in shown.out
        assert "--json" in shown.out
        assert "--home" in shown.out


@pytest.mark.parametrize("words", [[], ["nonsense"], ["add"], ["search"], ["show"], ["search", "x", "--limit", "many"]])
def test_words_that_do_not_fit_end_with_2(cli, words: list[str]):
    done = cli(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err


# The home


def test_the_home_is_what_the_flag_says_else_the_environment(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POMNIT_HOME", str(tmp_path / "one"))
    assert json.loads(cli("status", "--json").out)["home"] == str(tmp_path / "one")
    for words in (["--home", tmp_path / "two", "status", "--json"], ["--json", "status", "--home", tmp_path / "two"]):
        assert json.loads(cli(*words).out)["home"] == str(tmp_path / "two")
    assert (tmp_path / "one").stat().st_mode & 0o077 == 0
    assert (tmp_path / "one" / "home.json").stat().st_mode & 0o077 == 0


def test_the_key_lies_outside_the_home_and_is_readable_by_its_owner_alone(filled, settings: Settings):
    (key,) = settings.key_dir.iterdir()
    assert key.stat().st_mode & 0o077 == 0
    secret = key.read_text("ascii").strip()
    for path in settings.home.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
            assert bytes.fromhex(secret) not in path.read_bytes()


# Records


def test_every_command_prints_its_record_as_json(filled, files: Path):
    def of(*words: object):
        done = filled(*words, "--json")
        assert done.code in (0, 1), done.err
        return json.loads(done.out)

    uid = an_id(filled)
    assert set(of("add", files)) == keys(records.AddReport)
    result = of("search", "bees")
    assert set(result) == keys(records.SearchResult)
    assert set(result["query"]) == keys(records.Query)
    assert set(result["hits"][0]) == keys(records.Hit)
    assert set(result["hits"][0]["item"]) == keys(records.Item)
    assert set(result["hits"][0]["item"]["sources"][0]) == keys(records.Source)
    assert set(result["hits"][0]["passages"][0]) == keys(records.Passage)
    assert set(result["hits"][0]["passages"][0]["places"][0]) == keys(records.Place)
    assert set(result["legs"][0]) == keys(records.Leg)
    assert set(result["unindexed"]) == keys(records.Unindexed)
    assert set(of("show", uid)) == keys(records.ItemView)
    assert set(of("status")) == keys(records.Status)
    assert set(of("retry")) == keys(records.RetryReport)
    assert set(of("doctor")[0]) == keys(records.Check)
    assert set(of("forget", uid, "--yes")) == keys(records.Receipt)
    assert of("search", "bees")["hits"] == []


def test_the_records_are_the_same_from_python_and_from_the_command_line(filled, settings: Settings):
    printed = json.loads(filled("search", "bees", "--json").out)
    with pomnit.Memory.open(settings=settings) as memory:
        assert records.to_json(memory.search("bees").hits) == printed["hits"]


def test_the_flags_of_search_are_the_filters(filled, files: Path):
    def found(*words: object) -> list[str]:
        return [hit["item"]["title"] for hit in json.loads(filled("search", *words, "--json").out)["hits"]]

    shot = ["Screenshot 2026-11-03 at 09.41.07"]
    assert found("Berlin", "--type", "image") == found("Berlin", "type:image") == shot
    assert found("Berlin", "--type", "note") == []
    assert found("Berlin", "--after", "2026-11-03", "--before", "2026-11-04") == shot
    assert found("Berlin", "--before", "2026-11-03") == []
    assert found("Berlin", "--in", files) == shot
    assert found("type:image", "Berlin") == shot
    assert len(found("after:2000", "-n", "1")) == 1


# For people


def test_a_hit_is_shown_with_its_snippet_place_legs_and_time(filled):
    out = filled("search", "hive").out
    assert "Beekeeping" in out
    assert "leave the ⟦hive⟧ in June" in out
    assert "line 3" in out
    assert re.search(r"1 hits? in \d+ ms; legs: words, vectors", out)
    image = filled("search", "hotel").out
    assert "2026-11-03 09:41" in image
    assert "10-18 %" in image  # where it stands


def test_a_leg_that_did_not_run_is_named_with_its_reason(filled):
    assert "vectors skipped (all-MiniLM-L6-v2 knows en" in filled("search", "пчёлы").out


def test_add_ends_with_counts_and_each_reason(cli, files: Path):
    note(files / "a.txt", "words")
    bomb(files / "b.png", 60_000, 60_000)
    done = cli("add", files, files / "absent.txt")
    assert done.code == 4
    assert "1 new, 0 known, 2 failed" in done.out
    assert f"{files / 'b.png'}: " in done.out
    assert f"{files / 'absent.txt'}: there is no such file or folder" in done.out
    assert done.err == ""


def test_show_and_status_say_what_there_is(filled):
    shown = filled("show", an_id(filled)[:20]).out
    assert "The bees leave the hive in June." in shown
    assert "text/markdown" in shown
    status = filled("status").out
    assert "notes      1 (1 ready)" in status
    assert "images     1 (1 ready)" in status
    assert "readable" not in status


def test_failures_are_listed_until_they_are_put_right(cli, files: Path):
    (files / "bad.png").write_bytes(CUT)
    assert cli("add", files).code == 4
    assert "cut short" in cli("status").out
    assert cli("retry").code == 4
    assert "1 failed" in cli("search", "words").out


def test_control_characters_never_reach_the_terminal(cli, files: Path):
    path = note(files / f"name{EVIL.replace('/', '')}.md", f"# title {EVIL}\n\nsingular text {EVIL}")
    note(files / f"bad{EVIL}.png", "x").write_bytes(CUT)
    picture(files / f"shot{EVIL}.png", f"singular{EVIL}")
    outcomes = [
        cli("add", files),
        cli("add", files / f"absent{EVIL}.txt"),
        cli("search", "singular"),
        cli("search", f'singular app:"{EVIL}"'),
        cli("show", an_id(cli, "singular type:note")),
        cli("show", an_id(cli, "singular type:image")),
        cli("status"),
        cli("retry"),
        cli("doctor"),
        cli("forget", "--source", path),
        cli("forget", "--source", path, "--yes"),
    ]
    for outcome in outcomes:
        assert CONTROLS.findall(outcome.out + outcome.err) == []


@pytest.mark.parametrize(
    "words",
    [
        ["search", "x", "--type", f"im\nage{EVIL}"],
        ["search", "x", "--after", f"to\nday{EVIL}"],
        ["search", "!\n\x1b\x07\x9b\u202e\x7f\x08?"],
        ["show", f"id\n{EVIL}"],
        ["search", "x", "--home", "/dev/null/\n\x1b[2J"],
    ],
)
def test_an_error_is_one_clean_line_whatever_was_typed(cli, words: list[str]):
    done = cli(*words)
    assert done.code in (2, 3, 10)
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert CONTROLS.findall(done.err) == []


# Exit codes


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (["search", "?!"], 2, "UsageError"),
        (["search", "x", "--type", "banana"], 2, "UsageError"),
        (["search", "x", "--limit", "0"], 2, "UsageError"),
        (["show", "0193a5c2"], 3, "NotFound"),
        (["forget"], 2, "UsageError"),
        (["forget", "0193a5c2", "--yes"], 3, "NotFound"),
    ],
)
def test_an_error_is_one_line_on_standard_error_with_its_exit_code(cli, words: list[str], code: int, name: str):
    done = cli(*words)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(r"pomnit: [^\n]+\n", done.err)
    as_json = cli(*words, "--json")
    error = json.loads(as_json.out)
    assert (error["error"], error["exit_code"], as_json.code) == (name, code, code)
    assert f"pomnit: {error['message']}\n" == as_json.err


def test_a_home_that_cannot_be_used_ends_with_10(cli, tmp_path: Path):
    (tmp_path / "file").touch()
    done = cli("status", "--home", tmp_path / "file" / "home")
    assert done.code == 10
    assert str(tmp_path / "file") in done.err


def test_a_setting_that_does_not_fit_ends_with_2_and_names_its_origin(cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POMNIT_THREADS", "many")
    done = cli("status")
    assert done.code == 2
    assert "environment" in done.err
    assert "threads" in done.err


def test_forget_without_a_terminal_needs_yes(filled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    uid = an_id(filled)
    done = filled("forget", uid)
    assert done.code == 2
    assert "--yes" in done.err
    assert an_id(filled) == uid
    done = filled("forget", uid, "--yes")
    assert done.code == 0
    assert uid in done.out
    assert filled("show", uid).code == 3


@pytest.mark.parametrize(("answer", "code", "left"), [(True, 0, 0), (False, 1, 1)])
def test_forget_on_a_terminal_shows_what_goes_and_asks(
    filled, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, left: int
):
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer)
    done = filled("forget", "--query", "bees")
    assert done.code == code
    assert "Beekeeping" in done.out
    assert len(json.loads(filled("search", "bees", "--json").out)["hits"]) == left


def test_forgetting_nothing_is_not_an_error(filled):
    done = filled("forget", "--query", "zebra", "--yes")
    assert (done.code, done.out) == (0, "nothing fits, so nothing was forgotten\n")


def test_a_closed_pipe_ends_quietly(filled):
    process = processes.started("cli", "show", an_id(filled))
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate()
    assert err == ""


# Doctor and the guide


def not_installed(name: str):
    raise importlib.metadata.PackageNotFoundError(name)


def test_doctor_with_nothing_installed_says_the_next_command(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("POMNIT_RECOGNISER", "tesseract")  # a Mac has eyes of its own
    monkeypatch.setattr("pomnit.engines.ocr_tesseract.find_tessdata", lambda extra=None: None)
    monkeypatch.setattr("importlib.metadata.distribution", not_installed)
    done = cli("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.out)}
    assert done.code == 1
    assert checks["ocr"]["verdict"] == "problem"
    assert "tesseract" in checks["ocr"]["next"]
    assert checks["encoder"]["verdict"] == "warning"
    assert "pip install" in checks["encoder"]["next"]
    assert "pomnit add" in checks["database"]["text"]
    assert not (tmp_path / "home").exists()  # it changes nothing
    shown = cli("doctor").out
    assert f"type: {checks['ocr']['next']}" in shown


def test_doctor_names_every_part_and_finds_a_filled_memory_in_order(filled, settings: Settings):
    checks = {check["name"]: check for check in json.loads(filled("doctor", "--json").out)}
    assert {
        "python",
        "system",
        "memory",
        "budget",
        "swap",
        "pressure",
        "mlx",
        "ocr",
        "encoder",
        "database",
        "key",
        "disk",
    } <= set(checks)
    assert checks["database"]["verdict"] == checks["key"]["verdict"] == "ok"
    (key,) = settings.key_dir.iterdir()
    key.chmod(0o644)
    checks = {check["name"]: check for check in json.loads(filled("doctor", "--json").out)}
    assert (checks["key"]["verdict"], checks["key"]["next"]) == ("problem", f"chmod 600 '{key}'")


def test_the_guide_names_every_command_and_every_setting():
    guide = (Path(__file__).parents[2] / "docs" / "GUIDE.md").read_text("utf-8")
    missing = [name for name in commands.commands if f"pomnit {name}" not in guide]
    missing += [f.name for f in fields(Settings) if not re.search(rf"\b{f.name}\b", guide)]
    assert missing == []
