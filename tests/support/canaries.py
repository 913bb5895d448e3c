"""Words that are nowhere else, planted in everything that can be remembered, and where of them a trace is found."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeTranscriber
from pomnit.text.words import stems
from support import database, documents
from support.pictures import engines, note, picture
from support.recordings import CARD, speech, write_made, write_wav

# One for each place that text comes from, so that a trace says whose it is. No word of a language begins like them.
PLANTED: Mapping[str, str] = {
    "name of a file": "qzxnameofile",
    "name of a folder": "qzxfolder",
    "text": "qzxtextual",
    "Russian text": "щъыскворцовый",
    "picture": "qzxpictured",
    "document": "qzxdocument",
    "title of a document": "qzxtitled",
    "page": "qzxpaged",
    "sheet": "qzxsheet",
    "cell": "щъыячейковый",
    "mail": "qzxmailed",
    "subtitle": "qzxsubtitle",
    "transcript": "qzxtranscript",
    "title of a recording": "qzxrecorded",
    "window": "щъыоконный",
    "application": "qzxapplication",
}
ASKED = "qzxquestioned"  # what is only searched for
SHORT = 6  # letters of the beginning, or of the stem's; fewer would be met in encrypted bytes by chance


def plant(folder: Path) -> list[Path]:
    """Writes a file of every kind; together they hold all that is planted but windows."""
    p = PLANTED
    folder = folder / p["name of a folder"]
    made = [
        note(
            folder / f"{p['name of a file']}.md",
            f"# {p['text']}\n\nThe {p['text']} sings. Здесь {p['Russian text']} дом.",
        ),
        picture(folder / "a.png", f"seen {p['picture']}", size=(400, 300)),
        note(folder / "b.html", f"<title>{p['title of a document']}</title><p>{p['text']}</p>"),
        note(folder / "c.srt", f"1\n00:00:01,000 --> 00:00:02,000\n{p['subtitle']}\n"),
        note(folder / "d.eml", f"Subject: {p['mail']}\nFrom: a@b\nMIME-Version: 1.0\n\n{p['mail']} is said\n"),
        write_wav(folder / "e.wav", speech()),
        write_made(folder / "f.m4a", speech(), title=p["title of a recording"]),
    ]
    rows = '<row r="7"><c t="s"><v>0</v></c></row>'
    for name, data in {
        "g.docx": documents.docx(documents.paragraph(p["document"]), title=p["title of a document"]),
        "h.pdf": documents.pdf(f"one {p['page']} of two", info={"Title": p["title of a document"]}),
        "i.xlsx": documents.xlsx({p["sheet"]: rows}, [p["cell"]]),
    }.items():
        (folder / name).write_bytes(data)
        made.append(folder / name)
    return made


def all_engines() -> dict[str, Any]:
    """Gives engines that hear a planted word in every recording."""
    return engines() | {"transcribe": FakeTranscriber(CARD, lambda _: f"heard {PLANTED['transcript']}", "ru")}


def seen_in_windows(memory: Memory) -> None:
    """Lets one item have been seen in a window with a planted title."""
    item = memory.search(PLANTED["picture"]).hits[0].item
    store = memory._store
    with store.transaction():
        row = store.items.row_of(item.id)
        window, app = PLANTED["window"], PLANTED["application"]
        store.items.add_screen(row, "screen:one", app, window, "2026-11-20T09:00:00Z")


# Traces


def forms(word: str) -> Iterator[bytes]:
    """Gives how a word may be written: by its beginning in every encoding and case, and whole in what wraps texts."""
    stem = next(iter(stems(word)), word)
    for part in {word[:SHORT], stem[:SHORT]}:
        for text in {part, part.upper(), part.capitalize()}:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "cp1251", "koi8-r"):
                yield text.encode(encoding)
            yield json.dumps(text)[1:-1].encode()
            yield quote(text).encode()
            yield text.encode().hex().encode()
    for shift in range(3):  # base64 takes three bytes at a time, so it depends on where the word begins
        data = base64.b64encode(b"\0" * shift + word.encode())
        yield data[4 : len(data) // 4 * 4 - 4]


def needles(words: Iterable[str]) -> dict[bytes, str]:
    """Gives each form of each word, and the word."""
    return {form: word for word in words for form in forms(word) if len(form) >= SHORT}


def traces(data: bytes, wanted: Mapping[bytes, str]) -> set[str]:
    """Gives the words of which something is in the data."""
    return {word for form, word in wanted.items() if form in data}


def on_disk(folders: Iterable[Path], words: Iterable[str]) -> dict[str, set[str]]:
    """Gives the files, by their names and their bytes, that hold a trace, and of what."""
    wanted, found = needles(words), dict[str, set[str]]()
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            data = os.fsencode(path.name) + b"\0" + (path.read_bytes() if path.is_file() else b"")
            if traced := traces(data, wanted):
                found[str(path)] = traced
    return found


def decrypted(settings: Settings) -> bytes:
    """Gives the whole memory as who has the key can read it: rows, index terms, pages (freed ones too), kept files."""
    from pomnit.privacy.keys import open_keys
    from pomnit.store.originals import Originals

    connection = database.connect(settings)
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.term_of USING fts5vocab(main, words, instance)")
        terms = [f"{row}" for row in connection.execute("SELECT term FROM temp.term_of")]
    finally:
        connection.close()
    files = Originals(settings.home / "files", open_keys(settings).files)
    kept = [files.get(path.name) for path in (settings.home / "files").glob("??/*")]
    return b"\n".join([database.dump(settings), "\n".join(terms).encode(), *kept])
