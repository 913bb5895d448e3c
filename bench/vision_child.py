"""An engine child with the true shape of Qwen3-VL-4B, asked as little as shows what it takes.

``eight_work`` has its governor start it in place of ``pomnit.governor.child``. All is as users have it but the prompt:
MLX's CPU back-end would take a quarter of an hour for the few hundred tokens of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pomnit.engines import answerer_mlx_vlm
from pomnit.engines.looking import Looked
from pomnit.engines.mlx_session import in_its_thread
from pomnit.engines.mlx_vlm_session import Prompt, VlmModel
from pomnit.engines.prompt import Message, Part
from pomnit.engines.protocols import Asked
from pomnit.governor import child
from pomnit.governor.plans import Plan
from pomnit.governor.remote import Streaming, served

TOKENS = 2
SIDE = 64  # pixels of the picture


def make(plan: Mapping[str, Any]) -> Streaming:
    """Makes the engine of a plan, with a short prompt and a short answer."""
    engine = Plan.from_json(plan).make()
    answerer_mlx_vlm.ANSWER = TOKENS
    engine._prompt = short
    return served("answer", engine, 1)  # type: ignore[return-value]


def short(model: VlmModel, asked: Asked) -> Prompt:
    """Gives the picture and the question alone as a prompt."""
    from PIL import Image

    assert asked.picture is not None
    looked = [Looked(Image.new("RGB", (SIDE, SIDE), "red"), asked.picture.digest)]
    told = [Message("user", (Part(picture=asked.picture), Part(asked.question)))]
    return in_its_thread(lambda: model.prompt(told, looked))


if __name__ == "__main__":
    child.main(make)
