"""Office documents: which of them a package is, what it says of itself, and the reader of its body."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pomnit.errors import ItemError
from pomnit.readers import Reading, docx, odf, pptx, xlsx
from pomnit.readers.builder import TextBuilder
from pomnit.readers.image import decode, preview
from pomnit.readers.package import Package
from pomnit.readers.titles import sensible
from pomnit.settings import Settings
from pomnit.text.times import utc

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

Body = Callable[[Package, str, TextBuilder, Settings], str | None]
"""Writes the text of a package whose main part has this name; gives its first heading."""

_BODIES: tuple[tuple[str, Body], ...] = (
    ("word", docx.write),
    ("presentation|powerpoint", pptx.write),
    ("sheet|excel", xlsx.write),
)
_FACTS = ("docProps/core.xml", "meta.xml")
_PICTURES = ("docProps/thumbnail.jpeg", "Thumbnails/thumbnail.png")
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def read(data: bytes, settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads DOCX, PPTX, XLSX, ODT, ODP or ODS; which one, its parts say, not its name.

    Raises:
        ItemError: encrypted, damaged, a trap, or another kind of archive.
    """
    if not data.startswith(b"PK"):
        raise ItemError(
            "the document is encrypted; save it without a password, then add it"
            if _OLE_ENCRYPTED in data
            else "the document is in the format of Office 97-2003; save it in the present one (DOCX, XLSX, PPTX)"
        )
    package = Package(data)
    body, main = _body(package)
    text = TextBuilder(settings.document_chars)
    heading = body(package, main, text, settings)
    title, time = _facts(package)
    return Reading(text.done(), title or heading, time, _preview(package, settings))


def _body(package: Package) -> tuple[Body, str]:
    if "content.xml" in package.names:
        return odf.write, "content.xml"
    for kind, tag, attributes in package.events("[Content_Types].xml"):
        found = re.search("(.*)[.]main[+]xml", attributes.get("ContentType", ""))
        if kind == "start" and tag == "Override" and found:
            for words, body in _BODIES:
                if re.search(words, found[1]):
                    return body, attributes.get("PartName", "").lstrip("/")
    raise ItemError("the archive holds no document; unpack it, then add what is in it")


def _facts(package: Package) -> tuple[str | None, str | None]:
    """Gives title and time of the last change, as far as the document states them."""
    said: dict[str, str] = {}
    for part in _FACTS:
        tag = ""
        for kind, name, _ in package.events(part):
            if kind == "text" and tag:
                said[tag] = said.get(tag, "") + name[:1000]
            tag = name if kind == "start" else tag if kind == "text" else ""
    return sensible(said.get("title")), _time(
        said.get("modified") or said.get("date") or said.get("created") or said.get("creation-date")
    )


def _time(said: str | None) -> str | None:
    try:
        return utc(datetime.fromisoformat((said or "").strip()))
    except (ValueError, OverflowError, OSError):
        return None


def _preview(package: Package, settings: Settings) -> bytes | None:
    """Gives the small picture that the program which saved the document left in it."""
    for part in _PICTURES:
        if picture := package.read(part):
            try:
                return preview(decode(picture, settings.image_pixels))
            except ItemError:
                return None
    return None
