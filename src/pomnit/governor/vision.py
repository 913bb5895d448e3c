"""Models that answer and look at pictures: which one serves here, how it is made, and why it cannot be.

It is the profile's; else the largest that is here and smaller, else the smallest. One that was measured to take more
than there is room for steps back for the next.
"""

from __future__ import annotations

import importlib.util
import platform

from pomnit.errors import EngineMissing
from pomnit.governor import measured
from pomnit.governor.budget import detect
from pomnit.governor.machine import machine
from pomnit.governor.plans import Plan
from pomnit.models.cards import VISION, VisionCard
from pomnit.settings import Settings

RUNTIME = "mlx-vlm (GPU)"


def card_here(settings: Settings) -> VisionCard | None:
    """Gives the model that answers questions when none is named; None when none is here or can be run here.

    Raises:
        UsageError: the settings ask for a budget that cannot be kept here.
    """
    from pomnit.models import hub

    if why_not():
        return None
    budget, figures = detect(machine(), settings.profile, settings.budget), measured.read(settings)
    most = VISION[budget.profile.vision].parameters
    here = [
        card
        for card in sorted(VISION.values(), key=lambda card: (card.parameters <= most, card.parameters), reverse=True)
        if hub.state(card, settings.models, settings.cache, runtime=None, bits=card.bits).state == "ready"
    ]
    fitting = (card for card in here if figures.get(plan(settings, card).key, 0) <= budget.room)
    return next(fitting, here[-1] if here else None)


def plan(settings: Settings, card: VisionCard) -> Plan:
    """Gives how a model that answers is made, and how much it may look at.

    Raises:
        EngineMissing, ModelDamaged: it cannot be run here, or its files are not here; with what to do next.
    """
    from pomnit.models import hub

    if why := why_not():
        raise EngineMissing(f"{card.name}: {why}; set answer_url to a server, or answerer = extractive")
    files = hub.published(card, settings.models, settings.cache)
    profile = detect(machine(), settings.profile, settings.budget).profile
    return Plan(
        job="answer",
        name=name_of(card),
        kind="mlx-vlm",
        threads=1,
        folder=files.folder,
        card=card,
        bits=card.bits,
        digest=files.digest,
        tokens=profile.answer_tokens,
        pixels=profile.picture_pixels,
        side=profile.picture_side,
    )


def name_of(card: VisionCard) -> str:
    """Gives what an engine of this card is called."""
    return f"{card.name} mlx-{card.bits}"


def why_not() -> str:
    """Says why no such model can be run here, "" when it can."""
    from pomnit.governor.choose import on_apple_silicon

    if not on_apple_silicon():
        return f"MLX needs Apple silicon, and this is {platform.system()} on {platform.machine()}"
    if importlib.util.find_spec("mlx_vlm") is None:
        return "mlx-vlm is not installed; type: pip install 'pomnit[vision]'"
    return ""
