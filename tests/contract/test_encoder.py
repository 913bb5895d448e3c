"""What every encoder promises, over each encoder that this machine can run.

The engines with ONNX Runtime and MLX need the published weights of all-MiniLM-L6-v2; where their package is not
installed they are skipped, and only the fake one is tested (``test_parity.py`` runs tiny random models everywhere). MLX
runs on Apple silicon and, for these tests alone, on its CPU back-end for Linux: a thousandth of the speed, so it gets
fewer and shorter texts.
"""

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.fake import FakeEncoder
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from pomnit.models.cards import ALL_MINILM_L6_V2
from pomnit.models.hub import find
from support.golden_models import changed, golden
from support.text_engines import make_encoder, with_mlx

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "encoder.json").read_text("utf-8"))["texts"]
TEXTS = [entry["text"] for entry in GOLDEN]
PREFIXED = dataclasses.replace(ALL_MINILM_L6_V2, query_prefix="question: ", passage_prefix="passage: ")
KINDS = ("onnx-8", "onnx-32", "child-8", "fake", "mlx-8", "mlx-32")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """The graphs of the real model, made once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def folder(cache) -> Path:
    """The files of the real model."""
    try:
        metadata.distribution(ALL_MINILM_L6_V2.package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{ALL_MINILM_L6_V2.package} is not installed")
    return find(ALL_MINILM_L6_V2, cache / "none", cache, runtime="onnx", bits=8).folder


@pytest.fixture(scope="session")
def make(request, cache):
    """Gives an encoder of a kind; the caller closes it."""

    def make(kind, card=ALL_MINILM_L6_V2, threads=2):
        if kind == "fake":
            return FakeEncoder(card)
        runtime, bits = kind.split("-")
        if runtime == "mlx":
            card = dataclasses.replace(card, max_tokens=32)
        return make_encoder(runtime, card, request.getfixturevalue("folder"), int(bits), cache, threads)

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


class TestTerms:
    """Of a model that weighs the tokens of its texts; this one is tiny and random."""

    @pytest.fixture(params=["onnx", "child", "mlx", "fake"])
    def sparse(self, request, cache):
        card, source, _ = golden("xlmr-cls-sparse")
        encoder = FakeEncoder(card) if request.param == "fake" else make_encoder(request.param, card, source, 8, cache)
        yield encoder
        encoder.close()

    def test_each_text_has_its_vector_and_weights_above_zero(self, sparse):
        texts = ["", "the budget of the meeting", "Что мы решили про бюджет?"]
        rows, terms = sparse.encode_terms(texts)
        assert np.array_equal(rows, sparse.encode(texts))
        assert [bool(found) for found in terms] == [False, True, True]
        assert all(type(token) is int and weight > 0 for found in terms for token, weight in found.items())

    def test_a_text_has_the_same_weights_alone_and_in_any_batch(self, sparse):
        texts = ["the budget", "the budget of the meeting " * 20, "в Берлине"]
        together = sparse.encode_terms(texts)[1]
        assert together == [sparse.encode_terms([text])[1][0] for text in texts]

    def test_no_texts_give_no_weights(self, sparse):
        rows, terms = sparse.encode_terms([])
        assert (rows.shape, terms) == ((0, sparse.card.dimensions), [])


def test_an_encoder_whose_card_is_not_sparse_refuses_to_weigh(encoder):
    with pytest.raises(EngineError, match=encoder.card.name):
        encoder.encode_terms(["the budget"])


class TestGolden:
    """Against sentence-transformers with the same weights; the last text has windows, pooled by hand."""

    @pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["text"][:20] or "empty")
    def test_fp32_agrees_to_a_ten_thousandth(self, make, entry):
        encoder = make("onnx-32")
        found = encoder.encode([entry["text"]])[0]
        encoder.close()
        assert np.abs(found[: len(entry["first"])] - entry["first"]).max() < 1e-4

    @with_mlx
    def test_mlx_agrees_to_a_ten_thousandth_in_fp32_and_keeps_the_direction_in_8_bits(self, folder, make):
        texts = [TEXTS[i] for i in (0, 3, 4, 7)]
        expected = make("onnx-32").encode(texts)
        full, small = (MlxEncoder(ALL_MINILM_L6_V2, folder, bits).encode(texts) for bits in (32, 8))
        assert np.abs(full - expected).max() < 1e-4
        assert (small * expected).sum(axis=1).min() >= 0.999

    def test_8_bits_have_nearly_the_direction_of_fp32(self, make):
        both = [make("onnx-8"), make("onnx-32")]
        small, full = (encoder.encode(TEXTS) for encoder in both)
        for encoder in both:
            encoder.close()
        cosines = (small * full).sum(axis=1)
        assert cosines.min() >= 0.99
        assert cosines.mean() >= 0.995


@pytest.mark.parametrize("runtime", ["onnx", "mlx"])
class TestDamage:
    """A tiny random model with something wrong."""

    def test_a_pooling_that_is_not_known_is_refused(self, runtime, cache):
        card, source, _ = golden("bert-mean")
        with pytest.raises(EngineError, match="last"):
            make_encoder(runtime, dataclasses.replace(card, pooling="last"), source, 32, cache)

    def test_another_kind_of_model_is_refused_and_the_known_ones_are_named(self, runtime, tmp_path):
        card = changed("bert-mean", tmp_path / "model", model_type="modernbert")
        with pytest.raises(EngineError, match=r"modernbert.*bert, xlm-roberta, qwen3"):
            make_encoder(runtime, card, tmp_path / "model", 32, tmp_path)

    def test_fewer_layers_than_the_configuration_says_are_refused(self, runtime, tmp_path):
        card = changed("bert-mean", tmp_path / "model", num_hidden_layers=3)
        with pytest.raises(ModelDamaged, match=r"layer\.2"):
            make_encoder(runtime, card, tmp_path / "model", 32, tmp_path)

    @pytest.mark.parametrize("bits", [32, 8])
    def test_weights_that_are_no_numbers_are_refused(self, runtime, tmp_path, bits):
        spoilt = {"encoder.layer.1.output.dense.weight": np.nan}
        card = changed("bert-mean", tmp_path / "model", tensors=spoilt)
        with pytest.raises(ModelDamaged, match=r"layer\.1\.output\.dense.*NaN"):
            make_encoder(runtime, card, tmp_path / "model", bits, tmp_path)

    def test_a_vector_of_zeros_is_refused(self, runtime, tmp_path):
        nothing = dict.fromkeys((f"encoder.layer.1.output.LayerNorm.{part}" for part in ("weight", "bias")), 0.0)
        card = changed("bert-mean", tmp_path / "model", tensors=nothing)
        with pytest.raises(EngineError, match="row 0 is not a vector"):
            make_encoder(runtime, card, tmp_path / "model", 32, tmp_path).encode(["a"])


@with_mlx
class TestMlx:
    """What is MLX's own."""

    TEXTS = ("budget", "the meeting о бюджете 12", "", "a boat on a lake " * 20)  # the last has windows

    def test_more_windows_than_are_evaluated_together_each_keep_their_own_state(self):
        card, source, _ = golden("bert-mean")
        encoder = MlxEncoder(dataclasses.replace(card, max_tokens=8), source, 32)
        texts = ["the budget of the meeting in Berlin " * n for n in range(1, 8)]
        read = [encoder._reader.windows(text) for text in texts]
        assert sum(map(len, read)) > 3 * 16
        assert np.array_equal(encoder.encode(texts), np.concatenate([encoder.encode([text]) for text in texts]))

    def test_heads_that_do_not_divide_the_numbers_of_a_token_are_refused(self, tmp_path):
        card = changed("bert-mean", tmp_path / "model", num_attention_heads=5)
        with pytest.raises(ModelDamaged, match="5 heads"):
            MlxEncoder(card, tmp_path / "model", 8)

    def test_a_tensor_that_does_not_fit_the_others_is_refused_when_it_is_loaded(self, tmp_path):
        card = changed("qwen3-last", tmp_path / "model", head_dim=16)
        with pytest.raises(ModelDamaged, match="model"):
            MlxEncoder(card, tmp_path / "model", 8)

    @pytest.mark.parametrize("bits", [2, 0, 64])
    def test_bits_that_mlx_has_no_numbers_of_are_refused(self, bits):
        card, source, _ = golden("bert-mean")
        with pytest.raises(EngineError, match="4, 6, 8, 16, 32"):
            MlxEncoder(card, source, bits)

    def test_closing_gives_all_of_its_memory_back(self):
        import mlx.core as mx

        card, source, _ = golden("bert-mean")
        before = mx.get_active_memory()
        encoder = MlxEncoder(card, source, 32)
        encoder.encode(self.TEXTS)
        assert mx.get_active_memory() > before + 50_000
        encoder.close()
        assert mx.get_active_memory() == before
        assert mx.get_cache_memory() == 0

    def test_loading_in_few_bits_never_holds_the_weights_in_32(self):
        import mlx.core as mx

        card, source, _ = golden("qwen3-last")
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        encoder = MlxEncoder(card, source, 4)
        layers = 4 * 2 * 64 * (4 * 32 * 2 + 2 * 32 * 2 + 3 * 96)  # bytes of their matrices in 32 bits
        assert mx.get_active_memory() - before < layers / 4
        assert mx.get_peak_memory() - before < layers / 2
        encoder.close()

    @pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
    def test_callers_of_many_threads_leave_no_thread_behind(self):
        card, source, _ = golden("bert-mean")
        encoder = MlxEncoder(card, source, 8)
        encoder.encode(["a"])
        before = len(os.listdir("/proc/self/task"))
        for _ in range(20):
            caller = threading.Thread(target=encoder.encode, args=(["a"],))
            caller.start()
            caller.join()
        left = len(os.listdir("/proc/self/task")) - before
        assert left < 5  # not one for each of the twenty; the test runner starts threads of its own

    def test_without_mlx_it_says_what_to_do(self, monkeypatch):
        card, source, _ = golden("bert-mean")
        monkeypatch.setitem(sys.modules, "mlx.core", None)
        with pytest.raises(EngineMissing, match="runtime = onnx"):
            MlxEncoder(card, source, 8)
