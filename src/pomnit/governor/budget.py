"""How much memory Pomnit may take on this machine, why so much, and how it works in it."""

from __future__ import annotations

from dataclasses import dataclass

from pomnit.errors import UsageError
from pomnit.governor.machine import Machine
from pomnit.settings import ProfileName

SYSTEM = 3_700_000_000  # bytes that the system and an open browser need beside us
OWN = 450_000_000  # of the budget: the owner itself, and one guest with its small encoder
SMALL = 250_000_000  # an engine up to this size may live in the process that uses it
KEPT_BACK = 0.85  # a machine sold with 16 GB tells 15.2 or less: firmware and graphics keep the rest
LIMIT_SHARE = 0.95  # of a container's limit: the rest is the kernel's own books, and what comes for a moment
LEAST_SHARE = 0.4  # of the memory, on machines where less than that would be left beside SYSTEM
MOST_SHARE = 0.9  # of the machine's memory, whatever was asked for


@dataclass(frozen=True, slots=True)
class Profile:
    """How to work on machines of one size. Models are names of cards."""

    name: ProfileName
    installed: int  # GiB, from which on
    budget: int  # bytes, where the machine leaves so much
    encoder: str
    encoder_russian: str  # instead, as soon as enough of what is remembered is Russian
    reranker: str | None
    speech: str
    vision: str
    speech_batch: int  # windows of 30 s that are transcribed together
    longest_text: int  # tokens that an encoder reads at once
    answer_tokens: int  # of a question with its evidence and pictures, and of the answer
    picture_pixels: int  # of all pictures that are looked at for one answer
    picture_side: int  # pixels of a picture's longer side
    idle_s: float  # after which an engine that nobody uses is unloaded
    keeping: bool  # whether the engines of one stage stay, when there is room, while the next one's are loaded


# The budget of a size leaves the system and an open browser what they need, and more on larger machines, which are
# bought for more than a browser: 4.3 of 8.6 GB, 7.2 of 17.2, 12.4 of 34.4.
PROFILES: dict[ProfileName, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="8gb",
            installed=0,
            budget=4_300_000_000,
            encoder="all-MiniLM-L6-v2",
            encoder_russian="multilingual-e5-small",
            reranker=None,
            speech="whisper-base",
            vision="Qwen3-VL-4B",
            speech_batch=4,
            longest_text=512,
            answer_tokens=2_304,
            picture_pixels=524_288,
            picture_side=1_024,
            idle_s=10,  # ended and given back within 15 s of the last work
            keeping=False,
        ),
        Profile(
            name="16gb",
            installed=16,
            budget=10_000_000_000,
            encoder="BGE-M3",
            encoder_russian="BGE-M3",
            reranker="mmarco-mMiniLMv2-L12",
            speech="whisper-small",
            vision="Qwen3-VL-4B",
            speech_batch=12,
            longest_text=1024,
            answer_tokens=6_144,
            picture_pixels=1_572_864,
            picture_side=1_600,
            idle_s=60,
            keeping=True,
        ),
        Profile(
            name="32gb",
            installed=32,
            budget=22_000_000_000,
            encoder="Qwen3-Embedding-4B",
            encoder_russian="Qwen3-Embedding-4B",
            reranker="bge-reranker-v2-m3",
            speech="whisper-large-v3-turbo",
            vision="Qwen3-VL-8B",
            speech_batch=12,
            longest_text=2048,
            answer_tokens=12_288,
            picture_pixels=3_145_728,
            picture_side=2_048,
            idle_s=300,
            keeping=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Budget:
    """What all processes of one memory may take together, in bytes, and why so much."""

    bytes: int
    profile: Profile
    reason: str

    @property
    def room(self) -> int:
        """What is left for engines, in bytes."""
        return self.bytes - OWN


def detect(machine: Machine, profile_asked: ProfileName = "auto", budget_asked: int | None = None) -> Budget:
    """Gives the budget of a machine, or what the settings ask for.

    The profile follows the memory unless it is asked for; where only a budget is asked for it follows that.

    Raises:
        UsageError: the budget asked for is more than there is, or too little to work in.
    """
    if budget_asked is not None:
        _check(machine, budget_asked)
        profile = _fitting(budget_asked) if profile_asked == "auto" else PROFILES[profile_asked]
        return Budget(budget_asked, profile, f"the settings ask for a budget of {gb(budget_asked)}")
    profile = _suiting(machine.total) if profile_asked == "auto" else PROFILES[profile_asked]
    ceiling = _ceiling(machine)
    asked = f"the settings ask for the profile {profile.name}; " if profile_asked != "auto" else ""
    if ceiling < profile.budget and machine.limited:
        return Budget(ceiling, profile, f"{asked}{LIMIT_SHARE:.0%} of the container's limit of {gb(machine.total)}")
    budget = min(ceiling, profile.budget)
    rest = f"{gb(machine.total - budget)} are left to the system and a browser"
    if machine.limited:
        rest = f"{gb(machine.total - budget)} are left to other programs in the container"
    return Budget(budget, profile, f"{asked}{gb(machine.total)} of memory: {rest}")


def gb(n: int) -> str:
    """Gives a number of bytes in GB of a thousand million, the unit of all figures about the budget."""
    return f"{n / 1e9:.1f} GB" if n >= 50_000_000 else f"{n} bytes"


def _suiting(total: int) -> Profile:
    """Gives the profile for so much memory."""
    return [p for p in PROFILES.values() if total >= p.installed * (1 << 30) * KEPT_BACK][-1]


def _fitting(budget: int) -> Profile:
    """Gives the largest profile that was made for a budget of that size or less."""
    return [p for p in PROFILES.values() if p.installed == 0 or budget >= p.budget][-1]


def _ceiling(machine: Machine) -> int:
    """Gives the most that a machine can spare: in a container nobody else has a claim to its limit."""
    if machine.limited:
        return round(LIMIT_SHARE * machine.total)
    return max(machine.total - SYSTEM, round(LEAST_SHARE * machine.total))


def _check(machine: Machine, budget: int) -> None:
    most = round((LIMIT_SHARE if machine.limited else MOST_SHARE) * machine.total)
    if budget > most:
        raise UsageError(
            f"budget = {gb(budget)} is more than can be taken of {gb(machine.total)}; the most is {gb(most)},"
            f" and {gb(detect(machine).bytes)} would be taken without this setting"
        )
    if budget < OWN + SMALL:
        raise UsageError(
            f"budget = {gb(budget)} is too little: Pomnit itself and one small model need {gb(OWN + SMALL)}"
        )
