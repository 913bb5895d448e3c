"""`pomnit models check`: figures from a process of its own, a verdict that means something, memory that is kept."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields

import pytest

from pomnit import Settings, records
from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.governor import check as checking
from pomnit.governor.check import check
from pomnit.governor.machine import Machine
from pomnit.governor.measure import Run, run
from pomnit.models import cards
from pomnit.models.cards import ALL_MINILM_L6_V2, Variant
from pomnit.models.golden import PAIRS
from support import golden_models


@pytest.fixture
def tiny(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """Puts a tiny random model among those Pomnit knows, with its files; gives its card."""

    def place(kind: str) -> cards.TextCard:
        card, folder, _ = golden_models.golden(kind)
        known = cards.RERANKERS if isinstance(card, cards.RerankerCard) else cards.ENCODERS
        for dictionary in (known, cards.CARDS):
            monkeypatch.setitem(dictionary, kind, card)
        shutil.copytree(folder, settings.models / kind, ignore=shutil.ignore_patterns("expected.json"))
        return card

    return place


def listed(cli, name: str) -> dict:
    return next(model for model in json.loads(cli("models", "--json").out)["models"] if model["name"] == name)


def test_golden_texts_are_as_many_in_both_languages_and_none_is_there_twice():
    texts = [text for pairs in PAIRS.values() for pair in pairs for text in pair]
    assert len(PAIRS["en"]) == len(PAIRS["ru"])
    assert len(set(texts)) == len(texts)


def test_an_encoder_is_measured_in_a_process_of_its_own(tiny, settings: Settings):
    measured = run(Variant(tiny("bert-mean"), "onnx", 8), settings, 3)
    assert len(measured.outputs) == 48
    assert all(abs(sum(x * x for x in row) - 1) < 1e-4 for row in measured.outputs)
    assert 0 < measured.load_ms < 60_000
    assert 0 < measured.first_ms < measured.load_ms + 1000
    assert measured.tokens_s > 0
    assert 0 < measured.program <= measured.resident <= measured.peak
    assert measured.mapped < measured.resident
    assert abs(measured.growth) < 64 << 20


def test_random_weights_agree_with_their_32_bits_but_answer_nothing_and_that_is_a_problem(cli, tiny, settings):
    tiny("bert-mean")
    assert not listed(cli, "bert-mean")["measured"]
    done = cli("models", "check", "bert-mean", "--runtime", "onnx", "--rounds", "0", "--json")
    found = json.loads(done.out)
    assert set(found) == {f.name for f in fields(records.ModelCheck)}
    assert found["name"] == "bert-mean onnx-8"
    assert found["agreement_mean"] > 0.98
    assert found["agreement_least"] <= found["agreement_mean"] <= 1
    assert found["asked"] == {"en": 12, "ru": 12}
    assert (found["verdict"], done.code) == ("problem", 20)
    assert any("find their own answer" in finding for finding in found["findings"])
    # what was measured is in the inventory until the files change
    view = listed(cli, "bert-mean")
    assert view["measured"]
    assert view["memory_bytes"] == max(found["resident_bytes"] - found["program_bytes"], 0)
    assert not re.search(r"bert-mean .*~", cli("models").out)
    with (settings.models / "bert-mean" / "config.json").open("a") as file:
        file.write("\n")
    assert not listed(cli, "bert-mean")["measured"]


def test_a_reranker_is_checked_by_its_choices(cli, tiny):
    tiny("bert-pair")
    done = cli("models", "check", "bert-pair", "--runtime", "onnx", "--rounds", "0")
    assert done.code in (0, 4, 20)
    assert re.search(r"agreement   0\.9\d+ mean|agreement   1\.0", done.out), done.err
    assert "questions   ru: " in done.out
    assert "tokens/s" in done.out


def test_a_file_of_figures_that_is_none_is_passed_over(cli, tiny, settings: Settings):
    tiny("bert-mean")
    for text in ("", "[]", '{"bert-mean onnx-8 x": {}}'):
        (settings.models / "measured.json").write_text(text)
        assert cli("models", "--json").code == 0


def test_errors_come_through_the_process_as_they_are(tiny, settings: Settings):
    card = tiny("bert-mean")
    weights = settings.models / "bert-mean" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelDamaged, match=re.escape("model.safetensors")):
        run(Variant(card, "onnx", 8), settings, 0)
    weights.unlink()
    with pytest.raises(EngineMissing, match="lacks"):
        run(Variant(card, "onnx", 8), settings, 0)


def test_weights_of_words_are_compared_too(tiny, settings: Settings):
    found = check(Variant(tiny("xlmr-cls-sparse"), "onnx", 16), settings, 0)
    assert found.terms_agreement > 0.99
    assert found.agreement_mean > 0.999


# The verdict, on figures that were made up


def figures(**named: object) -> Run:
    """Gives a perfect run of an English encoder: each question is its answer."""
    one_hot = [[float(i == j) for j in range(12)] for i in range(12)]
    usual: dict = {
        "outputs": one_hot + one_hot,
        "terms": [],
        "load_ms": 1.0,
        "first_ms": 1.0,
        "tokens_s": 9.0,
        "program": 50 << 20,
    }
    usual |= {"resident": 90 << 20, "mapped": 10 << 20, "peak": 95 << 20, "growth": 0}
    return Run(**(usual | named))


@pytest.fixture
def verdict(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def judge(measured: Run, exact: Run | None = None):
        monkeypatch.setattr(checking, "run", lambda *_: measured)
        monkeypatch.setattr(checking, "_exact", lambda *_: (exact, "" if exact else "not compared"))
        return check(Variant(cards.ALL_MINILM_L12_V2, "onnx", 8), settings, 10)

    return judge


def test_a_model_that_does_its_job_is_ok(verdict):
    found = verdict(figures(), figures())
    assert (found.verdict, found.findings) == ("ok", ())
    assert (found.agreement_mean, found.right) == (1.0, {"en": 12})
    assert verdict(figures()).findings == ("not compared",)
    assert verdict(figures()).verdict == "ok"


def test_memory_that_is_not_given_back_is_a_warning(verdict):
    found = verdict(figures(growth=20 << 20))
    assert found.verdict == "warning"
    assert "21 MB were not given back in 10 rounds" in found.findings[0]


def test_vectors_that_differ_from_their_32_bits_are_a_warning(verdict):
    turned = [row[1:] + row[:1] for row in figures().outputs]
    assert verdict(figures(outputs=turned), figures()).verdict == "warning"


def test_weights_of_words_that_differ_are_a_warning(verdict):
    alike, other = figures(terms=[{"3": 0.5, "7": 0.1}] * 24), figures(terms=[{"4": 0.5}] * 24)
    assert verdict(alike, alike).terms_agreement == 1
    assert verdict(alike, other).verdict == "warning"


def test_answers_that_are_not_found_are_a_warning_and_many_a_problem(verdict):
    rows = figures().outputs
    assert verdict(figures(outputs=rows[:12] + rows[12:][::-1])).verdict == "problem"
    swapped = [rows[1], rows[2], rows[0], *rows[3:]]
    assert verdict(figures(outputs=swapped)).verdict == "warning"


def test_numbers_that_are_not_the_publishers_are_a_problem(settings: Settings, monkeypatch):
    monkeypatch.setattr(checking, "run", lambda *_: figures())
    found = check(Variant(ALL_MINILM_L6_V2, "onnx", 32), settings, 0)
    assert found.verdict == "problem"
    assert found.published > 0.1


def test_32_bits_are_left_out_where_they_do_not_fit(tiny, settings: Settings, monkeypatch):
    card = tiny("bert-mean")
    monkeypatch.setattr(checking, "run", lambda *_: figures(outputs=[[1.0, 0.0]] * 48))
    monkeypatch.setattr(checking, "machine", lambda: Machine(1 << 20, 0, 0, 0, limited=False))
    found = check(Variant(card, "onnx", 8), settings, 0)
    assert found.agreement_mean is None
    assert "of memory" in found.findings[-1]
    shutil.rmtree(settings.models / "bert-mean")
    assert "not here" in check(Variant(card, "onnx", 8), settings, 0).findings[-1]


# The real model


@pytest.mark.slow
def test_the_embedded_model_does_what_its_publisher_says(cli):
    done = cli("models", "check", "all-MiniLM-L6-v2", "--runtime", "onnx", "--rounds", "10", "--json")
    found = json.loads(done.out)
    assert (found["verdict"], done.code) == ("ok", 0)
    assert found["agreement_mean"] > 0.995
    assert found["published"] < 1e-5
    assert found["right"] == {"en": 12}
    assert found["resident_bytes"] - found["program_bytes"] < 150e6
    assert found["growth_bytes"] < 8e6
