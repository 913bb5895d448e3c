"""Which models are advised, by memory and language; and how much memory there is, by the files of the kernel."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.governor.advice import advise, better
from pomnit.governor.budget import PROFILES, Budget, detect
from pomnit.governor.environment import environment
from pomnit.governor.estimate import resident
from pomnit.governor.gauge_linux import Linux
from pomnit.governor.machine import Machine, footprint, machine, taken
from pomnit.models.cards import ENCODERS, RERANKERS, Variant
from pomnit.records import Check
from pomnit.settings import Settings

GIB = 1 << 30
GB = 1_000_000_000
ENGLISH, MIXED = {"en": 1000}, {"en": 900, "ru": 100}


def budget(gib: float) -> Budget:
    return detect(Machine(round(gib * GIB), None, None, None, limited=False))


def run(name: str, runtime="onnx", bits: int | None = None) -> Variant:
    card = (ENCODERS | RERANKERS)[name]
    return Variant(card, runtime, bits or card.bits)


@pytest.mark.parametrize(
    ("gib", "passages", "encoder", "reranker"),
    [
        (7.7, ENGLISH, "all-MiniLM-L6-v2", None),
        (7.7, {}, "all-MiniLM-L6-v2", None),
        (7.7, {"en": 901, "ru": 99}, "all-MiniLM-L6-v2", None),
        (7.7, MIXED, "multilingual-e5-small", None),
        (4, {"ru": 3}, "multilingual-e5-small", None),
        (16, ENGLISH, "BGE-M3", "mmarco-mMiniLMv2-L12"),
        (15.3, MIXED, "BGE-M3", "mmarco-mMiniLMv2-L12"),  # what a machine of 16 GB tells
        (31.2, MIXED, "Qwen3-Embedding-4B", "bge-reranker-v2-m3"),
        (128, ENGLISH, "Qwen3-Embedding-4B", "bge-reranker-v2-m3"),
    ],
)
def test_the_models_advised_follow_the_profile_and_language(gib: float, passages, encoder: str, reranker: str | None):
    profile = budget(gib).profile
    advice = advise(profile, passages)
    assert (advice.encoder, advice.reranker) == (encoder, reranker)
    assert f"profile {profile.name}" in advice.reason


def test_the_reason_says_how_much_is_russian():
    assert "10% of the passages are Russian" in advise(PROFILES["8gb"], MIXED).reason


@given(st.integers(2 * GIB, 600 * GIB), st.dictionaries(st.sampled_from(["en", "ru", "other"]), st.integers(0, 10**6)))
def test_what_is_advised_is_in_the_catalogue_fits_and_is_never_bettered(memory: int, passages: dict[str, int]):
    here = budget(memory / GIB)
    advice = advise(here.profile, passages)
    assert advice.reranker is None or advice.reranker in RERANKERS
    engines = [run(advice.encoder)] + ([run(advice.reranker)] if advice.reranker else [])
    assert sum(map(resident, engines)) < here.room
    assert better(advice, run(advice.encoder), advice.reranker, here, passages) is None


def test_a_choice_that_serves_worse_is_named_with_what_would_serve_better():
    small, e5, m3, large = map(run, ["all-MiniLM-L6-v2", "multilingual-e5-small", "BGE-M3", "Qwen3-Embedding-8B"])
    eight, sixteen = budget(8), budget(16)
    english, mixed = advise(eight.profile, ENGLISH), advise(eight.profile, MIXED)
    more = advise(sixteen.profile, ENGLISH)
    assert better(mixed, small, None, eight, MIXED) == "multilingual-e5-small"
    assert better(more, small, None, sixteen, ENGLISH) == "BGE-M3"
    assert better(more, m3, None, sixteen, ENGLISH) == "mmarco-mMiniLMv2-L12"
    assert better(english, large, None, eight, ENGLISH) == "all-MiniLM-L6-v2"
    assert better(english, e5, None, eight, ENGLISH) is None  # more than is advised, and it fits


# How much a model takes


def test_fewer_bits_take_less_memory_and_the_table_of_words_takes_none():
    for runtime in ("onnx", "mlx"):
        sizes = [resident(run("BGE-M3", runtime, bits)) for bits in (4, 8, 16, 32)]
        assert sizes == sorted(set(sizes))
    assert resident(run("multilingual-e5-small")) < 4 * ENCODERS["multilingual-e5-small"].parameters


@pytest.mark.parametrize(
    ("name", "runtime", "bits", "measured"),
    [  # MB above the program: ONNX after the golden texts, MLX after one; large models at true shapes, random weights
        ("all-MiniLM-L6-v2", "onnx", 4, 38),
        ("all-MiniLM-L6-v2", "onnx", 8, 39),
        ("all-MiniLM-L6-v2", "onnx", 16, 83),
        ("all-MiniLM-L6-v2", "onnx", 32, 94),
        ("BGE-M3", "onnx", 8, 662),
        ("BGE-M3", "onnx", 4, 625),
        ("BGE-M3", "mlx", 8, 647),
        ("Qwen3-Embedding-0.6B", "onnx", 8, 794),
        ("Qwen3-Embedding-0.6B", "onnx", 4, 552),
        ("Qwen3-Embedding-0.6B", "mlx", 8, 571),
        ("Qwen3-Embedding-0.6B", "mlx", 4, 364),
    ],
)
def test_the_estimate_is_within_a_fifth_of_what_was_measured(name, runtime, bits, measured):
    assert abs(resident(run(name, runtime, bits)) / 1e6 / measured - 1) < 0.2


# How much memory there is


@pytest.fixture
def linux(tmp_path: Path):
    """A machine of 16 GiB whose control groups are made of files; nothing is used of their limits."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"

    def make(cgroup: str | None, **limits: str):
        (proc / "self").mkdir(parents=True, exist_ok=True)
        kilobytes = 16 * GIB // 1024
        text = f"MemTotal: {kilobytes} kB\nMemAvailable: {kilobytes // 2} kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n"
        (proc / "meminfo").write_text(text + "HugePages_Total: 0\n")
        (proc / "stat").write_text("cpu  1 0 1 9 0 0 0 0 0 0\n")
        if cgroup is not None:
            (proc / "self" / "cgroup").write_text(cgroup)
        for name, text in limits.items():
            file = groups / name.replace("__", "/").replace("_max", ".max").replace("_limit", ".limit_in_bytes")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
            for used in ("memory.current", "memory.usage_in_bytes"):
                file.with_name(used).write_text("0\n")
            file.with_name("memory.stat").write_text("inactive_file 0\n")
        return machine(Linux(proc=proc, groups=groups, blocks=tmp_path))

    return make


def test_without_a_limit_the_memory_is_that_of_the_machine(linux):
    here = linux("0::/\n", memory_max="max")
    assert (here.total, here.available, here.limited) == (16 * GIB, 8 * GIB, False)
    assert (here.swap_total, here.swap_used) == (2 << 20, 1 << 20)
    assert linux(None).total == 16 * GIB


def test_the_least_limit_of_the_groups_around_counts(linux):
    here = linux("0::/a/b\n", a__memory_max=str(4 * GIB), a__b__memory_max=str(6 * GIB))
    assert (here.total, here.available, here.limited) == (4 * GIB, 4 * GIB, True)


def test_the_least_limit_is_the_total_even_when_another_one_has_less_left(linux, tmp_path: Path):
    linux("0::/a/b\n", a__memory_max=str(4 * GIB), a__b__memory_max=str(3 * GIB))
    (tmp_path / "groups" / "a" / "memory.current").write_text(f"{3 * GIB}\n")  # others took it
    here = linux(None)
    assert (here.total, here.available, here.limited) == (3 * GIB, GIB, True)


def test_what_the_system_does_not_tell_is_not_known(linux, tmp_path: Path):
    linux(None)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 8000000 kB\n")
    here = machine(Linux(proc=tmp_path / "proc", groups=tmp_path / "groups", blocks=tmp_path))
    assert (here.available, here.swap_total, here.swap_used) == (None, None, None)


def test_a_container_that_sees_its_group_at_the_top_is_limited(linux):
    assert linux("0::/../outside/of/it\n", memory_max=str(2 * GIB)).total == 2 * GIB


def test_limits_of_version_1_count_and_its_word_for_none_does_not(linux):
    groups = "5:devices:/x\n4:cpu,memory:/box\n0::/\n"
    assert linux(groups, memory__box__memory_limit=str(3 * GIB)).total == 3 * GIB
    assert linux(groups, memory__box__memory_limit=str(2**63 - 4096)).total == 16 * GIB


def test_the_memory_of_this_machine_and_process_can_be_told():
    here, own = machine(), taken()
    assert 0 < own.mapped < own.resident <= own.highest < here.total
    ballast = bytearray(64 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert taken().resident - own.resident > 60 << 20


def test_the_footprint_of_macos_is_read_from_its_place():
    raw = bytearray(1024)
    struct.pack_into("2Q", raw, 16 + 8 * 6, 300 << 20, 200 << 20)
    struct.pack_into("Q", raw, 16 + 8 * 28, 250 << 20)
    found = footprint(bytes(raw))
    assert (found.resident, found.mapped, found.highest) == (300 << 20, 100 << 20, 250 << 20)


# What doctor says of it


@pytest.fixture
def said(tmp_path: Path, settings: Settings):
    """Gives the checks on a machine of 8 GB with so much swap in use, by name."""

    def checks(swap_used: int = 0, swap_total: int = 2 * GB, settings: Settings = settings) -> dict[str, Check]:
        proc = tmp_path / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "meminfo").write_text(
            f"MemTotal: {8 * GIB // 1024} kB\nMemAvailable: 5000000 kB\n"
            f"SwapTotal: {swap_total // 1024} kB\nSwapFree: {(swap_total - swap_used) // 1024} kB\n"
        )
        (proc / "stat").write_text("cpu  1 0 1 9 0 0 0 0 0 0\n")
        source = Linux(proc=proc, groups=tmp_path / "groups", blocks=tmp_path)
        return {check.name: check for check in environment(settings, source)}

    return checks


def test_the_budget_is_shown_with_its_profile_and_reason(said):
    budget = said()["budget"]
    assert budget.verdict == "ok"
    assert budget.text == ("4.3 GB, profile 8gb: 8.6 GB of memory: 4.3 GB are left to the system and a browser")


def test_swap_that_is_full_before_we_start_is_a_warning(said):
    assert said(0)["swap"].verdict == said(50_000_000)["swap"].verdict == "ok"
    used = said(GB)["swap"]
    assert (used.verdict, used.text) == ("warning", "1.0 GB of 2.0 GB already in use, before Pomnit starts")
    assert used.next
    assert "nearly full" in said(1_900_000_000)["swap"].text
    assert said(0, 0)["swap"].text == "none"


def test_a_budget_that_cannot_be_kept_is_a_problem_and_the_other_checks_go_on(said, monkeypatch):
    monkeypatch.setenv("POMNIT_BUDGET", "64GB")
    checks = said(settings=Settings.load())
    assert checks["budget"].verdict == "problem"
    assert "more than can be taken" in checks["budget"].text
    assert checks["pressure"].text.startswith("normal: 5.1 GB of 8.6 GB are available")
