"""What an original is, by its first bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable

Matches = Callable[[bytes], bool]

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths of its second header, one for each version
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def starts(*signatures: bytes) -> Matches:
    """Matches what begins with one of ``signatures``."""
    return lambda head: head.startswith(signatures)


def is_webp(head: bytes) -> bool:
    """Matches a WebP picture."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def is_bmp(head: bytes) -> bool:
    """Matches a BMP by two headers: its signature is two letters that a text may begin with."""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


def is_avif(head: bytes) -> bool:
    """Matches an AVIF picture, one or moving."""
    return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis")


def is_heic(head: bytes) -> bool:
    """Matches a HEIC picture, as iPhones take them."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def is_pdf(head: bytes) -> bool:
    """Matches a PDF; blank characters before it do no harm."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-")


def package_of(*names: bytes) -> Matches:
    """Matches a ZIP archive whose first entries, or whose list of contents, name one of ``names``."""
    return lambda head: head.startswith(ZIP) and any(name in _contents(head) for name in names)


def _contents(head: bytes) -> bytes:
    """Gives the beginning of an archive, and what is in its first file as far as it is there."""
    start = 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if head[8:10] != b"\x08\x00":
        return head
    try:
        return head + zlib.decompressobj(-15).decompress(head[start:], 1 << 16)
    except zlib.error:
        return head
