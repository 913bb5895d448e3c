"""Where things are and how much is allowed: one frozen object, passed explicitly.

Each value comes from the strongest of: an argument or flag, an environment variable ``POMNIT_…``, the file
``settings.toml`` in the user's configuration folder, the default. An error names key, value and origin.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import platformdirs

from pomnit.errors import UsageError
from pomnit.records import SENSITIVE_KINDS

KeyPlace = Literal["auto", "keychain", "file", "passphrase"]
RecogniserName = Literal["auto", "vision", "tesseract"]
Runtime = Literal["auto", "onnx", "mlx"]
ProfileName = Literal["auto", "8gb", "16gb", "32gb"]
Describe = Literal["off", "on"]
Sensitive = Literal["auto", "mask", "keep", "drop"]
Hide = Literal["hide", "keep"]
CHOICES: dict[str, tuple[str, ...]] = {
    "key": get_args(KeyPlace),
    "recogniser": get_args(RecogniserName),
    "runtime": get_args(Runtime),
    "profile": get_args(ProfileName),
    "describe": get_args(Describe),
    "sensitive": get_args(Sensitive),
    "exclude_known": get_args(Describe),
    "private_windows": get_args(Hide),
    "unknown_windows": get_args(Hide),
    "excluded": ("black", "skip"),
}
BITS = (4, 6, 8, 16, 32)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) *([kMGT]i?B)?", re.ASCII | re.IGNORECASE)
_LONGEST_URL = 1000
_AGE = re.compile(r"(\d{1,6}) *([dwmy])?", re.ASCII | re.IGNORECASE)
_DAYS = {"d": 1.0, "w": 7.0, "m": 365.25 / 12, "y": 365.25}
_MOST_DAYS = 366 * 100
_LEAST_QUOTA = 10_000_000
_UNITS = {letter: power for power, letter in enumerate("kmgt", 1)}


def _dir(kind: str) -> Path:
    return Path(getattr(platformdirs, f"user_{kind}_dir")("pomnit", appauthor=False))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be set. Paths are absolute with ``~`` expanded; sizes are in bytes."""

    home: Path = field(
        default_factory=lambda: _dir("data") / "memory"
    )  # not the data folder: on macOS the key lies there
    cache: Path = field(default_factory=lambda: _dir("cache"))  # built model graphs; can be deleted at any time
    key: KeyPlace = "auto"  # where a new memory's key is put: the keychain if there is one, else a file
    key_dir: Path = field(default_factory=lambda: _dir("config") / "keys")
    passphrase_file: Path | None = None  # with the passphrase, readable by you alone, or a pipe; for what asks nobody
    recogniser: RecogniserName = "auto"  # who reads pictures: Apple Vision on a Mac, Tesseract elsewhere
    speech: str = "auto"  # the model that transcribes: by the profile, among those that are here
    describe: Describe = "off"  # whether pictures with little text get a caption as they are added
    answerer: str = "auto"  # a server that answer_url names, else a model that is here; extractive, server, or a model
    answer_url: str | None = None  # of an OpenAI-compatible server: it is sent questions, and what is found for them
    answer_model: str | None = None  # of that server; its first one when not told
    answer_key_file: Path | None = None  # with that server's key, readable by you alone; POMNIT_ANSWER_KEY comes first
    tessdata: Path | None = None  # a folder with Tesseract's language files, tried first
    models: Path = field(default_factory=lambda: _dir("data") / "models")  # one folder for each model
    bits: int | None = None  # of an encoder's weight, where its memory was not told: the encoder's default
    runtime: Runtime = "auto"  # what models of texts run on: MLX on Apple silicon, ONNX Runtime elsewhere
    profile: ProfileName = "auto"  # how to work: by the memory of this machine, or as if it had so much
    budget: int | None = None  # bytes that all our processes may take, "4GB" or "4 GiB"; by the profile when not told
    threads: int = field(default_factory=lambda: min(os.cpu_count() or 1, 4))  # a recogniser takes 160 MB in each
    image_pixels: int = 100_000_000  # a larger image is refused before it is decoded
    image_bytes: int = 256 << 20
    text_bytes: int = 32 << 20
    document_bytes: int = 256 << 20
    document_chars: int = 10_000_000  # of one document's text; 12,500 passages
    document_pages: int = 2_000
    document_scans: int = 300  # pages without text that are recognised, a second each
    document_rows: int = 100_000  # of all sheets of a table together
    audio_bytes: int = 16 << 30  # of a recording or a film, whose sound is read
    audio_hours: int = 24  # of a recording; a longer one is refused
    exclude: tuple[str, ...] = ()  # never captured: "app:NAME", "title:WORDS", "url:SITE"; * stands for anything
    exclude_known: Describe = "on"  # nor password managers, nor the system's own password windows
    private_windows: Hide = "hide"  # of browsers
    unknown_windows: Hide = "hide"  # of which the system tells neither program nor title
    excluded: Literal["black", "skip"] = "black"  # the window alone, or a monitor on which anything is left out
    sensitive: Sensitive = "auto"  # cards, passwords … are masked, kept, or their item dropped; auto: see policy.py
    sensitive_kinds: tuple[str, ...] = ()  # of these kinds alone; all of records.SENSITIVE_KINDS when none is told
    capture_every: int = 2  # seconds between two frames of a monitor
    capture_idle: int = 60  # seconds after which nobody is there
    capture_quality: int = 80  # of the kept frames, as WebP counts; 100 loses nothing
    # After how many days it goes for good: "90d", "12w", "6m", "2y". None: never. In the file a table [retention].
    retention_screen: int | None = None  # since it was last seen on the screen
    retention_image: int | None = None  # since it was remembered, and so the next
    retention_document: int | None = None
    retention_audio: int | None = None
    retention_note: int | None = None
    retention_quota: int | None = None  # bytes that the memory's files may take, "20GB"
    busy_s: int = 10  # how long to wait for another program that writes the database

    @classmethod
    def load(cls, *, environ: Mapping[str, str] | None = None, file: Path | None = None, **flags: Any) -> Settings:
        """Gives the settings in force. ``flags`` that are None do not count.

        Raises:
            UsageError: an unknown key, or a value that does not fit; named with its origin.
        """
        environ = os.environ if environ is None else environ
        file = _dir("config") / "settings.toml" if file is None else file
        values: dict[str, Any] = {}
        for origin, raw in (
            (str(file), _read(file)),
            ("the environment", _from_environment(environ)),
            ("an argument", {k: v for k, v in flags.items() if v is not None}),
        ):
            for key, value in raw.items():
                values[key] = _convert(key, value, origin)
        return cls(**values)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as settings: {error}") from error
    if isinstance(rules := found.get("retention"), dict):
        del found["retention"]
        found |= {f"retention_{name}": value for name, value in rules.items()}
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    names = {f"POMNIT_{f.name.upper()}": f.name for f in dataclasses.fields(Settings)}
    return {names[k]: v for k, v in environ.items() if k in names and v}


def _convert(key: str, value: Any, origin: str) -> Any:
    kinds = {f.name: str(f.type) for f in dataclasses.fields(Settings)}
    if key not in kinds:
        raise UsageError(f"{origin}: there is no setting {key!r}; the settings are {', '.join(kinds)}")
    if choices := CHOICES.get(key, ()):
        if value not in choices:
            raise UsageError(f"{origin}: {key} = {value!r} is not one of {', '.join(choices)}")
        return value
    if kinds[key] in ("str", "str | None"):
        return _name(key, value, origin)
    if kinds[key].startswith("tuple"):
        return _texts(key, value, origin)
    if "Path" in kinds[key]:
        if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
            raise UsageError(f"{origin}: {key} = {value!r} is not a path")
        return Path(os.path.abspath(os.path.expanduser(value)))
    if key == "budget" or key.startswith("retention_"):
        return (_size if key in ("budget", "retention_quota") else _days)(key, value, origin)
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise UsageError(f"{origin}: {key} = {value!r} is not a whole number above 0")
    if key == "capture_quality" and int(text) > 100:
        raise UsageError(f"{origin}: capture_quality = {text} is not between 1 and 100")
    if key == "bits" and int(text) not in BITS:
        raise UsageError(f"{origin}: bits = {text} is not one of {', '.join(map(str, BITS))}")
    return int(text)


def _texts(key: str, value: Any, origin: str) -> tuple[str, ...]:
    """Gives a list of texts; in the environment ; parts them."""
    texts = value.split(";") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f'{origin}: {key} = {value!r:.80} is not a list of texts, such as ["app:KeePassXC"]')
    found = tuple(text.strip() for text in texts if text.strip())
    if key == "sensitive_kinds" and (unknown := set(found) - set(SENSITIVE_KINDS)):
        raise UsageError(f"{origin}: {key} = {min(unknown)!r:.40} is not one of {', '.join(SENSITIVE_KINDS)}")
    return found


def _name(key: str, value: Any, origin: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{origin}: {key} = {value!r} is not a name")
    return _url(key, value.strip(), origin) if key.endswith("_url") else value.strip()


def _url(key: str, value: str, origin: str) -> str:
    """Gives the address of a server as its clients write it: http://localhost:11434/v1, without a slash at its end."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError(f"{origin}: {key} is not an address such as http://localhost:11434/v1") from None
    if "@" in parts.netloc or parts.query or parts.fragment:  # may be secret: not shown
        raise UsageError(
            f"{origin}: {key} holds more than an address; a key goes into POMNIT_ANSWER_KEY, or into a file of yours"
            " alone that answer_key_file names"
        )
    if not fits or not value.isascii() or not value.isprintable() or " " in value or len(value) > _LONGEST_URL:
        raise UsageError(f"{origin}: {key} = {value!r:.80} is not an address such as http://localhost:11434/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _days(key: str, value: Any, origin: str) -> int | None:
    """Gives the days of "90d", "12w", "6m", "2y" or 90; None of "never"."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if text.strip().lower() == "never":
        return None
    found = _AGE.fullmatch(text.strip())
    days = round(int(found[1]) * _DAYS[(found[2] or "d").lower()]) if found else 0
    if not 1 <= days <= _MOST_DAYS:
        raise UsageError(f"{origin}: {_shown(key)} = {value!r:.80} is not an age such as 90d, 12w, 6m, 2y, or never")
    return days


def _shown(key: str) -> str:
    """Gives a setting as the file writes it: ``retention.screen``."""
    return key.replace("retention_", "retention.")


def _size(key: str, value: Any, origin: str) -> int:
    """Gives the bytes of "4000000000", of "3500MB" (a unit of thousands) or "4 GiB" (of 1024s)."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    found = _SIZE.fullmatch(text.strip())
    number, unit = (found[1], (found[2] or "").lower()) if found else ("0", "")
    n_bytes: float = float(number) * (1024 if "i" in unit else 1000) ** _UNITS.get(unit[:1], 0)
    if key == "retention_quota" and 1 <= n_bytes < _LEAST_QUOTA:
        raise UsageError(f"{origin}: retention.quota = {value!r} leaves room for nothing; give at least 10MB")
    if not 1 <= n_bytes < 1 << 60 or (not unit and "." in number):
        raise UsageError(
            f"{origin}: {_shown(key)} = {value!r} is not a size in bytes, such as 4000000000, 3500MB, 4GB or 4 GiB"
        )
    return round(n_bytes)
