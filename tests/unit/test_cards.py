"""What the cards say must fit together: nobody would notice a wrong number until vectors are bad."""

from __future__ import annotations

import re

import pytest

from pomnit.errors import NotFound
from pomnit.models.cards import (
    CARDS,
    CONFIG,
    ENCODERS,
    INDEX,
    PICKLED,
    RERANKERS,
    SPEECH,
    TOKENIZER,
    VISION,
    WEIGHTS,
    TextCard,
    named,
)

TEXT_CARDS = [card for card in CARDS.values() if isinstance(card, TextCard)]
each = pytest.mark.parametrize("card", TEXT_CARDS, ids=lambda card: card.name)


def test_all_models_of_the_plan_are_here():
    assert {"all-MiniLM-L6-v2", "BGE-M3", "multilingual-e5-small", "Qwen3-Embedding-8B-4bit-DWQ"} <= ENCODERS.keys()
    assert {"ms-marco-MiniLM-L6-v2", "mmarco-mMiniLMv2-L12", "bge-reranker-v2-m3"} <= RERANKERS.keys()
    assert {"whisper-tiny", "whisper-base", "whisper-small", "whisper-large-v3-turbo"} <= SPEECH.keys()
    assert len(ENCODERS) + len(RERANKERS) + len(SPEECH) + len(VISION) == len(CARDS) == 31


@each
def test_names_can_be_folders_and_are_no_names_of_conversions(card):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", card.name)
    assert not re.search(r"-(onnx|mlx)-\d+bit$", card.name)
    assert card.repository.count("/") == 1


@each
def test_a_revision_is_a_commit_or_says_that_there_is_none(card):
    assert card.revision == "main" or re.fullmatch("[0-9a-f]{40}", card.revision)


@each
def test_digests_are_of_files_that_are_fetched(card):
    assert card.digests.keys() <= set(card.files)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in card.digests.values())


@each
def test_every_model_needs_one_form_of_weights_a_configuration_and_words(card):
    assert len({WEIGHTS, INDEX, PICKLED} & set(card.files)) == 1
    assert {CONFIG, TOKENIZER} <= set(card.files)


@each
def test_the_table_is_a_part_of_the_model(card):
    assert 0 < card.table_parameters < card.parameters


@each
def test_large_models_are_run_at_four_bits_and_small_ones_at_eight_unless_published_otherwise(card):
    if card.made_for is None:
        assert card.bits == (4 if card.parameters > 1_000_000_000 else 8)
    else:
        assert card.bits == (16 if card.name.endswith("bf16") else 4)
        assert card.revision == "main" or "DWQ" in card.name


@pytest.mark.parametrize("card", ENCODERS.values(), ids=lambda card: card.name)
def test_vectors_are_of_a_size_that_the_sign_codes_pack(card):
    assert card.dimensions % 64 == 0
    assert -1 <= card.cosines[0] < card.cosines[1] <= 1


@pytest.mark.parametrize("card", RERANKERS.values(), ids=lambda card: card.name)
def test_a_yes_no_model_has_a_template_with_both_places_and_a_classifier_none(card):
    if card.head == "classifier":
        assert card.template == ""
    else:
        filled = card.template.format(query="Q?", document="A {brace} stays.")
        assert filled.index("<Query>: Q?\n") < filled.index("<Document>: A {brace} stays.<|im_end|>")
        assert filled.endswith("<think>\n\n</think>\n\n")


@pytest.mark.parametrize("written", ["BGE-M3", "bge-m3", "BAAI/bge-m3"])
def test_a_model_is_found_by_its_name_or_that_of_its_repository_in_any_case(written):
    assert named(written).name == "BGE-M3"


def test_an_unknown_name_gets_the_nearest_ones_and_all():
    with pytest.raises(NotFound, match=r"'bge-m33'\. Did you mean BGE-M3.*Known are: all-MiniLM-L6-v2, "):
        named("bge-m33")
    with pytest.raises(NotFound, match=r"^there is no model '\?\?\?'\. Known are"):
        named("???")
