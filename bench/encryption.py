"""What encryption costs: ingest and search with it and without, in turns, in one run.

``python bench/encryption.py`` adds the same notes to fresh memories (the real encoder; then one that costs nothing, so
that storing alone is left), and asks the same questions of two memories of equal content, one of them in the clear.
Each round does both, in an order that changes; what is printed is the median of the rounds' ratios. Processor time is
beside the time of the clock: it bears other programs better.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from search import AsIf, Language, fill, languages, questions

from pomnit.engines.fake import FakeEncoder, FakeRecogniser
from pomnit.governor.leases import Governor
from pomnit.memory import Memory
from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD
from pomnit.privacy.keys import open_keys
from pomnit.settings import Settings
from pomnit.store import Store, database, originals

PLAIN = "plain"  # in the path of what is not encrypted
WORDS_OF_A_NOTE = 200
ASKED_INGEST, ASKED_SEARCH = 1.10, 1.20

Times = tuple[float, float]  # of the clock, and of the processor


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=300, help="in each round of ingest")
    parser.add_argument("--passages", type=int, default=50_000, help="of the memories that are searched")
    parser.add_argument("--questions", type=int, default=60, help="in each round of search")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", help="not used; the other benches take it")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, in_the_clear():
        rows = list(measure(Path(temporary), asked))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'':44}encrypted  in the clear   ratio   of processor time   asked")
    for row in rows:
        print(
            f"{row['what']:44}{row['encrypted']:9.3f} s {row['clear']:10.3f} s {row['ratio']:8.3f}"
            f" {row['ratio_cpu']:12.3f} {'':>10}<= {row['asked']:.2f}"
        )
    return 0


@contextmanager
def in_the_clear() -> Iterator[None]:
    """What lies below a folder PLAIN is written as it is: the pages of its database and its kept files."""
    unlock, seal, unseal = database.unlock, originals.Originals._seal, originals.Originals._unseal

    def opened(connection: Any, key: bytes) -> None:
        if PLAIN not in connection.filename:
            unlock(connection, key)

    def sealed(self: Any, name: str, pieces: Iterator[bytes]) -> Any:
        return pieces if PLAIN in str(self._folder) else seal(self, name, pieces)

    def unsealed(self: Any, name: str, data: bytes) -> Any:
        return [data] if PLAIN in str(self._folder) else unseal(self, name, data)

    database.unlock, originals.Originals._seal, originals.Originals._unseal = opened, sealed, unsealed
    try:
        yield
    finally:
        database.unlock, originals.Originals._seal, originals.Originals._unseal = unlock, seal, unseal


def measure(folder: Path, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Gives a row for each kind of work."""
    notes = write_notes(folder / "notes", asked.notes)
    settings = {kind: settings_of(folder, kind) for kind in ("encrypted", PLAIN)}
    governor = Governor(settings["encrypted"])
    with governor.encoder(governor.variant(CARD)) as real:
        for name, encoder in (("the real encoder", real), ("an encoder that costs nothing", FakeEncoder(CARD))):
            engines = {"embed": Lasting(encoder), "recognise": FakeRecogniser(lambda _: [])}
            work = {kind: ingesting(where, notes, engines) for kind, where in settings.items()}
            yield row(f"ingest of {asked.notes} notes, {name}", in_turns(work, asked.rounds), ASKED_INGEST)
        for kind, where in settings.items():
            begins = (where.home / "memory.db").read_bytes()[:15]
            if (begins == b"SQLite format 3") != (kind == PLAIN):
                raise RuntimeError(f"the memory that is {kind} is not")
        yield search_row(folder / "searched", asked, real)


def search_row(folder: Path, asked: argparse.Namespace, real: Any) -> dict[str, Any]:
    """Gives the row of searches in two memories of equal content."""
    memories, searches = [], {}
    wanted = list(questions(asked.questions * (asked.rounds + 1)))
    for kind in ("encrypted", PLAIN):
        settings = settings_of(folder, kind)
        make(settings, asked.passages)
        memories.append(Memory.open(settings=settings, engines={"embed": AsIf(real, asked.passages)}))
        searches[kind] = searching(memories[-1], wanted, iter(range(asked.rounds + 1)), asked.questions)
        searches[kind]()  # warm: the signs are in memory, the frequent words are known
    found = in_turns(searches, asked.rounds)
    for memory in memories:
        memory.close()
    return row(f"{asked.questions} questions to {asked.passages} passages", found, ASKED_SEARCH)


class Lasting:
    """An encoder that many memories use one after the other."""

    def __init__(self, encoder: Any) -> None:
        self.card, self.encode = encoder.card, encoder.encode

    def close(self) -> None:
        """Does nothing: there is a next memory."""


def in_turns(work: dict[str, Callable[[], Times]], rounds: int) -> list[tuple[Times, Times]]:
    """Gives the times of each round: encrypted, in the clear."""
    found = []
    for number in range(rounds):
        order = ["encrypted", PLAIN] if number % 2 else [PLAIN, "encrypted"]
        times = {kind: work[kind]() for kind in order}
        found.append((times["encrypted"], times[PLAIN]))
    return found


def row(what: str, rounds: list[tuple[Times, Times]], asked: float) -> dict[str, Any]:
    """Gives the medians."""
    middle = statistics.median
    return {
        "what": what,
        "encrypted": middle(one[0] for one, _ in rounds),
        "clear": middle(other[0] for _, other in rounds),
        "ratio": middle(one[0] / other[0] for one, other in rounds),
        "ratio_cpu": middle(one[1] / other[1] for one, other in rounds),
        "ratios": [round(one[0] / other[0], 3) for one, other in rounds],
        "asked": asked,
    }


def settings_of(folder: Path, kind: str) -> Settings:
    """Gives the settings of one memory."""
    return Settings.load(home=folder / kind / "home", key="file", key_dir=folder / kind / "keys")


def write_notes(folder: Path, n: int) -> Path:
    """Writes notes in both languages."""
    folder.mkdir()
    spoken, rng = languages(), np.random.default_rng(3)
    for i in range(n):
        language: Language = spoken["ru" if i % 2 else "en"]
        ranks, forms = language.draw(rng, WORDS_OF_A_NOTE), rng.integers(0, 4, WORDS_OF_A_NOTE)
        words = [language.words[r][f] for r, f in zip(ranks, forms, strict=True)]
        (folder / f"{i}.txt").write_text(" ".join(words) + ".\n", "utf-8")
    return folder


def ingesting(settings: Settings, notes: Path, engines: dict[str, Any]) -> Callable[[], Times]:
    """Gives the work of adding all notes to a fresh memory."""

    def work() -> Times:
        shutil.rmtree(settings.home, ignore_errors=True)
        with Memory.open(settings=settings, engines=engines) as memory:
            began, cpu = time.perf_counter(), time.process_time()
            report = memory.add([notes], copy=True)
            took = time.perf_counter() - began, time.process_time() - cpu
        if report.failed or not report.new:
            raise RuntimeError(f"{report.failures[:3]}")
        return took

    return work


def make(settings: Settings, n: int) -> None:
    """Makes a memory of ``n`` passages."""
    keys = open_keys(settings)
    store = Store(settings.home, keys.database, keys.files)
    fill(store, n)
    store.shrink()
    store.close()


def searching(memory: Memory, asked: list[str], rounds: Iterator[int], n: int) -> Callable[[], Times]:
    """Gives the work of asking the next ``n`` questions."""

    def work() -> Times:
        at = next(rounds) * n
        began, cpu = time.perf_counter(), time.process_time()
        for question in asked[at : at + n]:
            memory.search(question)
        return time.perf_counter() - began, time.process_time() - cpu

    return work


if __name__ == "__main__":
    raise SystemExit(main())
