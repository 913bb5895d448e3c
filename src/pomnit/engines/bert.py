"""What both runtimes of a BERT encoder share: its numbers, its tables of embeddings, its tokens and its windows.

Everything here runs in NumPy and ``tokenizers``; the layers are in ``onnx_bert`` and ``mlx_bert``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import EncoderCard
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import CONFIG, TOKENIZER, WEIGHTS

OVERLAP = 32  # tokens that two neighbouring windows of a long text share

Floats = NDArray[np.float32]


def read_config(files: Path) -> dict[str, Any]:
    """Gives the numbers of config.json that the layers need.

    Raises:
        ModelDamaged: it cannot be read.
        EngineError: it describes another kind of model.
    """
    path = files / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
        numbers: dict[str, Any] = {
            k: int(config[k]) for k in ("hidden_size", "num_hidden_layers", "num_attention_heads")
        }
        numbers["layer_norm_eps"] = float(config["layer_norm_eps"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelDamaged(f"{path}: not the configuration of a BERT encoder ({error!r})") from None
    for key, value in {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}.items():
        if config.get(key, value) != value:
            raise EngineError(f"{path}: {key} is {config[key]!r}; only {value!r} can be run")
    return numbers


def read_embeddings(card: EncoderCard, files: Path) -> tuple[Floats, Floats]:
    """Gives the table of words (a view of the file) and the sum of place and type embeddings."""
    weights = Checkpoint(files / WEIGHTS)
    words, places, types = (
        weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    )
    if words.shape[1:] != (card.dimensions,) or places.shape[1:] != words.shape[1:] or len(places) < card.max_tokens:
        raise ModelDamaged(
            f"{files}: embeddings of {words.shape} and {places.shape}; the card of {card.name} says"
            f" {card.dimensions} dimensions and {card.max_tokens} tokens"
        )
    return words, places[: card.max_tokens] + types[0]


def read_tokenizer(files: Path, max_tokens: int) -> Any:
    """Gives the tokenizer of ``files``, set to cut a long text into windows and to pad nothing."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineMissing(f"{error}; type: pip install tokenizers") from None
    path = files / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelDamaged(f"{path}: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens, stride=min(OVERLAP, max_tokens // 4))
    return tokenizer


def windows(tokenizer: Any, text: str) -> list[list[int]]:
    """Gives the ids of a text's tokens, in one window or in several that overlap."""
    try:
        found = tokenizer.encode(text)
    except (TypeError, UnicodeError):  # half of a surrogate pair, which file names and bad decoders leave
        found = tokenizer.encode(text.encode("utf-8", "replace").decode())
    return [found.ids, *(part.ids for part in found.overflowing)]


def average(states: Sequence[Floats], read: Sequence[Sequence[int]]) -> Floats:
    """Gives the mean of the states of a text's windows, each weighted by its tokens; shape (dimensions,)."""
    if len(states) == 1:
        return states[0]
    return np.average(states, axis=0, weights=[len(window) for window in read])


def unit(rows: Floats, name: str) -> Floats:
    """Gives the rows, in place, divided by their lengths.

    Raises:
        EngineError: a row is not a vector: it holds NaN or infinity, or only zeros.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    good = np.isfinite(lengths) & (lengths > 0)
    if not np.all(good):
        raise EngineError(f"{name}: row {int(np.argmin(good))} is not a vector")
    rows /= lengths
    return rows
