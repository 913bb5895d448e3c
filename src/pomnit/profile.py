"""What the work of this program, or of any other, does to a machine: seconds, memory, swap, pressure, processor.

::

    with profile("ocr") as p:
        …
        with p.stage("second half"):
            …
    print(p.table())

``run`` takes Pomnit's own stages one after the other, on samples that are part of it; ``command`` any program.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import resource
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import BinaryIO, Self, cast

import numpy as np

from pomnit.errors import NotFound, PomnitError, UsageError
from pomnit.governor.budget import detect
from pomnit.governor.environment import environment
from pomnit.governor.leases import Governor
from pomnit.governor.machine import machine
from pomnit.governor.recorder import Recorder, Running, worst_verdict
from pomnit.memory import Happening
from pomnit.models.cards import RerankerCard, Runtime, TextCard, Variant
from pomnit.models.golden import pairs
from pomnit.records import ProfileReport, Stage, Status, Verdict
from pomnit.settings import Settings

Progress = Callable[[Happening], None]

ROUNDS = 10
_PASSAGES, _CHARS = 16, 800  # texts of the embeddings, as long as passages are
_PAIRS = 12
_LONGEST_SAMPLE_S = 60
_PIECES = 20  # of an answer
_ENOUGH_WORDS, _FEW_WORDS = 0.8, 0.5  # of the sample's: below the first a warning, below the second a problem
_PATIENCE = 3.0  # seconds for a command to end by itself, after Ctrl-C and after being asked to
_TITLE = 60


# --------------------------------------------------------------------------------------------------- any block of code


class Profile:
    """Records a block and the stages inside it; made by ``profile``."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._recorder = Recorder(detect(machine(), settings.profile, settings.budget).bytes)
        self._name, self._inside = name, contextlib.ExitStack()
        self._names: list[str] = []

    def __enter__(self) -> Self:
        self._inside.enter_context(self._recorder)
        self._inside.enter_context(self.stage(self._name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inside.__exit__(kind, error, at)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Running]:
        """Records a part of the block too; its name follows those around it."""
        self._names.append(name)
        try:
            with self._recorder.stage(" / ".join(self._names)) as running:
                yield running
        finally:
            self._names.pop()

    @property
    def records(self) -> tuple[Stage, ...]:
        """What has ended, in the order in which it began."""
        return self._recorder.stages

    def table(self) -> str:
        """Gives the table of what has ended."""
        return "\n".join(table(self.records))


def profile(name: str, *, settings: Settings | None = None) -> Profile:
    """Gives a context manager that records its block: what this process and all that came from it took.

    Raises:
        UsageError: the settings do not fit.
    """
    return Profile(name, settings or Settings.load())


# -------------------------------------------------------------------------------------------------- the stages of ours


@dataclass(frozen=True, slots=True)
class InUse:
    """What the stages are to be run with."""

    governor: Governor
    encoder: Variant
    reranker: RerankerCard | None


Work = Callable[[InUse, Running], None]


def in_use(governor: Governor, status: Status | None) -> InUse:
    """Gives what a memory uses, by its status; what a new one would use where there is none."""
    encoder = governor.variant(governor.default)
    for space in status.spaces if status else ():
        card = governor.encoder_card(space.card)
        if space.state == "current" and card is not None:
            runtime, _, bits = space.precision.partition("-")
            kind: Runtime = "mlx" if runtime == "mlx" else "onnx"
            encoder = governor.variant(card) if runtime == "given" else Variant(card, kind, int(bits))
    reranker = governor.reranker_card(status.reranker) if status and status.reranker else None
    return InUse(governor, encoder, reranker)


def _ocr(use: InUse, running: Running) -> None:
    from PIL import Image

    samples = resources.files("pomnit") / "samples"
    words = (samples / "screen.txt").read_text("utf-8").split()
    with (samples / "screen.png").open("rb") as file, Image.open(file) as screen, use.governor.recogniser() as engine:
        lines = engine.recognise(screen)
    read = {word.text for line in lines for word in line.words}
    found = sum(word in read for word in words)
    running.note = f"{found} of {len(words)} words found on a screen of 1440 × 900"
    running.findings.clear()
    if found < _ENOUGH_WORDS * len(words):
        verdict: Verdict = "warning" if found >= _FEW_WORDS * len(words) else "problem"
        running.findings.append((verdict, f"only {found} of {len(words)} words were found"))


def _embeddings(use: InUse, running: Running) -> None:
    card = use.encoder.card
    texts = passages(card)
    with use.governor.encoder(use.encoder) as engine:
        engine.encode(texts)
    running.note = f"{len(texts)} passages of {_CHARS} characters, {use.encoder.name}"


def _reranking(use: InUse, running: Running) -> None:
    assert use.reranker is not None
    question, texts = "When does the train to Berlin leave?", passages(use.reranker)[:_PAIRS]
    with use.governor.reranker(use.reranker) as engine:
        engine.score(question, texts)
    running.note = f"{len(texts)} passages of {_CHARS} characters, {use.reranker.name}"


def _speech(use: InUse, running: Running) -> None:
    from pomnit.readers.sound import RATE, Sound

    with (
        (resources.files("pomnit") / "samples" / "speech.opus").open("rb") as file,
        Sound(cast("BinaryIO", file), "audio/ogg", _LONGEST_SAMPLE_S) as sound,
    ):
        window = np.concatenate(list(sound.blocks()))
    governor = use.governor
    with governor.transcriber(person=True) as engine:
        most = governor.batch(governor.budget.profile.speech_batch, engine.card.window_bytes)
        engine.transcribe([window] * most)
    seconds = len(window) / RATE
    running.note = f"{most} windows of {seconds:.0f} s together, {engine.card.name}"


def _vision(use: InUse, running: Running) -> None:
    from pomnit.engines.protocols import Asked, Picture

    screen = Picture((resources.files("pomnit") / "samples" / "screen.png").read_bytes(), "the sample")
    asked = Asked("What is this screen about?", "en", (), screen)
    with use.governor.answerer() as (answerer, _):
        said = list(itertools.islice(answerer.answer(asked), _PIECES))
    running.note = f"a screen of 1440 × 900 and {len(said)} pieces of what is said of it, {answerer.name}"


STAGES: dict[str, Work] = {
    "ocr": _ocr,
    "embeddings": _embeddings,
    "reranking": _reranking,
    "speech": _speech,
    "vision": _vision,
}


def run(
    settings: Settings,
    use: InUse,
    *,
    stages: Sequence[str] = (),
    rounds: int = ROUNDS,
    on_progress: Progress = lambda _: None,
) -> ProfileReport:
    """Gives what the stages took, one after the other, each ``rounds`` times from loading to unloading.

    ``stages`` are names in ``STAGES``; all by default. A stage whose model is missing says so, and the others go on.

    Raises:
        UsageError: there is no such stage, or the settings ask for a budget that cannot be kept here.
    """
    for name in stages:
        if name not in STAGES:
            raise UsageError(f"there is no stage {name!r:.80}; the stages are {', '.join(STAGES)}")
    before, budget = tuple(environment(settings)), detect(machine(), settings.profile, settings.budget).bytes
    began, left_out = time.monotonic(), {}
    with Recorder(budget) as recorder:
        for name, work in STAGES.items():
            if name not in (stages or STAGES):
                continue
            if why := _not_ready(name, use):
                left_out[name] = why
            else:
                with contextlib.suppress(PomnitError), recorder.stage(name) as running:
                    _repeat(work, use, running, rounds, on_progress)
    done = {stage.name: stage for stage in recorder.stages}
    kept = tuple(done.get(name) or _not_run(name, left_out[name]) for name in STAGES if name in {*done, *left_out})
    return ProfileReport(
        title="Pomnit",
        verdict=worst_verdict([stage.verdict for stage in kept]),
        budget=budget,
        environment=before,
        stages=kept,
        samples=recorder.samples,
        exit_code=None,
        took_s=round(time.monotonic() - began, 3),
    )


def _not_ready(name: str, use: InUse) -> str:
    """Says why a stage cannot be run, "" when it can."""
    if name == "reranking" and use.reranker is None:
        return "no reranker is in use"
    try:
        if name == "speech":
            use.governor.check_transcriber()
        if name == "vision" and use.governor.answering().kind == "server":
            return "a server answers, which is not of this machine's Pomnit"
    except PomnitError as error:
        return str(error)
    return ""


def _repeat(work: Work, use: InUse, running: Running, rounds: int, on_progress: Progress) -> None:
    for done in range(rounds):
        on_progress(Happening(running.name, done, rounds))
        try:
            work(use, running)
        finally:
            use.governor.unload()
        gc.collect()
        running.round()
    on_progress(Happening(running.name, rounds, rounds))


def _not_run(name: str, why: str) -> Stage:
    # fmt: off
    return Stage(
        name=name, verdict=None, reasons=(why,), note="", began_s=0.0, ended_s=0.0, seconds=0.0, again_s=None,
        memory_before=0, memory_peak=0, memory_after=0, system_delta=None, swap_delta=None, pressure_before=None,
        pressure_worst=None, pressure_after=None, cpu_s=0.0, cpu_user=None, cpu_system=None, cpu_idle=None,
        major_faults=0, rounds=0, growth=None,
    )
    # fmt: on


def passages(card: TextCard) -> list[str]:
    """Gives texts as long as passages are, in the languages that a model knows, no two alike."""
    texts = [text for _, pair in pairs(card.languages) for text in pair]
    found = []
    for first in range(_PASSAGES):
        text, at = "", first
        while len(text) < _CHARS:
            text, at = f"{text} {texts[at % len(texts)]}".strip(), at + 5
        found.append(text[:_CHARS])
    return found


# --------------------------------------------------------------------------------------------------------- any command


def command(words: Sequence[str], settings: Settings) -> ProfileReport:
    """Runs a program, without a shell, on our own input and output; gives what it took with all that came from it.

    Ctrl-C ends the program too; the report's exit code is then that of the signal.

    Raises:
        NotFound: there is no such program.
        UsageError: the system does not start it, or the settings do not fit.
    """
    before, budget = tuple(environment(settings)), detect(machine(), settings.profile, settings.budget).bytes
    began = time.monotonic()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        process = subprocess.Popen(words)
    except FileNotFoundError:
        raise NotFound(f"there is no program {words[0]!r:.200}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{words[0]!r:.200} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    try:
        with Recorder(budget, pid=process.pid) as recorder, recorder.stage(_title(words)) as running:
            _wait(process)
            # the gauge does not see what was done between its last reading and the end
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            running.cpu_s = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
            running.major_faults = now.ru_majflt - spent.ru_majflt
            code = process.returncode
            if code:
                how = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
                running.findings.append(("problem", f"it ended {how}"))
    finally:
        if process.poll() is None:
            process.kill()
    (stage,) = recorder.stages
    return ProfileReport(
        title=stage.name,
        verdict=worst_verdict([stage.verdict]),
        budget=budget,
        environment=before,
        stages=(stage,),
        samples=recorder.samples,
        exit_code=code if code >= 0 else 128 - code,  # as shells say it
        took_s=round(time.monotonic() - began, 3),
    )


def _title(words: Sequence[str]) -> str:
    text = " ".join(shlex.join(words).split())
    return text if len(text) <= _TITLE else f"{text[: _TITLE - 1]}…"


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Waits for the end; after Ctrl-C, which a terminal sends to the program too, it is helped along."""
    with contextlib.suppress(KeyboardInterrupt):
        process.wait()
        return
    for ask in (process.terminate, process.kill):
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            ask()
        except KeyboardInterrupt:  # a second one: at once
            process.kill()
    process.wait()


# ----------------------------------------------------------------------------------------------------------- the table

_HEAD = ("stage", "seconds", "again", "memory", "kept", "system", "swap", "pressure", "cores", "idle", "growth")
_LEFT = (0, 7)  # columns of words


def table(stages: Sequence[Stage]) -> list[str]:
    """Gives the lines of a table: a head, then one for each stage; columns that say nothing are left out."""
    ran = [_row(stage) for stage in stages if stage.verdict]
    told = [column for column in range(len(_HEAD)) if not column or any(row[column] for row in ran)]
    widths = [max(len(row[column]) for row in (_HEAD, *ran)) for column in range(len(_HEAD))]
    widths[0] = max([widths[0], *(len(stage.name) for stage in stages)])

    def line(cells: Sequence[str]) -> str:
        return "  ".join(f"{cells[c]:{'<' if c in _LEFT else '>'}{widths[c]}}" for c in told)

    lines = [f"{line(_HEAD)}  verdict"]
    for stage in stages:
        if stage.verdict:
            lines.append(f"{line(_row(stage))}  {stage.verdict}")
        else:
            lines.append(f"{stage.name:{widths[0]}}  {', '.join(stage.reasons)}")
    return lines


def notes(stages: Sequence[Stage]) -> list[str]:
    """Gives a line for each reason of a verdict, and for what was done."""
    return [
        f"{stage.name}: {text}" for stage in stages if stage.verdict for text in (*stage.reasons, stage.note) if text
    ]


def summary(report: ProfileReport) -> str:
    """Gives the last line: the verdict, the peak beside the budget, the swap, the time."""
    ran = [stage for stage in report.stages if stage.verdict]
    peak = max((stage.memory_peak for stage in ran), default=0)
    swap = max((stage.swap_delta for stage in ran if stage.swap_delta is not None), default=None)
    return (
        f"{report.verdict}: {peak / 1e9:.2f} GB at most, of a budget of {report.budget / 1e9:.1f} GB; "
        f"swap {_mb(swap)}; {report.took_s:.1f} s"
    )


def _row(stage: Stage) -> tuple[str, ...]:
    words = [stage.pressure_before, stage.pressure_worst, stage.pressure_after]
    if stage.pressure_worst in (stage.pressure_before, stage.pressure_after):
        del words[1]
    length = stage.ended_s - stage.began_s
    return (
        stage.name,
        f"{stage.seconds:.2f}",
        "" if stage.again_s is None else f"{stage.again_s:.2f}",
        _mb(stage.memory_peak - stage.memory_before),
        _mb(stage.memory_after - stage.memory_before),
        _mb(stage.system_delta),
        _mb(stage.swap_delta),
        " → ".join(word or "?" for word in words),
        f"{stage.cpu_s / length:.1f}" if length else "",
        "" if stage.cpu_idle is None else f"{stage.cpu_idle:.0%}",
        "" if stage.growth is None else _mb(stage.growth),
    )


def _mb(n: int | None) -> str:
    return "?" if n is None else f"{n / 1e6 + 0.0:+,.0f} MB"
