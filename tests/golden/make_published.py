"""Makes src/pomnit/models/published.json: the first numbers of what sentence-transformers gives for the golden texts.

``python tests/golden/make_published.py NAME=FOLDER…`` with the names of cards and the folders of their published
files, whose models need no prefix; needs torch and sentence-transformers, which nothing else here does.
"""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

from pomnit.models.cards import ENCODERS
from pomnit.models.golden import pairs

NUMBERS = 8


def main(*models: str) -> None:
    """Writes the file; a row for each question and then each answer, in the order of ``pairs``."""
    published = {}
    for name, _, folder in (model.partition("=") for model in models):
        chosen = [pair for _, pair in pairs(ENCODERS[name].languages)]
        texts = [question for question, _ in chosen] + [answer for _, answer in chosen]
        vectors = SentenceTransformer(folder, device="cpu").encode(texts)
        published[name] = [[round(float(number), 6) for number in row[:NUMBERS]] for row in vectors]
    target = Path(__file__).parents[2] / "src" / "pomnit" / "models" / "published.json"
    rows = ",\n".join(
        f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
        for name, rows in published.items()
    )
    target.write_text("{\n" + rows + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
