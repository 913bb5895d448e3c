"""The layers of Qwen3 as ONNX nodes, from published weights; ``mlx_qwen3`` is the same for MLX.

The model (Yang et al. 2025, arXiv:2505.09388): RMS norm before each sublayer, queries and keys normalised head by head
and then turned by their places (Su et al. 2021, arXiv:2104.09864), several heads of queries to one of keys, SwiGLU. A
token sees those before it. It takes the word embeddings as float32 [1, tokens, hidden] and gives the last hidden
states, normalised, of the same shape.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pomnit.engines.onnx_graph import INPUT, MS
from pomnit.engines.onnx_layers import Layers
from pomnit.engines.text import LONGEST_PAIR


class Qwen3(Layers):
    """Writes the layers of one checkpoint into a graph."""

    outliers = False  # a single number of one token may be a thousand times the rest (Sun et al. 2024, 2402.17762)

    def begin(self, x: str) -> str:
        return x

    def layer(self, x: str, number: int) -> str:
        at = f"layers.{number}."
        x = self.graph.node("Add", x, self.attention(self.norm(x, at + "input_layernorm"), at + "self_attn."))
        return self.graph.node("Add", x, self.feed_forward(self.norm(x, at + "post_attention_layernorm"), at + "mlp."))

    def end(self, x: str) -> str:
        return self.norm(x, "norm")

    def attention(self, x: str, at: str) -> str:
        heads, key_heads, size = self.config.heads, self.config.key_heads, self.config.head_size
        joined = self.linear(x, *(f"{at}{name}_proj" for name in "qkv"))
        queries, keys, values = self.graph.split(joined, heads * size, key_heads * size, key_heads * size)
        queries = self.head_norm(queries, heads, at + "q_norm")
        keys = self.head_norm(keys, key_heads, at + "k_norm")
        fused = self.graph.node(
            "GroupQueryAttention",
            *(queries, keys, values, "", ""),
            *self.lengths,
            *self.turns,
            domain=MS,
            outputs=3,
            num_heads=heads,
            kv_num_heads=key_heads,
            do_rotary=1,
        )
        return self.linear(f"{fused}:0", at + "o_proj")

    def head_norm(self, x: str, heads: int, at: str) -> str:
        shape = self.graph.const(np.array([0, 0, heads, self.config.head_size], np.int64))
        flat = self.graph.const(np.array([0, 0, heads * self.config.head_size], np.int64))
        return self.graph.node("Reshape", self.norm(self.graph.node("Reshape", x, shape), at), flat)

    def feed_forward(self, x: str, at: str) -> str:
        gate_and_up = self.linear(x, at + "gate_proj", at + "up_proj")
        inner = self.weights.shape(f"{self.prefix}{at}gate_proj.weight")[0]
        gate, up = self.graph.split(gate_and_up, inner, inner)
        swish = self.graph.node("QuickGelu", gate, domain=MS, alpha=1.0)
        return self.linear(self.graph.node("Mul", swish, up), at + "down_proj")

    def norm(self, x: str, at: str) -> str:
        scale = self.graph.const(self.tensor(f"{at}.weight"))
        return self.graph.node("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=self.config.eps)

    @cached_property
    def lengths(self) -> tuple[str, str]:
        """The last place of the text, shape (1,), and its tokens, a number; both int32."""
        tokens = self.graph.node("Cast", self.graph.node("Shape", INPUT, start=1, end=2), to=6)
        last = self.graph.node("Sub", tokens, self.graph.const(np.array([1], np.int32)))
        return last, self.graph.node("Squeeze", tokens)

    @cached_property
    def turns(self) -> tuple[str, str]:
        """Cosines and sines of each place, shape (places, head_size / 2)."""
        size = self.config.head_size
        speeds = self.config.theta ** (-np.arange(0, size, 2) / size)
        angles = np.outer(np.arange(LONGEST_PAIR), speeds)
        cosines, sines = (self.graph.const(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
        return cosines, sines
