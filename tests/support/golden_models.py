"""The tiny random models of tests/golden/models: their cards, and what transformers gives for them in fp32."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.models.cards import CONFIG, TOKENIZER, WEIGHTS, Architecture, EncoderCard, Pooling, RerankerCard
from pomnit.models.checkpoint import Checkpoint
from support.checkpoints import write_safetensors

FOLDER = Path(__file__).parents[1] / "golden" / "models"
_ALL = {
    "repository": "pomnit/golden",
    "revision": "0" * 40,
    "licence": "Apache-2.0",
    "languages": ("ru", "en", "other"),
    "parameters": 30_000,
    "table_parameters": 10_000,
    "files": (WEIGHTS, CONFIG, TOKENIZER),
}
_TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


def _encoder(name: str, architecture: Architecture, pooling: Pooling, **more: Any) -> EncoderCard:
    usual: dict[str, Any] = {"dimensions": 32, "query_prefix": "", "passage_prefix": "", "cosines": (0.0, 1.0)}
    said = _ALL | usual | {"name": name, "architecture": architecture, "pooling": pooling, "max_tokens": 64} | more
    return EncoderCard(**said)


_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
_PICKLED = ("pytorch_model.bin", "sparse_linear.pt", CONFIG, TOKENIZER)
ENCODERS = {
    "bert-mean": _encoder("bert-mean", "bert", "mean"),
    "bert-cls": _encoder("bert-cls", "bert", "cls"),
    "xlmr-mean": _encoder("xlmr-mean", "xlm-roberta", "mean", query_prefix="query: ", passage_prefix="passage: "),
    "xlmr-cls-sparse": _encoder("xlmr-cls-sparse", "xlm-roberta", "cls", sparse=True, files=_PICKLED),
    "qwen3-last": _encoder("qwen3-last", "qwen3", "last", query_prefix=_INSTRUCTION),  # 32 of its 64 dimensions
}
RERANKERS = {
    "bert-pair": RerankerCard(name="bert-pair", architecture="bert", head="classifier", max_tokens=64, **_ALL),
    "xlmr-pair": RerankerCard(name="xlmr-pair", architecture="xlm-roberta", head="classifier", max_tokens=64, **_ALL),
    "qwen3-yesno": RerankerCard(
        name="qwen3-yesno", architecture="qwen3", head="yes-no", template=_TEMPLATE, max_tokens=192, **_ALL
    ),
}


def golden(kind: str) -> tuple[Any, Path, dict[str, Any]]:
    """Gives the card, the folder as published, and what the model gives.

    Of an encoder that is {"texts": [{text, query, windows, vector (all dimensions, length 1), terms?}]}; of a
    reranker {"texts", "queries": [{query, scores}]}.
    """
    folder = FOLDER / kind
    card = ENCODERS[kind] if kind in ENCODERS else RERANKERS[kind]
    return card, folder, json.loads((folder / "expected.json").read_text("utf-8"))


def changed(kind: str, folder: Path, *, tensors: dict[str, Any] | None = None, **config: Any) -> Any:
    """Gives the card of a kind after writing its files to ``folder`` with other numbers in config.json and other
    tensors, each an array or one number for all of it.
    """
    card, source, _ = golden(kind)
    shutil.copytree(source, folder)
    described = json.loads((folder / CONFIG).read_text("utf-8"))
    (folder / CONFIG).write_text(json.dumps(described | config), "utf-8")
    checkpoint = Checkpoint(source)
    kept = {name: checkpoint[name] for name in checkpoint if checkpoint.kind(name) != "I64"}
    for name, value in (tensors or {}).items():
        kept[name] = value if isinstance(value, np.ndarray) else np.full_like(kept[name], value)
    write_safetensors(folder / WEIGHTS, {k: ("F32", list(v.shape), v.tobytes()) for k, v in kept.items()})
    return card
