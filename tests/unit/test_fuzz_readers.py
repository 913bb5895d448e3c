"""Documents that are broken, hostile or huge: each gets a reason or a reading, in bounded memory, and nothing else."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from PIL import Image

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeRecogniser
from pomnit.errors import ItemError
from pomnit.readers import HEAD, REGISTRY, Reading, choose, package
from support import documents as d

SECRET = "the secret of another file"


def read(name: str, data: bytes, settings: Settings) -> Reading:
    reader = choose(name, data[:HEAD])
    assert reader is not None
    return reader.read(data, settings, FakeRecogniser(lambda image: []))


# Traps


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("declared", [LAUGHS, '<!DOCTYPE x SYSTEM "http://example.org/x.dtd">'])
def test_entities_and_document_types_are_refused(settings: Settings, declared: str):
    main = f'{declared}<w:document xmlns:w="w"><w:body>{d.paragraph("x")}</w:body></w:document>'
    with pytest.raises(ItemError, match="entities, which are refused"):
        read("a", d.docx("", {"word/document.xml": main}), settings)
    with pytest.raises(ItemError, match="entities, which are refused"):
        read("a", d.package({"content.xml": f"{declared}<x/>"}, first="text"), settings)


def test_no_entity_reads_another_file(settings: Settings, tmp_path: Path):
    (tmp_path / "secret.txt").write_text(SECRET)
    declared = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{(tmp_path / "secret.txt").as_uri()}">]>'
    main = f'{declared}<w:document xmlns:w="w"><w:body><w:p><w:t>&e;</w:t></w:p></w:body></w:document>'
    with pytest.raises(ItemError) as caught:
        read("a", d.docx("", {"word/document.xml": main}), settings)
    assert SECRET not in str(caught.value)


def test_parts_outside_the_document_are_not_read(settings: Settings, tmp_path: Path):
    (tmp_path / "secret.xml").write_text(f"<x><a:t xmlns:a='a'>{SECRET}</a:t></x>")
    deck = zipfile.ZipFile(io.BytesIO(d.pptx(("Title", "words"))))
    parts = {name: deck.read(name) for name in deck.namelist()}
    outside = "../" * 20 + str(tmp_path / "secret.xml").lstrip("/")
    parts["ppt/_rels/presentation.xml.rels"] = d.relations(("slide", outside)).encode()
    assert read("a", d.package(parts), settings).text.text == ""


def test_a_zip_bomb_is_refused_before_it_fills_the_memory(settings: Settings):
    import tracemalloc

    bomb = d.docx(f"<w:p><w:t>{'0' * (80 << 20)}</w:t></w:p>")
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ItemError, match="trap"):
            read("a", bomb, replace(settings, document_chars=1 << 40))
        assert tracemalloc.get_traced_memory()[1] < 120 << 20
    finally:
        tracemalloc.stop()


def test_what_all_parts_unpack_to_is_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(package, "MOST_UNPACKED", 1000)
    with pytest.raises(ItemError, match="trap"):
        read("a", d.docx(d.paragraph("many words " * 200)), settings)


def test_a_document_of_very_many_parts_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(package, "MOST_PARTS", 50)
    with pytest.raises(ItemError, match="parts"):
        read("a", d.docx("", {f"word/{i}.xml": "<x/>" for i in range(60)}), settings)


def test_a_tag_without_an_end_and_endless_nesting_are_refused(settings: Settings):
    rng = random.Random(1)
    noise = "".join(rng.choices("abcdefghijklmnop", k=6 << 20))
    for body in (f'<w:p w:x="{noise}"/>', "<w:p>" * 5000 + "</w:p>" * 5000):
        with pytest.raises(ItemError, match="trap"):
            read("a", d.docx(body), settings)


def test_macros_are_never_touched(settings: Settings):
    data = d.docx(d.paragraph("harmless words"), {"word/vbaProject.bin": b"\xd0\xcf\x11\xe0" + b"Shell" * 100})
    opened: list[str] = []
    original = zipfile.ZipFile.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", lambda z, name, *a: opened.append(str(name)) or original(z, name, *a))
        assert read("a.docm", data, settings).text.text == "harmless words"
    assert opened
    assert all(name.endswith((".xml", ".rels")) for name in opened)


# Encrypted and broken


def test_encrypted_documents_say_so(settings: Settings):
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + "EncryptedPackage".encode("utf-16-le")
    manifest = "<file-entry><encryption-data/></file-entry>"
    for name, data in {
        "a.docx": ole,
        "a.xlsx": ole,
        "a.odt": d.odf("text", "<text:p/>", manifest=manifest),
        "b.docx": bytes(locked(d.docx(d.paragraph("x")))),
    }.items():
        with pytest.raises(ItemError, match="encrypted"):
            read(name, data, settings)


def locked(data: bytes) -> bytearray:
    """Gives an archive whose parts claim to be encrypted."""
    out = bytearray(data)
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = out.find(sign)
        while start >= 0:
            out[start + at] |= 1
            start = out.find(sign, start + 4)
    return out


def test_a_document_of_the_old_format_says_what_to_do(settings: Settings):
    with pytest.raises(ItemError, match="97-2003"):
        read("renamed.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), settings)
    assert choose("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") is None


def test_an_encrypted_pdf_says_so(settings: Settings):
    plain = d.pdf("words")
    user = "00" * 32
    lock = f"<< /Filter /Standard /V 1 /R 2 /O <{user}> /U <{user}> /P -4 >>"
    data = plain.replace(b"/Info 5 0 R", f"/Info 5 0 R /Encrypt {lock} /ID [<00><00>]".encode())
    with pytest.raises(ItemError, match="encrypted with a password"):
        read("a", data, settings)


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.7\n" + bytes(range(256)) * 10])
def test_a_broken_pdf_says_so(settings: Settings, data: bytes):
    with pytest.raises(ItemError, match="damaged"):
        read("a", data, settings)


def test_a_broken_document_fails_alone(memory: Memory, files: Path):
    (files / "broken.docx").write_bytes(d.docx(d.paragraph("x"))[:-200])
    (files / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (files / "good.html").write_text("<p>unharmed words")
    report = memory.add([files])
    assert (report.new, report.failed) == (1, 2)
    assert len(memory.search("unharmed")) == 1


# Attachments in attachments


def nested(depth: int) -> bytes:
    """Gives a mail in a mail in a mail."""
    mail = b"Subject: innermost\n\nthe deepest words\n"
    for i in range(depth):
        head = f"Subject: level {i}\nContent-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n"
        mail = head.encode() + b"Content-Type: message/rfc822\n\n" + mail + f"\n--b{i}--\n".encode()
    return mail


def test_mails_inside_mails_are_read_a_few_deep_and_it_says_so(settings: Settings):
    assert "the deepest words" in read("a.eml", nested(3), settings).text.text
    text = read("a.eml", nested(12), settings).text.text
    assert "deepest" not in text
    assert "left out: nested more than" in text


def test_a_mail_nested_beyond_reason_fails_or_is_cut(settings: Settings):
    try:
        text = read("a.eml", nested(400), settings).text.text
    except ItemError:
        return
    assert "left out" in text


def test_a_mail_of_very_many_parts_is_cut_and_it_says_so(settings: Settings):
    part = "--b\nContent-Type: application/x; name=n\n\nx\n"
    mail = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + part * 2000 + "--b--\n"
    assert "parts left out" in read("a.eml", mail.encode(), settings).text.text


# Work is in proportion to size


def test_headers_without_end_are_cut_before_they_are_taken_apart(settings: Settings):
    from pomnit.readers.eml import MOST_HEADER, Message

    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        original = Message.get_content_type
        patch.setattr(Message, "get_content_type", lambda m: seen.append(len(m["Content-Type"])) or original(m))
        read("a.eml", b"Subject: x\nContent-Type: text/plain" + b"; a=b" * 100_000 + b"\n\nx", settings)
    assert seen
    assert max(seen) <= MOST_HEADER


def test_web_pages_that_never_close_anything_cost_no_more_than_their_length(settings: Settings):
    import sys

    def steps(data: bytes) -> int:
        """Gives how many lines of Python ran."""
        count = 0

        def trace(*_):
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)
        try:
            read("a.html", data, settings)
        finally:
            sys.settrace(None)
        return count

    for piece in (b"<div>", b"<!--", b"<a b='", b"<script>", b"&#", b"</p", b"<![if", b"<", b"<template>x", b"<p x=>"):
        assert steps(piece * 2000) < 3 * steps(piece * 1000) + 5000, piece


# Mutations of every kind


def picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(out, form)
    return out.getvalue()


SAMPLES: dict[str, bytes] = {
    "a.pdf": d.pdf("#Heading here\nsome words\nmore", Image.new("RGB", (20, 30), "white"), info={"Title": "Договор"}),
    "a.docx": d.docx(d.paragraph("Some words") * 5 + d.paragraph("a title", "Title"), title="Letter"),
    "a.pptx": d.pptx(("One", "words"), ("Two", "more"), notes="notes"),
    "a.xlsx": d.xlsx({"Sheet": '<row r="1"><c t="s"><v>0</v></c><c s="1"><v>46329</v></c></row>' * 3}, ["text"]),
    "a.odt": d.odf("text", "<text:h>Head</text:h><text:p>Words<text:tab/>here</text:p>" * 3, title="Title of it"),
    "a.ods": d.odf("spreadsheet", "<table:table><table:table-row><text:p>x</text:p></table:table-row></table:table>"),
    "a.html": d.HTML.encode(),
    "a.eml": d.MAIL.encode(),
    "a.csv": "Кто;Сколько\n\"Анна\";12\n".encode("cp1251") * 5,
    "a.srt": d.SRT.encode(),
    "a.vtt": d.VTT.encode(),
    "a.txt": "Обычный текст и words\n".encode("koi8-r") * 3,
    "a.md": "# Заголовок\n\nтекст\n".encode("utf-16"),
    "photo.heic": (Path(__file__).parents[1] / "golden" / "photo.heic").read_bytes(),
    **{f"p.{form.lower()}": picture(form) for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")},
}  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Gives a sample with bits turned, a piece cut out, doubled or moved, or its end lost."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        if not out:
            break
        at, to = sorted((draw(st.integers(0, len(out) - 1)), draw(st.integers(0, len(out)))))
        change = draw(st.sampled_from(["turn", "cut", "double", "end", "noise"]))
        if change == "turn":
            out[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut":
            del out[at:to]
        elif change == "double":
            out[at:at] = out[at:to]
        elif change == "end":
            del out[at:]
        else:
            out[at : at + 8] = draw(st.binary(max_size=16))
    return bytes(out)


@st.composite
def broken(draw: st.DrawFn, name: str) -> bytes:
    data = SAMPLES[name]
    if data.startswith(b"PK") and draw(st.booleans()):
        archive = zipfile.ZipFile(io.BytesIO(data))
        victim = draw(st.sampled_from(archive.namelist()))
        parts = {n: archive.read(n) for n in archive.namelist()}
        parts[victim] = draw(mutated(parts[victim]))
        return d.package(parts)
    return draw(mutated(data))


SMALL = replace(Settings(), image_pixels=1_000_000, document_chars=100_000, document_pages=20, document_scans=3)


@pytest.mark.filterwarnings("ignore")  # Pillow tells of what it found in a broken picture
@pytest.mark.parametrize("name", SAMPLES)
def test_a_broken_original_gives_a_reading_or_a_reason_and_nothing_else(name: str):
    @hypothesis(max_examples=60, deadline=None)
    @given(broken(name))
    def check(data: bytes) -> None:
        reader = choose(name, data[:HEAD])
        if reader is None or reader.stage == "transcribe":  # a recording is streamed: see test_sound.py
            return
        try:
            reading = reader.read(data, SMALL, FakeRecogniser(lambda image: []))
        except ItemError:
            return
        assert len(reading.text.text) < 110_000
        for span in reading.text.spans:
            assert 0 <= span.start < span.end <= len(reading.text.text)

    check()


def test_every_reader_is_fuzzed():
    fuzzed = {choose(name, data[:HEAD]).module for name, data in SAMPLES.items()}
    assert fuzzed == {reader.module for reader in REGISTRY if reader.stage != "transcribe"}
