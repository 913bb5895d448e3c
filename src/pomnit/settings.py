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

import platformdirs

from pomnit.errors import UsageError

KeyPlace = Literal["auto", "keychain", "file"]
RecogniserName = Literal["auto", "vision", "tesseract"]
Runtime = Literal["auto", "onnx", "mlx"]
ProfileName = Literal["auto", "8gb", "16gb", "32gb"]
CHOICES: dict[str, tuple[str, ...]] = {
    "key": get_args(KeyPlace),
    "recogniser": get_args(RecogniserName),
    "runtime": get_args(Runtime),
    "profile": get_args(ProfileName),
}
BITS = (4, 6, 8, 16, 32)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) *([kMGT]i?B)?", re.ASCII | re.IGNORECASE)
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
    recogniser: RecogniserName = "auto"  # who reads pictures: Apple Vision on a Mac, Tesseract elsewhere
    speech: str = "auto"  # the model that transcribes: by the profile, among those that are here
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
        return tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as settings: {error}") from error


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
    if kinds[key] == "str":
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{origin}: {key} = {value!r} is not a name")
        return value.strip()
    if "Path" in kinds[key]:
        if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
            raise UsageError(f"{origin}: {key} = {value!r} is not a path")
        return Path(os.path.abspath(os.path.expanduser(value)))
    if key == "budget":
        return _size(value, origin)
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise UsageError(f"{origin}: {key} = {value!r} is not a whole number above 0")
    if key == "bits" and int(text) not in BITS:
        raise UsageError(f"{origin}: bits = {text} is not one of {', '.join(map(str, BITS))}")
    return int(text)


def _size(value: Any, origin: str) -> int:
    """Gives the bytes of "4000000000", of "3500MB" (a unit of thousands) or "4 GiB" (of 1024s)."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    found = _SIZE.fullmatch(text.strip())
    number, unit = (found[1], (found[2] or "").lower()) if found else ("0", "")
    n_bytes: float = float(number) * (1024 if "i" in unit else 1000) ** _UNITS.get(unit[:1], 0)
    if not 1 <= n_bytes < 1 << 60 or (not unit and "." in number):
        raise UsageError(
            f"{origin}: budget = {value!r} is not a size in bytes, such as 4000000000, 3500MB, 4GB or 4 GiB"
        )
    return round(n_bytes)
