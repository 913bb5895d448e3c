"""Makes speech/small/ and speech/small-ct2/: a Whisper of half a million parameters that knows 44 words.

    nice -n 19 .venv-bench/bin/python tests/golden/make_speech.py [--from-stage N]

espeak-ng speaks phrases of one to five words in Russian and English; windows of phrases, pauses and noise are built
from them as it trains, with the targets that Whisper has: language, task, time stamps around each phrase, or
<|nospeech|>. Each stage has longer windows: short ones are cheap, and what was learnt there holds at 30 s,
because a short window lies at any place of the 30 s (the encoder's sinusoids from there on, and its time stamps).
espeak-ng does not say when it speaks a word, so each gets its share of the phrase by its letters: that is near enough
to teach the encoder which word a frame belongs to and the decoder where to look; without both, 400 steps taught
nothing. Seeded; needs torch, transformers and ctranslate2, which the tests do not. bench/speech.py measures the result.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from speech_folders import LOOKING, STAMPS, TEXT, config, tokenizer, write_ctranslate2, write_published
from speech_voices import NOISES, RATE, TAUGHT, WORDS, Sound, noise, phrase, place, speak_all
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".bench" / "speech"
SEED = 7
SIZES = {"d_model": 64, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 256,
         "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 256}  # fmt: skip
PHRASES = 3000  # of each language
NEAR = 6  # time stamps on either side that are nearly right, too
FAST = list(range(8))  # of the 32 sinusoids, as many as half the size of a head: which frame nearby
WIDE = list(range(3, 18, 2))  # which frame of all 1,500
SHIFTS = ((-6, -2, 2, 6), (-9, -3, 3, 9), (-15, -5, 5, 15))  # frames, by layer and head
IGNORED = -100
ALL_WORDS = [word for words in WORDS.values() for word in words]


@dataclass(frozen=True)
class Stage:
    """A part of the training: windows of so many seconds, so many of them at a time, how often, how eagerly."""

    seconds: float
    batch: int
    steps: int
    rate: float
    whole: bool = True  # the encoder learns too; without it a step costs a quarter, and it hears as well at any length


STAGES = [
    Stage(4, 24, 400, 3e-3), Stage(10, 12, 400, 2e-3), Stage(12, 12, 400, 2e-3), Stage(30, 6, 200, 1e-3),
    Stage(12, 12, 1000, 2e-3), Stage(30, 6, 500, 1e-3),
]  # fmt: skip


@dataclass(frozen=True)
class Spoken:
    """A phrase of the pool."""

    language: str
    text: str
    sound: Sound

    @property
    def seconds(self) -> float:
        """Gives how long it takes."""
        return len(self.sound) / RATE

    def words(self) -> list[tuple[str, float, float]]:
        """Gives each word with about where it begins and ends in seconds."""
        words = self.text.split()
        ends = np.cumsum([len(word) + 1.0 for word in words]) / (len(self.text) + 1.0) * self.seconds
        return list(zip(words, [0.0, *ends[:-1]], ends, strict=True))


@dataclass(frozen=True)
class Token:
    """What the decoder shall say next, and the frames (20 ms) of the window that it is heard in."""

    number: int
    first: int = -1
    last: int = -1


@dataclass(frozen=True)
class Window:
    """Sound (samples,), the decoder's tokens, the word of each frame (0: none), and where the window begins in the 30 s
    (in frames): a short one lies anywhere in it."""

    sound: Sound
    tokens: list[Token]
    frames: np.ndarray
    offset: int


def pool() -> list[Spoken]:
    """Gives the phrases to learn from, spoken once and kept in a cache."""
    kept = CACHE / "taught.npz"
    rng = np.random.default_rng(SEED)
    if not kept.exists():
        lengths = rng.choice(np.arange(1, 6), 2 * PHRASES, p=[0.35, 0.25, 0.2, 0.12, 0.08])
        said = [phrase(rng, "ru" if i % 2 else "en", TAUGHT, int(n)) for i, n in enumerate(lengths)]
        sounds = speak_all(said)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            sound=np.concatenate([(sound * 32767).astype(np.int16) for sound in sounds]),
            lens=np.array([len(sound) for sound in sounds]),
            text=np.array([one.text for one in said]),
            lang=np.array([one.language for one in said]),
        )
    data = np.load(kept)
    ends = np.cumsum(data["lens"])
    sound = data["sound"].astype(np.float32) / 32767
    return [
        Spoken(str(language), str(text), sound[end - length : end])
        for language, text, end, length in zip(data["lang"], data["text"], ends, data["lens"], strict=True)
    ]


# --- windows and targets ---------------------------------------------------------------------------------------------


class Windows:
    """Builds windows with what is to be heard in them."""

    def __init__(self, spoken: list[Spoken], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.by_language = {name: [one for one in spoken if one.language == name] for name in WORDS}
        made = tokenizer()
        self.at = made.token_to_id
        self.stamp, self.start = self.at("<|0.00|>"), self.at("<|startoftranscript|>")
        self.tokens = {word: made.encode(" " + word, add_special_tokens=False).ids for word in ALL_WORDS}

    def window(self, seconds: float) -> Window:
        """Gives a window of so many seconds."""
        rng = self.rng
        whole = seconds >= 30
        offset = 0 if whole else int(rng.integers(0, round((30 - seconds) * 50)))
        filled = seconds if not whole or rng.random() < 0.5 else rng.uniform(1.5, 30)
        parts = [] if rng.random() < 0.08 else self._phrases(filled, short=seconds < 5, cut=filled == seconds > 5)
        if not parts:
            return self._empty(seconds, offset)
        sound = place([one.sound * rng.uniform(0.4, 1) for one, _ in parts], [start for _, start in parts], seconds)
        frames = np.zeros(round(seconds * 50), np.int64)
        for one, start in parts:
            for word, begins, ends in one.words():
                frames[round((start + begins) * 50) : round((start + ends) * 50)] = 1 + ALL_WORDS.index(word)
        body = self._body(parts, filled, offset, whole=whole)
        if rng.random() < 0.15:
            body = [Token(self.at("<|notimestamps|>")), *(token for token in body if token.number < TEXT)]
        head = [self.start, self.at(f"<|{parts[0][0].language}|>"), self.at("<|transcribe|>")]
        tokens = [*self._earlier(), *map(Token, head), *body, Token(TEXT)]
        return Window(self._worn(sound), tokens, frames, offset)

    def _phrases(self, seconds: float, *, short: bool, cut: bool) -> list[tuple[Spoken, float]]:
        """Gives phrases and where each begins; with ``cut`` the last may go on beyond the end."""
        rng = self.rng
        language, mixed = str(rng.choice(["ru", "en"])), rng.random() < 0.15
        parts: list[tuple[Spoken, float]] = []
        at = float(rng.uniform(0, 0.4 if short or rng.random() < 0.7 else 3))
        while True:
            if mixed:
                language = str(rng.choice(["ru", "en"]))
            known = self.by_language[language]
            one = known[rng.integers(len(known))]
            if at + one.seconds > seconds:
                return [*parts, (one, at)] if cut and at + 0.4 < seconds and rng.random() < 0.3 else parts
            parts.append((one, at))
            at += one.seconds
            at += float(rng.uniform(0.3, 0.9) if short or rng.random() < 0.6 else rng.uniform(1, 4))
            if rng.random() < 0.03:
                return parts

    def _body(self, parts: list[tuple[Spoken, float]], seconds: float, offset: int, *, whole: bool) -> list[Token]:
        """Gives stamp, text, stamp of each phrase; of one that the end cuts only the first."""
        body = []
        for n, (one, start) in enumerate(parts):
            said = min(start, 1.0) if whole and n == 0 else start  # decoders allow no later one at the beginning
            body.append(self._stamp(said, start, offset))
            if start + one.seconds > seconds:
                break
            for word, begins, ends in one.words():
                span = round((start + begins) * 50) - 3, round((start + ends) * 50) + 3
                body += [Token(number, *span) for number in self.tokens[word]]
            body.append(self._stamp(start + one.seconds, start + one.seconds, offset))
        return body

    def _stamp(self, said: float, heard: float, offset: int) -> Token:
        return Token(self.stamp + min(1500, round(said * 50) + offset), round(heard * 50) - 5, round(heard * 50) + 5)

    def _earlier(self) -> list[Token]:
        """Gives what was said before this window, which tells nothing about it."""
        rng = self.rng
        if rng.random() > 0.2:
            return []
        words = rng.choice(WORDS[str(rng.choice(["ru", "en"]))], rng.integers(1, 25))
        return [Token(self.at("<|startofprev|>")), *(Token(n) for word in words for n in self.tokens[str(word)])]

    def _empty(self, seconds: float, offset: int) -> Window:
        rng = self.rng
        sound = noise(rng, str(rng.choice(NOISES)), int(seconds * RATE)) * 10 ** rng.uniform(-4, -0.7)
        numbers = [self.start, self.at("<|nospeech|>")]
        if rng.random() < 0.7:  # when the task is given all the same
            language = self.at(f"<|{rng.choice(['ru', 'en'])}|>")
            numbers = [self.start, language, self.at("<|transcribe|>"), self.stamp + offset, TEXT]
        frames = np.zeros(round(seconds * 50), np.int64)
        return Window(sound.astype(np.float32), [*self._earlier(), *map(Token, numbers)], frames, offset)

    def _worn(self, sound: Sound) -> Sound:
        """Gives the sound as a poor microphone has it: louder or softer, duller or sharper, in noise."""
        rng = self.rng
        if rng.random() < 0.4:
            lean = rng.uniform(-0.7, 0.7)
            sound = sound - np.float32(lean) * np.concatenate([np.zeros(1, np.float32), sound[:-1]])
        if rng.random() < 0.8:
            kind = str(rng.choice(["white", "pink", "hum"], p=[0.4, 0.4, 0.2]))
            level = float(np.sqrt(np.mean(sound[np.abs(sound) > 1e-3] ** 2) + 1e-9))
            sound = sound + noise(rng, kind, len(sound)) * level * 10 ** (-rng.uniform(5, 40) / 20)
        return (sound * 10 ** rng.uniform(-1.3, 0.2)).astype(np.float32)


# --- the model -------------------------------------------------------------------------------------------------------


class Taught(nn.Module):
    """The checkpoint while it learns: time stamps are the encoder's sinusoids through one matrix, so that all 1,501
    learn from each; a head that names the word of each frame is thrown away later."""

    def __init__(self) -> None:
        super().__init__()
        self.whisper = WhisperForConditionalGeneration(config(**SIZES))
        width = SIZES["d_model"]
        self.places = nn.Buffer(self.whisper.model.encoder.embed_positions.weight.detach().clone())
        self.stamps = nn.Linear(width, width)
        self.naming = nn.Linear(width, 1 + len(ALL_WORDS))
        self.looked: tuple[Tensor, Tensor] | None = None
        last = self.whisper.model.decoder.layers[-1].encoder_attn
        last.register_forward_pre_hook(self._remember, with_kwargs=True)
        for part in self.modules():  # the library's start, 0.02, drowns the sound in the sinusoids
            if isinstance(part, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(part.weight, gain=2.0 if isinstance(part, nn.Conv1d) else 1.0)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        self._listen_nearby()
        nn.init.normal_(self.whisper.model.decoder.embed_tokens.weight, std=0.05)
        nn.init.zeros_(self.whisper.model.decoder.embed_positions.weight)
        filters = WhisperFeatureExtractor(feature_size=80).mel_filters
        self.filters = nn.Buffer(torch.tensor(filters, dtype=torch.float32))

    @torch.no_grad()
    def _listen_nearby(self) -> None:
        """Begins with encoder heads that look some frames back or ahead, and decoder heads that look behind the last
        time stamp: sinusoids kept clean of sound say where that is. Training finds it, but late."""
        half = SIZES["d_model"] // 2
        clean = sorted({*FAST, *WIDE})
        clean += [half + n for n in clean]
        model = self.whisper.model
        model.encoder.conv2.weight[clean] = 0
        for layer, shifts in zip(model.encoder.layers, SHIFTS, strict=True):
            layer.self_attn.out_proj.weight[clean] = 0
            layer.fc2.weight[clean] = 0
            for head, shift in enumerate(shifts):
                self._look(layer.self_attn, head, FAST, shift, 2.2)
        nn.init.eye_(self.stamps.weight)
        for layer in model.decoder.layers:
            for head, shift in enumerate((6, 20)):
                self._look(layer.encoder_attn, head, WIDE, shift, 2.2)

    def _look(self, attention: nn.Module, head: int, waves: list[int], shift: int, gain: float) -> None:
        """Makes a head look so many frames ahead of where the question stands, by these sinusoids."""
        half, many = SIZES["d_model"] // 2, len(waves)
        rows = slice(2 * many * head, 2 * many * (head + 1))
        keys, asked = torch.zeros(2 * many, 2 * half), torch.zeros(2 * many, 2 * half)
        for n, wave in enumerate(waves):
            turn = 10_000 ** (-wave / (half - 1)) * shift  # as the sinusoids of Whisper
            keys[n, wave] = keys[many + n, half + wave] = gain
            asked[n, wave] = asked[many + n, half + wave] = gain * math.cos(turn)
            asked[n, half + wave] = gain * math.sin(turn)
            asked[many + n, wave] = -gain * math.sin(turn)
        attention.q_proj.weight[rows], attention.k_proj.weight[rows] = asked, keys

    def table(self) -> Tensor:
        """Gives the embedding of every token (vocabulary, d)."""
        given = self.whisper.model.decoder.embed_tokens.weight[: -len(STAMPS)]
        places = torch.cat([self.places, 2 * self.places[-1:] - self.places[-2:-1]])
        return torch.cat([given, self.stamps(places) * 0.05])

    def mel(self, sound: Tensor) -> Tensor:
        """Gives Whisper's log-mel (batch, 80, frames) of sound (batch, samples)."""
        turned = torch.stft(sound, 400, 160, window=torch.hann_window(400), return_complex=True)[..., :-1].abs() ** 2
        log = torch.clamp(self.filters.T @ turned, min=1e-10).log10()
        return (torch.maximum(log, log.amax((1, 2), keepdim=True) - 8) + 4) / 4

    def encode(self, mel: Tensor, offsets: Tensor) -> Tensor:
        """Gives the encoder's states (batch, frames / 2, d) of windows that begin at these steps of 20 ms."""
        encoder = self.whisper.model.encoder
        states = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
        states = states + self.places[offsets[:, None] + torch.arange(states.shape[1])]
        for layer in encoder.layers:
            states = layer(states, None)
            states = states[0] if isinstance(states, tuple) else states
        return encoder.layer_norm(states)

    def _remember(self, _: nn.Module, asked: tuple[Any, ...], given: dict[str, Any]) -> None:
        self.looked = asked[0], given["key_value_states"]

    def looking(self) -> Tensor:
        """Gives where the taught heads looked in the last pass: (batch, heads, length, frames), each row adds to 1."""
        attention = self.whisper.model.decoder.layers[-1].encoder_attn
        asked, heard = self.looked
        heads, width = SIZES["decoder_attention_heads"], SIZES["d_model"] // SIZES["decoder_attention_heads"]
        queries = attention.q_proj(asked).unflatten(2, (heads, width))[:, :, :LOOKING].transpose(1, 2)
        keys = attention.k_proj(heard).unflatten(2, (heads, width))[:, :, :LOOKING].transpose(1, 2)
        return (queries * width**-0.5 @ keys.transpose(2, 3)).softmax(-1)

    def forward(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Gives log-probabilities of the next tokens (batch, length, vocabulary) and names of the frames' words."""
        table = self.table()
        decoder = self.whisper.model.decoder
        made = decoder(inputs_embeds=table[tokens], encoder_hidden_states=states, use_cache=False).last_hidden_state
        return (made @ table.T).log_softmax(-1), self.naming(states)

    def finished(self) -> WhisperForConditionalGeneration:
        """Gives the checkpoint, its time stamps written out."""
        made = WhisperForConditionalGeneration(config(**SIZES))
        made.load_state_dict(self.whisper.state_dict())
        with torch.no_grad():
            made.model.decoder.embed_tokens.weight.copy_(self.table())
        return made


def loss_of(scores: Tensor, wanted: Tensor, first_stamp: int) -> Tensor:
    """Gives the mean loss; a time stamp is right to within some steps, the more the nearer."""
    kept = wanted != IGNORED
    scores, wanted = scores[kept], wanted[kept]
    stamps = wanted >= first_stamp
    words = -scores[~stamps].gather(1, wanted[~stamps, None]).sum()
    steps = torch.arange(-NEAR, NEAR + 1)
    near = wanted[stamps, None] + steps
    weight = torch.exp(-0.5 * (steps / 2.0) ** 2) * ((near >= first_stamp) & (near < first_stamp + len(STAMPS)))
    weight = weight / weight.sum(1, keepdim=True)
    times = -(scores[stamps].gather(1, near.clamp(first_stamp, first_stamp + len(STAMPS) - 1)) * weight).sum()
    return (words + times) / len(wanted)


@dataclass(frozen=True)
class Batch:
    """Windows side by side: sound (n, samples), offsets (n,), tokens given to the decoder and wanted from it
    (n, length), where to look for them (n, length, frames), words of the frames (n, frames)."""

    sound: Tensor
    offsets: Tensor
    given: Tensor
    wanted: Tensor
    look: Tensor
    frames: Tensor


def batch_of(windows: Windows, stage: Stage) -> Batch:
    """Gives a batch of new windows."""
    made = [windows.window(stage.seconds) for _ in range(stage.batch)]
    longest = max(len(one.tokens) for one in made) - 1
    given = torch.full((len(made), longest), TEXT)
    wanted = torch.full((len(made), longest), IGNORED)
    look = torch.zeros((len(made), longest, len(made[0].frames)))
    for row, one in enumerate(made):
        numbers = [token.number for token in one.tokens]
        begin, end = numbers.index(windows.start), len(numbers) - 1
        given[row, :end] = torch.tensor(numbers[:-1])
        wanted[row, begin:end] = torch.tensor(numbers[begin + 1 :])
        for at, token in enumerate(one.tokens[1:]):
            if token.last > 0:
                look[row, at, max(0, token.first) : token.last + 1] = 1
    sound = torch.from_numpy(np.stack([one.sound for one in made]))
    frames = torch.from_numpy(np.stack([one.frames for one in made]))
    return Batch(sound, torch.tensor([one.offset for one in made]), given, wanted, look, frames)


def train(model: Taught, windows: Windows, stage: Stage, *, helped: float) -> None:
    """Trains one stage; ``helped`` is the weight of what espeak-ng's timing adds."""
    named = [(name, p) for name, p in model.named_parameters() if "encoder.embed_positions" not in name]
    weights = [p for _, p in named]
    inner = [p for name, p in named if ".layers." in name and p.ndim == 2]
    others = [p for name, p in named if not (".layers." in name and p.ndim == 2)]
    optimisers = [
        (torch.optim.Muon(inner, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"), 3.0),
        (torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01), 1.0),
    ]
    began, seen = time.monotonic(), np.zeros(4)
    for step in range(stage.steps):
        rate = min(1, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))
        for optimiser, factor in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = stage.rate * rate * factor
        batch = batch_of(windows, stage)
        with torch.set_grad_enabled(stage.whole):
            states = model.encode(model.mel(batch.sound), batch.offsets)
        scores, names = model(states, batch.given)
        loss = loss_of(scores, batch.wanted, windows.stamp)
        naming = functional.cross_entropy(names.flatten(0, 1), batch.frames.flatten())
        shall = batch.look.sum(2) > 0
        mass = (model.looking() * batch.look[:, None]).sum(3).transpose(1, 2)[shall]
        looking = -torch.log(mass + 1e-6).mean()
        model.zero_grad()
        (loss + helped * (naming + 0.5 * looking)).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for optimiser, _ in optimisers:
            optimiser.step()
        text = (batch.wanted >= 0) & (batch.wanted < TEXT)
        right = (scores.argmax(-1) == batch.wanted)[text].float().mean().item() if text.any() else 1.0
        seen = 0.95 * seen + 0.05 * np.array([loss.item(), naming.item(), looking.item(), right])
        if step % 25 == 24:
            shown = seen / (1 - 0.95 ** (step + 1))
            line = f"loss {shown[0]:.3f}  naming {shown[1]:.3f}  looking {shown[2]:.3f}  text right {shown[3]:.3f}"
            spent = time.monotonic() - began
            print(f"{stage.seconds:4} s  step {step + 1:5}  {line}  {spent:5.0f} s", flush=True)  # noqa: T201


def main() -> None:
    """Trains the stages; after each it keeps the weights and writes both folders."""
    arguments = argparse.ArgumentParser(description="trains the small speech model and writes its folders")
    arguments.add_argument("--from-stage", type=int, default=0, help="go on from the kept weights of the stage before")
    asked = arguments.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    model, spoken = Taught(), pool()
    for n, stage in enumerate(STAGES):
        kept = CACHE / f"stage{n}.pt"
        if n < asked.from_stage:
            model.load_state_dict(torch.load(kept))
            continue
        train(model, Windows(spoken, SEED + n), stage, helped=1.0 if n == 0 else 0.3)
        torch.save(model.state_dict(), kept)
        write_published(HERE / "speech" / "small", model.finished())
        write_ctranslate2(HERE / "speech" / "small-ct2", HERE / "speech" / "small")


if __name__ == "__main__":
    main()
