"""The commands that answer: what they print, where, with which exit code; and that no terminal obeys an answer."""

import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

from pomnit import records
from pomnit.doors.cli import show_ask
from pomnit.engines.fake import FakeAnswerer
from pomnit.errors import EngineError
from pomnit.memory import Memory
from pomnit.records import Answer, Citation, Hit, Item, Leg, Original, Passage, Place, Source, Unindexed
from support import processes
from support.chat_server import chatting
from support.pictures import engines, note, picture

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egnp.exe\x7f\x08\r"
SECONDS = "2026-11-03T09:41:07Z"


def a_citation(number: int = 1, quote: str = "a ticket to Berlin costs 49 euro", **item: object) -> Citation:
    source = Source("file", "file:///shots/ticket.png", SECONDS, SECONDS)
    found = Item("0193", "image", "Tickets", SECONDS, "", "ready", Original("blake2b:0", 1, "image/png"), (source,))
    found = replace(found, **item)
    passage = Passage("p", "0193", 0, f"before. {quote}. after", "en")
    return Citation(number, found, passage, (Place(box=(0.1, 0.2, 0.3, 0.4)),), quote)


def an_answer(text: str = "It costs 49 euro [1].", *citations: Citation, **named: object) -> Answer:
    answer = Answer(
        question="what does the ticket to Berlin cost?",
        text=text,
        citations=citations,
        answerer="a model",
        reason="it is here",
        abstained=False,
        nearest=(),
        unsupported=(),
        notes=(),
        legs=(Leg("words", "ran"), Leg("vectors", "skipped", "no encoder")),
        unindexed=Unindexed(),
        first_ms=12.3,
        took_ms=45.6,
    )
    return replace(answer, **named)


@pytest.fixture
def filled(cli, files: Path):
    """The command line over a memory in which a few things stand."""
    note(files / "garden.md", "# The garden\n\nThe tomatoes are planted in May. The fence costs 340 euro.")
    note(files / "дача.txt", "Анна обещала вернуть лестницу в пятницу. Ключи лежат у соседа.")
    picture(files / "ticket.png", "The ticket to Berlin costs 49 euro\nplatform 7 at noon", size=(640, 400))
    assert cli("add", files).code == 0
    return cli


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, filled) -> Callable[[object], object]:
    """Lets the command line answer with a given answerer."""

    def by(answerer: object) -> object:
        before = Memory.open
        given = engines() | {"answer": answerer}
        monkeypatch.setattr(Memory, "open", lambda **named: before(**{**named, "engines": given}))
        return filled

    return by


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


# What is printed


def test_an_answer_is_shown_with_its_sources_quotes_doubts_and_who_answered(capsys):
    cited = a_citation(), a_citation(2, "it leaves at noon")
    show_ask.answer(
        an_answer("It costs 49 euro [1].\nAt noon [2].", *cited, unsupported=("At noon [2].",), notes=("x y",))
    )
    out = capsys.readouterr().out
    assert out.startswith("It costs 49 euro [1].\nAt noon [2].\n")
    assert "not supported by what was found: At noon [2]." in out
    assert "[1] Tickets · 2026-11-03 09:41 · x 10-30 %, y 20-40 %" in out
    assert "a ⟦ticket⟧ to ⟦Berlin⟧ ⟦costs⟧ 49 euro" in out
    assert "[2] Tickets" in out
    assert out.count("/shots/ticket.png") == 2
    assert "note: x y" in out
    assert (
        "answered by a model (it is here); first words after 12 ms, all in 46 ms; legs: words, vectors skipped" in out
    )


def test_quotes_of_one_number_stand_under_one_head(capsys):
    show_ask.answer(an_answer("A [1].", a_citation(), a_citation(1, "another quote")))
    out = capsys.readouterr().out
    assert out.count("[1] Tickets") == 1
    assert "another quote" in out


def test_not_knowing_is_said_with_what_comes_closest(capsys):
    cited = a_citation()
    hit = Hit(cited.item, 0.4, {"words": 0.4}, (cited.passage,), "before. ⟦a ticket⟧")
    show_ask.answer(an_answer("I do not know.", abstained=True, nearest=(hit,), unindexed=Unindexed(2, 0, {"read": 2})))
    out = capsys.readouterr().out
    assert out.startswith("I do not know.\n")
    assert "what comes closest:\n 1. Tickets" in out
    assert "not searched yet: 2 wait (read 2)" in out


def test_what_was_streamed_is_not_printed_twice_but_what_is_left_after_the_check_is(capsys):
    show_ask.answer(an_answer("It costs  49 euro [1].", a_citation()), "It costs 49 euro [1].\n")
    assert "49 euro [1]" not in capsys.readouterr().out
    show_ask.answer(an_answer("It costs 49 euro [1].", a_citation()), "It costs 49 euro [1] [9].\n")
    out = capsys.readouterr().out
    assert out.startswith("the answer, checked:\nIt costs 49 euro [1].\n")


def test_a_generated_caption_is_told_from_what_was_read(capsys):
    cited = a_citation()
    show_ask.answer(an_answer("A cat [1].", replace(cited, passage=replace(cited.passage, origin="generated"))))
    assert "generated by a model" in capsys.readouterr().out


def test_no_terminal_obeys_an_answer(capsys, monkeypatch):
    cited = a_citation(1, f"a ticket{EVIL}", title=f"title{EVIL}")
    hit = Hit(cited.item, 0.4, {"words": 0.4}, (cited.passage,), f"x{EVIL}")
    record = an_answer(
        f"Text{EVIL}", cited, abstained=True, nearest=(hit,), unsupported=(f"u{EVIL}",), notes=(f"n{EVIL}",)
    )
    record = replace(record, answerer=f"a{EVIL}", reason=f"r{EVIL}", legs=(Leg("words", "skipped", f"l{EVIL}"),))
    for streamed in ("", "other"):
        show_ask.answer(record, streamed)
    streamed = show_ask.Streamed()
    for piece in f"Streamed{EVIL} \x1b[1m!":
        streamed(piece)
    streamed.end()
    out, err = capsys.readouterr()
    assert CONTROLS.findall(out + err) == []
    assert "Streamed" in out


def test_a_bracket_of_a_quote_is_no_mark(capsys):
    show_ask.answer(an_answer("A [1].", a_citation(1, "⟦not⟧ a mark of the ticket")))
    assert "[not] a mark of the ⟦ticket⟧" in capsys.readouterr().out


def test_the_quote_of_a_picture_without_text_is_said_to_be_what_it_shows(capsys):
    show_ask.answer(an_answer("A red wall [1].", a_citation(1, "")))
    assert "(what the picture shows)" in capsys.readouterr().out


# Asking


def test_an_answer_rests_on_what_is_remembered(filled):
    done = filled("ask", "what does the ticket to Berlin cost?")
    assert (done.code, done.err) == (0, "")
    assert "49 euro" in done.out.splitlines()[0]
    assert "[1]" in done.out.splitlines()[0]
    assert re.search(r"^\[1\] ticket · ", done.out, re.MULTILINE)
    assert "answered by extractive" in done.out
    russian = filled("ask", "когда Анна обещала вернуть лестницу?").out
    assert "в пятницу" in russian.splitlines()[0]


def test_words_may_be_typed_without_quotation_marks(filled):
    assert "49 euro" in filled("ask", "what", "does", "the", "ticket", "to", "Berlin", "cost").out


def test_json_is_the_whole_record(filled):
    done = filled("ask", "what does the ticket to Berlin cost?", "--json")
    answer = json.loads(done.out)
    assert set(answer) == {f.name for f in fields(Answer)}
    (citation, *_) = answer["citations"]
    assert set(citation) == {f.name for f in fields(Citation)}
    assert citation["quote"] in citation["passage"]["text"]
    assert citation["item"]["sources"][0]["uri"].endswith("/ticket.png")
    assert citation["places"][0]["box"]
    assert answer["abstained"] is False


def test_not_knowing_ends_with_0_as_a_search_that_finds_nothing_does(filled):
    assert filled("search", "zeppelin").code == 0
    done = filled("ask", "who flew the zeppelin?", "--json")
    assert done.code == 0
    assert json.loads(done.out)["abstained"] is True
    assert json.loads(done.out)["citations"] == []


def test_an_empty_memory_does_not_know_either(cli):
    done = cli("ask", "когда у меня стоматолог?")
    assert (done.code, done.err) == (0, "")
    assert "Не знаю" in done.out


def test_filters_limit_and_answerer_reach_the_answer(filled, files):
    def cited(*words: object) -> list[str]:
        return [c["item"]["title"] for c in json.loads(filled("ask", *words, "--json").out)["citations"]]

    question = "what does the ticket to Berlin cost?"
    assert cited(question, "--type", "image") == ["ticket"]
    assert cited(question, "--type", "document") == []
    assert cited(question, "--in", files / "ticket.png") == ["ticket"]
    assert cited(question, "--before", "2000") == []
    assert len(cited("euro", "--limit", "1")) <= 1
    assert cited(question, "--answerer", "extractive")[0] == "ticket"
    assert filled("ask", question, "--type", "banana").code == 2
    assert filled("ask", question, "--limit", "0").code == 2
    refused = filled("ask", question, "--answerer", f"nobody{EVIL}")
    assert refused.code in (2, 3, 21)
    assert CONTROLS.findall(refused.err) == []


def test_a_model_that_writes_is_streamed_and_what_it_made_up_is_taken_out(answered):
    cli = answered(FakeAnswerer([f"It costs 49 euro{EVIL} [", "1] and it is", " red [99]."]))
    done = cli("ask", "what does the ticket to Berlin cost?")
    assert done.code == 0
    assert "answered by fake" in done.out
    assert "the answer, checked:" in done.out
    assert "[99]" not in done.out.partition("the answer, checked:")[2].partition("note: ")[0]
    assert CONTROLS.findall(done.out + done.err) == []


def test_a_model_that_fails_is_replaced_and_that_is_said(answered):
    def fails(asked: object) -> list[str]:
        raise EngineError(f"the server is gone{EVIL}")

    done = answered(FakeAnswerer(fails))("ask", "what does the ticket to Berlin cost?")
    assert done.code == 0
    assert "49 euro" in done.out
    assert "the server is gone" in done.out
    assert CONTROLS.findall(done.out + done.err) == []


def test_an_answer_comes_out_of_a_pipe_while_it_is_still_being_written(filled):
    with chatting(["In May [1]", " or so."]) as server:
        server.waits.clear()
        asking = processes.started(
            "cli", "ask", "when are the tomatoes planted?", environ={"POMNIT_ANSWER_URL": server.url}
        )
        assert asking.stdout is not None
        assert asking.stdout.read(10) == "In May [1]"
        assert not server.waits.is_set()
        server.waits.set()
        out, err = asking.communicate(timeout=60)
    assert (asking.returncode, err) == (0, "")
    assert out.startswith(" or so.\n\n[1] The garden · ")


def test_ctrl_c_ends_with_130(answered):
    def stops(asked: object) -> list[str]:
        raise KeyboardInterrupt

    done = answered(FakeAnswerer(stops))("ask", "what does the ticket to Berlin cost?")
    assert done.code == 130
    assert "stopped" in done.err


def test_an_image_can_be_asked_about(filled, tmp_path):
    path = picture(tmp_path / "other.png", "The ticket to Hamburg costs 31 euro")
    done = filled("ask", "what does it cost to go to Hamburg?", "--image", path)
    assert done.code == 0, done.err
    assert "31 euro" in done.out
    missing = filled("ask", "what is this?", "--image", tmp_path / "absent.png")
    assert missing.code == 3
    assert "absent.png" in missing.err


def test_show_draws_what_is_cited(filled, tmp_path):
    out = tmp_path / "cited"
    done = filled("ask", "what does the ticket to Berlin cost?", "--type", "image", "--show", out)
    assert done.code == 0
    assert f"drawn: [1] {out / '1 ticket.png'}" in done.err
    assert "not encrypted" in done.err
    with Image.open(out / "1 ticket.png") as image:
        assert image.size == (640, 400)
        assert (232, 89, 12) in {colour for _, colour in image.getcolors(1 << 20)}
    note_ = filled("ask", "when are the tomatoes planted?", "--type", "note", "--show", out)
    assert "not drawn: [1] note" in note_.err
    nothing = filled("ask", "who flew the zeppelin?", "--show", out)
    assert "nothing is cited" in nothing.err


def test_show_refuses_what_is_no_folder_before_anything_is_asked(filled, files):
    done = filled("ask", "what does the ticket to Berlin cost?", "--show", files / "ticket.png")
    assert (done.code, done.out) == (2, "")


# Talking


def test_chat_reads_lines_and_keeps_the_thread(filled, monkeypatch):
    typed(monkeypatch, "when are the tomatoes planted?", "", "/sources", "когда Анна обещала вернуть лестницу?")
    done = filled("chat")
    assert done.code == 0
    assert "> when are the tomatoes planted?" in done.out
    assert done.out.count("The garden · ") + done.out.count("The garden\x1b[0m · ") >= 2  # cited, then shown again
    assert "в пятницу" in done.out


def test_chat_prints_a_record_on_each_line(filled, monkeypatch):
    asked = "when are the tomatoes planted?"
    typed(monkeypatch, "?!", asked, "/sources", "/nonsense", "/new", "who flew the zeppelin?")
    done = filled("chat", "--json")
    assert done.code == 0
    lines = [json.loads(line) for line in done.out.splitlines()]
    error, first, sources, unknown, last = lines
    assert set(first) == set(last) == {f.name for f in fields(Answer)}
    assert error["exit_code"] == unknown["exit_code"] == 2
    assert sources["citations"] == first["citations"]
    assert last["abstained"] is True


def test_a_follow_up_leans_on_the_thread_until_it_is_forgotten(filled, monkeypatch):
    typed(monkeypatch, "what does the ticket to Berlin cost?", "and the fence?", "/new", "and the fence?")
    *_, follow, fresh = [json.loads(line) for line in filled("chat", "--json").out.splitlines()]
    assert "cost" in follow["question"]
    assert "cost" not in fresh["question"]


def test_an_error_in_a_turn_does_not_end_the_talk(filled, monkeypatch):
    typed(monkeypatch, "?!", "x" * 30_000, "when are the tomatoes planted?")
    done = filled("chat")
    assert done.code == 0
    assert done.err.count("pomnit: ") == 2
    assert "May" in done.out


def test_ctrl_c_stops_an_answer_and_a_second_one_leaves(answered, monkeypatch):
    def stops(asked: object) -> list[str]:
        raise KeyboardInterrupt

    once = FakeAnswerer(lambda asked: stops(asked) if len(once.asked) == 1 else ["May [1]."])
    question = "when are the tomatoes planted?"
    typed(monkeypatch, question, question)
    done = answered(once)("chat")
    assert done.code == 0
    assert "stopped; Ctrl-C again leaves" in done.err
    assert "May [1]." in done.out

    class Interrupting(io.StringIO):
        """Gives one line, then Ctrl-C."""

        def readline(self, *_: object) -> str:
            if line := super().readline():
                return line
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupting(f"{question}\n"))
    done = answered(FakeAnswerer(stops))("chat")
    assert done.code == 130


def test_the_real_ctrl_c_stops_an_answer_of_a_server_and_the_talk_goes_on(filled):
    with chatting(["In May [1]", " or so."]) as server:
        server.waits.clear()
        talk = processes.started("cli", "chat", environ={"POMNIT_ANSWER_URL": server.url})
        assert talk.stdin is not None
        assert talk.stderr is not None
        talk.stdin.write("when are the tomatoes planted?\n")
        talk.stdin.flush()
        assert server.stands.wait(60)
        os.kill(talk.pid, signal.SIGINT)
        for line in talk.stderr:
            if "stopped; Ctrl-C again leaves" in line:
                break
        server.waits.set()
        out, err = talk.communicate("and the fence?\n", timeout=60)
    assert (talk.returncode, err) == (0, "")
    assert "> and the fence?" in out
    assert "In May [1] or so." in out
    assert len(server.chats) == 2


def test_on_a_terminal_chat_prompts_and_ctrl_d_leaves(filled, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    lines = iter(["when are the tomatoes planted?"])
    prompts = []

    def read(prompt: str = "") -> str:
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", read)
    done = filled("chat")
    assert done.code == 0
    assert prompts == ["> ", "> "]
    assert "/sources" in done.err
    assert "May" in done.out
    assert "> when" not in done.out  # the terminal shows what is typed


@pytest.mark.parametrize("words", [["ask", "--help"], ["chat", "-h"], ["describe", "--help"]])
def test_help_loads_nothing_heavy_and_has_examples_in_both_languages(words: list[str]):
    code = f"import sys; from pomnit.doors.cli.commands import run; run({words}); print(*sys.modules, file=sys.stderr)"
    done = processes.finished("-c", code)
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stderr.split()} & {"numpy", "PIL", "apsw", "onnxruntime"} == set()
    assert f"pomnit {words[0]}" in done.stdout
    assert re.search("[а-я]{4}", done.stdout)


def test_the_records_are_named_as_they_are(filled):
    assert {"describe", "ask", "chat"} <= set(filled("--help").out.split())
    assert records.DescribeReport
