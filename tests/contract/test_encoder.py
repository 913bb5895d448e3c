"""What every encoder promises, over each encoder that this machine can run.

The engines with ONNX Runtime and MLX need the published weights; where their package is not installed they are
skipped, and only the fake one is tested (``tests/unit/test_model_files.py`` runs a tiny random model everywhere). MLX
runs on Apple silicon and, for these tests alone, on its CPU back-end for Linux: a thousandth of the speed, so it gets
fewer and shorter texts.
"""

import dataclasses
import importlib.util
import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from pomnit.engines.bert import windows
from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineError, EngineMissing
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.models.hub import model_files
from support.checkpoints import tiny_bert

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "encoder.json").read_text("utf-8"))["texts"]
TEXTS = [entry["text"] for entry in GOLDEN]
PREFIXED = dataclasses.replace(ALL_MINILM_L6_V2, query_prefix="question: ", passage_prefix="passage: ")
KINDS = ("int8", "fp32", "fake", "mlx-int8", "mlx-fp32")
with_mlx = pytest.mark.skipif(
    importlib.util.find_spec("mlx") is None, reason="mlx is not installed; for Linux: pip install 'mlx[cpu]'"
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """The graphs of the real model, made once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def make(cache):
    """Gives an encoder of a kind; the caller closes it."""

    def make(kind, card=ALL_MINILM_L6_V2, threads=2):
        if kind == "fake":
            return FakeEncoder(card)
        if kind.startswith("mlx") and importlib.util.find_spec("mlx") is None:
            pytest.skip("mlx is not installed; for Linux: pip install 'mlx[cpu]'")
        try:
            metadata.distribution(card.package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{card.package} is not installed")
        files = model_files(card, cache)
        if kind.startswith("mlx"):
            return MlxEncoder(dataclasses.replace(card, max_tokens=32), files, kind.removeprefix("mlx-"))
        return OnnxEncoder(card, files, cache, kind, threads)

    return make


@pytest.fixture(scope="session", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def texts(kind) -> list[str]:
    return TEXTS[:5] if kind.startswith("mlx") else TEXTS


@pytest.fixture(scope="session")
def encoder(make, kind) -> Iterator[OnnxEncoder | MlxEncoder | FakeEncoder]:
    encoder = make(kind)
    yield encoder
    encoder.close()


@pytest.fixture(scope="session")
def vectors(encoder, texts):
    return encoder.encode(texts)


def test_each_text_has_a_row_of_float32_and_of_length_one(encoder, texts, vectors):
    assert vectors.shape == (len(texts), encoder.card.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, encoder.card.dimensions)


def test_a_text_has_the_same_vector_alone_and_in_any_batch(encoder, texts, vectors):
    """To the last bit: nothing is padded, and the ranges of dynamic quantisation are a text's own."""
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.array_equal(alone, vectors)
    assert np.array_equal(encoder.encode(texts[::-1])[::-1], vectors)


def test_the_number_of_threads_changes_nothing(make, kind, texts, vectors):
    single = make(kind, threads=1)
    assert np.array_equal(single.encode(texts), vectors)
    single.close()


def test_different_texts_have_different_vectors(vectors):
    rows = vectors[2:]  # the first two have no words
    cosines = rows @ rows.T - np.eye(len(rows))
    assert cosines.max() < 0.95


def test_a_text_that_shares_words_is_nearer(encoder):
    query, same, other = encoder.encode(["the budget meeting", "a meeting about the budget", "boats on a blue lake"])
    assert query @ same > query @ other + 0.2


def test_texts_without_words_have_a_vector(encoder):
    rows = encoder.encode(["", " ", "\n", "\0", "\u200b"])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_half_of_a_surrogate_pair_is_read_as_an_unknown_letter(encoder):
    assert np.isfinite(encoder.encode(["broken \ud83d name"])).all()


def test_the_prefix_is_that_of_the_query_or_of_the_passage(make, kind, encoder):
    prefixed = make(kind, PREFIXED)
    expected = encoder.encode(["question: the budget", "passage: the budget"])
    assert np.array_equal(prefixed.encode(["the budget"], query=True)[0], expected[0])
    assert np.array_equal(prefixed.encode(["the budget"])[0], expected[1])
    prefixed.close()


def test_the_end_of_a_long_text_counts(encoder, kind):
    long = 3 if kind.startswith("mlx") else 40
    start = "The committee met in the old town hall to talk about roads. " * long
    boats, bread = encoder.encode([start + "Boats sail. " * 2 * long, start + "Bread is baked. " * 2 * long])
    first = encoder.encode([start])[0]
    assert boats @ bread < 0.99
    assert boats @ first < 0.99


def test_encoding_from_several_threads_gives_each_its_own_rows(encoder, texts, vectors):
    found = {}

    def work(number):
        found[number] = encoder.encode(texts[number:])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(found[i], vectors[i:]) for i in range(4))


def test_a_closed_encoder_refuses_and_closes_twice_in_peace(make, kind):
    encoder = make(kind)
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.encode(["text"])


class TestGolden:
    """Against sentence-transformers with the same weights; the last text has windows, pooled by hand."""

    @pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["text"][:20] or "empty")
    def test_fp32_agrees_to_a_ten_thousandth(self, make, entry):
        encoder = make("fp32")
        found = encoder.encode([entry["text"]])[0]
        encoder.close()
        assert np.abs(found[: len(entry["first"])] - entry["first"]).max() < 1e-4

    def test_mlx_agrees_to_a_ten_thousandth_in_fp32_and_keeps_the_direction_in_int8(self, cache, make):
        make("mlx-fp32").close()  # skips where it must
        files = model_files(ALL_MINILM_L6_V2, cache)
        texts = [TEXTS[i] for i in (0, 3, 4, 7)]
        expected = make("fp32").encode(texts)
        full, small = (MlxEncoder(ALL_MINILM_L6_V2, files, kind).encode(texts) for kind in ("fp32", "int8"))
        assert np.abs(full - expected).max() < 1e-4
        assert (small * expected).sum(axis=1).min() >= 0.999

    def test_int8_has_nearly_the_direction_of_fp32(self, make):
        both = [make("int8"), make("fp32")]
        small, full = (encoder.encode(TEXTS) for encoder in both)
        for encoder in both:
            encoder.close()
        cosines = (small * full).sum(axis=1)
        assert cosines.min() >= 0.99
        assert cosines.mean() >= 0.995


class TestTinyModel:
    """A random model, where the published one is not installed."""

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "model"

    def test_int8_has_nearly_the_direction_of_fp32(self, folder, tmp_path):
        card = tiny_bert(folder)
        texts = ["a b c", "abc где 12", "", "x " * 150]
        small, full = (OnnxEncoder(card, folder, tmp_path / "cache", kind).encode(texts) for kind in ("int8", "fp32"))
        assert (small * full).sum(axis=1).min() >= 0.99

    def test_the_mean_is_over_the_tokens_of_all_windows(self, folder, tmp_path):
        card = tiny_bert(folder)
        encoder = OnnxEncoder(card, folder, tmp_path / "cache", "fp32")
        text = "a b c d e f g h " * 20
        read = windows(encoder._tokenizer, text)
        assert len(read) > 1
        assert max(map(len, read)) == card.max_tokens
        assert all(a[-17:-1] == b[1:17] for a, b in itertools.pairwise(read))  # a quarter is shared
        mean = sum(encoder._run(ids) * len(ids) for ids in read)
        assert np.allclose(encoder.encode([text])[0], mean / np.linalg.norm(mean), atol=1e-6)

    def test_the_first_token_alone_is_read_when_the_card_says_so(self, folder, tmp_path):
        mean = tiny_bert(folder)
        first = dataclasses.replace(mean, pooling="cls")
        rows = [OnnxEncoder(card, folder, tmp_path / "cache", "fp32").encode(["a b c"])[0] for card in (mean, first)]
        assert rows[0] @ rows[1] < 0.99

    def test_a_pooling_that_is_not_known_is_refused(self, folder, tmp_path):
        card = dataclasses.replace(tiny_bert(folder), pooling="last")
        with pytest.raises(EngineError, match="last"):
            OnnxEncoder(card, folder, tmp_path / "cache")


@with_mlx
class TestTinyModelInMlx:
    """The same weights in MLX and in ONNX Runtime, which ``TestGolden`` holds to sentence-transformers."""

    TEXTS = ("a b c", "abc где 12", "", "a b c d e f g h " * 20)  # the last has three windows

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "model"

    @pytest.mark.parametrize("pooling", ["mean", "cls"])
    def test_fp32_agrees_with_onnx_runtime(self, folder, tmp_path, pooling):
        card = dataclasses.replace(tiny_bert(folder), pooling=pooling)
        expected = OnnxEncoder(card, folder, tmp_path / "cache", "fp32").encode(self.TEXTS)
        assert np.abs(MlxEncoder(card, folder, "fp32").encode(self.TEXTS) - expected).max() < 1e-4

    def test_int8_keeps_the_direction_of_fp32(self, folder):
        card = tiny_bert(folder)
        small, full = (MlxEncoder(card, folder, kind).encode(self.TEXTS) for kind in ("int8", "fp32"))
        assert (small * full).sum(axis=1).min() >= 0.999
        assert not np.array_equal(small, full)

    def test_more_windows_than_are_evaluated_together_each_keep_their_own_state(self, folder):
        card = dataclasses.replace(tiny_bert(folder), max_tokens=8)
        encoder = MlxEncoder(card, folder, "fp32")
        text = "a b c d e f g h i j " * 30
        read = windows(encoder._tokenizer, text)
        assert len(read) > 3 * 16
        alone = [encoder._run([ids])[0] for ids in read]
        assert np.array_equal(encoder._run(read), alone)

    def test_a_pooling_that_is_not_known_is_refused(self, folder):
        card = dataclasses.replace(tiny_bert(folder), pooling="last")
        with pytest.raises(EngineError, match="last"):
            MlxEncoder(card, folder)

    def test_a_tensor_that_does_not_fit_the_others_is_an_engine_error(self, folder):
        card = tiny_bert(folder, num_attention_heads=5)
        with pytest.raises(EngineError, match="tiny-bert"):
            MlxEncoder(card, folder).encode(["a"])

    def test_weights_that_give_no_vector_are_refused(self, folder):
        card = tiny_bert(folder, spoil={"encoder.layer.1.output.LayerNorm.bias": np.nan})
        with pytest.raises(EngineError, match="row 0 is not a vector"):
            MlxEncoder(card, folder).encode(["a"])

    def test_closing_gives_all_of_its_memory_back(self, folder):
        import mlx.core as mx

        before = mx.get_active_memory()
        encoder = MlxEncoder(tiny_bert(folder), folder, "fp32")
        encoder.encode(self.TEXTS)
        assert mx.get_active_memory() > before + 50_000
        encoder.close()
        assert mx.get_active_memory() == before
        assert mx.get_cache_memory() == 0

    @pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
    def test_callers_of_many_threads_leave_no_thread_behind(self, folder):
        encoder = MlxEncoder(tiny_bert(folder), folder)
        encoder.encode(["a"])
        before = len(os.listdir("/proc/self/task"))
        for _ in range(20):
            caller = threading.Thread(target=encoder.encode, args=(["a"],))
            caller.start()
            caller.join()
        left = len(os.listdir("/proc/self/task")) - before
        assert left < 5  # not one for each of the twenty; the test runner starts threads of its own

    def test_without_mlx_it_says_what_to_do(self, folder, monkeypatch):
        card = tiny_bert(folder)
        monkeypatch.setitem(sys.modules, "mlx.core", None)
        with pytest.raises(EngineMissing, match="runtime = onnx"):
            MlxEncoder(card, folder)
