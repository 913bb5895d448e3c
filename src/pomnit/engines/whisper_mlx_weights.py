"""The weights of a Whisper for MLX, whoever published them: as OpenAI did for transformers, or as mlx-whisper has them.

Both get the names of mlx-whisper, which are openai/whisper's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pomnit.engines.mlx_weights import MlxWeights
from pomnit.engines.text import Floats
from pomnit.engines.whisper_config import WhisperConfig
from pomnit.errors import ModelDamaged

_PARTS = {  # transformers' name of a part: ours
    "layers": "blocks",
    "self_attn": "attn",
    "encoder_attn": "cross_attn",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "final_layer_norm": "mlp_ln",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp1",
    "fc2": "mlp2",
    "embed_tokens": "token_embedding",
}
_WHOLE = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "encoder.layer_norm.weight": "encoder.ln_post.weight",
    "encoder.layer_norm.bias": "encoder.ln_post.bias",
    "decoder.layer_norm.weight": "decoder.ln.weight",
    "decoder.layer_norm.bias": "decoder.ln.bias",
}


class WhisperWeights(MlxWeights):
    """The weights in a folder, in ``bits``, by their names in mlx-whisper."""

    def __init__(self, folder: Path, bits: int, config: WhisperConfig) -> None:
        """Opens the folder; see MlxWeights."""
        super().__init__(folder, bits)
        self._config = config
        self._at = {own_name(name): place for name, place in self._at.items()}
        self._products = frozenset(map(own_name, self._products))

    def __getitem__(self, name: str) -> Floats:
        """Gives a tensor as float32; zeros as the bias of keys, which no Whisper has but those beside them have.

        Raises:
            ModelDamaged: there is no such tensor, it does not fit its file, or it holds NaN or infinite numbers.
        """
        if name.endswith(".key.bias") and name not in self:
            return np.zeros(self._config.hidden, np.float32)
        return super().__getitem__(name)

    def kernel(self, name: str) -> Floats:
        """Gives the weights of a convolution over 3 frames, shape (outputs, 3, inputs), as MLX wants them.

        Raises:
            ModelDamaged: they are of another shape, or as in ``__getitem__``.
        """
        numbers = self[name]
        if numbers.ndim == 3 and numbers.shape[2] == 3:
            return np.ascontiguousarray(numbers.transpose(0, 2, 1))
        if numbers.ndim != 3 or numbers.shape[1] != 3:
            raise ModelDamaged(f"{self.path}: tensor {name!r} of shape {numbers.shape} is no convolution over 3 frames")
        return numbers

    def places(self, name: str, rows: int) -> Floats:
        """Gives what is added to tell places apart, shape (rows, hidden); waves where the file has no such table.

        Raises:
            ModelDamaged: the table is of another shape, or as in ``__getitem__``.
        """
        found = self[name] if name in self else waves(rows, self._config.hidden)
        if found.shape != (rows, self._config.hidden):
            raise ModelDamaged(f"{self.path}: tensor {name!r} of shape {found.shape}; config.json says {rows} places")
        return found


def own_name(name: str) -> str:
    """Gives the name of a tensor in mlx-whisper, which may be its name already."""
    name = name.removeprefix("model.")
    if name in _WHOLE:
        return _WHOLE[name]
    return ".".join(_PARTS.get(part, part) for part in name.split("."))


def waves(rows: int, width: int) -> Floats:
    """Gives the places of the encoder: sines and cosines of lengths from 2 pi to 10,000 times that, side by side."""
    half = width // 2
    speeds = np.exp(-np.log(10_000) / max(1, half - 1) * np.arange(half))
    angles = np.arange(rows)[:, None] * speeds
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
