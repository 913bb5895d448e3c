"""Makes vision/tiny/: a Qwen3-VL of random weights, in the form in which the MLX community publishes one.

``python tests/golden/make_vision.py`` needs numpy and tokenizers alone, and writes the same bytes each time. The model
has every part of a true one: a tower with layers between (DeepStack), positions in three dimensions, grouped queries,
tied words, a tokenizer of byte pairs with Qwen's special tokens, and a template in its tokenizer_config.json.
Its numbers are large enough that what it says depends on what it sees, and on each word before.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = Path(__file__).parent / "vision" / "tiny"
SEED, END = 6, 0.35  # of a few tried: answers of a few dozen words, which end, and another one for each picture
HIDDEN, INNER, LAYERS, HEADS, GROUPS, SIZE = 48, 96, 2, 2, 1, 32
LOOKS, LOOKS_INNER, DEPTH, LOOKS_HEADS, PLACES = 32, 64, 3, 2, 64
BETWEEN = [0, 1]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")
SPECIAL += ("<|image_pad|>", "<|video_pad|>")
WORDS = (  # where Qwen's tokenizer cuts a text before it joins bytes
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LEARNT = [
    "a red square and a blue circle are on the screen; the price is 300, the date is 3 November 2026.",
    "на экране красный квадрат и синий круг; цена 300, дата 3 ноября 2026 года.",
    "Answer from the pieces below and give their numbers. What is in the picture? What does it cost?",
    "Ответь по фрагментам и назови их номера. Что на картинке? Сколько это стоит?",
] * 4
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for content in message.content %}"
    "{%- if content.type == 'image' or 'image' in content %}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif 'text' in content %}{{- content.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def main() -> None:
    """Writes the folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_pairs()
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    described = config(tokenizer)
    write("config.json", described)
    write("preprocessor_config.json", PREPROCESSOR)
    write("tokenizer_config.json", tokenizer_config())
    save(weights(tokenizer, described))


def write(name: str, described: dict[str, Any]) -> None:
    (FOLDER / name).write_text(json.dumps(described, indent=2) + "\n", "utf-8")


PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "temporal_patch_size": 2,
    "processor_class": "Qwen3VLProcessor",
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
}


def tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "errors": "replace",
        "split_special_tokens": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 262144,
        "chat_template": TEMPLATE,
    }


def byte_pairs() -> Tokenizer:
    """Gives a tokenizer like Qwen's, with few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LEARNT, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return tokenizer


def config(tokenizer: Tokenizer) -> dict[str, Any]:
    of = tokenizer.token_to_id
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "image_token_id": of("<|image_pad|>"),
        "video_token_id": of("<|video_pad|>"),
        "vision_start_token_id": of("<|vision_start|>"),
        "vision_end_token_id": of("<|vision_end|>"),
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": of("<|endoftext|>"),
            "eos_token_id": of("<|im_end|>"),
            "dtype": "float32",
            "head_dim": SIZE,
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "initializer_range": 0.02,
            "intermediate_size": INNER,
            "max_position_embeddings": 4096,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": GROUPS,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"},
            "rope_theta": 10000,
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "deepstack_visual_indexes": BETWEEN,
            "depth": DEPTH,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": LOOKS,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": LOOKS_INNER,
            "num_heads": LOOKS_HEADS,
            "num_position_embeddings": PLACES,
            "out_hidden_size": HIDDEN,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Gives the shape of every tensor, by the names of MLX; a kernel's channels come last there."""
    found: dict[str, tuple[int, ...]] = {"language_model.model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for i in range(LAYERS):
        at = f"language_model.model.layers.{i}."
        found |= {
            f"{at}input_layernorm.weight": (HIDDEN,),
            f"{at}self_attn.q_proj.weight": (HEADS * SIZE, HIDDEN),
            f"{at}self_attn.k_proj.weight": (GROUPS * SIZE, HIDDEN),
            f"{at}self_attn.v_proj.weight": (GROUPS * SIZE, HIDDEN),
            f"{at}self_attn.q_norm.weight": (SIZE,),
            f"{at}self_attn.k_norm.weight": (SIZE,),
            f"{at}self_attn.o_proj.weight": (HIDDEN, HEADS * SIZE),
            f"{at}post_attention_layernorm.weight": (HIDDEN,),
            f"{at}mlp.gate_proj.weight": (INNER, HIDDEN),
            f"{at}mlp.up_proj.weight": (INNER, HIDDEN),
            f"{at}mlp.down_proj.weight": (HIDDEN, INNER),
        }
    found["language_model.model.norm.weight"] = (HIDDEN,)
    found["vision_tower.patch_embed.proj.weight"] = (LOOKS, 2, 16, 16, 3)
    found["vision_tower.patch_embed.proj.bias"] = (LOOKS,)
    found["vision_tower.pos_embed.weight"] = (PLACES, LOOKS)
    for i in range(DEPTH):
        at = f"vision_tower.blocks.{i}."
        for norm in ("norm1", "norm2"):
            found |= {f"{at}{norm}.weight": (LOOKS,), f"{at}{norm}.bias": (LOOKS,)}
        found |= dense(f"{at}attn.qkv", 3 * LOOKS, LOOKS) | dense(f"{at}attn.proj", LOOKS, LOOKS)
        found |= dense(f"{at}mlp.linear_fc1", LOOKS_INNER, LOOKS) | dense(f"{at}mlp.linear_fc2", LOOKS, LOOKS_INNER)
    mergers = {"merger": LOOKS} | {f"deepstack_merger_list.{i}": 4 * LOOKS for i in range(len(BETWEEN))}
    for name, normed in mergers.items():
        at = f"vision_tower.{name}."
        found |= {f"{at}norm.weight": (normed,), f"{at}norm.bias": (normed,)}
        found |= dense(f"{at}linear_fc1", 4 * LOOKS, 4 * LOOKS) | dense(f"{at}linear_fc2", HIDDEN, 4 * LOOKS)
    return found


def dense(at: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{at}.weight": (outputs, inputs), f"{at}.bias": (outputs,)}


def weights(tokenizer: Tokenizer, described: dict[str, Any]) -> dict[str, np.ndarray]:
    """Gives the tensors, in 16 bits and therefore small; words that can be read are likelier than bytes."""
    draw = np.random.default_rng(SEED)
    found = {}
    for name, shape in shapes(described["text_config"]["vocab_size"]).items():
        noise = draw.standard_normal(shape, np.float32)
        if "norm" in name:
            numbers = 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
        elif len(shape) == 1:
            numbers = 0.1 * noise
        elif "embed_tokens" in name:
            numbers = noise * likely(tokenizer)[:, None]
        else:
            numbers = 1.5 * noise / np.sqrt(np.prod(shape[1:]))
        found[name] = numbers.astype(np.float16)
    return found


def likely(tokenizer: Tokenizer) -> np.ndarray:
    """Gives how loud each token is: whole words most, and the end a little less."""
    names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    words = np.array([name.startswith("Ġ") and name[1:].isascii() and name[1:].isalpha() for name in names])
    loud = np.where(words, 0.3, 0.1)
    loud[tokenizer.token_to_id("<|im_end|>")] = END
    return loud.astype(np.float32)


def save(tensors: dict[str, np.ndarray]) -> None:
    """Writes model.safetensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with (FOLDER / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


if __name__ == "__main__":
    main()
