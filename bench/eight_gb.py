"""The memory contract: Pomnit at work below a limit of memory, beside the plain way, and what its governor costs.

``python bench/eight_gb.py --data DIR`` (DIR holds ``screens/``) makes checkpoints of the true shapes of BGE-M3,
Qwen3-Embedding-0.6B, bge-reranker-v2-m3, Whisper base and, after ``make vision``, Qwen3-VL-4B of random weights (once,
10 GB in ``--keep``; the small encoder is real), then runs the work of ``eight_work``: screenshots and documents are
added, searched in both languages and embedded with one model after the other, a picture is looked at; at last more are
added while other processes search. As root on Linux each run is caged: in a control group with a limit, and a swap file
that is switched on for the run. Elsewhere it goes on without, saying so.

Twice a second the memory of the whole tree is read from outside: proportional (PSS), every page measured anew. The
plain way does the same work in one process that loads everything and keeps it: on the same engines, and on torch with
the published checkpoints in batches of 128 where torch is installed; it does not look at pictures. A second, tighter
limit shows the difference where the largest model does not fit, and is refused with the numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]
from cage import Group, NoCage, forget_pages, group_of, started, swap_file  # noqa: E402
from eight_work import ENCODER, RERANKER, SECOND, SEEING, SEES  # noqa: E402

from pomnit.errors import PomnitError, UsageError  # noqa: E402
from pomnit.governor import gauge_linux  # noqa: E402
from pomnit.governor.budget import gb  # noqa: E402
from pomnit.governor.gauge import Gauge  # noqa: E402
from pomnit.settings import Settings  # noqa: E402

NO_VISION = f"{SEES} is not measured: there is no .venv-vision; type: make vision"
EVERY_S = 0.5  # between two readings
SWAP = 6_000_000_000  # bytes of the swap file
BESIDE = 600_000_000  # that all may take beside the largest engine
MOST = 4_300_000_000  # with all four heavy engines
IDLE, IDLE_S = 200_000_000, 15.0  # what may be left of it, so long after the last work
COST = 0.03  # of the time of a run with everything resident
LONGER, LEAST_S = 2.0, 240.0  # times the governed run's seconds, and the least, before a plain run is stopped
MB = 1e6
BARS, WIDTH = " ▁▂▃▄▅▆▇█", 28
_KILLED = " by the kernel: no memory"
SIZES = {"screens": 8, "later": 4, "documents": 8}
SIZES_OF_COST = {"screens": 6, "later": 0, "documents": 4}


@dataclass(frozen=True)
class Sample:
    """What the tree takes at one moment. Bytes."""

    at: float  # seconds since it began
    memory: int
    anonymous: int | None  # by the group's own account
    engine: int  # the largest engine child
    name: str  # of it
    own: int  # the program that was started
    swap: int | None  # that has come since the beginning: of the group, else of the machine
    faults: int


@dataclass
class Run:
    """One program that was measured."""

    way: str
    limit: int | None  # none: it ran without
    samples: list[Sample] = field(default_factory=list)
    stages: list[tuple[float, str]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    swapped: int = 0  # bytes that the machine wrote to its swap meanwhile

    @property
    def finished(self) -> bool:
        """Whether it did all its work."""
        return "done" in self.told and not self.told["faults"]

    @property
    def peak(self) -> Sample:
        """The sample with the most memory."""
        return max(self.samples, key=lambda sample: sample.memory)

    @property
    def engine(self) -> Sample:
        """The sample with the largest engine child."""
        return max(self.samples, key=lambda sample: sample.engine)

    @property
    def swap(self) -> int:
        """The most that lay in the swap."""
        return max([sample.swap or 0 for sample in self.samples])

    def seconds(self) -> float:
        """Gives how long the work took, without the idle time behind it."""
        idle = next((at for at, name in self.stages if name == "idle"), None)
        return self.samples[-1].at if idle is None else idle


def main() -> int:
    """Measures and prints; 2 when something that it needs is not here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds screens/")
    parser.add_argument("--keep", type=Path, default=HERE.parent / ".bench", help="folder for what is made (.bench)")
    parser.add_argument("--limit", type=_bytes, default=4_500_000_000, help="of the cage (4.5GB)")
    parser.add_argument("--tight", type=_bytes, default=1_600_000_000, help="of the second cage (1.6GB)")
    parser.add_argument("--rounds", type=int, default=3, help="for the cost of the governor; 0: not measured")
    parser.add_argument("--ways", default="governed,plain,torch", help="which are run (governed,plain,torch)")
    parser.add_argument("--chart", type=Path, help="a PNG for each governed run; the limit is put before the suffix")
    parser.add_argument("--json", action="store_true", help="JSON instead of the tables")
    asked = parser.parse_args()
    if not (asked.data / "screens" / "ru.questions.json").is_file():
        print(f"{asked.data} holds no screens/; name the folder of the data with --data", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        return bench(asked)
    except (OSError, PomnitError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _bytes(text: str) -> int:
    """Gives a size as ``pomnit`` reads it."""
    try:
        found = Settings.load(environ={}, file=Path(os.devnull), budget=text).budget
    except UsageError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 4.5GB or 1600MB") from None
    assert found is not None
    return found


def bench(asked: argparse.Namespace) -> int:
    """Runs everything and prints it."""
    gauge_linux.PROPORTIONAL_SHARE = float("inf")  # every reading measures: nothing is reckoned
    keep = asked.keep.resolve()
    made = keep / "eight-gb"
    made.mkdir(parents=True, exist_ok=True)
    for left in made.glob("run-*"):  # by one that was killed
        shutil.rmtree(left)
    job = {"keep": str(keep), "made": str(made), "data": str(asked.data.resolve()), "profile": "8gb"}
    if not SEEING.is_file():
        note(NO_VISION, asked)
    prepare({**job, "do": "make", "work": str(made)})
    runs = caged(asked, {**job, **SIZES}, made)
    cost = governor_cost(asked.rounds, {**job, **SIZES_OF_COST}, made)
    figures = [*verdicts(runs), *cost_verdicts(cost)]
    if asked.json:
        plain = {"vision": SEEING.is_file(), "figures": figures, "cost": cost}
        print(json.dumps(plain | {"runs": [dataclasses.asdict(run) for run in runs]}, ensure_ascii=False, indent=1))
    else:
        print(figure_table(figures))
    for run in runs if asked.chart else ():
        if run.way == "governed" and run.samples:
            draw(run, asked.chart)
    return 0


def note(text: str, asked: argparse.Namespace) -> None:
    """Says something that belongs beside the figures."""
    print(text, file=sys.stderr if asked.json else sys.stdout, flush=True)


# Running


def prepare(job: dict[str, Any]) -> None:
    """Makes the models.

    Raises:
        OSError: it failed.
    """
    done = subprocess.run(_command(job), stdin=_never(), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise OSError(f"the models could not be made: exit code {done.returncode}")


def _never() -> int:
    """Gives an input that does not end before this process does."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, False)
    return reading


def _command(job: dict[str, Any]) -> list[str]:
    return [sys.executable, str(HERE / "eight_work.py"), json.dumps(job)]


def caged(asked: argparse.Namespace, job: dict[str, Any], made: Path) -> list[Run]:
    """Runs each way below each limit."""
    ways = asked.ways.split(",")
    if "torch" in ways and not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        note("torch and transformers are not installed, so the plain way on torch is left out", asked)
        ways.remove("torch")
    runs: list[Run] = []
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(swap_file(made / "swap", SWAP))
        except NoCage as reason:
            note(f"without swap: {reason}", asked)
        for limit in dict.fromkeys((asked.limit, asked.tight)):
            longest = LEAST_S
            for way in ways if limit == asked.limit else [way for way in ways if way != "torch"]:
                note(f"{way}, {gb(limit)} …", asked)
                run = one(way, limit, job, made, None if way == "governed" else longest, asked)
                runs.append(run)
                note(f"\n{table(run)}\n", asked)
                longest = max(longest, LONGER * run.seconds()) if way == "governed" else longest
            if runs and runs[-1].limit is None:
                break  # without a limit the second time would be the same
    return runs


def one(way: str, limit: int, job: dict[str, Any], made: Path, longest: float | None, asked: argparse.Namespace) -> Run:
    """Gives what one way does below a limit, or without one where there can be none."""
    forget_pages(
        made / "models", made / "cache", *(Path(job["keep"]) / n.lower() for n in (ENCODER, SECOND, RERANKER, SEES))
    )
    (made / "models" / "measured.json").unlink(missing_ok=True)  # as at the first time
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=made))
        group: Group | None = None
        try:
            group = stack.enter_context(group_of(limit))
        except NoCage as reason:
            note(f"without a limit: {reason}", asked)
        run = Run(way, limit if group else None)
        watched(run, group, {**job, "do": way, "work": work}, longest)
    return run


def watched(run: Run, group: Group | None, job: dict[str, Any], longest: float | None) -> None:
    """Runs a program to its end, and reads its memory meanwhile."""
    written = _written()
    with running(group, job) as process:
        began, gauge = time.monotonic(), Gauge(process.pid)
        listener = threading.Thread(target=_listen, args=(process, run, began), daemon=True)
        listener.start()
        while process.poll() is None:
            run.samples.append(_sample(time.monotonic() - began, gauge, process.pid, group))
            if longest is not None and run.samples[-1].at > longest:
                run.ended = f"was not done after {run.samples[-1].at:.0f} s, and was stopped"
                break
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - began) % EVERY_S))
        else:
            listener.join()
            run.ended = _ended(run, process, group)
    run.swapped = _written() - written


@contextlib.contextmanager
def running(group: Group | None, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Gives a program that is at work; it and its children end with the block."""
    process = started(group, _command(job), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # engine children end with their input
        process.wait()


def _listen(process: subprocess.Popen[str], run: Run, began: float) -> None:
    """Takes in what the program says."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if "stage" in told:
            run.stages.append((time.monotonic() - began, told["stage"]))
        elif "guest" in told:
            run.told["guests"] = run.told.get("guests", 0) + 1
        else:
            run.told |= told


def _ended(run: Run, process: subprocess.Popen[str], group: Group | None) -> str:
    if process.returncode == 0:
        return f"finished in {run.seconds():.0f} s"
    killed = _KILLED if group is not None and group.killed() else ""
    return f"ended{killed} with code {process.returncode} after {run.samples[-1].at:.0f} s"


def _sample(at: float, gauge: Gauge, pid: int, group: Group | None) -> Sample:
    reading = gauge.read()
    engines = {_engine(child): size for child, size in reading.by_process.items() if child != pid}
    name = max(engines, key=lambda name: engines[name] if name else -1, default="")
    return Sample(
        at=at,
        memory=reading.memory,
        anonymous=group.anonymous() if group else None,
        engine=engines[name] if name else 0,
        name=name,
        own=reading.by_process.get(pid, 0),
        swap=group.swap() if group else reading.swap_growth,
        faults=reading.major_faults,
    )


def _engine(pid: int) -> str:
    """Gives the name of the engine that a process holds, "" when it holds none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:  # it has just ended, or there is no /proc
        asked = ["ps", "-o", "command=", "-p", str(pid)]
        words = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().split(" ", 4)
    return words[-1] if {"pomnit.governor.child", "vision_child"} & set(words) else ""


def _written() -> int:
    """Gives the bytes that the machine wrote to its swap so far; 0 where it does not tell."""
    try:
        lines = (line.split() for line in Path("/proc/vmstat").read_text("ascii").splitlines())
    except OSError:
        return 0
    return int(dict(lines).get("pswpout", 0)) * os.sysconf("SC_PAGE_SIZE")


def governor_cost(rounds: int, job: dict[str, Any], made: Path) -> dict[str, Any]:
    """Gives the seconds of a part of the work by the governor and with everything resident, by turns, unlimited."""
    told: dict[str, list[dict[str, float]]] = {"cost": [], "resident": []}
    for _ in range(rounds):
        for way, found in told.items():
            with tempfile.TemporaryDirectory(prefix="run-", dir=made) as work:
                run = Run(way, None)
                with running(None, {**job, "do": way, "work": work}) as process:
                    _listen(process, run, time.monotonic())
                if not run.finished:
                    raise OSError(f"{way}: {run.told.get('faults', 'it ended before it was done')}")
                found.append({key: run.told[key] for key in ("seconds", "cpu", "loading", "loading_cpu", "loads")})
    if not rounds:
        return {}
    pairs = list(zip(told["cost"], told["resident"], strict=True))
    return {
        "rounds": told,
        "wall": statistics.median((a["seconds"] - a["loading"]) / b["seconds"] - 1 for a, b in pairs),
        "cpu": statistics.median((a["cpu"] - a["loading_cpu"]) / b["cpu"] - 1 for a, b in pairs),
        "seconds": statistics.median(b["seconds"] for _, b in pairs),
        "loading": statistics.median(a["loading"] for a, _ in pairs),
        "loads": statistics.median(a["loads"] for a, _ in pairs),
    }


# What came out


def verdicts(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Gives the figures of the runs beside what was asked for."""
    found = []
    for run in runs:
        if not run.samples:
            continue
        under = f"under {gb(run.limit)}" if run.limit else "without a limit"
        found += _governed(run, under) if run.way == "governed" else [_plain(run, under)]
    return found


def _governed(run: Run, under: str) -> list[dict[str, str]]:
    peak, engine = run.peak.memory, run.engine
    beside = peak - engine.engine
    most = f"{peak / MB:.0f} MB = {engine.name} {engine.engine / MB:.0f} + {beside / MB:.0f}"
    allowed = min(MOST, run.limit or MOST)
    figures = [
        _figure(f"governed, {under}", "all is done", _what_was_done(run), met=run.finished),
        _figure("  peak", "largest engine + 600 MB", most, met=beside <= BESIDE),
        _figure("  peak", f"{allowed / MB:.0f} MB", f"{peak / MB:.0f} MB", met=peak <= allowed),
        _figure("  swap growth", "0", f"{run.swap / MB:.0f} MB", met=run.swap == 0),
    ]
    return [*figures, _idle(run)]


def _what_was_done(run: Run) -> str:
    if "done" not in run.told:
        return run.ended
    done, faults = run.told["done"], run.told["faults"]
    said = f"{done['items']} items, {done['searches'] + run.told.get('guests', 0)} searches in {run.seconds():.0f} s"
    return f"{said}; {len(faults)} faults: {faults[0][:90]}" if faults else said


def _idle(run: Run) -> dict[str, str]:
    """Gives what is left of it: in memory, and in the swap, where it would only seem to be gone."""
    name = "  idle, after 15 s, with swap"
    since = next((at for at, name in run.stages if name == "idle"), None)
    left = [(s.at - since, s.memory + max(0, s.swap or 0)) for s in run.samples if since is not None and s.at >= since]
    later = next((size for at, size in left if at >= IDLE_S), None)
    if later is None:
        return _figure(name, "200 MB", "it did not come so far", met=False)
    high = max((at for at, size in left if size > IDLE), default=0.0)
    said = f"; below 200 after {high:.1f} s" if later <= IDLE else ""
    return _figure(name, "200 MB", f"{later / MB:.0f} MB{said}", met=later <= IDLE)


def _plain(run: Run, under: str) -> dict[str, str]:
    name = {"plain": "plain, same engines", "torch": "plain, torch fp32, batches of 128"}[run.way]
    said = f"{run.ended}; swap {run.swap / MB:.0f} MB, {run.swapped / MB:.0f} written; peak {run.peak.memory / MB:.0f}"
    bad = run.swap > 0 or _KILLED in run.ended  # being slow, or failing otherwise, says nothing
    return {"figure": f"{name}, {under}", "asked": "swaps or dies", "measured": said, "verdict": "yes" if bad else "no"}


def cost_verdicts(cost: dict[str, Any]) -> list[dict[str, str]]:
    """Gives the figures of the governor's cost."""
    if not cost:
        return []
    loads = f"{cost['loading']:.1f} s for {cost['loads']:.0f} loads beside {cost['seconds']:.1f} s of work"
    return [
        _figure("governor, time", "3 %", f"{cost['wall']:+.1%} of {cost['seconds']:.1f} s", met=cost["wall"] <= COST),
        _figure("governor, processor time", "3 %", f"{cost['cpu']:+.1%}", met=cost["cpu"] <= COST),
        {"figure": "  loading, not in it", "asked": "", "measured": loads, "verdict": ""},
    ]


def _figure(figure: str, asked: str, measured: str, *, met: bool) -> dict[str, str]:
    return {"figure": figure, "asked": asked, "measured": measured, "verdict": "met" if met else "MISSED"}


def figure_table(figures: Sequence[dict[str, str]]) -> str:
    """Gives the figures as lines."""
    columns = ("figure", "asked", "measured", "verdict")
    rows = [dict(zip(columns, columns, strict=True)), *figures]
    wide = {key: max(len(row[key]) for row in rows) for key in columns}
    return "\n".join("  ".join(f"{row[key]:{wide[key]}}" for key in columns).rstrip() for row in rows)


def table(run: Run) -> str:
    """Gives a run as lines, one for each stage, with its memory over time."""
    under = f"below {gb(run.limit)}" if run.limit else "without a limit"
    budget = f"; budget {gb(run.told['budget'])}" if "budget" in run.told else ""
    head = f"{run.way}, {under}: {run.ended}{budget}"
    if not run.samples:
        return head
    highest = run.peak.memory
    columns = f"{'s':>7}{'most MB':>9}{'anon':>7}{'engine':>8}{'swap':>7}{'faults':>8}"
    lines = [head, f"{'stage':34}{columns}  memory, full at {highest / MB:.0f} MB"]
    borders = [*run.stages, (run.samples[-1].at, "")]
    for (start, name), (end, _) in itertools.pairwise(borders):
        inside = _inside(run, start, end)
        top = max(inside, key=lambda sample: sample.memory)
        faults = inside[-1].faults - inside[0].faults
        anonymous = f"{top.anonymous / MB:7.0f}" if top.anonymous is not None else f"{'-':>7}"
        figures = f"{end - start:7.1f}{top.memory / MB:9.0f}{anonymous}{max(s.engine for s in inside) / MB:8.0f}"
        figures += f"{max(s.swap or 0 for s in inside) / MB:7.0f}{faults:8}"
        lines.append(f"{name:34}{figures}  {_bars([s.memory for s in inside], highest)}")
    engine = run.engine
    lines.append(f"most {highest / MB:.0f} MB at {run.peak.at:.0f} s, of it the program {run.peak.own / MB:.0f}")
    if engine.engine:
        lines[-1] += f"; largest engine: {engine.name}, {engine.engine / MB:.0f} MB"
    lines += [f"left out: {reason} ({count} times)" for reason, count in run.told.get("skipped", {}).items()]
    return "\n".join([*lines, *(f"fault: {fault}" for fault in run.told.get("faults", [])[:5])])


def _inside(run: Run, start: float, end: float) -> list[Sample]:
    """Gives the samples of a stage; of a very short one the next."""
    found = [s for s in run.samples if start <= s.at <= end] or [s for s in run.samples if s.at > end][:1]
    return found or [run.samples[-1]]


def _bars(sizes: Sequence[int], highest: int) -> str:
    """Gives sizes over time as bars, the largest of those that share one."""
    step = max(1, -(-len(sizes) // WIDTH))
    tops = [max(sizes[at : at + step]) for at in range(0, len(sizes), step)]
    return "".join(BARS[round(size / highest * (len(BARS) - 1))] for size in tops)


def draw(run: Run, path: Path) -> None:
    """Writes the picture of a run as ``pomnit profile`` draws it."""
    from pomnit.doors.cli.profile_chart import png
    from pomnit.records import ProfileReport, Stage
    from pomnit.records import Sample as Point

    borders = [*run.stages, (run.samples[-1].at, "")]
    stages = [_stage(run, Stage, name, a, b) for (a, name), (b, _) in itertools.pairwise(borders)]
    samples = tuple(Point(s.at, s.memory, s.swap) for s in run.samples)
    report = ProfileReport(
        title="eight_gb, the governed run",
        verdict="ok" if run.finished else "problem",
        budget=run.told.get("budget", 0),
        environment=(),
        stages=tuple(stages),
        samples=samples,
        exit_code=None,
        took_s=run.samples[-1].at,
    )
    path.with_stem(f"{path.stem}-{(run.limit or 0) / 1e9:.1f}GB").write_bytes(png(report))


def _stage(run: Run, kind: Any, name: str, began: float, ended: float) -> Any:
    inside = _inside(run, began, ended)
    known = {
        "name": name,
        "verdict": "ok",
        "reasons": (),
        "note": "",
        "began_s": began,
        "ended_s": ended,
        "seconds": ended - began,
        "memory_before": inside[0].memory,
        "memory_peak": max(s.memory for s in inside),
        "memory_after": inside[-1].memory,
        "cpu_s": 0.0,
        "major_faults": inside[-1].faults - inside[0].faults,
        "rounds": 1,
    }
    return kind(**{f.name: known.get(f.name) for f in dataclasses.fields(kind)})


if __name__ == "__main__":
    sys.exit(main())
