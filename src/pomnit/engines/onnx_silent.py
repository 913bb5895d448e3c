"""ONNX Runtime, which everybody gets from here: as it comes it would send reports to its maker.

Its package 1.31.1 for Linux notes each start in ``~/.cache/Microsoft``, with a number of the device, and looks up a
server for it (``strace``, 20 seconds after the import). ``disable_telemetry_events`` comes too late for that; the
variable is read at the import.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

SILENT = {"ORT_DISABLE_TELEMETRY": "1"}  # for processes that import it by themselves, too


def onnxruntime() -> ModuleType:
    """Gives the module, which reports nothing to anybody.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.update(SILENT)
    return importlib.import_module("onnxruntime")
