"""A Qwen3-VL as mlx-vlm runs it: loading, prompts, words one by one, and what is kept from one answer for the next.

Everything here is done in MLX's own thread; see ``mlx_session.in_its_thread``.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pomnit.engines.looking import Looked, Seen
from pomnit.engines.mlx_session import CACHE
from pomnit.engines.prompt import Message
from pomnit.errors import EngineMissing, ModelDamaged
from pomnit.models import hub
from pomnit.models.cards import CONFIG, VisionCard

PREFILL = 256  # tokens that are read at once: for each the library reckons 150,000 words that might follow
KEPT = 64 << 20  # bytes of what pictures were seen as; one of half a megapixel has 10 million
ENDS = ("<|im_end|>", "<|endoftext|>")  # after these nothing is said
KIND = "qwen3_vl"
_FOREIGN = "auto_map"  # in a configuration: the program that shall be fetched and run for it


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model reads it."""

    ids: list[int]
    inputs: dict[str, Any]  # arrays, by the library's names
    keys: tuple[str, ...]  # of its pictures, in their order


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read and said for one answer."""

    keys: tuple[str, ...]
    state: Any


class VlmModel:
    """A loaded model."""

    def __init__(self, card: VisionCard, folder: Path) -> None:
        """Loads the files in ``folder``, of which none may bring a program of its own.

        Raises:
            EngineMissing: mlx-vlm is not here.
            ModelDamaged: the files are not those of a Qwen3-VL, or a tensor is missing or does not fit.
        """
        _check(folder)
        os.environ["HF_HUB_OFFLINE"] = "1"  # its libraries look there for what they do not find
        try:
            import mlx.core as mx
            from mlx_vlm import load
        except ImportError as error:
            raise EngineMissing(f"mlx-vlm cannot be imported ({error}); type: pip install 'pomnit[vision]'") from None
        mx.set_cache_limit(CACHE)
        try:
            self._model, self._processor = load(str(folder))
        except Exception as error:  # of no common base, as all of MLX's
            said = " ".join(str(error).split())
            raise ModelDamaged(f"{folder}: {said:.200}; type: pomnit models pull {card.name}") from error
        self._tokenizer = self._processor.tokenizer
        ends = [self._tokenizer.convert_tokens_to_ids(end) for end in ENDS]
        self._tokenizer.stopping_criteria.reset([end for end in ends if end is not None])
        self._eyes = Eyes(self._model.vision_tower)
        self._model.vision_tower = self._eyes
        self._kept: _Kept | None = None

    @property
    def step(self) -> int:
        """The pixels of a side that one token stands for."""
        looks = self._processor.image_processor
        return int(looks.patch_size * looks.merge_size)

    def prompt(self, told: Sequence[Message], pictures: Sequence[Looked]) -> Prompt:
        """Gives what was told as the model reads it, by its own template; ``pictures`` in the order of their parts."""
        from mlx_vlm.utils import prepare_inputs

        text = self._tokenizer.apply_chat_template(
            [_plain(message) for message in told],
            add_generation_prompt=True,
            tokenize=False,
            **({} if self._tokenizer.chat_template else {"chat_template": TEMPLATE}),
        )
        inputs = prepare_inputs(
            self._processor,
            images=[picture.image for picture in pictures] or None,
            prompts=text,
            image_token_index=self._model.config.image_token_index,
            add_special_tokens=False,
        )
        ids = inputs["input_ids"].flatten().tolist()
        return Prompt(ids, dict(inputs), tuple(picture.key for picture in pictures))

    def begin(self, prompt: Prompt, most: int) -> Generator[str, None, None]:
        """Gives the words of an answer of up to ``most`` tokens, one token after the other, the likeliest each time."""
        from mlx_vlm import stream_generate

        state = self._state(prompt)
        self._eyes.keys = prompt.keys
        inputs = dict(prompt.inputs)
        words = stream_generate(
            self._model,
            self._processor,
            "",
            input_ids=inputs.pop("input_ids"),
            mask=inputs.pop("attention_mask", None),
            pixel_values=inputs.pop("pixel_values", None),
            **inputs,
            prompt_cache_state=state,
            max_tokens=most,
            temperature=0.0,
            prefill_step_size=PREFILL,
            skip_special_tokens=True,
        )
        try:
            for word in words:
                yield word.text
        finally:
            words.close()
        self._kept = _Kept(prompt.keys, state)

    def _state(self, prompt: Prompt) -> Any:
        """Gives what was kept when it is of use for this prompt, else something empty.

        It is taken away meanwhile: what an answer leaves that was not finished is no beginning of another one.
        """
        from mlx_vlm.generate import PromptCacheState

        kept, self._kept = self._kept, None
        if kept is not None and kept.keys == prompt.keys:
            looks = self._model.config.image_token_index
            shared = kept.state.find_prefix_length(prompt.ids)
            if 0 < shared < len(prompt.ids) and looks not in prompt.ids[shared:]:
                return kept.state
        return PromptCacheState()


class Eyes:
    """The part of the model that looks, in its place: it looks at each picture alone, and once while it is kept."""

    def __init__(self, tower: Any) -> None:
        self.patch_embed = tower.patch_embed  # by which the library tells the format of its numbers
        self.keys: Sequence[str] = ()  # of the pictures of the prompt that is read
        self._tower = tower
        self._seen = Seen(KEPT)

    def __call__(self, patches: Any, grid: Any, **_: Any) -> tuple[Any, list[Any]]:
        """Gives what is seen: of all patches, and of each of the layers between."""
        import mlx.core as mx

        found, at = [], 0
        for number, (frames, height, width) in enumerate(grid.tolist()):
            end = at + int(frames * height * width)
            found.append(self._look(self.keys[number], patches[at:end], grid[number : number + 1]))
            at = end
        layers = [mx.concatenate(list(layer)) for layer in zip(*(each[1] for each in found), strict=True)]
        return mx.concatenate([each[0] for each in found]), layers

    def _look(self, key: str, patches: Any, grid: Any) -> tuple[Any, list[Any]]:
        import mlx.core as mx

        seen = self._seen.get(key)
        if seen is None:
            seen = self._tower(patches, grid)
            mx.eval(seen)
            self._seen.put(key, seen, sum(int(array.nbytes) for array in (seen[0], *seen[1])))
        return seen  # type: ignore[no-any-return]


# The form of a conversation that all Qwen3-VL know, for a folder without a template: those of conversions differ in
# the file that holds it.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _plain(message: Message) -> dict[str, Any]:
    """Gives a message as a template wants it."""
    if all(part.picture is None for part in message.parts):
        return {"role": message.role, "content": message.text}
    parts = [{"type": "text", "text": p.text} if p.picture is None else {"type": "image"} for p in message.parts]
    return {"role": message.role, "content": parts}


def _check(folder: Path) -> None:
    """Refuses what is no Qwen3-VL, and what names a program to run: mlx-vlm would trust it.

    Raises:
        EngineMissing, ModelDamaged.
    """
    if not (folder / CONFIG).is_file():
        raise EngineMissing(f"{folder} has no {CONFIG}")
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith((".index.json", "tokenizer.json", "vocab.json")):
            continue
        described = hub.read_json(path)
        if isinstance(described, dict) and _FOREIGN in described:
            raise ModelDamaged(f"{path}: it names a program to run ({_FOREIGN}), and none is")
        if path.name == CONFIG and (not isinstance(described, dict) or described.get("model_type") != KIND):
            found = described.get("model_type") if isinstance(described, dict) else None
            raise ModelDamaged(f"{path}: model_type is {found!r:.40}, not {KIND}")
    if code := sorted(path.name for path in folder.glob("*.py")):
        raise ModelDamaged(f"{folder}: it holds a program, {code[0]:.80}; remove it")


def clear() -> None:
    """Gives the memory back: no cycle, nothing kept for later, in this order."""
    import mlx.core as mx

    gc.collect()
    mx.clear_cache()
