"""Checkpoints of the true shapes of large models, with random weights, in the form in which they are published.

Every tensor has the name, shape and number format of the published one, so memory, speed and disk are true; what the
vectors say is not. The tokenizers have as many pieces as the published ones: all runs of up to three letters of both
alphabets, alone and at the start of a word, filled up with longer random ones. So a text has about as many tokens as
it would have (two a word), and reading the file costs what it would cost.
"""

from __future__ import annotations

import itertools
import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщъыьэюя")
OUTLIERS = 4  # channels that every normalisation makes larger than the rest, as trained models do
BLOCK = 1 << 24  # numbers drawn at once
WORDS = (  # where Qwen's tokenizer cuts a text before it joins bytes
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint: what it is called, its shape, and how its numbers are drawn."""

    name: str
    shape: tuple[int, ...]
    drawn: Literal["weights", "gains", "even gains"] = "weights"

    @property
    def count(self) -> int:
        """Gives how many numbers it has."""
        return int(np.prod(self.shape))


BGE_M3: dict[str, Any] = {
    "architectures": ["XLMRobertaModel"],
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "classifier_dropout": None,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 8194,
    "model_type": "xlm-roberta",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "output_past": True,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "type_vocab_size": 1,
    "use_cache": True,
    "vocab_size": 250002,
}
QWEN3_EMBEDDING: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151669,
}
CONFIGS = {"bge-m3": BGE_M3, "qwen3-embedding-0.6b": QWEN3_EMBEDDING}


def tensors(config: dict[str, Any]) -> list[Tensor]:
    """Gives all tensors of a checkpoint."""
    return _xlm_roberta(config) if config["model_type"] == "xlm-roberta" else _qwen3(config)


def make(name: str, folder: Path) -> None:
    """Writes the checkpoint, unless it is there; needs torch for the form of BGE-M3. Takes some seconds a gigabyte."""
    config = CONFIGS[name]
    if (folder / "config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if config["model_type"] == "xlm-roberta":
        _write_torch(folder, tensors(config))
        _unigram(config["vocab_size"]).save(str(folder / "tokenizer.json"), pretty=True)
    else:
        _write_bfloat16(folder / "model.safetensors", tensors(config))
        _byte_pairs(config["bos_token_id"], config["vocab_size"]).save(str(folder / "tokenizer.json"), pretty=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")  # last: says that the rest is whole


def make_reranker(folder: Path, encoder: Path) -> None:
    """Writes one of bge-reranker-v2-m3, unless it is there: BGE-M3's shape and tokenizer, a head, and in bfloat16."""
    if (folder / "config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    body = [replace(tensor, name=f"roberta.{tensor.name}") for tensor in tensors(BGE_M3) if "pooler" not in tensor.name]
    hidden = BGE_M3["hidden_size"]
    head = [Tensor("classifier.dense.weight", (hidden, hidden)), Tensor("classifier.dense.bias", (hidden,))]
    head += [Tensor("classifier.out_proj.weight", (1, hidden)), Tensor("classifier.out_proj.bias", (1,))]
    _write_bfloat16(folder / "model.safetensors", [*body, *head])
    shutil.copyfile(encoder / "tokenizer.json", folder / "tokenizer.json")
    config = BGE_M3 | {"architectures": ["XLMRobertaForSequenceClassification"], "torch_dtype": "bfloat16"}
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")


# The weights


def _xlm_roberta(config: dict[str, Any]) -> list[Tensor]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def dense(at: str, outputs: int, inputs: int) -> list[Tensor]:
        return [Tensor(f"{at}.weight", (outputs, inputs)), Tensor(f"{at}.bias", (outputs,))]

    def norm(at: str) -> list[Tensor]:
        return [Tensor(f"{at}.weight", (hidden,), "gains"), Tensor(f"{at}.bias", (hidden,))]

    found = [
        Tensor("embeddings.word_embeddings.weight", (config["vocab_size"], hidden)),
        Tensor("embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)),
        Tensor("embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden)),
        *norm("embeddings.LayerNorm"),
    ]
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            found += dense(at + part, hidden, hidden)
        found += norm(at + "attention.output.LayerNorm")
        found += dense(at + "intermediate.dense", inner, hidden) + dense(at + "output.dense", hidden, inner)
        found += norm(at + "output.LayerNorm")
    return found + dense("pooler.dense", hidden, hidden)


def _qwen3(config: dict[str, Any]) -> list[Tensor]:
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    found = [Tensor("embed_tokens.weight", (config["vocab_size"], hidden))]
    for i in range(config["num_hidden_layers"]):
        at = f"layers.{i}."
        found += [
            Tensor(at + "input_layernorm.weight", (hidden,), "gains"),
            Tensor(at + "self_attn.q_proj.weight", (queries, hidden)),
            Tensor(at + "self_attn.k_proj.weight", (keys, hidden)),
            Tensor(at + "self_attn.v_proj.weight", (keys, hidden)),
            Tensor(at + "self_attn.q_norm.weight", (size,), "even gains"),
            Tensor(at + "self_attn.k_norm.weight", (size,), "even gains"),
            Tensor(at + "self_attn.o_proj.weight", (hidden, queries)),
            Tensor(at + "post_attention_layernorm.weight", (hidden,), "gains"),
            Tensor(at + "mlp.gate_proj.weight", (inner, hidden)),
            Tensor(at + "mlp.up_proj.weight", (inner, hidden)),
            Tensor(at + "mlp.down_proj.weight", (hidden, inner)),
        ]
    return [*found, Tensor("norm.weight", (hidden,), "gains")]


def _numbers(tensor: Tensor, rng: np.random.Generator) -> Iterator[Floats]:
    """Gives a tensor's numbers in blocks: small ones around 0, gains around 1, of which a few may be large."""
    for first in range(0, tensor.count, BLOCK):
        block = rng.standard_normal(min(BLOCK, tensor.count - first), dtype=np.float32)
        if tensor.drawn == "weights":
            block *= np.float32(0.03)
        else:
            block = 1 + block * np.float32(0.1)
        if tensor.drawn == "gains":
            block[:OUTLIERS] *= 8
        yield block


def _write_torch(folder: Path, wanted: list[Tensor]) -> None:
    """Writes pytorch_model.bin in float32 and the head that weighs tokens, sparse_linear.pt, in float16."""
    import torch

    rng = np.random.default_rng(1)
    state = {}
    for tensor in wanted:
        numbers = np.empty(tensor.count, np.float32)
        for i, block in enumerate(_numbers(tensor, rng)):
            numbers[i * BLOCK : i * BLOCK + len(block)] = block
        state[tensor.name] = torch.from_numpy(numbers.reshape(tensor.shape))
    torch.save(state, folder / "pytorch_model.bin")
    head = torch.from_numpy(rng.standard_normal((1, wanted[0].shape[1]), dtype=np.float32) * 0.03)
    torch.save({"weight": head.half(), "bias": torch.zeros(1).half()}, folder / "sparse_linear.pt")


def _write_bfloat16(path: Path, wanted: list[Tensor]) -> None:
    header, end = {}, 0
    for tensor in wanted:
        begin, end = end, end + 2 * tensor.count
        header[tensor.name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [begin, end]}
    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    head += b" " * (-len(head) % 8)
    rng = np.random.default_rng(2)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for tensor in wanted:
            for block in _numbers(tensor, rng):
                rounded = (block.view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)
                file.write(rounded.astype("<u2").tobytes())


# The tokenizers


def _runs(start: str) -> Iterator[str]:
    """Gives all runs of one to three letters of one alphabet, the short ones first."""
    for length in (1, 2, 3):
        for letters in ALPHABETS:
            yield from (start + "".join(run) for run in itertools.product(letters, repeat=length))


def _unigram(vocab_size: int) -> Any:
    """Gives a tokenizer like XLM-RoBERTa's: pieces with their log-probabilities, spaces as marks before words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>"], 0.0)
    pieces |= dict.fromkeys("▁.,:;!?-()\"'0123456789" + "".join(ALPHABETS).upper(), -6.0)
    for start in ("▁", ""):
        pieces |= {piece: -5.0 - 2.0 * len(piece) ** 0.5 for piece in _runs(start)}
    rng = np.random.default_rng(3)
    while len(pieces) < vocab_size - 1:
        letters = ALPHABETS[int(rng.integers(2))]
        drawn = rng.integers(0, len(letters), int(rng.integers(4, 9)))
        pieces["▁" * int(rng.integers(2)) + "".join(letters[i] for i in drawn)] = -float(rng.uniform(11, 14))
    pieces["<mask>"] = 0.0
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    )
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return tokenizer


def _byte_pairs(n_pieces: int, vocab_size: int) -> Any:
    """Gives a tokenizer like Qwen's: pieces of bytes that are joined pair by pair, an end token after every text."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()))
    pairs: list[tuple[str, str]] = []

    def join(left: str, right: str) -> None:
        if left + right not in pieces and len(pieces) < n_pieces:
            pieces[left + right] = None
            pairs.append((left, right))

    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelt = [[by_bytes.pre_tokenize_str(letter)[0][0] for letter in letters] for letters in ALPHABETS]
    for letter in spelt[1]:
        join(*letter)
    for letters in spelt:
        doubles = [(a, b) for a in letters for b in letters]
        for right in letters:
            join("Ġ", right)
        for left, right in doubles:
            join(left, right)
        for (left, middle), right in itertools.product(doubles, letters):
            join(left + middle, right)
            if right == letters[-1]:
                join("Ġ" + left, middle)
    rng = np.random.default_rng(4)
    while len(pieces) < n_pieces:
        letters = spelt[int(rng.integers(2))]
        a, b, c, d = (letters[i] for i in rng.integers(0, len(letters), 4))
        join(a + b, c + d)
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, pairs))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), "isolated"), by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    special += [f"<|extra_{i}|>" for i in range(vocab_size - n_pieces - len(special))]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        "$A <|endoftext|>", "$A $B <|endoftext|>", [("<|endoftext|>", n_pieces)]
    )
    return tokenizer
