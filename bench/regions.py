"""What reading only the changed regions of a screen finds and costs, beside reading every frame as a whole.

    python bench/regions.py --data ../shared/data [--only typing] [--json]

Screens are replayed: those of ``screens.py``, drawn here, and the sequences of ``ocr/seq``. Words are counted as in
``ocr.py``, against the text that can be read on a frame; the ratio is of the words found by regions to those found in
whole frames. Seconds are of CPU, the comparing of pixels counted. Of each window the first frame is not counted, since
either way reads it as a whole; "with the first" counts it. The whole frames' median and the regions' are of one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ocr
import screens
from PIL import Image

from pomnit.capture.frames import Frame
from pomnit.capture.reading import RegionReader
from pomnit.engines.ocr_tesseract import TesseractRecogniser, find_tessdata, version
from pomnit.engines.protocols import Line, Recogniser

MOST_TIME, LEAST_WORDS = 1 / 3, 0.98
FRAME_S = 2.0


@dataclass
class Sums:
    """What was counted in one script."""

    truth: int = 0
    whole: int = 0  # words found
    regions: int = 0
    said_whole: int = 0  # words, whether there or not
    said_regions: int = 0
    whole_s: list[float] = field(default_factory=list)
    regions_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)  # of the whole frames that were not counted
    shares: list[float] = field(default_factory=list)
    fresh: int = 0
    near: int = 0

    def add(self, other: Sums) -> None:
        """Adds another script."""
        for name in ("truth", "whole", "regions", "said_whole", "said_regions", "fresh", "near"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("whole_s", "regions_s", "first_s", "shares"):
            getattr(self, name).extend(getattr(other, name))

    def figures(self) -> dict[str, float]:
        """Gives what is printed."""
        first = sum(self.first_s)
        return {
            "frames": len(self.whole_s),
            "recall_whole": self.whole / max(1, self.truth),
            "recall_regions": self.regions / max(1, self.truth),
            "precision_whole": self.whole / max(1, self.said_whole),
            "precision_regions": self.regions / max(1, self.said_regions),
            "words": self.regions / max(1, self.whole),
            "time": sum(self.regions_s) / max(1e-9, sum(self.whole_s)),
            "time_with_first": (sum(self.regions_s) + first) / max(1e-9, sum(self.whole_s) + first),
            "median_whole_s": statistics.median(self.whole_s or [0.0]),
            "median_regions_s": statistics.median(self.regions_s or [0.0]),
            "share_read": statistics.mean(self.shares or [0.0]),
            "fresh": self.fresh,
            "near": self.near,
        }


def sequences(data: Path) -> dict[str, list[screens.Shot]]:
    """Gives the sequences of ``ocr/seq`` with the screens they follow."""
    found: dict[str, list[screens.Shot]] = {}
    for first in sorted((data / "ocr").glob("*.png")):
        following = sorted((data / "ocr" / "seq").glob(f"{first.stem}_f*.png"))
        if following:
            found[f"seq {first.stem}"] = [
                screens.Shot(Image.open(file).convert("RGB"), file.with_suffix(".txt").read_text("utf-8"), sight=i > 0)
                for i, file in enumerate([first, *following])
            ]
    return found


def replay(shots: Iterable[screens.Shot], recogniser: Recogniser) -> Sums:
    """Gives what is found in the frames of one script by either way, and how long it takes."""
    reader, sums = RegionReader(recogniser.recognise), Sums()
    for number, shot in enumerate(shots):
        frame = Frame("bench", shot.image, number * FRAME_S, "app", shot.window, None, ord(shot.window[0]))
        start = time.process_time()
        read = reader.read(frame)
        took = time.process_time() - start
        if not shot.sight:
            sums.first_s.append(took)
            continue
        start = time.process_time()
        whole = recogniser.recognise(shot.image)
        sums.whole_s.append(time.process_time() - start)
        sums.regions_s.append(took)
        truth = ocr.words(shot.text)
        sums.truth += truth.total()
        by_whole, by_regions = ocr.words(_text(whole)), ocr.words(_text(read.lines))
        sums.whole += (by_whole & truth).total()
        sums.regions += (by_regions & truth).total()
        sums.said_whole += by_whole.total()
        sums.said_regions += by_regions.total()
        sums.shares.append(read.read_share)
        sums.fresh += read.fresh
        sums.near += read.near
    return sums


def _text(lines: Iterable[Line]) -> str:
    return " ".join(word.text for line in lines for word in line.words)


def scripts(data: Path, only: str) -> Iterator[tuple[str, Iterable[screens.Shot]]]:
    """Gives the scripts whose name holds ``only``."""
    for name, shots in sequences(data).items():
        if only in name:
            yield name, shots
    for name, make in screens.SCRIPTS.items():
        if only in name:
            yield name, make()


def row(name: str, figures: dict[str, float]) -> str:
    """Gives a row of the table."""
    return (
        f"{name:32}{figures['frames']:7.0f}{figures['recall_whole']:9.4f}{figures['recall_regions']:9.4f}"
        f"{figures['precision_whole']:9.4f}{figures['precision_regions']:9.4f}"
        f"{figures['words']:8.4f}{figures['time']:8.3f}{figures['time_with_first']:8.3f}"
        f"{figures['median_whole_s']:9.3f}{figures['median_regions_s']:9.3f}{figures['share_read']:8.3f}"
        f"{figures['fresh']:7.0f}{figures['near']:6.0f}"
    )


HEAD = (
    f"{'':32}{'frames':>7}{'whole':>9}{'regions':>9}{'prec':>9}{'prec':>9}{'words':>8}{'time':>8}{'+first':>8}"
    f"{'whole s':>9}{'region s':>9}{'read':>8}{'fresh':>7}{'near':>6}"
)


def main() -> int:
    """Prints the figures; 1 when one is worse than asked, 2 when there is nothing to measure with."""
    parser = argparse.ArgumentParser(description="Words found and CPU seconds of reading changed regions only.")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ocr/ and ocr/seq/")
    parser.add_argument("--only", default="", help="scripts whose name holds this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    tessdata = find_tessdata()
    if tessdata is None:
        print("nothing is measured: no Russian and English for Tesseract", file=sys.stderr)
        return 2
    if not (options.data / "ocr" / "seq").is_dir():
        print(f"no sequences in {options.data / 'ocr' / 'seq'}: only the drawn screens are measured", file=sys.stderr)
    recogniser = TesseractRecogniser(tessdata)
    results: dict[str, dict[str, float]] = {}
    total = Sums()
    if not options.json:
        print(f"Tesseract {version()}, {tessdata}\n{HEAD}")
    for name, shots in scripts(options.data, options.only):
        sums = replay(shots, recogniser)
        total.add(sums)
        results[name] = sums.figures()
        if not options.json:
            print(row(name, results[name]), flush=True)
    results["all"] = total.figures()
    print(json.dumps(results, indent=1) if options.json else row("all", results["all"]))
    poor = [name for name, found in results.items() if found["words"] < LEAST_WORDS or found["time"] > MOST_TIME]
    print(
        f"asked: words >= {LEAST_WORDS}, time <= {MOST_TIME:.3f}: {', '.join(poor) or 'kept by all'}", file=sys.stderr
    )
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
