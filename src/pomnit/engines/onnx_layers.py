"""What the layers of all architectures have in common when they are written as ONNX nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pomnit.engines.onnx_graph import Graph, Products
from pomnit.engines.text import Floats, TextConfig, find_prefix
from pomnit.errors import ModelDamaged
from pomnit.models.checkpoint import Checkpoint


class Layers(ABC):
    """Writes the layers of one checkpoint into a graph, from float32 [1, tokens, hidden] to the same shape.

    ``outliers`` says where an architecture has numbers far larger than the rest. In the same few channels for all
    tokens: then these can be split, and a whole input quantised at once. Else its products must be quantised in blocks.
    ``first_only`` says that of the last layer's states only the first token's is read: the rest need not be computed.
    """

    outliers: bool

    def __init__(
        self, graph: Graph, weights: Checkpoint, config: TextConfig, products: Products, *, first_only: bool
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.config = config
        self.products = products
        self.first_only = first_only
        self.prefix = find_prefix(weights, config)

    @abstractmethod
    def begin(self, x: str) -> str:
        """Writes what stands between the embeddings and the first layer."""

    @abstractmethod
    def layer(self, x: str, number: int) -> str:
        """Writes a layer."""

    @abstractmethod
    def end(self, x: str) -> str:
        """Writes what follows the last layer."""

    def linear(self, x: str, *names: str) -> str:
        """Multiplies by the joined weights of ``names`` and adds their joined biases, where there are any."""
        weight = self.joined(*(f"{name}.weight" for name in names))
        biased = f"{self.prefix}{names[0]}.bias" in self.weights
        bias = self.joined(*(f"{name}.bias" for name in names)) if biased else None
        return self.products.add(self.graph, x, names[0], weight, bias)

    def joined(self, *names: str) -> Floats:
        parts = [self.tensor(name) for name in names]
        if len({part.shape[1:] for part in parts}) > 1:
            raise ModelDamaged(f"{self.weights.path}: {', '.join(names)} do not fit together")
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def tensor(self, name: str) -> Floats:
        """Gives a tensor by its name without the prefix."""
        return sound(self.weights, self.prefix + name)


def sound(weights: Checkpoint, name: str) -> Floats:
    """Gives a tensor all of whose numbers are finite.

    Raises:
        ModelDamaged: there is no such tensor, or it holds NaN or infinity.
    """
    found = weights[name]
    check_finite(found, f"{weights.path}: tensor {name!r}")
    return found


def check_finite(values: Floats, what: str) -> None:
    """Raises ModelDamaged where a number is none; NaN is both the least and the greatest number."""
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ModelDamaged(f"{what} holds NaN or infinite numbers")
