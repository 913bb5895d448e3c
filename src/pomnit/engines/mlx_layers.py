"""What the layers of all architectures have in common in MLX."""

from __future__ import annotations

from abc import ABC, abstractmethod

import mlx.core as mx

from pomnit.engines.mlx_products import Product, read_array, read_product
from pomnit.engines.mlx_weights import MlxWeights
from pomnit.engines.text import TextConfig, find_prefix


class Layers(ABC):
    """The layers of one checkpoint, from float32 [1, tokens, hidden] to the same shape."""

    def __init__(self, weights: MlxWeights, config: TextConfig) -> None:
        """Reads them one tensor at a time: each is quantised and evaluated before the next one is read.

        Raises:
            ModelDamaged: a tensor is missing or does not fit.
        """
        self.weights = weights
        self.config = config
        self.prefix = find_prefix(weights, config)
        self._products: dict[str, Product] = {}
        self._tensors: dict[str, mx.array] = {}
        mx.eval(self(mx.zeros((1, 1, config.hidden))))  # every weight is read where a token first meets it

    def __call__(self, x: mx.array) -> mx.array:
        """Gives the states of tokens, of what they are embedded as; not evaluated."""
        x = self.begin(x)
        for number in range(self.config.layers):
            x = self.layer(x, number)
        return self.end(x)

    @abstractmethod
    def begin(self, x: mx.array) -> mx.array:
        """What stands between the embeddings and the first layer."""

    @abstractmethod
    def layer(self, x: mx.array, number: int) -> mx.array:
        """A layer."""

    @abstractmethod
    def end(self, x: mx.array) -> mx.array:
        """What follows the last layer."""

    def linear(self, x: mx.array, *names: str) -> mx.array:
        """Multiplies by the joined weights of ``names`` and adds their joined biases, where there are any."""
        if names[0] not in self._products:
            self._products[names[0]] = read_product(self.weights, [self.prefix + name for name in names])
        return self._products[names[0]](x)

    def tensor(self, name: str) -> mx.array:
        """Gives a tensor by its name without the prefix."""
        if name not in self._tensors:
            self._tensors[name] = read_array(self.weights[self.prefix + name])
        return self._tensors[name]


def split_heads(x: mx.array, heads: int) -> mx.array:
    """Gives shape (1, heads, tokens, size) of shape (1, tokens, heads * size)."""
    return mx.unflatten(x, 2, (heads, -1)).transpose(0, 2, 1, 3)


def join_heads(x: mx.array) -> mx.array:
    """Gives shape (1, tokens, heads * size) of shape (1, heads, tokens, size)."""
    return mx.flatten(x.transpose(0, 2, 1, 3), 2)
