"""Our own Whisper against transformers: every number on the way from sound to tokens, whoever wrote the files.

The model is tiny and random (``golden/make_whisper.py``) and hears 5 s; what it gives was computed once by transformers
in fp32.
"""

import json
import shutil

import numpy as np
import pytest

from pomnit.engines import whisper_decode
from pomnit.engines.mlx_session import in_its_thread
from pomnit.engines.transcriber_faster_whisper import FasterWhisperTranscriber
from pomnit.engines.transcriber_mlx import MlxTranscriber, _Heard, _load
from pomnit.engines.whisper_config import read_config
from pomnit.engines.whisper_mel import log_mel
from pomnit.engines.whisper_mlx_weights import WhisperWeights, own_name
from pomnit.engines.whisper_tokens import WhisperTokens
from pomnit.models.checkpoint import Checkpoint
from pomnit.models.hub import ModelFiles
from pomnit.models.quantise import convert
from support.golden_models import RERANKERS
from support.golden_whisper import FOLDER, expected, sounds
from support.recordings import CARD, GOLDEN, RATE, RECORDINGS, samples_of
from support.text_engines import with_mlx

EXPECTED = expected()
WINDOWS = EXPECTED["windows"]
NAMES = list(WINDOWS)


class Tiny:
    """The model as one folder has it, taken apart."""

    def __init__(self, folder, bits=32):
        self.config = read_config(folder)
        self.tokens = WhisperTokens(folder, self.config)
        weights = WhisperWeights(folder, bits, self.config)
        self.model = in_its_thread(lambda: _load(weights, self.config, bits))

    def batch(self, names):
        return _Heard("tiny", self.model).begin([sounds()[name] for name in names])

    def states(self, name):
        mel = log_mel(sounds()[name], self.config.bands, self.config.frames)
        return in_its_thread(lambda: np.array(self.model.hear(mel)[0]))

    def decoded(self, names, *, language="ru", temperature=0.0):
        batch, most = self.batch(names), EXPECTED["most"]
        return whisper_decode.decode(batch, len(names), self.tokens, language, temperature, most=most)


@pytest.fixture(scope="module")
def tiny():
    return Tiny(FOLDER)


@pytest.mark.parametrize("name", list(EXPECTED["mel"]))
def test_a_spectrogram_is_that_of_transformers(name):
    sound, bands = name.split()
    found = log_mel(sounds()[sound], int(bands))
    assert found.shape == (3000, int(bands))
    assert np.abs(found.T[3::9, :600:37] - EXPECTED["mel"][name]).max() < 1e-4


@with_mlx
class TestFp32:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_sound_is_understood_as_by_transformers(self, tiny, name):
        assert np.abs(tiny.states(name)[::25, ::4] - WINDOWS[name]["states"]).max() < 1e-3

    def test_what_may_follow_three_tokens_is_weighed_as_by_transformers(self, tiny):
        prompt = np.array([tiny.tokens.prompt("ru")] * len(NAMES), np.int32)
        logits = tiny.batch(NAMES)(prompt)
        assert np.abs(logits - [WINDOWS[name]["logits"] for name in NAMES]).max() < 1e-3

    def test_tokens_one_by_one_weigh_the_same_as_together(self, tiny):
        batch = tiny.batch(NAMES)
        for token in tiny.tokens.prompt("ru"):
            logits = batch(np.full((len(NAMES), 1), token, np.int32))
        assert np.abs(logits - [WINDOWS[name]["logits"] for name in NAMES]).max() < 1e-3

    @pytest.mark.parametrize("name", NAMES)
    def test_the_likeliest_tokens_with_times_are_those_of_transformers(self, tiny, name):
        (decoded,) = tiny.decoded([name])
        assert decoded.tokens == WINDOWS[name]["tokens_with_times"]
        assert decoded.no_speech == pytest.approx(WINDOWS[name]["no_speech"], rel=1e-2)

    def test_the_likeliest_tokens_without_times_are_those_of_transformers(self, tiny):
        for name in NAMES:
            batch, said = tiny.batch([name]), []
            following = [*tiny.tokens.prompt("ru"), tiny.tokens.timestamps - 1]
            never = json.loads((FOLDER / "generation_config.json").read_text("utf-8"))["suppress_tokens"]
            while len(said) < EXPECTED["most"]:
                logits = batch(np.array([following], np.int32))[0]
                logits[never] = -np.inf
                if not said:
                    logits[tiny.tokens.never_first] = -np.inf
                following = [int(logits.argmax())]
                if following == [tiny.tokens.end]:
                    break
                said += following
            assert said == WINDOWS[name]["tokens"], name

    def test_the_language_of_each_window_is_that_of_transformers(self, tiny):
        found = tiny.decoded(NAMES, language=None)
        assert [one.language for one in found] == [WINDOWS[name]["language"] for name in NAMES]

    @pytest.mark.parametrize("temperature", [0.0, 0.6])
    @pytest.mark.parametrize("language", [None, "en"])
    def test_a_batch_says_what_single_windows_say(self, tiny, language, temperature):
        more = {"language": language, "temperature": temperature}
        together, alone = tiny.decoded(NAMES, **more), [tiny.decoded([name], **more)[0] for name in NAMES]
        assert [one.tokens for one in together] == [one.tokens for one in alone]
        assert len({len(one.tokens) for one in together}) > 1  # rows end at different times
        assert [one.language for one in together] == [one.language for one in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


@with_mlx
class TestFewerBits:
    @pytest.mark.parametrize(("bits", "least"), [(16, 0.9999), (8, 0.999), (4, 0.9)])
    def test_what_may_follow_is_weighed_nearly_as_in_fp32(self, bits, least):
        tiny = Tiny(FOLDER, bits)
        logits = tiny.batch(NAMES)(np.array([tiny.tokens.prompt("ru")] * len(NAMES), np.int32))
        assert cosines(logits).min() > least

    @pytest.mark.parametrize("bits", [8, 4])
    def test_a_converted_folder_says_what_the_published_one_says(self, tmp_path, bits):
        card = RERANKERS["bert-pair"]  # of the card a conversion takes the name alone
        convert(card, ModelFiles(FOLDER, "0" * 64, "published", None), tmp_path / "made", bits)
        found, wanted = (Tiny(folder, bits).decoded(NAMES) for folder in (tmp_path / "made", FOLDER))
        assert found == wanted


def cosines(logits):
    wanted = np.array([WINDOWS[name]["logits"] for name in NAMES])
    return (logits * wanted).sum(1) / np.linalg.norm(logits, axis=1) / np.linalg.norm(wanted, axis=1)


def as_mlx_whisper_does(target, *, bits=0, file="weights.npz"):
    """Writes the folder as mlx-whisper's converter does: its names, its kernels, its config, no sines in it."""
    import mlx.core as mx

    target.mkdir()
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copyfile(FOLDER / name, target / name)
    config = read_config(FOLDER)
    described = {
        "n_mels": config.bands,
        "n_audio_ctx": config.places,
        "n_audio_state": config.hidden,
        "n_audio_head": config.heads,
        "n_audio_layer": config.layers,
        "n_vocab": config.words,
        "n_text_ctx": config.text_places,
        "n_text_state": config.hidden,
        "n_text_head": config.text_heads,
        "n_text_layer": config.text_layers,
        "model_type": "whisper",
    }

    def write():
        source, tensors = Checkpoint(FOLDER), {}
        for published in source:
            name, numbers = own_name(published), source[published]
            if numbers.ndim == 3:
                numbers = numbers.transpose(0, 2, 1)
            weight = mx.array(numbers).astype(mx.float16)
            if bits and numbers.ndim == 2 and name.endswith(".weight"):
                parts = mx.quantize(weight, group_size=32, bits=bits)
                layer = name.removesuffix(".weight")
                tensors.update(zip((name, f"{layer}.scales", f"{layer}.biases"), parts, strict=True))
            else:
                tensors[name] = weight
        tensors["alignment_heads"] = mx.array([[1, 0], [1, 1]])
        if file.endswith("npz"):
            mx.savez(str(target / file), **tensors)
        else:
            mx.save_safetensors(str(target / file), tensors)

    in_its_thread(write)
    if bits:
        described["quantization"] = {"group_size": 32, "bits": bits}
    (target / "config.json").write_text(json.dumps(described), "utf-8")
    return target


@with_mlx
class TestOtherFolders:
    """Those that mlx-whisper's converter wrote load as they are."""

    @pytest.mark.parametrize("file", ["weights.npz", "weights.safetensors", "model.safetensors"])
    def test_they_say_what_the_published_one_says(self, tmp_path, file):
        found = Tiny(as_mlx_whisper_does(tmp_path / "made", file=file)).decoded(NAMES)
        assert [one.tokens for one in found] == [WINDOWS[name]["tokens_with_times"] for name in NAMES]

    @pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (4, 0.9)])
    @pytest.mark.parametrize("file", ["weights.npz", "model.safetensors"])
    def test_quantised_ones_are_near_it(self, tmp_path, file, bits, least):
        tiny = Tiny(as_mlx_whisper_does(tmp_path / "made", file=file, bits=bits), bits)
        logits = tiny.batch(NAMES)(np.array([tiny.tokens.prompt("ru")] * len(NAMES), np.int32))
        assert cosines(logits).min() > least


@with_mlx
class TestTrained:
    """The small checkpoint of golden/speech, which has learnt some words: both engines hear the same ones."""

    @pytest.fixture(scope="class")
    @classmethod
    def windows(cls):
        return [samples_of(RECORDINGS / name)[: 30 * RATE] for name in ("ru.opus", "en.opus", "mixed.opus")]

    @pytest.fixture(scope="class")
    @classmethod
    def wanted(cls, windows):
        transcriber = FasterWhisperTranscriber(CARD, GOLDEN / "small-ct2", 2)
        return words(transcriber.transcribe(windows))

    @pytest.mark.parametrize("bits", [32, 8])
    def test_the_words_are_those_of_faster_whisper(self, windows, wanted, bits):
        transcriber = MlxTranscriber(CARD, GOLDEN / "small", bits)
        assert words(transcriber.transcribe(windows)) == wanted
        transcriber.close()


def words(texts):
    return [" ".join(segment.text for segment in text.segments) for text in texts]
