"""Tiny BERT checkpoints with random weights, so that tests of the encoder need no published model."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.models.cards import EncoderCard

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *"абвгдежзийклмнопрстуфхцчшщъыьэюя", *"0123456789.,?"]
HIDDEN, INNER, HEADS, LAYERS, PLACES = 32, 64, 4, 2, 64


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    """Writes tensors given as (dtype, shape, raw bytes)."""
    header, data = {}, b""
    for name, (kind, shape, raw) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tiny_bert(folder: Path, *, seed: int = 0, spoil: dict[str, float] | None = None, **config: Any) -> EncoderCard:
    """Writes a checkpoint into ``folder`` and gives its card; ``spoil`` fills the named tensors with a number."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(described | config), "utf-8")
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    tensors = _tensors(np.random.default_rng(seed), tokenizer.get_vocab_size())
    for name, number in (spoil or {}).items():
        tensors[name] = np.full_like(tensors[name], number)
    weights = folder / "model.safetensors"
    write_safetensors(weights, {k: ("F32", list(v.shape), v.tobytes()) for k, v in tensors.items()})
    return EncoderCard(
        name="tiny-bert",
        revision="none",
        licence="Apache-2.0",
        languages=("en", "ru"),
        dimensions=HIDDEN,
        max_tokens=PLACES,
        pooling="mean",
        query_prefix="",
        passage_prefix="",
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        package="",
        package_folder="",
    )


def _tensors(draw: np.random.Generator, words: int) -> dict[str, np.ndarray]:
    def random(*shape: int, about: float = 0.0) -> np.ndarray:
        return (about + 0.3 * draw.standard_normal(shape)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": random(words, HIDDEN),
        "embeddings.position_embeddings.weight": random(PLACES, HIDDEN),
        "embeddings.token_type_embeddings.weight": random(2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
        shapes = {f"attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (HIDDEN, HIDDEN)}
        shapes |= {"intermediate.dense": (INNER, HIDDEN), "output.dense": (HIDDEN, INNER)}
        for name, shape in shapes.items():
            tensors[f"{at}.{name}.weight"], tensors[f"{at}.{name}.bias"] = random(*shape), random(shape[0])
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = random(HIDDEN, about=1), random(HIDDEN)
    tensors["encoder.layer.0.output.LayerNorm.weight"][3] = 20  # a channel as large as those of trained models
    return tensors


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(f"##{word}" for word in WORDS)]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16)  # as published files have it: the encoder must not keep it
    return tokenizer
