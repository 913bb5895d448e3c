"""Memory that was freed goes back to the system, instead of lying in the allocator of the C library.

glibc keeps freed pieces in arenas, one for each thread that ever asked: 65 MB in a process that had read pictures, 130
to 290 MB in one that ran a large model (measured). Pieces from 1 MiB on are mapped one by one instead: the owner kept
84 instead of 149 MB, and Qwen3-Embedding-0.6B took 652 instead of 940. macOS gives freed memory back by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform

_MMAP_THRESHOLD, _LARGE = -3, 1 << 20  # the number of the option in malloc.h, and bytes


def be_frugal() -> None:
    """Lets large pieces go back as soon as they are freed, from now on, in this process."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        if platform.system() == "Linux":
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Gives back what can be given back now."""
    with contextlib.suppress(AttributeError, OSError):
        if platform.system() == "Linux":
            ctypes.CDLL(None).malloc_trim(0)
