"""The numbers of a Whisper: config.json as transformers writes it, or as mlx-whisper does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import CONFIG
from pomnit.models.hub import read_json

_NAMES = {  # of each number: transformers', mlx-whisper's
    "bands": ("num_mel_bins", "n_mels"),
    "words": ("vocab_size", "n_vocab"),
    "hidden": ("d_model", "n_audio_state"),
    "places": ("max_source_positions", "n_audio_ctx"),
    "layers": ("encoder_layers", "n_audio_layer"),
    "heads": ("encoder_attention_heads", "n_audio_head"),
    "text_places": ("max_target_positions", "n_text_ctx"),
    "text_layers": ("decoder_layers", "n_text_layer"),
    "text_heads": ("decoder_attention_heads", "n_text_head"),
}
_FIXED = {"activation_function": "gelu", "scale_embedding": False}  # what the layers take for granted
_MOST = 1 << 20  # of any of the numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperConfig:
    """The numbers that the layers need; the ``text_`` ones are of the decoder."""

    bands: int  # of the spectrogram
    words: int  # tokens, the timestamps among them
    hidden: int
    places: int  # that the encoder gives: each stands for 20 ms of sound, or two frames
    layers: int
    heads: int
    text_places: int  # tokens that the decoder may hold
    text_layers: int
    text_heads: int

    @property
    def frames(self) -> int:
        """How many frames of 10 ms the encoder hears."""
        return 2 * self.places


def read_config(folder: Path) -> WhisperConfig:
    """Gives the numbers of config.json.

    Raises:
        EngineMissing: there is no config.json.
        ModelDamaged: it cannot be read, or its numbers cannot be.
        EngineError: it describes another kind of model.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise EngineMissing(f"{path}: no such file; it goes with the weights")
    found = read_json(path)
    if not isinstance(found, dict) or found.get("model_type", "whisper") != "whisper":
        kind = found.get("model_type") if isinstance(found, dict) else None
        raise EngineError(f"{path}: model_type is {kind!r}; here 'whisper' can be run")
    for key, value in _FIXED.items():
        if (found.get(key) or value) != value:
            raise EngineError(f"{path}: {key} is {found[key]!r}; only {value!r} can be run")
    config = WhisperConfig(**{own: _number(found, names, path) for own, names in _NAMES.items()})
    if config.hidden % 2 or config.hidden % config.heads or config.hidden % config.text_heads:
        heads = f"{config.heads} and {config.text_heads} heads"
        raise ModelDamaged(f"{path}: {config.hidden} numbers a token cannot be shared by {heads}")
    return config


def _number(found: dict[str, Any], names: tuple[str, str], path: Path) -> int:
    value = next((found[name] for name in names if name in found), None)
    if type(value) is not int or not 0 < value <= _MOST:
        raise ModelDamaged(f"{path}: {' or '.join(names)} is {value!r}, which is no number of a Whisper")
    return value
