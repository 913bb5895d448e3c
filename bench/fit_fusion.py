"""Fits the weights of search/fuse.py and search/words.py, on texts that are not the benchmark.

    python bench/fit_fusion.py en.json ru.json …

Each file holds ``{"passages": [{"id", "title", "text"}], "questions": [{"question", "passages": [id, …]}]}``; ours
came from the training half of SQuAD 1.1 and TyDi QA's gold passages, with the noise of OCR added. For every question
all that recall would score is scored once, in its parts; then the weights are tried on a grid. Prints recall@1 and the
mean reciprocal rank for each language, and the weights that serve both best.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pomnit.governor import spaces
from pomnit.memory import Memory
from pomnit.search import fuse, vectors, words
from pomnit.search.query import understand
from pomnit.settings import Settings

GRAMS = (0.2, 0.3, 0.35, 0.4, 0.5)
SHARES = (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
SAME = (0.0, 0.04, 0.08)
Scored = tuple[np.ndarray, np.ndarray]  # parts (n, 4): bm25, grams, vector or nan, same language; right or not (n,)


def main() -> int:
    """Runs the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--questions", type=int, default=700, help="per file")
    arguments = parser.parse_args()
    data = {path.stem: json.loads(path.read_text("utf-8")) for path in arguments.files}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(home=Path(folder) / "home", key="file", key_dir=Path(folder) / "key")
        with Memory.open(settings=settings) as memory:
            names = remember(memory, Path(folder) / "texts", data)
            scored = {name: score_all(memory, d["questions"][: arguments.questions], names) for name, d in data.items()}
    table = []
    for grams, share, same in itertools.product(GRAMS, SHARES, SAME):
        figures = {name: evaluate(s, grams, share, same) for name, s in scored.items()}
        table.append((sum(mrr for _, mrr in figures.values()), grams, share, same, figures))
    now = (words.GRAMS, fuse.VECTOR_SHARE, fuse.SAME_LANGUAGE)
    print(f"{'grams':>6} {'share':>6} {'same':>6}  " + "  ".join(f"{name:>18}" for name in scored))
    for _, grams, share, same, figures in sorted(table, key=lambda row: -row[0])[:12]:
        line(grams, share, same, figures)
    print("in the code now:")
    line(*now, {name: evaluate(s, *now) for name, s in scored.items()})
    return 0


def line(grams: float, share: float, same: float, figures: dict[str, tuple[float, float]]) -> None:
    """Prints one row: the weights, then recall@1 / mean reciprocal rank of each file."""
    print(f"{grams:6.2f} {share:6.2f} {same:6.2f}  " + "  ".join(f"{r:8.4f} / {m:7.4f}" for r, m in figures.values()))


def remember(memory: Memory, folder: Path, data: dict[str, Any]) -> dict[str, str]:
    """Adds every passage as a text file; gives the passage's id by the item's id."""
    ids = {}
    for name, d in data.items():
        (folder / name).mkdir(parents=True)
        for passage in d["passages"]:
            path = folder / name / f"{passage['id']}.txt"
            path.write_text(passage["text"] + "\n", "utf-8")
            ids[passage["id"]] = passage["id"]
    memory.add([folder])
    rows = [row for (row,) in memory._store.database.rows("SELECT id FROM item")]
    return {item.id: item.title for item in memory._store.items.records(rows).values()}


def score_all(memory: Memory, questions: list[dict[str, Any]], names: dict[str, str]) -> list[Scored]:
    """Gives the parts of every candidate of every question."""
    return [score(memory, q["question"], set(q["passages"]), names) for q in questions]


def score(memory: Memory, question: str, right: set[str], names: dict[str, str]) -> Scored:
    """Gives the parts of the candidates of one question, as recall gathers them."""
    store = memory._store
    query, card = understand(question), spaces.searched(store, memory._governor).card
    leg = words.WordsLeg(store, query)
    rows = set(leg.gather(None))
    cosines = near(memory, query.text, rows) if query.lang in card.languages else {}
    candidates = store.items.candidates(sorted(rows | set(cosines)))
    records = store.items.records([c.item for c in candidates])
    parts, hit = np.full((len(candidates), 4), np.nan), np.zeros(len(candidates), bool)
    for i, c in enumerate(candidates):
        parts[i, :2] = leg._scorer.parts(c.text, c.title)
        if c.row in cosines:
            parts[i, 2] = fuse.vector_score(cosines[c.row], card.cosines)
        parts[i, 3] = c.lang == query.lang
        hit[i] = names[records[c.item].id] in right
    return parts, hit


def near(memory: Memory, text: str, rows: set[int]) -> dict[int, float]:
    """Gives the cosines of the nearest passages and of those already found."""
    store = memory._store
    used = spaces.searched(store, memory._governor)
    if used.space is None:
        return {}
    with memory._governor.encoder(used.variant) as encoder:
        vector = encoder.encode([text], query=True)[0]
    least = vectors.noise(used.card.cosines)
    found = vectors.nearest(store, memory._sign_codes(), used.space.id, vector, least=least)
    rest = np.array(sorted(rows - set(found)), np.int64)
    more = zip(*store.vectors.cosines(used.space.id, rest.tolist(), vector), strict=True)
    return found | {int(row): float(cosine) for row, cosine in more}


def evaluate(scored: list[Scored], grams: float, share: float, same: float) -> tuple[float, float]:
    """Gives recall@1 and the mean reciprocal rank of some weights."""
    first = reciprocal = 0.0
    for parts, hit in scored:
        if not hit.any():
            continue
        by_words = (1 - grams) * parts[:, 0] + grams * parts[:, 1]
        fused = by_words
        if not np.isnan(parts[:, 2]).all():  # the leg ran: as fuse() does
            unknown = np.minimum(by_words, fuse.UNKNOWN)
            fused = (1 - share) * by_words + share * np.where(np.isnan(parts[:, 2]), unknown, parts[:, 2])
        fused = fused + same * parts[:, 3]
        rank = int((fused > fused[hit].max()).sum()) + 1
        first += rank == 1
        reciprocal += 1 / rank
    return first / len(scored), reciprocal / len(scored)


if __name__ == "__main__":
    sys.exit(main())
