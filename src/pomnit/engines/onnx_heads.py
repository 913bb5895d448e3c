"""What stands behind the layers, as ONNX nodes: pooling, and heads that weigh tokens or judge pairs.

Their products are small and decide everything, so they stay float32.
"""

from __future__ import annotations

import numpy as np

from pomnit.engines.onnx_graph import Graph
from pomnit.engines.onnx_layers import Layers, sound
from pomnit.engines.text import Floats, TextConfig
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.cards import EncoderCard, RerankerCard

VECTOR, WEIGHTS, LOGIT = "vector", "weights", "logit"
_POOLINGS = {"bert": ("mean", "cls"), "xlm-roberta": ("mean", "cls"), "qwen3": ("last",)}
_CLASSIFIERS = {"bert": ("{}pooler.dense", "classifier"), "xlm-roberta": ("classifier.dense", "classifier.out_proj")}


def encoder_head(layers: Layers, x: str, card: EncoderCard) -> list[str]:
    """Gives the names of the outputs: the pooled, not yet normalised vector [1, hidden]; weights [1, tokens, 1].

    The weights are those of BGE-M3 (Chen et al. 2024, arXiv:2402.03216): how much each token tells about its text.
    """
    graph, weights = layers.graph, layers.weights
    outputs = [graph.output(_pooled(layers, x, card.pooling), VECTOR)]
    if card.sparse:
        told = _product(graph, x, sound(weights, "sparse_linear.weight"), sound(weights, "sparse_linear.bias"))
        outputs.append(graph.output(graph.node("Relu", told), WEIGHTS))
    return outputs


def check_head(config: TextConfig, card: EncoderCard | RerankerCard) -> None:
    """Raises EngineError where a card wants of an architecture what it does not have."""
    kind = config.architecture
    if isinstance(card, EncoderCard) and card.pooling not in _POOLINGS[kind]:
        raise EngineError(f"pooling {card.pooling!r}: a {kind} encoder is pooled by {' or '.join(_POOLINGS[kind])}")
    if isinstance(card, RerankerCard) and card.head == "classifier" and kind not in _CLASSIFIERS:
        raise EngineError(f"head {card.head!r}: a {kind} reranker answers yes or no")


def reads_first_only(card: EncoderCard | RerankerCard) -> bool:
    """Says whether the head looks at the first token alone."""
    if isinstance(card, RerankerCard):
        return card.head == "classifier"
    return card.pooling == "cls" and not card.sparse


def _pooled(layers: Layers, x: str, pooling: str) -> str:
    if pooling == "mean":
        return layers.graph.node("ReduceMean", x, layers.graph.const(np.array([1], np.int64)), keepdims=0)
    return _token(layers.graph, x, 0 if pooling == "cls" else -1)


def reranker_head(layers: Layers, x: str, card: RerankerCard, answers: tuple[int, int]) -> list[str]:
    """Gives the name of the output: the logit [1, 1] of the passage answering the question.

    ``answers`` are the numbers of "yes" and "no": what a yes-no model says next, these two alone, is a logistic of the
    difference of their logits.

    Raises:
        ModelDamaged: the head has several labels, or is not there.
    """
    graph, weights, kind = layers.graph, layers.weights, layers.config.architecture
    if card.head == "yes-no":
        table = "lm_head.weight" if "lm_head.weight" in weights else layers.prefix + layers.config.table
        yes, no = weights.table(table).rows(np.array(answers))
        return [graph.output(_product(graph, _token(graph, x, -1), (yes - no)[None]), LOGIT)]
    dense, out = (name.format(layers.prefix) for name in _CLASSIFIERS[kind])
    labels = weights.shape(f"{out}.weight")[0]
    if labels != 1:
        raise ModelDamaged(f"{weights.path}: its head has {labels} labels; a reranker has one")
    x = _token(graph, x, 0)
    x = graph.node("Tanh", _product(graph, x, *(sound(weights, f"{dense}.{part}") for part in ("weight", "bias"))))
    return [graph.output(_product(graph, x, *(sound(weights, f"{out}.{part}") for part in ("weight", "bias"))), LOGIT)]


def _token(graph: Graph, x: str, which: int) -> str:
    """Gives the state of one token, [1, hidden]."""
    return graph.node("Gather", x, graph.const(np.array(which, np.int64)), axis=1)


def _product(graph: Graph, x: str, weight: Floats, bias: Floats | None = None) -> str:
    product = graph.node("MatMul", x, graph.const(weight.T))
    return product if bias is None else graph.node("Add", product, graph.const(bias))
