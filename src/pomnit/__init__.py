"""Pomnit (помнит, "it remembers"): a private second memory for small machines.

Importing it loads nothing: the names below come when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pomnit.errors import PomnitError as PomnitError
    from pomnit.memory import Memory as Memory
    from pomnit.settings import Settings as Settings

__version__ = "0.1.0"
__all__ = ["Memory", "PomnitError", "Settings", "__version__"]

_WHERE = {"Memory": "pomnit.memory", "PomnitError": "pomnit.errors", "Settings": "pomnit.settings"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pomnit' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
