"""The layers of BERT and XLM-RoBERTa in MLX, from published weights; ``onnx_bert`` is the same for ONNX Runtime.

The model (Devlin et al. 2018, arXiv:1810.04805; norm after each sublayer, exact erf GELU; Conneau et al. 2019,
arXiv:1911.02116, has the same layers) takes the sum of the three embeddings as float32 [1, tokens, hidden] and gives
the last hidden states, of the same shape. The embeddings stay outside: they are half of the weights of a small encoder,
and a text needs a few rows of them.

Only ``mlx.core`` is used. ``mlx.nn`` compiles its GELU, which on the CPU back-end starts a C++ compiler.
"""

from __future__ import annotations

import math

import mlx.core as mx

from pomnit.engines.mlx_layers import Layers, join_heads, split_heads


class Bert(Layers):
    """The layers of one checkpoint, ready to run."""

    def begin(self, x: mx.array) -> mx.array:
        return self.norm(x, "embeddings.LayerNorm")

    def layer(self, x: mx.array, number: int) -> mx.array:
        at = f"encoder.layer.{number}."
        context = self.attention(x, at + "attention.self.")
        x = self.add_norm(self.linear(context, at + "attention.output.dense"), x, at + "attention.output.LayerNorm")
        inner = gelu(self.linear(x, at + "intermediate.dense"))
        return self.add_norm(self.linear(inner, at + "output.dense"), x, at + "output.LayerNorm")

    def end(self, x: mx.array) -> mx.array:
        return x

    def attention(self, x: mx.array, at: str) -> mx.array:
        """One product gives queries, keys and values; the fused attention never holds the scores of all heads."""
        joined = self.linear(x, *(at + name for name in ("query", "key", "value")))
        queries, keys, values = (split_heads(part, self.config.heads) for part in mx.split(joined, 3, axis=2))
        scale = 1 / math.sqrt(queries.shape[-1])
        return join_heads(mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale))

    def add_norm(self, x: mx.array, skip: mx.array, at: str) -> mx.array:
        return self.norm(x + skip, at)

    def norm(self, x: mx.array, at: str) -> mx.array:
        scale, bias = (self.tensor(f"{at}.{part}") for part in ("weight", "bias"))
        return mx.fast.layer_norm(x, scale, bias, self.config.eps)


def gelu(x: mx.array) -> mx.array:
    """The exact one, by the error function."""
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2
