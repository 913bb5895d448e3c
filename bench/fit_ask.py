"""Fits the weights of search/weights.py: two logistic models, one of sentences and one of whole answers.

    python bench/fit_ask.py --data DIR

It uses the questions of one half of the articles of ``screens/`` (as bench/ask.py keeps them); bench/ask.py --half 1
reports on the other. Sentences: every sentence of the evidence of a question, with whether it holds the answer. Whole
answers: each question as it is, and again with its own screen left out of the evidence, when nothing can be right.
Prints the weights, and what they give on the half that was not fitted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import ask as bench
from numpy.typing import NDArray

from pomnit import ask, recall
from pomnit.memory import Memory, name_of
from pomnit.search import evidence, judge, question

Floats = NDArray[np.float64]
L2 = 1e-3  # of the weights, against those that the data hardly tells
FIXED = {"around": 0.0, "asks": -2.0}  # of sentences: no gain; and no screen of the data shows questions
WRONGLY = 0.018  # of the questions that may be told "not found" although the answer is there, on the fitted half


@dataclass(frozen=True)
class Asked:
    """A question with the sentences of its evidence: what was counted, and whether each holds the answer."""

    fitted: bool  # of the half that is fitted
    lang: str
    judged: list[judge.Judged]
    right: NDArray[np.bool_]
    words_alone: bool
    left_out: bool  # its own screen is not in the evidence

    @property
    def counted(self) -> Floats:
        """What was counted of the sentences (n, len(judge.SENTENCE))."""
        return np.array([one.counted for one in self.judged], float)


def main() -> int:
    """Runs the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds screens/")
    parser.add_argument("--drop", nargs="*", default=[], help="what not to count, to see what it is worth")
    arguments = parser.parse_args()
    screens = arguments.data / "screens"
    with bench.opened(bench.KEPT, screens) as memory:
        data = [one for lang in bench.LANGUAGES for one in collect(memory, bench.questions(screens, lang), lang)]
    keep = np.array([name not in (*arguments.drop, *FIXED) for name in judge.SENTENCE], float)
    fitted = [one for one in data if one.fitted]
    sentence = fit_sentences([one for one in fitted if not one.left_out], keep)
    keep = np.array([name not in arguments.drop for name in judge.ANSWER], float)
    answers = [whole(one, sentence) for one in data]
    answer, thin = fit_answers([pair for pair, one in zip(answers, data, strict=True) if one.fitted], keep)
    print_weights("SENTENCE", judge.SENTENCE, sentence)
    print_weights("ANSWER", judge.ANSWER, answer)
    print(f"THIN = {thin:.3f}")
    shown(data, sentence)
    for half in (True, False):
        for lang in bench.LANGUAGES:
            report([o for o in data if o.fitted == half and o.lang == lang], sentence, answer, thin, half, lang)
    return 0


def collect(memory: Memory, questions: Sequence[bench.Question], lang: str) -> list[Asked]:
    """Gives the questions with what was counted, each also with its screen left out."""
    found = [collect_one(memory, q, lang, left_out=out) for q in questions for out in (False, True)]
    return [one for one in found if one.judged]


def collect_one(memory: Memory, q: bench.Question, lang: str, *, left_out: bool) -> Asked:
    """Gives one question with its sentences, as ask gathers them."""
    store = memory._store
    meaning = question.understand_question(q["question"], datetime.now(UTC))
    gathered = [
        recall.gathered(store, memory._governor, memory._sign_codes(), query, ask.GATHERED, lambda: False)
        for query in meaning.queries
    ]
    words_alone = not any(leg.name == "vectors" and leg.state == "ran" for leg in gathered[0].legs)
    ranked = ask._ranked(gathered)
    if left_out:
        ranked = without(memory, ranked, q["screen"])
    pieces = evidence.evidence(store, meaning.wanted, ranked)
    known = judge.Weights(meaning.wanted, store.words.frequencies, store.words.count())
    scores = {number: piece.score for number, piece in enumerate(pieces.pieces, 1)}
    judged = judge.judged(known, pieces.offered, scores)
    judged = [one for one in judged if not judge.says_little(pieces.piece(one.number).text[one.start : one.end])]
    right = [bench.holds(pieces.piece(one.number).text[one.start : one.end], q["answer"]) for one in judged]
    own = [Path(name_of(pieces.piece(one.number).item)).name[3:] == q["screen"][3:] for one in judged]
    fitted = bench.number_of(q["screen"]) // 5 % 2 == 0
    return Asked(fitted, lang, judged, np.array(right, bool) & np.array(own, bool), words_alone, left_out)


def without(memory: Memory, ranked: Sequence[evidence.Ranked], screen: str) -> list[evidence.Ranked]:
    """Gives the passages without those of a screen and of its translation."""
    store = memory._store
    items = {c.row: c.item for c in store.items.candidates([one.row for one in ranked])}
    records = store.items.records(list(items.values()))
    return [one for one in ranked if Path(name_of(records[items[one.row]])).name[3:] != screen[3:]]


def fit_sentences(data: Sequence[Asked], keep: Floats) -> Floats:
    """Gives the weights of sentences, the bias last: of each question the right ones against the others."""
    rows = np.concatenate([one.counted for one in data if one.right.any()]) * keep
    right = np.concatenate([one.right for one in data if one.right.any()])
    found = logistic(rows, right, balanced=False)
    for name, weight in FIXED.items():
        found[judge.SENTENCE.index(name)] = weight
    return found


def whole(one: Asked, sentence: Floats) -> tuple[Floats, bool]:
    """Gives what is counted of a whole answer, and whether its best three sentences hold the answer."""
    chances = sigmoid(with_one(one.counted) @ sentence)
    order = np.argsort(-chances, kind="stable")
    counted = judge.counted_of_answer(one.judged, chances.tolist(), int(order[0]), words_alone=one.words_alone)
    return np.array(counted), not one.left_out


def fit_answers(pairs: Sequence[tuple[Floats, bool]], keep: Floats) -> tuple[Floats, float]:
    """Gives the weights of whole answers, the bias last, and the chance below which nothing is answered."""
    rows, right = np.stack([row for row, _ in pairs]) * keep, np.array([answered for _, answered in pairs])
    weights_ = logistic(rows, right, balanced=True)
    chances = sigmoid(with_one(rows) @ weights_)
    return weights_, float(np.quantile(chances[right], WRONGLY))


def logistic(rows: Floats, right: NDArray[np.bool_], *, balanced: bool) -> Floats:
    """Gives the weights of a logistic model, the bias last, by Newton's method."""
    x, y = with_one(rows), right.astype(float)
    importance = np.where(right, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum())) if balanced else np.ones(len(y))
    found = np.zeros(x.shape[1])
    penalty = L2 * len(y) * np.eye(len(found))
    penalty[-1, -1] = 0
    for _ in range(50):
        p = sigmoid(x @ found)
        gradient = x.T @ (importance * (p - y)) + penalty @ found
        hessian = (x * (importance * p * (1 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(len(found))
        step = np.linalg.solve(hessian, gradient)
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    return found


def with_one(rows: Floats) -> Floats:
    """Gives rows with a last column of ones."""
    return np.hstack([rows, np.ones((len(rows), 1))])


def sigmoid(x: Floats) -> Floats:
    """Gives the logistic function."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def print_weights(name: str, of: Sequence[str], found: Floats) -> None:
    """Prints weights as search/weights.py holds them."""
    print(f"{name}_BIAS = {found[-1]:.2f}\n{name}_WEIGHTS: Mapping[str, float] = {{")
    for what, weight in zip(of, found, strict=False):
        print(f'    "{what}": {weight:.2f},')
    print("}")


def shown(data: Sequence[Asked], sentence: Floats) -> None:
    """Prints for shares of the best chance what is shown with each: how many sentences, and how often the answer."""
    for also in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        counts, right = [], []
        for one in (one for one in data if one.fitted and not one.left_out):
            chances = sigmoid(with_one(one.counted) @ sentence)
            order = np.argsort(-chances, kind="stable")[:3]
            order = order[chances[order] >= also * chances[order[0]]]
            counts.append(len(order))
            right.append(bool(one.right[order].any()))
        print(f"ALSO = {also:.1f}: {np.mean(counts):.2f} sentences, {np.mean(right):.4f} with the answer")


def report(data: Sequence[Asked], sentence: Floats, answer: Floats, thin: float, fitted: bool, lang: str) -> None:
    """Prints what weights give on a half."""
    top = {1: 0, 2: 0, 3: 0}
    asked = [one for one in data if not one.left_out]
    for one in asked:
        order = np.argsort(-(with_one(one.counted) @ sentence), kind="stable")
        for n in top:
            top[n] += bool(one.right[order[:n]].any())
    chances = {
        left_out: [sigmoid(np.append(whole(o, sentence)[0], 1) @ answer) for o in data if o.left_out == left_out]
        for left_out in (False, True)
    }
    print(
        f"{'fitted' if fitted else 'other'} half, {lang}: in the best 1, 2, 3 sentences "
        + ", ".join(f"{n / len(asked):.4f}" for n in top.values())
        + f"; wrongly not found {np.mean(np.array(chances[False]) < thin):.4f}"
        + f"; left out and not found {np.mean(np.array(chances[True]) < thin):.4f}"
    )


if __name__ == "__main__":
    sys.exit(main())
