"""Stages of work, and what each took: times, memory, swap, pressure, processor, and a verdict with its reasons."""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from pomnit.governor.gauge import Gauge, Watch
from pomnit.governor.reading import Pressure, Reading, Source, worst
from pomnit.records import Sample, Stage, Verdict

EVERY_S = 0.1  # between two readings: 1 to 2 % of a core
_SWAPPED = (10_000_000, 100_000_000)  # more swap of the machine than before: a warning, a problem
_GROWTH = (8 << 20, 0.05)  # memory not given back, as `models check` judges it: of allocators, and a part of the peak
_ORDER: tuple[Verdict, ...] = ("ok", "warning", "problem")


class Running:
    """A stage while it runs."""

    def __init__(self, name: str, watch: Watch, *, new: bool = False) -> None:
        """Begins; ``new`` says that what is watched took nothing before."""
        self.name, self.note = name, ""
        self.findings: list[tuple[Verdict, str]] = []
        self.cpu_s = 0.0  # what another source tells of the same, where it is more than the gauge saw
        self.major_faults = 0
        self._watch, self._began, self._new = watch, watch.mark(), new
        self._rounds: list[Reading] = []
        self._ended: Reading | None = None

    def round(self) -> None:
        """Marks the end of a round: what is kept from one to the next is growth."""
        self._rounds.append(self._watch.mark())

    def end(self) -> None:
        """Marks the end of the stage."""
        self._ended = self._watch.mark()

    def record(self, first: Reading, budget: int) -> Stage | None:
        """Gives what the stage took, None while it runs; ``first`` is the reading with which the profile began."""
        if self._ended is None:
            return None
        began, ended = self._began, self._ended
        seen = [reading for reading in self._watch.since(began) if reading.at <= ended.at]
        before = 0 if self._new else began.memory
        peak = max(reading.memory for reading in seen)
        growth = _growth([reading.memory for reading in self._rounds[1:]])
        swap = _rise([reading.swap_used for reading in seen])
        pressure = worst([reading.pressure for reading in seen])
        findings = [*self.findings, *_memory_findings(peak, peak - before, budget, swap, growth, len(self._rounds))]
        findings += _pressure_findings(began.pressure, pressure, seen)
        verdict = worst_verdict([word for word, _ in findings])
        user, system, idle = (_mean(seen, name) for name in ("cpu_user", "cpu_system", "cpu_idle"))
        return Stage(
            name=self.name,
            verdict=verdict,
            reasons=tuple(why for word, why in findings if word == verdict),
            note=self.note,
            began_s=round(began.at - first.at, 3),
            ended_s=round(ended.at - first.at, 3),
            seconds=round((self._rounds[0] if self._rounds else ended).at - began.at, 3),
            again_s=_middle([began, *self._rounds]),
            memory_before=before,
            memory_peak=peak,
            memory_after=ended.memory,
            system_delta=_rise([None if reading.available is None else -reading.available for reading in seen]),
            swap_delta=swap,
            pressure_before=began.pressure,
            pressure_worst=pressure,
            pressure_after=ended.pressure,
            cpu_s=round(max(ended.cpu_s - began.cpu_s, self.cpu_s), 3),
            cpu_user=user,
            cpu_system=system,
            cpu_idle=idle,
            major_faults=max(ended.major_faults - began.major_faults, self.major_faults),
            rounds=max(len(self._rounds), 1),
            growth=growth,
        )


class Recorder:
    """Watches a process tree, and keeps what its stages took. A context manager; used from one thread."""

    def __init__(self, budget: int, *, pid: int | None = None, source: Source | None = None) -> None:
        """Takes the budget in bytes that stages are judged by; ``pid`` is this process by default."""
        self._budget, self._new = budget, pid is not None
        self._watch = Watch(Gauge(pid, source=source), every_s=EVERY_S)
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._watch.stop()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Running]:
        """Records the block as a stage; an error in it is a problem, and goes on to the caller."""
        running = Running(name, self._watch, new=self._new)
        self._running.append(running)
        try:
            yield running
        except Exception as error:
            running.findings.append(("problem", f"it failed: {str(error) or type(error).__name__}"))
            raise
        finally:
            running.end()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that ended, in the order in which they began."""
        first = self._watch.readings[0]
        found = (running.record(first, self._budget) for running in self._running)
        return tuple(stage for stage in found if stage is not None)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Memory and swap over time: every reading of an hour, fewer of a longer time."""
        seen = self._watch.readings
        return tuple(Sample(round(one.at - seen[0].at, 3), one.memory, one.swap_used) for one in seen)


def worst_verdict(verdicts: Sequence[Verdict | None]) -> Verdict:
    """Gives the worst of some verdicts; ok when there is none."""
    return max((one for one in verdicts if one is not None), key=_ORDER.index, default="ok")


def _memory_findings(
    peak: int, delta: int, budget: int, swap: int | None, growth: int | None, rounds: int
) -> Iterator[tuple[Verdict, str]]:
    if peak > budget:
        yield "problem", f"it took {peak / 1e9:.2f} GB, more than the budget of {budget / 1e9:.2f} GB"
    if swap is not None and swap > _SWAPPED[0]:
        yield "problem" if swap > _SWAPPED[1] else "warning", f"the swap grew by {swap / 1e6:.0f} MB"
    if growth is not None and growth > _GROWTH[0] + _GROWTH[1] * delta:
        yield "warning", f"{growth / 1e6:.0f} MB more are kept in the later half of {rounds} rounds"


def _pressure_findings(
    before: Pressure | None, highest: Pressure | None, seen: Sequence[Reading]
) -> Iterator[tuple[Verdict, str]]:
    """Gives what became of the pressure; what it was before is told by the environment."""
    if highest in (None, "normal", before) or worst([before, highest]) != highest:
        return
    why = next(reading.pressure_why for reading in seen if reading.pressure == highest)
    yield "problem" if highest == "critical" else "warning", f"the pressure became {highest}: {why}"


def _growth(kept: Sequence[int]) -> int | None:
    """Gives how far the least of the later half is above that of the earlier: allocators keep now more, now less."""
    half = len(kept) // 2
    return min(kept[half:]) - min(kept[:half]) if half else None


def _rise(values: Sequence[int | None]) -> int | None:
    """Gives how far the values rose above the first one; None when one is not known."""
    known = [value for value in values if value is not None]
    return max(known) - known[0] if known and len(known) == len(values) else None


def _middle(marks: Sequence[Reading]) -> float | None:
    """Gives the middle of the times of all rounds but the first."""
    times = [after.at - before.at for before, after in itertools.pairwise(marks[1:])]
    return round(statistics.median(times), 3) if times else None


def _mean(seen: Sequence[Reading], name: str) -> float | None:
    """Gives the mean of a part of the processors' time, each reading weighed by the time since the one before it."""
    pairs = [(getattr(two, name), two.at - one.at) for one, two in itertools.pairwise(seen)]
    known = [(part, time) for part, time in pairs if part is not None and time > 0]
    total = sum(time for _, time in known)
    return round(sum(part * time for part, time in known) / total, 4) if total else None
