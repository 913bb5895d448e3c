"""The sound of recordings and films: decoded by PyAV block by block, as mono float32 with 16,000 samples a second.

The container is told by the first bytes and given to FFmpeg by name. It guesses nothing, so no playlist or script in
the clothes of a recording can make it open another file or address.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pomnit.errors import ItemError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.container import InputContainer
    from numpy.typing import NDArray

RATE = 16_000
_DEMUXERS = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
}
_GUESSED = ("mp3", "aac")  # their length, from the first frames
_PROTECTED = ("drms", "enca", "drmi")
_RATES = range(4_000, 768_001)  # of what may be speech
_MOST_CHANNELS = 64
_GAP_S = 0.2  # between two frames: a shorter one is the rounding of times
_NOTHING = "there is no sound that can be decoded"
_BLOCK = _SILENCE = 2 * RATE  # samples that are given at a time, and of a gap
_MISSING = 0.05  # part of the told length that may be missing: lengths are often estimates


class Sound:
    """The sound of one file. Used in a ``with`` block."""

    def __init__(self, file: BinaryIO, media_type: str, most_s: float) -> None:
        """Reads the beginning of ``file``, which can seek; ``most_s`` bounds the length.

        Raises:
            ItemError: it is damaged, protected, too long, or has no sound that could be speech.
        """
        import av

        self._most_s = most_s
        self._broken = self._decoded = 0
        with _told():
            self._demuxer = demuxer = _DEMUXERS[media_type]
            self._container: InputContainer = av.open(file, "r", format=demuxer, metadata_errors="replace")
        try:
            with _told():
                self._stream = self._best()
                self.length_s = self._length()
        except ItemError:
            self._container.close()
            raise
        self.title = self._container.metadata.get("title")
        self.made = self._container.metadata.get("creation_time")

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def _best(self) -> Any:
        streams = self._container.streams.audio
        if not streams:
            raise ItemError("there is no sound in it")
        stream: Any = self._container.streams.best("audio") or streams[0]
        context: Any = stream.codec_context  # None where FFmpeg has no decoder
        if context is not None and context.codec_tag in _PROTECTED:
            raise ItemError("it is protected against copying (DRM), so only its own player can open it")
        if context is None:
            raise ItemError("its sound is of a kind that cannot be decoded here")
        if context.sample_rate not in _RATES or not 1 <= context.channels <= _MOST_CHANNELS:
            raise ItemError(
                f"its sound has {context.sample_rate} samples a second in {context.channels} channels, and speech has"
                f" {_RATES.start:,} to {_RATES.stop - 1:,} in at most {_MOST_CHANNELS}"
            )
        return stream

    def _length(self) -> float | None:
        """Gives the length in seconds that the file tells, None when it tells none."""
        length = None
        if self._stream.duration:
            length = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration:
            length = self._container.duration / 1e6
        # A picture may go on without sound: then only MPEG-4 tells the length of each.
        film = len(self._container.streams) > 1 and self._demuxer != "mov"
        self._guessed = film or self._demuxer in _GUESSED
        if length is not None and length > self._most_s and not self._guessed:
            self._refuse_longer(length)
        return length

    def _refuse_longer(self, length_s: float) -> None:
        raise ItemError(
            f"it lasts {length_s / 3600:.1f} hours or more, and {self._most_s / 3600:.0f} are allowed"
            " (setting audio_hours)"
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Gives the whole in blocks of up to some seconds; a moment without sound is silence.

        Raises:
            ItemError: nothing in it can be decoded, it is longer than allowed, or it ends early; then what there is
                was given before.
        """
        done = held = 0
        parts: list[NDArray[np.float32]] = []
        for samples in self._resampled():
            done, held = done + len(samples), held + len(samples)
            if done > self._most_s * RATE:
                self._refuse_longer(done / RATE)
            parts.append(samples)
            if held >= _BLOCK:
                yield np.concatenate(parts)
                parts, held = [], 0
        if parts:
            yield np.concatenate(parts)
        if not done:
            raise ItemError(f"it is damaged: {_NOTHING}" if self._broken else f"it is empty: {_NOTHING}")
        if self._broken > self._decoded:
            raise ItemError(f"it is damaged: {self._broken} of {self._broken + self._decoded} pieces cannot be decoded")
        if self.length_s is not None and not self._guessed and done / RATE < (1 - _MISSING) * self.length_s - 1:
            raise ItemError(f"it is cut short: {done / RATE:.0f} of {self.length_s:.0f} s are there, and were heard")

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        import av

        resampler, setup, done = None, None, 0
        for frame in self._frames():
            if setup != (frame.format.name, frame.layout.name, frame.sample_rate):  # it may change within a file
                setup = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            assert resampler is not None
            for silence in self._gap(frame, done):
                done += len(silence)
                yield silence
            frame.pts = None  # the resampler would fill gaps in its own way
            for samples in _samples(resampler, frame):
                done += len(samples)
                yield samples
        if resampler is not None:
            yield from _samples(resampler, None)

    def _gap(self, frame: AudioFrame, done: int) -> Iterator[NDArray[np.float32]]:
        """Gives silence for what is missing before a frame."""
        if frame.pts is None or frame.time_base is None:
            return
        first = (self._container.start_time or 0) / 1e6
        missing = round((float(frame.pts * frame.time_base) - first) * RATE) - done
        if missing > self._most_s * RATE:
            self._refuse_longer(missing / RATE)
        while missing > _GAP_S * RATE:
            yield np.zeros(min(missing, _SILENCE), np.float32)
            missing -= _SILENCE

    def _frames(self) -> Iterator[AudioFrame]:
        """Gives the decoded frames; what cannot be decoded is counted and passed over."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, ValueError):
                self._broken += 1
                return
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                self._broken += 1
                continue
            self._decoded += 1
            yield from frames


def _samples(resampler: AudioResampler, frame: AudioFrame | None) -> list[NDArray[np.float32]]:
    """Gives what comes of a frame, -1 to 1; None: what is left at the end."""
    with _told():
        parts = [np.asarray(part.to_ndarray(), np.float32).reshape(-1) for part in resampler.resample(frame)]
    return [np.nan_to_num(np.clip(part, -1, 1)) for part in parts]


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what FFmpeg says into a reason.

    Raises:
        ItemError.
    """
    import av

    try:
        yield
    except (av.FFmpegError, ValueError, EOFError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ItemError(f"the recording is damaged or cut short ({said.lower()})") from error
