"""Which words of a text were found, and which piece of it is shown?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.errors import UsageError
from pomnit.records import MARK_CLOSE, MARK_OPEN, Place
from pomnit.search.marks import SNIPPET, find, snippet
from pomnit.search.query import understand
from pomnit.store.spans import pack, unpack
from pomnit.text.split import Span


def ranges(text: str, query: str) -> list[tuple[int, int]]:
    words = understand(query).words
    return find(text, {w.stem for w in words}, {w.text for w in words})


def shown(text: str, query: str) -> str:
    return snippet(text, ranges(text, query))


def plain(text: str) -> str:
    return " ".join(text.replace(MARK_OPEN, "").replace(MARK_CLOSE, "").split())


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("Оплата счёта за ёлку", "счет елка", "Оплата ⟦счёта⟧ за ⟦ёлку⟧"),
        ("Счёт. Расчёт, счета", "счёт", "⟦Счёт⟧. Расчёт, ⟦счета⟧"),
        ("The invoices were invoiced", "INVOICE", "The ⟦invoices⟧ were ⟦invoiced⟧"),
        ("старинные замки", "замками", "старинные ⟦замки⟧"),
        ("Internet2 is here", "internet", "⟦Internet2⟧ is here"),
        ("Internet2 is here", "internet2", "⟦Internet2⟧ is here"),
        ("всего 1 284,50 ₽", "1284", "всего ⟦1 284⟧,50 ₽"),
        ("всего 1 284,50 ₽", "1 284", "всего ⟦1 284⟧,50 ₽"),
        ("всего 12 500 000 ₽", "12 500 000", "всего ⟦12 500 000⟧ ₽"),
        ("H\u043em\u0435 page", "home", "⟦H\u043em\u0435⟧ page"),
        ("nothing of it", "elephant", "nothing of it"),
        ("cat category concatenate", "cat", "⟦cat⟧ category concatenate"),
        ("a\nline\t of  gaps", "line", "a ⟦line⟧ of gaps"),
        ("⟦not⟧ a mark", "mark", "[not] a ⟦mark⟧"),
        ("", "word", ""),
    ],
)
def test_the_words_that_were_found_are_marked(text, query, marked):
    assert shown(text, query) == marked


def test_the_piece_with_most_found_words_is_shown():
    text = "начало счёта. " + "пустые слова " * 60 + "счёт за октябрь оплачен " + "и ещё слова " * 60
    piece = shown(text, "счёт октябрь оплачен")
    assert "⟦счёт⟧ за ⟦октябрь⟧ ⟦оплачен⟧" in piece
    assert piece.startswith("…")
    assert piece.endswith("…")
    assert len(piece) <= SNIPPET + 2 + 2 * 6


def test_a_snippet_begins_and_ends_at_words():
    text = "abcdefgh " * 30 + "needle " + "stuvwxyz " * 60
    piece = plain(shown(text, "needle")).strip("…")
    assert set(piece.split()) == {"abcdefgh", "needle", "stuvwxyz"}


@pytest.mark.parametrize("text", ["x" * 1000, "иголка" + "x" * 1000, "x" * 1000 + " иголка", "\n" * 500 + "иголка"])
def test_a_text_without_spaces_is_shown_too(text):
    piece = shown(text, "иголка")
    assert plain(piece)
    assert len(plain(piece)) <= SNIPPET + 2
    assert ("⟦иголка⟧" in piece) == (" иголка" in text or "\nиголка" in text)


_PIECES = ["счёт ", "Счета, ", "1 284,50 ", "12 500 000 ", "…", "⟦", "⟧", "\n", "cat ", "category. ", "Internet2 ", "x"]
_TEXTS = st.lists(st.sampled_from(_PIECES) | st.text(max_size=8), max_size=60).map("".join)
_QUERIES = st.lists(st.sampled_from(["счёт", "1 284", "1284", "500", "cat", "internet", "категория"]), min_size=1).map(
    " ".join
) | st.text(max_size=12)


@given(_TEXTS, _QUERIES)
def test_without_its_marks_a_snippet_is_a_piece_of_the_text(text, query):
    try:
        piece = shown(text, query)
    except UsageError:
        return
    source = " ".join(text.replace(MARK_OPEN, "[").replace(MARK_CLOSE, "]").split())
    assert plain(piece) == source or plain(piece).removeprefix("…").removesuffix("…").strip() in source
    depth = [1 if c == MARK_OPEN else -1 for c in piece if c in MARK_OPEN + MARK_CLOSE]
    assert depth == [1, -1] * (len(depth) // 2)  # pairs, never one inside another


@given(_TEXTS, _QUERIES)
def test_found_words_are_in_order_and_apart(text, query):
    try:
        found = ranges(text, query)
    except UsageError:
        return
    ends = [0] + [end for _, end in found]
    assert all(start < end for start, end in found)
    assert all(ends[i] <= start for i, (start, _) in enumerate(found))


def test_the_places_of_found_words_are_those_that_hold_them():
    spans = [Span(i * 10, i * 10 + 5, Place(line=i)) for i in range(5)]
    assert unpack(pack(spans), [(10, 15), (12, 13), (29, 31)]) == [spans[1], spans[3]]
    assert unpack(pack(spans), [(3, 12)]) == [spans[0], spans[1]]
    assert unpack(pack(spans), [(5, 10), (45, 50)]) == []
    assert unpack(pack(spans), []) == []
    assert unpack(pack([]), [(0, 5)]) == []
