"""Office files are ZIP archives of XML: their parts, read in bounded memory and without trusting them.

Nothing is unpacked to disk and nothing but XML is read, so macros are never touched. A document type (and with it
every entity, inside or outside the file) is refused; what an archive promises about its sizes is not believed.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Literal, NoReturn
from xml.parsers import expat

from pomnit.errors import ItemError

MOST_PARTS = 20_000
MOST_UNPACKED = 512 << 20  # bytes of all parts that are read, counted as they come
MOST_IN_MEMORY = 32 << 20  # bytes of a part that is read whole
MOST_RATIO = 500  # unpacked to packed, of a part larger than 64 MiB; a million equal rows reach 340, zeros 1030
MOST_TAG = 4 << 20  # bytes of one tag
MOST_DEPTH = 512
_STEP = 1 << 16
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)

Event = tuple[Literal["start", "end", "text"], str, dict[str, str]]
"""What an XML parser meets: a tag with its attributes, its end, or text. Tags are without the prefix of their
namespace, attributes are there with it and without."""


class Package:
    """An office file, open for reading."""

    def __init__(self, data: bytes) -> None:
        self._left = MOST_UNPACKED
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.names = frozenset(self._zip.namelist())
        except (*_BROKEN, KeyError, UnicodeError, IndexError) as error:
            raise ItemError(f"the document is damaged or cut short: {error}") from error
        if len(self.names) > MOST_PARTS:
            raise ItemError(f"the document has {len(self.names)} parts, more than the {MOST_PARTS} that are allowed")

    def read(self, name: str) -> bytes:
        """Gives one part whole; b"" when it is not there or too large to be what it should.

        Raises:
            ItemError.
        """
        parts, size = [], 0
        for part in self._stream(name):
            parts.append(part)
            size += len(part)
            if size > MOST_IN_MEMORY:
                return b""
        return b"".join(parts)

    def events(self, name: str) -> Iterator[Event]:
        """Gives what an XML part holds, piece by piece; nothing when there is no such part.

        Raises:
            ItemError: damaged, with a document type, or with a tag larger than allowed.
        """
        parser = _Parser()
        for part in self._stream(name):
            yield from parser.feed(part)

    def holds(self, name: str, tag: str) -> bool:
        """Whether an XML part has such a tag.

        Raises:
            ItemError.
        """
        return any(kind == "start" and met == tag for kind, met, _ in self.events(name))

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """Gives what a part refers to, by id: the kind and the name of the other part. Outside links are left out."""
        folder, file = posixpath.split(name)
        found = {}
        for kind, tag, attributes in self.events(f"{folder}/_rels/{file}.rels".lstrip("/")):
            if kind == "start" and tag == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
                found[attributes.get("Id", "")] = attributes.get("Type", "").rpartition("/")[2], target
        return found

    def _stream(self, name: str) -> Iterator[bytes]:
        if name not in self.names:
            return
        try:
            if self._zip.getinfo(name).flag_bits & 1:
                raise ItemError("the document is encrypted; save it without a password, then add it")
            packed = max(1, self._zip.getinfo(name).compress_size)
            with self._zip.open(name) as file:
                yield from self._bounded(file, packed)
        except _BROKEN as error:
            raise ItemError(f"the document is damaged or cut short: {error}") from error

    def _bounded(self, file: IO[bytes], packed: int) -> Iterator[bytes]:
        size = 0
        while part := file.read(_STEP):
            size += len(part)
            self._left -= len(part)
            if self._left < 0 or (size > 64 << 20 and size > packed * MOST_RATIO):
                raise ItemError("the document unpacks to far more than a document holds: it may be a trap")
            yield part


class _Parser:
    """Expat with everything refused that is not plain XML."""

    def __init__(self) -> None:
        self._found: list[Event] = []
        self._silent = self._depth = 0
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse

    def feed(self, part: bytes) -> list[Event]:
        self._found = []
        try:
            self._parser.Parse(part, False)
        except (expat.ExpatError, UnicodeError, LookupError, ValueError) as error:
            raise ItemError(f"the document is damaged: {error}") from error
        self._silent = 0 if self._found else self._silent + len(part)
        if self._silent > MOST_TAG:
            raise ItemError(f"the document has a tag of more than {MOST_TAG >> 20} MiB: it may be a trap")
        return self._found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ItemError(f"the document is nested more than {MOST_DEPTH} deep: it may be a trap")
        plain = {key.rpartition(":")[2]: value for key, value in attributes.items()}
        self._found.append(("start", name.rpartition(":")[2], {**plain, **attributes}))

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._found.append(("end", name.rpartition(":")[2], {}))

    def _text(self, text: str) -> None:
        self._found.append(("text", text, {}))

    def _refuse(self, *_: object) -> NoReturn:
        raise ItemError("the document has a document type or entities, which are refused: they can read other files")
