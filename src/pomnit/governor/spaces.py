"""Which space is searched, which one a memory wants instead, and how that is changed.

What a memory embeds with is its own choice, kept in its database; the runtime, and the bits where it names none, come
from the settings and the machine. So the wanted space changes by ``use``, by a setting, or by moving a memory to
another machine. Each time it is filled beside the current one, which is searched meanwhile, with its own encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pomnit.errors import EngineError, NotFound, UsageError
from pomnit.governor.choose import Chooser
from pomnit.models.cards import ENCODERS, RERANKERS, EncoderCard, RerankerCard, Runtime, Variant
from pomnit.records import SpaceView
from pomnit.settings import BITS

if TYPE_CHECKING:
    from pomnit.store import Store
    from pomnit.store.spaces import Space


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoder as it is run, and the space of its vectors: None before the first of them."""

    card: EncoderCard
    variant: Variant
    space: Space | None

    @property
    def name(self) -> str:
        """Gives how a person would name it."""
        return self.variant.name

    def check(self) -> None:
        """Refuses an encoder whose vectors do not fit those that its space has.

        Raises:
            ModelDamaged.
        """
        if self.space is not None:
            self.space.refuse_other_width(self.card.dimensions)


def wanted(store: Store, governor: Chooser) -> Encoding:
    """Gives what this memory shall embed with: what ``use`` chose, else the default."""
    name, bits = store.spaces.encoder() or ("", None)
    # A name that this program does not know was handed in by another one, or comes from a newer Pomnit.
    card = governor.encoder_card(name) or governor.default
    return _encoding(store, card, governor.variant(card, bits if card.name == name else None))


def searched(store: Store, governor: Chooser) -> Encoding:
    """Gives what is searched: the current space, or the wanted one before any is current."""
    space = store.spaces.current()
    card = governor.encoder_card(space.card) if space is not None else None
    if space is None or card is None:
        return wanted(store, governor)
    return Encoding(card, _variant(card, space.precision), space)


def filling(store: Store, governor: Chooser) -> Encoding | None:
    """Gives the encoding that is to become the current one, None when it is already."""
    new, current = wanted(store, governor), store.spaces.current()
    return None if current is not None and new.space is not None and new.space.id == current.id else new


def how_far(store: Store, governor: Chooser) -> str | None:
    """Says how far the space is that is being filled while another one is searched; None when there is none."""
    new, current = filling(store, governor), searched(store, governor)
    if new is None or new.variant == current.variant:
        return None
    done, total = progress(store, new)
    return f"{new.name} is being made: {done:,} of {total:,} passages; {current.name} is searched meanwhile"


def progress(store: Store, encoding: Encoding) -> tuple[int, int]:
    """Gives how many passages have a vector, and how many shall have one."""
    return encoding.space.vectors if encoding.space else 0, store.vectors.to_embed(encoding.card.languages)


def made(store: Store, encoding: Encoding) -> Space:
    """Gives the space of an encoding, made when it is new. Inside a transaction.

    Raises:
        ModelDamaged: there is such a space, of vectors of another width.
    """
    return store.spaces.make(encoding.card.name, encoding.variant.precision, encoding.card.dimensions)


def views(store: Store, governor: Chooser) -> tuple[SpaceView, ...]:
    """Gives the spaces that lie side by side, the oldest first."""
    current, new = store.spaces.current(), filling(store, governor)
    found = []
    for space in store.spaces.all():
        card = governor.encoder_card(space.card)
        is_new = new is not None and space == new.space
        found.append(
            SpaceView(
                card=space.card,
                precision=space.precision,
                dimensions=space.dimensions,
                vectors=space.vectors,
                passages=store.vectors.to_embed(card.languages) if card else space.vectors,
                state="current" if space == current else "filling" if is_new else "kept",
                bytes=store.vectors.size(space.id),
                reason=_why_not(governor, new) if new is not None and is_new else None,
            )
        )
    return tuple(found)


def _why_not(governor: Chooser, encoding: Encoding) -> str | None:
    """Gives why an encoder cannot be run here, None when it can."""
    try:
        encoding.check()
        governor.check(encoding.variant)
    except EngineError as error:
        return str(error)
    return None


def use(store: Store, governor: Chooser, name: str, bits: int | None) -> Literal["embed", "rerank"]:
    """Keeps that a memory shall use a model from now on; gives the model's job.

    Raises:
        NotFound: no such model is known.
        UsageError: bits that do not fit.
        EngineMissing, ModelDamaged: the model cannot be run here, with what to do next.
    """
    card = governor.encoder_card(name) or governor.reranker_card(name)
    if card is None:
        known = f"encoders: {', '.join(ENCODERS)}; rerankers: {', '.join(RERANKERS)}"
        raise NotFound(f"there is no encoder or reranker {name}; {known}")
    variant = governor.variant(card, bits)
    _refuse_bits(variant, bits)
    governor.check(variant)
    with store.transaction():
        if isinstance(card, RerankerCard):
            store.spaces.want_reranker(name)
            return "rerank"
        store.spaces.want_encoder(name, bits)
        made(store, wanted(store, governor))
    return "embed"


def _refuse_bits(variant: Variant, bits: int | None) -> None:
    """Refuses bits that would have no effect.

    Raises:
        UsageError.
    """
    if bits is None:
        return
    if bits not in BITS:
        raise UsageError(f"bits = {bits} is not one of {', '.join(map(str, BITS))}")
    if isinstance(variant.card, RerankerCard) or bits != variant.bits:
        raise UsageError(f"{variant.card.name} runs with {variant.card.bits} bits only; give no bits")


def drop(store: Store, governor: Chooser, name: str) -> int:
    """Takes a reranker out of use, or the spaces of a name away that are not searched; gives how many vectors went.

    Inside a transaction.

    Raises:
        NotFound: there is nothing of this name.
        UsageError: there is only the space that is searched.
    """
    if reranker := store.spaces.reranker() == name:
        store.spaces.want_reranker(None)
    found = [space for space in store.spaces.all() if name in (space.card, space.name)]
    if not found and not reranker:
        raise NotFound(f"{name} is not in use, and there are no vectors of it; `pomnit models` shows what is")
    used = searched(store, governor)
    # Vectors that do not fit their encoder are of no use to any search.
    dropped = [s for s in found if s != used.space or s.dimensions != used.card.dimensions]
    if found and not dropped:
        raise UsageError(f"{found[0].name} is what is searched; use another encoder first: pomnit models use NAME")
    if used.space not in dropped:
        _stop_filling(store, governor, dropped, used)
    return sum(store.drop_space(space) for space in dropped)


def _stop_filling(store: Store, governor: Chooser, dropped: list[Space], used: Encoding) -> None:
    """Lets the encoder in use be the wanted one, when the space that was to become the current one is dropped.

    Raises:
        UsageError: the settings of this machine want it.
    """
    new = wanted(store, governor)
    if new.space not in dropped:
        return
    store.spaces.want_encoder(used.card.name, used.variant.bits)
    if wanted(store, governor).variant == new.variant:
        raise UsageError(f"{new.name} is being made because this machine or the setting runtime asks for it")


def _encoding(store: Store, card: EncoderCard, variant: Variant) -> Encoding:
    return Encoding(card, variant, store.spaces.find(card.name, variant.precision))


def _variant(card: EncoderCard, precision: str) -> Variant:
    """Gives the variant that a space of a card was made by."""
    runtime, _, bits = precision.partition("-")
    if runtime in get_args(Runtime):
        return Variant(card, "mlx" if runtime == "mlx" else "onnx", int(bits))
    return Variant(card, "given", int(bits))
