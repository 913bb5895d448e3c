"""The answerer beside a real server: mlx-lm's, with a tiny model of random weights. What it says is noise.

What is proved is that the two understand each other: models, streaming, refusals, and a server that is gone.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator

import pytest
from PIL import Image

from pomnit.engines.answerer_openai import OpenAIAnswerer
from pomnit.engines.protocols import Asked, Offered, Picture
from pomnit.errors import EngineError, EngineMissing
from support import real_server
from support.real_server import RealServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(real_server.why_not() is not None, reason=str(real_server.why_not())),
]

PIECE = Offered(1, "Билет", "2026-11-03T09:41:07.000Z", "", "Билет стоил 2 450 ₽")
ASKED = Asked("Сколько стоил билет?", "ru", (PIECE,))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("server")
    with real_server.serving(real_server.tiny_chat(folder / "tiny-qwen3"), folder / "hub") as server:
        yield server


@pytest.fixture(autouse=True)
def one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fences have the same code each time: the same noise answers the same prompt."""
    monkeypatch.setattr("pomnit.engines.prompt.secrets.token_hex", lambda _: "c0de" * 6)


def some(answerer: OpenAIAnswerer, asked: Asked = ASKED) -> list[str]:
    """Gives the first pieces of an answer, and ends it."""
    with contextlib.closing(answerer.answer(asked)) as pieces:
        return list(itertools.islice(pieces, 20))


def test_the_first_model_of_its_list_answers_in_pieces(server):
    answerer = OpenAIAnswerer(server.url)
    assert len(some(answerer)) > 3
    assert answerer.models() == [server.model]
    assert answerer.name.startswith("tiny-qwen3 at 127.0.0.1:")


def test_an_answer_comes_to_its_end(server):
    pieces = list(OpenAIAnswerer(server.url, server.model).answer(ASKED))
    assert len(pieces) > 20
    assert pieces[:3] == some(OpenAIAnswerer(server.url))[:3]


def test_it_can_be_ended_in_the_middle_and_answers_again(server):
    answerer = OpenAIAnswerer(server.url)
    assert all(len(some(answerer)) > 3 for _ in range(3))


def test_a_server_without_eyes_is_asked_again_without_pictures(server):
    answerer = OpenAIAnswerer(server.url)
    Image.new("RGB", (64, 64), "grey").save(drawn := io.BytesIO(), "PNG")
    shown = Asked(ASKED.question, "ru", (PIECE,), Picture(drawn.getvalue(), "blake2b:1"))
    assert some(answerer, shown)[:3] == some(OpenAIAnswerer(server.url))[:3]
    assert not answerer.sees


def test_an_unknown_model_names_the_one_that_is_there(server):
    with pytest.raises(EngineMissing, match=r"set answer_model to a model that is there: .*tiny-qwen3"):
        list(OpenAIAnswerer(server.url, "nobody/nothing").answer(ASKED))


def test_another_path_says_what_may_be_wrong(server):
    with pytest.raises(EngineError, match=r"answer_url right\?"):
        list(OpenAIAnswerer(server.url.removesuffix("/v1") + "/api").answer(ASKED))


def test_a_server_that_ends_in_the_middle_is_told(tmp_path):
    with real_server.serving(real_server.tiny_chat(tmp_path / "tiny-qwen3"), tmp_path / "hub") as server:
        pieces = OpenAIAnswerer(server.url).answer(ASKED)
        next(pieces)
        server.process.kill()
        server.process.wait()
        with pytest.raises(EngineError, match="cut off in the middle"):
            list(pieces)
        with pytest.raises(EngineMissing, match="nobody listens there; start the server"):
            list(OpenAIAnswerer(server.url).answer(ASKED))
