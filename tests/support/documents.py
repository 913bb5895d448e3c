"""Documents to remember, made byte by byte, so that each test says all that is in its sample."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

_CMAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def
1 begincodespacerange <00> <FF> endcodespacerange
3 beginbfrange <20> <7E> <0020> <C0> <FF> <0410> <A8> <A8> <0401> endbfrange
endcmap end end"""


def _stream(data: bytes, facts: str = "") -> bytes:
    return f"<< /Length {len(data)} {facts}>>\nstream\n".encode() + data + b"\nendstream"


def _drawn(page: str | Image.Image, size: tuple[int, int]) -> bytes:
    """Gives the drawing of one page: lines of text from the top left, those that begin with # large; or a picture."""
    width, height = size
    if isinstance(page, Image.Image):
        return f"q {width} 0 0 {height} 0 0 cm /I Do Q".encode()
    parts, y = [b"BT"], height - 72
    for line in page.split("\n"):
        points = 24 if line.startswith("#") else 12
        hexed = line.removeprefix("#").strip().encode("cp1251").hex()
        parts.append(f"/F {points} Tf 1 0 0 1 72 {y} Tm <{hexed}> Tj".encode())
        y -= points + 2
    return b"\n".join([*parts, b"ET"])


def pdf(
    *pages: str | Image.Image, info: Mapping[str, str] | None = None, size: tuple[int, int] = (600, 800), more: str = ""
) -> bytes:
    """Gives a PDF; a picture as a page has no text layer. ``more`` goes into each page's dictionary."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /FirstChar 0 /LastChar 255 /ToUnicode 4 0 R >>"
    )
    objects.append(_stream(_CMAP.encode()))
    facts = "".join(f"/{k} <feff{v.encode('utf-16-be').hex()}> " for k, v in (info or {}).items())
    objects.append(f"<< {facts}>>".encode())
    kids = []
    for page in pages:
        images = ""
        if isinstance(page, Image.Image):
            raw = page.convert("RGB")
            shape = f"/Type /XObject /Subtype /Image /Width {raw.width} /Height {raw.height} "
            objects.append(_stream(raw.tobytes(), shape + "/ColorSpace /DeviceRGB /BitsPerComponent 8 "))
            images = f"/XObject << /I {len(objects)} 0 R >> "
        objects.append(_stream(_drawn(page, size)))
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Contents {len(objects)} 0 R "
            f"/Resources << /Font << /F 3 0 R >> {images}>> {more}>>".encode()
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>".encode()
    return _pdf_file(objects)


def _pdf_file(objects: Sequence[bytes]) -> bytes:
    out, starts = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        starts.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(starts) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{start:010} 00000 n \n".encode() for start in starts)
    return (
        bytes(out)
        + f"trailer << /Size {len(starts) + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{table}\n%%EOF".encode()
    )


def package(parts: Mapping[str, str | bytes], *, first: str = "") -> bytes:
    """Gives a ZIP archive; ``first`` is the type that an OpenDocument states before everything else."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        if first:
            file.writestr(zipfile.ZipInfo("mimetype"), f"application/vnd.oasis.opendocument.{first}")
        for name, content in parts.items():
            file.writestr(name, content)
    return out.getvalue()


def office(main: str, kind: str, parts: Mapping[str, str | bytes], *, title: str = "", modified: str = "") -> bytes:
    """Gives an Office document whose main part is ``main``."""
    kind = f"application/vnd.openxmlformats-officedocument.{kind}.main+xml"
    core = (
        f"<cp:x xmlns:cp='c' xmlns:d='d'><d:title>{escape(title)}</d:title><d:modified>{modified}</d:modified></cp:x>"
    )
    types = f'<Types><Override PartName="/{main}" ContentType="{kind}"/></Types>'
    return package({"[Content_Types].xml": types, "docProps/core.xml": core, **parts})


def relations(*targets: tuple[str, str]) -> str:
    """Gives the part that names the parts another refers to, as rId1, rId2 and so on."""
    rows = (f'<Relationship Id="rId{i}" Type="t/{k}" Target="{t}"/>' for i, (k, t) in enumerate(targets, 1))
    return f"<Relationships>{''.join(rows)}</Relationships>"


def docx(body: str, parts: Mapping[str, str | bytes] | None = None, **facts: str) -> bytes:
    """Gives a Word document of this body (what is in w:body)."""
    main = f'<w:document xmlns:w="w" xmlns:mc="mc"><w:body>{body}</w:body></w:document>'
    return office(
        "word/document.xml", "wordprocessingml.document", {"word/document.xml": main, **(parts or {})}, **facts
    )


def paragraph(text: str, style: str = "") -> str:
    """Gives a paragraph of a Word document."""
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{named}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def pptx(*slides: tuple[str, str], notes: str = "", **facts: str) -> bytes:
    """Gives slides of a title and a text each, shown in the reverse order of their parts; notes are the first's."""
    n = len(slides)
    ids = "".join(f'<p:sldId id="{256 + i}" r:id="rId{n - i}"/>' for i in range(n))
    show = f'<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>'
    parts = {"ppt/presentation.xml": show}
    parts["ppt/_rels/presentation.xml.rels"] = relations(*(("slide", f"slides/slide{i + 1}.xml") for i in range(n)))
    for i, (title, text) in enumerate(reversed(slides), 1):
        shapes = f'<p:sp><p:ph type="ctrTitle"/><a:p><a:r><a:t>{escape(title)}</a:t></a:r></a:p></p:sp>'
        shapes += f"<p:sp><a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p></p:sp>"
        parts[f"ppt/slides/slide{i}.xml"] = f'<p:sld xmlns:p="p" xmlns:a="a">{shapes}</p:sld>'
    said = f'<p:notes xmlns:p="p" xmlns:a="a"><a:p><a:t>{escape(notes)}</a:t></a:p></p:notes>'
    parts["ppt/notesSlides/notesSlide1.xml"] = said
    parts[f"ppt/slides/_rels/slide{n}.xml.rels"] = relations(("notesSlide", "../notesSlides/notesSlide1.xml"))
    return office("ppt/presentation.xml", "presentationml.presentation", parts, **facts)


def xlsx(sheets: Mapping[str, str], strings: Sequence[str] = (), *, formats: str = "", **facts: str) -> bytes:
    """Gives a spreadsheet; each sheet is what is in its sheetData. Style 1 is a date, 2 has the format ``formats``."""
    names = "".join(f"<sheet name={quoteattr(name)} r:id='rId{i}'/>" for i, name in enumerate(sheets, 1))
    styles = f"<numFmts><numFmt numFmtId='170' formatCode={quoteattr(formats)}/></numFmts>"
    styles += "<cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='170'/></cellXfs>"
    parts = {
        "xl/workbook.xml": f"<workbook xmlns:r='r'><sheets>{names}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(*(("worksheet", f"s{i}.xml") for i in range(1, len(sheets) + 1))),
        "xl/sharedStrings.xml": f"<sst>{''.join(f'<si><t>{escape(s)}</t></si>' for s in strings)}</sst>",
        "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>",
    }
    parts |= {f"xl/s{i}.xml": f"<ws><sheetData>{rows}</sheetData></ws>" for i, rows in enumerate(sheets.values(), 1)}
    return office("xl/workbook.xml", "spreadsheetml.sheet", parts, **facts)


def odf(kind: str, body: str, *, title: str = "", date: str = "", manifest: str = "") -> bytes:
    """Gives an OpenDocument; ``kind`` is text, spreadsheet or presentation."""
    return package(
        {
            "content.xml": f"<o:c xmlns:o='o' xmlns:text='t' xmlns:table='tb' xmlns:draw='d'>{body}</o:c>",
            "meta.xml": f"<o:m xmlns:o='o' xmlns:dc='dc'><dc:title>{title}</dc:title><dc:date>{date}</dc:date></o:m>",
            "META-INF/manifest.xml": f"<m>{manifest}</m>",
        },
        first=kind,
    )


HTML = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Расписание &amp; цены</title><style>p { color: hidden }</style></head>
<body><script>var hidden = "<p>never read</p>";</script>
<h1>Heading of the page</h1>
<p>Автобус отходит <b>в 7:45</b> от при<i>стани</i>.</p><p>Next.</p>
<table><tr><td>One</td><td>Two</td></tr></table></body></html>"""

SRT = """1
00:00:01,500 --> 00:00:03,000
<i>Привет, капитан!</i>

2
00:01:10,000 --> 00:01:12,250
{\\an8}The harbour is closed
"""

VTT = """WEBVTT

NOTE nobody says this

intro
00:01.000 --> 00:02.000 align:start
<v Anna>First words

01:00:00.000 --> 01:00:05.000
Hour words
"""

MAIL = """From: =?utf-8?B?0JDQvdC90LA=?= <anna@example.org>
To: boris@example.org
Subject: =?koi8-r?B?8M/F2sTLwQ==?= report
Date: Tue, 03 Nov 2026 09:41:07 +0300
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=windows-1251
Content-Transfer-Encoding: base64

{text}
--b
Content-Type: application/pdf; name="plan.pdf"
Content-Disposition: attachment; filename="plan.pdf"
Content-Transfer-Encoding: base64

AAAA
--b
Content-Type: message/rfc822

Subject: inner
From: inner@example.org

Words of the inner mail
--b--
"""
