"""A memory of 100,000 and of a million passages: how fast it answers, how well, and in how much room.

``python bench/search.py --passages 100000 --passages 1000000`` makes each memory anew (text of two languages after
Zipf's law, vectors in clusters), asks natural questions with frequent words in a warm process, with the encoding of
the query counted, and prints the figures beside plain FTS5, sqlite-vec and FAISS on the same data (the last two where
they are installed). ``--keep FOLDER`` keeps the memories for another run.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from pomnit.engines.protocols import Encoder
from pomnit.errors import Stopped
from pomnit.governor.leases import Governor
from pomnit.memory import Memory
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD
from pomnit.privacy.keys import open_keys
from pomnit.records import Original
from pomnit.search import vectors
from pomnit.settings import Settings
from pomnit.store import Store
from pomnit.store.words import TITLE_WEIGHT
from pomnit.text.split import PlacedText
from pomnit.text.times import from_seconds
from pomnit.text.words import stem

Floats = NDArray[np.float32]
WORDS_OF_A_PASSAGE = 110
CLUSTER = 200  # vectors that are near each other
DEPTH = 20
YEAR = 365 * 86400
START = 1_700_000_000
PRECISION = "given-32"  # that of engines that are handed in


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, action="append", help="size of a memory; may be given several times")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="folder for the memories")
    parser.add_argument("--data", help="not used; the other benches take it")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for n in asked.passages or [100_000]:
            folder = (asked.keep or Path(temporary)) / str(n)
            rows.append(bench(folder, n, asked.questions))
            if not asked.json:
                show(rows[-1])
    if asked.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    return 0


def show(row: dict[str, Any]) -> None:
    """Prints one memory's figures."""
    print(f"\n{row['passages']} passages, made in {row['made_s']:.0f} s")
    for name, value in row.items():
        if isinstance(value, dict):
            print(f"  {name:44}" + "  ".join(f"{k} {v:g}" for k, v in value.items()))
        elif name not in ("passages", "made_s"):
            print(f"  {name:44}{value:g}")


# The data


class Language:
    """Words after Zipf's law, made of syllables, each in several forms."""

    def __init__(self, letters: tuple[str, str], endings: tuple[str, ...], seed: int, n: int = 60_000) -> None:
        draw = random.Random(seed)
        made: dict[str, None] = {}
        while len(made) < n:
            made["".join(draw.choice(letters[0]) + draw.choice(letters[1]) for _ in range(draw.randint(2, 4)))] = None
        self.words = [[base + ending for ending in endings] for base in made]
        self.stems = [[stem(form) for form in forms] for forms in self.words]
        ranks = np.arange(1, n + 1)
        weights = 1 / (ranks + 2.7) ** 1.05
        self.cumulative = np.cumsum(weights / weights.sum())

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Gives the ranks of ``n`` words."""
        return np.minimum(np.searchsorted(self.cumulative, rng.random(n)), len(self.words) - 1)


def languages() -> dict[str, Language]:
    """Gives the two languages."""
    return {
        "en": Language(("bcdfglmnprstvw", "aeiou"), ("", "s", "ed", "ing"), 1),
        "ru": Language(("бвгдзклмнпрст", "аеиоу"), ("", "а", "ами", "ов"), 2),
    }


def centres(n: int) -> Floats:
    """Gives the middles of the clusters of ``n`` vectors (n / CLUSTER, dimensions), unit vectors."""
    rng = np.random.default_rng(7)
    return unit(rng.standard_normal((max(1, n // CLUSTER), CARD.dimensions)).astype(np.float32))


def unit(rows: Floats) -> Floats:
    """Gives rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(rng: np.random.Generator, middles: Floats, n: int) -> Floats:
    """Gives ``n`` unit vectors, each between two middles with noise of its own: neighbours of graded nearness."""
    a, b = middles[rng.integers(0, len(middles), n)], middles[rng.integers(0, len(middles), n)]
    mix = rng.random((n, 1), dtype=np.float32) * 0.4
    noise = rng.standard_normal((n, CARD.dimensions)).astype(np.float32) / np.sqrt(CARD.dimensions)
    return unit((1 - mix) * a + mix * b + 0.8 * noise)


def fill(store: Store, n: int) -> None:
    """Stores ``n`` passages, one to an item, with words and vectors, as ingest would but in large transactions."""
    spoken, rng = languages(), np.random.default_rng(5)
    middles = centres(n)
    space = None
    for first in range(0, n, 5000):
        count = min(5000, n - first)
        made = near(rng, middles, count)
        with store.transaction():
            if space is None:
                space = store.spaces.make(CARD.name, PRECISION, CARD.dimensions)
                store.spaces.make_current(space)
            rows = [one(store, spoken, rng, i) for i in range(first, first + count)]
            store.vectors.put(space.id, rows, made)


def one(store: Store, spoken: dict[str, Language], rng: np.random.Generator, i: int) -> int:
    """Stores one item with one passage; gives the passage's row."""
    lang = "ru" if i % 2 else "en"
    language = spoken[lang]
    length = int(rng.integers(WORDS_OF_A_PASSAGE // 2, WORDS_OF_A_PASSAGE * 3 // 2))
    ranks, forms = language.draw(rng, length), rng.integers(0, 4, length)
    text = " ".join(language.words[r][f] for r, f in zip(ranks, forms, strict=True))
    item = store.items.insert(
        Original(f"blake2b:{i:064x}", len(text), "image/png"),
        kind="note" if i % 100 == 0 else "image", title=f"picture {i}", time=from_seconds(START + i * YEAR / 1e6),
    )  # fmt: skip
    store.items.set_state([item], "ready")
    passage = store.items.add_passage(item, 0, PlacedText(text), "ru" if i % 2 else "en")
    stems = " ".join(language.stems[r][f] for r, f in zip(ranks, forms, strict=True))
    store.database.write("INSERT INTO words (rowid, stems, title) VALUES (?, ?, ?)", (passage, stems, f"pictur {i}"))
    return passage


def questions(n: int) -> Iterator[str]:
    """Gives natural questions: three or four very frequent words, two rarer ones; in both languages by turns."""
    spoken, rng = languages(), np.random.default_rng(11)
    for i in range(n):
        language = spoken["ru" if i % 2 else "en"]
        ranks = [*rng.integers(0, 60, rng.integers(3, 5)), *rng.integers(300, 20_000, 2)]
        yield " ".join(language.words[r][rng.integers(0, 4)] for r in rng.permutation(ranks))


class AsIf:
    """The real encoder, timed as it is, whose vector for a query is then replaced by one that has neighbours."""

    card = CARD

    def __init__(self, real: Encoder, n: int) -> None:
        self._real, self._rng, self._middles = real, np.random.default_rng(13), centres(n)
        self.last: Floats = np.empty((0, CARD.dimensions), np.float32)

    def encode(self, texts: list[str], *, query: bool = False) -> Floats:
        """Gives unit vectors near the clusters."""
        self._real.encode(texts, query=query)
        self.last = near(self._rng, self._middles, len(texts))
        return self.last

    def close(self) -> None:
        """Frees nothing: the governor owns the real one."""


# The measurements


def bench(folder: Path, n: int, n_questions: int) -> dict[str, Any]:
    """Makes a memory, if it is not kept, and measures it."""
    settings = Settings.load(home=folder / "home", key="file", key_dir=folder / "key", cache=folder.parent / "cache")
    made = 0.0
    if not (folder / "done").exists():
        began = time.perf_counter()
        keys = open_keys(settings)
        store = Store(settings.home, keys.database, keys.files)
        fill(store, n)
        store.shrink()
        store.close()
        (folder / "done").touch()
        made = time.perf_counter() - began
    governor = Governor(settings)
    with (
        governor.encoder(governor.variant(CARD)) as real,
        Memory.open(settings=settings, engines={"embed": AsIf(real, n)}) as memory,
    ):
        return measure(memory, n, n_questions, made)


def measure(memory: Memory, n: int, n_questions: int, made: float) -> dict[str, Any]:
    """Gives the figures of one memory."""
    asked = list(questions(n_questions))
    for question in questions(40):  # warm: the frequent words are known, the signs are in memory
        memory.search(question)
    row: dict[str, Any] = {"passages": n, "made_s": made}
    row["Pomnit, ms a question"] = times(memory.search, asked)
    row["  English (both legs)"] = times(memory.search, asked[::2])
    row["  Russian (words)"] = times(memory.search, asked[1::2])
    row["  with a filter that keeps 1 %"] = times(lambda q: memory.search(q, type="note"), asked)
    row["  with a filter that keeps half"] = times(lambda q: memory.search(q, after="2023-11-15"), asked)
    row["  recall@20 of the vector leg"] = vector_recall(memory, n, 100)
    row["  resident MiB"] = resident()
    row["  one durable insert, ms"] = inserts(memory, n)
    row["  a search stopped after 5 ms ends after, ms"] = stopped(memory, asked[:40])
    home = memory.settings.home
    row["  database, MB"] = (home / "memory.db").stat().st_size / 1e6
    row |= others(memory, n, asked)
    return row


def times(search: Callable[[str], Any], asked: list[str]) -> dict[str, float]:
    """Gives median and 95th percentile of the milliseconds a question takes, and of those of CPU among them."""
    took, worked = [], []
    for question in asked:
        began, cpu = time.perf_counter(), time.process_time()
        search(question)
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - cpu) * 1000)
    return {"p50": median(took), "p95": high(took), "CPU p50": median(worked), "CPU p95": high(worked)}


def median(values: list[float]) -> float:
    """Gives the median, to a tenth."""
    return round(statistics.median(values), 1)


def high(values: list[float]) -> float:
    """Gives the 95th percentile, to a tenth."""
    return round(sorted(values)[int(len(values) * 0.95)], 1)


def the_space(store: Store) -> int:
    """Gives the space that ``fill`` made."""
    space = store.spaces.current()
    assert space is not None
    return space.id


def vector_recall(memory: Memory, n_passages: int, n: int) -> float:
    """Gives how many of the exact twenty nearest are among the leg's first twenty."""
    store, codes = memory._store, memory._sign_codes()
    space = the_space(store)
    passages, _ = codes.get(space)
    queries = near(np.random.default_rng(17), centres(n_passages), n)
    best: list[list[tuple[float, int]]] = [[] for _ in range(n)]
    for first in range(0, len(passages), 50_000):
        ids, rows = store.vectors.fetch(space, passages[first : first + 50_000].tolist())
        cosines = queries @ rows.T
        for i in range(n):
            top = np.argpartition(-cosines[i], min(DEPTH, len(ids) - 1))[:DEPTH]
            best[i] = sorted([*best[i], *((float(cosines[i, t]), int(ids[t])) for t in top)], reverse=True)[:DEPTH]
    found = 0
    for i in range(n):
        leg = list(vectors.nearest(store, codes, space, queries[i]))[:DEPTH]
        found += len({passage for _, passage in best[i]} & set(leg))
    return round(found / (n * DEPTH), 4)


def resident() -> float:
    """Gives the resident memory of this process in MiB."""
    gc.collect()
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 1)


def inserts(memory: Memory, n: int) -> dict[str, float]:
    """Gives the milliseconds of durable inserts of one passage with words and vector, and of taking it away again."""
    store, spoken, rng = memory._store, languages(), np.random.default_rng(19)
    space = the_space(store)
    made, put, removed = near(rng, centres(n), 50), [], []
    top = 10**9 + int(store.database.value("SELECT max(id) FROM item"))
    for i in range(50):
        began = time.perf_counter()
        with store.transaction():
            row = one(store, spoken, rng, top + i)
            store.vectors.put(space, [row], made[i : i + 1])
        put.append((time.perf_counter() - began) * 1000)
        item = store.items.candidates([row])[0].item
        began = time.perf_counter()
        with store.transaction():
            store.remove_text(item)
            store.items.remove(item)
        removed.append((time.perf_counter() - began) * 1000)
    return {"insert p50": round(statistics.median(put), 2), "delete p50": round(statistics.median(removed), 2)}


def stopped(memory: Memory, asked: list[str]) -> dict[str, float]:
    """Gives how long a search goes on after it was told to stop: median and most."""
    late = []
    for question in asked:
        end = time.perf_counter() + 0.005
        try:
            memory.search(question + " again", cancelled=lambda end=end: time.perf_counter() > end)
        except Stopped:
            late.append((time.perf_counter() - end) * 1000)
    return {"p50": round(statistics.median(late), 1), "most": round(max(late), 1)} if late else {"none needed it": 0}


# The others, on the same data


def others(memory: Memory, n: int, asked: list[str]) -> dict[str, Any]:
    """Gives the times of the others."""
    store = memory._store
    row: dict[str, Any] = {}
    match = [" OR ".join(f'"{stem(w)}"' for w in question.split()) for question in asked[:40]]
    sql = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 1.0, ?) LIMIT 20"
    row["plain FTS5 over stems, any word, ms"] = times(lambda m: store.database.rows(sql, (m, TITLE_WEIGHT)), match)
    space = the_space(store)
    queries = [str(i) for i in range(20)]  # numbers of vectors
    made = near(np.random.default_rng(23), centres(n), 20)
    passages, _ = memory._sign_codes().get(space)
    if importlib.util.find_spec("faiss"):
        row["FAISS flat SQ8, vectors alone, ms"] = faiss_times(store, space, passages, made, queries)
    if importlib.util.find_spec("sqlite_vec"):
        row["sqlite-vec int8, vectors alone, ms"] = sqlite_vec_times(store, space, passages, made, queries)
    return row


def faiss_times(
    store: Store, space: int, passages: NDArray[np.int64], made: Floats, queries: list[str]
) -> dict[str, float]:
    """Gives the times of FAISS over 8-bit codes, one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexScalarQuantizer(CARD.dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    for first in range(0, len(passages), 50_000):
        _, rows = store.vectors.fetch(space, passages[first : first + 50_000].tolist())
        if not index.is_trained:
            index.train(rows)
        index.add(rows)
    return times(lambda q: index.search(made[int(q) : int(q) + 1], DEPTH), queries)


def sqlite_vec_times(
    store: Store, space: int, passages: NDArray[np.int64], made: Floats, queries: list[str]
) -> dict[str, float]:
    """Gives the times of sqlite-vec over int8 vectors."""
    import sqlite_vec

    db = apsw.Connection(":memory:")
    db.enable_load_extension(True)
    db.load_extension(sqlite_vec.loadable_path())
    db.execute(f"CREATE VIRTUAL TABLE v USING vec0 (e int8[{CARD.dimensions}])")
    for first in range(0, len(passages), 50_000):
        ids, rows = store.vectors.fetch(space, passages[first : first + 50_000].tolist())
        with db:
            coded = np.rint(rows * 127).astype(np.int8)
            values = ((int(i), c.tobytes()) for i, c in zip(ids, coded, strict=True))
            db.executemany("INSERT INTO v (rowid, e) VALUES (?, vec_int8(?))", values)
    coded = np.rint(made * 127).astype(np.int8)
    sql = "SELECT rowid FROM v WHERE e MATCH vec_int8(?) AND k = ?"
    return times(lambda q: db.execute(sql, (coded[int(q)].tobytes(), DEPTH)).fetchall(), queries)


if __name__ == "__main__":
    sys.exit(main())
