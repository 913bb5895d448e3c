"""What a model does in a process of its own: outputs for the golden texts, times, memory.

``python -m pomnit.governor.measure`` is that process: a JSON object on its standard input says what to load, one on its
standard output says what was found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pomnit import errors
from pomnit.engines.onnx_silent import SILENT
from pomnit.errors import EngineError
from pomnit.governor.choose import Chooser
from pomnit.governor.machine import taken
from pomnit.governor.plans import Plan
from pomnit.models.cards import TOKENIZER, EncoderCard, RerankerCard, TextCard, Variant
from pomnit.models.golden import PAIRS, Pair
from pomnit.records import Lang
from pomnit.settings import Settings

_KINDS: dict[str, Callable[..., TextCard]] = {"embed": EncoderCard, "rerank": RerankerCard}
_PASSED = ("models", "cache", "runtime", "threads")  # settings that matter to an engine
_LIBRARIES = {"onnx": ("onnxruntime", "tokenizers"), "mlx": ("mlx.core", "mlx.nn", "tokenizers")}
_LONG_ENOUGH = 1000.0  # ms of running, for a speed
_LIMIT = 3600.0  # seconds
_CHOICES = 4  # answers that a reranker chooses from, its own first


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What one process measured. Times in ms, memory in bytes."""

    outputs: list[list[float]]  # of an encoder a vector for each text, of a reranker the scores of each question
    terms: list[dict[str, float]]  # of an encoder that weighs tokens: those of each text
    load_ms: float
    first_ms: float
    tokens_s: float
    program: int
    resident: int
    mapped: int
    peak: int
    growth: int


def run(variant: Variant, settings: Settings, rounds: int) -> Run:
    """Gives what a process of its own measured; ``rounds`` of loading and closing show what is not given back.

    Raises:
        EngineError: and those below it, as the engine in that process raised them.
    """
    request = {
        "job": "embed" if isinstance(variant.card, EncoderCard) else "rerank",
        "card": dataclasses.asdict(variant.card),
        "runtime": variant.runtime,
        "bits": variant.bits,
        "rounds": rounds,
        "settings": {name: str(getattr(settings, name)) for name in _PASSED},
    }
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],  # -P: the working folder is not searched for code
            check=False,
            env=os.environ | SILENT | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{variant.name}: not checked within {_LIMIT / 60:.0f} minutes") from None
    try:
        answer = json.loads(done.stdout.rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        raise EngineError(f"{variant.name}: the process that checks it ended with {done.returncode}: {last}") from None
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return Run(**answer)


def languages(card: TextCard) -> list[Lang]:
    """Gives the languages of the golden texts that a model knows, in the order in which they are run."""
    return [lang for lang in PAIRS if lang in card.languages]


def measure(variant: Variant, settings: Settings, rounds: int) -> Run:
    """Gives what a model does in this process, which should have done nothing else before.

    Raises:
        EngineError: and those below it.
    """
    plan, tokens = _get_ready(variant, settings)
    program = taken().resident
    began = time.perf_counter()
    with contextlib.closing(plan.make()) as engine:
        load_ms = _since(began)
        began = time.perf_counter()
        _outputs(variant.card, engine, 1)
        first_ms = _since(began)
        began, times = time.perf_counter(), 1
        outputs = _outputs(variant.card, engine)
        while _since(began) < _LONG_ENOUGH:
            _outputs(variant.card, engine)
            times += 1
        spent, now = _since(began), taken()
        terms = _terms(variant.card, engine)
    return Run(
        outputs=[[round(float(number), 7) for number in row] for row in outputs],
        terms=terms,
        load_ms=round(load_ms, 1),
        first_ms=round(first_ms, 2),
        tokens_s=round(times * tokens / spent * 1000, 1),
        program=program,
        resident=now.resident,
        mapped=now.mapped,
        growth=_growth(plan, variant.card, rounds),
        peak=max(now.highest, taken().highest),
    )


def _get_ready(variant: Variant, settings: Settings) -> tuple[Plan, int]:
    """Gives how the engine is made, and the number of tokens of the golden texts, after all that is not loading:
    building, importing.

    Raises:
        EngineMissing, ModelDamaged.
    """
    plan = Chooser(settings).plan(variant)
    assert plan.folder is not None
    job = "encoder" if plan.job == "embed" else "reranker"
    for name in (*_LIBRARIES[plan.kind], f"pomnit.engines.{job}_{plan.kind}"):
        importlib.import_module(name)
    return plan, _tokens(variant.card, plan.folder)


def _tokens(card: TextCard, folder: Path) -> int:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    if isinstance(card, EncoderCard):
        return sum(len(tokenizer.encode(text)) for lang in languages(card) for pair in PAIRS[lang] for text in pair)
    return sum(len(tokenizer.encode(question, text)) for question, texts in _choices(languages(card)) for text in texts)


def _outputs(card: TextCard, engine: Any, most: int | None = None) -> Any:
    """Gives the rows of Run.outputs; only those of the first question or answers with ``most`` = 1."""
    import numpy as np

    if isinstance(card, RerankerCard):
        return np.stack([engine.score(question, texts) for question, texts in _choices(languages(card))[:most]])
    chosen: Sequence[Pair] = [pair for lang in languages(card) for pair in PAIRS[lang]][:most]
    questions = engine.encode([question for question, _ in chosen], query=True)
    if most == 1:
        return questions
    return np.concatenate([questions, engine.encode([answer for _, answer in chosen])])


def _terms(card: TextCard, engine: Any) -> list[dict[str, float]]:
    """Gives the weights of the tokens of each text, where the model gives any; JSON has strings for keys."""
    if not isinstance(card, EncoderCard) or not card.sparse:
        return []
    _, found = engine.encode_terms([text for lang in languages(card) for pair in PAIRS[lang] for text in pair])
    return [{str(token): round(weight, 6) for token, weight in terms.items()} for terms in found]


def _choices(known: Sequence[Lang]) -> list[tuple[str, list[str]]]:
    """Gives each question with its own answer and the next ones in the same language."""
    found = []
    for lang in known:
        answers = [answer for _, answer in PAIRS[lang]]
        for i, (question, _) in enumerate(PAIRS[lang]):
            found.append((question, (answers[i:] + answers[:i])[:_CHOICES]))
    return found


def _growth(plan: Plan, card: TextCard, rounds: int) -> int:
    """Gives how many bytes more are kept after the last round of loading, running and closing than after the second."""
    kept = []
    for _ in range(rounds):
        with contextlib.closing(plan.make()) as engine:
            _outputs(card, engine, 1)
        del engine
        gc.collect()
        now = taken()
        kept.append(now.resident - now.mapped)  # pages of files come and go as the system likes
    return kept[-1] - kept[1] if rounds > 2 else 0


def _since(began: float) -> float:
    """Gives the time since then in ms."""
    return (time.perf_counter() - began) * 1000


def main() -> int:
    """Does what standard input says; gives the exit code."""
    request = json.load(sys.stdin)
    card = _KINDS[request["job"]](**{k: tuple(v) if isinstance(v, list) else v for k, v in request["card"].items()})
    variant = Variant(card, request["runtime"], request["bits"])
    try:
        settings = Settings.load(environ={}, file=Path(os.devnull), **request["settings"])
        measured = measure(variant, settings, request["rounds"])
        answer = dataclasses.asdict(measured)
    except EngineError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write("\n" + json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
