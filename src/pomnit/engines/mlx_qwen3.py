"""The layers of Qwen3 in MLX, from published weights; ``onnx_qwen3`` is the same for ONNX Runtime.

The model (Yang et al. 2025, arXiv:2505.09388): RMS norm before each sublayer, queries and keys normalised head by head
and then turned by their places (Su et al. 2021, arXiv:2104.09864), several heads of queries to one of keys, SwiGLU. A
token sees those before it. It takes the word embeddings as float32 [1, tokens, hidden] and gives the last hidden
states, normalised, of the same shape.
"""

from __future__ import annotations

import math

import mlx.core as mx

from pomnit.engines.mlx_layers import Layers, join_heads, split_heads


class Qwen3(Layers):
    """The layers of one checkpoint, ready to run."""

    def begin(self, x: mx.array) -> mx.array:
        return x

    def layer(self, x: mx.array, number: int) -> mx.array:
        at = f"layers.{number}."
        x = x + self.attention(self.norm(x, at + "input_layernorm"), at + "self_attn.")
        return x + self.feed_forward(self.norm(x, at + "post_attention_layernorm"), at + "mlp.")

    def end(self, x: mx.array) -> mx.array:
        return self.norm(x, "norm")

    def attention(self, x: mx.array, at: str) -> mx.array:
        heads, key_heads, size = self.config.heads, self.config.key_heads, self.config.head_size
        joined = self.linear(x, *(f"{at}{name}_proj" for name in "qkv"))
        queries, keys, values = mx.split(joined, [heads * size, (heads + key_heads) * size], axis=2)
        queries = self.turn(self.norm(split_heads(queries, heads), at + "q_norm"))
        keys = self.turn(self.norm(split_heads(keys, key_heads), at + "k_norm"))
        values = split_heads(values, key_heads)
        scale = 1 / math.sqrt(size)
        fused = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask="causal")
        return self.linear(join_heads(fused), at + "o_proj")

    def turn(self, x: mx.array) -> mx.array:
        return mx.fast.rope(x, self.config.head_size, traditional=False, base=self.config.theta, scale=1.0, offset=0)

    def feed_forward(self, x: mx.array, at: str) -> mx.array:
        gate, up = mx.split(self.linear(x, at + "gate_proj", at + "up_proj"), 2, axis=2)
        return self.linear(gate * mx.sigmoid(gate) * up, at + "down_proj")

    def norm(self, x: mx.array, at: str) -> mx.array:
        return mx.fast.rms_norm(x, self.tensor(f"{at}.weight"), self.config.eps)
