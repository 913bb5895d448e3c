"""Which models suit a machine, by its profile and by the languages of what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pomnit.governor.budget import Budget, Profile, detect
from pomnit.governor.choose import Chooser
from pomnit.governor.estimate import resident
from pomnit.governor.machine import machine
from pomnit.models import hub
from pomnit.models.cards import ENCODERS, RERANKERS, EncoderCard, Runtime, Variant
from pomnit.settings import Settings

_ENOUGH_RUSSIAN = 0.1  # of the passages; all-MiniLM-L6-v2 finds one Russian passage in nine
_MOST = 0.6  # of the budget's room, for an encoder: what answers questions needs some beside it


@dataclass(frozen=True, slots=True)
class Advice:
    """The models that suit a machine, and why."""

    encoder: str
    reranker: str | None
    reason: str


def advise(profile: Profile, passages: Mapping[str, int]) -> Advice:
    """Gives the models for machines of one size; ``passages`` counts what is remembered by language."""
    if profile.encoder == profile.encoder_russian:
        names = [name for name in (profile.encoder, profile.reranker) if name]
        return Advice(profile.encoder, profile.reranker, f"profile {profile.name}: room for {' and '.join(names)}")
    share = russian_share(passages)
    if share >= _ENOUGH_RUSSIAN:
        reason = f"profile {profile.name}, and {share:.0%} of the passages are Russian"
        return Advice(profile.encoder_russian, profile.reranker, reason)
    return Advice(profile.encoder, profile.reranker, f"profile {profile.name}, and hardly any passage is Russian")


def russian_share(passages: Mapping[str, int]) -> float:
    """Gives which part of the passages is Russian, 0 to 1."""
    total = sum(passages.values())
    return passages.get("ru", 0) / total if total else 0.0


def better(
    advice: Advice, encoder: Variant, reranker: str | None, budget: Budget, passages: Mapping[str, int]
) -> str | None:
    """Gives the name of the model that would serve better than what is in use; None when nothing advised would.

    Someone who chose more than is advised, and has the room, is left in peace.
    """
    advised, card = ENCODERS[advice.encoder], encoder.card
    blind = "ru" not in card.languages and russian_share(passages) >= _ENOUGH_RUSSIAN
    heavy = resident(encoder) > _MOST * budget.room
    if card.name != advised.name and (blind or heavy or card.parameters < advised.parameters):
        return advised.name
    return advice.reranker if reranker is None else None


def hint(settings: Settings, encoder: EncoderCard, reranker: str | None, passages: Mapping[str, int]) -> str | None:
    """Says which model would serve better than what is in use, why, and what to type; None when none would.

    Raises:
        UsageError: the settings ask for a budget that cannot be kept here.
    """
    chooser, budget = Chooser(settings), detect(machine(), settings.profile, settings.budget)
    advice = advise(budget.profile, passages)
    name = better(advice, chooser.variant(encoder), reranker, budget, passages)
    if name is None:
        return None
    variant = chooser.variant(ENCODERS[name] if name in ENCODERS else RERANKERS[name])
    runtime: Runtime = "mlx" if variant.runtime == "mlx" else "onnx"
    here = hub.state(variant.card, settings.models, settings.cache, runtime=runtime, bits=variant.bits).state == "ready"
    return f"{name} would serve better here ({advice.reason}); type: pomnit models {'use' if here else 'pull'} {name}"
