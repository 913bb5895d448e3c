"""A page of the hits of a search, in one file: pictures with the found words boxed, snippets, scores.

What was captured is data: every text is escaped, and the page's own policy lets nothing run and nothing be loaded, not
even a style that is not this one (its digest is in the policy), so all numbers of the layout are rules of that style.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from pomnit.doors.cli.terminal import clean, counted
from pomnit.errors import NotFound
from pomnit.memory import name_of
from pomnit.records import MARK_CLOSE, MARK_OPEN, Box, Hit, Passage, Query, SearchResult
from pomnit.search.marks import find
from pomnit.text.words import stem

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f1; --card: #fff; --ink: #1d1d1f; --soft: #66655f; --line: #dedcd3;
  --found: #e8590c; --mark: #ffe08a; --marked: #1d1d1f; --words: #2b6cb0; --vectors: #2f855a; --wash: #0000000d }
@media (prefers-color-scheme: dark) { :root { --paper: #16171a; --card: #212328; --ink: #ececec; --soft: #a2a29d;
  --line: #383b42; --found: #ff922b; --mark: #b98900; --marked: #fff; --words: #63a4e8; --vectors: #5fc08f;
  --wash: #ffffff12 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; line-height: 1.3 }
h2 { margin: 0; font-size: 1.1rem; line-height: 1.35 }
p { margin: 0 }
header { margin-bottom: 1.75rem }
.soft { color: var(--soft); font-size: .875rem }
article { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); margin-bottom: 1.5rem; overflow: hidden;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px }
article.plain { grid-template-columns: minmax(0, 1fr) }
figure { margin: 0; padding: 1rem; background: var(--wash); display: flex; align-items: start; justify-content: center }
.picture { position: relative; max-width: 100%; line-height: 0 }
.picture img { display: block; max-width: 100%; height: auto; border-radius: 6px }
.box { position: absolute; border: 2px solid var(--found); border-radius: 4px; margin: -3px; min-width: 6px;
  padding: 1px; box-shadow: 0 0 0 1px #fff9; box-sizing: content-box }
.text { padding: 1rem 1.25rem 1.1rem; display: grid; gap: .6rem; align-content: start }
mark { background: var(--mark); color: var(--marked); border-radius: 3px; padding: 0 .15em }
.legs { display: grid; grid-template-columns: max-content minmax(3rem, 9rem) max-content; gap: .2rem .6rem;
  align-items: center; margin: 0; font-size: .875rem }
.legs dt { grid-column: 1; color: var(--soft) }
.legs dd { margin: 0; display: contents; font-variant-numeric: tabular-nums }
.bar { height: 6px; border-radius: 3px; background: var(--wash); overflow: hidden }
.bar i { display: block; height: 100%; border-radius: 3px; background: var(--soft) }
.bar .words { background: var(--words) } .bar .vectors { background: var(--vectors) }
footer { margin-top: 2rem }
@media (max-width: 46rem) {
  body { padding: 1rem .75rem 2rem } h1 { font-size: 1.25rem }
  article { grid-template-columns: minmax(0, 1fr); border-radius: 10px }
  figure { padding: .5rem } .text { padding: .85rem .9rem 1rem }
  .box { border-width: 1px; margin: -2px; border-radius: 3px; box-shadow: none }
}
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(result: SearchResult, preview: Callable[[str], bytes]) -> str:
    """Gives the whole page of a result. ``preview`` gives the small picture of an item's id."""
    rules: list[str] = []
    cards = [_card(number, hit, result.query, preview, rules) for number, hit in enumerate(result.hits, 1)]
    style = _STYLE + "\n".join(rules) + "\n"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join([_head(result), *(cards or ["<p>Nothing was found.</p>"]), _foot()])
    return _PAGE.format(policy=policy, title=f"{_safe(_asked(result.query))} – Pomnit", style=style, body=body)


def _safe(text: str) -> str:
    """Gives a text as text: nothing of it is markup, and no character of it turns the direction of others."""
    return html.escape(clean(text), quote=True)


def _asked(query: Query) -> str:
    return " ".join([*([query.text] if query.text else []), *(f"{k}:{v}" for k, v in query.filters.items())])


def _head(result: SearchResult) -> str:
    legs = "; ".join(f"{leg.name} {leg.state}{f' ({leg.reason})' if leg.reason else ''}" for leg in result.legs)
    lines = [f"{counted(len(result.hits), 'hit')}. Legs: {legs}."]
    if result.unindexed.waiting or result.unindexed.failed:
        lines.append(f"Not searched yet: {result.unindexed.waiting} wait, {result.unindexed.failed} failed.")
    soft = "".join(f'<p class="soft">{_safe(line)}</p>' for line in lines)
    return f"<header><h1><bdi>{_safe(_asked(result.query))}</bdi></h1>{soft}</header>"


def _foot() -> str:
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f'<footer class="soft"><p>Made by Pomnit on {made}. This file loads nothing and sends nothing; it is not '
        "encrypted: whoever has it can read it.</p></footer>"
    )


def _card(number: int, hit: Hit, query: Query, preview: Callable[[str], bytes], rules: list[str]) -> str:
    picture = _picture(number, hit, query, preview, rules)
    when = datetime.fromisoformat(hit.item.time).astimezone().strftime("%Y-%m-%d %H:%M")
    state = "" if hit.item.state in ("ready", "working") else f", {hit.item.state}"
    if hit.passages and hit.passages[0].origin == "generated":
        state += ", found in a caption that a model generated"
    return f"""<article{"" if picture else ' class="plain"'}>
{picture}<div class="text">
<h2>{number}. <bdi>{_safe(hit.item.title)}</bdi></h2>
<p class="soft">{when}, {hit.item.kind}{state}</p>
<p><bdi>{_marked(hit.snippet)}</bdi></p>
{_scores(number, hit, rules)}
<p class="soft"><bdi>{_safe(name_of(hit.item))}</bdi></p>
<p class="soft">{_safe(hit.item.id)}</p>
</div>
</article>"""


def _picture(number: int, hit: Hit, query: Query, preview: Callable[[str], bytes], rules: list[str]) -> str:
    """Gives the figure with its boxes, whose places become rules; nothing when there is no picture."""
    data = b""
    with suppress(NotFound):
        data = preview(hit.item.id)
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return ""
    divs = []
    for i, box in enumerate(found_boxes(hit, query)):
        x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) * 100 for v in box)
        size = f"width: {x1 - x0:.2f}%; height: {y1 - y0:.2f}%"
        rules.append(f"#b{number}-{i} {{ left: {x0:.2f}%; top: {y0:.2f}%; {size} }}")
        divs.append(f'<div class="box" id="b{number}-{i}"></div>')
    source = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    boxes = "".join(divs)
    return f'<figure><div class="picture"><img src="{source}" alt="{_safe(hit.item.title)}">{boxes}</div></figure>\n'


def found_boxes(hit: Hit, query: Query) -> list[Box]:
    """Gives where found words lie on the picture that a preview shows: the whole image, or the first page."""
    return [
        place.box
        for passage in hit.passages
        if _holds(passage, query)  # else its places are those of all its words
        for place in passage.places
        if place.box is not None and place.page in (None, 1)
    ]


def _holds(passage: Passage, query: Query) -> bool:
    return bool(find(passage.text, {stem(word) for word in query.words}, query.words))


def _marked(snippet: str) -> str:
    return _safe(snippet).replace(MARK_OPEN, "<mark>").replace(MARK_CLOSE, "</mark>")


def _scores(number: int, hit: Hit, rules: list[str]) -> str:
    rows = []
    for i, (name, score) in enumerate([("score", hit.score), *hit.legs.items()]):
        rules.append(f"#s{number}-{i} {{ width: {min(max(score, 0.0), 1.0) * 100:.0f}% }}")
        kind = name if name in ("words", "vectors") else "all"
        rows.append(
            f'<dt>{_safe(name)}</dt><dd><span class="bar"><i class="{kind}" id="s{number}-{i}"></i></span>'
            f"<span>{score:.2f}</span></dd>"
        )
    return f'<dl class="legs">{"".join(rows)}</dl>'
