"""Has the ONNX form of a model made in a process of its own, so that the package ``onnx`` never enters this one.

Of several processes that want the same form one makes it and the others wait; one that is killed leaves nothing that
could be taken for it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pomnit.engines.onnx_form import VERSION, Builder, Progress, check_bits
from pomnit.engines.text import window
from pomnit.errors import DiskFull, EngineError, EngineMissing, ModelDamaged, PomnitError
from pomnit.models.cards import EncoderCard, RerankerCard, TextCard
from pomnit.models.hub import MANIFEST, PART, ModelFiles, put_in_place, write_manifest
from pomnit.store.disk import make_private

_SILENCE = 600.0  # seconds without a sign of life; a layer of the largest model takes 20
_ERRORS: dict[int, type[PomnitError]] = {kind.exit_code: kind for kind in (DiskFull, EngineMissing, ModelDamaged)}


def prepared(card: TextCard, files: ModelFiles, bits: int, cache: Path) -> Path:
    """Gives a folder in ONNX form: that of ``files`` itself, or one in the folder of all caches, made when it must be.

    The version of ONNX Runtime is not part of its name: the graph is made of fused operators already, and letting the
    runtime optimise it further gained nothing.

    Raises:
        As ``build``.
    """
    if files.form == "onnx":
        return files.folder
    said = {name: getattr(card, name, None) for name in ("architecture", "pooling", "sparse", "head", "template")}
    made_from = json.dumps([files.digest, said, window(card), bits, VERSION])
    target = cache / "onnx" / hashlib.sha256(made_from.encode()).hexdigest()[:24]
    if not (target / MANIFEST).is_file():
        _run_child(card, files, bits, target, None, "--unless-there")
    return target


def build(card: TextCard, files: ModelFiles, bits: int, target: Path, on_progress: Progress | None = None) -> None:
    """Makes the folder ``target`` anew from a published one; ``on_progress`` hears of steps done, and of how many.

    Raises:
        EngineMissing: a package or a file is not here.
        ModelDamaged: the files are not what the card says, or hold numbers that are none.
        DiskFull: there is no room; nothing is left behind.
        EngineError: this kind of model, or so many bits, cannot be run.
    """
    _run_child(card, files, bits, target, on_progress)


# ------------------------------------------------------------------------------------------------- the other process


def _run_child(
    card: TextCard, files: ModelFiles, bits: int, target: Path, on_progress: Progress | None, *options: str
) -> None:
    """Runs ``main`` in a process of its own, so that ``onnx`` never enters this one."""
    check_bits(bits)
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: the working folder is not searched for code
    command = [sys.executable, "-P", "-m", "pomnit.engines.onnx_build", str(files.folder), str(target), str(bits)]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [*command, "--made-from", files.digest, *options],
            bufsize=0,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        with child:
            try:
                with contextlib.suppress(BrokenPipeError):  # it ended before it read its card, and says why
                    child.stdin.write(_packed_card(card))  # type: ignore[union-attr]
                    child.stdin.close()  # type: ignore[union-attr]
                _listen(child.stdout, on_progress or (lambda _done, _total: None))
            except BaseException:  # Ctrl-C too: nobody waits for what it makes
                child.kill()
                raise
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()
    if child.returncode:
        failed = f"{target}: making it ended with {child.returncode}"
        raise _ERRORS.get(child.returncode, EngineError)(said.splitlines()[-1] if said else failed)


def _listen(stdout: Any, on_progress: Progress) -> None:
    """Hands the lines of the child on, each "DONE TOTAL", until it ends."""
    said = b""
    with selectors.DefaultSelector() as watched:
        watched.register(stdout, selectors.EVENT_READ)
        while watched.select(_SILENCE):
            got = stdout.read(4096)
            if not got:
                return
            *lines, said = (said + got).split(b"\n")
            for line in lines:
                done, total = map(int, line.split())
                on_progress(done, total)
    raise EngineError(f"making an ONNX graph: no sign of life for {_SILENCE:.0f} s")


def _packed_card(card: TextCard) -> bytes:
    return json.dumps([type(card).__name__, dataclasses.asdict(card)]).encode()


def unpacked_card(packed: bytes) -> EncoderCard | RerankerCard:
    """Gives a card as another process wrote it."""
    kind, fields = json.loads(packed)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return EncoderCard(**fields) if kind == EncoderCard.__name__ else RerankerCard(**fields)


def main(arguments: list[str] | None = None) -> int:
    """Makes the ONNX form of a published model, whose card is read from the standard input.

    Gives the exit code of what failed, with its message on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m pomnit.engines.onnx_build", description=main.__doc__)
    parser.add_argument("source", type=Path, help="folder with config.json, tokenizer.json and weights")
    parser.add_argument("target", type=Path, help="folder to make")
    parser.add_argument("bits", type=int, help="of a weight")
    parser.add_argument("--made-from", required=True, help="digest of the source")
    parser.add_argument("--unless-there", action="store_true", help="do nothing when the target is whole")
    asked = parser.parse_args(arguments)
    try:
        card = unpacked_card(sys.stdin.buffer.read())
        make(card, asked.source, asked.target, asked.bits, asked.made_from, unless_there=asked.unless_there)
    except PomnitError as error:
        return _failed(error, error.exit_code)
    except ImportError as error:
        return _failed(f"{error}; type: pip install {error.name}", EngineMissing.exit_code)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _failed(f"{asked.target}: {error}", (DiskFull if full else EngineError).exit_code)
    return 0


def _failed(message: object, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def make(
    card: EncoderCard | RerankerCard, source: Path, target: Path, bits: int, made_from: str, *, unless_there: bool
) -> None:
    """Makes ``target``; of several processes one makes it and the others wait.

    What a killed process left half-written has another name, and the next one removes it.
    """
    make_private(target.parent)
    with _turn(target.parent):
        if unless_there and (target / MANIFEST).is_file():
            return
        part = target.with_name(target.name + PART)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            Builder(card, source, part, bits, _say).run()
            write_manifest(
                part,
                card=card.name,
                repository=card.repository,
                revision=card.revision,
                form="onnx",
                bits=bits,
                made_from=made_from,
            )
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        put_in_place(part, target)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Waits until no other process makes something in ``folder``. Who waits says so, to be known to be alive."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _say(0, 1)
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def _say(done: int, total: int) -> None:
    sys.stdout.write(f"{done} {total}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
