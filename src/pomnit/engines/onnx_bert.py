"""The layers of BERT and XLM-RoBERTa as ONNX nodes, from published weights; ``mlx_bert`` is the same for MLX.

The model (Devlin et al. 2018, arXiv:1810.04805; norm after each sublayer, exact erf GELU; Conneau et al. 2019,
arXiv:1911.02116, has the same layers) takes the sum of the three embeddings as float32 [1, tokens, hidden] and gives
the last hidden states, of the same shape. The embeddings stay outside: they are half of the weights of a small encoder,
and a text needs a few rows of them.
"""

from __future__ import annotations

import numpy as np

from pomnit.engines.onnx_graph import MS
from pomnit.engines.onnx_layers import Layers


class Bert(Layers):
    """Writes the layers of one checkpoint into a graph."""

    outliers = True  # in a few channels, the same for all tokens

    def begin(self, x: str) -> str:
        return self.norm(x, "embeddings.LayerNorm")

    def layer(self, x: str, number: int) -> str:
        at = f"encoder.layer.{number}."
        queries, keys, values = self.attended(x, at + "attention.self.")
        if self.first_only and number == self.config.layers - 1:
            first = self.graph.const(np.array([0], np.int64))
            x, queries = (self.graph.node("Gather", each, first, axis=1) for each in (x, queries))
        # fused: it never holds the scores of all heads
        heads = self.config.heads
        context = self.graph.node("MultiHeadAttention", queries, keys, values, domain=MS, num_heads=heads)
        x = self.add_norm(self.linear(context, at + "attention.output.dense"), x, at + "attention.output.LayerNorm")
        inner = self.graph.node("Gelu", self.linear(x, at + "intermediate.dense"), domain=MS)
        return self.add_norm(self.linear(inner, at + "output.dense"), x, at + "output.LayerNorm")

    def end(self, x: str) -> str:
        return x

    def attended(self, x: str, at: str) -> list[str]:
        """Gives queries, keys and values, by one product."""
        joined = self.linear(x, *(at + name for name in ("query", "key", "value")))
        return self.graph.split(joined, *[self.config.hidden] * 3)

    def add_norm(self, x: str, skip: str, at: str) -> str:
        # SkipLayerNormalization would be one node, but its CPU kernel takes six times as long as these two
        return self.norm(self.graph.node("Add", x, skip), at)

    def norm(self, x: str, at: str) -> str:
        scale, bias = (self.graph.const(self.tensor(f"{at}.{part}")) for part in ("weight", "bias"))
        return self.graph.node("LayerNormalization", x, scale, bias, epsilon=self.config.eps)
