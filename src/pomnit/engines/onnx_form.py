"""Makes the ONNX form of a published model: a graph, its weights in so many bits, and its tables of embeddings.

This runs once per model, in a process of its own, since only here the package ``onnx`` and its protobuf are needed. It
goes layer by layer, and lets each go before it reads the next, so a model need not fit into memory.

Where products quantise their whole input, the greatest magnitude of each of its channels is measured first, in fp32 on
random tokens: which channels are large is a property of the weights. Each layer is measured with what the one before
made of the tokens.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pomnit.engines.onnx_bert import Bert
from pomnit.engines.onnx_graph import (
    BITS,
    DATA,
    GRAPH,
    INPUT,
    PLACES,
    SECOND,
    STEPS,
    TABLES,
    WORDS,
    Graph,
    Products,
)
from pomnit.engines.onnx_heads import check_head, encoder_head, reads_first_only, reranker_head
from pomnit.engines.onnx_layers import Layers, check_finite
from pomnit.engines.onnx_qwen3 import Qwen3
from pomnit.engines.onnx_silent import onnxruntime
from pomnit.engines.text import (
    Floats,
    PairReader,
    TextConfig,
    find_prefix,
    load_tokenizer,
    read_config,
    read_places,
    read_second,
    window,
)
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.cards import CONFIG, TOKENIZER, EncoderCard, RerankerCard
from pomnit.models.checkpoint import Checkpoint

VERSION = 3  # raise it whenever the same weights give another graph

_LAYERS: dict[str, type[Layers]] = {"bert": Bert, "xlm-roberta": Bert, "qwen3": Qwen3}
_SAMPLES, _SAMPLE_TOKENS = 12, 64  # random tokens on which channels are measured
_ROWS = 4096  # of a table that are in memory at once

Progress = Callable[[int, int], None]  # hears of steps done, and of how many


def check_bits(bits: int) -> None:
    """Raises EngineError where ONNX Runtime has no numbers of so many bits."""
    if bits not in BITS:
        known = ", ".join(map(str, BITS))
        raise EngineError(f"{bits} bits: ONNX Runtime multiplies numbers of {known} bits; 6 are for runtime = mlx")


class Builder:
    """Writes one model, step by step: its tables, its layers, its head."""

    def __init__(self, card: EncoderCard | RerankerCard, source: Path, folder: Path, bits: int, say: Progress) -> None:
        """Opens the published model in ``source``; ``folder`` is to be filled.

        Raises:
            EngineMissing: a file is not here.
            ModelDamaged: the files are not what the card says.
            EngineError: this kind of model, or so many bits, cannot be run.
        """
        check_bits(bits)
        self.card = card
        self.source = source
        self.folder = folder
        self.bits = bits
        self.config = read_config(source, card)
        check_head(self.config, card)
        # whether the tokenizer fits is known before hours of work
        self.answers = (0, 0)
        if isinstance(card, RerankerCard):
            self.answers = PairReader(card, source, self.config).answers
        self.ends = text_ends(source, self.config)
        self.weights = Checkpoint(source)
        self.say = say
        self.done = 0
        self.table = self.weights.table(find_prefix(self.weights, self.config) + self.config.table)
        if self.table.shape != (self.config.words, self.config.hidden):
            raise ModelDamaged(
                f"{source}: a table of {self.table.shape}; its {CONFIG} says {self.config.words, self.config.hidden}"
            )

    def run(self) -> None:
        self.step()
        for name in (CONFIG, TOKENIZER):
            shutil.copyfile(self.source / name, self.folder / name)
        self.write_tables()
        self.step()
        self.write_graph()
        self.step()

    def step(self) -> None:
        """Says how far it is, and lets go of what was read."""
        self.say(self.done, self.config.layers + 2)
        self.done += 1
        self.weights.release()

    def write_tables(self) -> None:
        """Writes the word embeddings, row by row, with those of places and types where the model has any."""
        kind = {8: "I8", 4: "I8", 16: "F16", 32: "F32"}[self.bits]
        more: dict[str, Floats] = {}
        if self.config.places:
            more[PLACES] = read_places(self.weights, self.config, window(self.card))
            if isinstance(self.card, RerankerCard) and self.config.types > 1:
                more[SECOND] = read_second(self.weights, self.config)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {WORDS: (kind, self.table.shape)}
        if kind == "I8":
            shapes[STEPS] = "F32", self.table.shape[:1]
        shapes |= {name: ("F32", value.shape) for name, value in more.items()}
        with (self.folder / TABLES).open("wb") as file:
            file.write(safetensors_header(shapes))
            steps = self.write_words(file, kind)
            if kind == "I8":
                file.write(steps.data)
            for name, value in more.items():
                check_finite(value, f"{self.source}: the table of {name}")
                file.write(np.ascontiguousarray(value).data)

    def write_words(self, file: BinaryIO, kind: str) -> Floats:
        """Gives the step of each row, where rows are written as whole numbers."""
        every = np.zeros(self.table.shape[0], np.float32)
        for start in range(0, len(every), _ROWS):
            rows = self.table.rows(np.arange(start, min(start + _ROWS, len(every))))
            check_finite(rows, f"{self.source}: the table of words, from row {start}")
            if kind == "I8":
                steps = np.maximum(np.abs(rows).max(axis=1) / 127, np.finfo(np.float32).tiny)
                every[start : start + len(rows)] = steps
                rows = np.rint(rows / steps[:, None])
            rows = rows.astype({"I8": np.int8, "F16": np.float16, "F32": np.float32}[kind])
            check_finite(rows, f"{self.source}: the table of words in {self.bits} bits, from row {start},")
            file.write(rows.data)
            self.weights.release()
        return every

    def write_graph(self) -> None:
        with (self.folder / DATA).open("wb") as data:
            graph, products = Graph(data), Products(self.bits)
            layers = self.layers(graph, products)
            # only products of 8 bits that quantise their whole input want to know what comes
            states = self.samples() if self.bits == 8 and layers.outliers else None
            x = layers.begin(INPUT)
            if states is not None:
                states, _ = self.measured(lambda layers: layers.begin(INPUT), states)
            for number in range(self.config.layers):
                if states is not None:
                    states, products.peaks = self.measured(partial(_layer, number=number), states)
                x = layers.layer(x, number)
                self.step()
            outputs = self.head(layers, layers.end(x))
        model = graph.model({INPUT: [1, "tokens", self.config.hidden]}, outputs)
        (self.folder / GRAPH).write_bytes(model)

    def layers(self, graph: Graph, products: Products) -> Layers:
        first_only = reads_first_only(self.card)
        return _LAYERS[self.config.architecture](graph, self.weights, self.config, products, first_only=first_only)

    def head(self, layers: Layers, x: str) -> list[str]:
        if isinstance(self.card, EncoderCard):
            return encoder_head(layers, x, self.card)
        return reranker_head(layers, x, self.card, self.answers)

    def samples(self) -> Floats:
        """Gives embedded random tokens between those that stand before and after every text: often these carry the
        largest channels. Shape (samples, tokens, hidden).
        """
        tokens = min(_SAMPLE_TOKENS, window(self.card))
        ids = np.random.default_rng(0).integers(0, self.config.words, (_SAMPLES, tokens))
        ids[:, [0, -1]] = self.ends
        words = self.table.rows(ids.ravel()).reshape(_SAMPLES, tokens, -1)
        return words + read_places(self.weights, self.config, tokens)

    def measured(self, write: Callable[[Layers], str], states: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Gives what one step makes of ``states`` in fp32, and the greatest magnitude of each channel that each of its
        products reads.
        """
        graph, products = Graph(), Products(32)
        result = write(self.layers(graph, products))
        read = sorted({*products.read.values()} - {INPUT})
        model = graph.model({INPUT: ["texts", "tokens", self.config.hidden]}, [result, *read])
        session = onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
        found = dict(zip([result, *read], session.run(None, {INPUT: states}), strict=True)) | {INPUT: states}
        return found[result], {name: np.abs(found[x]).max(axis=(0, 1)) for name, x in products.read.items()}


def _layer(layers: Layers, *, number: int) -> str:
    return layers.layer(INPUT, number)


def text_ends(folder: Path, config: TextConfig) -> tuple[int, int]:
    """Gives the first and the last token of every text."""
    ids = load_tokenizer(folder, config).encode("").ids or [0]
    return ids[0], ids[-1]


def safetensors_header(shapes: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Gives what stands before the numbers, for tensors of these types and shapes that follow in this order."""
    header, end = {}, 0
    for name, (kind, shape) in shapes.items():
        start, end = end, end + math.prod(shape) * {"I8": 1, "F16": 2, "F32": 4}[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
