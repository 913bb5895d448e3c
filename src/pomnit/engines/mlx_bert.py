"""The layers of a BERT encoder in MLX, from its published weights; ``onnx_bert`` is the same for ONNX Runtime.

The model (Devlin et al. 2018, arXiv:1810.04805; norm after each sublayer, exact erf GELU) takes the sum of the three
embeddings as float32 [1, tokens, hidden] and gives the pooled, not yet normalised vector [1, hidden]. The embeddings
stay outside: they are half of the weights, and a text needs a few rows of them.

In int8 the weights of every product are 8-bit numbers in groups that share a scale and a bias (``mx.quantize``,
affine); what they are multiplied with stays float32, so no channels need to be split as for ONNX Runtime.

Only ``mlx.core`` is used. ``mlx.nn`` compiles its GELU, which on the CPU back-end starts a C++ compiler.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import numpy as np

from pomnit.errors import EngineError
from pomnit.models.checkpoint import Checkpoint

_BITS = 8
_GROUPS = (64, 32)  # numbers that share a scale: the first that divides the inputs; 32 is for narrow models


class Bert:
    """The layers of one checkpoint, ready to run; arrays are evaluated, so the file is not read again."""

    def __init__(self, weights: Checkpoint, config: dict[str, Any], precision: str, pooling: str) -> None:
        """Takes the weights as they are (fp32) or quantises them (int8), layer by layer.

        Raises:
            ModelDamaged: a tensor is missing or does not fit.
            EngineError: this pooling cannot be run.
        """
        if pooling not in ("mean", "cls"):
            raise EngineError(f"pooling {pooling!r}: a BERT encoder is pooled by mean or cls")
        self.weights = weights
        self.config = config
        self.precision = precision
        self.pooling = pooling
        self.products: dict[str, Product] = {}
        self.norms = {"embeddings.LayerNorm": self.read_norm("embeddings.LayerNorm")}
        for number in range(config["num_hidden_layers"]):
            self.read_layer(f"encoder.layer.{number}.")

    def read_layer(self, at: str) -> None:
        joined = tuple(f"{at}attention.self.{name}" for name in ("query", "key", "value"))
        for names in (
            joined,
            *((at + name,) for name in ("attention.output.dense", "intermediate.dense", "output.dense")),
        ):
            self.products[names[0]] = self.read_linear(*names)
        for name in (at + "attention.output.LayerNorm", at + "output.LayerNorm"):
            self.norms[name] = self.read_norm(name)

    def read_norm(self, at: str) -> tuple[mx.array, mx.array]:
        scale, bias = (mx.array(self.weights[f"{at}.{part}"]) for part in ("weight", "bias"))
        mx.eval(scale, bias)
        return scale, bias

    def read_linear(self, *names: str) -> Product:
        weight = np.concatenate([self.weights[f"{name}.weight"] for name in names])
        bias = np.concatenate([self.weights[f"{name}.bias"] for name in names])
        return Product(mx.array(weight), mx.array(bias), self.precision)

    def __call__(self, x: mx.array) -> mx.array:
        """Gives the pooled vector, shape (1, hidden), of embedded tokens, shape (1, tokens, hidden); not evaluated."""
        x = self.norm(x, "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{number}.")
        return x.mean(axis=1) if self.pooling == "mean" else x[:, 0]

    def layer(self, x: mx.array, at: str) -> mx.array:
        context = self.attention(x, at + "attention.self.")
        x = self.add_norm(self.linear(context, at + "attention.output.dense"), x, at + "attention.output.LayerNorm")
        inner = gelu(self.linear(x, at + "intermediate.dense"))
        return self.add_norm(self.linear(inner, at + "output.dense"), x, at + "output.LayerNorm")

    def attention(self, x: mx.array, at: str) -> mx.array:
        """One product gives queries, keys and values; the fused attention never holds the scores of all heads."""
        joined = self.linear(x, at + "query")
        heads = self.config["num_attention_heads"]
        parts = (mx.unflatten(part, 2, (heads, -1)).transpose(0, 2, 1, 3) for part in mx.split(joined, 3, axis=2))
        queries, keys, values = parts
        scale = 1 / math.sqrt(queries.shape[-1])
        context = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale)
        return mx.flatten(context.transpose(0, 2, 1, 3), 2)

    def add_norm(self, x: mx.array, skip: mx.array, at: str) -> mx.array:
        return self.norm(x + skip, at)

    def norm(self, x: mx.array, at: str) -> mx.array:
        scale, bias = self.norms[at]
        return mx.fast.layer_norm(x, scale, bias, self.config["layer_norm_eps"])

    def linear(self, x: mx.array, name: str) -> mx.array:
        return self.products[name](x)


class Product:
    """Multiplication by one weight, shape (outputs, inputs), and addition of its bias, shape (outputs,)."""

    def __init__(self, weight: mx.array, bias: mx.array, precision: str) -> None:
        self.bias = bias
        self.group = next((n for n in _GROUPS if weight.shape[1] % n == 0), 0) if precision == "int8" else 0
        self.parts: tuple[mx.array, ...] = mx.quantize(weight, self.group, _BITS) if self.group else (weight.T,)
        mx.eval(self.bias, self.parts)  # else the float32 weights would stay until the first text

    def __call__(self, x: mx.array) -> mx.array:
        if not self.group:
            return mx.addmm(self.bias, x, self.parts[0])
        weight, scales, biases = self.parts
        return mx.quantized_matmul(x, weight, scales, biases, True, self.group, _BITS) + self.bias


def gelu(x: mx.array) -> mx.array:
    """The exact one, by the error function."""
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2
