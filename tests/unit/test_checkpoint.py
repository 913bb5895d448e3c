"""Reading weights: what is stored is given back, however it is stored, and a damaged file is refused before anything
is read from it."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models.affine import Packed, dequantise, quantise
from pomnit.models.checkpoint import Checkpoint
from support.checkpoints import write_safetensors

GOLDEN = Path(__file__).parent.parent / "golden" / "torch"
KINDS = {"<f4": "F32", "<f2": "F16", "<u4": "U32", "|i1": "I8", "<i8": "I64"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_float32_is_a_view_of_the_file(path):
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    write_safetensors(path, {"a": ("F32", [1], b"\0\0\0\0"), "b": ("F32", [2, 3], numbers.tobytes())})
    tensors = Checkpoint(path)
    assert list(tensors) == ["a", "b"]
    assert np.array_equal(tensors["b"], numbers)
    assert not tensors["b"].flags.writeable
    assert not tensors["b"].flags.owndata


def test_half_precisions_become_float32(path):
    numbers = np.array([1.5, -2.25, 0.0, 1e-3], "<f4")
    brain = (numbers.view("<u4") >> 16).astype("<u2")
    write_safetensors(
        path, {"h": ("F16", [4], numbers.astype("<f2").tobytes()), "b": ("BF16", [2, 2], brain.tobytes())}
    )
    tensors = Checkpoint(path)
    assert tensors["h"].dtype == tensors["b"].dtype == np.float32
    assert np.allclose(tensors["h"], numbers, rtol=1e-3)
    assert np.allclose(tensors["b"], numbers.reshape(2, 2), rtol=1e-2)


def test_an_array_outlives_its_checkpoint(path):
    write_safetensors(path, {"a": ("F32", [2], np.array([1, 2], "<f4").tobytes())})
    tensor = Checkpoint(path)["a"]
    assert tensor.tolist() == [1, 2]


def test_a_missing_file_is_said_to_be_missing(path):
    with pytest.raises(EngineMissing, match="no such file"):
        Checkpoint(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"\xff\xfe",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
    ids=["empty", "short", "cut in its header", "huge header", "not JSON", "a list", "not UTF-8", "deep"],
)
def test_a_damaged_header_is_refused(path, raw):
    path.write_bytes(raw)
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        Checkpoint(path)


def entry(kind: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        entry(kind="I64"),
        entry(kind=["F32"]),
        entry(shape=None),
        entry(shape=[-2], offsets=[8, 0]),
        entry(shape=[2.0]),
        entry(shape=[True, 2]),
        entry(shape=[3]),
        entry(shape=[2**40, 2**40]),
        entry(offsets=[0]),
        entry(offsets=[8, 16]),
        entry(offsets=[-8, 0]),
    ],
    ids=str,
)
def test_a_tensor_that_does_not_fit_the_file_is_refused(path, wrong):
    header = json.dumps({"a": wrong}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ModelDamaged, match="'a'"):
        Checkpoint(path)["a"]


def test_a_file_cut_in_its_data_is_refused(path):
    write_safetensors(path, {"a": ("F32", [100], bytes(400))})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelDamaged, match="claims bytes"):
        Checkpoint(path)["a"]


def test_a_tensor_that_is_not_there_is_named(path):
    write_safetensors(path, {})
    with pytest.raises(ModelDamaged, match="no tensor 'a'"):
        Checkpoint(path)["a"]


# ------------------------------------------------------------------------------------------------------- more forms


def save(path: Path, **tensors: np.ndarray) -> Path:
    entries = {name: (KINDS[a.dtype.str], list(a.shape), a.tobytes()) for name, a in tensors.items()}
    write_safetensors(path, entries)
    return path


def matrix(rows: int = 6, columns: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def save_packed(folder: Path, packed: Packed, quantization: Any = None, **more: np.ndarray) -> Checkpoint:
    parts = {"a.weight": packed.weight, "a.scales": packed.scales, "a.biases": packed.biases}
    save(folder / "model.safetensors", **(parts | more))
    (folder / "config.json").write_text(json.dumps({} if quantization is None else {"quantization": quantization}))
    return Checkpoint(folder)


def save_shards(folder: Path, **places: str) -> Path:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def test_shards_are_one_checkpoint(tmp_path):
    first, second = matrix(seed=1), matrix(seed=2)
    save(tmp_path / "model-00001-of-00002.safetensors", a=first, unlisted=first)
    save(tmp_path / "model-00002-of-00002.safetensors", b=second)
    save_shards(tmp_path, a="model-00001-of-00002.safetensors", b="model-00002-of-00002.safetensors")
    tensors = Checkpoint(tmp_path)
    assert sorted(tensors) == ["a", "b"]
    assert np.array_equal(tensors["a"], first)
    assert np.array_equal(tensors["b"], second)


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "a/b.safetensors", "..", "", "x.bin", 3, None])
def test_a_shard_outside_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ModelDamaged, match=r"index\.json"):
        Checkpoint(save_shards(tmp_path, a=name))


def test_a_tensor_must_be_where_the_index_says(tmp_path):
    save(tmp_path / "x.safetensors", b=matrix())
    with pytest.raises(ModelDamaged, match=r"x\.safetensors holds no tensor 'a'"):
        Checkpoint(save_shards(tmp_path, a="x.safetensors"))


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(EngineMissing, match=r"x\.safetensors: no such file"):
        Checkpoint(save_shards(tmp_path, a="x.safetensors"))


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path):
    with pytest.raises(EngineMissing, match=r"model\.safetensors .*index\.json .*pytorch_model\.bin"):
        Checkpoint(tmp_path)


def test_a_pipe_is_no_file(path):
    import os

    os.mkfifo(path)
    with pytest.raises(EngineMissing, match="no such file"):
        Checkpoint(path)


def test_the_sparse_head_of_bge_m3_belongs_to_its_folder(tmp_path):
    shutil.copyfile(GOLDEN / "layouts.bin", tmp_path / "pytorch_model.bin")
    shutil.copyfile(GOLDEN / "module.bin", tmp_path / "sparse_linear.pt")
    tensors = Checkpoint(tmp_path)
    assert "float" in tensors
    assert tensors.shape("sparse_linear.weight") == (4, 3)
    assert tensors["sparse_linear.bias"].tolist() == [12.5, 12.625, 12.75, 12.875]


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("scales", ["float32", "float16"])
def test_a_quantised_matrix_reads_as_the_matrix_it_stands_for(tmp_path, bits, scales):
    packed = quantise(matrix(columns=128), 64, bits, scales)
    tensors = save_packed(tmp_path, packed, {"group_size": 64, "bits": bits}, norm=np.ones(3, "<f4"))
    assert list(tensors) == ["a.weight", "norm"]
    assert "a.scales" not in tensors
    assert tensors.shape("a.weight") == (6, 128)
    assert np.array_equal(tensors["a.weight"], dequantise(packed))
    assert tensors.packed("norm") is None
    raw = tensors.packed("a.weight")
    assert (raw.bits, raw.group) == (bits, 64)
    assert np.array_equal(raw.weight, packed.weight)
    assert not raw.weight.flags.owndata


def test_scales_in_bfloat16_are_read(tmp_path):
    packed = quantise(matrix(), 64, 8)
    brain = [(a.view("<u4") >> 16).astype("<u2") for a in (packed.scales, packed.biases)]
    entries = {"a.weight": ("U32", [6, 16], packed.weight.tobytes())}
    entries |= {f"a.{name}": ("BF16", [6, 1], a.tobytes()) for name, a in zip(("scales", "biases"), brain, strict=True)}
    write_safetensors(tmp_path / "model.safetensors", entries)
    assert np.allclose(Checkpoint(tmp_path)["a.weight"], matrix(), atol=0.05)


def test_a_layer_may_have_bits_of_its_own(tmp_path):
    packed = quantise(matrix(), 32, 8)
    tensors = save_packed(tmp_path, packed, {"group_size": 64, "bits": 4, "a": {"group_size": 32, "bits": 8}})
    assert np.array_equal(tensors["a.weight"], dequantise(packed))


@pytest.mark.parametrize(("bits", "group"), [(4, 64), (8, 64), (6, 64), (3, 32)])
def test_without_a_word_in_config_bits_follow_from_the_shapes(tmp_path, bits, group):
    packed = quantise(matrix(), group, bits)
    assert np.array_equal(save_packed(tmp_path, packed)["a.weight"], dequantise(packed))


@pytest.mark.parametrize(
    "said",
    [
        {"group_size": 64, "bits": 4},
        {"group_size": 0, "bits": 8},
        {"group_size": "64", "bits": "8"},
        {"group_size": 64, "bits": [8]},
        {"group_size": 64, "bits": 8, "mode": "mxfp8"},
        [8],
    ],
    ids=str,
)
def test_bits_that_do_not_fit_the_shapes_are_refused(tmp_path, said):
    with pytest.raises(ModelDamaged, match=r"quantization|does not fit"):
        save_packed(tmp_path, quantise(matrix(), 64, 8), said)["a.weight"]


def test_a_packed_matrix_without_biases_is_refused(tmp_path):
    packed = quantise(matrix(), 64, 8)
    save(tmp_path / "model.safetensors", **{"a.weight": packed.weight, "a.scales": packed.scales})
    with pytest.raises(ModelDamaged, match="has no biases"):
        Checkpoint(tmp_path)["a.weight"]


def test_parts_of_different_rows_are_refused(tmp_path):
    packed = quantise(matrix(), 64, 8)
    with pytest.raises(ModelDamaged, match="parts of shapes"):
        save_packed(tmp_path, Packed(packed.weight, packed.scales[1:], packed.biases[1:], 8, 64))["a.weight"]


def test_rows_of_a_table_are_the_same_however_it_is_stored(tmp_path):
    table = matrix(rows=40)
    steps = np.abs(table).max(1).astype("<f4") / 127
    packed = quantise(table, 64, 8)
    tensors = save_packed(
        tmp_path,
        packed,
        {"group_size": 64, "bits": 8},
        whole=table,
        half=table.astype("<f2"),
        **{"words": np.rint(table / steps[:, None]).astype("|i1"), "words.steps": steps},
    )
    ids = np.array([3, 39, 0, 3])
    for name, off in (("whole", 0), ("half", 2e-3), ("words", 0.02), ("a.weight", 0.02)):
        found = tensors.table(name)
        assert found.shape == (40, 64)
        assert found.rows(ids).dtype == np.float32
        assert np.allclose(found.rows(ids), table[ids], atol=off, rtol=0)
        assert np.array_equal(found.rows(ids), tensors[name][ids])
    assert "words.steps" not in tensors


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"words": np.ones(4, "<f4")}, "not a matrix"),
        ({"words": np.ones((2, 2), "|i1")}, "'I8', not one of"),
        ({"words": np.ones((2, 2), "|i1"), "words.steps": np.ones(3, "<f4")}, "2 rows, and steps"),
        ({"words": np.ones((2, 2), "<f2"), "words.steps": np.ones(2, "<f4")}, "and not 'I8'"),
        ({"words": np.ones((2, 2), "<i8")}, "'I64', not one of"),
        ({}, "no tensor 'words'"),
    ],
)
def test_what_is_no_table_is_refused(path, tensors, why):
    with pytest.raises(ModelDamaged, match=why):
        Checkpoint(save(path, **tensors)).table("words")


def resident(path: Path) -> int:
    """Gives how many kB of a mapped file are in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return next(int(line.split()[1]) for own in lines if own.endswith(str(path)) for line in lines if "Rss" in line)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what is resident")
def test_what_was_read_can_be_dropped_from_memory(path):
    tensors = Checkpoint(save(path, a=np.ones((1000, 1000), "<f4")))
    view = tensors["a"]
    assert view.sum() == 1e6
    assert resident(path) > 3000
    tensors.release()
    assert resident(path) < 100
    assert view[-1, -1] == 1
