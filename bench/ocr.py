"""How well and how fast screenshots are read: plain Tesseract beside Pomnit's recogniser, on a Mac also Apple Vision.

    python bench/ocr.py --data ../shared/data [--json]

Words are runs of letters and digits, lowercased, ё as е, three characters or more. Recall and precision are over the
bag of words of each image, summed over the images. Seconds are of CPU, decoding of the file not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pomnit.engines import ocr_tesseract, ocr_vision
from pomnit.engines.protocols import Recogniser

Reader = Callable[[Image.Image], str]

# The pages of each language, by the number that their names begin with.
LANGUAGES = {
    "ru": ("01", "05", "06", "10", "13"),
    "en": ("07", "08", "11", "12"),
    "mixed": ("02", "09"),
    "code": ("03", "04"),
}
GROUPS = ("all", *LANGUAGES, "dark", "1x", "2x")


def words(text: str) -> Counter[str]:
    """Gives the bag of words that is counted."""
    found = re.findall(r"[^\W_]+", text.lower().replace("ё", "е"))
    return Counter(word for word in found if len(word) >= 3)


def groups(name: str) -> list[str]:
    """Gives the groups that an image belongs to, by its file's name."""
    language = [group for group, pages in LANGUAGES.items() if name.startswith(pages)]
    return ["all", *language, "1x" if "@1x" in name else "2x", *(["dark"] if "dark" in name else [])]


def measure(read: Reader, images: list[Path]) -> dict[str, dict[str, float]]:
    """Gives recall, precision and CPU seconds per image for each group."""
    sums = {group: Counter[str]() for group in GROUPS}
    for file in images:
        truth = words(file.with_suffix(".txt").read_text("utf-8"))
        with Image.open(file) as image:
            image.load()
            start = time.process_time()
            found = words(read(image))
            took = time.process_time() - start
        for group in groups(file.name):
            counts = {"hits": (truth & found).total(), "truth": truth.total(), "found": found.total()}
            sums[group].update({**counts, "images": 1, "microseconds": round(took * 1e6)})
    return {
        group: {
            "recall": total["hits"] / max(1, total["truth"]),
            "precision": total["hits"] / max(1, total["found"]),
            "cpu_s": total["microseconds"] / 1e6 / max(1, total["images"]),
        }
        for group, total in sums.items()
    }


def plain_reader(tessdata: Path) -> Reader:
    """Gives the reference: Tesseract on the grey image as it is, automatic page segmentation."""
    import tesserocr

    api = tesserocr.PyTessBaseAPI(path=f"{tessdata}/", lang="rus+eng", psm=tesserocr.PSM.AUTO)
    api.SetVariable("debug_file", "/dev/null")

    def read(image: Image.Image) -> str:
        api.SetImage(image.convert("L"))
        text = str(api.GetUTF8Text())
        api.Clear()
        return text

    return read


def our_reader(recogniser: Recogniser, thorough: bool = False) -> Reader:
    """Gives one of Pomnit's recognisers."""
    return lambda image: " ".join(
        word.text for line in recogniser.recognise(image, thorough=thorough) for word in line.words
    )


def our_readers(tessdata: Path) -> dict[str, Reader]:
    """Gives those to compare: one pass, as it is by default (a second where the first is poor), thorough, and Vision's.

    Vision works in other processes too: of its seconds only a part is seen here.
    """
    once = ocr_tesseract.TesseractRecogniser(tessdata, second_pass=False)
    usual = ocr_tesseract.TesseractRecogniser(tessdata)
    readers = {"one pass": our_reader(once), "default": our_reader(usual), "thorough": our_reader(usual, True)}
    if ocr_vision.on_macos():
        for name, detect in (("Vision", False), ("Vision, language detected", True)):
            readers[name] = our_reader(ocr_vision.VisionRecogniser(detect_language=detect))
    return readers


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Gives the figures as text, one row for each group."""
    rows = ["".join([f"{'':8}", *(f"{name:>27}" for name in results)])]
    rows.append(f"{'':8}" + f"{'recall':>10}{'prec':>8}{'CPU s':>9}" * len(results))
    for group in GROUPS:
        cells = [
            f"{r[group]['recall']:10.4f}{r[group]['precision']:8.4f}{r[group]['cpu_s']:9.2f}" for r in results.values()
        ]
        rows.append(f"{group:8}" + "".join(cells))
    return "\n".join(rows)


def main() -> int:
    """Prints the figures; 2 when there is nothing to measure with."""
    parser = argparse.ArgumentParser(description="Word recall, precision and CPU seconds of reading screenshots.")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ocr/: name.png with name.txt")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    images = sorted((options.data / "ocr").glob("*.png"))
    tessdata = ocr_tesseract.find_tessdata()
    if not images or tessdata is None:
        missing = f"no screenshots in {options.data / 'ocr'}" if not images else "no Russian and English for Tesseract"
        print(f"nothing is measured: {missing}", file=sys.stderr)
        return 2
    readers = {"plain Tesseract": plain_reader(tessdata), **our_readers(tessdata)}
    results = {name: measure(read, images) for name, read in readers.items()}
    what = f"{len(images)} images, Tesseract {ocr_tesseract.version()}, {tessdata}"
    print(json.dumps({"what": what, "results": results}, indent=1) if options.json else f"{what}\n{table(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
