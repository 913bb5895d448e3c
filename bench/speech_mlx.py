"""Our own Whisper on MLX at the true shapes of OpenAI's: tokens a second by batch, and memory by window.

    .venv/bin/python bench/speech_mlx.py [--size base] [--bits 8] [--batches 1,4,8] [--keep .bench]

The weights are random, so what is said means nothing; shapes, formats and files are those of the published ones. A step
reads all weights of the decoder whatever the batch, so a batch should say more tokens a second, as far as the back-end
multiplies several rows in the time of one: that of a CPU does so in 32 bits alone. Printed are the seconds in which a
window is heard (one after the other, whatever the batch), and for each batch milliseconds of a step, tokens a second
and how many times those of batch 1, and MLX's memory at its peak.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from pomnit.engines.mlx_session import CACHE, in_its_thread  # noqa: E402
from pomnit.engines.whisper_config import WhisperConfig, read_config  # noqa: E402
from pomnit.engines.whisper_mel import log_mel  # noqa: E402
from pomnit.engines.whisper_mlx_weights import WhisperWeights  # noqa: E402

SIZES = {"tiny": (384, 4, 4, 6), "base": (512, 6, 6, 8), "small": (768, 12, 12, 12), "turbo": (1280, 32, 4, 20)}
STEPS = 24  # measured, after two of another kind
FASTER = 2.0  # times the tokens a second at batch 8


def main() -> int:
    """Measures and prints; 2 where MLX is not installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--batches", type=lambda given: [int(n) for n in given.split(",")], default=[1, 4, 8])
    parser.add_argument("--keep", type=Path, default=ROOT / ".bench", help="folder for the checkpoint (.bench)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        import mlx.core as mx
    except ImportError:
        print("MLX is not installed; for Linux: pip install 'mlx[cpu]'", file=sys.stderr)
        return 2
    folder = asked.keep / f"whisper-{asked.size}"
    make(folder, *SIZES[asked.size])
    rows = in_its_thread(lambda: measure(mx, folder, asked.bits, asked.batches))
    if asked.json:
        print(json.dumps({"size": asked.size, "bits": asked.bits, "rows": rows}))
        return 0
    print(f"whisper-{asked.size}, {asked.bits} bits, {mx.default_device()}; the weights {rows[0]['held_mb']:.0f} MB; "
          f"a window is heard in {rows[0]['heard_s']:.1f} s")  # fmt: skip
    print(f"{'batch':>5} {'step ms':>8} {'tokens/s':>9} {'times':>6} {'peak MB':>8}")
    for row in rows:
        times = row["tokens_s"] / rows[0]["tokens_s"]
        print(f"{row['batch']:5} {row['step_ms']:8.1f} {row['tokens_s']:9.1f} {times:6.2f} "
              f"{row['peak_mb']:8.0f}")  # fmt: skip
    verdict = "as asked" if rows[-1]["tokens_s"] / rows[0]["tokens_s"] >= FASTER else "less: this back-end cannot"
    print(f"batch {rows[-1]['batch']} beside batch {rows[0]['batch']}: asked are {FASTER:g} times; {verdict}")
    return 0


def measure(mx: Any, folder: Path, bits: int, batches: list[int]) -> list[dict[str, float]]:
    """Gives the figures of each batch."""
    from pomnit.engines.whisper_mlx_model import WhisperModel

    config = read_config(folder)
    mx.set_cache_limit(CACHE)
    model = WhisperModel(WhisperWeights(folder, bits, config), config, exact=bits == 32)
    held = mx.get_active_memory() / 1e6
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * 16_000).astype(np.float32)
    began = time.perf_counter()
    states = model.hear(log_mel(sound, config.bands))
    one = {"held_mb": held, "heard_s": time.perf_counter() - began}
    return [one | measure_batch(mx, model, states, batch) for batch in batches]


def measure_batch(mx: Any, model: Any, states: Any, batch: int) -> dict[str, float]:
    """Gives the figures of one batch, of so many times the same window."""
    mx.clear_cache()
    mx.reset_peak_memory()
    speech = model.begin([states] * batch)
    for count in (1, 2):  # what a batch begins with
        speech.logits(np.full((batch, count), 50258, np.int32))
    steps = []
    for _ in range(STEPS):
        began = time.perf_counter()
        speech.logits(np.full((batch, 1), 1000, np.int32))
        steps.append(time.perf_counter() - began)
    step = statistics.median(steps)
    peak = mx.get_peak_memory() / 1e6
    return {"batch": batch, "step_ms": 1e3 * step, "tokens_s": batch / step, "peak_mb": peak}


def make(folder: Path, hidden: int, layers: int, text_layers: int, heads: int) -> None:
    """Writes a checkpoint of random float16 as transformers would, unless it is there."""
    if (folder / "config.json").is_file():
        return
    bands, words = (128, 51_866) if hidden == 1280 else (80, 51_865)
    config = WhisperConfig(bands=bands, words=words, hidden=hidden, places=1500, layers=layers, heads=heads,
                           text_places=448, text_layers=text_layers, text_heads=heads)  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    shapes = tensors(config)
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    draw = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            numbers = draw.standard_normal(shape, np.float32) * np.float32(0.02)
            file.write((numbers + np.float32("layer_norm.weight" in name)).astype(np.float16).tobytes())
    described = {
        "model_type": "whisper",
        "num_mel_bins": bands,
        "vocab_size": words,
        "d_model": hidden,
        "max_source_positions": 1500,
        "encoder_layers": layers,
        "encoder_attention_heads": heads,
        "max_target_positions": 448,
        "decoder_layers": text_layers,
        "decoder_attention_heads": heads,
    }
    (folder / "config.json").write_text(json.dumps(described), "utf-8")  # last: says that the rest is whole


def tensors(config: WhisperConfig) -> dict[str, tuple[int, ...]]:
    """Gives the shape of every tensor by its name in transformers."""
    hidden = config.hidden
    found: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (hidden, config.bands, 3),
        "encoder.conv1.bias": (hidden,),
        "encoder.conv2.weight": (hidden, hidden, 3),
        "encoder.conv2.bias": (hidden,),
        "encoder.embed_positions.weight": (config.places, hidden),
        "decoder.embed_positions.weight": (config.text_places, hidden),
        "decoder.embed_tokens.weight": (config.words, hidden),
    }
    for side, layers, attentions in (
        ("encoder", config.layers, ["self_attn"]),
        ("decoder", config.text_layers, ["self_attn", "encoder_attn"]),
    ):
        norms = [f"{side}.layer_norm"]
        for at in (f"{side}.layers.{number}" for number in range(layers)):
            norms += [f"{at}.final_layer_norm", *(f"{at}.{attention}_layer_norm" for attention in attentions)]
            for product in (f"{at}.{attention}.{part}_proj" for attention in attentions for part in "qkv"):
                found |= {f"{product}.weight": (hidden, hidden), f"{product}.bias": (hidden,)}
                if product.endswith("k_proj"):
                    del found[f"{product}.bias"]
            for attention in attentions:
                found |= {
                    f"{at}.{attention}.out_proj.weight": (hidden, hidden),
                    f"{at}.{attention}.out_proj.bias": (hidden,),
                }
            found |= {f"{at}.fc1.weight": (4 * hidden, hidden), f"{at}.fc1.bias": (4 * hidden,)}
            found |= {f"{at}.fc2.weight": (hidden, 4 * hidden), f"{at}.fc2.bias": (hidden,)}
        found |= {f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")}
    return {f"model.{name}": shape for name, shape in found.items()}


if __name__ == "__main__":
    sys.exit(main())
