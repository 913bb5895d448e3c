"""`pomnit models`: what it shows, gets, makes, uses and removes, with tiny models under names of their own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from pomnit import Memory, Settings, records
from pomnit.doors.cli import progress
from pomnit.doors.cli.models import models as group
from pomnit.governor import advice
from pomnit.governor.machine import Machine
from pomnit.memory import Happening
from pomnit.models import cards
from support import golden_models
from support.pictures import note

GIB = 1 << 30


@pytest.fixture
def published(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a tiny model one of those Pomnit knows, with its files in the folder of models unless told otherwise."""

    def place(kind: str, *, here: bool = True) -> Path:
        card, folder, _ = golden_models.golden(kind)
        known = cards.RERANKERS if isinstance(card, cards.RerankerCard) else cards.ENCODERS
        for dictionary in (known, cards.CARDS):
            monkeypatch.setitem(dictionary, kind, card)
        if not here:
            return folder
        shutil.copytree(folder, settings.models / kind, ignore=shutil.ignore_patterns("expected.json"))
        return settings.models / kind

    return place


@pytest.fixture
def remembering(cli, files: Path):
    """The command line over a memory of one English note of many passages."""
    text = "\n\n".join(f"Day {day}: we sailed on and counted {day} birds. " * 12 for day in range(80))
    note(files / "voyage.md", text)
    assert cli("add", files).code == 0
    return cli


def listed(cli) -> dict[str, dict]:
    done = cli("models", "--json")
    assert done.code == 0, done.err
    return {model["name"]: model for model in json.loads(done.out)["models"]}


# Help


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_has_help_with_an_example(cli, name: str):
    shown = cli("models", name, "--help")
    assert shown.code == 0
    assert f"pomnit models {name}" in shown.out
    assert "--json" in shown.out


# The inventory


def test_the_inventory_needs_no_memory_and_makes_none(cli, settings: Settings):
    found = listed(cli)
    assert set(found) == set(cards.CARDS)
    assert set(found["BGE-M3"]) == {f.name for f in fields(records.ModelView)}
    assert [name for name, model in found.items() if model["in_use"]] == ["all-MiniLM-L6-v2"]
    assert found["BGE-M3"]["state"] == "missing"
    assert not settings.home.exists()
    assert not settings.models.exists()


def test_the_table_is_grouped_by_job_fits_a_terminal_and_explains_its_marks(cli):
    shown = cli("models").out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 120
    assert [line for line in lines if line.startswith(("Encoders", "Rerankers"))] == [
        lines[0],
        *re.findall("^Rerank.*", shown, re.MULTILINE),
    ]
    for name in cards.CARDS:
        assert re.search(rf"^.  {re.escape(name)} ", shown, re.MULTILINE), name
    assert "✓ in use: all-MiniLM-L6-v2" in shown
    assert "~ estimated" in shown
    assert "Qwen3-Embedding-4B" in shown
    assert "4.0B" in shown
    assert re.search(r"ONNX Runtime|MLX, on Apple silicon", shown)


def test_files_make_a_model_ready_and_lacking_ones_partial(cli, published):
    folder = published("bert-mean")
    assert listed(cli)["bert-mean"]["state"] == "ready"
    (folder / "tokenizer.json").unlink()
    lacking = listed(cli)["bert-mean"]
    assert (lacking["state"], lacking["folder"]) == ("partial", str(folder))
    assert "lacks tokenizer.json" in lacking["reason"]
    shown = cli("models").out
    assert re.search(r"bert-mean .* partial \d+%", shown)
    assert "lacks tokenizer.json" in shown


def test_what_the_memory_of_the_machine_advises_is_marked_with_its_command(cli, monkeypatch):
    monkeypatch.setattr("pomnit.catalogue.machine", lambda: Machine(16 * GIB, 0, 0, 0, limited=False))
    assert {name for name, model in listed(cli).items() if model["advised"]} == {
        "BGE-M3",
        "mmarco-mMiniLMv2-L12",
        "whisper-small",
    }
    shown = cli("models").out
    assert re.search(r"^→  BGE-M3 ", shown, re.MULTILINE)
    assert "type: pomnit models pull BGE-M3" in shown


@pytest.mark.parametrize("words", [["pull"], ["use"], ["check"], ["convert"], ["drop"]])
def test_an_unknown_model_is_refused_with_the_nearest_name(cli, words: list[str]):
    done = cli("models", *words, "bge-m4")
    assert done.code == 3
    assert "BGE-M3" in done.err


# Getting


def test_files_from_a_folder_are_pulled_and_the_next_command_is_named(cli, published, tmp_path: Path):
    folder = published("bert-mean", here=False)
    done = cli("models", "pull", "BERT-mean", "--from", folder)
    assert done.code == 0, done.err
    assert "type: pomnit models use bert-mean" in done.out
    assert listed(cli)["bert-mean"]["state"] == "ready"
    again = json.loads(cli("models", "pull", "bert-mean", "--from", folder, "--json").out)
    assert set(again) == {f.name for f in fields(records.ModelPulled)}
    assert again["fresh"] is False


def test_a_folder_without_the_files_is_refused_and_nothing_is_half_there(cli, published, tmp_path: Path):
    published("bert-mean", here=False)
    (tmp_path / "empty").mkdir()
    done = cli("models", "pull", "bert-mean", "--from", tmp_path / "empty")
    assert done.code in (21, 22)
    assert listed(cli)["bert-mean"]["state"] != "ready"


# Converting


def test_a_conversion_is_smaller_and_needs_the_published_files_no_longer(cli, published, settings: Settings):
    folder = published("bert-mean")
    done = cli("models", "convert", "bert-mean", "--bits", "16", "--runtime", "onnx", "--delete-published", "--json")
    assert done.code == 0, done.err
    made = json.loads(done.out)
    assert made["folder"] == str(settings.models / "bert-mean-onnx-16bit")
    assert made["bytes_after"] > 0
    assert not folder.exists()
    view = listed(cli)["bert-mean"]
    assert (view["state"], view["bits"]) == ("other format", 8)
    assert "bert-mean-onnx-16bit" in cli("models").out
    assert "in use: bert-mean" in cli("models", "use", "bert-mean", "--bits", "16").out


def test_mlx_folders_are_made_where_mlx_cannot_run(cli, published, settings: Settings):
    published("bert-mean")
    done = cli("models", "convert", "bert-mean", "--bits", "6", "--runtime", "mlx")
    assert done.code == 0, done.err
    assert re.search(r"bert-mean: [\d.]+ kB → [\d.]+ kB \(\d+%\) in", done.out)
    config = json.loads((settings.models / "bert-mean-mlx-6bit" / "config.json").read_text())
    assert config["quantization"]["bits"] == 6
    assert cli("models", "convert", "bert-mean", "--bits", "6", "--runtime", "onnx").code == 20


def test_a_folder_elsewhere_is_converted_when_its_name_or_card_says_what_it_is(cli, published, tmp_path, settings):
    shutil.copytree(published("bert-mean", here=False), tmp_path / "download")
    refused = cli("models", "convert", tmp_path / "download", "--bits", "8")
    assert (refused.code, "'download'" in refused.err) == (3, True)
    assert cli("models", "convert", tmp_path / "download", "--card", "bert-mean", "--runtime", "onnx").code == 0
    assert (settings.models / "bert-mean-onnx-8bit" / "pomnit.json").is_file()
    assert listed(cli)["bert-mean"]["state"] == "ready"


def test_of_a_folder_elsewhere_only_the_published_files_are_deleted(cli, published, tmp_path: Path):
    shutil.copytree(published("bert-mean", here=False), tmp_path / "bert-mean")
    (tmp_path / "bert-mean" / "diary.txt").write_text("mine")
    done = cli("models", "convert", tmp_path / "bert-mean", "--runtime", "onnx", "--delete-published")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "bert-mean").iterdir()} == {"diary.txt", "expected.json"}


def test_what_a_package_brought_is_not_deleted(cli):
    done = cli("models", "convert", "all-MiniLM-L6-v2", "--bits", "16", "--delete-published")
    assert (done.code, "belongs to a package" in done.err) == (2, True)


# Using


def test_using_an_encoder_fills_its_space_and_says_so(remembering, published):
    published("bert-mean")
    done = remembering("models", "use", "bert-mean")
    assert done.code == 0, done.err
    assert re.search(r"in use: bert-mean \w+-\d+, [\d,]+ passages", done.out)
    view = listed(remembering)["bert-mean"]
    assert (view["in_use"], view["making"]) == (True, None)
    assert "✓ in use: bert-mean" in remembering("models").out


def test_a_stopped_use_says_how_to_go_on_and_the_inventory_how_far_it_is(remembering, published, monkeypatch):
    published("bert-mean")

    def stop(self: object, happening: Happening) -> None:
        if happening.stage == "fill" and 0 < happening.done < happening.total:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.Bars, "__call__", stop)
    done = remembering("models", "use", "bert-mean")
    assert done.code == 130
    assert "type the same again" in done.err
    view = listed(remembering)["bert-mean"]
    assert view["in_use"] is False
    assert 0 < view["making"] < 1
    shown = remembering("models").out
    assert re.search(r"bert-mean .* making \d+%", shown)
    assert "of the passages; the one in use is searched" in shown
    monkeypatch.undo()


def test_a_reranker_is_used_and_shown_and_taken_out_of_use(remembering, published):
    published("bert-pair")
    assert "in use: bert-pair" in remembering("models", "use", "bert-pair").out
    assert listed(remembering)["bert-pair"]["in_use"]
    assert remembering("models", "drop", "bert-pair").code == 0
    assert not listed(remembering)["bert-pair"]["in_use"]


def test_a_model_whose_files_are_not_here_is_not_used(remembering, published):
    published("bert-mean", here=False)
    done = remembering("models", "use", "bert-mean")
    assert done.code == 21
    assert "pomnit models pull bert-mean" in done.err


# Removing


def test_vectors_are_dropped_but_not_those_that_are_searched(remembering, published):
    published("bert-mean")
    remembering("models", "use", "bert-mean")
    refused = remembering("models", "drop", "bert-mean", "--files")
    assert refused.code == 2
    assert listed(remembering)["bert-mean"]["state"] == "ready"
    remembering("models", "use", "all-MiniLM-L6-v2")
    done = json.loads(remembering("models", "drop", "bert-mean", "--files", "--json").out)
    assert set(done) == {f.name for f in fields(records.ModelDropped)}
    assert done["vectors"] > 0
    assert done["bytes_freed"] > 0
    assert listed(remembering)["bert-mean"]["state"] == "missing"


def test_files_are_removed_in_every_form(cli, published, settings: Settings):
    published("bert-mean")
    assert cli("models", "convert", "bert-mean", "--bits", "8", "--runtime", "onnx").code == 0
    assert cli("models", "drop", "bert-mean", "--files").code == 0
    assert not list(settings.models.glob("bert-mean*"))
    assert cli("models", "drop", "bert-mean", "--files").code == 3


# Advice elsewhere


def test_status_and_doctor_name_a_better_model_once_and_not_when_it_is_in_use(cli, files, settings, monkeypatch):
    monkeypatch.setattr(advice, "machine", lambda: Machine(8 * GIB, 0, 0, 0, limited=False))
    note(files / "заметка.md", "Купить хлеба и молока, забрать посылку на почте до шести вечера.")
    assert cli("add", files).code == 0
    with Memory.open(settings=settings, engines={}) as memory:  # engines that a program hands in are its own choice
        said = memory.status().advice
    assert said is not None
    assert "multilingual-e5-small would serve better here (profile 8gb, and 100% of the passages are Russian)" in said
    assert said.endswith("type: pomnit models pull multilingual-e5-small")
    checks = {check["name"]: check for check in json.loads(cli("doctor", "--json").out)}
    assert checks["advice"]["next"] == "pomnit models pull multilingual-e5-small"
    assert checks["models"]["verdict"] == "ok"
    (files / "заметка.md").unlink()
    assert cli("forget", "--query", "хлеба", "--yes").code == 0
    with Memory.open(settings=settings, engines={}) as memory:
        assert memory.status().advice is None
    assert "advice" not in {check["name"] for check in json.loads(cli("doctor", "--json").out)}


# Progress


def test_bytes_are_shown_with_their_speed_and_what_is_left(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.Bars() as bars:
        bars(Happening("pull", 1_000_000, 9_000_000, "model.safetensors"))
        bars(Happening("pull", 3_000_000, 9_000_000, "model.safetensors"))
    shown = capsys.readouterr().err
    assert "getting" in shown
    assert "3.0 MB of 9.0 MB" in shown
    assert "MB/s" in shown
    assert "left" in shown
