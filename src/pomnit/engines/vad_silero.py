"""Where somebody speaks: Silero VAD (MIT), the 1.2 MB model that lies in faster-whisper, on ONNX Runtime.

It takes 20 MB and a hundredth of the time of the speech, so it lives in the process that uses it, without a lease.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomnit.engines.onnx_silent import onnxruntime
from pomnit.errors import EngineError, EngineMissing, ModelDamaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 512  # samples at 16 kHz: 32 ms
_CONTEXT = 64  # samples before a chunk that it hears, too
_STATE = (1, 1, 128)
_MODELS = "assets/silero_vad_v6*.onnx"  # of faster-whisper, in whose later versions it may be another


class Listener:
    """Hears one recording from its beginning to its end."""

    def __init__(self) -> None:
        """Loads the model, once for all listeners.

        Raises:
            EngineMissing, ModelDamaged.
        """
        self._session = _session()
        self._h, self._c = np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32)
        self._before = np.zeros(_CONTEXT, np.float32)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives how probable it is that somebody speaks, for each of the next chunks; whole chunks are given.

        Raises:
            EngineError: ONNX Runtime failed.
        """
        chunks = samples.reshape(-1, CHUNK)
        if not len(chunks):
            return np.empty(0, np.float32)
        before = np.concatenate([self._before[None], chunks[:-1, -_CONTEXT:]])
        self._before = chunks[-1, -_CONTEXT:].copy()
        heard = np.concatenate([before, chunks], axis=1)
        try:
            found, self._h, self._c = self._session.run(None, {"input": heard, "h": self._h, "c": self._c})
        except Exception as error:  # ONNX Runtime's own kinds, which it does not name
            raise EngineError(f"Silero VAD: {error}") from error
        probabilities: NDArray[np.float32] = np.asarray(found, np.float32).reshape(-1)
        return probabilities


@functools.cache
def _session() -> Any:
    found = importlib.util.find_spec("faster_whisper")
    files = [file for place in (found and found.submodule_search_locations) or () for file in Path(place).glob(_MODELS)]
    if not files:
        raise EngineMissing("speech: faster-whisper 1.2 is not installed; type: pip install 'pomnit[speech]'")
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep what one long block once took
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 as above
        raise ModelDamaged(f"{files[0]}: {error}; type: pip install --force-reinstall faster-whisper") from None
    return session
