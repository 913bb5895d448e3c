"""The tiny random Whisper of tests/golden/models, and the sounds that transformers heard with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden" / "models" / "whisper-tiny-random"
RATE = 16_000


def expected() -> dict[str, Any]:
    """Gives what transformers gives; see golden/make_whisper.py."""
    return json.loads((FOLDER / "expected.json").read_text("utf-8"))


def sounds() -> dict[str, np.ndarray]:
    """Gives windows of up to 5 s, float32: by formula, so that none needs to be stored."""
    t = np.arange(5 * RATE) / RATE
    rising = 0.5 * np.sin(2 * np.pi * (200 * t + 350 * t**2)) * np.exp(-0.4 * t)
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 1.5 * t) > 0)
    noise = np.random.default_rng(5).uniform(-0.3, 0.3, len(t))
    return {
        name: np.asarray(samples, np.float32)
        for name, samples in {
            "rising": rising,
            "voice": 0.2 * voice[: 4 * RATE],
            "noise": noise[: 2 * RATE],
            "clipped": np.clip(3 * voice, -1, 1)[: 3 * RATE + 77],
            "quiet": 1e-4 * voice,
            "click": np.eye(1, 800, 400)[0],
            "silence": np.zeros(RATE),
        }.items()
    }
