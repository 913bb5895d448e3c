"""What both runtimes of the text models share: their numbers, their places, tokens, windows and pairs, and pooling.

Everything here runs in NumPy and ``tokenizers``; the layers are in ``onnx_bert``, ``onnx_qwen3`` and their twins in
MLX.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pomnit.engines.protocols import Terms
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import CONFIG, TOKENIZER, Architecture, EncoderCard, RerankerCard, TextCard
from pomnit.models.checkpoint import Checkpoint

OVERLAP = 32  # tokens that two neighbouring windows of a long text share
LONGEST_WINDOW = 512  # tokens an encoder reads at once: attention costs their square, and a passage has about 200
LONGEST_PAIR = 1024  # a reranker cuts what is longer, so it reads more; some are prompted with a hundred tokens
YES, NO = "yes", "no"  # the answers of a yes-no model, each one token

_FIXED: dict[str, dict[str, Any]] = {  # what the layers take for granted, where config.json says anything about it
    "bert": {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False},
    "xlm-roberta": {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False},
    "qwen3": {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False, "rope_scaling": None},
}
_SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "[CLS]", "[SEP]", "[PAD]", "[UNK]")
_END = "<|endoftext|>"  # what Qwen3-Embedding is pooled at

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The numbers of config.json that the layers need; those that an architecture lacks are 0."""

    architecture: Architecture
    words: int  # rows of the table of word embeddings
    hidden: int
    layers: int
    heads: int
    eps: float  # of the norms
    places: int = 0  # rows of the table of places that a text may use
    first_place: int = 0  # the row of a text's first token: XLM-RoBERTa leaves out those up to its padding's
    types: int = 0  # 2 when the second text of a pair has an embedding of its own
    key_heads: int = 0  # of Qwen3, fewer than ``heads``
    head_size: int = 0
    theta: float = 0.0  # of rotary places

    @property
    def table(self) -> str:
        """The name of the word embeddings, behind the checkpoint's prefix."""
        return "embed_tokens.weight" if self.architecture == "qwen3" else "embeddings.word_embeddings.weight"


def read_config(folder: Path, card: TextCard) -> TextConfig:
    """Gives the numbers of config.json, after checking that they fit the card.

    Raises:
        EngineMissing: there is no config.json.
        ModelDamaged: it cannot be read, or does not fit the card.
        EngineError: it describes a model that cannot be run; the message names those that can.
    """
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise EngineMissing(f"{path}: no such file; type: pomnit models pull {card.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path}: not a configuration ({error}); type: pomnit models pull {card.name}") from None
    kind = found.get("model_type") if isinstance(found, dict) else None
    if not isinstance(kind, str) or kind not in _FIXED:
        raise EngineError(f"{path}: model_type is {kind!r}; known are {', '.join(get_args(Architecture))}")
    if kind != card.architecture:
        raise ModelDamaged(f"{path}: model_type is {kind!r}, the card of {card.name} says {card.architecture!r}")
    for key, value in _FIXED[kind].items():
        if (found.get(key) or value) != value:
            raise EngineError(f"{path}: {key} is {found[key]!r}; only {value!r} can be run")
    try:
        config = _numbers(card.architecture, found)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ModelDamaged(f"{path}: not the configuration of a {kind} model ({error!r})") from None
    _check_card(config, card, path)
    return config


def _numbers(kind: Architecture, found: dict[str, Any]) -> TextConfig:
    common: dict[str, Any] = {
        "architecture": kind,
        "words": int(found["vocab_size"]),
        "hidden": int(found["hidden_size"]),
        "layers": int(found["num_hidden_layers"]),
        "heads": int(found["num_attention_heads"]),
    }
    if kind == "qwen3":
        rope = found.get("rope_parameters") or found  # newer files have a record of it
        if rope.get("rope_type", "default") != "default":
            raise EngineError(f"{found['model_type']}: rope_type is {rope['rope_type']!r}; only 'default' can be run")
        return TextConfig(
            **common,
            eps=float(found["rms_norm_eps"]),
            key_heads=int(found["num_key_value_heads"]),
            head_size=int(found.get("head_dim") or common["hidden"] // common["heads"]),
            theta=float(rope["rope_theta"]),
        )
    first = int(found.get("pad_token_id", 1)) + 1 if kind == "xlm-roberta" else 0
    return TextConfig(
        **common,
        eps=float(found["layer_norm_eps"]),
        places=int(found["max_position_embeddings"]) - first,
        first_place=first,
        types=int(found["type_vocab_size"]),
    )


def _check_card(config: TextConfig, card: TextCard, path: Path) -> None:
    sizes = (config.words, config.hidden, config.layers, config.heads, config.types or config.key_heads)
    if min(sizes) < 1 or (not config.head_size and config.hidden % config.heads):
        raise ModelDamaged(f"{path}: {config.hidden} numbers a token, {config.heads} heads, {config.layers} layers")
    if isinstance(card, EncoderCard) and card.dimensions > config.hidden:
        raise ModelDamaged(f"{path}: {config.hidden} dimensions; the card of {card.name} says {card.dimensions}")
    if config.places and config.places < card.max_tokens:
        raise ModelDamaged(f"{path}: {config.places} places; the card of {card.name} says {card.max_tokens} tokens")


def window(card: TextCard) -> int:
    """Gives how many tokens a model reads at once."""
    return min(card.max_tokens, LONGEST_PAIR if isinstance(card, RerankerCard) else LONGEST_WINDOW)


def find_prefix(weights: Checkpoint, config: TextConfig) -> str:
    """Gives what stands before the names of the layers: "" or "bert.", "roberta.", "model.".

    Raises:
        ModelDamaged: there is no table of word embeddings.
    """
    for name in weights:
        if name == config.table or name.endswith(f".{config.table}"):
            return name.removesuffix(config.table)
    raise ModelDamaged(f"{weights.path}: it holds no tensor {config.table!r}, with or without a prefix")


def read_places(weights: Checkpoint, config: TextConfig, tokens: int) -> Floats:
    """Gives the sum of the place and type embeddings of the first ``tokens`` tokens, shape (tokens, hidden)."""
    at = find_prefix(weights, config) + "embeddings."
    places = weights[f"{at}position_embeddings.weight"][config.first_place : config.first_place + tokens]
    summed: Floats = places + weights[f"{at}token_type_embeddings.weight"][0]
    return summed


def read_second(weights: Checkpoint, config: TextConfig) -> Floats:
    """Gives what tokens of a pair's second text have more than ``read_places`` says, shape (hidden,)."""
    types = weights[f"{find_prefix(weights, config)}embeddings.token_type_embeddings.weight"]
    more: Floats = types[1] - types[0]
    return more


class TextReader:
    """Cuts texts into windows of tokens, as the card of an encoder says. It may be used by several threads at once."""

    def __init__(self, card: EncoderCard, folder: Path, config: TextConfig) -> None:
        """Loads the tokenizer in ``folder``.

        Raises:
            EngineMissing: the package or the file is not here.
            ModelDamaged: the file is not a tokenizer, or one of another model.
        """
        self.window = window(card)
        self._tokenizer = load_tokenizer(folder, config)
        if card.pooling == "last":
            _end_texts(self._tokenizer)
        self._tokenizer.enable_truncation(self.window, stride=min(OVERLAP, self.window // 4))
        ids = (self._tokenizer.token_to_id(token) for token in _SPECIAL)
        self.special = frozenset(n for n in ids if n is not None)

    def windows(self, text: str) -> list[list[int]]:
        """Gives the ids of a text's tokens, in one window or in several that overlap."""
        found = _encoded(self._tokenizer, text)
        return [found.ids, *(part.ids for part in found.overflowing)]

    def terms(self, read: Sequence[Sequence[int]], weights: Sequence[Floats]) -> Terms:
        """Gives the greatest weight of each token in a text's windows; special tokens tell nothing (FlagEmbedding)."""
        ids = np.concatenate([np.asarray(window) for window in read])
        found: Terms = {}
        for token, weight in zip(ids.tolist(), np.concatenate(list(weights)).tolist(), strict=True):
            if weight > found.get(token, 0.0) and token not in self.special:
                found[token] = weight
        return found


class PairReader:
    """Makes the tokens of a question and a passage, as the card of a reranker says; what is too long is cut.

    It may be used by several threads at once.
    """

    def __init__(self, card: RerankerCard, folder: Path, config: TextConfig) -> None:
        """Loads the tokenizer in ``folder``.

        Raises:
            EngineMissing: the package or the file is not here.
            ModelDamaged: the file is not a tokenizer, or one of another model.
        """
        self.window = window(card)
        self.answers = (0, 0)  # the numbers of "yes" and "no"
        self._types = config.types
        self._tokenizer = load_tokenizer(folder, config)
        self._head: list[int] = []
        self._tail: list[int] = []
        self._prompted = card.head == "yes-no"
        if self._prompted:
            self._read_template(card.template, folder)
        added = len(self._head) + len(self._tail) or self._tokenizer.num_special_tokens_to_add(is_pair=True)
        self._room = self.window - added  # for both texts

    def _read_template(self, template: str, folder: Path) -> None:
        """Splits the template at the special tokens around the two texts.

        Between them stands what was captured, and there no special token is read as one: a passage that spells the
        end of its own turn could otherwise answer for the model.
        """
        before, _, after = template.partition("{query}")
        between, _, tail = after.partition("{document}")
        marks = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        start = max((before.rfind(mark) + len(mark) for mark in marks if mark in before), default=0)
        self._head, self._tail = (_encoded(self._tokenizer, part, special=False).ids for part in (before[:start], tail))
        self._before, self._between = before[start:], between
        ids = [self._tokenizer.token_to_id(answer) for answer in (YES, NO)]
        if None in ids:
            raise ModelDamaged(f"{folder / TOKENIZER}: {YES!r} or {NO!r} is not one token of it")
        self.answers = (ids[0], ids[1])
        self._tokenizer.encode_special_tokens = True

    def pair(self, query: str, text: str) -> tuple[list[int], int]:
        """Gives the ids of both, and where the tokens of the second type begin (their count where there are none)."""
        query_read = _encoded(self._tokenizer, query, special=False)
        most = 2 * self._room // 3  # the rest is left to the text
        if self._prompted:
            if len(query_read.ids) > most:
                query = query[: query_read.offsets[most - 1][1]]
            inner = _encoded(self._tokenizer, self._before + query + self._between + text, special=False).ids
            ids = [*self._head, *inner[: self._room], *self._tail]
            return ids, len(ids)
        query_read.truncate(most)
        text_read = _encoded(self._tokenizer, text, special=False)
        text_read.truncate(self._room - len(query_read.ids))
        found = self._tokenizer.post_process(query_read, text_read)
        second = found.type_ids.index(1) if self._types > 1 and 1 in found.type_ids else len(found.ids)
        return found.ids, second


def load_tokenizer(folder: Path, config: TextConfig) -> Any:
    """Gives the tokenizer in ``folder``, which pads and cuts nothing, whatever its file says.

    Raises:
        EngineMissing: the package or the file is not here.
        ModelDamaged: the file is not a tokenizer, or one of another model.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineMissing(f"{error}; type: pip install tokenizers") from None
    path = folder / TOKENIZER
    if not path.is_file():
        raise EngineMissing(f"{path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelDamaged(f"{path}: {error}") from error
    if tokenizer.get_vocab_size() > config.words:
        raise ModelDamaged(f"{path}: {tokenizer.get_vocab_size()} tokens, but the model has words for {config.words}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _end_texts(tokenizer: Any) -> None:
    """Lets every window end with the token whose state is the text's, where the file does not say so itself."""
    from tokenizers import processors

    end = tokenizer.token_to_id(_END)
    if end is not None and tokenizer.encode("").ids[-1:] != [end]:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {_END}", special_tokens=[(_END, end)])


def _encoded(tokenizer: Any, *texts: str, special: bool = True) -> Any:
    try:
        return tokenizer.encode(*texts, add_special_tokens=special)
    except (TypeError, UnicodeError):  # half of a surrogate pair, which file names and bad decoders leave
        whole = (text.encode("utf-8", "replace").decode() for text in texts)
        return tokenizer.encode(*whole, add_special_tokens=special)


def average(states: Sequence[Floats], read: Sequence[Sequence[int]]) -> Floats:
    """Gives the mean of the states of a text's windows, each weighted by its tokens; shape (dimensions,)."""
    if len(states) == 1:
        return states[0]
    mean: Floats = np.average(states, axis=0, weights=[len(window) for window in read])
    return mean


def unit(rows: Floats, name: str) -> Floats:
    """Gives the rows, in place, divided by their lengths.

    Raises:
        EngineError: a row is not a vector: it holds NaN or infinity, or only zeros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    good = np.isfinite(lengths) & (lengths > 0)
    if not np.all(good):
        raise EngineError(f"{name}: row {int(np.argmin(good))} is not a vector")
    rows /= lengths
    return rows


def scores(logits: Iterable[float], name: str) -> Floats:
    """Gives the logistic of each logit, float32 from 0 to 1.

    Raises:
        EngineError: one of them is not a number.
    """
    found = np.fromiter(logits, np.float64)
    if not np.isfinite(found).all():
        raise EngineError(f"{name}: text {int(np.argmin(np.isfinite(found)))} has no score")
    logistic: Floats = (1 / (1 + np.exp(-found.clip(-80, 80)))).astype(np.float32)
    return logistic
