"""Who answers questions, and why: an answerer handed in, a server that the user named, a model that is here.

To name a server is the consent to send it questions and what is found for them. Its key comes from the environment or
from a file of the user's alone; it is no setting, so nothing that shows settings shows it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pomnit.engines.protocols import Answerer
from pomnit.errors import EngineError, EngineMissing
from pomnit.governor import vision
from pomnit.governor.plans import Plan
from pomnit.models.cards import VISION
from pomnit.records import Check
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.engines.answerer_openai import OpenAIAnswerer

EXTRACTIVE = "extractive"
"""The name of the answerer that needs no model: it lives above, and is what remains."""
KEY = "POMNIT_ANSWER_KEY"
_LONGEST_KEY = 4096
_TO_DO = "for an answer in words of its own set answer_url to an OpenAI-compatible server (Ollama: http://localhost:11434/v1)"


@dataclass(frozen=True, slots=True)
class Answering:
    """A generating answerer that was chosen."""

    kind: Literal["given", "server", "model"]
    name: str
    runtime: str
    reason: str
    plan: Plan | None = None  # of a model


def chosen(settings: Settings, name: str | None, given: Answerer | None) -> Answering:
    """Gives who answers: who is called ``name``, else who was handed in, else who the settings ask for.

    Raises:
        EngineMissing: nobody; says why, and what could be done.
    """
    wanted = name or settings.answerer
    if given is not None and (name is None or name in ("auto", given.name)):
        return Answering("given", given.name, "given", "handed in by the program")
    by = "asked for by name" if name else "asked for in the settings"
    if wanted == EXTRACTIVE:
        raise EngineMissing(f"the best sentences as they stand, {by}")
    if wanted == "server" or (wanted == "auto" and settings.answer_url is not None):
        return _server(settings, f"answerer = server, {by}" if wanted == "server" else "answer_url names it")
    if (card := VISION.get(wanted)) is not None:
        return Answering("model", card.name, vision.RUNTIME, by, vision.plan(settings, card))
    if wanted != "auto":
        names = ", ".join(VISION)
        raise EngineMissing(f"there is no answerer {wanted!r:.80}; answerers: auto, {EXTRACTIVE}, server, {names}")
    if (card := vision.card_here(settings)) is not None:
        why = "by the profile and what is here"
        return Answering("model", card.name, vision.RUNTIME, why, vision.plan(settings, card))
    raise EngineMissing(f"the best sentences as they stand: no server is named, and no model is here; {_TO_DO}")


def _server(settings: Settings, why: str) -> Answering:
    if settings.answer_url is None:
        raise EngineMissing(f"no server is named; {_TO_DO}")
    key(settings)
    model = settings.answer_model or "its first model"
    return Answering("server", f"{model:.80}", settings.answer_url, why)


def server(settings: Settings) -> OpenAIAnswerer:
    """Gives the answerer that speaks to the server of the settings; nothing is sent yet.

    Raises:
        EngineMissing: the file with its key cannot be used.
    """
    from pomnit.engines.answerer_openai import OpenAIAnswerer

    assert settings.answer_url is not None
    return OpenAIAnswerer(settings.answer_url, settings.answer_model, key=key(settings))


def key(settings: Settings) -> str | None:
    """Gives the server's key, None when there is none.

    Raises:
        EngineMissing: it cannot be read, others could read it too, or it is none. It is not shown.
    """
    if found := os.environ.get(KEY, "").strip():
        return _fit(found, KEY)
    if settings.answer_key_file is None:
        return None
    return _fit(_read(settings.answer_key_file), str(settings.answer_key_file))


def _read(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise EngineMissing(f"others can read the server's key in {file}; type: chmod 600 '{file}'")
        with file.open(encoding="ascii", errors="replace") as opened:
            return opened.read(_LONGEST_KEY + 2).strip()
    except OSError as error:
        raise EngineMissing(f"the server's key is not in {file}: {error.strerror}; correct answer_key_file") from None


def _fit(found: str, where: str) -> str:
    """Gives a key that can stand in a request."""
    if not found or len(found) > _LONGEST_KEY or not found.isascii() or not found.isprintable() or " " in found:
        raise EngineMissing(f"what is in {where} is no key: one line of letters, digits and signs without spaces")
    return found


# ----------------------------------------------------------------------------------------------------- for doctor


def check(settings: Settings) -> Iterator[Check]:
    """Says whether the server answers that the settings name, and has the model; says nothing when they name none."""
    if settings.answer_url is None or settings.answerer not in ("auto", "server"):
        return
    try:
        speaker = server(settings)
        names = speaker.available()
    except EngineError as error:
        what, _, command = str(error).partition("; type: ")
        yield Check("server", "warning", what, command or None)
        return
    wanted = settings.answer_model
    there = ", ".join(names[:10]) or "none"
    if wanted is not None and wanted not in names:
        yield Check("server", "warning", f"{settings.answer_url} has no model {wanted:.80}; set answer_model: {there}")
    elif not names:
        yield Check("server", "warning", f"{settings.answer_url} has no model; load one there, or set answer_model")
    else:
        yield _reached(settings.answer_url, wanted or speaker.first_of(names), len(names))


def _reached(url: str, model: str, n_models: int) -> Check:
    text = f"{url} answers: {model}, one of {n_models}" if n_models > 1 else f"{url} answers: {model}"
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        return Check("server", "warning", f"{text}; what is sent there can be read on its way: use https")
    return Check("server", "ok", text)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
