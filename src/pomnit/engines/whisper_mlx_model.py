"""Whisper in MLX, from published weights: what hears, and what says (Radford et al. 2022, arXiv:2212.04356).

The encoder hears one window at a time: its products are large enough to keep every core busy, and a batch of windows
would need as many times the memory. The decoder says the tokens of a whole batch at once: each step reads all its
weights, however many rows there are. All norms come before what they feed; GELU is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from pomnit.engines.mlx_bert import gelu
from pomnit.engines.mlx_layers import join_heads, split_heads
from pomnit.engines.mlx_products import Matrix, read_array, read_matrix, read_product
from pomnit.engines.text import Floats
from pomnit.engines.whisper_config import WhisperConfig
from pomnit.engines.whisper_decode import Ids
from pomnit.engines.whisper_mlx_weights import WhisperWeights

_EPS = 1e-5  # of the norms

Taken = list[mx.array]
"""Keys and values, each of shape (rows, heads, tokens, size); empty before the first token."""


class Norm:
    """A layer norm."""

    def __init__(self, weights: WhisperWeights, name: str) -> None:
        self.scale, self.bias = (read_array(weights[f"{name}.{part}"]) for part in ("weight", "bias"))

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.layer_norm(x, self.scale, self.bias, _EPS)


class Attention:
    """What is taken from other tokens, or from the sound, and added."""

    def __init__(self, weights: WhisperWeights, name: str, heads: int) -> None:
        self.norm = Norm(weights, f"{name}_ln")
        self.out = read_product(weights, [f"{name}.out"])
        self.heads = heads

    def add(self, x: mx.array, queries: mx.array, taken: Taken, *, causal: bool = False) -> mx.array:
        scale = 1 / math.sqrt(queries.shape[-1])
        mask = "causal" if causal else None  # which counts from the end: a new token sees all that are past
        given = mx.fast.scaled_dot_product_attention(queries, *taken, scale=scale, mask=mask)
        return x + self.out(join_heads(given).astype(x.dtype))


class SelfAttention(Attention):
    """From other tokens, or places of the sound, of the same row."""

    def __init__(self, weights: WhisperWeights, name: str, heads: int) -> None:
        super().__init__(weights, name, heads)
        self.product = read_product(weights, [f"{name}.{part}" for part in ("query", "key", "value")])

    def __call__(self, x: mx.array) -> mx.array:
        queries, *taken = self.divide(x)
        return self.add(x, queries, taken)

    def go_on(self, x: mx.array, past: Taken) -> tuple[mx.array, Taken]:
        """Gives the same for tokens that follow others, and what the next ones will take."""
        queries, *taken = self.divide(x)
        if past:
            taken = [mx.concatenate([before, new], axis=2) for before, new in zip(past, taken, strict=True)]
        return self.add(x, queries, taken, causal=x.shape[1] > 1), taken

    def divide(self, x: mx.array) -> list[mx.array]:
        return [split_heads(part, self.heads) for part in mx.split(self.product(self.norm(x)), 3, axis=2)]


class CrossAttention(Attention):
    """From the sound."""

    def __init__(self, weights: WhisperWeights, name: str, heads: int, kind: mx.Dtype) -> None:
        """``kind`` is of the numbers that are kept of the sound."""
        super().__init__(weights, name, heads)
        self.kind = kind
        self.query = read_product(weights, [f"{name}.query"])
        self.product = read_product(
            weights, [f"{name}.value", f"{name}.key"]
        )  # the first says whether there are biases

    def hear(self, states: mx.array) -> Taken:
        """Gives what tokens take, of what the encoder made of the sound."""
        product = self.product(states).astype(self.kind)
        values, keys = (split_heads(part, self.heads) for part in mx.split(product, 2, axis=2))
        return [mx.contiguous(keys), mx.contiguous(values)]  # else each token would copy them

    def __call__(self, x: mx.array, heard: Taken) -> mx.array:
        return self.add(x, split_heads(self.query(self.norm(x)).astype(self.kind), self.heads), heard)


class FeedForward:
    """What each token makes of itself, and adds."""

    def __init__(self, weights: WhisperWeights, name: str) -> None:
        self.norm = Norm(weights, f"{name}_ln")
        self.inner, self.outer = (read_product(weights, [f"{name}{part}"]) for part in (1, 2))

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.outer(gelu(self.inner(self.norm(x))))


class WhisperModel:
    """The layers of one checkpoint, ready to run."""

    def __init__(self, weights: WhisperWeights, config: WhisperConfig, *, exact: bool) -> None:
        """Reads them one tensor at a time: each is quantised and evaluated before the next one is read.

        Unless it is to be ``exact``, what is kept of the sound while text is said has 16 bits: for Whisper base that
        are 18 MB for each window of 30 s instead of 37.

        Raises:
            ModelDamaged: a tensor is missing or does not fit.
        """
        self.config = config
        kind = mx.float32 if exact else mx.float16
        self.kernels = [
            (read_array(weights.kernel(f"encoder.{name}.weight")), read_array(weights[f"encoder.{name}.bias"]))
            for name in ("conv1", "conv2")
        ]
        self.places = read_array(weights.places("encoder.positional_embedding", config.places))
        self.text_places = read_array(weights.places("decoder.positional_embedding", config.text_places))
        self.encoder = [
            (SelfAttention(weights, f"{name}.attn", config.heads), FeedForward(weights, f"{name}.mlp"))
            for name in (f"encoder.blocks.{number}" for number in range(config.layers))
        ]
        self.decoder = [
            (
                SelfAttention(weights, f"{name}.attn", config.text_heads),
                CrossAttention(weights, f"{name}.cross_attn", config.text_heads, kind),
                FeedForward(weights, f"{name}.mlp"),
            )
            for name in (f"decoder.blocks.{number}" for number in range(config.text_layers))
        ]
        self.heard, self.said = Norm(weights, "encoder.ln_post"), Norm(weights, "decoder.ln")
        self.table = read_matrix(weights, "decoder.token_embedding.weight")

    def hear(self, mel: Floats) -> mx.array:
        """Gives the states of one window, (1, places, hidden), of its spectrogram (frames, bands), evaluated."""
        x = mx.array(mel[None])
        for stride, (kernel, bias) in enumerate(self.kernels, start=1):
            x = gelu(mx.conv1d(x, kernel, stride=stride, padding=1) + bias)
        x = x + self.places[: x.shape[1]]
        for attention, feed_forward in self.encoder:
            x = feed_forward(attention(x))
        x = self.heard(x)
        mx.eval(x)
        return x

    def begin(self, states: Sequence[mx.array]) -> Speech:
        """Gives a batch of windows, of what ``hear`` made of each."""
        return Speech(self, mx.concatenate(list(states)))


class Speech:
    """A batch of windows that were heard, and what is said of each; see ``whisper_decode.Listener``."""

    def __init__(self, model: WhisperModel, states: mx.array) -> None:
        """``states`` are those of the windows, (rows, places, hidden)."""
        self.model = model
        self.heard = [cross.hear(states) for _, cross, _ in model.decoder]
        self.past: list[Taken] = [[] for _ in model.decoder]
        self.length = 0  # tokens in each row
        mx.eval(self.heard)

    def logits(self, tokens: Ids) -> Floats:
        """Takes the next tokens, (rows, count), and gives what may follow the last of them, (rows, vocabulary)."""
        model, end = self.model, self.length + tokens.shape[1]
        x = rows_of(model.table, mx.array(tokens)) + model.text_places[self.length : end]
        for number, (own, cross, feed_forward) in enumerate(model.decoder):
            x, self.past[number] = own.go_on(x, self.past[number])
            x = feed_forward(cross(x, self.heard[number]))
        self.length = end
        logits = model.table(model.said(x[:, -1]))
        mx.eval(logits, self.past)
        return np.array(logits)

    def keep(self, rows: Sequence[int]) -> None:
        """Forgets the other rows."""
        kept = mx.array(list(rows))
        for layers in (self.heard, self.past):
            layers[:] = [[numbers[kept] for numbers in taken] for taken in layers]
            mx.eval(layers)


def rows_of(table: Matrix, ids: mx.array) -> mx.array:
    """Gives rows of a matrix as float32."""
    if not table.bits:
        return table.parts[0][ids].astype(mx.float32)
    words, *steps = (part[ids] for part in table.parts)
    scales, biases = (part.astype(mx.float32) for part in steps)
    return mx.dequantize(words, scales, biases, table.group, table.bits)
