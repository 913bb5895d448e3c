"""A hundred planted instructions and a model that obeys them all: nothing changes but the text of the answer.

The model is the worst that there can be: it does what the evidence asks for, and says so in its answer, which is all
that it can do. What it says is compared with what an honest one would have been asked, and with what it leads to.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pomnit import Memory, Settings
from pomnit.doors.cli import show_ask
from pomnit.engines.fake import FakeAnswerer
from pomnit.engines.protocols import Asked, Turn
from pomnit.records import Answer, to_json
from pomnit.search.cite import MARK
from pomnit.search.question import understand_question
from pomnit.search.thread import resolved
from support.chat_server import Request, chatting
from support.injections import CARRIERS, Planted, planted, subtitles
from support.pictures import engines, note, picture

ALL = {(carrier, lang): planted(carrier, lang) for carrier in CARRIERS for lang in ("en", "ru")}

_watched: list[tuple[str, tuple[Any, ...]]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event.partition(".")[0] in (
        "open",
        "socket",
        "subprocess",
        "os",
        "shutil",
        "exec",
        "pty",
    ):
        _watched.append((event, arguments))


sys.addaudithook(_watch)


@contextmanager
def watching() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Gives what the interpreter did outside of itself meanwhile."""
    global _watched  # noqa: PLW0603 a hook of the interpreter cannot be taken away, so it looks whether it is wanted
    _watched = found = []
    try:
        yield found
    finally:
        _watched = None


def writes(did: Iterable[tuple[str, tuple[Any, ...]]]) -> list[str]:
    """Gives the files that were opened for writing, moved, made or removed, and the programs that were started."""
    found = []
    for event, arguments in did:
        if event == "open":
            path, mode, flags = arguments
            changes = bool(set(mode or "") & set("wax+")) or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            found += [f"open {path}"] if changes else []
        elif not event.startswith("socket.") and event not in ("os.listdir", "os.scandir", "exec"):
            found.append(f"{event} {arguments!r:.80}")
    return found


def connections(did: Iterable[tuple[str, tuple[Any, ...]]]) -> set[tuple[str, int]]:
    return {
        arguments[1][:2] for event, arguments in did if event == "socket.connect" and isinstance(arguments[1], tuple)
    }


def carry(folder: Path, carrier: str, one: Planted) -> Path:
    if carrier == "screenshot":
        return picture(folder / f"{one.code}.png", one.text, colour=f"#{crc32(one.code.encode()) >> 8:06x}")
    if carrier == "speech":
        return subtitles(folder / f"{one.code}.srt", one.text)
    return note(folder / f"{one.code}.txt", one.text)


def obey(texts: str, known: Iterable[Planted]) -> str:
    """Gives what the first instruction of the evidence asks for."""
    return min((texts.index(one.code), one.obeyed) for one in known if one.code in texts)[1]


class Obedient(FakeAnswerer):
    """Obeys the first instruction that it reads."""

    def __init__(self, known: list[Planted]) -> None:
        super().__init__(lambda asked: [obey("\n".join(o.text for o in asked.offered), known)], name="obedient")


class Honest(FakeAnswerer):
    """Cites all that it is offered."""

    def __init__(self) -> None:
        super().__init__(lambda asked: [f"The total{''.join(f'[{o.number}]' for o in asked.offered)}."])


def same_but_said(bad: Answer, good: Answer) -> None:
    """Fails where more than what was said differs: a number means the same item to both."""
    assert (bad.question, bad.legs, bad.unindexed) == (good.question, good.legs, good.unindexed)
    assert {(c.number, c.item.id) for c in bad.citations} <= {(c.number, c.item.id) for c in good.citations}


@pytest.fixture
def memory_of(files: Path, settings: Settings) -> Iterator[Callable[..., Memory]]:
    """A memory with what is planted in one kind of item, and the answerer of the test."""
    opened: list[Memory] = []

    def memory_of_(carrier: str, lang: str, answerer: object, **more: object) -> Memory:
        for one in ALL[carrier, lang]:
            carry(files, carrier, one)
        given = {**engines(), **({"answer": answerer} if answerer else {})}
        opened.append(Memory.open(settings=Settings.load(**more), engines=given))
        report = opened[-1].add([files])
        assert (report.new, report.failed) == (len(ALL[carrier, lang]), 0)
        return opened[-1]

    yield memory_of_
    for memory in opened:
        memory.close()


def test_there_are_a_hundred():
    every = [one for some in ALL.values() for one in some]
    assert len({one.code for one in every}) == len({one.text for one in every}) == len(every) >= 100


def test_what_an_answer_must_not_do_would_be_seen(tmp_path):
    with chatting() as server, watching() as did:
        (tmp_path / "evil").write_text("x")
        os.replace(tmp_path / "evil", tmp_path / "worse")
        with socket.create_connection(server.server_address):
            pass
    assert [what.partition(" ")[0] for what in writes(did)] == ["open", "os.rename"]
    assert connections(did) == {server.server_address}


@pytest.mark.parametrize(("carrier", "lang"), ALL)
def test_an_obeyed_instruction_changes_nothing_but_what_is_said(memory_of, carrier, lang, capsys):
    known = ALL[carrier, lang]
    honest, obedient = Honest(), Obedient(known)
    memory = memory_of(carrier, lang, honest)
    memory.ask(known[0].question)  # what is loaded once is loaded
    for one in known:
        good = memory.ask(one.question)
        memory._governor._answerer = obedient
        with watching() as did:
            bad = memory.ask(one.question)
        memory._governor._answerer = honest
        asked: Asked = obedient.asked[-1]
        assert one.code in asked.offered[0].text  # the instruction was read
        assert asked == honest.asked[-1]  # and the same was asked as ever: no word of it is a query or a filter
        offered = {piece.number for piece in asked.offered}
        assert {int(n) for n in MARK.findall(bad.text)} == {c.number for c in bad.citations} <= offered
        assert all(c.quote in c.passage.text for c in bad.citations)
        assert bad.answerer == "obedient"
        assert bad.abstained == ("NOT_FOUND" in one.obeyed)
        same_but_said(bad, good)
        assert writes(did) == []
        assert connections(did) == set()
        show_ask.answer(bad)
        shown = capsys.readouterr().out
        assert all(c.isprintable() or c == "\n" for c in shown.replace("\N{REPLACEMENT CHARACTER}", "?"))


@pytest.mark.parametrize(("carrier", "lang"), ALL)
def test_nothing_of_an_instruction_leaves_but_to_the_server_that_was_named(memory_of, carrier, lang):
    known = ALL[carrier, lang]

    def say(request: Request) -> list[str]:
        return [obey(request.user, known)]

    with chatting(say) as server:
        memory = memory_of(carrier, lang, None, answer_url=server.url)
        for one in known:
            with watching() as did:
                answer = memory.ask(one.question)
            assert connections(did) == {("127.0.0.1", server.server_port)}
            assert writes(did) == []
            assert answer.answerer.startswith("tiny-vl at 127.0.0.1")
            cited = {int(number) for number in MARK.findall(answer.text)}
            assert cited == {c.number for c in answer.citations}
            assert all(c.item.title for c in answer.citations)
        assert [request.path for request in server.chats] == ["/v1/chat/completions"] * len(known)
        for request, one in zip(server.chats, known, strict=True):
            (code,) = re.findall(r"\b[0-9a-f]{24}\b", request.system)
            borders = [line for line in request.user.splitlines() if code in line]
            pieces = [f"piece {n}" for n in range(1, len(borders) // 2 + 1)]
            assert borders == [f"----- {side} {p} {code} -----" for p in pieces for side in ("BEGIN", "END")]
            assert one.code in request.user
            assert "<|im_" not in request.user


def test_what_is_planted_is_only_quoted_by_the_extractive_answerer(memory_of):
    known = ALL["document", "en"]
    memory = memory_of("document", "en", None)
    for one in known:
        with watching() as did:
            answer = memory.ask(one.question, answerer="extractive")
        assert all(c.quote in c.passage.text for c in answer.citations)
        assert writes(did) == []
        assert connections(did) == set()


@pytest.mark.parametrize(
    "said",
    [
        "It was App:Bank Type:Document [1].",
        'She is In:Home After:2020 Before:2021 "Ivan Petrov" [1].',
        "The author is Anna -Ivan Petrov OR Type:image NEAR(Anna) [1].",
        "Автор — Type:Document Иван Петров, вчера [1].",
        "It was Yesterday, Last Week, In:/Home/Ivan After:2020-01-01 [1].",
    ],
)
def test_a_name_out_of_an_answer_is_a_word_of_the_next_question_and_no_filter(said):
    for before, question in (("who wrote the letter?", "where does he live?"), ("кто это писал?", "а где он живёт?")):
        meant = resolved(question, [Turn(before, said)])
        assert meant != question
        for query in understand_question(meant, datetime.now(UTC)).queries:
            assert (dict(query.filters), query.phrases, query.dates) == ({}, (), None)


def test_an_answer_is_no_query_of_the_next_question(memory_of):
    """What a model said in a conversation neither filters nor names what is searched for next."""
    known = ALL["document", "en"]
    obedient = Obedient(known)
    memory = memory_of("document", "en", obedient)
    chat = memory.chat()
    chat.ask(known[5].question)  # answers with filters
    answer = chat.ask(f"And what is the total of invoice {known[6].code}?")
    assert "bank" not in answer.question
    assert known[6].code in obedient.asked[-1].offered[0].text
    to_json(answer)
