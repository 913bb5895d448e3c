"""UUIDv7: ids that sort by the time they were made (RFC 9562, section 5.7)."""

from __future__ import annotations

import secrets
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_id() -> bytes:
    """Gives 16 bytes of a new UUIDv7; later ones of this process are greater."""
    global _last  # noqa: PLW0603 one clock per process
    with _lock:
        # 48 bits of milliseconds and 12 of their fraction, moved on by one when the clock did not.
        _last = max(_last + 1, time.time_ns() * 4096 // 1_000_000)
        stamp = _last
    high = (stamp >> 12) << 16 | 0x7000 | stamp & 0xFFF
    return high.to_bytes(8, "big") + (secrets.randbits(62) | 1 << 63).to_bytes(8, "big")


def show_id(raw: bytes) -> str:
    """Gives the usual writing of an id."""
    return str(uuid.UUID(bytes=raw))


def parse_id(text: str) -> bytes | None:
    """Gives the 16 bytes of a written id, None when it is not one."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None
