"""Who answers, and what a server of the user's own does that a model of ours would not?"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from PIL import Image

from pomnit import doctor
from pomnit.engines import answerer_openai, chat_format, wire
from pomnit.engines.answerer_openai import OpenAIAnswerer, Patience
from pomnit.engines.fake import FakeAnswerer
from pomnit.engines.protocols import Asked, Offered, Picture
from pomnit.errors import EngineError, EngineMissing
from pomnit.governor.leases import Governor
from pomnit.memory import Memory
from pomnit.settings import Settings
from support.chat_server import MODEL, ChatServer, Request, chatting
from support.pictures import engines, note


def drawn(form: str, colour: str, digest: str, size: tuple[int, int] = (40, 30), turned: int = 1) -> Picture:
    exif = Image.Exif()
    exif[0x0112] = turned
    exif.get_ifd(0x8825)[1] = "N"  # where it was taken
    image, out = Image.new("RGB", size, colour), io.BytesIO()
    image.paste("black", (0, 0, size[0] // 4, size[1] // 4))
    image.save(out, form, exif=exif)
    return Picture(out.getvalue(), digest)


PNG, JPEG = drawn("PNG", "red", "blake2b:1"), drawn("JPEG", "blue", "blake2b:2")
TEXT = "Билет Москва — Казань, 2 450 ₽"
OFFERED = tuple(
    Offered(n, "Билет", "2026-11-03T09:41:07.000Z", "", f"{TEXT} {n}", PNG if n == 1 else None) for n in (1, 2)
)
ASKED = Asked("Сколько стоил билет?", "ru", OFFERED)
SEEN = dataclasses.replace(ASKED, picture=JPEG)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chatting(["2 450 ₽", " [1]"]) as server:
        yield server


def said(server: ChatServer, asked: Asked = ASKED, **named) -> str:
    return "".join(OpenAIAnswerer(server.url, **named).answer(asked))


def failure(server: ChatServer, asked: Asked = ASKED, **named) -> str:
    """Gives the message of the error; nothing was said before."""
    with pytest.raises(EngineError) as caught:
        said(server, asked, **named)
    assert caught.value.__cause__ is None  # which might tell what was sent
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------- what is sent


def test_the_server_is_told_the_rules_the_evidence_and_the_question(server):
    assert said(server, dataclasses.replace(ASKED, offered=OFFERED[1:])) == "2 450 ₽ [1]"
    (request,) = server.chats
    assert request.body["model"] == MODEL  # the first one of its list
    assert request.body["stream"] is True
    assert "фрагмент" in request.system
    assert f"{TEXT} 2" in request.user
    assert "Сколько стоил билет?" in request.user
    assert all(isinstance(message["content"], str) for message in request.body["messages"])
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


def test_pictures_are_sent_as_data_beside_their_pieces(server):
    said(server, SEEN)
    (request,) = server.chats
    assert [received(url).getpixel((250, 200)) for url in request.pictures] == [
        pytest.approx((254, 0, 0), abs=2),
        pytest.approx((0, 0, 254), abs=2),
    ]
    content = request.body["messages"][1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert f"{TEXT} 1" in content[0]["text"]
    assert f"{TEXT} 2" in content[2]["text"]


def received(url: str) -> Image.Image:
    """Gives a picture as the server sees it."""
    kind, _, data = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_a_picture_is_sent_upright_and_small_and_nothing_beside_it(server):
    photo = drawn("JPEG", "white", "blake2b:3", size=(4000, 3000), turned=6)
    said(server, dataclasses.replace(ASKED, picture=photo))
    seen = received(server.chats[0].pictures[-1])
    assert seen.width * seen.height <= chat_format.PIXELS
    assert seen.height > seen.width
    assert seen.getpixel((seen.width - 9, 9)) == pytest.approx((0, 0, 0), abs=3)
    assert not seen.getexif()


def test_a_picture_that_cannot_be_decoded_is_left_out(server):
    assert (
        said(server, dataclasses.replace(ASKED, picture=Picture(b"\x89PNG and no more", "blake2b:4"))) == "2 450 ₽ [1]"
    )
    assert len(server.chats[0].pictures) == 1


def test_a_model_can_be_named_and_then_no_list_is_asked_for(server):
    server.models = ["other", "mine"]
    said(server, model="mine")
    assert [request.path for request in server.asked] == ["/v1/chat/completions"]
    assert server.chats[0].body["model"] == "mine"


def test_the_first_model_that_may_answer_is_taken(server):
    server.models = ["text-embedding-nomic", "bge-m3", "whisper-1", "qwen3-vl", "llama"]
    said(server)
    assert server.chats[0].body["model"] == "qwen3-vl"


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert said(server) == "2 450 ₽ [1]"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_comes_piece_by_piece_while_the_server_goes_on(server, chunked):
    server.chunked = chunked
    server.waits.clear()
    pieces = OpenAIAnswerer(server.url).answer(ASKED)
    assert next(pieces) == "2 450 ₽"  # the server stands still behind it
    server.waits.set()
    assert list(pieces) == [" [1]"]


def test_a_server_that_does_not_stream_answers_all_the_same(server):
    server.kind = "application/json"
    server.script = [json.dumps({"choices": [{"message": {"role": "assistant", "content": "2 450 ₽ [1]"}}]}).encode()]
    assert said(server) == "2 450 ₽ [1]"


@pytest.mark.parametrize(
    "script",
    [
        [b': keep-alive\r\n\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n', b"data: [DONE]\r\n\r\n"],
        [b'event: x\nid: 1\nretry: 5\ndata:{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'],
        [
            b'data: {"choices":[]}\n\ndata: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n',
            b'data: {"choices":[{"delta":{"reasoning":"hm"}}]}\n\ndata: {"choices":[{"delta":{"con',
            b'tent":"a"}}]}\n',
            b"\ndata: [DONE]\n\n",
        ],
    ],
)
def test_a_stream_is_read_as_servers_write_it(server, script):
    server.script = script
    assert said(server) == "a"


# --------------------------------------------------------------------------------------------------- stopping it


def test_stopping_ends_a_request_that_is_not_answered_yet(server):
    server.begins.clear()
    looked = iter(range(1000))
    pieces = OpenAIAnswerer(server.url, MODEL).answer(ASKED, stopped=lambda: next(looked) > 3)
    assert list(pieces) == []


@pytest.mark.parametrize("how", ["close", "stop"])
def test_an_answer_that_is_no_longer_wanted_closes_the_connection(server, how):
    server.say = ["a"] * 50
    server.waits.clear()
    done = threading.Event()
    pieces = OpenAIAnswerer(server.url).answer(ASKED, stopped=done.is_set)
    next(pieces)
    if how == "close":
        pieces.close()
    else:
        done.set()
        assert list(pieces) == []
    server.waits.set()
    assert server.left.wait(20)


# --------------------------------------------------------------------------------------- what a server does not take


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model does not support images."),
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (404, "Only 'text' content type is supported."),
        (422, "body.messages[1].content: Input should be a valid string"),
        (400, "At most 0 image(s) may be provided in one prompt."),
    ],
)
def test_a_server_without_eyes_is_asked_again_without_pictures_and_that_is_remembered(server, status, message):
    server.refuse = lambda r: (status, {"error": {"message": message}}) if r.method == "POST" and r.pictures else None
    answerer = OpenAIAnswerer(server.url)
    assert answerer.sees
    assert "".join(answerer.answer(SEEN)) == "2 450 ₽ [1]"
    assert not answerer.sees
    assert [bool(request.pictures) for request in server.chats] == [True, False]
    assert "".join(answerer.answer(SEEN)) == "2 450 ₽ [1]"
    assert len(server.chats) == 3
    assert "Картинка" not in server.chats[-1].user


def test_a_picture_that_is_all_there_is_cannot_be_left_out(server):
    server.refuse = lambda r: (400, {"error": "no images, please"}) if r.method == "POST" else None
    message = failure(server, Asked("что это?", "ru", (), JPEG))
    assert "takes no pictures" in message
    assert len(server.chats) == 1


def test_a_refusal_within_the_stream_is_one_too(server):
    server.script = [b'event: error\ndata: {"error":{"message":"the model has no vision","code":400}}\n\n']
    assert "no vision" in failure(server, SEEN)
    assert [bool(request.pictures) for request in server.chats] == [True, False]


def test_evidence_that_is_too_long_is_halved_until_it_fits(server):
    offered = tuple(Offered(n, "", "", "", f"piece number {n}") for n in range(1, 9))

    def refuse(request: Request) -> tuple[int, dict] | None:
        long = request.method == "POST" and "piece number 3" in request.user
        return (
            (400, {"error": {"message": "the request exceeds the available context size (4096 tokens)"}})
            if long
            else None
        )

    server.refuse = refuse
    assert said(server, dataclasses.replace(ASKED, offered=offered)) == "2 450 ₽ [1]"
    counts = [request.user.count("piece number") for request in server.chats]
    assert counts == [8, 4, 2]
    assert "piece number 1" in server.chats[-1].user


def test_evidence_that_never_fits_says_what_to_do(server):
    server.refuse = lambda r: (400, {"error": {"message": "context length exceeded"}}) if r.method == "POST" else None
    assert "give its model more context" in failure(server)
    assert len(server.chats) == 2


def test_a_server_that_wants_no_settings_gets_none(server):
    server.refuse = lambda r: (
        (400, {"error": {"message": "Unsupported parameter: 'max_tokens'"}}) if "max_tokens" in r.body else None
    )
    assert said(server) == "2 450 ₽ [1]"
    assert "temperature" not in server.chats[-1].body


# --------------------------------------------------------------------------------------------------------- failures


def test_a_server_that_is_down_says_where_it_was_looked_for():
    with chatting() as server:
        url = server.url
    with pytest.raises(EngineMissing, match=rf"{url} cannot be asked: nobody listens there; start the server"):
        list(OpenAIAnswerer(url).answer(ASKED))


def test_a_slow_server_is_given_up(server):
    server.begins.clear()
    message = failure(server, model=MODEL, patience=Patience(first=0.05, between=0.05))
    assert "no answer in" in message
    assert "try again" in message


class Clock:
    """A clock that stands still, or makes a step at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.step = 0.0, 0.0
        for module in (wire, answerer_openai):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self))

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_server_that_falls_silent_is_given_up(server, monkeypatch):
    clock = Clock(monkeypatch)
    server.waits.clear()
    pieces = OpenAIAnswerer(server.url, MODEL).answer(ASKED)
    assert next(pieces) == "2 450 ₽"
    clock.step = 20
    with pytest.raises(EngineError, match="60 without a word in between"):
        next(pieces)


def test_signs_of_life_without_words_do_not_hold_it_for_ever(server):
    server.script = [b": still here\n\n"] * 3
    server.waits.clear()  # then silence
    assert "no answer in" in failure(server, model=MODEL, patience=Patience(first=0.1, between=30))


def test_who_reads_slowly_is_not_taken_for_a_slow_server(server, monkeypatch):
    clock = Clock(monkeypatch)
    server.waits.clear()
    pieces = OpenAIAnswerer(server.url, MODEL).answer(ASKED)
    next(pieces)
    clock.now += 1000
    server.waits.set()
    assert list(pieces) == [" [1]"]


@pytest.mark.parametrize("key", [None, "sk-wrong-0123456789"])
def test_a_wrong_key_says_where_the_right_one_goes_and_is_not_shown(server, key, caplog):
    server.key = "sk-right"
    with caplog.at_level(logging.DEBUG):
        message = failure(server, key=key)
    assert "POMNIT_ANSWER_KEY" in message
    assert ("asks for a key" if key is None else "refuses the key") in message
    answerer = OpenAIAnswerer(server.url, key=key)
    assert "sk-" not in message + repr(answerer) + answerer.name + caplog.text


def test_what_a_server_repeats_of_its_key_is_not_shown(server):
    server.refuse = lambda r: (400, {"error": {"message": f"bad request with {r.headers['authorization']}"}})
    message = failure(server, key="sk-0123456789", model=MODEL)
    assert "bad request with Bearer …" in message


def test_the_right_key_is_sent_to_the_server(server):
    server.key = "sk-right"
    assert said(server, key="sk-right") == "2 450 ₽ [1]"


def test_an_unknown_model_names_those_that_are_there(server):
    server.models = ["llava", "qwen3-vl"]
    message = failure(server, model="gpt")
    assert "does not exist" in message
    assert "set answer_model to a model that is there: llava, qwen3-vl" in message


def test_a_server_without_models_says_so(server):
    server.models = []
    assert "has no model" in failure(server)


def test_a_wrong_path_says_so(server):
    with pytest.raises(EngineMissing, match=r"is answer_url right\? Most servers want it to end in /v1"):
        list(OpenAIAnswerer(f"http://127.0.0.1:{server.server_port}/api").answer(ASKED))


def test_a_list_of_models_that_fails_for_want_of_a_model_is_asked_for_once(server):
    server.refuse = lambda r: (400, {"error": "no model loaded"})
    assert "no model loaded" in failure(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("where", ["http://localhost:1/v1", "http://example.org/", "/v1/elsewhere"])
def test_redirects_are_told_and_not_followed(server, where):
    server.location = where
    message = failure(server, model=MODEL)
    assert "nothing is sent there" in message
    assert where in message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, {"error": {"message": "boom\u001b[31m\nat line 1"}}, "boom [31m at line 1"),
        (503, {"error": {"message": "Loading model", "code": 503}}, "Loading model"),
        (502, b"<html><body>Bad Gateway</body></html>", "answers 502; look at"),
        (429, {"detail": "slow down"}, "it is busy"),
        (418, b"teapot", "teapot"),
        (500, b"\xff\xfe" * 5, "look at what the server itself says"),
        (500, b"x" * 100_000, "x" * 300),
        (400, {"error": [{"msg": ["deep", {"message": "x"}]}]}, "deep"),
        (400, [[[[[["too deep"]]]]]], "answers 400; see whether"),
    ],
)
def test_what_a_server_says_of_its_failure_is_told_short_and_plain(server, status, body, words):
    server.refuse = lambda _: (status, body)
    message = failure(server, model=MODEL)
    assert words in message
    assert str(status) in message
    assert len(message) < 700
    assert message.isprintable()


GOOD = b'data: {"choices":[{"delta":{"content":"2 450"}}]}\n\n'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([GOOD], "cut off in the middle"),
        ([GOOD, b'data: {"choices":[{"delta":'], "cut off in the middle"),
        ([GOOD, b"data: nonsense\n\n"], "an event is not JSON"),
        ([GOOD, b"data: []\n\n"], "an event is no object"),
        ([GOOD, b"data: " + b"[" * 100_000 + b"\n\n"], "an event is not JSON"),
        ([GOOD, b'data: {"choices":[{"delta":{"content":["x"]}}]}\n\n'], "no text"),
        ([GOOD, b'data: {"choices":7}\n\n'], "no choices"),
        ([GOOD, b'data: {"hello":"world"}\n\n'], "no choices"),
        ([GOOD, b"hello, world\n"], "no events"),
        ([GOOD, b'data: {"error":{"message":"out of memory"}}\n\n'], "out of memory"),
        ([GOOD, b'error: {"code":500,"message":"slot lost"}\n\n'], "slot lost"),
        ([GOOD, b"data: " + b"x" * answerer_openai.LINE + b"\n\n"], "longer than"),
        ([GOOD, b"x" * (answerer_openai.LINE + 1)], "longer than"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_stream_that_breaks_says_how_and_keeps_what_was_said(server, script, words, chunked):
    server.script, server.chunked = script, chunked
    heard: list[str] = []
    with pytest.raises(EngineError, match=words):
        heard.extend(OpenAIAnswerer(server.url, MODEL).answer(ASKED))
    assert "".join(heard) in ("2 450", "")


def test_a_connection_that_is_cut_is_no_end_of_an_answer(server):
    server.chunked = server.cut = True
    with pytest.raises(EngineError, match="cut"):
        said(server)


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "image/png"])
def test_what_is_no_such_server_is_told_by_what_it_sends(server, kind):
    server.kind = kind
    message = failure(server)
    assert "does not answer as an OpenAI-compatible server" in message
    assert kind.partition(";")[0] in message


def test_what_does_not_speak_http_is_told(isolated):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 smtp.example.org ESMTP\r\n" * 10)
                connection.recv(1 << 16)

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(EngineMissing, match="does not speak HTTP"):
            list(OpenAIAnswerer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", MODEL).answer(ASKED))
        thread.join()


def test_an_endless_answer_ends(server):
    server.say = ["word " * 100] * 1000
    answer = said(server)
    assert answer.endswith(" …")
    assert len(answer) == answerer_openai.TEXT + 2


def test_an_answer_that_ran_out_of_tokens_shows_it(server):
    server.script = [GOOD, b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n']
    assert said(server) == "2 450 …"


def test_halves_of_letters_reach_nobody(server):
    server.script = [b'data: {"choices":[{"delta":{"content":"\\ud800a"},"finish_reason":"stop"}]}\n\n']
    assert said(server) == "?a"


def test_an_endless_list_of_models_is_refused(server):
    server.models = ["m" * 100] * 20_000
    assert "its list of models is none" in failure(server)


def test_nothing_is_left_open(server, recwarn):
    answerer = OpenAIAnswerer(server.url)
    for _ in range(3):
        list(answerer.answer(ASKED))
    assert [w for w in recwarn if w.category is ResourceWarning] == []
    assert wire.CONNECT_S <= 10


# ------------------------------------------------------------------------------------------------------- who answers


def governor(given: object = None, **settings: object) -> Governor:
    return Governor(Settings.load(**settings), engines=None if given is None else {"answer": given})


def test_without_anything_set_the_reason_says_what_could_be_done(isolated):
    with (
        pytest.raises(EngineMissing, match=r"no server is named.*answer_url.*http://localhost:11434/v1"),
        governor().answerer(),
    ):
        pass
    choice = governor().choices()[-1]
    assert (choice.job, choice.model, choice.works) == ("answer", "extractive", True)
    assert "answer_url" in choice.reason


def test_an_answerer_that_was_handed_in_comes_first(server):
    fake = FakeAnswerer(["a"])
    with governor(fake, answer_url=server.url).answerer() as (answerer, reason):
        assert answerer is fake
        assert reason == "handed in by the program"
    assert governor(fake).choices()[-1].model == "fake"


@pytest.mark.parametrize("settings", [{}, {"answerer": "server"}])
def test_a_server_that_is_named_answers(server, settings):
    chosen = governor(answer_url=server.url, **settings)
    for _ in range(2):
        with chosen.answerer() as (answerer, reason):
            assert "".join(answerer.answer(ASKED)) == "2 450 ₽ [1]"
            assert "answer_url" in reason or "asked for in the settings" in reason
    assert len([request for request in server.asked if request.method == "GET"]) == 1  # its first model is known by now
    choice = chosen.choices()[-1]
    assert (choice.model, choice.runtime, choice.works) == ("its first model", server.url, True)


def test_a_server_can_be_asked_for_by_name(server):
    fake = FakeAnswerer(["a"])
    with governor(fake, answerer="extractive", answer_url=server.url).answerer("server") as (answerer, reason):
        assert isinstance(answerer, OpenAIAnswerer)
        assert "asked for by name" in reason
    with pytest.raises(EngineMissing, match="no server is named"), governor().answerer("server"):
        pass


def test_the_settings_can_want_no_model(server):
    chosen = governor(answerer="extractive", answer_url=server.url)
    with pytest.raises(EngineMissing, match="as they stand, asked for in the settings"), chosen.answerer():
        pass
    assert chosen.choices()[-1].works
    assert server.asked == []


@pytest.mark.parametrize("name", ["gpt-9", "x" * 500])
def test_an_unknown_answerer_is_refused_with_what_there_is(name):
    with pytest.raises(EngineMissing, match=r"there is no answerer .{1,90}; answerers: auto, extractive") as caught:
        governor().answering(name)
    assert len(str(caught.value)) < 300
    choice = governor(answerer=name).choices()[-1]
    assert not choice.works


def test_to_say_who_answers_nobody_is_asked(server):
    governor(answer_url=server.url).choices()
    governor(answer_url=server.url).answering()
    assert server.asked == []


@pytest.fixture
def remembered(files, settings):
    """Opens a memory with one note, whose answers come from the server of an address."""
    note(files / "ticket.txt", "The train ticket to Kazan costs 2450 rubles. It leaves at 12:30.")
    opened: list[Memory] = []

    def open_(url: str, **more: object) -> Memory:
        opened.append(Memory.open(settings=Settings.load(answer_url=url, **more), engines=engines()))
        opened[-1].add([files])
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def test_an_answer_of_the_server_is_checked_and_cited(server, remembered):
    server.say = ["It costs 2450", " rubles [1][9]."]
    heard: list[str] = []
    answer = remembered(server.url).ask("How much is the train ticket?", on_text=heard.append)
    assert heard == ["It costs 2450", " rubles [1][9]."]
    assert answer.text == "It costs 2450 rubles [1]."
    assert [(c.number, c.quote) for c in answer.citations] == [(1, "The train ticket to Kazan costs 2450 rubles.")]
    assert answer.answerer == f"{MODEL} at 127.0.0.1:{server.server_port}"
    assert answer.unsupported == ()
    assert any("[9]" in said for said in answer.notes)


@pytest.mark.parametrize("fault", ["down", "key", "broken", "refused", "slow model list"])
def test_where_the_server_fails_the_best_sentences_answer_and_it_is_said_aloud(server, remembered, fault):
    memory = remembered(server.url)
    if fault == "down":
        server.shutdown()
        server.server_close()
    elif fault == "key":
        server.key = "sk-1"
    elif fault == "broken":
        server.script = [b"data: nonsense\n\n"]
    elif fault == "refused":
        server.refuse = lambda _: (500, {"error": "no room left"})
    else:
        server.models = []
    answer = memory.ask("How much is the train ticket?")
    assert answer.answerer == "extractive"
    assert "2450 rubles" in answer.text
    assert not answer.abstained
    (aloud,) = [said for said in answer.notes if f"127.0.0.1:{server.server_port}" in said]
    assert "failed" in aloud


# ----------------------------------------------------------------------------------------------------------- its key


def test_the_key_comes_from_the_environment_first(server, tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text("sk-from-file\n")
    file.chmod(0o600)
    for expected in ("sk-from-file", "sk-from-environment"):
        with governor(answer_url=server.url, answer_key_file=file).answerer() as (answerer, _):
            list(answerer.answer(ASKED))
        assert server.chats[-1].headers["authorization"] == f"Bearer {expected}"
        monkeypatch.setenv("POMNIT_ANSWER_KEY", "sk-from-environment")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"sk-secret", 0o644, "type: chmod 600"),
        (None, 0, "No such file"),
        (b"", 0o600, "is no key"),
        (b"sk-secret\nsk-other", 0o600, "is no key"),
        ("sk-секрет".encode(), 0o600, "is no key"),
        (b"sk-secret" * 1000, 0o600, "is no key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_and_not_shown(server, tmp_path, content, mode, words):
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(EngineMissing, match=words) as caught:
        governor(answer_url=server.url, answer_key_file=file).answering()
    assert "sk-" not in str(caught.value)
    assert server.asked == []


def test_a_key_in_the_environment_that_would_add_lines_to_a_request_is_refused(server, monkeypatch):
    monkeypatch.setenv("POMNIT_ANSWER_KEY", "sk-a\r\nX-Other: b")
    with pytest.raises(EngineMissing, match="POMNIT_ANSWER_KEY is no key"):
        governor(answer_url=server.url).answering()


def test_nothing_that_is_shown_holds_the_key(server, monkeypatch, cli):
    monkeypatch.setenv("POMNIT_ANSWER_KEY", "sk-very-secret")
    monkeypatch.setenv("POMNIT_ANSWER_URL", server.url)
    assert "sk-very" not in repr(Settings.load()) + repr(governor().choices())
    for words in (("status",), ("status", "--json"), ("doctor",), ("doctor", "--json")):
        done = cli(*words)
        assert "sk-very" not in done.out + done.err
        assert server.url in done.out


# ------------------------------------------------------------------------------------------------------------ doctor


def checks(**settings: object) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict, check.text) for check in doctor.answering.check(Settings.load(**settings))}


def test_doctor_asks_no_server_when_none_is_set(server):
    assert checks() == {}
    assert checks(answer_url=server.url, answerer="extractive") == {}
    assert server.asked == []


def test_doctor_says_that_the_server_answers_and_with_which_model(server):
    server.models = ["bge-m3", "llava"]
    assert checks(answer_url=server.url)["server"] == ("ok", f"{server.url} answers: llava, one of 2")
    assert server.chats == []


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({"models": []}, {}, "has no model"),
        ({"models": ["a", "b"]}, {"answer_model": "c"}, "has no model c; set answer_model: a, b"),
        ({"key": "sk-1"}, {}, "asks for a key"),
        ({"location": "http://127.0.0.1:1/"}, {}, "nothing is sent there"),
        ({"refuse": lambda _: (200, b"hello")}, {}, "its list of models is none"),
    ],
)
def test_doctor_says_what_is_wrong_with_the_server(server, change, settings, words):
    for name, value in change.items():
        setattr(server, name, value)
    verdict, text = checks(answer_url=server.url, **settings)["server"]
    assert verdict == "warning"
    assert words in text


def test_doctor_says_that_the_server_is_down():
    with chatting() as server:
        url = server.url
    verdict, text = checks(answer_url=url)["server"]
    assert verdict == "warning"
    assert "nobody listens there" in text


def test_doctor_warns_of_a_server_far_away_without_encryption():
    assert doctor.answering._reached("http://192.168.1.7:11434/v1", "m", 1).verdict == "warning"
    assert doctor.answering._reached("https://example.org/v1", "m", 1).verdict == "ok"
    assert doctor.answering._reached("http://[::1]:11434/v1", "m", 1).verdict == "ok"
