"""A checkpoint of the true shape of Qwen3-VL-4B, with random weights, in the form of the MLX community's 4 bits.

Every tensor has its published name and shape. The words' weights have 4 bits as published; their scales and offsets
have 32 bits and not 16, with which MLX's CPU back-end is faster: 5 bits of a weight for 4.5. The eyes, which are
published in 16 bits, have 8 with scales of 32 here, so that the whole is about as large: 3.0 GB for 3.09. What it says
means nothing; what it takes does. It is written tensor by tensor and never in memory as a whole.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
from true_shapes import _byte_pairs  # noqa: E402

HIDDEN, INNER, LAYERS, HEADS, GROUPS, SIZE, WORDS = 2560, 9728, 36, 32, 8, 128, 151_936
LOOKS, LOOKS_INNER, DEPTH, LOOKS_HEADS, PLACES, BETWEEN = 1024, 4096, 24, 16, 2304, (5, 11, 17)
GROUP = 64  # weights that share a scale and an offset
PIECES = 151_643  # of the tokenizer, before its special tokens
SPECIAL = {
    "<|vision_start|>": 151_652,
    "<|vision_end|>": 151_653,
    "<|vision_pad|>": 151_654,
    "<|image_pad|>": 151_655,
    "<|video_pad|>": 151_656,
}
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "image_token_id": SPECIAL["<|image_pad|>"],
    "model_type": "qwen3_vl",
    "text_config": {
        "attention_bias": False,
        "bos_token_id": 151_643,
        "eos_token_id": 151_645,
        "head_dim": SIZE,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "max_position_embeddings": 262_144,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": GROUPS,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        "rope_theta": 5_000_000,
        "tie_word_embeddings": True,
        "vocab_size": WORDS,
    },
    "tie_word_embeddings": True,
    "video_token_id": SPECIAL["<|video_pad|>"],
    "vision_config": {
        "deepstack_visual_indexes": list(BETWEEN),
        "depth": DEPTH,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": LOOKS,
        "in_channels": 3,
        "intermediate_size": LOOKS_INNER,
        "model_type": "qwen3_vl",
        "num_heads": LOOKS_HEADS,
        "num_position_embeddings": PLACES,
        "out_hidden_size": HIDDEN,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    "vision_end_token_id": SPECIAL["<|vision_end|>"],
    "vision_start_token_id": SPECIAL["<|vision_start|>"],
}
PREPROCESSOR = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "size": {"longest_edge": 16_777_216, "shortest_edge": 4_096},  # published: 65,536, which takes the CPU minutes
    "temporal_patch_size": 2,
}


@dataclass(frozen=True)
class Dense:
    """A matrix that is multiplied with, by the name of its layer."""

    name: str
    outputs: int
    inputs: int
    bits: int
    bias: bool = False


@dataclass(frozen=True)
class Plain:
    """A tensor of 32 bits."""

    name: str
    shape: tuple[int, ...]


def make(folder: Path) -> None:
    """Writes the checkpoint, unless it is there. Takes half a minute and 3.0 GB."""
    if (folder / "config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(shapes())
    _write(folder / "model.safetensors", parts)
    _tokenizer(folder / "tokenizer.json")
    of_tokens = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(of_tokens, indent=2), "utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2), "utf-8")
    how: dict[str, Any] = {"group_size": GROUP, "bits": 4, "mode": "affine"}
    how |= {p.name: {"group_size": GROUP, "bits": p.bits} for p in parts if isinstance(p, Dense) and p.bits != 4}
    described = CONFIG | {"quantization": how, "quantization_config": how}
    (folder / "config.json").write_text(json.dumps(described, indent=2), "utf-8")  # last: says that the rest is whole


def shapes() -> Iterator[Dense | Plain]:
    """Gives all parts."""
    yield Dense("language_model.model.embed_tokens", WORDS, HIDDEN, 4)
    for i in range(LAYERS):
        at = f"language_model.model.layers.{i}."
        yield Plain(f"{at}input_layernorm.weight", (HIDDEN,))
        yield Dense(f"{at}self_attn.q_proj", HEADS * SIZE, HIDDEN, 4)
        yield Dense(f"{at}self_attn.k_proj", GROUPS * SIZE, HIDDEN, 4)
        yield Dense(f"{at}self_attn.v_proj", GROUPS * SIZE, HIDDEN, 4)
        yield Plain(f"{at}self_attn.q_norm.weight", (SIZE,))
        yield Plain(f"{at}self_attn.k_norm.weight", (SIZE,))
        yield Dense(f"{at}self_attn.o_proj", HIDDEN, HEADS * SIZE, 4)
        yield Plain(f"{at}post_attention_layernorm.weight", (HIDDEN,))
        yield Dense(f"{at}mlp.gate_proj", INNER, HIDDEN, 4)
        yield Dense(f"{at}mlp.up_proj", INNER, HIDDEN, 4)
        yield Dense(f"{at}mlp.down_proj", HIDDEN, INNER, 4)
    yield Plain("language_model.model.norm.weight", (HIDDEN,))
    yield Plain("vision_tower.patch_embed.proj.weight", (LOOKS, 2, 16, 16, 3))
    yield Plain("vision_tower.patch_embed.proj.bias", (LOOKS,))
    yield Plain("vision_tower.pos_embed.weight", (PLACES, LOOKS))
    for i in range(DEPTH):
        at = f"vision_tower.blocks.{i}."
        for norm in ("norm1", "norm2"):
            yield Plain(f"{at}{norm}.weight", (LOOKS,))
            yield Plain(f"{at}{norm}.bias", (LOOKS,))
        yield Dense(f"{at}attn.qkv", 3 * LOOKS, LOOKS, 8, bias=True)
        yield Dense(f"{at}attn.proj", LOOKS, LOOKS, 8, bias=True)
        yield Dense(f"{at}mlp.linear_fc1", LOOKS_INNER, LOOKS, 8, bias=True)
        yield Dense(f"{at}mlp.linear_fc2", LOOKS, LOOKS_INNER, 8, bias=True)
    mergers = {"merger": LOOKS} | {f"deepstack_merger_list.{i}": 4 * LOOKS for i in range(len(BETWEEN))}
    for name, normed in mergers.items():
        at = f"vision_tower.{name}."
        yield Plain(f"{at}norm.weight", (normed,))
        yield Plain(f"{at}norm.bias", (normed,))
        yield Dense(f"{at}linear_fc1", 4 * LOOKS, 4 * LOOKS, 8, bias=True)
        yield Dense(f"{at}linear_fc2", HIDDEN, 4 * LOOKS, 8, bias=True)


def _tensors(part: Dense | Plain) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Gives name, format and shape of each tensor of a part."""
    if isinstance(part, Plain):
        yield part.name, "F32", part.shape
        return
    yield f"{part.name}.weight", "U32", (part.outputs, part.inputs * part.bits // 32)
    yield f"{part.name}.scales", "F32", (part.outputs, part.inputs // GROUP)
    yield f"{part.name}.biases", "F32", (part.outputs, part.inputs // GROUP)
    if part.bias:
        yield f"{part.name}.bias", "F32", (part.outputs,)


def _write(path: Path, parts: list[Dense | Plain]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for part in parts:
        for name, kind, shape in _tensors(part):
            begin, end = end, end + 4 * math.prod(shape)
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    rng = np.random.Generator(np.random.SFC64(5))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for part in parts:
            for name, kind, shape in _tensors(part):
                file.write(_numbers(part, name, kind, shape, rng))


def _numbers(part: Dense | Plain, name: str, kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """Gives random numbers: weights around 0 with 0.03 of spread, gains around 1."""
    if kind == "U32":
        return rng.bytes(4 * math.prod(shape))
    if isinstance(part, Dense) and name.endswith((".scales", ".biases")):
        step = 0.06 / (2**part.bits - 1) * 1.7  # even numbers of that many steps have a spread of 0.03
        number = step if name.endswith(".scales") else -step * (2**part.bits - 1) / 2
        return np.full(shape, number, "<f4").tobytes()
    noise = rng.standard_normal(shape, np.float32) * np.float32(0.03)
    return (noise + np.float32("norm" in name and name.endswith("weight"))).astype("<f4").tobytes()


def _tokenizer(path: Path) -> None:
    """Writes a tokenizer like Qwen's: its special tokens have their numbers, and nothing follows a text."""
    tokenizer = _byte_pairs(PIECES, WORDS)
    described = json.loads(tokenizer.to_str())
    names = {number: name for name, number in SPECIAL.items()}
    for token in described["added_tokens"]:
        token["content"] = names.get(token["id"], token["content"])
    described["post_processor"] = None
    path.write_text(json.dumps(described, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
