"""What is in order on this machine, and what to type where it is not. Changes nothing and loads no model."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pomnit.capture import choose as capture_choose
from pomnit.errors import Locked, PomnitError, UsageError
from pomnit.governor import advice, answering, spaces
from pomnit.governor.choose import Chooser, on_apple_silicon
from pomnit.governor.environment import environment
from pomnit.models import hub
from pomnit.models.cards import CARDS, EncoderCard
from pomnit.privacy.changing import view
from pomnit.privacy.keys import keychain_works, open_keys
from pomnit.records import Check, Choice
from pomnit.settings import Settings
from pomnit.store.disk import open_to_others

_LOW_DISK = 2_000_000_000


def examine(settings: Settings) -> Iterator[Check]:
    """Gives one check after the other, each with a verdict and, where something is wrong, the next command."""
    yield _python()
    yield Check(
        "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    yield from environment(settings)
    yield _mlx()
    yield from _engines(settings)
    yield from answering.check(settings)
    yield from capture_choose.check(settings)
    yield _models(settings)
    yield from _home(settings)
    yield _disk(settings.home)


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} in {sys.prefix}")


def _mlx() -> Check:
    if not on_apple_silicon():
        return Check("mlx", "ok", "not used on this machine: it needs Apple silicon; ONNX Runtime does the work")
    if importlib.util.find_spec("mlx") is None:
        return Check("mlx", "warning", "not installed; ONNX Runtime does the work, slower", "pip install mlx")
    return Check("mlx", "ok", "MLX is installed")


def _engines(settings: Settings) -> Iterator[Check]:
    names = {"recognise": "ocr", "embed": "encoder", "rerank": "reranker", "transcribe": "speech", "answer": "answers"}
    choices, hint = _chosen(settings)
    for choice in choices:
        name = names[choice.job]
        if choice.works:
            on = f" on {choice.runtime}" if choice.runtime else ""
            yield Check(name, "ok", f"{choice.model}{on}: {choice.reason}")
        else:
            what, _, command = choice.reason.partition("; type: ")
            yield Check(name, "problem" if choice.job == "recognise" else "warning", what, command or None)
    if hint is not None:
        what, _, command = hint.partition("; type: ")
        yield Check("advice", "ok", what, command)


def _chosen(settings: Settings) -> tuple[list[Choice], str | None]:
    """Gives what serves each job, and what would serve better: by what the memory chose, else by the default."""
    governor = Chooser(settings)
    if not (settings.home / "home.json").exists():
        return governor.choices(), _hint(settings, governor.default, None, {})
    try:
        keys = open_keys(settings, repair=False)
        from pomnit.store import Store

        store = Store(settings.home, keys.database, keys.files, busy_s=1)
    except PomnitError:  # told as a problem of the key or the database
        return governor.choices(), None
    with contextlib.closing(store):
        chosen, reranker = spaces.wanted(store, governor), store.spaces.reranker()
        choices = governor.choices(chosen.variant, governor.reranker_card(reranker or ""))
        return choices, _hint(settings, chosen.card, reranker, store.items.counts().passages)


def _hint(settings: Settings, encoder: EncoderCard, reranker: str | None, passages: Mapping[str, int]) -> str | None:
    try:
        return advice.hint(settings, encoder, reranker, passages)
    except UsageError:  # told as a problem of the budget
        return None


def _models(settings: Settings) -> Check:
    cards = [card for card in CARDS.values() if (settings.models / card.name).is_dir()]
    made = [path for path in settings.models.glob("*/" + hub.MANIFEST) if path.parent.name not in CARDS]
    size = sum(path.stat().st_size for path in settings.models.rglob("*") if path.is_file())
    text = f"{settings.models}: {len(cards)} as published, {len(made)} converted, {size / 1e9:.2f} GB"
    return Check(
        "models", "ok", text if size else f"{settings.models}: none; `pomnit models` shows what there is to get"
    )


def _home(settings: Settings) -> Iterator[Check]:
    if not (settings.home / "home.json").exists():
        yield Check("database", "ok", f"no memory in {settings.home} yet; `pomnit add PATH` makes one")
        works, why = (False, "the settings say file") if settings.key == "file" else keychain_works()
        where = why if works else f"a file in {settings.key_dir} ({why})"
        where = "the memory itself, wrapped by a passphrase" if settings.key == "passphrase" else where
        yield Check("key", "ok", f"a new memory's key would be kept in: {where}")
        return
    if (open_ := open_to_others(settings.home)) is not None:
        yield Check("private", "problem", f"{open_} can be read by others", "pomnit status")
    try:
        keys = open_keys(settings, repair=False)
    except Locked:
        yield Check("key", "ok", f"{view(settings).where}; locked", "pomnit unlock")
        return
    except PomnitError as error:
        what, _, command = str(error).partition("; type: ")
        yield Check("key", "problem", what, command or "restore the key from your backup")
        return
    yield from _key(settings, keys.place, keys.where)
    try:
        from pomnit.store.database import Database

        Database(settings.home / "memory.db", keys.database, busy_s=1).close()
        size = (settings.home / "memory.db").stat().st_size
        yield Check("database", "ok", f"{settings.home / 'memory.db'}, {size / 1e6:.1f} MB, encrypted")
    except PomnitError as error:
        yield Check("database", "problem", str(error), "restore it from a backup")


def _key(settings: Settings, place: str, where: str) -> Iterator[Check]:
    if place == "keychain":
        yield Check("key", "ok", "in the keychain")
    elif place == "passphrase":
        yield Check("key", "ok", where)
    elif Path(where).stat().st_mode & 0o077:
        yield Check("key", "problem", f"{where} can be read by others", f"chmod 600 '{where}'")
    else:
        text = f"in {where}, readable by you alone: whoever reads your files reads this memory. Keep a copy elsewhere"
        yield Check("key", "ok" if settings.key == "file" else "warning", text)


def _disk(home: Path) -> Check:
    where = home
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    text = f"{free / 1e9:.1f} GB free on the disk of {home}"
    return Check("disk", "warning", text, "free some room") if free < _LOW_DISK else Check("disk", "ok", text)
