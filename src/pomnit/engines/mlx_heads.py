"""What stands on the layers in MLX: pooling, and heads that weigh tokens or judge pairs; ``onnx_heads`` is the same for
ONNX Runtime.

Their products are small and decide everything, so they stay float32.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from pomnit.engines.mlx_layers import Layers
from pomnit.engines.mlx_products import read_array
from pomnit.engines.mlx_weights import MlxWeights
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.cards import EncoderCard, RerankerCard

Head = Callable[[mx.array], mx.array]  # of the last hidden states, [1, tokens, hidden]

_POOLINGS = {"bert": ("mean", "cls"), "xlm-roberta": ("mean", "cls"), "qwen3": ("last",)}
_CLASSIFIERS = {"bert": ("{}pooler.dense", "classifier"), "xlm-roberta": ("classifier.dense", "classifier.out_proj")}


def encoder_heads(layers: Layers, card: EncoderCard) -> list[Head]:
    """Gives what says the pooled, not yet normalised vector [hidden], and for a sparse card the weights [tokens].

    The weights are those of BGE-M3 (Chen et al. 2024, arXiv:2402.03216): how much each token tells about its text.

    Raises:
        EngineError: this pooling cannot be run.
    """
    heads = [_pooled(layers, card.pooling)]
    if card.sparse:
        told = _product(layers.weights, "sparse_linear")
        heads.append(lambda states: mx.maximum(told(states[0]), 0)[:, 0])
    return heads


def _pooled(layers: Layers, pooling: str) -> Head:
    known = _POOLINGS[layers.config.architecture]
    if pooling not in known:
        raise EngineError(
            f"pooling {pooling!r}: a {layers.config.architecture} encoder is pooled by {', '.join(known)}"
        )
    if pooling == "mean":
        return lambda states: states[0].mean(axis=0)
    return (lambda states: states[0, 0]) if pooling == "cls" else (lambda states: states[0, -1])


def reranker_heads(layers: Layers, card: RerankerCard, answers: tuple[int, int]) -> list[Head]:
    """Gives what says the logit [1] of the passage answering the question.

    ``answers`` are the numbers of "yes" and "no": what a yes-no model says next, these two alone, is a logistic of the
    difference of their logits.

    Raises:
        ModelDamaged: the head has several labels, or is not there.
    """
    weights, kind = layers.weights, layers.config.architecture
    if card.head == "yes-no":
        table = "lm_head.weight" if "lm_head.weight" in weights else layers.prefix + layers.config.table
        yes, no = weights.rows(table, answers)
        difference = read_array(yes - no)
        return [lambda states: states[:, -1] @ difference]
    if kind not in _CLASSIFIERS:
        raise EngineError(f"head {card.head!r}: a {kind} reranker answers yes or no")
    names = [name.format(layers.prefix) for name in _CLASSIFIERS[kind]]
    labels = weights.shape(f"{names[1]}.weight")[0]
    if labels != 1:
        raise ModelDamaged(f"{weights.path}: its head has {labels} labels; a reranker has one")
    dense, out = (_product(weights, name) for name in names)
    return [lambda states: out(mx.tanh(dense(states[:, 0])))[0]]


def _product(weights: MlxWeights, name: str) -> Head:
    weight, bias = (read_array(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return lambda x: mx.addmm(bias, x, weight.T)
