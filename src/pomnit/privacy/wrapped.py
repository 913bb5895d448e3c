"""A key wrapped by a passphrase: Argon2id (RFC 9106) makes a key of the passphrase, which seals the memory's own.

What is written down: the cost, a salt, and the sealed key. The memory's id and all of that are authenticated with it,
so a wrapped key that was moved to another memory, or changed in any bit, does not open.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KDF = "argon2id"
_NONCE = bytes(12)  # each salt makes another key, and that key seals this one text
_SALT, _KEY, _TAG = 16, 32, 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs: memory in KiB, passes over it, and lanes that may be worked on at once."""

    memory_kib: int
    passes: int
    lanes: int


# Four times the memory of RFC 9106's second choice: 0.43 s on two cores of an EPYC. An 8 GB machine has 256 MiB for
# half a second.
COST = Cost(memory_kib=262_144, passes=3, lanes=4)
_MOST = Cost(memory_kib=4 << 20, passes=64, lanes=64)  # what a changed marker may ask of this machine


def wrap(root: bytes, passphrase: bytes, memory: str) -> dict[str, Any]:
    """Gives what may be written down of ``root``, 32 bytes: JSON that opens with the passphrase alone."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    salt = secrets.token_bytes(_SALT)
    sealed = ChaCha20Poly1305(_stretched(passphrase, salt, COST)).encrypt(_NONCE, root, _about(memory, salt, COST))
    cost = {"memory_kib": COST.memory_kib, "passes": COST.passes, "lanes": COST.lanes}
    return {"kdf": KDF, **cost, "salt": salt.hex(), "sealed": sealed.hex()}


def unwrap(wrapped: Mapping[str, Any], passphrase: bytes, memory: str) -> bytes | None:
    """Gives the key, 32 bytes; None when the passphrase is another one, or what was written down was changed.

    Raises:
        ValueError: this is no wrapped key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    salt, sealed, cost = parsed(wrapped)
    try:
        return ChaCha20Poly1305(_stretched(passphrase, salt, cost)).decrypt(_NONCE, sealed, _about(memory, salt, cost))
    except InvalidTag:
        return None


def parsed(wrapped: Mapping[str, Any]) -> tuple[bytes, bytes, Cost]:
    """Gives the salt, the sealed key and the cost of a wrapped key.

    Raises:
        ValueError: this is no wrapped key.
    """
    try:
        salt, sealed = bytes.fromhex(wrapped["salt"]), bytes.fromhex(wrapped["sealed"])
        cost = Cost(*(wrapped[name] for name in ("memory_kib", "passes", "lanes")))
        known = wrapped["kdf"] == KDF
    except (KeyError, TypeError) as error:
        raise ValueError("not a wrapped key") from error
    numbers = ((cost.memory_kib, _MOST.memory_kib), (cost.passes, _MOST.passes), (cost.lanes, _MOST.lanes))
    if not known or len(salt) != _SALT or len(sealed) != _KEY + _TAG:
        raise ValueError("not a wrapped key")
    if not all(type(n) is int and 1 <= n <= most for n, most in numbers) or cost.memory_kib < 8 * cost.lanes:
        raise ValueError("a cost that no wrapped key has")
    return salt, sealed, cost


def _stretched(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(salt=salt, length=_KEY, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib)
    return kdf.derive(passphrase)


def _about(memory: str, salt: bytes, cost: Cost) -> bytes:
    return json.dumps(["pomnit key", memory, salt.hex(), cost.memory_kib, cost.passes, cost.lanes]).encode()
