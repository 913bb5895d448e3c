"""Makes the engines of texts that this machine can run, for the suites that hold them all to the same promises."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest

from pomnit.engines import onnx_build
from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.reranker_mlx import MlxReranker
from pomnit.engines.reranker_onnx import OnnxReranker
from pomnit.governor.children import Child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import RemoteEncoder, RemoteReranker
from pomnit.models.cards import EncoderCard, RerankerCard

NO_MLX = importlib.util.find_spec("mlx") is None
with_mlx = pytest.mark.skipif(NO_MLX, reason="mlx is not installed; for Linux: pip install 'mlx[cpu]'")


def onnx_form(card: EncoderCard | RerankerCard, folder: Path, bits: int, cache: Path) -> Path:
    """Gives the ONNX form of a published model: made in this process, once for all tests that share ``cache``."""
    described = card.name, card.max_tokens, getattr(card, "pooling", ""), folder
    made_from = hashlib.sha256(repr(described).encode()).hexdigest()
    target = cache / f"{made_from[:16]}-{bits}"
    onnx_build.make(card, folder, target, bits, made_from, unless_there=True)
    return target


def make_encoder(
    runtime: str, card: EncoderCard, folder: Path, bits: int, cache: Path, threads: int = 2
) -> OnnxEncoder | MlxEncoder | RemoteEncoder:
    """Gives the encoder in a published folder, on ``runtime``; "child" is ONNX Runtime in a process of its own."""
    if runtime == "onnx":
        return OnnxEncoder(card, onnx_form(card, folder, bits, cache), threads)
    if runtime == "child":
        plan = Plan("embed", card.name, "onnx", threads, onnx_form(card, folder, bits, cache), card, bits)
        return RemoteEncoder(card, lambda: Child(plan.name, plan.to_json()))
    if NO_MLX:
        pytest.skip("mlx is not installed; for Linux: pip install 'mlx[cpu]'")
    return MlxEncoder(card, folder, bits)


def make_reranker(
    runtime: str, card: RerankerCard, folder: Path, bits: int, cache: Path, threads: int = 2
) -> OnnxReranker | MlxReranker | RemoteReranker:
    """Gives the reranker in a published folder, on ``runtime``; "child" as above."""
    if runtime == "onnx":
        return OnnxReranker(card, onnx_form(card, folder, bits, cache), threads)
    if runtime == "child":
        plan = Plan("rerank", card.name, "onnx", threads, onnx_form(card, folder, bits, cache), card, bits)
        return RemoteReranker(card, lambda: Child(plan.name, plan.to_json()))
    if NO_MLX:
        pytest.skip("mlx is not installed; for Linux: pip install 'mlx[cpu]'")
    return MlxReranker(card, folder, bits)
