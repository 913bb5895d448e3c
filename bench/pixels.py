"""From pixels to hit: screenshots into one empty memory, every question asked as typed, beside other ways to search.

``python bench/pixels.py --data DIR`` prints the tables; DIR holds ``screens/`` with ``en.questions.json`` and
``ru.questions.json``. A question counts as answered within k when its screen is among the first k items.

The other ways search the same recognised text: OpenRecall's method (the mean of the vectors of a screen's lines, cosine
over all), plain FTS5 (``unicode61``, any word), our legs alone, and plain reciprocal-rank fusion of those two.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apsw
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from pomnit import recall
from pomnit.engines.protocols import Encoder
from pomnit.memory import Memory, name_of
from pomnit.search import fuse, vectors
from pomnit.search.query import understand
from pomnit.settings import Settings

LANGUAGES = ("en", "ru")
DEPTH = 10
Search = Callable[[str], list[str]]  # a question -> names of screens, best first


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds screens/")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    asked = parser.parse_args()
    screens = asked.data / "screens"
    missing = [name for name in LANGUAGES if not (screens / f"{name}.questions.json").is_file()]
    if missing:
        print(
            f"{screens} does not hold {missing[0]}.questions.json; name the folder of the data with --data",
            file=sys.stderr,
        )
        return 2
    questions = {lang: json.loads((screens / f"{lang}.questions.json").read_text("utf-8")) for lang in LANGUAGES}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(home=Path(folder) / "home", key="file", key_dir=Path(folder) / "key")
        with Memory.open(settings=settings) as memory:
            ingest = remember(memory, screens)
            rows = compare(memory, questions)
        fresh = fresh_process(folder, questions["en"][0]["question"])
    if asked.json:
        print(json.dumps({"recall": rows, "ingest": ingest, "fresh": fresh}, ensure_ascii=False, indent=2))
    else:
        show(rows, ingest, fresh)
    return 0


def show(rows: list[dict[str, Any]], ingest: dict[str, float], fresh: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"{'':34}" + "".join(f"{lang:>9} @1      @5   MRR@10" for lang in LANGUAGES) + "   ms a question")
    for row in rows:
        cells = "".join(f"    {row[lang][0]:8.4f} {row[lang][1]:7.4f} {row[lang][2]:8.4f}" for lang in LANGUAGES)
        print(f"{row['way']:34}{cells} {row['ms']:12.1f}")
    print(
        f"\ningest: {ingest['images']:.0f} images in {ingest['seconds']:.1f} s = {ingest['rate']:.2f} images/s "
        f"({ingest['cpu']:.1f} s of CPU); recognition alone {ingest['ocr_rate']:.2f} images/s in the same run"
    )
    for name, (seconds, mib) in fresh.items():
        print(
            f"fresh process: {name:52} {seconds:6.2f} s {mib:6.0f} MiB"
            if seconds
            else f"fresh process: {name}: not here"
        )


# Ours


def default_encoder(memory: Memory) -> AbstractContextManager[Encoder]:
    """Gives the encoder of a new memory."""
    governor = memory._governor
    return governor.encoder(governor.variant(governor.default))


def remember(memory: Memory, screens: Path) -> dict[str, float]:
    """Adds the screens to the empty memory; gives how fast, beside recognition alone on a sample of them."""
    paths = sorted(screens.glob("*.png"))
    with default_encoder(memory) as encoder:  # the graph is built once per machine, not once per ingest
        encoder.encode(["warm"])
    memory._governor.unload()
    sample = paths[:: max(1, len(paths) // 40)]
    ocr_rate = len(sample) / recognise_only(memory, sample)
    cpu, began = cpu_seconds(), time.perf_counter()
    report = memory.add(paths)
    seconds = time.perf_counter() - began
    if report.failed or report.waiting:
        raise SystemExit(f"{report.failed} failed, {report.waiting} wait: {report.failures[:3]} {report.blocked}")
    cpu = cpu_seconds() - cpu
    return {"images": len(paths), "seconds": seconds, "rate": len(paths) / seconds, "cpu": cpu, "ocr_rate": ocr_rate}


def recognise_only(memory: Memory, paths: list[Path]) -> float:
    """Gives the seconds that decoding and recognising takes with as many threads as ingest uses."""
    from concurrent.futures import ThreadPoolExecutor

    from pomnit.readers.image import decode

    with memory._governor.recogniser() as recogniser, ThreadPoolExecutor(memory.settings.threads) as pool:

        def one(path: Path) -> None:
            recogniser.recognise(decode(path.read_bytes(), memory.settings.image_pixels))

        one(paths[0])
        began = time.perf_counter()
        list(pool.map(one, paths))
        seconds = time.perf_counter() - began
    memory._governor.unload()
    return seconds


def cpu_seconds() -> float:
    """Gives the CPU seconds of this process and its children so far."""
    return sum(
        r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def fused(memory: Memory) -> Search:
    """Gives the search that users have."""
    return lambda question: [Path(name_of(hit.item)).name for hit in memory.search(question, limit=DEPTH)]


def words_alone(memory: Memory) -> Search:
    """Gives our leg of words alone."""

    def search(question: str) -> list[str]:
        query = understand(question)
        leg = recall.WordsLeg(memory._store, query)
        candidates = memory._store.items.candidates(leg.gather(None))
        scored = {
            c.row: fuse.fuse(leg.score(c.text, c.title), None, ran=False, passage=c.lang, question=query.lang)
            for c in candidates
        }
        return by_score(memory, scored)

    return search


def vectors_alone(memory: Memory, encoder: Encoder) -> Search:
    """Gives the leg of vectors alone, whatever the language: nothing for what the encoder does not know."""
    current = memory._store.spaces.current()
    space = None if current is None else current.id

    def search(question: str) -> list[str]:
        if space is None:
            return []
        vector = encoder.encode([question], query=True)[0]
        least = vectors.noise(encoder.card.cosines)
        return by_score(memory, vectors.nearest(memory._store, memory._sign_codes(), space, vector, least=least))

    return search


def by_score(memory: Memory, scored: dict[int, float]) -> list[str]:
    """Gives the names of the items of scored passages, best first."""
    items = {c.row: c.item for c in memory._store.items.candidates(list(scored))}
    ordered = list(dict.fromkeys(items[row] for row in sorted(scored, key=lambda row: -scored[row])))[:DEPTH]
    records = memory._store.items.records(ordered)
    return [Path(name_of(records[item])).name for item in ordered]


# The others, on the same recognised text


def openrecall(texts: dict[str, str], encoder: Encoder) -> Search:
    """Gives OpenRecall's method: a screen is the mean of the vectors of its lines; cosine over all screens."""
    names = list(texts)
    lines = {name: [line for line in texts[name].split("\n") if line.strip()] or [" "] for name in names}
    matrix = np.stack([encoder.encode(lines[name]).mean(axis=0) for name in names])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return lambda question: [names[i] for i in np.argsort(-(matrix @ encoder.encode([question])[0]))[:DEPTH]]


def plain_fts(texts: dict[str, str]) -> Search:
    """Gives FTS5 as it comes: unicode61, any word of the question, bm25."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE plain USING fts5 (name UNINDEXED, text, tokenize = 'unicode61')")
    for name, text in texts.items():
        db.execute("INSERT INTO plain VALUES (?, ?)", (name, text))

    def search(question: str) -> list[str]:
        match = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
        sql = "SELECT name FROM plain WHERE plain MATCH ? ORDER BY bm25(plain) LIMIT ?"
        return [name for (name,) in db.execute(sql, (match, DEPTH))]

    return search


def rank_fusion(*ways: Search) -> Search:
    """Gives plain reciprocal-rank fusion (Cormack, Clarke and Büttcher 2009) with k = 60."""

    def search(question: str) -> list[str]:
        scores: dict[str, float] = {}
        for way in ways:
            for rank, name in enumerate(way(question), 1):
                scores[name] = scores.get(name, 0.0) + 1 / (60 + rank)
        return sorted(scores, key=lambda name: -scores[name])[:DEPTH]

    return search


# Counting


def compare(memory: Memory, questions: dict[str, list[dict[str, str]]]) -> list[dict[str, Any]]:
    """Gives a row for each way to search."""
    store = memory._store
    rows = store.database.rows("SELECT item, text FROM passage ORDER BY item, ordinal")
    records = store.items.records([item for item, _ in rows])
    texts: dict[str, str] = {}
    for item, text in rows:
        name = Path(name_of(records[item])).name
        texts[name] = f"{texts[name]}\n{text}" if name in texts else text
    with default_encoder(memory) as encoder:
        everything = openrecall(texts, encoder)
        ways = {
            "OpenRecall's method": everything,
            "FTS5 unicode61": plain_fts(texts),
            "our words alone": words_alone(memory),
            "our vectors alone": vectors_alone(memory, encoder),
            "plain rank fusion, blind": rank_fusion(words_alone(memory), everything),
        }
        others = [{"way": name} | measure(way, questions) for name, way in ways.items()]
    return [*others, {"way": "Pomnit"} | measure(fused(memory), questions)]  # it takes a lease of its own


def measure(way: Search, questions: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """Gives recall@1, recall@5 and the mean reciprocal rank at 10 for each language, and the median time in ms."""
    row: dict[str, Any] = {}
    took = []
    for lang, asked in questions.items():
        first = five = reciprocal = 0.0
        for q in asked:
            began = time.perf_counter()
            names = way(q["question"])
            took.append(time.perf_counter() - began)
            if q["screen"] in names:
                rank = names.index(q["screen"]) + 1
                first, five, reciprocal = first + (rank == 1), five + (rank <= 5), reciprocal + 1 / rank
        row[lang] = [round(x / len(asked), 4) for x in (first, five, reciprocal)]
    return row | {"ms": round(float(np.median(took)) * 1000, 2)}


# Fresh processes

_PEAK = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)
_LOAD = (
    "import sys; from sentence_transformers import SentenceTransformer as S; from pathlib import Path;"
    "from pomnit.models import cards, hub; from pomnit.settings import Settings; models = Settings.load().models;"
    "found = hub.find(cards.ALL_MINILM_L6_V2, models, Path(sys.argv[1]), runtime='onnx', bits=32); S(str(found.folder))"
)


def fresh_process(folder: str, question: str) -> dict[str, tuple[float, float]]:
    """Gives the median seconds and the peak MiB of ``pomnit search`` as a new process, and of loading the reference."""
    home = [sys.executable, "-m", "pomnit", "--home", f"{folder}/home", "search"]
    russian = "сколько это стоит"
    return {
        "pomnit search, English question": timed([*home, question], folder),
        "pomnit search, Russian question": timed([*home, russian], folder),
        "importing and loading sentence-transformers": timed([sys.executable, "-c", _LOAD, folder], folder),
    }


def timed(command: list[str], folder: str, rounds: int = 5) -> tuple[float, float]:
    """Gives the median seconds and the peak MiB of a command; zeros when it fails."""
    wrapped = [sys.executable, "-c", _PEAK]
    seconds = []
    environment = os.environ | {"POMNIT_KEY": "file", "POMNIT_KEY_DIR": f"{folder}/key"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1] / "src")
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, env=environment, capture_output=True, check=False)
        seconds.append(time.perf_counter() - began)
    done = subprocess.run([*wrapped, *command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return 0.0, 0.0
    return float(np.median(seconds)), int(done.stdout) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    sys.exit(main())
