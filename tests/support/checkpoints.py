"""Tiny BERT checkpoints with random weights, so that tests of the encoder need no published model.

They are drawn anew and may be spoiled; those that transformers has read lie in tests/golden/models.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.engines import onnx_build
from pomnit.models.cards import CONFIG, TOKENIZER, WEIGHTS, EncoderCard, TextCard
from pomnit.models.hub import ModelFiles

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
    tokenizer = _tokenizer()
    described |= {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": PLACES, "type_vocab_size": 2}
    (folder / "config.json").write_text(json.dumps(described | config), "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    tensors = _tensors(np.random.default_rng(seed), tokenizer.get_vocab_size())
    for name, number in (spoil or {}).items():
        tensors[name] = np.full_like(tensors[name], number)
    weights = folder / "model.safetensors"
    write_safetensors(weights, {k: ("F32", list(v.shape), v.tobytes()) for k, v in tensors.items()})
    return EncoderCard(
        name="tiny-bert",
        repository="tiny/bert",
        revision="none",
        licence="Apache-2.0",
        languages=("en", "ru"),
        parameters=30_000,
        files=(WEIGHTS, CONFIG, TOKENIZER),
        digests={WEIGHTS: hashlib.sha256(weights.read_bytes()).hexdigest()},
        architecture="bert",
        max_tokens=PLACES,
        table_parameters=tokenizer.get_vocab_size() * HIDDEN,
        dimensions=HIDDEN,
        pooling="mean",
        query_prefix="",
        passage_prefix="",
        cosines=(0.0, 1.0),
    )


def published(folder: Path) -> ModelFiles:
    """Gives a folder as the hub would."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()))
    return ModelFiles(folder, digest.hexdigest(), "published", None)


def onnx_form(card: TextCard, folder: Path, cache: Path, bits: int = 8) -> Path:
    """Gives what ``OnnxEncoder`` and ``OnnxReranker`` load."""
    return onnx_build.prepared(card, published(folder), bits, cache)


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
