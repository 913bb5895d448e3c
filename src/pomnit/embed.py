"""Vectors for the stages of ingest: passages through the encoder, none held up by another that it fails on."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomnit.engines.protocols import Terms
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.governor.spaces import Encoding
from pomnit.store import Store
from pomnit.store.items import StoredPassage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXTS_AT_ONCE = 64  # passages that an encoder gets together: a person's question waits no longer,
BYTES_OF_A_TEXT = 2_000_000  # and what one of them takes meanwhile, at most


@dataclass(frozen=True, slots=True)
class Embedded:
    """What an encoder made of passages."""

    passages: list[StoredPassage]
    vectors: NDArray[np.float32]  # (n, dimensions)
    terms: list[Terms] | None  # of an encoder that weighs tokens


def without_vector(store: Store, encoding: Encoding, rows: list[int]) -> list[int]:
    """Gives the passages that have no vector yet: a new space may have got them while their tasks waited."""
    return rows if encoding.space is None else store.vectors.missing(encoding.space.id, rows)


def embedded_or_why(
    governor: Governor, encoding: Encoding, passages: Iterable[StoredPassage]
) -> tuple[list[Embedded], dict[int, str]]:
    """Gives the vectors of those passages that the encoder knows, and the items that it fails on, with the reasons.

    Where it fails on some together, each item has a try alone, so that none suffers for another.

    Raises:
        EngineError: the encoder cannot be had, or fails on whatever it gets.
    """
    embedded: list[Embedded] = []
    reasons: dict[int, str] = {}
    known = [p for p in passages if p.record.text and p.record.lang in encoding.card.languages]
    while known:
        some = known[: governor.batch(TEXTS_AT_ONCE, BYTES_OF_A_TEXT)]
        known = known[len(some) :]
        try:
            embedded.append(_embed(governor, encoding, some))
        except _Failed:
            alone = _embed_alone(governor, encoding, some, reasons)
            if not alone:
                _refuse_broken(governor, encoding)
            embedded += alone
    return embedded, reasons


def _embed_alone(
    governor: Governor, encoding: Encoding, passages: Iterable[StoredPassage], reasons: dict[int, str]
) -> list[Embedded]:
    """Gives the vectors of passages, those of each item alone; adds to ``reasons`` why it failed on some."""
    of_items: dict[int, list[StoredPassage]] = {}
    for passage in passages:
        of_items.setdefault(passage.item_row, []).append(passage)
    embedded = []
    for item, its_passages in of_items.items():
        try:
            embedded.append(_embed(governor, encoding, its_passages))
        except _Failed as error:
            reasons[item] = str(error)
    return embedded


def _refuse_broken(governor: Governor, encoding: Encoding) -> None:
    """Tells an encoder that fails on everything from one that fails on some texts.

    Raises:
        EngineError: it fails on a plain word.
    """
    try:
        _encode(governor, encoding, ["word"])
    except _Failed as error:
        raise EngineError(str(error)) from error


class _Failed(Exception):
    """An encoder failed on texts, with the reason. It may do well on others."""


def _embed(governor: Governor, encoding: Encoding, passages: list[StoredPassage]) -> Embedded:
    """Gives the vectors of passages.

    Raises:
        EngineError: the encoder cannot be had.
        _Failed: it failed on these.
    """
    return Embedded(passages, *_encode(governor, encoding, [p.record.text for p in passages]))


def _encode(governor: Governor, encoding: Encoding, texts: list[str]) -> tuple[NDArray[np.float32], list[Terms] | None]:
    """Gives the vectors of texts, and the weights of their tokens where the encoder weighs them. Raises as _embed."""
    encoding.check()
    with governor.encoder(encoding.variant) as encoder:
        try:
            return encoder.encode_terms(texts) if encoding.card.sparse else (encoder.encode(texts), None)
        except (EngineMissing, ModelDamaged):  # it was to be loaded anew
            raise
        except EngineError as error:
            raise _Failed(str(error)) from error


def store_vectors(store: Store, encoding: Encoding, embedded: Iterable[Embedded], items: Container[int]) -> set[int]:
    """Stores what was made of the passages of these items, which are still there.

    Gives the items with a passage that got another text meanwhile: a vector of what was masked would tell of it.
    """
    changed: set[int] = set()
    for some in embedded:
        texts = {p.row: p.record.text for p in store.items.passages([p.row for p in some.passages])}
        kept = []
        for i, p in enumerate(some.passages):
            if p.item_row in items and texts.get(p.row) == p.record.text:
                kept.append(i)
            elif p.item_row in items:
                changed.add(p.item_row)
        rows = [some.passages[i].row for i in kept]
        space = spaces.made(store, encoding).id
        store.vectors.put(space, rows, some.vectors[kept])
        if some.terms is not None:
            store.terms.put(space, rows, [some.terms[i] for i in kept])
    return changed
