"""Reading PyTorch's files without PyTorch: what was saved is given back, and a file asking for anything more is refused
before anything of it is obeyed. The files are those of tests/golden/make_torch_files.py."""

import contextlib
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.errors import EngineMissing, ModelDamaged, PomnitError
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.torch_file import TorchFile

GOLDEN = Path(__file__).parent.parent / "golden" / "torch"
SCRATCH = "module.bin"


def counted(*shape: int, start: int = 0) -> np.ndarray:
    return (np.arange(start, start + np.prod(shape)) / 8).astype(np.float32).reshape(shape)


def rewritten(path: Path, change: dict[str, bytes], *, how: int = zipfile.ZIP_STORED) -> Path:
    """Gives module.bin with some members changed, added or (b"") left out."""
    with zipfile.ZipFile(GOLDEN / SCRATCH) as old, zipfile.ZipFile(path, "w", how) as new:
        members = {name.partition("/")[2]: old.read(name) for name in old.namelist()} | change
        for name, content in members.items():
            if content:
                new.writestr(f"module/{name}", content)
    return path


def with_pickle(path: Path, code: bytes) -> Path:
    return rewritten(path, {"data.pkl": code})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pytorch_model.bin"


def its_pickle() -> bytes:
    with zipfile.ZipFile(GOLDEN / SCRATCH) as file:
        return file.read("module/data.pkl")


@pytest.mark.parametrize("name", ["module.bin", "nested.bin", "protocol4.bin"])
def test_a_state_dict_is_given_back(name):
    tensors = Checkpoint(GOLDEN / name)
    assert list(tensors) == ["weight", "bias"]
    assert np.array_equal(tensors["weight"], counted(4, 3))
    assert np.array_equal(tensors["bias"], counted(4, start=100))
    assert not tensors["weight"].flags.writeable
    assert not tensors["weight"].flags.owndata


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("float", counted(4, 6)),
        ("transposed", counted(4, 6).T),
        ("part", counted(4, 6)[1:3, ::2]),
        ("again", counted(4, 6)),
        ("parameter", counted(2, 2)),
        ("half", counted(5)),
        ("brain", counted(5)),
        ("scalar", np.float32(1.5)),
    ],
)
def test_every_layout_is_read_right(name, wanted):
    found = Checkpoint(GOLDEN / "layouts.bin")[name]
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "why"),
    [("whole", "'I64'"), ("double", "'F64'"), ("expanded", "within its storage"), ("empty", "within its storage")],
)
def test_a_tensor_that_cannot_be_read_is_named(name, why):
    with pytest.raises(ModelDamaged, match=f"tensor '{name}' .*{why}"):
        Checkpoint(GOLDEN / "layouts.bin")[name]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("legacy.bin", "PyTorch 1.6"),
        ("whole_module.bin", "'torch.nn.modules.linear.Linear'"),
        ("list.bin", "no dictionary of tensors"),
    ],
)
def test_other_files_of_pytorch_are_refused_with_a_reason(name, why):
    with pytest.raises(ModelDamaged, match=why):
        TorchFile(GOLDEN / name)


# ------------------------------------------------------------------------------------------------------------ code


class Call:
    def __init__(self, what: object, *given: object) -> None:
        self.what, self.given = what, given

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.what, self.given


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("what", "name"),
    [(os.system, "posix.system"), (eval, "eval"), (getattr, "getattr"), (pickle.loads, "pickle.loads")],
)
def test_a_pickle_with_code_is_refused_by_name_and_not_run(path, tmp_path, what, name, protocol):
    trace = tmp_path / "trace"
    code = pickle.dumps({"weight": Call(what, f"touch {trace}")}, protocol)
    with pytest.raises(ModelDamaged, match=rf"asks for '.*{name}', which is no part of a tensor"):
        TorchFile(with_pickle(path, code))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["torch load", "torch.serialization load", "collections namedtuple", "torch _utils"])
def test_a_name_that_only_begins_as_a_known_one_is_refused(path, name):
    code = b"\x80\x02c" + "\n".join(name.split()).encode() + b"\n)R."
    with pytest.raises(ModelDamaged, match=f"asks for '{name.replace(' ', '.')}'"):
        TorchFile(with_pickle(path, code))


def test_a_dotted_name_reaches_nothing_through_a_known_one(path):
    code = b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.__init__.__doc__\x93)R."
    with pytest.raises(ModelDamaged, match=r"OrderedDict\.__init__"):
        TorchFile(with_pickle(path, code))


def pushed(name: str) -> bytes:
    return b"c" + name.rpartition(".")[0].encode() + b"\n" + name.rpartition(".")[2].encode() + b"\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b".",
        b"\x80",
        b"}",
        b"}b.",
        b"(.",
        b"}u.",
        b"(}u.",
        b"h\0.",
        b"X\xff\xff\xff\xff.",
        b"\x8a\xffab.",
        b"cposix",
        b"}NNs.",
        b"}(}}u.",
        b"}(Nu.",
        b"]" + b"\x85" * 200_000 + b"Q.",
        pushed("collections.OrderedDict") + b"(Kd\x85R.",
        pushed("collections.OrderedDict") + b")R" + b"NN\x86b.",
        pushed("torch._utils._rebuild_tensor_v2") + b")R.",
        pushed("torch._utils._rebuild_parameter") + b"N\x85R.",
        pushed("torch.FloatStorage") + b")R.",
        pushed("torch.FloatStorage") + b"N\x81.",
        b"(" + text("storage") + pushed("collections.OrderedDict") + text("0") + text("cpu") + b"K\x04tQ.",
        b"(" + text("storage") + text("0") + text("cpu") + b"K\x04tQ.",
        b"Vweight\n.",
        b"i",
        b"\x82\x01.",
    ],
    ids=lambda code: repr(code[:24]),
)
def test_what_pytorch_does_not_write_is_refused(path, code):
    with pytest.raises(ModelDamaged, match=r"pytorch_model\.bin"):
        TorchFile(rewritten(path, {"data.pkl": b"\x80\x02" + code}))


def test_a_state_is_never_set_on_anything(path):
    code = b"\x80\x02}" + text("weight") + pushed("torch.FloatStorage") + b"}b" + b"s."
    with pytest.raises(ModelDamaged, match="where dict is expected"):
        TorchFile(with_pickle(path, code))


def test_a_memo_place_costs_nothing_however_high(path):
    """Python's own unpickler asks for 64 GB here."""
    code = its_pickle().replace(b"q\x00", b"q\x00r\xff\xff\xff\xff", 1)
    assert np.array_equal(TorchFile(with_pickle(path, code)).stored("weight").numbers, counted(4, 3))


def test_a_key_nested_a_million_deep_is_refused(path):
    """Python's own unpickler dies here: it hashes the key, and the stack overflows."""
    with pytest.raises(ModelDamaged, match="a tuple where str is expected"):
        TorchFile(with_pickle(path, b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns."))


# ---------------------------------------------------------------------------------------------------------- places


def tensor_pickle(
    *, key: bytes = b"X\x01\0\0\x000", count: bytes = b"K\x0c", offset: bytes = b"K\0", size: bytes, stride: bytes
) -> bytes:
    """Gives the pickle of one tensor "weight" in a storage of 12 numbers."""
    storage = b"(" + text("storage") + pushed("torch.FloatStorage") + key + text("cpu") + count + b"tQ"
    made = pushed("torch._utils._rebuild_tensor_v2") + b"(" + storage + offset + size + stride + b"\x89}tR"
    return b"\x80\x02}" + text("weight") + made + b"s."


def long(value: int) -> bytes:
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def pair(first: int, second: int) -> bytes:
    return long(first) + long(second) + b"\x86"


def test_the_handmade_pickle_of_the_next_test_is_a_good_one(path):
    code = tensor_pickle(size=pair(4, 3), stride=pair(3, 1))
    assert np.array_equal(TorchFile(with_pickle(path, code)).stored("weight").numbers, counted(4, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": pair(5, 3), "stride": pair(3, 1)},
        {"size": pair(4, 3), "stride": pair(4, 1)},
        {"size": pair(4, 3), "stride": pair(3, 1), "offset": b"K\x01"},
        {"size": pair(4, 3), "stride": pair(3, 1), "offset": long(-1)},
        {"size": pair(4, 3), "stride": pair(-3, 1), "offset": b"K\x09"},
        {"size": pair(-4, -3), "stride": pair(3, 1)},
        {"size": pair(2**40, 2**40), "stride": pair(0, 0)},
        {"size": pair(2**62, 4), "stride": pair(2**62, 1)},
        {"size": pair(0, 2**63), "stride": pair(1, 1)},
        {"size": pair(4, 3), "stride": long(3) + b"\x85"},
        {"size": b"N", "stride": b"N"},
        {"size": pair(4, 3), "stride": pair(3, 1), "offset": b"N"},
        {"size": b"(" + b"K\x01" * 40 + b"t", "stride": b"(" + b"K\x01" * 40 + b"t"},
        {"size": pair(4, 3), "stride": pair(3, 1), "count": b"K\x64"},
        {"size": pair(4, 3), "stride": pair(3, 1), "count": long(2**100)},
        {"size": pair(4, 3), "stride": pair(3, 1), "key": text("7")},
        {"size": pair(4, 3), "stride": pair(3, 1), "key": text("../byteorder")},
    ],
    ids=repr,
)
def test_a_tensor_outside_its_storage_is_refused(path, wrong):
    with pytest.raises(ModelDamaged, match="'weight' does not lie within its storage"):
        TorchFile(with_pickle(path, tensor_pickle(**wrong))).stored("weight")


def test_a_stride_along_a_side_of_one_is_not_taken(path):
    code = tensor_pickle(size=pair(1, 3), stride=pair(2**70, 1))
    # the sum of the places counts it as nothing, as PyTorch does
    assert np.array_equal(TorchFile(with_pickle(path, code)).stored("weight").numbers, counted(1, 3))


# --------------------------------------------------------------------------------------------------------- archives


def test_numbers_of_the_other_byte_order_are_refused(path):
    with pytest.raises(ModelDamaged, match="b'big'-endian"):
        TorchFile(rewritten(path, {"byteorder": b"big"}))


def test_a_file_that_says_no_byte_order_is_little_endian(path):
    assert list(TorchFile(rewritten(path, {"byteorder": b""}))) == ["weight", "bias"]


def test_a_compressed_member_is_refused(path):
    with pytest.raises(ModelDamaged, match="compressed"):
        TorchFile(rewritten(path, {}, how=zipfile.ZIP_DEFLATED))


def test_two_members_of_a_name_are_refused(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("module/data.pkl", its_pickle())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("module/data.pkl", its_pickle())
    with pytest.raises(ModelDamaged, match="two members"):
        TorchFile(path)


@pytest.mark.parametrize("change", [{"data.pkl": b""}, {"more/data.pkl": b"\x80\x02}."}])
def test_there_is_one_pickle(path, change):
    with pytest.raises(ModelDamaged, match=r"members named data\.pkl"):
        TorchFile(rewritten(path, change))


def test_a_zip_of_64_bit_places_is_read(path):
    with zipfile.ZipFile(GOLDEN / SCRATCH) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as member:
                member.write(old.read(name))
    assert np.array_equal(TorchFile(path).stored("weight").numbers, counted(4, 3))


@pytest.mark.parametrize(("count", "begin"), [(5, 2**64 - 1), (5, 2**40), (2**64 - 1, 0), (5, 0), (0, 0)])
def test_a_list_of_members_that_lies_elsewhere_is_refused(path, count, begin):
    raw = (GOLDEN / SCRATCH).read_bytes()
    raw = raw[: raw.rindex(b"PK\5\6")]
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, 0, begin)
    end = struct.pack("<4sLQL", b"PK\6\7", 0, len(raw), 1) + struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, 0, 0, 0)
    path.write_bytes(raw + end_64 + end)
    with pytest.raises(ModelDamaged, match="members"):
        TorchFile(path)


def test_a_missing_file_and_an_empty_one_are_told_apart(path):
    with pytest.raises(EngineMissing, match="no such file"):
        TorchFile(path)
    path.touch()
    with pytest.raises(ModelDamaged, match="empty"):
        TorchFile(path)


@pytest.mark.parametrize("keep", [3, 40, 500, -1, -30, -200])
def test_a_file_cut_short_is_refused(path, keep):
    path.write_bytes((GOLDEN / SCRATCH).read_bytes()[:keep])
    with pytest.raises(ModelDamaged):
        TorchFile(path)


# ------------------------------------------------------------------------------------------------------------- fuzz

edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)
# bytes that are instructions, so that more than half of the trials get further than the first of them
instructions = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 3),
        st.sampled_from([bytes([b]) for b in b"\x80(NXK}]).tqhjuescbQRrMJ\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95"]),
    ),
    min_size=1,
    max_size=6,
)


def edited(raw: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, gone, new in changes:
        at = int(place * len(raw))
        raw = raw[:at] + new + raw[at + gone :]
    return raw


def read_all(path: Path) -> None:
    """Reads every tensor; nothing but our own errors may come out."""
    try:
        file = TorchFile(path)
    except PomnitError:
        return
    for name in file:
        with contextlib.suppress(PomnitError):
            file.stored(name).numbers.tobytes()


@settings(max_examples=300)
@given(st.sampled_from(["module", "layouts", "nested", "protocol4"]), edits | instructions)
def test_any_damage_to_a_pickle_gives_tensors_or_our_errors(tmp_path_factory, name, changes):
    with zipfile.ZipFile(GOLDEN / f"{name}.bin") as file:
        code = file.read(f"{name}/data.pkl")
    read_all(with_pickle(tmp_path_factory.getbasetemp() / "fuzzed.bin", edited(code, changes) or b"."))


@settings(max_examples=300)
@given(edits)
def test_any_damage_to_a_file_gives_tensors_or_our_errors(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "fuzzed.bin"
    path.write_bytes(edited((GOLDEN / SCRATCH).read_bytes(), changes))
    read_all(path)
