"""What engines were measured to take, in bytes, kept in ``measured.json`` beside the models."""

from __future__ import annotations

import contextlib
import json
import os

from pomnit.settings import Settings
from pomnit.store.disk import make_private

_FILE = "measured.json"


def read(settings: Settings) -> dict[str, int]:
    """Gives the figures by the key of a plan; none when they cannot be read."""
    try:
        kept = json.loads((settings.models / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in kept.items() if isinstance(v, int)} if isinstance(kept, dict) else {}


def keep(settings: Settings, key: str, n_bytes: int) -> None:
    """Keeps one figure, in place of the one before."""
    with contextlib.suppress(OSError):  # it is estimated then
        make_private(settings.models)
        fresh = settings.models / f"{_FILE}.{os.getpid()}.new"  # two programs may keep something at once
        fresh.write_text(json.dumps(read(settings) | {key: n_bytes}, indent=1), "utf-8")
        fresh.replace(settings.models / _FILE)
