"""Searching: what is found, what says why, and what a search admits not to have seen."""

import os
from pathlib import Path

import pytest

from pomnit import Memory, Settings
from pomnit.errors import UsageError
from pomnit.governor.owner import OwnerLock
from pomnit.records import MARK_CLOSE, MARK_OPEN, SearchResult
from support import processes
from support.pictures import engines, note, picture


@pytest.fixture
def shelf(memory: Memory, files: Path) -> Memory:
    """A memory with a few texts in both languages and one picture."""
    note(files / "doctor.txt", "Записала тебя к стоматологу на четверг в десять, кабинет 214.")
    note(files / "tree.txt", "Под ёлкой лежит подарок для сестры.")
    note(files / "bees.md", "# Beekeeping\n\nThe bees leave the hive when the lime trees blossom in June.")
    note(files / "call.txt", "Join the call at https://zoom.us/j/123 and say hello AND goodbye (NEAR the end).")
    note(files / "sub" / "train.txt", "Train tickets from Prague to Berlin cost 1 284 crowns in the morning.")
    picture(files / "Screenshot 2026-11-03 at 09.41.07.png", "Berlin hotel\nbreakfast until ten")
    memory.add([files])
    return memory


def titles(result: SearchResult) -> list[str]:
    return [hit.item.title for hit in result]


def marked(snippet: str) -> list[str]:
    return [part.split(MARK_CLOSE)[0] for part in snippet.split(MARK_OPEN)[1:]]


def reasons(result: SearchResult) -> dict[str, str | None]:
    return {leg.name: leg.reason for leg in result.legs if leg.state == "skipped"}


# Legs


def test_an_english_question_runs_both_legs(shelf: Memory):
    result = shelf.search("when do bees leave the hive")
    assert titles(result)[0] == "Beekeeping"
    assert [(leg.name, leg.state) for leg in result.legs] == [("words", "ran"), ("vectors", "ran")]
    assert set(result.hits[0].legs) == {"words", "vectors"}


def test_a_russian_question_skips_the_vectors_of_an_english_encoder_and_says_so(shelf: Memory):
    result = shelf.search("когда у меня стоматолог")
    assert titles(result)[0] == "doctor"
    assert result.query.lang == "ru"
    assert "knows en" in reasons(result)["vectors"]
    assert set(result.hits[0].legs) == {"words"}


def test_vectors_find_what_no_word_finds(settings: Settings, files: Path):
    """An encoder that says the same of two texts without a common word makes one find the other."""

    class Synonyms:
        def __init__(self, encoder):
            self.card, self._encoder = encoder.card, encoder

        def encode(self, texts, *, query=False):
            return self._encoder.encode([t.lower().replace("automobile", "car") for t in texts], query=query)

        def close(self):
            pass

    given = engines()
    with Memory.open(settings=settings, engines={**given, "embed": Synonyms(given["embed"])}) as memory:
        memory.add([note(files / "a.txt", "red car"), note(files / "b.txt", "green pear")])
        hit = memory.search("automobile")[0]
        assert hit.item.title == "a"
        assert hit.legs["vectors"] > hit.legs["words"]
        assert marked(hit.snippet) == []


def test_scores_are_fractions_and_fall(shelf: Memory):
    for question in ("bees in Berlin", "к стоматологу в четверг", "call train breakfast hive", "Berlin"):
        scores = [hit.score for hit in shelf.search(question)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= s <= 1 for s in scores)
        assert all(0 <= s <= 1 for hit in shelf.search(question) for s in hit.legs.values())


def test_the_same_query_gives_the_same_result(shelf: Memory):
    assert shelf.search("Berlin trains and trees").hits == shelf.search("Berlin trains and trees").hits


# Words


@pytest.mark.parametrize(
    ("question", "title", "found"),
    [
        ("стоматолог", "doctor", "стоматологу"),
        ("СТОМАТОЛОГУ", "doctor", "стоматологу"),
        ("елка", "tree", "ёлкой"),
        ("ёлки", "tree", "ёлкой"),
        ("ticket", "train", "tickets"),
        ("1284", "train", "1 284"),
        ("стоматалог", "doctor", None),
        ("brekfast", "Screenshot 2026-11-03 at 09.41.07", None),
        ("beekeping", "Beekeeping", None),
    ],
)
def test_other_forms_and_misspellings_of_a_word_find_it(shelf: Memory, question: str, title: str, found: str | None):
    result = shelf.search(question)
    assert titles(result)[:1] == [title]
    if found:
        assert marked(result[0].snippet) == [found]


def test_found_words_are_marked_and_their_places_given(shelf: Memory):
    hit = shelf.search("blossom")[0]
    assert marked(hit.snippet) == ["blossom"]
    assert [place.line for place in hit.passages[0].places] == [3]
    box = shelf.search("breakfast")[0].passages[0].places[0].box
    assert box == pytest.approx((0.0, 0.1, 0.08, 0.15), abs=1e-4)


def test_brackets_of_a_text_are_not_taken_for_marks(memory: Memory, files: Path):
    memory.add([note(files / "a.txt", f"a {MARK_OPEN}false{MARK_CLOSE} mark and a heron")])
    assert marked(memory.search("heron")[0].snippet) == ["heron"]


def test_a_word_deep_in_a_long_text_is_shown_with_its_surroundings(memory: Memory, files: Path):
    lines = [f"Line {i} talks about nothing in particular, as lines do." for i in range(400)]
    lines[300] = "Here a pelican sits on the roof."
    memory.add([note(files / "long.txt", "\n".join(lines))])
    hit = memory.search("pelican")[0]
    assert "pelican⟧ sits on the roof" in hit.snippet
    assert [place.line for place in hit.passages[0].places] == [301]
    assert len(hit.snippet) < 300


# Phrases


def test_a_phrase_is_found_word_for_word(shelf: Memory):
    assert titles(shelf.search('"leave the hive"')) == ["Beekeeping"]
    assert titles(shelf.search('"к стоматологу на четверг"')) == ["doctor"]
    assert titles(shelf.search("“berlin hotel”")) == ["Screenshot 2026-11-03 at 09.41.07"]


def test_a_phrase_that_is_nowhere_falls_back_to_its_words_and_says_so(shelf: Memory):
    result = shelf.search('"the hive leave"')
    assert titles(result)[0] == "Beekeeping"
    assert "exact phrase" in result.legs[0].reason
    assert result.query.phrases == ()


# Filters


@pytest.mark.parametrize(
    ("inside", "argument"),
    [
        ("type:image", {"type": "image"}),
        ("TYPE:Image", {"type": "Image"}),
        ("after:2026-11-03 before:2026-11-04", {"after": "2026-11-03", "before": "2026-11-04"}),
        ("after:2026-11-03T09:41 before:2026-11-03T09:42", {"after": "2026-11-03T09:41", "before": "2026-11-03T09:42"}),
        ('in:"Screenshot 2026"', {"within": "Screenshot 2026"}),
    ],
)
def test_filters_mean_the_same_inside_the_query_and_as_arguments(shelf: Memory, inside: str, argument: dict):
    assert titles(shelf.search(f"Berlin {inside}")) == ["Screenshot 2026-11-03 at 09.41.07"]
    assert titles(shelf.search("Berlin", **argument)) == ["Screenshot 2026-11-03 at 09.41.07"]
    assert "Berlin" in shelf.search(f"Berlin {inside}").query.text
    assert shelf.search(f"Berlin {inside}").query.filters


def test_an_argument_counts_before_what_the_query_says(shelf: Memory):
    assert titles(shelf.search("Berlin type:image", type="note")) == ["train"]


def test_a_folder_keeps_what_came_from_it(shelf: Memory, files: Path):
    assert titles(shelf.search("Berlin", within=str(files / "sub"))) == ["train"]
    assert titles(shelf.search("Berlin in:sub")) == ["train"]
    assert titles(shelf.search("Berlin", within=str(files / "sub" / "train.txt"))) == ["train"]
    assert titles(shelf.search("Berlin", within=str(files / "su"))) == []


def test_signs_of_sql_in_a_filter_are_only_letters(shelf: Memory):
    for value in ("%", "trai_", "tra%", "' OR 1=1 --", "100%_!"):
        assert titles(shelf.search("Berlin", within=value)) == []
    assert titles(shelf.search("Berlin app:Safari")) == []


def test_only_filters_give_the_newest_first(shelf: Memory, files: Path):
    os.utime(note(files / "old.txt", "an old note"), (1_000_000_000, 1_000_000_000))
    shelf.add([files])
    result = shelf.search("type:note")
    assert titles(result)[-1] == "old"
    assert len(result) == 6
    assert {leg.state for leg in result.legs} == {"skipped"}
    assert titles(shelf.search("before:2002")) == ["old"]


@pytest.mark.parametrize(
    "query", ["type:banana x", "after:yesterday x", "before:2026-13 x", "state:gone x", 'type:"" x', "after:2026-02-30"]
)
def test_a_filter_that_does_not_fit_is_an_error_that_names_it(shelf: Memory, query: str):
    with pytest.raises(UsageError, match=query.partition(":")[0]):
        shelf.search(query)


def test_a_word_with_a_colon_is_a_word(shelf: Memory):
    assert titles(shelf.search("https://zoom.us/j/123"))[0] == "call"
    assert titles(shelf.search("hive:"))[0] == "Beekeeping"


def test_limit_bounds_the_hits(shelf: Memory):
    assert len(shelf.search("Berlin", limit=1)) == 1
    assert len(shelf.search("type:note", limit=2)) == 2
    for limit in (0, -1, 1001):
        with pytest.raises(UsageError, match=str(limit)):
            shelf.search("Berlin", limit=limit)


# Anything a user may type


@pytest.mark.parametrize("query", ["", " ", "?!", '"', '""', "***", "()", "—", "\0", "«»", "🐝"])
def test_a_query_without_a_word_is_an_error_of_usage(shelf: Memory, query: str):
    with pytest.raises(UsageError, match="there is no word"):
        shelf.search(query)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("zoom.us", "call"),
        ('bees "', "Beekeeping"),
        ("bees*", "Beekeeping"),
        ("*", None),
        ("hello AND goodbye", "call"),
        ("AND", None),
        ("NOT OR AND hive", "Beekeeping"),
        ("NEAR(bees hive)", "Beekeeping"),
        ("NEAR(hello goodbye, 2)", "call"),
        ("stems:hive", "Beekeeping"),
        ("title: hive", "Beekeeping"),
        ("- hive", "Beekeeping"),
        ("^hive", "Beekeeping"),
        ("{stems title} : hive", "Beekeeping"),
        ("hive + bees", "Beekeeping"),
        ("hive'; DROP TABLE item; --", "Beekeeping"),
        ("hive\0bees", "Beekeeping"),
        ("\ud800 hive", "Beekeeping"),
        ('hive in:"\ud800"', None),
        ("hive " * 1000, "Beekeeping"),
    ],
)
def test_syntax_of_the_index_in_a_query_is_harmless(shelf: Memory, query: str, first: str | None):
    try:
        found = titles(shelf.search(query))
    except UsageError:
        found = []
    assert first is None or found[:1] == [first]
    assert titles(shelf.search("hive")) == ["Beekeeping"]


def test_nothing_found_is_an_empty_result(memory: Memory):
    result = memory.search("anything at all")
    assert (len(result), result.unindexed.waiting, result.unindexed.failed) == (0, 0, 0)
    assert "nothing is embedded" in reasons(result)["vectors"]


# What is not there yet, and others at work


def test_a_search_counts_what_it_could_not_see(memory: Memory, settings: Settings, files: Path):
    note(files / "a.txt", "waiting words")
    broken = picture(files / "b.png", "half", size=(400, 300))
    broken.write_bytes(broken.read_bytes()[:200])
    memory.add([broken])
    other = OwnerLock(settings.home)
    assert other.take()
    memory.add([files])
    result = memory.search("waiting")
    other.give_back()
    assert len(result) == 0
    assert (result.unindexed.waiting, result.unindexed.failed) == (1, 1)
    assert result.unindexed.by_stage == {"read": 1}


def test_what_was_just_remembered_is_found_by_a_memory_that_was_open_before(
    shelf: Memory, settings: Settings, files: Path
):
    assert len(shelf.search("flamingo")) == 0
    with Memory.open(settings=settings, engines=engines()) as other:
        other.add([note(files / "new.txt", "a flamingo stands here")])
    result = shelf.search("flamingo")
    assert titles(result) == ["new"]
    assert result[0].legs["vectors"] > 0


def test_a_search_does_not_wait_for_the_owner(shelf: Memory):
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    assert titles(shelf.search("hive")) == ["Beekeeping"]
    holder.communicate()
