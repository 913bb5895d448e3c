"""Every architecture and head against transformers, on both runtimes and in every number of bits.

The models are tiny and random (``golden/make_models.py``); what they give was computed once by transformers in fp32,
which the script holds to the same promise: padding on either side changes nothing.
"""

import dataclasses
import gc
import json
import shutil

import numpy as np
import pytest

from pomnit.engines.encoder_mlx import MlxEncoder
from pomnit.engines.encoder_onnx import OnnxEncoder
from pomnit.engines.mlx_session import in_its_thread
from pomnit.engines.onnx_build import build
from pomnit.engines.reranker_mlx import MlxReranker
from pomnit.engines.reranker_onnx import OnnxReranker
from pomnit.errors import EngineError, ModelDamaged
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import ModelFiles
from pomnit.models.quantise import convert
from support.golden_models import ENCODERS, RERANKERS, golden
from support.text_engines import make_encoder, make_reranker, with_mlx

BOTH = ("onnx", "mlx")
LEAST_COSINE = {  # of a text's vector and that in fp32
    ("mlx", 16): 0.99999,
    ("mlx", 8): 0.999,
    ("mlx", 6): 0.99,
    ("mlx", 4): 0.85,  # a tiny random model loses more than a trained one
    ("onnx", 16): 0.99999,
    ("onnx", 8): 0.99,
    ("onnx", 4): 0.85,
}
MOST_OFF = {  # a score
    ("mlx", 16): 0.002,
    ("mlx", 8): 0.05,
    ("onnx", 16): 0.002,
    ("onnx", 8): 0.1,
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def encoded(cache):
    """Gives the vectors of all golden texts, each read alone, by runtime, kind and bits."""
    made = {}

    def encoded(runtime, kind, bits):
        if (runtime, kind, bits) not in made:
            card, folder, expected = golden(kind)
            encoder = make_encoder(runtime, card, folder, bits, cache)
            made[runtime, kind, bits] = alone(encoder, expected)
            encoder.close()
        return made[runtime, kind, bits]

    return encoded


def alone(encoder, expected):
    return np.concatenate([encoder.encode([entry["text"]], query=entry["query"]) for entry in expected["texts"]])


def vectors(expected, dimensions):
    """What transformers gives: the first dimensions, of length 1 again."""
    rows = np.array([entry["vector"] for entry in expected["texts"]], np.float32)[:, :dimensions]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def published(folder):
    return ModelFiles(folder=folder, digest="0" * 64, form="published", bits=None)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("runtime", BOTH)
class TestEncoders:
    def test_fp32_agrees_to_a_ten_thousandth(self, encoded, runtime, kind):
        card, _, expected = golden(kind)
        assert np.abs(encoded(runtime, kind, 32) - vectors(expected, card.dimensions)).max() < 1e-4

    @pytest.mark.parametrize("bits", [32, 8])
    def test_texts_of_all_lengths_in_one_batch_give_what_each_gives_alone(self, encoded, cache, runtime, kind, bits):
        card, folder, expected = golden(kind)
        asked = [entry["query"] for entry in expected["texts"]]
        encoder = make_encoder(runtime, card, folder, bits, cache)
        together = encoder.encode([entry["text"] for entry in expected["texts"] if not entry["query"]])
        assert np.array_equal(together, encoded(runtime, kind, bits)[~np.array(asked)])
        encoder.close()

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_padding_that_the_tokenizer_declares_changes_nothing(self, encoded, tmp_path, runtime, kind, side):
        card, folder, expected = golden(kind)
        declare_padding(shutil.copytree(folder, tmp_path / kind) / "tokenizer.json", side)
        encoder = make_encoder(runtime, card, tmp_path / kind, 32, tmp_path)
        assert np.array_equal(alone(encoder, expected), encoded(runtime, kind, 32))
        encoder.close()


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(("runtime", "bits"), LEAST_COSINE)
def test_fewer_bits_keep_the_direction(encoded, runtime, kind, bits):
    card, _, expected = golden(kind)
    cosines = (encoded(runtime, kind, bits) * vectors(expected, card.dimensions)).sum(axis=1)
    assert cosines.min() >= LEAST_COSINE[runtime, bits]
    assert bits == 16 or cosines.min() < 1 - 1e-6  # else nothing was quantised


@pytest.mark.parametrize("runtime", BOTH)
class TestParts:
    def test_all_of_the_dimensions_are_there_when_the_card_asks_for_them(self, cache, runtime):
        card, folder, expected = golden("qwen3-last")
        whole = dataclasses.replace(card, dimensions=64)
        encoder = make_encoder(runtime, whole, folder, 32, cache)
        assert np.abs(alone(encoder, expected) - vectors(expected, 64)).max() < 1e-4
        encoder.close()

    def test_tokens_weigh_what_flagembedding_lets_them_weigh(self, cache, runtime):
        card, folder, expected = golden("xlmr-cls-sparse")
        encoder = make_encoder(runtime, card, folder, 32, cache)
        texts = [entry for entry in expected["texts"] if not entry["query"]]
        rows, terms = encoder.encode_terms([entry["text"] for entry in texts])
        assert np.array_equal(rows, encoder.encode([entry["text"] for entry in texts]))
        assert terms[0] == {}
        for found, entry in zip(terms, texts, strict=True):
            assert found == pytest.approx({int(token): weight for token, weight in entry["terms"].items()}, abs=1e-4)
        encoder.close()

    def test_tokens_weigh_nearly_the_same_in_8_bits(self, cache, runtime):
        card, folder, expected = golden("xlmr-cls-sparse")
        encoder = make_encoder(runtime, card, folder, 8, cache)
        entry = expected["texts"][2]
        found = encoder.encode_terms([entry["text"]])[1][0]
        wanted = {int(token): weight for token, weight in entry["terms"].items()}
        assert all(abs(found.get(token, 0) - wanted.get(token, 0)) < 0.3 for token in found | wanted)
        encoder.close()


@pytest.mark.parametrize("kind", RERANKERS)
@pytest.mark.parametrize("runtime", BOTH)
class TestRerankers:
    def test_scores_in_fp32_agree_to_a_ten_thousandth(self, cache, runtime, kind):
        assert self.most_off(runtime, kind, 32, cache) < 1e-4

    @pytest.mark.parametrize("bits", [16, 8])
    def test_scores_in_fewer_bits_are_near(self, cache, runtime, kind, bits):
        assert self.most_off(runtime, kind, bits, cache) < MOST_OFF[runtime, bits]

    def test_4_bits_give_scores(self, cache, runtime, kind):
        assert self.most_off(runtime, kind, 4, cache) < 0.8

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_padding_that_the_tokenizer_declares_changes_nothing(self, tmp_path, runtime, kind, side):
        card, folder, expected = golden(kind)
        declare_padding(shutil.copytree(folder, tmp_path / kind) / "tokenizer.json", side)
        reranker = make_reranker(runtime, card, tmp_path / kind, 32, tmp_path)
        entry = expected["queries"][0]
        assert np.abs(reranker.score(entry["query"], expected["texts"]) - entry["scores"]).max() < 1e-4
        reranker.close()

    @staticmethod
    def most_off(runtime, kind, bits, cache):
        card, folder, expected = golden(kind)
        reranker = make_reranker(runtime, card, folder, bits, cache)
        found = [reranker.score(entry["query"], expected["texts"]) for entry in expected["queries"]]
        reranker.close()
        return np.abs(np.array(found) - [entry["scores"] for entry in expected["queries"]]).max()


def declare_padding(path, side):
    """Lets a tokenizer.json say that texts are padded on one side, and cut at 8 tokens."""
    said = json.loads(path.read_text("utf-8"))
    shape = {"strategy": {"Fixed": 48}, "direction": side.capitalize(), "pad_to_multiple_of": None}
    said["padding"] = shape | {"pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}
    said["truncation"] = {"direction": side.capitalize(), "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(said), "utf-8")


class TestConvertedFolders:
    """What `pomnit models convert` wrote gives what the published folder gives."""

    @with_mlx
    @pytest.mark.parametrize("bits", [16, 8, 6, 4])
    @pytest.mark.parametrize("kind", ENCODERS)
    def test_an_encoder_for_mlx_gives_the_same_vectors(self, encoded, tmp_path, kind, bits):
        card, folder, expected = golden(kind)
        convert(card, published(folder), tmp_path / "made", bits)
        assert (
            np.abs(alone(MlxEncoder(card, tmp_path / "made", bits), expected) - encoded("mlx", kind, bits)).max() < 1e-6
        )

    @with_mlx
    @pytest.mark.parametrize("kind", RERANKERS)
    def test_a_reranker_for_mlx_gives_the_same_scores(self, tmp_path, kind):
        card, folder, expected = golden(kind)
        convert(card, published(folder), tmp_path / "made", 8)
        query, texts = expected["queries"][0]["query"], expected["texts"]
        scores = [MlxReranker(card, at, 8).score(query, texts) for at in (folder, tmp_path / "made")]
        assert np.abs(scores[0] - scores[1]).max() < 1e-6

    @with_mlx
    def test_other_bits_than_those_it_was_made_of_are_refused(self, tmp_path):
        card, folder, _ = golden("bert-mean")
        convert(card, published(folder), tmp_path / "made", 8)
        with pytest.raises(EngineError, match="of 8 bits and cannot be run in 4"):
            MlxEncoder(card, tmp_path / "made", 4)

    @pytest.mark.parametrize("kind", ["bert-mean", "qwen3-last"])
    def test_an_encoder_for_onnx_gives_the_same_vectors(self, encoded, tmp_path, kind):
        card, folder, expected = golden(kind)
        build(card, published(folder), 8, tmp_path / "made")
        encoder = OnnxEncoder(card, tmp_path / "made", 2)
        assert np.array_equal(alone(encoder, expected), encoded("onnx", kind, 8))
        encoder.close()

    def test_a_reranker_for_onnx_gives_the_same_scores(self, cache, tmp_path):
        card, folder, expected = golden("xlmr-pair")
        build(card, published(folder), 8, tmp_path / "made")
        query, texts = expected["queries"][0]["query"], expected["texts"]
        rerankers = OnnxReranker(card, tmp_path / "made", 2), make_reranker("onnx", card, folder, 8, cache)
        assert np.array_equal(*(reranker.score(query, texts) for reranker in rerankers))

    def test_6_bits_are_refused_for_onnx(self, tmp_path):
        card, folder, _ = golden("bert-mean")
        with pytest.raises(EngineError, match="6 are for runtime = mlx"):
            build(card, published(folder), 6, tmp_path / "made")


def as_the_community_does(kind, target, bits, *, mode="affine", stored="float16", **layers):
    """Writes a folder as mlx-lm and mlx-embeddings do: every matrix quantised, that of the places and types too.

    ``layers`` are those of other bits, by the end of their names.
    """
    import mlx.core as mx

    _, folder, _ = golden(kind)
    target.mkdir()
    shutil.copyfile(folder / "tokenizer.json", target / "tokenizer.json")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    quantization = {"group_size": 32, "bits": bits, "mode": mode}
    source, tensors = Checkpoint(folder), {}

    def write():
        for name in source:
            if "position_ids" in name:
                continue
            layer, weight = name.removesuffix(".weight"), mx.array(source[name]).astype(getattr(mx, stored))
            if weight.ndim < 2:
                tensors[name] = weight
                continue
            own = next((n for end, n in layers.items() if layer.endswith(end)), bits)
            if own != bits:
                quantization[layer] = {"group_size": 32, "bits": own}
            parts = mx.quantize(weight, group_size=32, bits=own)
            tensors.update(zip((name, f"{layer}.scales", f"{layer}.biases"), parts, strict=True))
        mx.save_safetensors(str(target / "model.safetensors"), tensors, metadata={"format": "mlx"})

    in_its_thread(write)
    config["quantization"] = config["quantization_config"] = quantization
    (target / "config.json").write_text(json.dumps(config, indent=4), "utf-8")
    return target


@with_mlx
class TestCommunityFolders:
    """Folders that others quantised load as they are."""

    @pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (4, 0.9)])
    @pytest.mark.parametrize("kind", ["bert-cls", "xlmr-mean", "qwen3-last"])
    def test_an_encoder_keeps_the_direction_of_fp32(self, tmp_path, kind, bits, least):
        card, _, expected = golden(kind)
        encoder = MlxEncoder(card, as_the_community_does(kind, tmp_path / "made", bits), bits)
        cosines = (alone(encoder, expected) * vectors(expected, card.dimensions)).sum(axis=1)
        assert cosines.min() >= least

    @pytest.mark.parametrize("kind", RERANKERS)
    def test_a_reranker_gives_near_scores(self, tmp_path, kind):
        card, _, expected = golden(kind)
        reranker = MlxReranker(card, as_the_community_does(kind, tmp_path / "made", 8), 8)
        entry = expected["queries"][0]
        assert np.abs(reranker.score(entry["query"], expected["texts"]) - entry["scores"]).max() < 0.06

    def test_layers_of_other_bits_are_run_in_their_own(self, tmp_path):
        card, _, expected = golden("bert-mean")
        plain, mixed = (
            alone(MlxEncoder(card, as_the_community_does("bert-mean", tmp_path / name, 4, **layers), 4), expected)
            for name, layers in {"plain": {}, "mixed": {"query": 8, "value": 8, "dense": 8}}.items()
        )
        wanted = vectors(expected, card.dimensions)
        assert (mixed * wanted).sum(axis=1).mean() > (plain * wanted).sum(axis=1).mean()

    def test_scales_in_bfloat16_stay_so(self, tmp_path):
        """In float32 they would take half a bit more per weight: 470 MB of Qwen3-Embedding-8B."""
        import mlx.core as mx

        taken, found = [], []
        for stored in ("float16", "bfloat16"):
            folder = as_the_community_does("qwen3-last", tmp_path / stored, 4, stored=stored)
            gc.collect()
            mx.clear_cache()  # else larger pieces that others gave back are handed out again
            before = mx.get_active_memory()
            encoder = MlxEncoder(ENCODERS["qwen3-last"], folder, 4)
            taken.append(mx.get_active_memory() - before)
            found.append(encoder.encode(["the budget"]))
            encoder.close()
        assert 0 < taken[1] < 1.1 * taken[0]  # in float32 it would be a fifth more
        assert (found[0] * found[1]).sum() > 0.99

    @pytest.mark.parametrize("mode", ["mxfp4", "nvfp4", "mxfp8"])
    def test_numbers_that_are_not_affine_are_refused_by_name(self, tmp_path, mode):
        card = ENCODERS["bert-mean"]
        folder = as_the_community_does("bert-mean", tmp_path / "made", 4, mode=mode)
        with pytest.raises(ModelDamaged, match=mode):
            MlxEncoder(card, folder, 4)
