"""What every reranker promises, over each reranker that this machine can run.

Those of ONNX Runtime and MLX are tiny and random (``golden/make_models.py``), one of each head; ``test_parity.py``
holds their scores to transformers.
"""

import dataclasses
import threading

import numpy as np
import pytest

from pomnit.engines.fake import FakeReranker
from pomnit.errors import EngineError, ModelDamaged
from support.golden_models import RERANKERS, changed, golden
from support.text_engines import make_reranker

QUERY = "What did we decide about the new office in Berlin?"
TEXTS = [
    "We decided to take the new office in Berlin.",
    "",
    "Встречу о бюджете перенесли на четверг.",
    "boats",
    "The office in Berlin was too dear. " * 40,
    "half \ud83d of a pair",
    "\0 \u200b",
]
MODELS = [f"{runtime} {kind}" for runtime in ("onnx", "child", "mlx") for kind in RERANKERS]


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def make(cache):
    """Gives a reranker of a kind; the caller closes it."""

    def make(kind, threads=2):
        runtime, _, name = kind.partition(" ")
        card, folder, _ = golden(name or "bert-pair")
        return FakeReranker(card) if runtime == "fake" else make_reranker(runtime, card, folder, 8, cache, threads)

    return make


@pytest.fixture(scope="session", params=["fake", *MODELS])
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def reranker(make, kind):
    reranker = make(kind)
    yield reranker
    reranker.close()


@pytest.fixture(scope="session")
def found(reranker):
    return reranker.score(QUERY, TEXTS)


def test_each_text_has_a_score_of_float32_from_0_to_1(found):
    assert found.shape == (len(TEXTS),)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_no_texts_have_no_scores(reranker):
    scores = reranker.score(QUERY, [])
    assert (scores.shape, scores.dtype) == ((0,), np.float32)


def test_texts_differ_in_their_scores(found):
    assert len(set(found.tolist())) > 2


def test_a_text_has_the_same_score_alone_and_in_any_batch(reranker, found):
    """To the last bit: nothing is padded, and the ranges of dynamic quantisation are a pair's own."""
    alone = [reranker.score(QUERY, [text])[0] for text in TEXTS]
    assert np.array_equal(alone, found)
    assert np.array_equal(reranker.score(QUERY, TEXTS[::-1])[::-1], found)


def test_the_question_counts(reranker, found):
    assert not np.array_equal(reranker.score("Где лодки?", TEXTS), found)


def test_the_number_of_threads_changes_nothing(make, kind, found):
    single = make(kind, threads=1)
    assert np.array_equal(single.score(QUERY, TEXTS), found)
    single.close()


def test_questions_without_words_and_of_any_length_have_scores(reranker):
    for query in ("", "\ud83d", QUERY * 50):
        scores = reranker.score(query, TEXTS[:3])
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_long_text_is_cut_at_its_end(make, model):
    reranker = make(model)
    start = "The office in Berlin was too dear. " * 40
    assert len(set(reranker.score(QUERY, [start + "boats", start + "бюджет", start]).tolist())) == 1
    reranker.close()


@pytest.mark.parametrize("model", MODELS)
def test_a_text_counts_beside_the_longest_question(make, model):
    """Else a question of many words would leave no room for what should answer it."""
    reranker = make(model)
    assert len(set(reranker.score(QUERY * 50, ["boats", "бюджет", QUERY]).tolist())) == 3
    reranker.close()


def test_scoring_from_several_threads_gives_each_its_own_scores(reranker, found):
    said = {}

    def work(number):
        said[number] = reranker.score(QUERY, TEXTS[number:])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(said[i], found[i:]) for i in range(4))


def test_a_closed_reranker_refuses_and_closes_twice_in_peace(make, kind):
    reranker = make(kind)
    reranker.close()
    reranker.close()
    with pytest.raises(EngineError, match="closed"):
        reranker.score(QUERY, ["text"])


@pytest.mark.parametrize("runtime", ["onnx", "mlx"])
class TestDamage:
    """A tiny random model with something wrong."""

    def test_a_head_of_several_labels_is_refused(self, runtime, tmp_path):
        wide = np.zeros((3, 32), np.float32)
        card = changed("bert-pair", tmp_path / "model", tensors={"classifier.weight": wide})
        with pytest.raises(ModelDamaged, match="3 labels"):
            make_reranker(runtime, card, tmp_path / "model", 32, tmp_path)

    def test_an_encoder_without_a_head_is_refused(self, runtime, tmp_path):
        _, folder, _ = golden("bert-mean")
        card = dataclasses.replace(RERANKERS["bert-pair"], max_tokens=64)
        with pytest.raises(ModelDamaged, match=r"classifier\.weight"):
            make_reranker(runtime, card, folder, 32, tmp_path)

    def test_a_score_that_is_no_number_is_refused(self, runtime, tmp_path):
        huge = {"classifier.weight": np.full((1, 32), 3e38, np.float32)}
        card = changed("bert-pair", tmp_path / "model", tensors=huge)
        with pytest.raises(EngineError, match="text 0 has no score"):
            make_reranker(runtime, card, tmp_path / "model", 32, tmp_path).score("a", ["b"])
