"""The large models at their true shapes: converting, loading, memory, speed and disk, beside torch in fp32.

``python bench/models.py`` makes a checkpoint of BGE-M3 and one of Qwen3-Embedding-0.6B with random weights (see
``true_shapes``; ``--keep FOLDER`` says where, 3.5 GB, made once), converts each to 8 and 4 bits, runs what ONNX Runtime
runs, and prints the figures beside those that were asked for. The vectors of random weights say nothing about
quality, only whether both sides compute the same; as those of BGE-M3 are all alike, their cosines are also told with
the mean of all texts taken away. What is made for MLX is only written: its back-end on a CPU is for tests.

Each figure is of a process of its own. Resident memory is told in two parts: anonymous pages can only be swapped,
pages of mapped files can be dropped and read again. The sides encode the same texts by turns, and medians are
compared: on a shared machine seconds vary, ratios hold. It needs torch and transformers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from true_shapes import CONFIGS, make, tensors  # noqa: E402

from pomnit.errors import PomnitError  # noqa: E402
from pomnit.models.cards import ENCODERS, EncoderCard  # noqa: E402

Floats = NDArray[np.float32]
Figures = dict[str, Any]
MB = 1e6
BATCH = 8  # texts that torch reads together
TEXTS, WORDS = 16, 66  # how many, and how many words each: about 150 tokens
CONVERTING = 1.5  # times the largest tensor, plus what is written
RESIDENT = {"bge-m3 onnx-8": 900}  # MB that it may have after encoding
FASTER = {"bge-m3 onnx-8": 2.0}  # times torch's tokens a second

SENTENCES = (
    "The committee agreed to move the budget meeting to Thursday afternoon, after the auditors have left.",
    "Please send the signed contract back before the end of the month, or the price will change again.",
    "A small house near the river was sold last week for more than anybody in the street had expected.",
    "Backups are made every night, yet nobody had ever tried to read one of them on another machine.",
    "She wrote that the train from Vienna was two hours late and that the hotel had given her room away.",
    "The recipe asks for three eggs, a little salt, butter at room temperature and a good deal of patience.",
    "Комиссия решила перенести совещание по бюджету на четверг, когда аудиторы уже закончат свою работу.",
    "Пожалуйста, пришлите подписанный договор до конца месяца, иначе цена снова изменится без предупреждения.",
    "Небольшой дом у реки продали на прошлой неделе дороже, чем ожидал кто-либо из соседей по улице.",
    "Резервные копии делаются каждую ночь, но никто ни разу не пробовал прочитать их на другой машине.",
    "Она написала, что поезд из Вены опоздал на два часа и что её номер в гостинице отдали другим людям.",
    "Для теста нужны три яйца, немного соли, масло комнатной температуры и очень много свободного времени.",
)


def main() -> int:
    """Measures and prints; 2 when something that it needs is not here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CONFIGS, "all"], default="all")
    parser.add_argument("--bits", type=lambda given: [int(n) for n in given.split(",")], default=[8, 4], help="8,4")
    parser.add_argument("--keep", type=Path, default=ROOT / ".bench", help="folder for what is made (.bench)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each side")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side encodes the texts")
    parser.add_argument("--json", action="store_true", help="JSON instead of the tables")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    try:
        if asked.child:
            return child(json.loads(asked.child))
        results = {}
        for name in CONFIGS if asked.model == "all" else [asked.model]:
            results[name] = bench(name, asked.keep, asked.bits, asked.threads, asked.rounds)
            if not asked.json:
                print(table(name, results[name]), flush=True)
        if asked.json:
            print(json.dumps(results, indent=1))
    except (OSError, ImportError, PomnitError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def bench(name: str, folder: Path, bits: list[int], threads: int, rounds: int) -> dict[str, Figures]:
    """Gives all figures of one model, by side: ``onnx-8`` …, ``mlx-8`` …, ``torch``."""
    job = {"model": name, "source": str(folder / name), "threads": threads}
    tokens = run({**job, "do": "make"})["tokens"]
    result: dict[str, Figures] = {}
    for runtime in ("onnx", "mlx"):
        for n in bits:
            target = folder / f"{name}-{runtime}-{n}bit"
            shutil.rmtree(target, ignore_errors=True)
            result[f"{runtime}-{n}"] = converted({**job, "do": runtime, "target": str(target), "bits": n}, target)
    ours = {f"onnx-{n}": {**job, "do": "run onnx", "target": str(folder / f"{name}-onnx-{n}bit")} for n in bits}
    for side, figures in compare({**ours, "torch": {**job, "do": "run torch"}}, rounds).items():
        result.setdefault(side, {}).update(figures, tokens_per_s=tokens / figures["seconds"])
    result["torch"] |= {"tokens": tokens, "disk": size(folder / name)}
    return result


def converted(job: dict[str, Any], target: Path) -> Figures:
    """Gives what converting took, what it may take, and what it left."""
    start = time.perf_counter()
    peaks = run(job)
    seconds, disk = time.perf_counter() - start, size(target)
    largest = max(t.count for t in tensors(CONFIGS[job["model"]])) * (4 if job["model"] == "bge-m3" else 2)
    allowed = CONVERTING * largest / MB + disk
    return {"convert_s": seconds, "convert_allowed": allowed, **peaks, "disk": disk}


def compare(jobs: dict[str, dict[str, Any]], rounds: int) -> dict[str, Figures]:
    """Gives load time, memory, speed and agreement of each side; the sides run by turns, torch last."""
    result: dict[str, Figures] = {}
    with contextlib.ExitStack() as stack:
        children = {side: stack.enter_context(started(job)) for side, job in jobs.items()}
        for side, process in children.items():
            result[side] = answer(process)  # loaded, one after the other
        turns = [{side: answer(process, ask="encode") for side, process in children.items()} for _ in range(rounds + 1)]
    theirs = np.array(turns[0]["torch"]["vectors"])
    middle = theirs.mean(axis=0)
    for side, figures in result.items():
        seconds = [turn[side]["seconds"] for turn in turns[1:]]  # the first turn warms up
        paired = [turn["torch"]["seconds"] / turn[side]["seconds"] for turn in turns[1:]]
        vectors = np.array(turns[0][side]["vectors"])
        cosines, centred = cosines_of(vectors, theirs), cosines_of(vectors - middle, theirs - middle)
        figures |= {"seconds": statistics.median(seconds), "ratio": statistics.median(paired)}
        figures |= {"cosine_mean": float(cosines.mean()), "cosine_least": float(cosines.min())}
        figures["cosine_centred"] = float(centred.mean())
        figures |= {f"encoded_{key}": value for key, value in turns[-1][side]["memory"].items()}
    return result


def cosines_of(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives the cosine of each row with the same row of the other."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: NDArray[np.float64] = (ours * theirs).sum(axis=1) / lengths
    return cosines


def size(folder: Path) -> float:
    """Gives the megabytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB


def texts() -> list[str]:
    """Gives texts in both languages by turns, each of its own order of sentences."""
    made = []
    for i in range(TEXTS):
        sentences = SENTENCES[:6] if i % 2 == 0 else SENTENCES[6:]
        words = [word for k in np.random.default_rng(i).permutation(6) for word in sentences[k].split()]
        made.append(" ".join(words[:WORDS]))
    return made


# Children


@contextlib.contextmanager
def started(job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Gives a process of this file that does ``job``; it ends with its input."""
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate()


def answer(process: subprocess.Popen[str], ask: str = "") -> Figures:
    """Gives the next line of a child's answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    if ask:
        process.stdin.write(ask + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise OSError(f"{' '.join(process.args[1:])}: ended with exit code {process.wait()}")  # type: ignore[arg-type]
    figures: Figures = json.loads(line)
    return figures


def run(job: dict[str, Any]) -> Figures:
    """Runs a child to its end; gives what it says, and the most memory that it and its own children had at once."""
    with started(job) as process:
        most = {"peak": 0.0, "anonymous": 0.0}
        while process.poll() is None:
            now = [memory(pid) for pid in family(process.pid)]
            resident, anonymous = (sum(found.get(key, 0) for found in now) for key in ("resident", "anonymous"))
            highest = max((found.get("peak", 0) for found in now), default=0)  # of one process, but not sampled
            most["peak"] = max(most["peak"], resident, highest)
            most["anonymous"] = max(most["anonymous"], anonymous)
            time.sleep(0.005)
        figures = answer(process)
    return figures | ({f"convert_{key}": value for key, value in most.items()} if most["peak"] else {})


def family(pid: int) -> list[int]:
    """Gives a process and all that it started, and those started, that still run."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                found += [int(number) for number in path.read_text("ascii").split()]
    return found


def memory(pid: int | str) -> dict[str, float]:
    """Gives resident memory of a process in MB: all, anonymous, of mapped files, and the most it ever was."""
    names = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "mapped", "VmHWM": "peak"}
    try:
        lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines()]
    except OSError:  # it has just ended, or there is no /proc
        return {}
    return {names[words[0][:-1]]: int(words[1]) * 1024 / MB for words in lines if words[0][:-1] in names}


def own_memory() -> dict[str, float]:
    """Gives that of this process; without /proc only the most it ever was, or one of its children."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return memory("self") or {"peak": most / MB}


def child(job: dict[str, Any]) -> int:
    """Does one job."""
    source = Path(job["source"])
    card = next(card for card in ENCODERS.values() if card.name.lower() == job["model"])
    if job["do"] == "make":
        make(job["model"], source)
        say(tokens=count_tokens(source))
    elif job["do"] in ("onnx", "mlx"):
        convert(card, source, Path(job["target"]), job["bits"], job["do"])
        say(convert_peak=own_memory()["peak"])
    else:
        serve(card, job)


def convert(card: EncoderCard, source: Path, target: Path, bits: int, runtime: str) -> None:
    """Writes the model for a runtime, as ``pomnit models convert`` does."""
    from pomnit.engines import onnx_build
    from pomnit.models import quantise
    from pomnit.models.hub import ModelFiles

    files = ModelFiles(source, "0" * 64, "published", None)
    if runtime == "onnx":
        onnx_build.build(card, files, bits, target)
    else:
        quantise.convert(card, files, target, bits)


def serve(card: EncoderCard, job: dict[str, Any]) -> None:
    """Loads one side and says so, then encodes the texts for each line that comes in."""
    start, cpu = time.perf_counter(), time.process_time()
    if job["do"] == "run torch":
        encode = torch_encoder(card, Path(job["source"]), job["threads"])
    else:
        from pomnit.engines.encoder_onnx import OnnxEncoder

        encode = OnnxEncoder(card, Path(job["target"]), job["threads"]).encode
    seconds, worked = time.perf_counter() - start, time.process_time() - cpu
    say(load_s=seconds, load_cpu_s=worked, **{f"loaded_{key}": value for key, value in own_memory().items()})
    for _ in sys.stdin:
        start = time.perf_counter()
        vectors = encode(texts())
        say(seconds=time.perf_counter() - start, vectors=vectors.tolist(), memory=own_memory())


def say(**figures: Any) -> None:
    """Answers with a line of JSON."""
    print(json.dumps(figures), flush=True)


def count_tokens(source: Path) -> int:
    """Gives how many tokens the texts have."""
    from tokenizers import Tokenizer

    return sum(len(found.ids) for found in Tokenizer.from_file(str(source / "tokenizer.json")).encode_batch(texts()))


def torch_encoder(card: EncoderCard, source: Path, threads: int) -> Callable[[list[str]], Floats]:
    """Gives the encoder of the same checkpoint on transformers: padded batches, texts of like length together."""
    import torch
    import transformers
    from tokenizers import Tokenizer

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(source, dtype=torch.float32, local_files_only=True).eval()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=model.config.pad_token_id or model.config.bos_token_id)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def encode(given: list[str]) -> Floats:
        rows = np.empty((len(given), card.dimensions), np.float32)
        order = sorted(range(len(given)), key=lambda i: len(given[i]))
        for first in range(0, len(given), BATCH):
            chosen = order[first : first + BATCH]
            read = tokenizer.encode_batch([card.passage_prefix + given[i] for i in chosen])
            mask = torch.tensor([found.attention_mask for found in read])
            states = model(input_ids=torch.tensor([found.ids for found in read]), attention_mask=mask)[0]
            pooled = states[:, 0] if card.pooling == "cls" else states[torch.arange(len(read)), mask.sum(1) - 1]
            rows[chosen] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return rows

    return encode


# The table


def table(name: str, result: dict[str, Figures]) -> str:
    """Gives the figures as lines: what was asked, then one column per side."""
    tokens = result["torch"]["tokens"]
    load = os.getloadavg()[0]
    lines = [f"\n{name}: {TEXTS} texts of {tokens / TEXTS:.0f} tokens; load of the machine {load:.1f}", ""]
    lines.append(f"{'':38}{'asked':>10}" + "".join(f"{side:>11}" for side in result))
    limit, faster = RESIDENT.get(f"{name} onnx-8"), FASTER.get(f"{name} onnx-8")
    for key, label, asked, form in (
        ("convert_s", "converting, s", "", ".0f"),
        ("convert_peak", "  most memory, MB", "below", ".0f"),
        ("convert_anonymous", "    of it anonymous", "", ".0f"),
        ("convert_allowed", "  1.5 largest tensor + written, MB", "", ".0f"),
        ("disk", "on disk, MB", "", ".0f"),
        ("load_s", "loading, s", "", ".2f"),
        ("load_cpu_s", "  of it work of processors", "", ".2f"),
        ("loaded_resident", "resident, loaded, MB", "", ".0f"),
        ("encoded_resident", "resident, after encoding, MB", limit and f"8 bit {limit}", ".0f"),
        ("encoded_anonymous", "  anonymous", "", ".0f"),
        ("encoded_mapped", "  mapped files", "", ".0f"),
        ("encoded_peak", "most ever resident, MB", "", ".0f"),
        ("tokens_per_s", "tokens/s", "", ".0f"),
        ("ratio", "  times torch", faster and f"8 bit {faster:g}", ".2f"),
        ("cosine_mean", "cosine with torch, mean", "", ".4f"),
        ("cosine_least", "  least", "", ".4f"),
        ("cosine_centred", "  mean, without that of all texts", "", ".4f"),
    ):
        cells = [f"{figures[key]:{form}}" if key in figures else "-" for figures in result.values()]
        lines.append(f"{label:38}{asked or '':>10}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
