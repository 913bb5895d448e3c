"""`pomnit profile` and `status --watch`: what work takes, judged; the exit code of a command; figures and a picture."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest
from PIL import Image

from pomnit import Settings, records
from pomnit.doors.cli import profile_chart
from pomnit.engines.fake import FakeAnswerer, FakeEncoder, FakeRecogniser, FakeReranker, FakeTranscriber
from pomnit.engines.protocols import Line, Word
from pomnit.errors import EngineError, UsageError
from pomnit.governor.gauge import here
from pomnit.governor.leases import Governor
from pomnit.governor.owner import OwnerLock, owner_of
from pomnit.governor.reading import System
from pomnit.governor.recorder import Recorder
from pomnit.memory import Memory
from pomnit.models.cards import ALL_MINILM_L6_V2, MS_MARCO_MINILM
from pomnit.profile import STAGES, InUse, in_use, passages, profile, run
from pomnit.records import Check, ProfileReport, Sample
from pomnit.watch import short
from support import processes
from support.pictures import note
from support.recordings import CARD

MB = 1_000_000
GROWS = f"x = b'x' * (120 * {MB}); import time; time.sleep(0.5)"
KEEPS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = b'x' * (90 * 1000000); print('held', flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
import time; time.sleep(0.5)
child.communicate(b"\\n")
"""


class Calm:
    """This machine as if no other program ran on it: swap and pressure are those of the whole."""

    def __init__(self) -> None:
        self._here = here()
        self.process, self.children, self.forget = self._here.process, self._here.children, self._here.forget

    def system(self) -> System:
        told = self._here.system()
        return replace(told, available=told.total, swap_used=0, limit=None, stall_some=0.0, stall_full=0.0, level=None)


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pomnit.governor.gauge.here", Calm)


def reads(words: str) -> FakeRecogniser:
    line = Line(tuple(Word(word, (0, 0, 1, 1), 0.9) for word in words.split()), block=0)
    return FakeRecogniser(lambda _: [line])


@pytest.fixture
def use(settings: Settings):
    """Engines that need no model, and a reranker in use."""
    engines = {
        "recognise": reads("Nichts davon"),
        "embed": FakeEncoder(ALL_MINILM_L6_V2),
        "rerank": FakeReranker(MS_MARCO_MINILM),
        "transcribe": FakeTranscriber(CARD, lambda _: "семь три"),
        "answer": FakeAnswerer(["A screen", " of mail."]),
    }
    governor = Governor(settings, engines=engines)
    return replace(in_use(governor, None), reranker=MS_MARCO_MINILM)


# Any block of code


def test_a_block_is_recorded_with_the_stages_inside_it():
    with profile("work") as p:
        with p.stage("first half"):
            held = bytearray(80 * MB)
        del held
        with p.stage("second half"):
            pass
    whole, first, second = p.records
    assert [stage.name for stage in p.records] == ["work", "work / first half", "work / second half"]
    assert first.memory_peak - first.memory_before > 70 * MB
    assert second.memory_peak - second.memory_before < 20 * MB
    assert whole.began_s <= first.began_s < first.ended_s <= second.began_s <= second.ended_s <= whole.ended_s
    head, *rows = p.table().splitlines()
    assert head.split()[:3] == ["stage", "seconds", "memory"]
    assert len(rows) == 3
    assert rows[0].startswith("work ")


def test_an_error_in_a_block_is_a_problem_and_goes_on_to_the_caller():
    with pytest.raises(ValueError, match="no such thing"), profile("work") as p:
        raise ValueError("no such thing")
    (stage,) = p.records
    assert (stage.verdict, stage.reasons) == ("problem", ("it failed: no such thing",))


@pytest.mark.parametrize(("swap", "stall", "verdict"), [(50, 0, "warning"), (500, 0, "problem"), (0, 20, "warning")])
def test_swap_and_pressure_that_come_with_the_work_are_told(monkeypatch, swap: int, stall: int, verdict: str):
    class Strained(Calm):
        working = False

        def system(self) -> System:
            return replace(super().system(), swap_used=swap * MB * self.working, stall_some=stall * self.working)

    monkeypatch.setattr("pomnit.governor.gauge.here", Strained)
    with Recorder(1 << 40) as recorder, recorder.stage("work"):
        monkeypatch.setattr(Strained, "working", True)
    (stage,) = recorder.stages
    assert (stage.verdict, stage.swap_delta) == (verdict, swap * MB)
    assert ("swap grew by" if swap else "pressure became warning: some program waited") in stage.reasons[0]


def test_more_memory_than_the_budget_is_a_problem():
    with Recorder(1 * MB) as recorder, recorder.stage("work"):
        pass
    (stage,) = recorder.stages
    assert stage.verdict == "problem"
    assert "more than the budget of 0.00 GB" in stage.reasons[0]


def test_memory_that_is_kept_round_after_round_is_a_warning():
    held = []
    with Recorder(1 << 40) as recorder, recorder.stage("leaks") as running:
        for _ in range(6):
            held.append(bytearray(12 * MB))
            running.round()
    (stage,) = recorder.stages
    assert stage.verdict == "warning"
    assert stage.growth > 20 * MB
    assert "more are kept" in stage.reasons[0]


def test_memory_that_comes_and_goes_is_no_growth():
    with Recorder(1 << 40) as recorder, recorder.stage("breathes") as running:
        for _ in range(6):
            bytearray(30 * MB)
            running.round()
    (stage,) = recorder.stages
    assert stage.verdict == "ok"
    assert abs(stage.growth) < 8 * MB


# The stages of ours


def test_each_stage_runs_its_rounds_with_what_it_did(settings: Settings, use: InUse):
    seen = []
    report = run(settings, use, rounds=4, on_progress=lambda happening: seen.append((happening.stage, happening.done)))
    assert [stage.name for stage in report.stages] == list(STAGES)
    by_name = {stage.name: stage for stage in report.stages}
    assert seen == [(name, done) for name in STAGES for done in range(5)]
    for name in ("embeddings", "reranking"):
        assert by_name[name].verdict == "ok", by_name[name]
        assert by_name[name].rounds == 4
        assert by_name[name].again_s is not None
        assert "passages of 800 characters" in by_name[name].note
    assert (by_name["speech"].verdict, by_name["speech"].rounds) == ("ok", 4)
    assert "windows of 14 s together" in by_name["speech"].note
    assert (by_name["vision"].verdict, by_name["vision"].rounds) == ("ok", 4)
    assert by_name["vision"].note.endswith("2 pieces of what is said of it, fake")
    assert {check.name for check in report.environment} == {"memory", "budget", "swap", "pressure"}
    assert len(report.samples) > 6


def test_a_recogniser_that_finds_few_words_is_a_problem(settings: Settings, use: InUse):
    report = run(settings, use, stages=["ocr"], rounds=2)
    (ocr,) = report.stages
    assert (ocr.verdict, report.verdict) == ("problem", "problem")
    assert ocr.reasons == ("only 0 of 187 words were found",)


def test_a_stage_whose_model_is_missing_says_so_and_the_others_go_on(settings: Settings, use: InUse):
    class Broken(FakeEncoder):
        def encode(self, texts, *, query=False):
            raise EngineError("its files are not here")

    governor = Governor(settings, engines={"embed": Broken(ALL_MINILM_L6_V2), "rerank": FakeReranker(MS_MARCO_MINILM)})
    use = replace(in_use(governor, None), reranker=MS_MARCO_MINILM)
    report = run(settings, use, stages=["embeddings", "reranking"], rounds=2)
    assert [(stage.name, stage.verdict) for stage in report.stages] == [("embeddings", "problem"), ("reranking", "ok")]
    assert report.stages[0].reasons == ("it failed: its files are not here",)


def test_without_a_reranker_in_use_its_stage_says_so(settings: Settings, use: InUse):
    report = run(settings, replace(use, reranker=None), stages=["reranking"])
    assert report.stages[0].reasons == ("no reranker is in use",)
    assert report.verdict == "ok"


def test_an_unknown_stage_is_refused_with_those_there_are(settings: Settings, use: InUse):
    with pytest.raises(UsageError, match="'sleep'; the stages are ocr, embeddings"):
        run(settings, use, stages=["sleep"])


def test_the_passages_are_long_and_in_the_languages_of_the_model():
    found = passages(ALL_MINILM_L6_V2)
    assert len(set(found)) == len(found) == 16
    assert {len(text) for text in found} == {800}
    assert not any("а" <= letter <= "я" for text in found for letter in text.casefold())


def test_the_command_runs_the_stages_asked_for_and_makes_no_memory(cli, settings: Settings):
    done = cli("profile", "--stage", "vision", "--stage", "speech", "--stage", "reranking")
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines() if "no model is here" in line] == ["vision"]
    assert "pomnit models pull whisper-" in done.out
    assert "reranking  no reranker is in use" in done.out
    assert "of a budget of" in done.out.splitlines()[-1]
    assert not settings.home.exists()


@pytest.mark.slow
def test_the_recogniser_of_this_machine_reads_the_screen_of_the_package(settings: Settings):
    report = run(settings, in_use(Governor(settings), None), stages=["ocr"], rounds=1)
    (ocr,) = report.stages
    assert ocr.verdict == "ok", ocr.reasons
    assert int(ocr.note.split()[0]) > 170
    assert ocr.memory_peak - ocr.memory_before > 30 * MB
    assert ocr.cpu_s > 0.2


# A command


def test_a_command_is_gauged_with_its_children_and_its_exit_code_passed_on(cli, tmp_path):
    done = cli("profile", "--out", tmp_path / "r.json", "--", sys.executable, "-c", GROWS + "; raise SystemExit(7)")
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert done.code == report["exit_code"] == 7
    assert done.out == ""
    (stage,) = report["stages"]
    assert stage["verdict"] == "problem"
    assert stage["reasons"] == ["it ended with exit code 7"]
    assert stage["memory_peak"] > 110 * MB
    assert stage["cpu_s"] > 0
    assert "it ended with exit code 7" in done.err
    with_child = cli("profile", "--json", "--", sys.executable, "-c", KEEPS)
    (stage,) = json.loads(with_child.err)["stages"]
    assert with_child.code == 0
    assert stage["memory_peak"] > 95 * MB  # two processes


def test_the_json_of_a_report_has_the_fields_of_its_record(cli):
    report = json.loads(cli("profile", "--json", "--", "true").err)
    assert set(report) == {f.name for f in fields(records.ProfileReport)}
    assert set(report["stages"][0]) == {f.name for f in fields(records.Stage)}
    assert set(report["samples"][0]) == {f.name for f in fields(records.Sample)}
    assert report["title"] == "true"


def test_a_command_that_cannot_be_started_has_the_exit_codes_of_shells(cli, tmp_path):
    missing = cli("profile", "--", tmp_path / "absent")
    assert (missing.code, "there is no program" in missing.err) == (127, True)
    refused = cli("profile", "--", tmp_path)
    assert (refused.code, "cannot be started" in refused.err) == (126, True)


def test_a_command_is_not_read_by_a_shell(pomnit_process):
    done = pomnit_process("profile", "--", "echo", "$HOME; exit 3")
    assert (done.returncode, done.stdout) == (0, "$HOME; exit 3\n")


def test_options_of_our_own_stages_are_refused_beside_a_command(cli):
    done = cli("profile", "--stage", "ocr", "--", "true")
    assert done.code == 2
    assert "leave them out" in done.err


def test_ctrl_c_ends_the_command_too_and_the_table_is_still_printed(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    ours = subprocess.Popen(
        [sys.executable, "-m", "pomnit", "profile", "--", sys.executable, "-c", code],
        env=processes.environment(),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    os.killpg(ours.pid, signal.SIGINT)  # as a terminal does
    _, err = ours.communicate(timeout=30)
    assert ours.returncode == 130
    assert "it ended by SIGINT" in err
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_command_that_ctrl_c_did_not_reach_is_ended(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    ours = subprocess.Popen(
        [sys.executable, "-m", "pomnit", "profile", "--", sys.executable, "-c", code],
        env=processes.environment(),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    ours.send_signal(signal.SIGINT)
    _, err = ours.communicate(timeout=30)
    assert ours.returncode == 128 + signal.SIGTERM
    assert "SIGTERM" in err


def wait_for(what) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


# The picture


def report(budget: int, *, swap: int | None = 0) -> ProfileReport:
    with Recorder(budget) as recorder:
        with recorder.stage("ocr"):
            pass
        with recorder.stage("embeddings"):
            pass
    one, two = recorder.stages
    stages = (replace(one, began_s=0.0, ended_s=4.0), replace(two, began_s=4.0, ended_s=10.0, verdict="problem"))
    samples = tuple(Sample(s / 2, 400 * MB + s * 100 * MB, None if swap is None else swap * s) for s in range(21))
    return ProfileReport("Pomnit", "problem", budget, (Check("swap", "ok", "none"),), stages, samples, None, 10.0)


def pixels(found: ProfileReport) -> dict[tuple[int, int, int], int]:
    picture = Image.open(io.BytesIO(profile_chart.png(found)))
    assert (picture.format, picture.size) == ("PNG", (2000, 1120))
    return {colour: n for n, colour in picture.convert("RGB").getcolors(1 << 24)}


def rgb(colour: str) -> tuple[int, int, int]:
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def test_the_chart_has_memory_swap_budget_and_the_marks_of_the_stages():
    plain = pixels(report(3000 * MB, swap=20 * MB))
    for colour in (
        profile_chart.MEMORY,
        profile_chart.FILL,
        profile_chart.SWAP,
        profile_chart.BUDGET,
        profile_chart.INK,
    ):
        assert plain.get(rgb(colour), 0) > 500, colour
    marks = [rgb("#2f855a"), rgb("#b83232")]  # ok, problem
    assert all(plain.get(colour, 0) > 500 for colour in marks)


def test_a_budget_far_above_is_named_and_not_drawn_and_unknown_swap_is_no_line():
    drawn, named = pixels(report(3000 * MB)), pixels(report(60_000 * MB, swap=None))
    assert named[rgb(profile_chart.BUDGET)] < drawn[rgb(profile_chart.BUDGET)]
    assert rgb(profile_chart.SWAP) not in named


def test_the_command_writes_the_chart_and_wants_a_png(cli, tmp_path):
    assert cli("profile", "--chart", tmp_path / "c.png", "--", "true").code == 0
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (2000, 1120)
    wrong = cli("profile", "--chart", tmp_path / "c.jpg", "--", "true")
    assert (wrong.code, "ends in .png" in wrong.err) == (2, True)


# status --watch


def watched(*words: str, lines: int = 2) -> list[str]:
    """Gives the first lines of `status --watch`, which Ctrl-C then ends in order."""
    ours = subprocess.Popen(
        [sys.executable, "-m", "pomnit", "status", "--watch", *words],
        env=processes.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    found = [ours.stdout.readline() for _ in range(lines)]
    ours.send_signal(signal.SIGINT)
    _, err = ours.communicate(timeout=30)
    assert (ours.returncode, err) == (0, "")
    return found


def test_the_watch_shows_the_owner_and_what_waits(memory: Memory, settings: Settings, files):
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    memory.add([note(files / "a.txt", "words that wait")])
    first, second = map(json.loads, watched("--json"))
    holder.communicate()
    assert set(first) == {f.name for f in fields(records.Moment)}
    assert first["owner"] == holder.pid
    assert [process["pid"] for process in first["processes"]] == [holder.pid]
    assert "hold" in first["processes"][0]["command"]
    assert first["memory"] == first["processes"][0]["memory"] > 5 * MB
    assert first["waiting"] == {"read": 1}
    assert second["time"] > first["time"]
    assert second["cpu_idle"] is None or 0 <= second["cpu_idle"] <= 1


def test_the_watch_says_that_nobody_works_one_line_each_second(memory: Memory):
    lines = watched()
    assert all("memory 0 bytes of" in line and "in 0 processes" in line for line in lines)


def test_the_owner_is_named_while_it_lives_and_only_then(memory: Memory, settings: Settings):
    assert owner_of(settings.home) is None
    lock = OwnerLock(settings.home)
    assert lock.take()
    assert owner_of(settings.home) == os.getpid()
    lock.give_back()
    assert owner_of(settings.home) is None
    holder = processes.started("hold")
    assert holder.stdout.readline() == "holds\n"
    assert owner_of(settings.home) == holder.pid
    holder.kill()
    holder.communicate()
    assert owner_of(settings.home) is None


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/usr/bin/python3", "-P", "-m", "pomnit.governor.child", "BGE-M3 onnx-8"], "engine BGE-M3 onnx-8"),
        (["python3", "-m", "pomnit", "add", "x"], "pomnit add x"),
        (["/venv/bin/python3.11", "/venv/bin/pomnit", "add"], "pomnit add"),
        (["/usr/bin/tesseract"], "tesseract"),
        ([], "?"),
    ],
)
def test_a_process_has_a_short_name(words, name):
    assert short(words) == name
