"""What becomes of the sensitive text of an item: what was said when it was added, else what the settings say."""

from __future__ import annotations

from collections.abc import Iterable

from pomnit.errors import UsageError
from pomnit.privacy.sensitive import Action, Policy
from pomnit.records import SENSITIVE_KINDS, SensitiveKind
from pomnit.settings import Settings
from pomnit.store import Store


def policy_for(settings: Settings, *, screen: bool, own: Action | None = None) -> Policy:
    """Gives the policy for what the screen brings, or for what a person adds by hand.

    ``own`` is that of the item itself. Without any word in the settings, the screen is masked and files are kept.
    """
    usual: Action = "mask" if screen else "keep"
    told = usual if settings.sensitive == "auto" else settings.sensitive
    return Policy(own or told, kinds_of(settings.sensitive_kinds))


def policy_of(store: Store, settings: Settings, item: int) -> Policy:
    """Gives the policy for an item."""
    own, screen = store.items.sensitive(item)
    return policy_for(settings, screen=screen, own=own)


def kinds_of(names: Iterable[str]) -> frozenset[SensitiveKind]:
    """Gives the kinds of these names, all when there are none.

    Raises:
        UsageError: no kind is called so.
    """
    asked = list(names)
    known: dict[str, SensitiveKind] = {kind: kind for kind in SENSITIVE_KINDS}
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(f"{unknown[0]!r:.40} is no kind of sensitive text; the kinds are {', '.join(known)}")
    return frozenset(known[name] for name in asked) or frozenset(SENSITIVE_KINDS)
