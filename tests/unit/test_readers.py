"""Every kind of original: what is read of it, where it lies, its title and its time; and found through a memory."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pomnit import Memory, Settings
from pomnit.engines.fake import FakeRecogniser
from pomnit.errors import ItemError
from pomnit.readers import HEAD, Reading, choose
from pomnit.records import Place
from pomnit.store.spans import pack, unpack
from pomnit.text.split import Span
from support import documents as d
from support.pictures import picture, written_on

GOLDEN = Path(__file__).parents[1] / "golden"
MAIL = d.MAIL.format(text=base64.b64encode("Встреча переносится".encode("cp1251")).decode()).encode()


def read(name: str, data: bytes, settings: Settings, *, eyes: bool = False) -> Reading:
    """Reads as ingest does: the reader is chosen by the first bytes and the name."""
    reader = choose(name, data[:HEAD])
    assert reader is not None
    return reader.read(data, settings, FakeRecogniser(written_on) if eyes else None)


def places(reading: Reading, word: str) -> list[Place]:
    """Gives where a word of a reading lies."""
    start = reading.text.text.index(word)
    return [s.place for s in reading.text.spans if s.start < start + len(word) and start < s.end]


def scan() -> Image.Image:
    return Image.new("RGB", (300, 400), "white")


# PDF


def test_a_pdf_has_its_words_with_page_and_box(settings: Settings):
    reading = read("a", d.pdf("First page\nwith Ёлка", "Вторая страница"), settings)
    assert reading.text.text == "First page\nwith Ёлка\n\nВторая страница"
    (place,) = places(reading, "Ёлка")
    assert place.page == 1
    x0, y0, x1, y1 = place.box
    assert 0.15 < x0 < x1 < 0.25  # 72 of 600 points from the left, after "with "
    assert 0.09 < y0 < y1 < 0.13  # 86 of 800 points from the top
    assert places(reading, "страница")[0].page == 2
    assert not reading.more
    assert Image.open(io.BytesIO(reading.preview)).format == "WEBP"


def test_a_pdf_that_is_shown_turned_has_its_boxes_as_it_is_shown(settings: Settings):
    (place,) = places(read("a", d.pdf("word", more="/Rotate 90"), settings), "word")
    x0, y0, _, y1 = place.box
    assert x0 > 0.85  # what was at the top is at the right
    assert y0 == pytest.approx(72 / 600, abs=0.01)
    assert y1 > y0


def test_a_word_broken_at_the_end_of_a_line_is_one_word_at_two_places(settings: Settings):
    reading = read("a", d.pdf("the exam-\nple of it"), settings)
    assert "the example of it" in reading.text.text
    assert len(places(reading, "example")) == 2


def test_lines_far_apart_are_paragraphs(settings: Settings):
    assert read("a", d.pdf("one line\nits next\n\n\nanother"), settings).text.text == "one line\nits next\n\nanother"


@pytest.mark.parametrize(
    ("info", "page", "title"),
    [
        ({"Title": "Мой договор"}, "text", "Мой договор"),
        ({"Title": "Microsoft Word - draft7.doc"}, "#The Large Line\nsmall line\nsmall line", "The Large Line"),
        ({"Title": "untitled"}, "small line\nsmall line", None),
        ({"Title": "Äîãîâîð àðåíäû êâàðòèðû"}, "text", "Договор аренды квартиры"),
        ({}, "#Scandinavian Trip\nsmall line\nsmall line", "Scandinavian Trip"),
    ],
)
def test_the_title_of_a_pdf_is_its_own_where_it_says_something(
    settings: Settings, info: dict[str, str], page: str, title: str | None
):
    assert read("a", d.pdf(page, info=info), settings).title == title


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("D:20261103094107+03'00'", "2026-11-03T06:41:07.000Z"),
        ("D:20261103094107Z", "2026-11-03T09:41:07.000Z"),
        ("D:2026", "2026-01-01T00:00:00.000Z"),
        ("D:20269903094107Z", None),
        ("yesterday", None),
    ],
)
def test_the_time_of_a_pdf_is_when_it_says_it_was_made(settings: Settings, date: str, time: str | None):
    assert read("a", d.pdf("text", info={"CreationDate": date}), settings).time == time


def test_a_page_without_text_waits_for_the_recogniser_and_the_others_do_not(settings: Settings):
    data = d.pdf("The first page has letters enough", scan())
    first = read("a", data, settings)
    assert first.more
    assert "letters" in first.text.text
    sizes = []

    def recognise(image: Image.Image):
        sizes.append(image.size)
        return written_on_page("увидено")

    whole = choose("a", data[:HEAD]).read(data, settings, FakeRecogniser(recognise))
    assert not whole.more
    assert "letters" in whole.text.text
    assert places(whole, "увидено") == [Place(page=2, box=(0.1, 0.1, 0.3, 0.2))]
    assert sizes == [(1667, 2223)]  # 600 x 800 points at 200 dpi


def written_on_page(word: str):
    from pomnit.engines.protocols import Line, Word

    return [Line((Word(word, (0.1, 0.1, 0.3, 0.2), 0.9),), 0)]


def test_an_empty_page_is_not_recognised(settings: Settings):
    assert not read("a", d.pdf(""), settings).more


def test_a_huge_page_is_drawn_in_bounds(settings: Settings):
    sizes = []
    data = d.pdf(scan(), size=(14400, 14400))
    choose("a", data[:HEAD]).read(data, settings, FakeRecogniser(lambda image: sizes.append(image.size) or []))
    assert sizes[0][0] * sizes[0][1] <= 12_100_000


def test_a_pdf_of_many_pages_is_read_to_its_limit_and_says_so(settings: Settings):
    few = replace(settings, document_pages=3)
    text = read("a", d.pdf(*(f"page number {i}" for i in range(30))), few).text.text
    assert "page number 2" in text
    assert "page number 3" not in text
    assert text.endswith("[cut after 3 of 30 pages: setting document_pages]")


def test_pages_that_would_be_recognised_are_bounded_and_it_says_so(settings: Settings):
    few = replace(settings, document_scans=2)
    text = read("a", d.pdf(*[scan()] * 5), few, eyes=True).text.text
    assert "3 more pages without text were not recognised" in text


# Office


def test_a_word_document_has_paragraphs_tables_and_notes_but_not_what_was_deleted(settings: Settings):
    body = d.paragraph("Первый аб").replace("</w:p>", "<w:r><w:t>зац</w:t></w:r></w:p>")
    body += (
        "<w:p><w:del><w:r><w:delText>removed</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
    )
    cells = [f"<w:tc>{d.paragraph(c)}</w:tc>" for c in ("Цена", "1200", "Итого", "3400")]
    body += f"<w:tbl><w:tr>{cells[0]}{cells[1]}</w:tr><w:tr>{cells[2]}{cells[3]}</w:tr></w:tbl>"
    body += f"<mc:AlternateContent><mc:Choice>{d.paragraph('shape')}</mc:Choice><mc:Fallback>{d.paragraph('shape')}"
    body += "</mc:Fallback></mc:AlternateContent>"
    note = f'<w:footnotes xmlns:w="w">{d.paragraph("a footnote")}</w:footnotes>'
    reading = read("a", d.docx(body, {"word/footnotes.xml": note}), settings)
    assert reading.text.text == "Первый абзац\n\nЦена\t1200\nИтого\t3400\nshape\n\na footnote"


def test_pages_of_a_word_document_are_those_of_its_last_printing(settings: Settings):
    turn, asked = "<w:p><w:lastRenderedPageBreak/></w:p>", '<w:p><w:br w:type="page"/></w:p>'
    body = d.paragraph("one") + turn + d.paragraph("two") + asked + turn + d.paragraph("three")
    reading = read("a", d.docx(body), settings)
    assert [places(reading, word) for word in ("one", "two", "three")] == [[Place(page=i)] for i in (1, 2, 3)]
    assert places(read("a", d.docx(d.paragraph("unprinted")), settings), "unprinted") == []


def test_title_and_time_of_a_word_document_are_its_own(settings: Settings):
    facts = {"title": "Договор &amp; акт", "modified": "2026-11-03T09:41:07Z"}
    reading = read("a", d.docx(d.paragraph("x"), **facts), settings)
    assert (reading.title, reading.time) == ("Договор &amp; акт", "2026-11-03T09:41:07.000Z")
    styles = '<w:s xmlns:w="w"><w:style w:styleId="a3"><w:name w:val="Title"/></w:style></w:s>'
    body = d.paragraph("before") + d.paragraph("Заголовок по стилю", "a3") + d.paragraph("Second", "a3")
    reading = read("a", d.docx(body, {"word/styles.xml": styles}, title="Document1"), settings)
    assert (reading.title, reading.time) == ("Заголовок по стилю", None)


def test_slides_come_in_the_order_in_which_they_are_shown_with_their_notes(settings: Settings):
    reading = read("a", d.pptx(("Итоги", "первый слайд"), ("Plans", "second slide"), notes="spoken"), settings)
    assert reading.text.text == "Итоги\n\nпервый слайд\n\nspoken\n\nPlans\n\nsecond slide"
    assert places(reading, "spoken") == [Place(page=1)]
    assert places(reading, "second") == [Place(page=2)]
    assert reading.title == "Итоги"


def test_a_spreadsheet_has_rows_with_dates_as_dates(settings: Settings):
    rows = '<row r="2"><c t="s"><v>0</v></c><c s="1"><v>46329</v></c><c s="2"><v>46329.5</v></c></row>'
    rows += '<row r="9"><c><v>0.30000000000000004</v></c><c t="b"><v>1</v></c><c t="s"><v>77</v></c>'
    rows += '<c t="inlineStr"><is><t>written here</t></is></c></row>'
    data = d.xlsx(
        {"Расходы": rows, "Sheet2": '<row><c t="str"><v>of a formula</v></c></row>'}, ["Иванов"], formats="d/m h:mm"
    )
    reading = read("a", data, settings)
    assert reading.text.text == (
        "Расходы\nИванов\t2026-11-03\t2026-11-03 12:00\n0.3\tTRUE\twritten here\n\nof a formula"
    )
    assert places(reading, "Иванов") == [Place(sheet="Расходы", line=2)]
    assert places(reading, "written") == [Place(sheet="Расходы", line=9)]
    assert places(reading, "formula") == [Place(sheet="Sheet2", line=1)]


def test_a_spreadsheet_of_many_rows_is_read_to_its_limit_and_says_so(settings: Settings):
    rows = "".join(f"<row><c><v>{i}</v></c></row>" for i in range(1_000, 3_000))
    text = read("a", d.xlsx({"Sheet1": rows}), replace(settings, document_rows=50)).text.text
    assert "1049" in text
    assert "1050" not in text
    assert text.endswith("[cut after 50 rows: setting document_rows]")


def test_an_opendocument_text_has_paragraphs_and_its_heading(settings: Settings):
    body = "<text:h>Глава первая</text:h><text:p>Абзац<text:s/>с<text:tab/>знаками</text:p>"
    body += "<text:tracked-changes><text:p>removed</text:p></text:tracked-changes>"
    reading = read("a", d.odf("text", body, date="2026-11-03T09:41:07"), settings)
    assert reading.text.text == "Глава первая\n\nАбзац с\tзнаками"
    assert (reading.title, reading.time) == ("Глава первая", "2026-11-03T09:41:07.000Z")


def test_an_opendocument_sheet_counts_its_repeated_rows(settings: Settings):
    row = "<table:table-row{}><table:table-cell><text:p>{}</text:p></table:table-cell></table:table-row>"
    empty = '<table:table-row table:number-rows-repeated="5"><table:table-cell/></table:table-row>'
    body = f'<table:table table:name="Смета">{row.format("", "one")}{empty}{row.format("", "seven")}</table:table>'
    reading = read("a", d.odf("spreadsheet", body), settings)
    assert reading.text.text == "Смета\none\nseven"
    assert places(reading, "seven") == [Place(sheet="Смета", line=7)]


def test_opendocument_slides_are_pages(settings: Settings):
    body = "<draw:page><text:p>Opening</text:p></draw:page><draw:page><text:p>Конец</text:p></draw:page>"
    reading = read("a", d.odf("presentation", body), settings)
    assert places(reading, "Конец") == [Place(page=2)]
    assert reading.title == "Opening"


# Text in other forms


def test_a_web_page_has_what_is_read_on_it(settings: Settings):
    reading = read("a.html", d.HTML.encode(), settings)
    assert reading.text.text == "Heading of the page\n\nАвтобус отходит в 7:45 от пристани.\n\nNext.\n\nOne\tTwo"
    assert reading.title == "Расписание & цены"
    assert places(reading, "Автобус") == [Place(line=5)]


def test_a_web_page_is_read_in_the_encoding_that_it_has(settings: Settings):
    page = d.HTML.replace("utf-8", "windows-1251")
    assert "Автобус" in read("a.html", page.encode("cp1251"), settings).text.text
    assert "Автобус" in read("a.html", page.encode(), settings).text.text  # it lies, as pages do


def test_a_mail_has_subject_people_text_and_what_is_attached(settings: Settings):
    reading = read("a.eml", MAIL, settings)
    assert (reading.title, reading.time) == ("Поездка report", "2026-11-03T06:41:07.000Z")
    text = reading.text.text
    assert "From: Анна <anna@example.org>" in text
    assert "Встреча переносится" in text
    assert "Attachment: plan.pdf" in text
    assert text.endswith("From: inner@example.org\nSubject: inner\n\nWords of the inner mail")


def test_of_a_mail_in_two_forms_one_is_read(settings: Settings):
    mail = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n"
    plain, rich = (
        "--b\nContent-Type: text/plain\n\n{}\n",
        "--b\nContent-Type: text/html\n\n<p>rich <b>form</b></p>\n--b--\n",
    )
    assert read("a.eml", (mail + plain.format("plain form") + rich).encode(), settings).text.text.endswith("plain form")
    assert read("a.eml", (mail + plain.format("") + rich).encode(), settings).text.text.endswith("rich form")


def test_headers_with_bytes_that_no_standard_allows_are_read(settings: Settings):
    mail = "Subject: Отчёт за ноябрь\nFrom: Анна\n\nТекст письма".encode("cp1251")
    reading = read("a.eml", mail, settings)
    assert reading.title == "Отчёт за ноябрь"
    assert "Текст письма" in reading.text.text


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_has_its_rows_at_their_lines(settings: Settings, sign: str):
    rows = ["Кто", "Сколько"], ["Анна", "12"], ['"two\nlines"', ""], ["Борис", "7"]
    reading = read("a.csv", "\n".join(sign.join(row) for row in rows).encode(), settings)
    assert reading.text.text == "Кто\tСколько\nАнна\t12\ntwo lines\nБорис\t7"
    assert places(reading, "Борис") == [Place(line=5)]


def test_a_table_with_a_quote_that_is_never_closed_is_read_to_its_end(settings: Settings):
    text = read("a.csv", ('first,row\n"never closed,' + "x,y\n" * 50_000 + "last,row").encode(), settings).text.text
    assert text.startswith("first\trow")
    assert text.endswith("last\trow")


def test_a_table_of_many_rows_is_read_to_its_limit_and_says_so(settings: Settings):
    text = read("a.csv", b"one,row\n" * 100, replace(settings, document_rows=10)).text.text
    assert text.count("one\trow") == 10
    assert text.endswith("[cut after 10 rows: setting document_rows]")


def test_subtitles_have_their_seconds(settings: Settings):
    reading = read("a.srt", d.SRT.encode("cp1251"), settings)
    assert reading.text.text == "Привет, капитан!\n\nThe harbour is closed"
    assert places(reading, "капитан") == [Place(start_s=1.5, end_s=3.0)]
    assert places(reading, "harbour") == [Place(start_s=70.0, end_s=72.25)]


def test_subtitles_of_the_web_have_their_seconds(settings: Settings):
    reading = read("a.vtt", d.VTT.encode(), settings)
    assert reading.text.text == "First words\n\nHour words"
    assert places(reading, "Hour") == [Place(start_s=3600.0, end_s=3605.0)]


def test_a_text_named_as_subtitles_fails(settings: Settings):
    with pytest.raises(ItemError, match="no subtitles"):
        read("a.srt", b"just words", settings)


# Pictures


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.avif"])
def test_a_picture_of_each_form_is_recognised(settings: Settings, files: Path, name: str):
    data = picture(files / name, "маяк").read_bytes()
    reading = read("x", data, settings, eyes=True)
    assert reading.text.text == "маяк"
    assert places(reading, "маяк")[0].page is None


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_pictures_of_older_forms_are_recognised_too(settings: Settings, form: str):
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, form)
    reader = choose("x", out.getvalue()[:HEAD])
    assert reader.media_type == f"image/{form.lower()}"
    seen = reader.read(out.getvalue(), settings, FakeRecogniser(lambda image: written_on_page(f"{image.size}")))
    assert seen.text.text == "(30, 20)"


def test_a_photo_of_a_telephone_is_recognised_with_its_time(settings: Settings):
    reading = read("x", (GOLDEN / "photo.heic").read_bytes(), settings, eyes=True)
    assert reading.text.text == "маяк at the harbour"
    assert reading.time == "2026-11-03T06:41:07.000Z"


def test_every_page_of_a_tiff_is_recognised(settings: Settings):
    pages, out = [Image.new("RGB", (30 + i, 20)) for i in range(5)], io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    eyes = FakeRecogniser(lambda image: written_on_page(f"width{image.width}"))
    reader = choose("x", out.getvalue()[:HEAD])
    reading = reader.read(out.getvalue(), settings, eyes)
    assert places(reading, "width34") == [Place(page=5, box=(0.1, 0.1, 0.3, 0.2))]
    cut = reader.read(out.getvalue(), replace(settings, document_scans=2), eyes).text.text
    assert cut.endswith("[cut after 2 of 5 pages: setting document_scans]")


# Places


def test_a_sheet_is_kept_with_its_place_and_older_places_are_still_read():
    spans = [Span(0, 4, Place(sheet="Расходы", line=9)), Span(5, 9, Place(page=2, box=(0.1, 0.2, 0.3, 0.4)))]
    assert unpack(pack(spans)) == spans
    older = zlib.compress(json.dumps([[0, 4, None, None, 3], [5, 4, None, None, None, 1.0, 2.0]]).encode())
    assert unpack(older) == [Span(0, 4, Place(line=3)), Span(5, 9, Place(start_s=1.0, end_s=2.0))]


def test_a_hit_in_a_table_names_its_sheet_and_row(cli: Callable[..., Any], files: Path):
    (files / "a.xlsx").write_bytes(d.xlsx({"Расходы": '<row r="7"><c t="s"><v>0</v></c></row>'}, ["стоматолог"]))
    cli("add", files)
    assert "sheet Расходы row 7" in cli("search", "стоматолог").out


# Which reader


SAMPLES: dict[str, Callable[[], bytes]] = {
    "pdf": lambda: d.pdf("A pdf that speaks of a lighthouse"),
    "docx": lambda: d.docx(d.paragraph("A letter that speaks of a lighthouse")),
    "pptx": lambda: d.pptx(("Slides", "about a lighthouse")),
    "xlsx": lambda: d.xlsx({"Sheet1": '<row><c t="s"><v>0</v></c></row>'}, ["the lighthouse"]),
    "odt": lambda: d.odf("text", "<text:p>about a lighthouse</text:p>"),
    "ods": lambda: d.odf(
        "spreadsheet", "<table:table><table:table-row><text:p>lighthouse</text:p></table:table-row></table:table>"
    ),
    "odp": lambda: d.odf("presentation", "<draw:page><text:p>a lighthouse</text:p></draw:page>"),
    "html": lambda: b"<title>A page</title><p>about a lighthouse",
    "eml": lambda: b"Subject: A mail\n\nabout a lighthouse",
    "csv": lambda: b"what,where\nlighthouse,north",
    "srt": lambda: b"1\n00:00:01,000 --> 00:00:02,000\na lighthouse\n",
    "vtt": lambda: b"WEBVTT\n\n00:01.000 --> 00:02.000\na lighthouse\n",
    "txt": lambda: b"a lighthouse",
    "md": lambda: b"# A lighthouse",
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_kind_is_found_through_a_memory(memory: Memory, files: Path, kind: str):
    (files / f"sample.{kind}").write_bytes(SAMPLES[kind]())
    assert memory.add([files]).failures == ()
    (hit,) = memory.search("lighthouse")
    assert hit.item.kind == ("note" if kind in ("txt", "md") else "document")


def test_a_scanned_pdf_is_found_after_it_was_recognised(memory: Memory, files: Path):
    (files / "a.pdf").write_bytes(d.pdf("The first page says seagull in letters", scan()))
    report = memory.add([files])
    assert (report.new, report.failed, report.waiting) == (1, 0, 0)
    assert len(memory.search("seagull")) == 1


@pytest.mark.parametrize("kind", ["pdf", "docx", "pptx", "xlsx", "odt", "ods", "odp"])
@pytest.mark.parametrize("name", ["photo.png", "notes.txt", "a.docx", "a.xlsx", "no suffix"])
def test_a_document_is_known_by_its_bytes_not_by_its_name(settings: Settings, kind: str, name: str):
    assert "lighthouse" in read(name, SAMPLES[kind](), settings).text.text


def test_a_text_that_begins_like_a_bitmap_is_a_text():
    assert choose("cars.txt", b"BMW makes cars, and this is a text about them").media_type == "text/plain"


def test_an_archive_with_its_parts_in_another_order_is_read_by_what_it_holds(settings: Settings):
    import zipfile

    original = zipfile.ZipFile(io.BytesIO(SAMPLES["docx"]()))
    turned = d.package({"zzz/filler.bin": bytes(9000), **{n: original.read(n) for n in reversed(original.namelist())}})
    assert "lighthouse" in read("misnamed.xlsx", turned, settings).text.text
    assert choose("archive.zip", d.package({"readme.txt": "x" * 9000})[:HEAD]) is None


@pytest.mark.parametrize("address", ["https://example.org/a page", "http://localhost/x", "FTP://example.org/f.pdf"])
def test_an_address_is_not_fetched_and_it_says_what_to_do(memory: Memory, address: str):
    (failure,) = memory.add([address]).failures
    assert failure.name == address
    assert "does not go to the network" in failure.reason
    assert "save the page" in failure.reason


def test_no_text_grows_beyond_its_limit(settings: Settings):
    small = replace(settings, document_chars=500)
    for kind, sample in {
        "pdf": d.pdf(*["many words on a page"] * 90),
        "docx": d.docx(d.paragraph("many words") * 500),
        "html": b"<p>many words" * 500,
        "csv": b"many,words\n" * 500,
        "eml": b"Subject: x\n\n" + b"many words\n" * 500,
        "srt": b"00:00:01,000 --> 00:00:02,000\n" + b"".join(b"line %d\n" % i for i in range(500)),
    }.items():
        reading = read(f"a.{kind}", sample, small)
        assert reading.text.text.endswith("\n\n[cut after 500 characters]"), kind
        assert len(reading.text.text) < 540
