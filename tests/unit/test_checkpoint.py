"""Reading safetensors: what is stored is given back, and a damaged file is refused before anything is read from it."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models.checkpoint import Checkpoint
from support.checkpoints import write_safetensors


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
