"""What an item is about, as a query: its own telling words, by how often it says them and how rarely others do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from pomnit.search.query import QueryWord, Understood
from pomnit.store import Store
from pomnit.text.alphabets import one_alphabet
from pomnit.text.stopwords import is_stop
from pomnit.text.words import fold, tokens

TELLING = 24  # words of an item that look for others; docs/LOG.md, "Looking around"
OWN = 8  # words that it alone has, and that lower the scores of the others
_LOOKED_UP = 400  # of its most frequent words
_SHORTEST = 3  # letters


def about(store: Store, title: str, texts: Iterable[str], lang: str) -> Understood:
    """Gives the query for what is like an item with these passages; without words when nothing else holds any."""
    said: Counter[str] = Counter()
    held: Counter[str] = Counter()  # passages of the item
    forms: dict[str, Counter[str]] = {}
    for i, text in enumerate(texts):
        whole = f"{title}\n{text}" if not i else text
        found = [(t.stem, whole[t.start : t.end]) for t in tokens(whole) if t.end - t.start >= _SHORTEST]
        found = [(stem, word) for stem, word in found if not is_stop(word)]
        said.update(stem for stem, _ in found)
        held.update({stem for stem, _ in found})
        for stem, word in found:
            forms.setdefault(stem, Counter())[fold(one_alphabet(word))] += 1
    frequencies = store.words.frequencies([stem for stem, _ in said.most_common(_LOOKED_UP)])
    n = max(store.words.count(), 1)
    worth = {
        stem: (1 + math.log(said[stem])) * math.log(1 + n / max(elsewhere, 1))
        for stem, in_all in frequencies.items()
        if (elsewhere := in_all - held[stem]) >= 0
    }
    ranked = sorted(worth, key=lambda stem: (-worth[stem], stem))
    shared = [stem for stem in ranked if frequencies[stem] > held[stem]][:TELLING]
    # Words of its own find nothing, but a passage that shares one word of many is not much like the item.
    alone = [stem for stem in ranked if frequencies[stem] <= held[stem]][:OWN]
    best = [*shared, *alone] if shared else []
    words = tuple(QueryWord(min(forms[stem], key=lambda w: (-forms[stem][w], w)), stem) for stem in best)
    return Understood(_in_language(words, lang), words, ())


def _in_language(words: tuple[QueryWord, ...], lang: str) -> str:
    """Gives the words that are in the item's main language as the query's text, whose language that then is."""
    russian = [w.text for w in words if any("а" <= c <= "я" for c in w.text)]
    return " ".join(russian if lang == "ru" else [w.text for w in words if w.text not in russian])
