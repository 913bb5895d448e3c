"""Walking folders, naming files, reading them whole."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pomnit
from pomnit.errors import ItemError
from pomnit.readers import files
from pomnit.readers.files import FoundFile, NotFoundHere, display, path_of, title_of, uri_of, walk

# Paths as the system gives them: any bytes but NUL, decoded as Python does.
PATHS = st.lists(st.binary(min_size=1, max_size=12).filter(lambda b: b"\0" not in b), min_size=1, max_size=4).map(
    lambda parts: os.fsdecode(b"/" + b"/".join(parts))
)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path.resolve() / "tree"
    for name in ("b/two.txt", "a.txt", "b/a/one.txt", ".hidden/no.txt", "b/.no.txt", "Ж.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def names(root: Path, *paths: Path) -> list[str]:
    """Gives the files found, relative to ``root``; everything must have been found."""
    found = list(walk(paths or [root]))
    assert all(isinstance(f, FoundFile) for f in found), found
    return [os.path.relpath(f.path, root) for f in found]


def test_files_come_in_the_order_of_names_without_hidden_ones(tree):
    assert names(tree) == ["a.txt", "b/a/one.txt", "b/two.txt", "Ж.txt"]


def test_hidden_ones_come_when_they_are_named(tree):
    assert names(tree, tree / ".hidden") == [".hidden/no.txt"]
    assert names(tree, tree / "b/.no.txt") == ["b/.no.txt"]


def test_each_file_comes_once_however_often_it_is_named(tree):
    assert names(tree, tree / "a.txt", tree, tree / "b", tree / "a.txt", tree / "b/../a.txt") == names(tree)
    found = list(walk([tree / "a.txt", tree]))
    assert [f.named for f in found] == [True, False, False, False]


def test_loops_of_links_end(tree):
    (tree / "b/loop").symlink_to(tree)
    (tree / "b/self").symlink_to(".")
    (tree / "b/a/up").symlink_to("..")
    (tree / "dangling").symlink_to("nowhere")
    assert sorted(names(tree)) == sorted(["a.txt", "b/a/one.txt", "b/two.txt", "Ж.txt"])


def test_a_link_is_followed_to_the_real_place(tree, tmp_path):
    outside = tmp_path.resolve() / "outside"
    outside.mkdir()
    (outside / "far.txt").write_text("far")
    (tree / "link").symlink_to(outside)
    (tree / "alias.txt").symlink_to(tree / "a.txt")
    assert [f.path for f in walk([tree / "link"])] == [str(outside / "far.txt")]
    assert names(tree).count("a.txt") == 1
    assert "alias.txt" not in names(tree)


def test_a_link_to_itself_does_not_stop_the_walk(tree):
    (tree / "circle").symlink_to("circle")
    assert [f.path for f in walk([tree]) if isinstance(f, FoundFile)][-1] == str(tree / "Ж.txt")


def test_special_files_neither_block_nor_come(tree):
    os.mkfifo(tree / "pipe.txt")
    assert "pipe.txt" not in names(tree)
    (told,) = walk([tree / "pipe.txt"])
    assert told == NotFoundHere(str(tree / "pipe.txt"), "neither a file nor a folder")


def test_what_is_not_there_is_told_and_the_rest_goes_on(tree):
    told, *rest = walk([tree / "nowhere", tree / "b"])
    assert told == NotFoundHere(str(tree / "nowhere"), "there is no such file or folder")
    assert len(rest) == 2
    (below_a_file,) = walk([tree / "a.txt" / "below"])
    assert isinstance(below_a_file, NotFoundHere)


def test_very_deep_folders_are_walked_to_the_end(tmp_path):
    depth = 180
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(depth):  # one by one: neither the path nor the recursion of makedirs counts
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("file.txt", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 120)  # as if there were a thousand, which take long to make
    try:
        found = list(walk([tmp_path]))
    finally:
        sys.setrecursionlimit(limit)
    assert [os.path.basename(f.path) for f in found] == ["file.txt"]


_AS_NOBODY = """
import json, os, sys
from pomnit.readers.files import head_of, walk
from pomnit.errors import ItemError
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
found = [(type(f).__name__, f.path, getattr(f, "reason", None)) for f in walk([sys.argv[1]])]
try:
    head_of(os.path.join(sys.argv[1], "locked.txt"), 10)
except ItemError as error:
    found.append(("ItemError", "", str(error)))
print(json.dumps(found))
"""


def test_folders_and_files_without_permission_are_told_and_the_rest_goes_on():
    # Not in tmp_path, whose parents only this user may enter.
    root = Path(tempfile.mkdtemp(prefix="pomnit-permission-")).resolve()
    try:
        root.chmod(0o755)
        for name in ("locked/in.txt", "open/in.txt", "locked.txt", "z.txt"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("text")
        for name in ("locked", "locked.txt"):
            (root / name).chmod(0)
        path = os.pathsep.join([os.path.dirname(os.path.dirname(pomnit.__file__)), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(root)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [
            ["NotFoundHere", str(root / "locked"), "no permission to read it"],
            ["FoundFile", str(root / "locked.txt"), None],
            ["FoundFile", str(root / "open/in.txt"), None],
            ["FoundFile", str(root / "z.txt"), None],
            ["ItemError", "", "no permission to read it"],
        ]
    finally:
        for name in ("locked", "locked.txt"):
            (root / name).chmod(0o700)
        shutil.rmtree(root)


# Names


@given(PATHS)
def test_any_name_survives_its_uri(path):
    uri = uri_of(path)
    assert path_of(uri) == path
    assert uri.isascii()
    assert uri.startswith("file:///")
    assert not set(uri) & set(" ?#\\\"'<>\n\r\t%'") - {"%"}


@given(PATHS)
def test_what_is_shown_of_any_name_is_one_line_of_printable_text(path):
    shown = display(path)
    assert shown.isprintable()
    assert title_of(path)
    assert shown.encode("utf-8")


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/a/Счёт за октябрь.png", "Счёт за октябрь"),
        ("/a/archive.tar.gz", "archive.tar"),
        ("/a/.bashrc", ".bashrc"),
        ("/a/Screenshot 2026-11-03 at 9.41.07\u202fPM.png", "Screenshot 2026-11-03 at 9.41.07 PM"),
        ("/a/red\x1b[31m\nname.txt", "red\\x1b[31m\\nname"),
        ("/a/turned\u202eround.txt", "turned\\u202eround"),
        (os.fsdecode(b"/a/caf\xe9.txt"), "caf\\xe9"),
    ],
)
def test_a_title_is_the_name_without_its_suffix_made_fit_to_print(path, title):
    assert title_of(path) == title


def test_names_that_are_not_text_are_walked_and_read(tmp_path):
    name = os.fsencode(tmp_path.resolve()) + b"/\xff\xfe \n.txt"
    try:
        Path(os.fsdecode(name)).write_bytes(b"bytes")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (found,) = walk([tmp_path])
    assert os.fsencode(path_of(uri_of(found.path))) == name
    assert files.head_of(found.path, 99) == b"bytes"


# Reading


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_a_digest_is_that_of_the_bytes(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert files.digest_file(str(path)) == (files.digest(bytes(size)), size)
    assert files.digest(bytes(size)) != files.digest(bytes(size + 1))
    assert files.digest(b"").startswith("blake2b:")
    assert len(files.digest(b"")) == len("blake2b:") + 64


def test_a_file_larger_than_allowed_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_whole(str(path), 5) == b"12345"
    with pytest.raises(ItemError, match="larger"):
        files.read_whole(str(path), 4)


@pytest.mark.parametrize(
    "read", [files.stamp_of, files.digest_file, lambda p: files.head_of(p, 1), lambda p: files.read_whole(p, 1)]
)
def test_a_file_that_is_gone_is_one_items_error(tmp_path, read):
    with pytest.raises(ItemError, match="no longer there"):
        read(str(tmp_path / "gone"))


def test_a_stamp_tells_another_size_or_time(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.utime(path, ns=(0, 1_000_000_001))
    first = files.stamp_of(str(path))
    os.utime(path, ns=(0, 1_000_000_002))
    second = files.stamp_of(str(path))
    path.write_bytes(b"12")
    os.utime(path, ns=(0, 1_000_000_002))
    third = files.stamp_of(str(path))
    assert len({first[0], second[0], third[0]}) == 3
    assert first[1] == pytest.approx(1.0)
