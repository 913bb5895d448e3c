"""Evidence: passages with their neighbours, each screen once, packed in the order of their rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from pomnit import Memory
from pomnit.records import Place
from pomnit.search.evidence import LONGEST, Evidence, Ranked, evidence, in_words
from pomnit.search.question import wanted
from support.pictures import note, picture

LOREM = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."


def rows(memory: Memory, *titles: str) -> list[Ranked]:
    """Gives the first passages of items in the order of their titles, as a search might."""
    found = dict(
        memory._store.database.rows(
            "SELECT title, passage.id FROM passage JOIN item ON item.id = passage.item WHERE ordinal = 0"
        )
    )
    return [Ranked(found[title], 1 - n / 10) for n, title in enumerate(titles)]


def of(memory: Memory, question: str, *titles: str, **named: int) -> Evidence:
    return evidence(memory._store, wanted(question), rows(memory, *titles), **named)


def test_a_paragraph_that_was_cut_in_two_is_whole_again(memory: Memory, files: Path) -> None:
    text = f"{LOREM} " * 12 + "The password of the guest network is Heron77. It is changed in May."
    note(files / "long.txt", text)
    memory.add([files])
    assert len(memory._store.items.passage_rows(1)) > 1
    found = of(memory, "password?", "long")
    assert " ".join(found.pieces[0].text.split()) == text
    assert found.offered[0].text == found.pieces[0].passage.text == found.pieces[0].text


def test_a_piece_of_a_long_document_is_bounded_and_holds_what_was_found(memory: Memory, files: Path) -> None:
    note(files / "book.txt", "\n\n".join(f"Глава {n}. {LOREM * 8}" for n in range(12)))
    memory.add([files])
    row = memory._store.items.passage_rows(1)[6]
    found = evidence(memory._store, wanted("глава?"), [Ranked(row, 1.0)])
    own = memory._store.items.passages([row])[0].record
    assert own.text in found.pieces[0].text
    assert own.id == found.pieces[0].passage.id
    assert len(found.pieces[0].text) <= LONGEST


def test_passages_side_by_side_make_one_piece_and_those_apart_make_several(memory: Memory, files: Path) -> None:
    note(files / "book.txt", "\n\n".join(f"Глава {n}. {LOREM * 8}" for n in range(12)))
    memory.add([files])
    passages = memory._store.items.passage_rows(1)
    near = evidence(memory._store, wanted("глава?"), [Ranked(passages[3], 1.0), Ranked(passages[4], 0.9)])
    apart = evidence(memory._store, wanted("глава?"), [Ranked(passages[1], 1.0), Ranked(passages[9], 0.9)])
    assert (len(near.pieces), len(apart.pieces)) == (1, 2)
    all_rows = [part.passage.row for piece in apart.pieces for part in piece.parts]
    assert len(all_rows) == len(set(all_rows))


def test_twins_of_one_screen_are_offered_once_and_the_newest_stays(memory: Memory, files: Path) -> None:
    for n, (day, clock) in enumerate([("01", "10:01"), ("03", "10:07"), ("02", "11:00")]):
        taken = f"2026:11:{day} 10:00:00"
        picture(files / f"s{n}.png", f"Inbox {clock}\nThe train to Tver leaves at nine\nfrom platform four on Monday",
                taken=taken, offset="+00:00")  # fmt: skip
    picture(files / "other.png", "A recipe of soup with beets and potatoes")
    memory.add([files])
    found = of(memory, "When does the train leave?", "s0", "s1", "s2", "other")
    assert [piece.item.title for piece in found.pieces] == ["s1", "other"]
    uris = [source.uri for source in found.pieces[0].shown.sources]
    assert sorted(uri.rsplit("/", 1)[1] for uri in uris) == ["s0.png", "s1.png", "s2.png"]
    assert found.pieces[0].score == pytest.approx(1.0)


def test_a_twin_that_alone_holds_a_word_of_the_question_stays(memory: Memory, files: Path) -> None:
    for month, day in (("October", "01"), ("November", "02")):
        text = f"Invoice for {month}\n" + "\n".join(f"line {n} of the usual text of the landlord" for n in range(8))
        picture(files / f"{month}.png", text, taken=f"2026:11:{day} 10:00:00", offset="+00:00")
    memory.add([files])
    both = of(memory, "What is on the invoice for October?", "October", "November")
    assert [piece.item.title for piece in both.pieces] == ["October", "November"]
    one = of(memory, "What is on the invoice?", "October", "November")
    assert [piece.item.title for piece in one.pieces] == ["November"]


def test_pieces_are_numbered_by_rank_and_packed_to_the_context(memory: Memory, files: Path) -> None:
    for n in range(8):
        note(files / f"n{n}.txt", f"note number{n} " + f"heron{n} " * 40)
    memory.add([files])
    titles = [f"n{n}" for n in (3, 1, 4, 0, 5, 2)]
    found = of(memory, "heron?", *titles, most=5)
    assert [o.number for o in found.offered] == [1, 2, 3, 4, 5]
    assert [piece.item.title for piece in found.pieces] == titles[:5]
    few = of(memory, "heron?", *titles, context=len(found.pieces[0].text) * 2 + 5)
    assert [piece.item.title for piece in few.pieces] == titles[:2]


def test_the_first_piece_is_offered_whatever_its_length(memory: Memory, files: Path) -> None:
    note(files / "a.txt", LOREM)
    memory.add([files])
    assert len(of(memory, "семьи?", "a", context=10).pieces) == 1


def test_a_place_within_a_piece_is_that_of_its_words(memory: Memory, files: Path) -> None:
    picture(files / "a.png", "first line\nsecond line\nthird line")
    memory.add([files])
    piece = of(memory, "line?", "a").pieces[0]
    start = piece.text.index("second")
    (place,) = piece.places(start, start + len("second line"))
    assert place.box is not None
    assert place.box[1] == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ([Place(page=3)], "page 3"),
        ([Place(page=3), Place(page=5)], "pages 3-5"),
        ([Place(start_s=724, end_s=731), Place(start_s=731, end_s=751.5)], "12:04-12:31"),
        ([Place(sheet="Costs", line=4)], "sheet Costs"),
        ([Place(box=(0, 0, 1, 1))], ""),
        ([], ""),
    ],
)
def test_a_place_is_told_in_words(where: list[Place], words: str) -> None:
    assert in_words(where) == words


def test_nothing_found_is_no_evidence(memory: Memory) -> None:
    assert evidence(memory._store, wanted("anything?"), []) == Evidence()
