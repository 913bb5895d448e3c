"""Makes encoder.json: the first numbers of what sentence-transformers gives for a dozen texts.

``python tests/golden/make_encoder.py FOLDER`` with the folder of all-MiniLM-L6-v2; needs torch and
sentence-transformers, which the tests themselves do not.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

NUMBERS = 8
WINDOW, OVERLAP = 256, 32  # tokens, as the encoder reads long texts
LONG = " ".join(
    f"On day {day} of the trip we counted {day * 7 % 31} boats, {day * 5 % 23} bridges and {day * 3 % 17} lighthouses."
    for day in range(1, 31)
)
TEXTS = [
    "",
    "   \n\t",
    "budget",
    "The meeting about the budget was moved to Thursday at 10:30.",
    "What did we decide about the new office in Berlin?",
    "Встречу о бюджете перенесли на четверг, на 10:30.",
    "Что мы решили про новый офис в Берлине?",
    "Скинь, пожалуйста, invoice за март до Friday, номер INV-2026/0042.",
    "def encode(texts): return [model(t) for t in texts]  # https://example.org/a?b=1&c=%20",
    "Naïve café façade: ﬁne print — “quoted” … 东京 🚀 ½",
    "a" * 300,
    "word " * 100,
    LONG,
]


def main(folder: str) -> None:
    """Writes the file beside this script."""
    model = SentenceTransformer(folder, device="cpu")
    texts = []
    for text in TEXTS:
        windows = split(model.tokenizer, text)
        vector = model.encode([text])[0] if len(windows) == 1 else pooled(model, windows)
        texts.append({"text": text, "windows": len(windows), "first": [round(float(n), 6) for n in vector[:NUMBERS]]})
    target = Path(__file__).with_name("encoder.json")
    target.write_text(json.dumps({"texts": texts}, ensure_ascii=False, indent=1) + "\n", "utf-8")


def split(tokenizer: Any, text: str) -> list[list[int]]:
    """Gives the tokens of each window, between a start and an end token."""
    inner = tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]
    room = WINDOW - 2
    starts = [0]
    while starts[-1] + room < len(inner):
        starts.append(starts[-1] + room - OVERLAP)
    ends = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[ends[0], *inner[start : start + room], ends[1]] for start in starts]


def pooled(model: Any, windows: list[list[int]]) -> Any:
    """Gives the mean of all tokens' states over all windows, of length 1: computed by transformers alone."""
    import torch

    with torch.no_grad():
        states = [model[0].auto_model(torch.tensor([ids])).last_hidden_state[0].numpy() for ids in windows]
    mean = np.concatenate(states).mean(axis=0)
    return mean / np.linalg.norm(mean)


if __name__ == "__main__":
    main(sys.argv[1])
