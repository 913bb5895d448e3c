"""What a Whisper may say, whatever its weights: the rules of times, and rows of a batch that do not disturb each other.

A table of random logits stands for the model, with the tokens of the tiny one of golden/models.
"""

import json
import shutil
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomnit.engines.whisper_config import read_config
from pomnit.engines.whisper_decode import allow, decode
from pomnit.engines.whisper_tokens import WhisperTokens
from pomnit.errors import EngineError, EngineMissing, ModelDamaged
from support.golden_whisper import FOLDER

CONFIG = read_config(FOLDER)
TOKENS = WhisperTokens(FOLDER, CONFIG)
FIRST, LAST, END = TOKENS.timestamps, TOKENS.last_timestamp, TOKENS.end
seeds = st.integers(0, 10_000)


class Dice:
    """The Listener protocol by chance: what follows depends on what stands in a row, and on nothing else."""

    def __init__(self, windows, *, times=0.0, end=0.0):
        self.rows = [(window, ()) for window in windows]
        self.times, self.end = times, end

    def __call__(self, tokens):
        assert len(tokens) == len(self.rows)
        self.rows = [(window, (*past, *row.tolist())) for (window, past), row in zip(self.rows, tokens, strict=True)]
        return np.stack([self.logits(zlib.crc32(repr(row).encode())) for row in self.rows])

    def logits(self, seed):
        logits = 3 * np.random.default_rng(seed).standard_normal(CONFIG.words).astype(np.float32)
        logits[FIRST:] += self.times
        logits[END] += self.end
        return logits

    def keep(self, rows):
        self.rows = [self.rows[row] for row in rows]


def said(seed, *, temperature=0.0, **more):
    (found,) = decode(Dice([seed], **more), 1, TOKENS, "ru", temperature, most=60)
    return found.tokens


@given(seeds, st.sampled_from([0.0, 0.4, 1.0]), st.floats(-6, 6), st.floats(0, 12))
@settings(max_examples=150, deadline=None)
def test_times_stand_in_pairs_around_texts_and_never_go_back(seed, temperature, times, end):
    tokens = said(seed, temperature=temperature, times=times, end=end)
    assert FIRST <= tokens[0] <= FIRST + 50  # an early time comes first
    stamps = [token for token in tokens if token >= FIRST]
    assert stamps == sorted(stamps)
    assert max(stamps) <= LAST
    runs, opened = [], None
    for place, token in enumerate(tokens):
        if token < FIRST:
            continue
        before = place > 0 and tokens[place - 1] >= FIRST
        runs.append(before)
        if not before and place:  # it closes a text: the next one may begin at once, but it took time
            assert opened is None or token > opened
        assert not (before and place > 1 and tokens[place - 2] >= FIRST)  # never three
        opened = token
    closing = [place for place in range(1, len(tokens)) if tokens[place] >= FIRST and tokens[place - 1] < FIRST]
    assert all(place + 1 == len(tokens) or tokens[place + 1] >= FIRST for place in closing)


@given(seeds, st.sampled_from([0.0, 1.0]))
@settings(max_examples=60, deadline=None)
def test_nothing_is_said_but_text_and_times(seed, temperature):
    tokens = said(seed, temperature=temperature)
    assert not set(tokens) & set(TOKENS.never.tolist())
    assert END not in tokens
    assert all(token >= FIRST or TOKENS.is_text[token] for token in tokens)


@given(st.lists(seeds, min_size=1, max_size=6, unique=True), st.sampled_from([0.0, 0.8]), st.sampled_from([None, "en"]))
@settings(max_examples=60, deadline=None)
def test_a_row_says_the_same_alone_and_in_any_batch(windows, temperature, language):
    more = {"tokens": TOKENS, "language": language, "temperature": temperature, "most": 40}
    together = decode(Dice(windows, end=6), len(windows), **more)
    assert together == [decode(Dice([window], end=6), 1, **more)[0] for window in windows]


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_where_times_together_are_likelier_than_any_word_it_is_time_for_one(seed):
    logits = np.random.default_rng(seed).uniform(-1, 1, (1, CONFIG.words)).astype(np.float32)
    before = [FIRST, int(np.flatnonzero(TOKENS.is_text)[5])]
    allow(logits, [before], TOKENS)
    assert np.isneginf(logits[0, :FIRST]).all()
    assert logits[0].argmax() > FIRST


def test_after_a_text_ends_there_is_a_time_or_the_end():
    logits = np.zeros((1, CONFIG.words), np.float32)
    logits[0, END] = 100
    allow(logits, [[FIRST, 40, FIRST + 7]], TOKENS)
    assert set(np.flatnonzero(np.isfinite(logits[0])).tolist()) == {END, *range(FIRST + 7, LAST + 1)}


def test_the_likeliest_language_is_found_and_a_given_one_kept():
    free = decode(Dice(range(20)), 20, TOKENS, None, 0.0, most=1)
    assert {one.language for one in free} <= set(TOKENS.languages)
    assert len({one.language for one in free}) > 1
    assert {one.language for one in decode(Dice(range(20)), 20, TOKENS, "ru", 0.0, most=1)} == {"ru"}
    with pytest.raises(EngineError, match="knows no language"):
        decode(Dice([1]), 1, TOKENS, "xx", 0.0)


def test_the_logarithm_of_what_is_certain_is_zero():
    class Sure(Dice):
        def logits(self, seed):
            logits = np.full(CONFIG.words, -1e4, np.float32)
            standing = len(self.rows[0][1])
            logits[{3: FIRST, 4: 40, 5: FIRST + 9}.get(standing, END)] = 0
            return logits

    (found,) = decode(Sure([0]), 1, TOKENS, "ru", 0.0)
    assert found.tokens == [FIRST, 40, FIRST + 9]
    assert found.log_probability == pytest.approx(0, abs=1e-6)


def changed(tmp_path, **files):
    """Gives a copy of the folder in which some files hold other JSON, or are missing."""
    target = tmp_path / "made"
    shutil.copytree(FOLDER, target)
    for name, change in files.items():
        path = target / f"{name}.json"
        found = json.loads(path.read_text("utf-8"))
        path.unlink()
        if change is not None:
            change(found)
            path.write_text(json.dumps(found), "utf-8")
    return target


def test_signs_of_no_speech_are_found_where_nothing_names_them(tmp_path):
    tokens = WhisperTokens(changed(tmp_path, generation_config=None), CONFIG)
    words = json.loads((FOLDER / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    never = set(tokens.never.tolist())
    assert {words[sign] for sign in '#()*+/:;<=>@[]^_`{|}~"'} <= never
    assert not {words[letter] for letter in "abcABC.,?!'-"} & never
    assert set(tokens.never_first.tolist()) == {END, words["Ġ"]}


def test_a_whisper_for_english_alone_is_refused(tmp_path):
    folder = changed(tmp_path, generation_config=lambda found: found.update(is_multilingual=False))
    with pytest.raises(EngineError, match="English alone"):
        WhisperTokens(folder, CONFIG)


def test_a_folder_without_a_tokenizer_says_what_to_put_there(tmp_path):
    with pytest.raises(EngineMissing, match=r"tokenizer\.json"):
        WhisperTokens(changed(tmp_path, tokenizer=None), CONFIG)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    def without(name):
        return lambda found: found["added_tokens"].remove(
            next(token for token in found["added_tokens"] if token["content"] == name)
        )

    with pytest.raises(ModelDamaged, match="notimestamps"):
        WhisperTokens(changed(tmp_path, tokenizer=without("<|notimestamps|>")), CONFIG)


def test_more_tokens_than_the_weights_have_are_refused(tmp_path):
    folder = changed(tmp_path, config=lambda found: found.update(vocab_size=400))
    with pytest.raises(ModelDamaged, match="400 tokens"):
        WhisperTokens(folder, read_config(folder))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model_type": "bert"}, EngineError),
        ({"activation_function": "relu"}, EngineError),
        ({"d_model": 33}, ModelDamaged),
        ({"d_model": "32"}, ModelDamaged),
        ({"encoder_layers": -1}, ModelDamaged),
        ({"num_mel_bins": 10**12}, ModelDamaged),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(tmp_path, change, error):
    with pytest.raises(error):
        read_config(changed(tmp_path, config=lambda found: found.update(change)))
