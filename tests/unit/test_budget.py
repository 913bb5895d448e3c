"""How much may be taken on this machine?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.errors import UsageError
from pomnit.governor.budget import OWN, PROFILES, SYSTEM, detect
from pomnit.governor.machine import Machine
from pomnit.models.cards import ENCODERS, RERANKERS

GIB = 1 << 30
GB = 1_000_000_000


def machine(total: float, *, limited: bool = False) -> Machine:
    return Machine(round(total), round(total / 2), 0, 0, limited)


@pytest.mark.parametrize(
    ("total", "profile", "budget"),
    [
        (8 * GIB, "8gb", 4.3 * GB),
        (7.65 * GIB, "8gb", 4.3 * GB),  # what Linux tells of 8 GB
        (16 * GIB, "16gb", 10 * GB),
        (15.2 * GIB, "16gb", 10 * GB),
        (24 * GIB, "16gb", 10 * GB),
        (32 * GIB, "32gb", 22 * GB),
        (64 * GIB, "32gb", 22 * GB),
    ],
)
def test_a_machine_gets_the_budget_of_its_size(total, profile, budget):
    found = detect(machine(total))
    assert (found.profile.name, found.bytes) == (profile, budget)


def test_the_reason_says_what_is_left_to_others():
    assert detect(machine(8 * GIB)).reason == "8.6 GB of memory: 4.3 GB are left to the system and a browser"


def test_a_smaller_machine_gives_less():
    found = [detect(machine(total * GIB)).bytes for total in (2, 4, 6, 7)]
    assert found == sorted(found)
    assert found[1] == round(0.4 * 4 * GIB)
    assert found[-1] == 7 * GIB - SYSTEM < 4.3 * GB


def test_a_containers_limit_is_kept_with_something_to_spare():
    found = detect(machine(4.5 * GB, limited=True))
    assert found.bytes == round(0.95 * 4.5 * GB)
    assert found.reason == "95% of the container's limit of 4.5 GB"
    roomy = detect(machine(6 * GB, limited=True))
    assert (roomy.bytes, roomy.profile.name) == (4.3 * GB, "8gb")
    assert roomy.reason == "6.0 GB of memory: 1.7 GB are left to other programs in the container"


def test_a_profile_that_is_asked_for_is_taken_but_never_beyond_the_machine():
    small = detect(machine(32 * GIB), "8gb")
    assert (small.bytes, small.profile.name) == (4.3 * GB, "8gb")
    assert small.reason.startswith("the settings ask for the profile 8gb; 34.4 GB of memory")
    large = detect(machine(8 * GIB), "32gb")
    assert (large.bytes, large.profile.name) == (8 * GIB - SYSTEM, "32gb")


def test_a_budget_that_is_asked_for_is_taken_and_the_profile_follows_it():
    found = detect(machine(16 * GIB), budget_asked=6 * GB)
    assert (found.bytes, found.profile.name) == (6 * GB, "8gb")
    assert found.reason == "the settings ask for a budget of 6.0 GB"
    assert detect(machine(16 * GIB), budget_asked=12 * GB).profile.name == "16gb"
    assert detect(machine(16 * GIB), "16gb", 2 * GB).profile.name == "16gb"


@pytest.mark.parametrize(
    ("here", "asked", "said"),
    [
        (machine(8 * GIB), 8 * GB, ["budget = 8.0 GB", "8.6 GB", "the most is 7.7 GB", "4.3 GB would be taken"]),
        (machine(4.5 * GB, limited=True), 4.4 * GB, ["budget = 4.4 GB", "4.5 GB", "4.3 GB"]),
        (machine(8 * GIB), 7777, ["budget = 7777 bytes", "too little", "0.7 GB"]),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_with_the_numbers(here, asked, said):
    with pytest.raises(UsageError) as caught:
        detect(here, budget_asked=round(asked))
    assert [part for part in said if part not in str(caught.value)] == []


@given(st.integers(1 * GIB, 256 * GIB), st.booleans(), st.sampled_from(["auto", *PROFILES]))
def test_no_budget_takes_what_the_system_needs(total, limited, profile):
    found = detect(Machine(total, total, 0, 0, limited), profile)
    assert found.bytes <= found.profile.budget
    assert found.bytes <= (0.95 * total + 1 if limited else max(total - SYSTEM, 0.4 * total + 1))
    assert found.room == found.bytes - OWN


def test_models_of_the_profiles_have_cards_and_the_smallest_lets_go_in_time():
    for profile in PROFILES.values():
        assert {profile.encoder, profile.encoder_russian} <= ENCODERS.keys()
        assert profile.reranker is None or profile.reranker in RERANKERS
        assert "ru" in ENCODERS[profile.encoder_russian].languages
    assert PROFILES["8gb"].idle_s <= 10
    assert (PROFILES["8gb"].speech_batch, PROFILES["16gb"].speech_batch) == (4, 12)
    assert PROFILES["8gb"].longest_text == 512
