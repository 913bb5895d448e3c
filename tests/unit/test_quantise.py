"""Converting to the MLX form: what is written reads back as the model, and nothing half-written is ever left."""

import errno
import json
import os
import shutil
import signal
import sys
import zipfile
from collections import namedtuple
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from pomnit.errors import DiskFull, EngineError, EngineMissing, ModelDamaged, UsageError
from pomnit.models import quantise as module
from pomnit.models.affine import dequantise, quantise
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import ModelFiles, read_manifest
from pomnit.models.quantise import convert
from support import processes
from support.checkpoints import write_safetensors

DIGEST = "d" * 64
PRODUCTS = (
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.0.output.dense.weight",
    "classifier.dense.weight",
)
OTHERS = (
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "encoder.layer.0.attention.self.query.bias",
    "classifier.out_proj.weight",
    "classifier.out_proj.bias",
)


def tensors(width: int = 64) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    shapes = dict.fromkeys(PRODUCTS, (128, width)) | {
        "embeddings.position_embeddings.weight": (32, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "encoder.layer.0.attention.self.query.bias": (128,),
        "classifier.out_proj.weight": (1, width),
        "classifier.out_proj.bias": (1,),
    }
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def entries(numbers: dict[str, np.ndarray]) -> dict[str, tuple[str, list[int], bytes]]:
    return {name: ("F32", list(array.shape), array.tobytes()) for name, array in numbers.items()}


def published(folder: Path, numbers: dict[str, np.ndarray] | None = None) -> ModelFiles:
    """Writes a model as it would be published, with a buffer that no engine reads."""
    folder.mkdir(exist_ok=True)
    weights = entries(numbers or tensors()) | {"embeddings.position_ids": ("I64", [1, 4], bytes(32))}
    write_safetensors(folder / "model.safetensors", weights)
    return with_its_files(folder)


def with_its_files(folder: Path) -> ModelFiles:
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 64}')
    (folder / "tokenizer.json").write_text('{"words": "слова"}', "utf-8")
    return ModelFiles(folder, DIGEST, "published", None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny-mlx"


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    return published(tmp_path / "published")


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_matrices_are_quantised_and_everything_else_is_float16(files, target, bits):
    convert(CARD, files, target, bits)
    source, made = Checkpoint(files.folder), Checkpoint(target)
    assert sorted(made) == sorted((*PRODUCTS, *OTHERS))
    for name in PRODUCTS:
        assert made.kind(name) == "U32"
        assert np.array_equal(made[name], dequantise(quantise(source[name], 64, bits, "float16")))
    for name in OTHERS:
        assert made.kind(name) == "F16"
        assert np.array_equal(made[name], source[name].astype(np.float16).astype(np.float32))


def test_16_bits_are_float16_throughout(files, target):
    convert(CARD, files, target, 16)
    assert {Checkpoint(target).kind(name) for name in Checkpoint(target)} == {"F16"}
    assert "quantization" not in json.loads((target / "config.json").read_bytes())


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
def test_mlx_loads_what_was_written(files, target, bits):
    mx = pytest.importorskip("mlx.core")
    convert(CARD, files, target, bits)
    ours = Checkpoint(target)
    with mx.stream(mx.cpu):
        loaded = mx.load(str(target / "model.safetensors"))
        for name in ours:
            raw = loaded[name]
            if bits < 16 and name in PRODUCTS:
                parts = (loaded[name.replace(".weight", f".{part}")] for part in ("scales", "biases"))
                raw = mx.dequantize(raw, *(part.astype(mx.float32) for part in parts), 64, bits)
            assert np.allclose(np.array(raw.astype(mx.float32)), ours[name], atol=1e-6)


def test_the_folder_stands_alone_and_says_what_it_is(files, target):
    convert(CARD, files, target, 8)
    config = json.loads((target / "config.json").read_bytes())
    assert config == {"model_type": "bert", "hidden_size": 64, "quantization": {"group_size": 64, "bits": 8}}
    assert (target / "tokenizer.json").read_text("utf-8") == '{"words": "слова"}'
    manifest = read_manifest(target)
    assert (manifest.card, manifest.form, manifest.bits, manifest.made_from) == (CARD.name, "mlx", 8, DIGEST)
    assert sorted(manifest.files) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_narrow_matrices_have_narrow_groups(tmp_path, target):
    convert(CARD, published(tmp_path / "narrow", tensors(width=96)), target, 4)
    made = Checkpoint(target)
    assert json.loads((target / "config.json").read_bytes())["quantization"] == {"group_size": 32, "bits": 4}
    assert made.packed(PRODUCTS[0]).group == 32


def test_no_group_fits_a_matrix_of_48_columns(tmp_path, target):
    convert(CARD, published(tmp_path / "odd", tensors(width=48)), target, 8)
    assert {Checkpoint(target).kind(name) for name in Checkpoint(target)} == {"F16"}
    assert "quantization" not in json.loads((target / "config.json").read_bytes())


def as_shards(folder: Path) -> ModelFiles:
    folder.mkdir()
    all_of_them = entries(tensors())
    for i, names in enumerate((PRODUCTS, OTHERS)):
        write_safetensors(folder / f"model-{i}.safetensors", {name: all_of_them[name] for name in names})
    places = {name: f"model-{int(name in OTHERS)}.safetensors" for name in all_of_them}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return with_its_files(folder)


def as_torch(folder: Path) -> ModelFiles:
    """Writes the file that torch.save would; see tests/golden/make_torch_files.py."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    folder.mkdir()
    code = b"\x80\x02}("
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as file:
        for i, (name, array) in enumerate(tensors().items()):
            sides = [
                b"(" + b"".join(map(number, side)) + b"t" for side in (array.shape, [n // 4 for n in array.strides])
            ]
            storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(i)) + text("cpu")
            code += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
            code += storage + number(array.size) + b"tQK\0" + b"".join(sides) + b"\x89}tR"
            file.writestr(f"archive/data/{i}", array.tobytes())
        file.writestr("archive/data.pkl", code + b"u.")
    return with_its_files(folder)


@pytest.mark.parametrize("write", [as_shards, as_torch])
def test_the_form_of_the_source_makes_no_difference(tmp_path, files, target, write):
    convert(CARD, files, target, 8)
    other = target.with_name("other")
    convert(CARD, write(tmp_path / "source"), other, 8)
    first, second = Checkpoint(target), Checkpoint(other)
    assert sorted(first) == sorted(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_sparse_head_travels_along(tmp_path, files, target):
    golden = Path(__file__).parent.parent / "golden" / "torch" / "module.bin"
    shutil.copyfile(golden, files.folder / "sparse_linear.pt")
    convert(CARD, files, target, 8)
    assert Checkpoint(target).shape("sparse_linear.weight") == (4, 3)
    assert np.array_equal(Checkpoint(target)["sparse_linear.bias"], Checkpoint(golden)["bias"])


def test_progress_ends_with_all_that_was_to_be_read(files, target):
    seen: list[tuple[int, int]] = []
    convert(CARD, files, target, 8, on_progress=lambda done, total: seen.append((done, total)))
    total = sum(array.nbytes for array in tensors().values())
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (total, total)


def test_what_was_there_is_replaced(files, target):
    convert(CARD, files, target, 4)
    convert(CARD, files, target, 8)
    assert read_manifest(target).bits == 8


# ----------------------------------------------------------------------------------------------------------- faults


def nothing_is_left(target: Path) -> bool:
    return not target.parent.exists() or list(target.parent.iterdir()) == []


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [PRODUCTS[2], OTHERS[3]])
@pytest.mark.parametrize("bits", [4, 16])
def test_a_number_that_is_none_is_refused_by_tensor(tmp_path, target, number, name, bits):
    numbers = tensors()
    numbers[name].flat[-1] = number
    with pytest.raises(ModelDamaged, match=f"tensor '{name}' holds NaN or infinite numbers"):
        convert(CARD, published(tmp_path / "spoiled", numbers), target, bits)
    assert nothing_is_left(target)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_number_beyond_float16_is_refused_by_tensor(tmp_path, target, bits):
    numbers = tensors()
    numbers[PRODUCTS[1]][3, 3] = -70_000
    with pytest.raises(EngineError, match=f"tensor '{PRODUCTS[1]}' holds 70000, and float16 ends at 65504"):
        convert(CARD, published(tmp_path / "large", numbers), target, bits)
    assert nothing_is_left(target)


@pytest.mark.parametrize("bits", [1, 3, 5, 32])
def test_other_numbers_of_bits_are_refused(files, target, bits):
    with pytest.raises(UsageError, match="4, 6, 8, 16"):
        convert(CARD, files, target, bits)


def test_what_is_quantised_is_not_quantised_again(files, target):
    convert(CARD, files, target, 8)
    again = ModelFiles(target, DIGEST, "published", None)
    with pytest.raises(UsageError, match="quantised already"):
        convert(CARD, again, target.with_name("again"), 4)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(files, target, name):
    (files.folder / name).unlink()
    with pytest.raises(EngineMissing, match=name):
        convert(CARD, files, target, 8)
    assert nothing_is_left(target)


def test_a_disk_without_room_is_said_before_anything_is_read(files, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(100 << 20, 99 << 20, 1 << 20))
    with pytest.raises(DiskFull, match=r"1 MB are free, 16 are needed .* free 16 MB"):
        convert(CARD, files, target, 8)
    assert nothing_is_left(target)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_disk_that_fills_up_leaves_nothing(files, target, monkeypatch, after):
    written = iter(range(100))
    write = os.pwrite

    def fails(file: int, data: bytes, at: int) -> int:
        if next(written) == after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data, at)

    monkeypatch.setattr(os, "pwrite", fails)
    with pytest.raises(DiskFull, match="nothing of tiny-mlx is left"):
        convert(CARD, files, target, 8)
    assert nothing_is_left(target)


def test_a_write_in_pieces_writes_the_same(files, target, monkeypatch):
    convert(CARD, files, target, 8)
    whole = (target / "model.safetensors").read_bytes()
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:1000], at))
    convert(CARD, files, target, 8)
    assert (target / "model.safetensors").read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_our_error(files, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be written"):
        convert(CARD, files, tmp_path / "file" / "tiny", 8)


def test_an_interrupt_leaves_nothing(files, target):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(CARD, files, target, 8, on_progress=interrupt)
    assert nothing_is_left(target)


CHILD = """
import os, resource, signal, sys
from pathlib import Path
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.models.hub import ModelFiles
from pomnit.models.quantise import convert

def progress(done, total):
    if sys.argv[3] == "kill" and done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert(ALL_MINILM_L6_V2, ModelFiles(Path(sys.argv[1]), "d" * 64, "published", None), Path(sys.argv[2]), 8,
        on_progress=progress)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def converted_in_a_child(files: ModelFiles, target: Path, how: str) -> CompletedProcess[str]:
    return processes.finished("-c", CHILD, str(files.folder), str(target), how)


def test_what_was_killed_half_way_is_never_used_and_gone_the_next_time(files, target):
    assert converted_in_a_child(files, target, "kill").returncode == -signal.SIGKILL
    assert [path.name for path in target.parent.iterdir()] == [f"{target.name}.part"]
    assert read_manifest(target.with_name(f"{target.name}.part")) is None
    convert(CARD, files, target, 8)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere mapped pages that were dropped still count")
def test_memory_does_not_grow_with_the_model(tmp_path, target):
    """Two tensors of 32 MB, either of which would show."""
    numbers = dict.fromkeys(PRODUCTS[:2], np.full((1 << 15, 256), 0.5, np.float32))
    done = converted_in_a_child(published(tmp_path / "wide", numbers), target, "through")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 28 << 10  # kB
