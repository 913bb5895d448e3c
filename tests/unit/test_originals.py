"""Kept files: sealed, private, and swept when nothing names them."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from pomnit.errors import DatabaseDamaged, DiskFull, HomeError, ItemError
from pomnit.store import originals
from pomnit.store.originals import CHUNK, Originals

KEY = bytes(range(32))
NAME = "ab" + "0" * 62


@pytest.fixture
def kept(tmp_path):
    return Originals(tmp_path / "files", KEY)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(originals, "CHUNK", 64)


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_bytes_come_back_as_they_were(kept, small_chunks, chunks, more):
    data = os.urandom(max(0, chunks * 64 + more))
    size = kept.put(NAME, data)
    assert kept.get(NAME) == data
    assert size == kept.path(NAME).stat().st_size == kept.size()


def test_bytes_across_real_chunks_come_back(kept):
    data = os.urandom(originals.CHUNK) + b"x"
    kept.put(NAME, data[:-1])
    kept.put("cd", data)
    assert kept.get(NAME) == data[:-1]
    assert kept.get("cd") == data


@pytest.mark.parametrize("size", [0, 1, 64, 65, 200])
def test_any_flipped_byte_is_noticed(kept, small_chunks, size):
    kept.put(NAME, b"z" * size)
    path = kept.path(NAME)
    sealed = path.read_bytes()
    for at in range(len(sealed)):
        path.write_bytes(sealed[:at] + bytes([sealed[at] ^ 0x10]) + sealed[at + 1 :])
        with pytest.raises(DatabaseDamaged, match="changed"):
            kept.get(NAME)


@pytest.mark.parametrize("size", [0, 64, 200])
def test_any_shortened_or_lengthened_file_is_noticed(kept, small_chunks, size):
    kept.put(NAME, b"z" * size)
    path = kept.path(NAME)
    sealed = path.read_bytes()
    for changed in [sealed[:n] for n in range(len(sealed))] + [sealed + b"\0", sealed + sealed[-16:]]:
        path.write_bytes(changed)
        with pytest.raises(DatabaseDamaged):
            kept.get(NAME)


def test_chunks_cannot_change_places(kept, small_chunks):
    kept.put(NAME, b"a" * 64 + b"b" * 64 + b"c")
    sealed = kept.path(NAME).read_bytes()
    kept.path(NAME).write_bytes(sealed[:16] + sealed[96:176] + sealed[16:96] + sealed[176:])
    with pytest.raises(DatabaseDamaged):
        kept.get(NAME)


def test_a_file_that_is_gone_or_sealed_with_another_key_is_reported(kept, tmp_path):
    with pytest.raises(DatabaseDamaged, match=NAME[:12]):
        kept.get(NAME)
    kept.put(NAME, b"data")
    with pytest.raises(DatabaseDamaged):
        Originals(tmp_path / "files", bytes(32)).get(NAME)


def test_the_same_bytes_never_look_the_same_on_disk(kept):
    kept.put("aa", b"the same bytes " * 10)
    kept.put("bb", b"the same bytes " * 10)
    first, second = kept.path("aa").read_bytes(), kept.path("bb").read_bytes()
    assert first[16:] != second[16:]
    assert b"same" not in first + second


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "ab/cd", "ABCD", "g0", "ab\0", ".hidden", "аб"])
def test_a_name_that_could_lead_elsewhere_is_refused(kept, name):
    for use in (kept.path, kept.remove, lambda n: kept.put(n, b"x")):
        with pytest.raises(ValueError, match="hexadecimal"):
            use(name)


def test_files_and_folders_are_private(kept, tmp_path):
    before = os.umask(0)
    try:
        kept.put(NAME, b"data")
    finally:
        os.umask(before)
    assert kept.path(NAME).stat().st_mode & 0o777 == 0o600
    assert kept.path(NAME).parent.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.rglob("*/.*")) == []  # nothing written aside is left


def test_a_file_that_is_there_stays(kept):
    kept.put(NAME, b"data")
    inode = kept.path(NAME).stat().st_ino
    kept.put(NAME, b"data")
    assert kept.path(NAME).stat().st_ino == inode


def age(path: Path) -> None:
    """Makes a file two hours older."""
    before = path.stat().st_mtime - 7200
    os.utime(path, (before, before))


def test_sweeping_takes_only_what_nothing_names(kept):
    for name in ("aa11", "aa22", "bb33"):
        kept.put(name, name.encode())
        age(kept.path(name))
    aside = kept.path("aa11").with_name(".0123456789abcdef")
    aside.write_bytes(b"half")
    age(aside)
    assert kept.sweep({"aa11", "bb33"}) == 2
    assert (kept.get("aa11"), kept.get("bb33")) == (b"aa11", b"bb33")
    assert not kept.path("aa22").exists()
    assert not aside.exists()
    assert kept.sweep({"aa11", "bb33"}) == 0


def test_sweeping_spares_what_another_process_is_about_to_name(kept):
    kept.put("aa11", b"new")
    kept.put("aa22", b"old, and handed in again")
    age(kept.path("aa22"))
    kept.put("aa22", b"old, and handed in again")
    assert kept.sweep([]) == 0
    assert kept.get("aa11") == b"new"


def test_sweeping_and_measuring_before_anything_was_kept(kept):
    assert (kept.sweep([]), kept.size(), kept.remove(NAME)) == (0, 0, 0)


def test_removing_gives_the_bytes_freed(kept):
    size = kept.put(NAME, b"data")
    assert kept.remove(NAME) == size
    assert kept.remove(NAME) == 0
    assert kept.size() == 0


@pytest.mark.parametrize("first", [True, False])  # in a folder that is still to be made, or there already
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, HomeError)]
)
def test_a_disk_that_fails_leaves_no_half_file(kept, tmp_path, monkeypatch, number, error, first):
    def fail(descriptor: int) -> None:
        raise OSError(number, "cannot sync")

    if not first:
        kept.put(NAME, b"data")
        kept.remove(NAME)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(HomeError) as caught:
            kept.put(NAME, b"data")
    assert type(caught.value) is error
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    kept.put(NAME, b"data")  # and all is well when the disk is
    assert kept.get(NAME) == b"data"


def test_the_folder_is_synced_after_the_file(kept, monkeypatch):
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), real(fd))[1])
    kept.put(NAME, b"data")
    path = kept.path(NAME)
    file, folder, above = (p.stat().st_ino for p in (path, path.parent, path.parent.parent))
    assert synced.index(file) < synced.index(folder)
    assert above in synced  # the folder is new: its own name must be durable too


def test_a_kept_file_is_read_piece_by_piece_from_anywhere(tmp_path):
    originals, data = Originals(tmp_path, bytes(32)), random.Random(1).randbytes(2 * CHUNK + 777)
    originals.put("ab", iter([data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]))
    assert originals.get("ab") == data
    with originals.open("ab") as file:
        assert file.read() == data
        for at in (0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 700, len(data), 5):
            file.seek(at)
            assert file.read(1000) == data[at : at + 1000]
        assert file.seek(-7, os.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_pieces_and_bytes_of_any_size_are_kept_the_same(tmp_path, size):
    originals, data = Originals(tmp_path, bytes(32)), bytes(size)
    originals.put("ab", data)
    originals.put("cd", iter([data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]))
    with originals.open("ab") as one, originals.open("cd") as other:
        assert one.read() == other.read() == originals.get("cd") == data


def test_what_fails_while_it_comes_is_not_kept(tmp_path):
    originals = Originals(tmp_path, bytes(32))

    def broken():
        yield bytes(CHUNK)
        raise ItemError("the file has changed")

    with pytest.raises(ItemError):
        originals.put("ab", broken())
    assert originals.size() == 0
    with pytest.raises(DatabaseDamaged):
        originals.open("ab")


def test_a_kept_file_that_was_changed_says_so_where_it_is_read(tmp_path):
    originals = Originals(tmp_path, bytes(32))
    originals.put("ab", bytes(2 * CHUNK))
    path = originals.path("ab")
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)
    with originals.open("ab") as file:
        assert len(file.read(CHUNK)) == CHUNK
        with pytest.raises(DatabaseDamaged):
            file.read(CHUNK)
    path.write_bytes(bytes(sealed[: CHUNK + 100]))  # its end is gone
    with originals.open("ab") as file, pytest.raises(DatabaseDamaged):
        file.read()
