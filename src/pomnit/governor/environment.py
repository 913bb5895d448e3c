"""What `pomnit doctor` and `pomnit profile` say about the machine before anything of ours runs on it."""

from __future__ import annotations

from collections.abc import Iterator

from pomnit.errors import UsageError
from pomnit.governor.budget import detect
from pomnit.governor.gauge import here
from pomnit.governor.machine import Machine, machine
from pomnit.governor.reading import Pressure, Source, judged
from pomnit.records import Check, Verdict
from pomnit.settings import Settings

_SMALL_MEMORY = 6_000_000_000
_SOME_SWAP = 100_000_000  # systems put pages that nobody asks for there even with room to spare
_FULL = 0.9  # of the swap; macOS makes more when it needs some
_CLOSE = "close programs you do not need, or restart the machine"
_VERDICTS: dict[Pressure, Verdict] = {"normal": "ok", "warning": "warning", "critical": "problem"}


def environment(settings: Settings, source: Source | None = None) -> Iterator[Check]:
    """Gives the checks of memory, budget, swap and pressure.

    Raises:
        OSError: the system does not even tell how much memory there is.
    """
    source = source or here()
    found = machine(source)
    yield _memory(found)
    yield _budget(settings, found)
    yield _swap(found)
    word, why = judged(source.system())
    yield Check(
        "pressure",
        "ok" if word is None else _VERDICTS[word],
        why if word is None else f"{word}: {why}",
        None if word in (None, "normal") else _CLOSE,
    )


def _memory(found: Machine) -> Check:
    text = _gb(found.total)
    text += ", as much as the container or control group around us may take" if found.limited else " in all"
    text += "" if found.available is None else f"; {_gb(found.available)} available"
    return Check("memory", "warning" if found.total < _SMALL_MEMORY else "ok", text)


def _budget(settings: Settings, found: Machine) -> Check:
    try:
        budget = detect(found, settings.profile, settings.budget)
    except UsageError as error:
        return Check("budget", "problem", str(error), "change budget in settings.toml, or POMNIT_BUDGET")
    return Check("budget", "ok", f"{_gb(budget.bytes)}, profile {budget.profile.name}: {budget.reason}")


def _swap(found: Machine) -> Check:
    if found.swap_total is None or found.swap_used is None:
        return Check("swap", "ok", "the system does not tell")
    if not found.swap_total:
        return Check("swap", "ok", "none")
    used = f"{_gb(found.swap_used)} of {_gb(found.swap_total)}"
    if found.swap_used < _SOME_SWAP:
        return Check("swap", "ok", f"{used} in use")
    how = "in use" if found.swap_used < _FULL * found.swap_total else "in use, so it is nearly full"
    return Check("swap", "warning", f"{used} already {how}, before Pomnit starts", _CLOSE)


def _gb(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
