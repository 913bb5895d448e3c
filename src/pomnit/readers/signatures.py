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


def is_wav(head: bytes) -> bool:
    """Matches a WAV recording, also one of more than 4 GB."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def is_mp3(head: bytes) -> bool:
    """Matches an MP3 by the tag before it or by its first frame."""
    return head.startswith(b"ID3") or (
        len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] >> 4 not in (0, 15)
    )


def is_aac(head: bytes) -> bool:
    """Matches AAC in ADTS frames."""
    return len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def is_m4a(head: bytes) -> bool:
    """Matches a recording in MPEG-4, as iPhones and iTunes make them."""
    return head[4:8] == b"ftyp" and head[8:11] in (b"M4A", b"M4B", b"M4P")


def is_mov(head: bytes) -> bool:
    """Matches a film of QuickTime; old ones begin with their content."""
    return head[4:12] == b"ftypqt  " or head[4:8] in (b"moov", b"mdat", b"wide")


def is_mp4(head: bytes) -> bool:
    """Matches a film in MPEG-4, and whatever else comes in its clothes and is neither picture nor recording."""
    return head[4:8] == b"ftyp"


def is_webm(head: bytes) -> bool:
    """Matches a WebM film or recording."""
    return head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head[:64]


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
