"""NumPy's archives as checkpoints: read where they lie, and refused when they are not what they say."""

import numpy as np
import pytest

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models.checkpoint import Checkpoint


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_arrays_come_back_as_float32_by_their_names(tmp_path):
    draw = np.random.default_rng(0)
    arrays = {
        "a.weight": draw.normal(size=(3, 4)).astype(np.float32),
        "b.half": draw.normal(size=5).astype(np.float16),
        "c.columns": np.asfortranarray(draw.normal(size=(3, 4)).astype(np.float32)),
        "d.empty": np.zeros((0, 4), np.float32),
    }
    found = Checkpoint(saved(tmp_path / "w.npz", **arrays))
    assert set(found) == set(arrays)
    for name, wanted in arrays.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], wanted.astype(np.float32))


def test_whole_numbers_are_named_and_not_taken_for_weights(tmp_path):
    found = Checkpoint(saved(tmp_path / "w.npz", heads=np.zeros((2, 2), np.int64)))
    assert found.kind("heads") == "I64"
    with pytest.raises(ModelDamaged, match="int64"):
        found["heads"]


def test_a_folder_of_mlx_whisper_is_opened_by_either_name(tmp_path):
    saved(tmp_path / "weights.npz", a=np.ones(3, np.float32))
    assert Checkpoint(tmp_path)["a"].tolist() == [1, 1, 1]


def test_objects_are_refused_unread(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{}], object))
    with pytest.raises(ModelDamaged, match="object"):
        Checkpoint(tmp_path / "w.npz")["a"]


def test_compressed_archives_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(1000, np.float32))
    with pytest.raises(ModelDamaged, match="compressed"):
        Checkpoint(tmp_path / "w.npz")


@pytest.mark.parametrize("left", [0.2, 0.5, 0.9, 0.99])
def test_what_is_cut_short_is_refused(tmp_path, left):
    data = saved(tmp_path / "w.npz", a=np.zeros(1000, np.float32)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: int(left * len(data))])
    with pytest.raises(ModelDamaged):
        Checkpoint(tmp_path / "cut.npz")


@pytest.mark.parametrize("change", [(b"'<f4'", b"'<f8'"), (b"(1000,)", b"(9000,)"), (b"NUMPY", b"PANDA")])
def test_a_header_that_does_not_fit_is_refused(tmp_path, change):
    data = saved(tmp_path / "w.npz", a=np.zeros(1000, np.float32)).read_bytes()
    assert change[0] in data
    (tmp_path / "bad.npz").write_bytes(data.replace(*change))
    with pytest.raises(ModelDamaged):
        Checkpoint(tmp_path / "bad.npz")["a"]


def test_what_is_no_archive_or_not_there_is_told(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"not one")
    with pytest.raises(ModelDamaged, match="zip"):
        Checkpoint(tmp_path / "w.npz")
    with pytest.raises(EngineMissing):
        Checkpoint(tmp_path / "none.npz")
