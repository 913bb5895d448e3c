"""The programs that ``eight_gb`` measures, each in a process of its own; the work is the same for all.

``governed`` is the product: one memory, its own home, every model by its governor. ``plain`` loads the same engines
into one process and keeps them; ``torch`` is plain too, with the published checkpoints on torch in fp32, in padded
batches. ``cost`` and ``resident`` do a part of the work, for their time: by the governor, or with engines at hand.

A program says what it does in lines of JSON and ends, whatever it is doing, when its standard input ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]

DEFAULT, ENCODER, SECOND, RERANKER = "all-MiniLM-L6-v2", "BGE-M3", "Qwen3-Embedding-0.6B", "bge-reranker-v2-m3"
SPEECH = "whisper-base"
SEES = "Qwen3-VL-4B"
SEEING = HERE.parent / ".venv-vision/bin/python"  # an environment of its own: here torch would be imported beside it
SECOND_BITS = 4
BATCH = 128  # texts of the plain way
READ_AGAIN = 20  # passages that a reranker reads for one question, in the product too
LONGEST = 512  # tokens of a text, of the plain way on torch
TOGETHER = 12  # windows that the plain way transcribes at once
STAY_S = 20.0  # that the governed program stays open after the last work
_SENTENCES = 14  # of a document: two passages


def main() -> int:
    """Does what the argument says."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    job = json.loads(sys.argv[1])
    WORK[job["do"]](job)
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def say(**told: Any) -> None:
    """Tells who measures: the beginning of a stage, or figures."""
    print(json.dumps(told, ensure_ascii=False), flush=True)


# What there is to do


def screens(job: dict[str, Any], *, later: bool = False) -> list[Path]:
    """Gives the screenshots, as many of each language; ``later``: those that are added while others search."""
    of_each, first = (job["later"] // 2, job["screens"] // 2) if later else (job["screens"] // 2, 0)
    folder = Path(job["data"]) / "screens"
    return [folder / f"{lang}-{i:03}.png" for i in range(first, first + of_each) for lang in ("en", "ru")]


def questions(job: dict[str, Any], lang: str, most: int) -> list[str]:
    """Gives questions about those screenshots, one for each."""
    listed = json.loads((Path(job["data"]) / "screens" / f"{lang}.questions.json").read_text("utf-8"))
    first = {entry["screen"]: entry["question"] for entry in reversed(listed)}
    return [first[path.name] for path in screens(job) if path.name in first][:most]


def both(job: dict[str, Any], most: int) -> list[str]:
    """Gives questions in both languages by turns."""
    pairs = zip(questions(job, "en", most), questions(job, "ru", most), strict=True)
    return [question for pair in pairs for question in pair]


def write_documents(job: dict[str, Any]) -> list[Path]:
    """Writes texts and web pages in both languages, each of its own order of sentences; gives their paths."""
    from models import SENTENCES

    folder = Path(job["work"]) / "documents"
    folder.mkdir(exist_ok=True)
    paths = []
    for i in range(job["documents"]):
        drawn = random.Random(i)
        own = list(SENTENCES[:6] if i % 2 == 0 else SENTENCES[6:])
        text = " ".join(f"{drawn.choice(own)[:-1]}, {i}.{k}." for k in range(_SENTENCES))
        web = i % 4 >= 2
        path = folder / f"note {i:03}.{'html' if web else 'txt'}"
        path.write_text(f"<html><body><p>{text}</p></body></html>" if web else text, "utf-8")
        paths.append(path)
    return paths


def write_recording(job: dict[str, Any]) -> Path:
    """Writes two minutes of speech, the golden recording twice; gives its path. 16 kHz, mono."""
    import av

    source = HERE.parent / "tests/golden/speech/recordings/windows.opus"
    path = Path(job["work"]) / "talk.wav"
    with wave.open(str(path), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(16_000)
        for _ in range(2):
            with av.open(str(source)) as opened:
                resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
                for frame in opened.decode(audio=0):
                    for part in resampler.resample(frame):
                        written.writeframes(part.to_ndarray().tobytes())
    return path


def settings(job: dict[str, Any]) -> Any:
    """Gives the settings of the throw-away home."""
    from pomnit.settings import Settings

    work, made = Path(job["work"]), Path(job["made"])
    return Settings.load(
        environ={},
        file=Path(os.devnull),
        home=work / "home",
        key="file",
        key_dir=work / "key",
        models=made / "models",
        cache=made / "cache",
        profile=job.get("profile", "auto"),
    )


# Making what is used


def make(job: dict[str, Any]) -> None:
    """Makes the checkpoints of true shapes and the forms that ONNX Runtime reads, where they are not there."""
    import listen
    import true_shapes
    import true_vision

    from pomnit.engines import onnx_build
    from pomnit.governor.choose import Chooser
    from pomnit.models import hub
    from pomnit.models.cards import CARDS

    keep, used = Path(job["keep"]), settings(job)
    chooser = Chooser(used)
    for name, bits in ((ENCODER, 8), (RERANKER, 8), (SECOND, SECOND_BITS)):
        card, source = CARDS[name], keep / name.lower()
        target = used.models / hub.converted_name(card, "onnx", bits)
        if not (target / hub.MANIFEST).is_file() or not (source / "config.json").is_file():
            if name == RERANKER:
                true_shapes.make_reranker(source, keep / ENCODER.lower())
            else:
                true_shapes.make(name.lower(), source)
        if not (target / hub.MANIFEST).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            onnx_build.build(card, hub.ModelFiles(source, "0" * 64, "published", None), bits, target)
    if not (used.models / SPEECH / hub.MANIFEST).is_file():
        listen.write_whisper(used.models / SPEECH, SPEECH.removeprefix("whisper-"))
        card = CARDS[SPEECH]
        about = {"card": card.name, "repository": card.repository, "revision": card.revision}
        hub.write_manifest(used.models / SPEECH, **about, form="published", bits=None, made_from=None)
    if SEEING.is_file():
        true_vision.make(keep / SEES.lower())
    for plan in plans(chooser):  # builds the small one's graph; and the digests are compared once
        say(ready=plan.name, folder=str(plan.folder))


def plans(chooser: Any) -> list[Any]:
    """Gives how every engine is made: recogniser, transcriber, the encoders from the small one on, reranker."""
    from pomnit.models.cards import ENCODERS, RERANKERS

    random_numbers_are_what_is_wanted()
    wanted = [(ENCODERS[DEFAULT], None), (ENCODERS[ENCODER], None), (ENCODERS[SECOND], SECOND_BITS)]
    wanted.append((RERANKERS[RERANKER], None))
    return [
        chooser.recogniser_plan(),
        chooser.transcriber_plan(),
        *(chooser.plan(chooser.variant(card, bits)) for card, bits in wanted),
    ]


def random_numbers_are_what_is_wanted() -> None:
    """Takes the digests of the published files out of the speech model's card: ours has its shapes only."""
    from pomnit.models import cards

    cards.SPEECH[SPEECH] = cards.CARDS[SPEECH] = dataclasses.replace(cards.SPEECH[SPEECH], digests={})


# The product


def governed(job: dict[str, Any]) -> None:
    """Adds, searches with one model after the other, then adds while others search, then stays idle."""
    from pomnit.memory import Memory

    documents = write_documents(job)
    few, more = both(job, 2), both(job, 4)
    talk = write_recording(job)
    random_numbers_are_what_is_wanted()
    with Memory.open(settings=settings(job)) as memory:
        told = Told(memory)
        say(budget=memory._governor.budget.bytes, reason=memory._governor.budget.reason)
        say(stage="add screenshots")
        told.added(memory.add(screens(job)))
        say(stage="add documents")
        told.added(memory.add(documents))
        say(stage=f"transcribe with {SPEECH}")
        told.added(memory.add([talk]))
        say(stage="search")
        told.searched(more)
        say(stage=f"embed with {ENCODER}")
        told.filled(memory.use(ENCODER))
        say(stage=f"search with {ENCODER}")
        told.searched(more)
        say(stage=f"search with {RERANKER}")
        told.searched(few[:2], rerank=RERANKER)
        say(stage=f"answer with {SEES}")
        told.answered(job)
        say(stage=f"embed with {SECOND}")
        told.filled(memory.use(SECOND, bits=SECOND_BITS))
        say(stage=f"search with {SECOND}")
        told.searched(more)
        say(stage="add while others search")
        with guests(job, few) as found:
            told.added(memory.add(screens(job, later=True)))
        told.faults += found
        say(stage="idle")
        time.sleep(STAY_S)
        say(done=told.counts, faults=told.faults, skipped=dict(told.skipped))


class Told:
    """What the memory told: how much was done, and all that was not."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.counts = {"items": 0, "searches": 0, "guests": 0}
        self.faults: list[str] = []
        self.skipped: Counter[str] = Counter()

    def added(self, report: Any) -> None:
        self.counts["items"] += report.new
        self.faults += [f"{failure.name}: {failure.reason}" for failure in report.failures]
        self.faults += [f"{stage} waits: {reason}" for stage, reason in report.blocked.items()]

    def filled(self, report: Any) -> None:
        if not report.in_use:
            self.faults.append(f"{report.model}: {report.done} of {report.passages} passages; {report.blocked}")

    def searched(self, asked: list[str], rerank: str | None = None) -> None:
        for question in asked:
            result = self._memory.search(question, rerank=rerank)
            self.counts["searches"] += 1
            self.skipped.update(f"{leg.name}: {leg.reason}" for leg in result.legs if leg.state == "skipped")
            if not result.hits:
                self.faults.append(f"nothing was found for {question!r}")

    def answered(self, job: dict[str, Any]) -> None:
        """Looks at a picture with the largest model, where its environment is here and it fits."""
        from pomnit.errors import TooLarge

        if not SEEING.is_file():
            self.skipped[f"{SEES}: there is no .venv-vision; type: make vision"] += 1
            return
        try:
            with seeing(job, self._memory._governor) as (answerer, asked):
                if not "".join(answerer.answer(asked)):
                    self.faults.append(f"{SEES} said nothing")
        except TooLarge as error:
            self.skipped[str(error).partition(" (")[0]] += 1


@contextlib.contextmanager
def seeing(job: dict[str, Any], governor: Any) -> Iterator[tuple[Any, Any]]:
    """Gives the answerer with the true shape, and what to ask it: see ``vision_child``."""
    from functools import partial

    from pomnit.engines.protocols import Asked, Picture
    from pomnit.governor import children, leases
    from pomnit.governor.plans import Plan
    from pomnit.models.cards import VISION

    profile, card = governor.budget.profile, VISION[SEES]
    plan = Plan("answer", f"{SEES} mlx-4", "mlx-vlm", 1, Path(job["keep"]) / SEES.lower(), card, 4, "0" * 64)
    limits = {"tokens": profile.answer_tokens, "pixels": profile.picture_pixels, "side": profile.picture_side}
    here, paths = sys.executable, os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), paths]))
    sys.executable = str(SEEING)
    leases.Child = partial(children.Child, module="vision_child")  # type: ignore[assignment, misc]
    try:
        with governor._here_or_there(dataclasses.replace(plan, **limits), person=True) as answerer:
            yield answerer, Asked("What?", "en", (), Picture(b"", "blake2b:1"))
    finally:
        sys.executable, leases.Child = here, children.Child  # type: ignore[misc]
        os.environ["PYTHONPATH"] = paths


@contextlib.contextmanager
def guests(job: dict[str, Any], asked: list[str]) -> Iterator[list[str]]:
    """Searches from other processes, one after the other, as long as the block runs; gives what went wrong."""
    used = settings(job)
    environment = os.environ | {"PYTHONPATH": str(HERE.parent / "src"), "POMNIT_KEY": "file"}
    environment |= {f"POMNIT_{name.upper()}": str(getattr(used, name)) for name in ("key_dir", "models", "cache")}
    faults: list[str] = []
    over = threading.Event()

    def search() -> None:
        for question in asked:
            command = [sys.executable, "-m", "pomnit", "--home", str(used.home), "search", question]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            say(guest=done.returncode)
            if done.returncode:
                faults.append(f"a search from another process: {done.stderr.strip()[-200:]}")
            if over.is_set():
                return

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield faults
    finally:
        over.set()
        thread.join()


# The plain way


def plain(job: dict[str, Any]) -> None:
    """Loads all engines into this process, and keeps them."""
    from pomnit.governor.choose import Chooser

    say(stage="load everything")
    used = settings(job)
    recogniser, _, *encoders, reranker = [
        None if plan.name.startswith(SPEECH) else plan.make() for plan in plans(Chooser(used))
    ]
    ways = {encoder.card.name: encoder.encode for encoder in encoders}
    _plainly(job, recogniser, _plain_speech(used), ways, reranker.score)


def torch(job: dict[str, Any]) -> None:
    """Loads the published checkpoints on torch into this process, and keeps them."""
    from pomnit.governor.choose import Chooser
    from pomnit.models import hub
    from pomnit.models.cards import ENCODERS

    say(stage="load everything")
    used = settings(job)
    recogniser = Chooser(used).recogniser_plan().make()
    small = hub.find(ENCODERS[DEFAULT], used.models, used.cache, runtime="onnx", bits=32).folder
    folders = {DEFAULT: small, **{name: Path(job["keep"]) / name.lower() for name in (ENCODER, SECOND)}}
    ways = {name: _torch_encoder(folder, ENCODERS[name].pooling, used.threads) for name, folder in folders.items()}
    _plainly(job, recogniser, _plain_speech(used), ways, _torch_reranker(Path(job["keep"]) / RERANKER.lower()))


def _plain_speech(used: Any) -> Callable[[Path], str]:
    """Gives faster-whisper's own pipeline, which stays loaded."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    folder = str(used.models / SPEECH)
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=used.threads, local_files_only=True)
    pipeline = BatchedInferencePipeline(model)

    def transcribe(path: Path) -> str:
        segments, _ = pipeline.transcribe(str(path), language="ru", batch_size=TOGETHER)
        return " ".join(segment.text for segment in segments)

    return transcribe


def _plainly(
    job: dict[str, Any], recogniser: Any, transcribe: Any, encoders: dict[str, Callable[..., Any]], score: Any
) -> None:
    """Does the same work with engines that stay."""
    import numpy as np

    from pomnit.text.split import PlacedText, split

    threads = settings(job).threads
    documents = write_documents(job)
    few, more = both(job, 2), both(job, 4)
    with ThreadPoolExecutor(threads) as pool:
        say(stage="add screenshots")
        texts = list(pool.map(lambda path: _seen(recogniser, path), screens(job)))
        say(stage="add documents")
        texts += [path.read_text("utf-8") for path in documents]
        say(stage=f"transcribe with {SPEECH}")
        texts.append(transcribe(write_recording(job)))
        passages = [piece.text for text in texts for piece in split(PlacedText(text))]

        def embed(name: str) -> Any:
            batches = [passages[at : at + BATCH] for at in range(0, len(passages), BATCH)]
            return np.concatenate([encoders[name](batch) for batch in batches])

        def search(name: str, vectors: Any, asked: list[str], *, again: bool = False) -> None:
            for question in asked:
                found = np.argsort(-(vectors @ encoders[name]([question], query=True)[0]))[:READ_AGAIN]
                if again:
                    score(question, [passages[i] for i in found])

        for name in encoders:
            say(stage=f"embed with {name}")
            vectors = embed(name)
            say(stage=f"search with {name}")
            search(name, vectors, more)
            if name == ENCODER:
                say(stage=f"search with {RERANKER}")
                search(name, vectors, few[:2], again=True)
        say(stage="add while others search")
        coming = [pool.submit(_seen, recogniser, path) for path in screens(job, later=True)]
        search(SECOND, vectors, few)
        texts = [future.result() for future in coming]
        passages = [piece.text for text in texts for piece in split(PlacedText(text))]
        embed(SECOND)
        say(stage="idle")
    say(done={"items": job["screens"] + job["documents"] + job["later"]}, faults=[], skipped={})


def _seen(recogniser: Any, path: Path) -> str:
    """Gives the text of a screenshot."""
    from PIL import Image

    with Image.open(path) as picture:
        return "\n".join(" ".join(word.text for word in line.words) for line in recogniser.recognise(picture))


def _torch_encoder(folder: Path, pooling: str, threads: int) -> Callable[..., Any]:
    """Gives the encoder of a checkpoint, in fp32, padded."""
    import numpy as np
    import torch as library
    import transformers
    from tokenizers import Tokenizer

    library.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(folder, dtype=library.float32, local_files_only=True).eval()
    tokenizer = _padding(Tokenizer.from_file(str(folder / "tokenizer.json")), model.config)

    def encode(texts: list[str], *, query: bool = False) -> Any:  # noqa: ARG001 as ours
        read = tokenizer.encode_batch(texts)
        mask = library.tensor([found.attention_mask for found in read])
        with library.inference_mode():
            states = model(input_ids=library.tensor([found.ids for found in read]), attention_mask=mask)[0]
            if pooling == "mean":
                pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            else:
                last = mask.sum(1) - 1 if pooling == "last" else library.zeros(len(read), dtype=library.long)
                pooled = states[library.arange(len(read)), last]
            return np.asarray(library.nn.functional.normalize(pooled, dim=-1))

    return encode


def _torch_reranker(folder: Path) -> Callable[[str, list[str]], Any]:
    """Gives the reranker of a checkpoint, in fp32, padded."""
    import torch as library
    import transformers
    from tokenizers import Tokenizer

    kind = transformers.AutoModelForSequenceClassification
    model = kind.from_pretrained(folder, dtype=library.float32, local_files_only=True).eval()
    tokenizer = _padding(Tokenizer.from_file(str(folder / "tokenizer.json")), model.config)

    def score(question: str, texts: list[str]) -> Any:
        read = tokenizer.encode_batch([(question, text) for text in texts])
        mask = library.tensor([found.attention_mask for found in read])
        with library.inference_mode():
            return model(input_ids=library.tensor([found.ids for found in read]), attention_mask=mask)[0][:, 0]

    return score


def _padding(tokenizer: Any, config: Any) -> Any:
    tokenizer.enable_padding(pad_id=config.pad_token_id or config.bos_token_id or 0)
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


# What the governor costs


def cost(job: dict[str, Any]) -> None:
    """Does a part of the work by the governor; gives its time, and apart from it that of loading."""
    from pomnit.governor.leases import Governor
    from pomnit.memory import Memory

    loads: list[float] = []
    worked: list[float] = []
    load = Governor._make

    def timed(self: Governor, plan: Any) -> Any:
        began, cpu = time.perf_counter(), time.thread_time()
        engine = load(self, plan)
        loads.append(time.perf_counter() - began)
        worked.append(time.thread_time() - cpu + _cpu_of(engine))
        return engine

    Governor._make = timed  # type: ignore[method-assign]
    with Memory.open(settings=settings(job)) as memory:
        _short_work(job, memory, loads, worked)


def resident(job: dict[str, Any]) -> None:
    """Does the same work with engines that are at hand."""
    from pomnit.governor.choose import Chooser
    from pomnit.memory import Memory

    unused = (SECOND, SPEECH)
    recogniser, _, small, large, _, reranker = [
        None if plan.name.startswith(unused) else plan.make() for plan in plans(Chooser(settings(job)))
    ]
    engines = {"recognise": recogniser, "embed": [small, large], "rerank": reranker}
    with Memory.open(settings=settings(job), engines=engines) as memory:
        _short_work(job, memory, [], [])


def _short_work(job: dict[str, Any], memory: Any, loads: list[float], worked: list[float]) -> None:
    documents = write_documents(job)
    told = Told(memory)
    gc.collect()
    began, cpu = time.perf_counter(), _cpu()
    told.added(memory.add(screens(job) + documents))
    told.searched(both(job, 2))
    told.filled(memory.use(ENCODER))
    told.searched(both(job, 2))
    told.searched(both(job, 1)[:1], rerank=RERANKER)
    took = time.perf_counter() - began
    memory._governor.unload()  # what ended children worked is known then
    say(seconds=took, cpu=_cpu() - cpu, loading=sum(loads), loading_cpu=sum(worked), loads=len(loads))
    say(done=told.counts, faults=told.faults, skipped=dict(told.skipped))
    shutil.rmtree(memory.settings.home, ignore_errors=True)


def _cpu() -> float:
    """Gives the CPU seconds of this process and of its children that ended."""
    both_of_us = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both_of_us)


def _cpu_of(engine: Any) -> float:
    """Gives the CPU seconds that a child worked so far; 0 for an engine in this process."""
    from pomnit.governor.gauge import here

    process = here().process(engine.pid) if hasattr(engine, "pid") else None
    return process.cpu_s if process else 0.0


WORK: dict[str, Callable[[dict[str, Any]], None]] = {
    "make": make,
    "governed": governed,
    "plain": plain,
    "torch": torch,
    "cost": cost,
    "resident": resident,
}

if __name__ == "__main__":
    sys.exit(main())
