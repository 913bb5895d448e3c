"""Questions to answers: screenshots into one memory, every question asked; is the answer cited, shown, or not found?

``python bench/ask.py --data DIR`` prints the figures; DIR holds ``screens/``. The memory is kept in ``.bench/ask``, so
that the screens are recognised once. An answer counts as there when some run of words has a token F1 of 0.8 or more
with the given one (as SQuAD counts, "ё" as "е"). Then the screens of 200 questions are forgotten in a copy of the
memory, and those questions are asked again: the answer is not there any more, though others of the same article are.
``--speed`` asks in a memory of 100,000 passages (bench/search.py fills it) how long the first words take.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from pomnit.memory import Memory, name_of
from pomnit.records import Answer
from pomnit.search.sentences import sentences
from pomnit.settings import Settings

LANGUAGES = ("en", "ru")
KEPT = Path(__file__).resolve().parents[1] / ".bench" / "ask"
LEFT_OUT = 100  # questions of each language
FORGOTTEN = (1, 3)  # of each article's five screens
ENOUGH = 0.8  # token F1
Question = dict[str, str]
_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset(("a", "an", "the"))


def main() -> int:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds screens/")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only one half of the articles; 0 was fitted on")
    parser.add_argument("--speed", type=int, metavar="PASSAGES", help="how long it takes, among so many")
    parser.add_argument("--show", type=int, default=0, help="print so many of the questions that went wrong")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    asked = parser.parse_args()
    screens = asked.data / "screens"
    missing = [name for name in LANGUAGES if not (screens / f"{name}.questions.json").is_file()]
    if missing:
        print(f"{screens} lacks {missing[0]}.questions.json; name the data's folder with --data", file=sys.stderr)
        return 2
    if asked.speed:
        print(json.dumps(speed(asked.speed), indent=2))
        return 0
    given = {lang: questions(screens, lang, asked.half) for lang in LANGUAGES}
    with opened(KEPT, screens) as memory:
        rows = {lang: measure(memory, given[lang], asked.show) for lang in LANGUAGES}
    with tempfile.TemporaryDirectory() as folder, without(Path(folder)) as memory:
        for lang in LANGUAGES:
            rows[lang] |= {"not found, of those left out": not_found(memory, left_out(given[lang]), asked.show)}
    if asked.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        show(rows)
    return 0


def show(rows: dict[str, dict[str, float]]) -> None:
    """Prints the table."""
    print(f"{'':56}" + "".join(f"{lang:>10}" for lang in rows))
    for name in rows[LANGUAGES[0]]:
        print(f"{name:56}" + "".join(f"{row[name]:10.4f}" for row in rows.values()))


# The data


def questions(screens: Path, lang: str, half: int | None = None) -> list[Question]:
    """Gives the questions of a language; of one half of the articles, five screens each, when it is named."""
    found: list[Question] = json.loads((screens / f"{lang}.questions.json").read_text("utf-8"))
    return [q for q in found if half is None or number_of(q["screen"]) // 5 % 2 == half]


def number_of(screen: str) -> int:
    """Gives the number of a screen: that of its paragraph."""
    return int(screen[3:6])


def is_left_out(screen: str) -> bool:
    """Tells whether a screen is one of those that are forgotten."""
    return number_of(screen) % 5 in FORGOTTEN


def left_out(asked: Sequence[Question]) -> list[Question]:
    """Gives questions whose screens are forgotten, spread over all of them."""
    found = [q for q in asked if is_left_out(q["screen"])]
    step = max(1, len(found) // LEFT_OUT)
    return found[::step][:LEFT_OUT]


def opened(folder: Path, screens: Path | None = None) -> Memory:
    """Gives the kept memory, with the screens in it."""
    memory = Memory.open(settings=Settings.load(home=folder / "home", key="file", key_dir=folder / "key"))
    if screens is not None and sum(memory.status().items.get("image", {}).values()) < len(list(screens.glob("*.png"))):
        report = memory.add(sorted(screens.glob("*.png")))
        if report.failed or report.waiting:
            raise SystemExit(f"{report.failed} failed, {report.waiting} wait: {report.failures[:3]} {report.blocked}")
    return memory


def without(folder: Path) -> Memory:
    """Gives a copy of the kept memory in which some screens are forgotten."""
    shutil.copytree(KEPT, folder / "copy", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
    memory = opened(folder / "copy")
    rows = [row for (row,) in memory._store.database.rows("SELECT id FROM item")]
    records = memory._store.items.records(rows).values()
    memory.forget([item for item in records if is_left_out(Path(name_of(item)).name)])
    return memory


# Counting


def measure(memory: Memory, asked: Sequence[Question], n_shown: int) -> dict[str, float]:
    """Gives the shares of the questions whose answer is cited, shown, or wrongly not found; and those of plain ways."""
    counts: Counter[str] = Counter()
    took = []
    for q in asked:
        answer = memory.ask(q["question"], answerer="extractive")
        took.append(answer.first_ms)
        cited = any(holds(c.passage.text, q["answer"]) for c in answer.citations)
        shown = holds(answer.text, q["answer"]) if not answer.abstained else False
        counts["the answer is in the cited passages"] += cited
        counts["the answer is in the shown sentences"] += shown
        counts["wrongly not found"] += answer.abstained
        counts["the best hit's first sentence"] += holds(first_sentence(memory, q["question"]), q["answer"])
        counts["the best hit's snippet"] += holds(snippet(memory, q["question"]), q["answer"])
        counts["the best hit's passage"] += holds(passage(memory, q["question"]), q["answer"])
        counts["characters shown"] += len(answer.text)
        if n_shown > 0 and not (cited and shown):
            n_shown -= 1
            tell(q, answer, cited=cited)
    rows = {name: n / len(asked) for name, n in counts.items()}
    return rows | {"first words, ms, median": sorted(took)[len(took) // 2]}


def tell(q: Question, answer: Answer, *, cited: bool) -> None:
    """Prints a question that went wrong."""
    print(f"{q['screen']} {'cited' if cited else 'NOT CITED'} | {q['question']} | {q['answer']}")
    print(f"    {answer.text!r:.600}")


def not_found(memory: Memory, asked: Sequence[Question], n_shown: int) -> float:
    """Gives the share of questions that get "not found"."""
    answers = [(q, memory.ask(q["question"], answerer="extractive")) for q in asked]
    for q, answer in [pair for pair in answers if not pair[1].abstained][:n_shown]:
        tell(q, answer, cited=False)
    return sum(answer.abstained for _, answer in answers) / max(len(answers), 1)


def first_sentence(memory: Memory, question: str) -> str:
    """Gives the plain way: the first sentence of the best passage that has one of five words."""
    text = passage(memory, question)
    return next((text[a:b] for a, b in sentences(text) if len(text[a:b].split()) > 4), text)


def passage(memory: Memory, question: str) -> str:
    """Gives the text of the best passage."""
    hits = memory.search(question, limit=5)
    return hits[0].passages[0].text if hits else ""


def snippet(memory: Memory, question: str) -> str:
    """Gives the snippet of the best hit, without its marks."""
    hits = memory.search(question, limit=5)
    return re.sub("[⟦⟧]", "", hits[0].snippet) if hits else ""


def holds(text: str, answer: str) -> bool:
    """Tells whether some run of words of a text has a token F1 of 0.8 or more with an answer."""
    wanted, words = normal(answer), normal(text)
    n = len(wanted)
    if not n:
        return answer.strip() in text
    for length in range(max(1, int(n * ENOUGH / (2 - ENOUGH))), int(n * (2 - ENOUGH) / ENOUGH) + 1):
        for start in range(len(words) - length + 1):
            same = sum((Counter(words[start : start + length]) & Counter(wanted)).values())
            if 2 * same >= ENOUGH * (length + n) - 1e-9:
                return True
    return False


def normal(text: str) -> list[str]:
    """Gives the words of a text as they are compared."""
    return [w for w in _WORD.findall(text.lower().replace("ё", "е")) if w not in _ARTICLES]


# Speed


def speed(n: int) -> dict[str, Any]:
    """Gives how long the first words of an extractive answer take in a large memory, and how long a search takes."""
    import search as large

    from pomnit.governor.leases import Governor
    from pomnit.models.cards import ALL_MINILM_L6_V2 as CARD
    from pomnit.privacy.keys import open_keys
    from pomnit.store import Store

    folder = KEPT.parent / f"ask-{n}"
    settings = Settings.load(home=folder / "home", key="file", key_dir=folder / "key")
    if not (folder / "done").exists():
        keys = open_keys(settings)
        store = Store(settings.home, keys.database, keys.files)
        large.fill(store, n)
        store.shrink()
        store.close()
        (folder / "done").touch()
    asked = [f"{question}?" for question in large.questions(200)]
    governor = Governor(settings)
    with (
        governor.encoder(governor.variant(CARD)) as real,
        Memory.open(settings=settings, engines={"embed": large.AsIf(real, n)}) as memory,
    ):
        for question in asked[:40]:
            memory.ask(f"{question} warm", answerer="extractive")
        first: list[float] = []
        ask: Callable[[str], None] = lambda q: first.append(memory.ask(q, answerer="extractive").first_ms)  # noqa: E731
        return {
            "passages": n,
            "ask, ms": large.times(ask, asked),
            "first words, ms": {"p50": large.median(first), "p95": large.high(first)},
            "search, ms": large.times(memory.search, [f"{q} now" for q in asked]),
        }


if __name__ == "__main__":
    sys.exit(main())
