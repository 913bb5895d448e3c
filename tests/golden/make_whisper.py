"""Makes models/whisper-tiny-random/: a Whisper of random weights, and what transformers gives for it.

``python tests/golden/make_whisper.py`` needs torch and transformers, which the tests themselves do not. The folder
looks like one that OpenAI published, but hears 5 s at once. expected.json holds, in fp32: some numbers of the
spectrograms of the sounds of ``support.golden_whisper`` (made 30 s long, in 80 and 128 bands), some of the encoder's
states, the logits after three tokens, the likeliest language, how probable silence is, and the likeliest tokens with
times and without.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.golden_whisper import FOLDER, sounds

SECONDS, PLACES, TEXT_PLACES, MOST = 5, 250, 64, 28
LATE = 1.2  # the later the place, the likelier is the end
HIDDEN, INNER, HEADS, LAYERS = 32, 64, 4, 2
LANGUAGES = ("en", "ru", "de", "yue")
SEED = 4  # of a few tried: rows end at different times, and say different things
LEARNT = [
    "The meeting about the budget was moved to Thursday (at 10:30) - said Ann's boss. ♪♪",
    "Встречу о бюджете перенесли на четверг, на 10:30; семь, три, один.",
] * 4


def main() -> None:
    """Writes the folder."""
    tokenizer = byte_pairs()
    config = transformers.WhisperConfig(
        vocab_size=tokenizer.get_vocab_size() + PLACES + 1,
        num_mel_bins=80,
        d_model=HIDDEN,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=INNER,
        decoder_ffn_dim=INNER,
        max_source_positions=PLACES,
        max_target_positions=TEXT_PLACES,
        **special(tokenizer),
    )
    model = fill(transformers.WhisperForConditionalGeneration(config))
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for weight in model.parameters():
        weight.data = weight.data.half()
    model.generation_config = generation(tokenizer)
    model.save_pretrained(FOLDER)
    model.float()
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    text = json.dumps(expect(model.eval(), tokenizer), ensure_ascii=False)
    (FOLDER / "expected.json").write_text(text + "\n", "utf-8")


def byte_pairs() -> Tokenizer:
    """Gives a tokenizer like Whisper's, with few words; as in the older ones, times have no names."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        LEARNT, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    )
    names = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev"]
    names += ["nocaptions", "notimestamps"]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in names])
    return tokenizer


def special(tokenizer: Tokenizer) -> dict[str, Any]:
    end, start = (tokenizer.token_to_id(f"<|{name}|>") for name in ("endoftext", "startoftranscript"))
    return {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}


def generation(tokenizer: Tokenizer) -> transformers.GenerationConfig:
    end, none = (tokenizer.token_to_id(f"<|{name}|>") for name in ("endoftext", "notimestamps"))
    tasks = {name: tokenizer.token_to_id(f"<|{name}|>") for name in ("translate", "transcribe")}
    return transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={f"<|{name}|>": tokenizer.token_to_id(f"<|{name}|>") for name in LANGUAGES},
        task_to_id=tasks,
        no_timestamps_token_id=none,
        max_initial_timestamp_index=50,
        begin_suppress_tokens=[tokenizer.token_to_id("Ġ"), end],
        suppress_tokens=[1, 2, 7, *range(end + 1, none)],
        max_length=TEXT_PLACES,
        return_timestamps=False,
        **special(tokenizer),
    )


def fill(model: Any) -> Any:
    """Gives the model with random weights, so large that windows differ, times and words take turns, and rows end."""
    draw = torch.Generator().manual_seed(SEED)
    end, words = model.config.eos_token_id, model.model.decoder.embed_tokens.weight
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=draw)
            if "norm" in name:
                weight.copy_((0.2 * noise + 1) if name.endswith("weight") else 0.2 * noise)
            elif "embed_tokens" in name:
                weight.copy_(0.35 * noise)
                weight[end + 10] *= 2  # silence
            elif "decoder.embed_positions" in name:
                weight.copy_(noise + torch.arange(TEXT_PLACES)[:, None] / LATE * words[end])
            elif "embed_positions" in name:
                pass  # sines, as in every Whisper
            elif weight.ndim == 1:
                weight.copy_(0.15 * noise)
            elif weight.ndim == 3:
                weight.copy_(1.5 * noise / (3 * weight.shape[1]) ** 0.5)
            else:  # what comes from the sound counts most
                weight.copy_((4 if "encoder_attn.out_proj" in name else 1.6) * noise / weight.shape[1] ** 0.5)
    return model


def expect(model: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """Gives what the tests compare with."""
    mels = {name: mel(samples, 80, SECONDS) for name, samples in sounds().items()}
    features = torch.tensor(np.stack(list(mels.values())))
    start, transcribe = (tokenizer.token_to_id(f"<|{name}|>") for name in ("startoftranscript", "transcribe"))
    russian = tokenizer.token_to_id("<|ru|>")
    with torch.no_grad():
        states = model.model.encoder(features).last_hidden_state
        prompt = torch.tensor([[start, russian, transcribe]] * len(mels))
        logits = model(input_features=features, decoder_input_ids=prompt).logits
        languages = model.detect_language(features)
        said = {times: [greedy(model, tokenizer, one[None], times) for one in states] for times in (True, False)}
    silent = logits[:, 0].softmax(-1)[:, tokenizer.token_to_id("<|nocaptions|>")]
    windows = {
        name: {
            "states": rounded(states[i, ::25, ::4]),
            "logits": rounded(logits[i, -1]),
            "language": tokenizer.id_to_token(int(languages[i]))[2:-2],
            "no_speech": float(silent[i]),
            "tokens": said[False][i],
            "tokens_with_times": said[True][i],
        }
        for i, name in enumerate(mels)
    }
    whole = {
        f"{name} {bands}": rounded(mel(sounds()[name], bands, 30)[3::9, :600:37])
        for name in ("rising", "clipped", "quiet", "silence")
        for bands in (80, 128)
    }
    return {"most": MOST, "mel": whole, "windows": windows}


def mel(samples: np.ndarray, bands: int, seconds: int) -> np.ndarray:
    """Gives the spectrogram, (bands, frames), by the extractor's own NumPy in float64."""
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
    whole = np.pad(samples.astype(np.float64), (0, extractor.n_samples - len(samples)))
    return extractor._np_extract_fbank_features(whole[None], "cpu")[0].astype(np.float32)


def greedy(model: Any, tokenizer: Tokenizer, states: torch.Tensor, times: bool) -> list[int]:
    """Gives the likeliest tokens up to the end, by transformers' own rules and without a cache.

    Its ``generate`` would cut the sound at the times that were said, and hear the rest again.
    """
    names = ["startoftranscript", "ru", "transcribe"] + ([] if times else ["notimestamps"])
    ids = [tokenizer.token_to_id(f"<|{name}|>") for name in names]
    said, begin = model.generation_config, len(ids)
    rules = [
        transformers.SuppressTokensLogitsProcessor(said.suppress_tokens),
        transformers.SuppressTokensAtBeginLogitsProcessor(said.begin_suppress_tokens, begin),
    ]
    if times:
        rules.append(transformers.WhisperTimeStampLogitsProcessor(said, begin))
    for _ in range(MOST):
        logits = model(encoder_outputs=(states,), decoder_input_ids=torch.tensor([ids])).logits[:, -1]
        for rule in rules:
            logits = rule(torch.tensor([ids]), logits)
        token = int(logits.argmax())
        if token == said.eos_token_id:
            break
        ids.append(token)
    return ids[begin:]


def rounded(numbers: Any) -> list[Any]:
    return np.round(np.asarray(numbers, np.float64), 5).tolist()


if __name__ == "__main__":
    main()
