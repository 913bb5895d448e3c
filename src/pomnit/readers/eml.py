"""Mail: subject, who, when, and what it says; mails inside it too, other attachments by their names."""

from __future__ import annotations

import re
from datetime import UTC
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pomnit.errors import ItemError
from pomnit.readers import Reading, html
from pomnit.readers.builder import TextBuilder
from pomnit.readers.encodings import decode
from pomnit.readers.titles import sensible
from pomnit.settings import Settings
from pomnit.text.times import utc

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

MOST_BYTES = 64 << 20  # of a mail; texts come first, and what is cut off is the end of an attachment
MOST_DEPTH = 8  # mails and parts inside each other
MOST_PARTS = 500
MOST_HEADER = 10_000  # characters
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_ANY = frozenset(("from", "to", "subject", "date", "received", "message-id", "mime-version"))


def read(data: bytes, settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads a mail as it is saved (EML), or a web page saved as one (MHTML).

    Raises:
        ItemError: it is no mail, or so broken that nothing can be read.
    """
    try:
        message = message_from_bytes(data[:MOST_BYTES], policy=_Bounded())
        if not _ANY & {name.lower() for name in message}:
            raise ItemError("it is no mail: it has neither sender, subject nor date")
        text = TextBuilder(settings.document_chars)
        mail = _Mail(text)
        mail.write(message, 0)
    except ItemError:
        raise
    except Exception as error:  # the parser of mails raises whatever it meets in broken ones
        raise ItemError(f"the mail is damaged: {type(error).__name__}: {error}") from error
    if len(data) > MOST_BYTES:
        text.note(f"cut after {MOST_BYTES >> 20} MiB")
    if mail.left_out:
        text.note(f"{mail.left_out} parts left out: nested more than {MOST_DEPTH} deep, or more than {MOST_PARTS}")
    return Reading(text.done(), sensible(_header(message, "Subject")), _time(_header(message, "Date")))


class _Bounded(Compat32):
    """Cuts headers as they are parsed: the time that the standard library takes for their parts grows as the square."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MOST_HEADER]


class _Mail:
    """Writes a message and what is inside it."""

    def __init__(self, text: TextBuilder) -> None:
        self.text = text
        self.left_out = 0
        self._parts = 0

    def write(self, message: Message, depth: int) -> None:
        """Writes the headers that a reader sees, then the parts."""
        for name in _SHOWN:
            if value := _header(message, name):
                self.text.gap("\n")
                self.text.add(f"{name}: {value}")
        self.text.gap("\n\n")
        self._write(message, depth)

    def _write(self, part: Message, depth: int) -> None:
        self._parts += 1
        if depth > MOST_DEPTH or self._parts > MOST_PARTS:
            self.left_out += 1
            return
        kind = part.get_content_type()
        if part.is_multipart():
            inside: list[Message] = part.get_payload()  # type: ignore[assignment]
            for child in _best(inside) if kind == "multipart/alternative" else inside:
                (self.write if kind == "message/rfc822" else self._write)(child, depth + 1)
        elif kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment":
            self._body(part, kind)
        elif name := _name(part):
            self.text.gap("\n")
            self.text.add(f"Attachment: {name}")
        self.text.gap("\n\n")

    def _body(self, part: Message, kind: str) -> None:
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes) or not payload.strip():
            return
        body = decode(payload, part.get_content_charset())
        if kind == "text/html":
            html.write(body, self.text)
        else:
            self.text.add(body.strip())


def _best(parts: list[Message]) -> list[Message]:
    """Gives the one of several forms of a text that is read here: plain if it says anything, else the richest."""
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    if plain and str(plain[0].get_payload()).strip():
        return plain[:1]
    return parts[-1:]


def _header(message: Message, name: str) -> str:
    """Gives a header as a person reads it."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    try:
        text = raw.encode("ascii").decode()
    except UnicodeEncodeError:  # bytes that no standard allows here
        text = decode(raw.encode("utf-8", "surrogateescape"))
    try:
        pieces = [decode(p, c) if isinstance(p, bytes) else p for p, c in decode_header(text)]
    except (HeaderParseError, ItemError, ValueError):
        pieces = [text]
    return re.sub(r"\s+", " ", "".join(pieces)).strip()


def _name(part: Message) -> str:
    name = part.get_filename()
    if not name:
        return ""
    holder = Message()
    holder["Subject"] = name
    return _header(holder, "Subject")


def _time(date: str) -> str | None:
    try:
        moment = parsedate_to_datetime(date)
        return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))  # "-0000": UTC, the place not told
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
