"""Writes a Whisper checkpoint as it is published: the folder of Hugging Face, and the one that CTranslate2 reads.

The layout is that of openai/whisper-tiny: the same file names, tensor names, special tokens in the same order, 1,501
time stamps. Only the text tokens are few: the 256 bytes, merges for the words of speech_voices.py, and the empty one,
by which CTranslate2 knows a multilingual model.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import ctranslate2
from speech_voices import WORDS
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as kinds_of_tokenizer
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

TEXT = 440  # text tokens: with the special ones and the time stamps it makes 2,048
LANGUAGES = """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml
    cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am
    yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
""".split()  # noqa: SIM905
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
SPECIAL = [f"<|{name}|>" for name in ("endoftext", "startoftranscript", *LANGUAGES, *TASKS)]
STAMPS = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
LOOKING = 2  # heads of the decoder's last layer that are taught where to look: by them words get times
SIGNS = ["-", "'", "♪"]  # faster-whisper forbids the first token of each: without a merge that is the blank itself


# --- the tokenizer ---------------------------------------------------------------------------------------------------


def merges() -> list[tuple[str, str]]:
    """Gives byte pairs, most frequent first, ties by name: letters of two bytes, then pieces of our words."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [f" {sign}" for sign in SIGNS]
    texts += [f" {word}" for words in WORDS.values() for word in words]
    pieces = [list(splitter.pre_tokenize_str(text)[0][0]) for text in texts]
    found = [(line[0], line[1]) for line in pieces[: len(SIGNS)]]
    for line, pair in product(pieces, found):
        _merge(line, *pair)
    for kind in ("letter", "piece"):
        while len(found) < TEXT - 257:
            pairs: Counter[tuple[str, str]] = Counter()
            for line in pieces:
                pairs.update(pair for pair in pairwise(line) if kind == "piece" or _letter(*pair))
            if not pairs:
                break
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            found.append(best)
            for line in pieces:
                _merge(line, *best)
    return found


def _letter(left: str, right: str) -> bool:
    return left in "ÐÑ" and len(right) == 1


def _merge(line: list[str], left: str, right: str) -> None:
    at = 0
    while at < len(line) - 1:
        if (line[at], line[at + 1]) == (left, right):
            line[at : at + 2] = [left + right]
        at += 1


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Gives text token -> number, and the merges."""
    pairs = merges()
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in pairs), ""]
    if len(set(tokens)) != TEXT:
        raise SystemExit(f"{len(set(tokens))} text tokens instead of {TEXT}: change the words or TEXT")
    return {token: i for i, token in enumerate(tokens)}, pairs


def tokenizer() -> Tokenizer:
    """Gives the tokenizer: text, special tokens, time stamps."""
    text, pairs = vocabulary()
    special = {token: TEXT + i for i, token in enumerate([*SPECIAL, *STAMPS])}
    made = Tokenizer(kinds_of_tokenizer.BPE({**text, **special}, pairs, fuse_unk=False, unk_token="<|endoftext|>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    made.add_tokens([AddedToken(token, normalized=False) for token in STAMPS])
    start = ["<|startoftranscript|>", "<|notimestamps|>"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{start[0]} {start[1]} $A <|endoftext|>",
        pair=f"{start[0]} {start[1]} $A $B <|endoftext|>",
        special_tokens=[(token, special[token]) for token in (*start, "<|endoftext|>")],
    )
    return made


# --- the folders -----------------------------------------------------------------------------------------------------


def config(**sizes: Any) -> WhisperConfig:
    """Gives the configuration of a checkpoint of these sizes."""
    at = {token: TEXT + i for i, token in enumerate(SPECIAL)}
    end, start = at["<|endoftext|>"], at["<|startoftranscript|>"]
    return WhisperConfig(
        vocab_size=TEXT + len(SPECIAL) + len(STAMPS),
        num_mel_bins=80,
        max_source_positions=1500,
        max_target_positions=448,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        use_cache=True,
        **sizes,
    )


def generation(made: Tokenizer, layers: int) -> GenerationConfig:
    """Gives generation_config.json: the numbers of languages and tasks, and of what is never a word."""
    at = made.token_to_id
    start = at("<|startoftranscript|>")
    signs = [at(token) for token in sorted('#()*+/:;<=>@[\\]^_`{|}~"') if at(token) is not None]
    signs += [at(made.encode(f" {sign}", add_special_tokens=False).tokens[0]) for sign in SIGNS]
    never = [at(f"<|{name}|>") for name in ("startoftranscript", *TASKS[:5])]
    return GenerationConfig(
        alignment_heads=[[layers - 1, head] for head in range(LOOKING)],
        begin_suppress_tokens=[at("Ġ"), at("<|endoftext|>")],
        bos_token_id=at("<|endoftext|>"),
        decoder_start_token_id=start,
        eos_token_id=at("<|endoftext|>"),
        forced_decoder_ids=[[1, None], [2, at("<|transcribe|>")]],
        is_multilingual=True,
        lang_to_id={f"<|{name}|>": at(f"<|{name}|>") for name in LANGUAGES},
        max_initial_timestamp_index=50,
        max_length=448,
        no_timestamps_token_id=at("<|notimestamps|>"),
        pad_token_id=at("<|endoftext|>"),
        prev_sot_token_id=at("<|startofprev|>"),
        return_timestamps=False,
        suppress_tokens=sorted({*signs, *never}),
        task_to_id={name: at(f"<|{name}|>") for name in ("transcribe", "translate")},
    )


def write_tokenizer(folder: Path, made: Tokenizer) -> None:
    """Writes the files of a published tokenizer, old style and new."""
    added = {token: TEXT + i for i, token in enumerate([*SPECIAL, *STAMPS])}
    text, pairs = vocabulary()
    lines = "".join(f"{left} {right}\n" for left, right in pairs)
    _json(folder / "vocab.json", {**text, "<|endoftext|>": TEXT})
    (folder / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")
    _json(folder / "added_tokens.json", {token: i for token, i in added.items() if token != "<|endoftext|>"})
    _json(folder / "special_tokens_map.json", {
        "additional_special_tokens": SPECIAL[1:],
        **{f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "pad", "unk")},
    })  # fmt: skip
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    _json(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(i): {"content": token, **flags, "special": token in SPECIAL} for token, i in added.items()
        },
        "additional_special_tokens": SPECIAL[1:],
        "bos_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": True,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "model_max_length": 1024,
        "pad_token": "<|endoftext|>",
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
        "unk_token": "<|endoftext|>",
    })  # fmt: skip
    _json(folder / "tokenizer.json", json.loads(made.to_str()))


def write_published(folder: Path, model: WhisperForConditionalGeneration) -> None:
    """Writes the folder as published on Hugging Face, the weights as float16."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = tokenizer()
    model.generation_config = generation(made, model.config.decoder_layers)
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    write_tokenizer(folder, made)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)


def write_ctranslate2(folder: Path, published: Path) -> None:
    """Writes the folder for CTranslate2 from the published one: linear layers and embeddings int8, the rest float16."""
    ctranslate2.converters.TransformersConverter(str(published)).convert(
        str(folder), quantization="int8_float16", force=True
    )
    for name in ("tokenizer.json", "preprocessor_config.json"):
        shutil.copy(published / name, folder)


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
