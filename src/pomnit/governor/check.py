"""Whether a model does its job here: a verdict on what it did with its golden texts.

It is measured in a process of its own, and the same weights in 32 bits in another one, so that neither is in the
figures of the other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pomnit.governor.estimate import resident
from pomnit.governor.machine import machine
from pomnit.governor.measure import Run, languages, run
from pomnit.models import hub
from pomnit.models.cards import EncoderCard, RerankerCard, Variant
from pomnit.models.golden import PAIRS
from pomnit.records import Lang, ModelCheck
from pomnit.settings import Settings
from pomnit.store.disk import make_private

_AGREE = {4: 0.90, 6: 0.98, 8: 0.985, 16: 0.999}  # mean agreement with 32 bits, by bits; below it is a warning
_TERMS_AGREE = 0.9  # the same for the weights of tokens
_PUBLISHED = 1e-3  # difference of a number in 32 bits from the publisher's; ours are within 1e-5
_ENOUGH_RIGHT, _FEW_RIGHT = 0.8, 0.5  # of the questions: below the first a warning, below the second a problem
_GROWTH = (8 << 20, 0.05)  # memory not given back: that of allocators, and a part of the model's own


def check(variant: Variant, settings: Settings, rounds: int) -> ModelCheck:
    """Gives what a model does here: agreement, right answers, times and memory, with a verdict.

    Raises:
        EngineError: and those below it: it cannot be loaded or run.
    """
    measured = run(variant, settings, rounds)
    exact, why = (measured, "") if variant.bits == 32 else _exact(variant, settings)
    agreement = terms = published = None
    if exact is not None:
        published = _from_published(variant, exact)
    if exact is not None and variant.bits != 32:
        agreement, terms = _agreement(variant, measured, exact), _terms_agreement(measured, exact)
    found = ModelCheck(
        name=variant.name,
        verdict="ok",
        findings=(why,) if why else (),
        agreement_mean=agreement[0] if agreement else None,
        agreement_least=agreement[1] if agreement else None,
        terms_agreement=terms,
        published=published,
        right={lang: _right(variant, measured, lang) for lang in languages(variant.card)},
        asked={lang: len(PAIRS[lang]) for lang in languages(variant.card)},
        load_ms=measured.load_ms,
        first_ms=measured.first_ms,
        tokens_s=measured.tokens_s,
        program_bytes=measured.program,
        resident_bytes=measured.resident,
        mapped_bytes=measured.mapped,
        peak_bytes=measured.peak,
        growth_bytes=measured.growth,
        rounds=rounds,
    )
    problems, warnings = list(_problems(found)), list(_warnings(found, variant.bits))
    return dataclasses.replace(
        found,
        verdict="problem" if problems else "warning" if warnings else "ok",
        findings=(*problems, *warnings, *found.findings),
    )


def _problems(found: ModelCheck) -> Iterator[str]:
    if found.published is not None and found.published > _PUBLISHED:
        yield "in 32 bits its numbers are not those of the publisher's own program"
    for lang, number in found.right.items():
        if number < _FEW_RIGHT * found.asked[lang]:
            yield f"{lang}: only {number} of {found.asked[lang]} questions find their own answer"


def _warnings(found: ModelCheck, bits: int) -> Iterator[str]:
    if found.agreement_mean is not None and found.agreement_mean < _AGREE[bits]:
        yield f"it agrees less with 32 bits than {_AGREE[bits]}"
    if found.terms_agreement is not None and found.terms_agreement < _TERMS_AGREE:
        yield f"its weights of words agree less with 32 bits than {_TERMS_AGREE}"
    for lang, number in found.right.items():
        if _FEW_RIGHT * found.asked[lang] <= number < _ENOUGH_RIGHT * found.asked[lang]:
            yield f"{lang}: only {number} of {found.asked[lang]} questions find their own answer"
    if found.growth_bytes > _GROWTH[0] + _GROWTH[1] * max(found.resident_bytes - found.program_bytes, 0):
        yield f"{found.growth_bytes / 1e6:.0f} MB were not given back in {found.rounds} rounds"


def _exact(variant: Variant, settings: Settings) -> tuple[Run | None, str]:
    """Gives a run of the same weights in 32 bits; or None, and why there is none."""
    card, runtime = variant.card, variant.runtime
    if (
        runtime == "given"
        or hub.state(card, settings.models, settings.cache, runtime=runtime, bits=32).state != "ready"
    ):
        return None, "not compared with 32 bits: the published weights are not here"
    needed = resident(Variant(card, runtime, 32))
    if needed > machine().total / 2:
        return None, f"not compared with 32 bits: that takes {needed / 1e9:.0f} GB of memory"
    make_private(settings.cache)
    if 4 * card.parameters > shutil.disk_usage(settings.cache).free / 2:
        return None, f"not compared with 32 bits: that takes {4 * card.parameters / 1e9:.0f} GB of disk for a while"
    with tempfile.TemporaryDirectory(dir=settings.cache, prefix="check-") as folder:
        aside = dataclasses.replace(settings, cache=Path(folder))  # what is built for it goes with it
        return run(Variant(card, runtime, 32), aside, 0), ""


def _agreement(variant: Variant, measured: Run, exact: Run) -> tuple[float, float]:
    """Gives the mean and the least agreement with 32 bits, 1 at most."""
    import numpy as np

    one, other = np.array(measured.outputs), np.array(exact.outputs)
    encoder = isinstance(variant.card, EncoderCard)
    agreement = (one * other).sum(axis=1) if encoder else 1 - np.abs(one - other)
    return round(float(agreement.mean()), 6), round(float(agreement.min()), 6)


def _terms_agreement(measured: Run, exact: Run) -> float | None:
    """Gives the mean cosine of the weights of tokens with those in 32 bits; None when the model gives none."""
    cosines = []
    for one, other in zip(measured.terms, exact.terms, strict=True):
        length = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
        cosines.append(sum(w * other.get(token, 0.0) for token, w in one.items()) / length if length else 0.0)
    return round(sum(cosines) / len(cosines), 6) if cosines else None


def _from_published(variant: Variant, exact: Run) -> float | None:
    """Gives the largest difference from the numbers in published.json; None when they do not hold this model."""
    import numpy as np

    published = json.loads(Path(__file__).parents[1].joinpath("models", "published.json").read_text("ascii"))
    if variant.card.name not in published:
        return None
    wanted = np.array(published[variant.card.name])
    return float(np.abs(np.array(exact.outputs)[:, : wanted.shape[1]] - wanted).max())


def _right(variant: Variant, measured: Run, lang: Lang) -> int:
    """Gives how many questions in a language have their own answer nearest, or scored highest."""
    import numpy as np

    outputs = np.array(measured.outputs)
    before = 0
    for each in languages(variant.card):
        number = len(PAIRS[each])
        if each == lang:
            break
        before += number
    else:
        return 0
    if isinstance(variant.card, RerankerCard):
        return int((outputs[before : before + number].argmax(axis=1) == 0).sum())
    half = len(outputs) // 2  # all questions, then all answers
    questions, answers = outputs[before : before + number], outputs[half + before : half + before + number]
    return int(((questions @ answers.T).argmax(axis=1) == np.arange(number)).sum())
