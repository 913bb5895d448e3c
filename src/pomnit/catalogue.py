"""The models as they stand on this machine: what `pomnit models` shows and does.

Reads top to bottom: the inventory, getting files, converting, checking, removing. What is measured is kept in
``measured.json`` in the folder of models.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pomnit.errors import EngineError, NotFound, UsageError
from pomnit.governor import measured, vision
from pomnit.governor.advice import Advice, advise
from pomnit.governor.budget import Profile, detect
from pomnit.governor.choose import Chooser, check_runtime, check_speech
from pomnit.governor.estimate import looking, resident
from pomnit.governor.machine import machine
from pomnit.models import hub
from pomnit.models.cards import (
    CARDS,
    SPEECH,
    VISION,
    Card,
    EncoderCard,
    RerankerCard,
    Runtime,
    SpeechCard,
    TextCard,
    Variant,
    VisionCard,
    named,
)
from pomnit.records import Inventory, ModelCheck, ModelConverted, ModelDropped, ModelPulled, ModelView
from pomnit.settings import BITS, Settings
from pomnit.store.disk import make_private

if TYPE_CHECKING:
    from pomnit.memory import Happening, Memory

Progress = Callable[["Happening"], None]


def card_named(name: str) -> TextCard:
    """Gives the card of a model of texts.

    Raises:
        NotFound: there is none; the message has the nearest names.
    """
    card = named(name)
    if isinstance(card, SpeechCard):
        raise NotFound(f"{card.name} does not read texts: it transcribes, with speech = {card.name} in settings.toml")
    if isinstance(card, VisionCard):
        raise NotFound(
            f"{card.name} makes no vectors: it answers, with answerer = {card.name} in settings.toml, or: pomnit ask"
        )
    if not isinstance(card, TextCard):
        raise NotFound(f"{card.name} does not read texts; type: pomnit models")
    return card


def variant_of(settings: Settings, card: TextCard, bits: int | None = None, runtime: Runtime | None = None) -> Variant:
    """Gives how a card is run here, unless other bits or another runtime are asked for."""
    if runtime is not None:
        settings = dataclasses.replace(settings, runtime=runtime)
    return Chooser(settings).variant(card, bits)


# ------------------------------------------------------------------------------------------------------- inventory


def inventory(settings: Settings, memory: Memory | None = None) -> Inventory:
    """Gives all models: encoders, rerankers, those of speech, those that answer; small ones first.

    ``memory`` says what is in use, None: there is none yet.
    """
    use = _use(settings, memory)
    here = machine()
    advice = advise(detect(here, settings.profile, settings.budget).profile, use.passages)
    cards = [card for card in CARDS.values() if isinstance(card, TextCard)]
    cards.sort(key=lambda card: (isinstance(card, RerankerCard), card.parameters, card.name))
    figures = measured.read(settings)
    return Inventory(
        models=(
            *(_view(settings, card, use, advice, figures) for card in cards),
            *_speech_views(settings, detect(here, settings.profile, settings.budget).profile.speech),
            *_vision_views(settings, detect(here, settings.profile, settings.budget).profile, figures),
        ),
        folder=str(settings.models),
        machine_bytes=here.total,
        advice=advice.reason,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Use:
    """What a memory uses."""

    variants: dict[str, Variant]  # name of a card -> how it is run
    making: dict[str, float]  # name of an encoder whose space is being filled -> the part that is there
    passages: dict[str, int]  # language -> number


def _use(settings: Settings, memory: Memory | None) -> _Use:
    chooser = Chooser(settings)
    use = _Use({}, {}, {})
    if memory is not None:
        status = memory.status()
        use.passages.update(status.passages)
        for space in status.spaces:
            card = chooser.encoder_card(space.card)
            if card is not None and space.state == "current":
                use.variants[card.name] = _variant_of_space(chooser, card, space.precision)
            elif card is not None and space.state == "filling":
                use.making[card.name] = space.vectors / max(space.passages, 1)
        if status.reranker and (reranker := chooser.reranker_card(status.reranker)) is not None:
            use.variants[reranker.name] = chooser.variant(reranker)
    if not any(isinstance(variant.card, EncoderCard) for variant in use.variants.values()):
        first = next(iter(use.making), chooser.default.name)  # what the first vectors are, or will be, made by
        use.making.clear()
        if (card := chooser.encoder_card(first)) is not None:
            use.variants[first] = chooser.variant(card)
    return use


def _variant_of_space(chooser: Chooser, card: EncoderCard, precision: str) -> Variant:
    runtime, _, bits = precision.partition("-")
    if runtime == "given":  # made by an engine that a program handed in
        return chooser.variant(card)
    return Variant(card, "mlx" if runtime == "mlx" else "onnx", int(bits))


def _view(settings: Settings, card: TextCard, use: _Use, advice: Advice, figures: dict[str, int]) -> ModelView:
    variant = use.variants.get(card.name) or variant_of(settings, card)
    runtime = _runtime(variant)
    state = hub.state(card, settings.models, settings.cache, runtime=runtime, bits=variant.bits)
    # nothing is hashed for a model that was never measured
    checked = state.state == "ready" and any(key.startswith(f"{variant.name} ") for key in figures)
    known = figures.get(_measured_key(settings, variant) or "") if checked else None
    works, why = True, _WHY[runtime]
    try:
        check_runtime(variant)
    except EngineError as error:
        works, why = False, str(error).removeprefix(f"{card.name}: ").partition(";")[0]
    return ModelView(
        name=card.name,
        job=_job(card),
        languages=card.languages,
        parameters=card.parameters,
        licence=card.licence,
        disk_bytes=state.size_bytes or published_bytes(card),
        memory_bytes=known if known is not None else resident(variant),
        measured=known is not None,
        state=state.state,
        reason=state.reason,
        folder=str(state.folder) if state.folder else None,
        runtime=runtime,
        bits=variant.bits,
        works=works,
        why=why,
        in_use=card.name in use.variants,
        making=use.making.get(card.name),
        fetched=min(state.size_bytes / published_bytes(card), 0.99) if state.state == "partial" else None,
        advised=card.name in (advice.encoder, advice.reranker),
    )


def _speech_views(settings: Settings, advised: str) -> Iterator[ModelView]:
    """Gives the models that transcribe, small ones first."""
    try:
        used = Chooser(settings).speech_card().name
    except EngineError:
        used = ""
    for card in sorted(SPEECH.values(), key=lambda card: card.parameters):
        state = hub.state(card, settings.models, settings.cache, runtime=None, bits=card.bits)
        works, why = True, _WHY[card.runtime]
        try:
            check_speech(card)
        except EngineError as error:
            works, why = False, str(error).removeprefix(f"{card.name}: ").partition("; set ")[0]
        yield ModelView(
            name=card.name,
            job="transcribe",
            languages=card.languages,
            parameters=card.parameters,
            licence=card.licence,
            disk_bytes=state.size_bytes or published_bytes(card),
            memory_bytes=card.held_bytes + card.window_bytes,
            measured=False,
            state=state.state,
            reason=state.reason,
            folder=str(state.folder) if state.folder else None,
            runtime=card.runtime,
            bits=card.bits,
            works=works,
            why=why,
            in_use=card.name == used and state.state == "ready",
            making=None,
            fetched=min(state.size_bytes / published_bytes(card), 0.99) if state.state == "partial" else None,
            advised=card.name == advised,
        )


def _vision_views(settings: Settings, profile: Profile, figures: dict[str, int]) -> Iterator[ModelView]:
    """Gives the models that answer and look at pictures, small ones first."""
    try:
        used = Chooser(settings).answering().name
    except EngineError:
        used = ""
    why = vision.why_not()
    for card in sorted(VISION.values(), key=lambda card: card.parameters):
        state = hub.state(card, settings.models, settings.cache, runtime=None, bits=card.bits)
        began = f"{vision.name_of(card)} "  # nothing is hashed for a model that was never measured
        known = next((n_bytes for key, n_bytes in figures.items() if key.startswith(began)), None)
        yield ModelView(
            name=card.name,
            job="answer",
            languages=card.languages,
            parameters=card.parameters,
            licence=card.licence,
            disk_bytes=state.size_bytes or published_bytes(card),
            memory_bytes=known or looking(card, profile.answer_tokens, profile.picture_pixels),
            measured=known is not None,
            state=state.state,
            reason=state.reason,
            folder=str(state.folder) if state.folder else None,
            runtime="mlx",
            bits=card.bits,
            works=not why,
            why=why or _WHY["mlx"],
            in_use=card.name == used and state.state == "ready",
            making=None,
            fetched=min(state.size_bytes / published_bytes(card), 0.99) if state.state == "partial" else None,
            advised=card.name == profile.vision and not why,
        )


_WHY = {
    "ctranslate2": "CTranslate2, on the processor",
    "onnx": "ONNX Runtime, on the processor",
    "mlx": "MLX, on Apple silicon",
}


def published_bytes(card: TextCard | SpeechCard | VisionCard) -> int:
    """Gives about how many bytes of weights a card's repository holds: Qwen3 is there in 16 bits."""
    if isinstance(card, VisionCard):
        return card.weight_bytes
    if isinstance(card, SpeechCard):
        bits: float = card.published_bits
    elif card.made_for is not None:
        bits = card.bits + (0.5 if card.bits < 16 else 0)  # a scale and an offset of 16 bits for each group of 64
    else:
        bits = 16 if card.architecture == "qwen3" else 32
    return round(card.parameters * bits / 8)


def _runtime(variant: Variant) -> Runtime:
    return "mlx" if variant.runtime == "mlx" else "onnx"


# ----------------------------------------------------------------------------------------------- getting, converting


def pull(settings: Settings, name: str, folder: str | None, *, on_progress: Progress) -> ModelPulled:
    """Gets the published files of a model from its hub, or copies them from ``folder``.

    Raises:
        NotFound: there is no such model.
        EngineMissing: the hub cannot be reached, or the folder lacks files; says what to put where by hand.
        ModelDamaged: what came is not what the card says.
        DiskFull
    """
    from pomnit.memory import Happening
    from pomnit.models import pull as hub_pull

    def tell(done: int, total: int, file: str) -> None:
        on_progress(Happening("pull", done, total, file))

    card, began = named(name), time.monotonic()
    source = Path(folder).expanduser() if folder is not None else None
    got = hub_pull.pull(card, settings.models, folder=source, on_progress=tell)
    took = round(time.monotonic() - began, 1)
    job = _job(card)
    return ModelPulled(card.name, job, str(got.folder), got.revision, got.pinned, got.size_bytes, got.fresh, took)


def _job(card: Card) -> str:
    if isinstance(card, (SpeechCard, VisionCard)):
        return "transcribe" if isinstance(card, SpeechCard) else "answer"
    return "embed" if isinstance(card, EncoderCard) else "rerank"


def convert(
    settings: Settings,
    model: str,
    *,
    card: str | None,
    bits: int | None,
    runtime: Runtime | None,
    delete_published: bool,
    on_progress: Progress,
) -> ModelConverted:
    """Makes a folder of fewer bits of the published files of a model, or of those in a folder.

    Raises:
        NotFound: there is no such model, or the name of the folder is that of none.
        EngineMissing, ModelDamaged: the published files are not here, or not what they should be.
        UsageError, EngineError: this kind of model, or so many bits, cannot be made.
        DiskFull
    """
    from pomnit.memory import Happening

    began = time.monotonic()
    given = Path(model).expanduser() if Path(model).expanduser().is_dir() and not _is_name(model) else None
    wanted = card_named(card or (given.name if given else model))
    if wanted.made_for is not None:
        raise UsageError(f"{wanted.name} was converted by its publisher; type: pomnit models use {wanted.name}")
    files = hub.published(wanted, settings.models, settings.cache, given)
    if delete_published and {"site-packages", "dist-packages"} & set(files.folder.parts):
        raise UsageError(f"{files.folder} belongs to a package; leave --delete-published out")
    variant = variant_of(settings, wanted, bits, runtime)
    target = settings.models / hub.converted_name(wanted, _runtime(variant), variant.bits)
    make_private(settings.models)

    def tell(done: int, total: int) -> None:
        on_progress(Happening("quantise" if variant.runtime == "mlx" else "convert", done, total))

    if variant.runtime == "mlx":
        from pomnit.models import quantise

        quantise.convert(wanted, files, target, variant.bits, on_progress=tell)
    else:
        from pomnit.engines import onnx_build

        onnx_build.build(wanted, files, variant.bits, target, tell)
    before = _bytes_in(files.folder)
    if delete_published:
        _remove(files.folder, hub.published_names(wanted, files.folder)[0] if given else None)
    return ModelConverted(wanted.name, str(target), before, _bytes_in(target), round(time.monotonic() - began, 1))


def _is_name(model: str) -> bool:
    return model.casefold() in {name.casefold() for name in CARDS}


# -------------------------------------------------------------------------------------------------------- measuring


def check(settings: Settings, name: str, *, bits: int | None, runtime: Runtime | None, rounds: int) -> ModelCheck:
    """Gives what a model does here, and keeps its memory for the inventory.

    Raises:
        NotFound: there is no such model.
        EngineError: and those below it: it cannot be loaded or run.
    """
    from pomnit.governor import check as checking

    if isinstance(card := named(name), VisionCard):
        raise NotFound(_unchecked(settings, card))
    variant = variant_of(settings, card_named(name), bits, runtime)
    found = checking.check(variant, settings, rounds)
    if key := _measured_key(settings, variant):
        measured.keep(settings, key, max(found.resident_bytes - found.program_bytes, 0))
    return found


def _unchecked(settings: Settings, card: VisionCard) -> str:
    """Says what can be known of a model that answers: no golden texts tell whether its answers are right."""
    state = hub.state(card, settings.models, settings.cache, runtime=None, bits=card.bits)
    said = f"{card.name} is not checked: no golden answers tell how well it sees; its files are {state.state}"
    said += f" ({state.reason})" if state.state != "ready" else ", by size; pull compares every byte"
    if why := vision.why_not():
        return f"{said}; {why}"
    return f"{said}; type: pomnit ask --answerer {card.name}, and pomnit status shows the memory it took"


def _measured_key(settings: Settings, variant: Variant) -> str | None:
    """Gives what the figures of a variant of these very files are kept under; None when the files are not here."""
    try:
        files = hub.find(variant.card, settings.models, settings.cache, runtime=_runtime(variant), bits=variant.bits)
    except EngineError:
        return None
    return f"{variant.name} {files.digest}"


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------------- removing


def drop(settings: Settings, memory: Memory | None, name: str, *, files: bool) -> ModelDropped:
    """Takes the vectors of a model that is not in use away, or a reranker out of use; with ``files`` the model too.

    ``name`` may have a precision after it ("BGE-M3 onnx-4"), for the vectors of that one alone.

    Raises:
        NotFound: there is no such model, or nothing of it is here.
        UsageError: the model is the encoder in use.
    """
    card_name, _, precision = name.partition(" ")
    card = named(card_name)
    if files and precision:
        raise UsageError(
            f"the files of {card.name} serve all its precisions; type: pomnit models drop {card.name} --files"
        )
    full = f"{card.name} {precision}".strip()
    folders = _folders_of(settings, card) if files else []
    vectors = freed = 0
    try:
        if memory is None:
            raise NotFound(f"there is no memory in {settings.home} yet, so no vectors of {card.name}")
        if not isinstance(card, TextCard):
            raise NotFound(f"{card.name} makes no vectors; type: pomnit models drop {card.name} --files")
        receipt = memory.drop(full)
        vectors, freed = receipt.vectors, receipt.bytes_freed
    except NotFound:
        if not folders:
            raise
    freed += sum(map(_bytes_in, folders))
    for folder in folders:
        _remove(folder)
    return ModelDropped(full, vectors, tuple(map(str, folders)), freed)


def _folders_of(settings: Settings, card: Card) -> list[Path]:
    """Gives all folders that hold a card's files, finished or not, and graphs that were built from them."""
    runtimes: tuple[Runtime, ...] = ("onnx", "mlx")
    names = [card.name] + [hub.converted_name(card, runtime, bits) for runtime in runtimes for bits in BITS]
    folders = [settings.models / f"{name}{end}" for name in names for end in ("", hub.PART)]
    for built in (settings.cache / "onnx").glob("*/" + hub.MANIFEST):
        with contextlib.suppress(EngineError):
            if (manifest := hub.read_manifest(built.parent)) is not None and manifest.card == card.name:
                folders.append(built.parent)
    return [folder for folder in folders if folder.is_dir()]


def _remove(folder: Path, names: list[str] | None = None) -> None:
    """Removes a folder; with ``names`` only these files, and the folder when nothing else is in it.

    Raises:
        EngineError: the system refuses.
    """
    try:
        if names is not None:
            for name in names:
                (folder / name).unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
        elif folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise EngineError(f"{folder} cannot be removed: {error.strerror}") from error
