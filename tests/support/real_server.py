"""A server of another project with a tiny random model, in the environment .venv-vision: mlx-lm's own."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server

from support import processes

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vision" / "bin" / "python"
_TINY = ROOT / "tests" / "golden" / "models" / "qwen3-yesno"
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@dataclass(frozen=True)
class RealServer:
    url: str
    model: str
    process: subprocess.Popen[str]


def why_not() -> str | None:
    """Gives why there is none here."""
    if not PYTHON.exists():
        return "there is no environment .venv-vision; `make vision` makes it"
    if not list(PYTHON.parents[1].glob("lib/python3*/site-packages/mlx_lm/server.py")):
        return "mlx-lm is not in the environment .venv-vision"
    return None


def tiny_chat(folder: Path) -> Path:
    """Writes a Qwen3 of 100,000 random weights, with what a chat needs."""
    shutil.copytree(_TINY, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 1e6, "max_position_embeddings": 8192}))
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": _TEMPLATE, **ends}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


@contextmanager
def serving(model: Path, hub: Path) -> Iterator[RealServer]:
    """Gives the server for as long as the block runs; ``hub`` is where it looks for models, and nowhere else."""
    (hub / "hub").mkdir(parents=True)
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    guard = processes.environment()["PYTHONPATH"].split(":")[1:]  # not our sources: they are of another environment
    process = subprocess.Popen(
        [str(PYTHON), "-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)],
        env=processes.environment({**away, "PYTHONPATH": ":".join(guard)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "Starting httpd" in line:
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(said[-20:]))
        yield RealServer(f"http://127.0.0.1:{port}/v1", str(model.resolve()), process)
    finally:
        process.kill()
        process.communicate()
