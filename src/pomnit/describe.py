"""Pictures with little text to captions, so that photos are found by what they show.

An answerer that sees looks at the preview of a picture and says in one sentence what it shows, in English and in
Russian. Each sentence is a passage of the origin "generated". A picture is committed as it is done, and what is still
to be described is told by what is stored, so an interruption loses nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pomnit.engines.protocols import Asked, Picture
from pomnit.errors import EngineError, EngineMissing, ModelDamaged, PomnitError, TooLarge
from pomnit.governor import spaces
from pomnit.governor.leases import Governor
from pomnit.records import Lang
from pomnit.store import Store
from pomnit.store.queue import Task
from pomnit.text.language import detect
from pomnit.text.split import PlacedText

if TYPE_CHECKING:
    from pomnit.engines.protocols import Answerer

STAGE = "describe"
LITTLE = 40  # letters: a picture with fewer is described
LONGEST = 300  # characters of a caption in one language
_MOST_SAID = 4_000  # characters, after which nobody listens any more
_IN_A_ROW = 3  # failures, after which it is not the pictures
ROUND_S = 20.0  # seconds after which what was just added gets its turn

_TO_DO = (
    "on Apple silicon type: pomnit models pull Qwen3-VL-4B; or set answer_url and answer_model to a model that looks at"
    " pictures"
)
# In both languages: an answerer keeps to the language of the question.
QUESTION = (
    "What does this picture show? Что на этой картинке? Answer in two lines and nothing else: behind 'EN:' one plain "
    "sentence of at most 25 words in English, behind 'RU:' то же самое одним простым предложением по-русски. Name the "
    "things, people, animals, places and colours to be seen."
)

_LABEL = re.compile(
    r"^\W*(?:EN|RU|English|Russian|Английский|Русский|По-английски|По-русски)\b\W*[:–—-]\W*", re.IGNORECASE
)
_NUMBER = re.compile(r"\s*\[\d+\]")
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_MARKUP = re.compile(r"[*_`#]+")


@dataclass(frozen=True, slots=True)
class Caption:
    """What a picture shows, in one language."""

    text: str
    lang: Lang


@dataclass(frozen=True, slots=True)
class Described:
    """A picture that is done, or why it has no caption."""

    item: int
    reason: str | None = None


def captions(said: str) -> list[Caption]:
    """Gives the captions in what an answerer said: the first in each language, each one line. English comes first."""
    found: dict[Lang, str] = {}
    for line in said.splitlines():
        text = _plain(line)
        if any(c.isalpha() for c in text):
            found.setdefault(detect(text), text)
    known = [Caption(found[lang], lang) for lang in ("en", "ru") if lang in found]
    return known or [Caption(text, lang) for lang, text in found.items()]


def _plain(line: str) -> str:
    """Gives a line without label, markup, numbers of citations and control characters, cut at a word."""
    text = _NUMBER.sub("", _MARKUP.sub("", _SPACES.sub(" ", line)))
    text = _LABEL.sub("", text).strip(" '\"«»")
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]


def is_wanted(store: Store, item: int) -> bool:
    """Tells whether an item is a picture with little text that has no caption."""
    return bool(store.items.undescribed(LITTLE, STAGE, item=item))


def all_wanted(store: Store) -> list[int]:
    """Gives the pictures with little text that have no caption, the newest first, but those that failed."""
    return store.items.undescribed(LITTLE, STAGE)


def why_not(governor: Governor) -> str | None:
    """Gives the reason why nothing can be described here, as far as it is known without asking; None when it can."""
    try:
        governor.answering()
    except EngineMissing as error:
        return f"no model that sees is here to describe pictures ({str(error).partition('; ')[0]}); {_TO_DO}"
    return None


def check_sees(answerer: Answerer) -> None:
    """Refuses an answerer that does not look at pictures.

    Raises:
        EngineMissing: with what to do.
    """
    if not answerer.sees:
        raise EngineMissing(f"{answerer.name:.80} does not look at pictures, so it cannot describe any; {_TO_DO}")


class _Failed(Exception):
    """An answerer failed on a picture, with the reason. It may do well on others."""


class Describing:
    """Describes pictures one after the other. ``answerer`` and ``reason`` say who did it and why."""

    def __init__(self, store: Store, governor: Governor, *, person: bool = False) -> None:
        """``person`` says that somebody waits for it."""
        self._store, self._governor, self._person = store, governor, person
        self.answerer = self.reason = ""

    def round(self) -> Iterator[Described]:
        """Works off the stage's queue until nothing is left, or something else was added and has its turn.

        Raises:
            EngineError: the answerer cannot be had, does not see, or fails on whatever it gets; pictures wait.
        """
        yield from self._all(self._queued(time.monotonic() + ROUND_S))

    def describe(self, items: Iterable[int]) -> Iterator[Described]:
        """Describes these pictures. Raises as ``round``."""
        yield from self._all(Task(STAGE, item, 0) for item in items)

    def _queued(self, until: float) -> Iterator[Task]:
        seen: set[int] = set()
        while tasks := self._store.queue.next([STAGE], 1, but=seen):
            seen.add(tasks[0].item)
            yield tasks[0]
            if time.monotonic() > until and self._others_wait():
                return

    def _others_wait(self) -> bool:
        waiting = self._store.queue.waiting()
        return any(waiting.get(stage) for stage in ("read", "recognise", "transcribe"))

    def _all(self, tasks: Iterable[Task]) -> Iterator[Described]:
        """Describes pictures; failures are noted when another one did well, or at the end.

        Failures of the engine in a row are its own: then none of those pictures is marked as failed.
        """
        failed: list[tuple[Task, str]] = []
        try:
            for task in tasks:
                try:
                    reason = self._one(task)
                except _Failed as error:
                    failed.append((task, str(error)))
                    if len(failed) >= _IN_A_ROW:
                        raise EngineError(f"{_IN_A_ROW} pictures in a row failed, the last one so: {error}") from error
                    continue
                yield from self._noted(failed)
                failed = []
                yield from self._noted([(task, reason)]) if reason else [Described(task.item)]
            yield from self._noted(failed)
        except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what a model still has to say
            self._governor.abandon()
            raise

    def _one(self, task: Task) -> str | None:
        """Describes one picture; gives the reason where there is nothing to be said about it.

        Raises:
            _Failed: the answerer failed on it.
            EngineError: the answerer cannot be had, or does not see.
        """
        found = self._store.items.preview(task.item)
        if found is None:  # forgotten meanwhile
            return None
        name, digest = found
        try:
            picture = Picture(self._store.originals.get(name), digest)
        except PomnitError as error:
            return str(error)
        said = captions(self._said(picture))
        if not said:
            return "the model said nothing about this picture"
        self._store_captions(task, said)
        return None

    def _said(self, picture: Picture) -> str:
        if (reason := why_not(self._governor)) is not None:
            raise EngineMissing(reason)
        with self._governor.answerer(person=self._person) as (answerer, reason):
            check_sees(answerer)
            self.answerer, self.reason = answerer.name, reason
            try:
                said = _taken(answerer.answer(Asked(QUESTION, "other", (), picture)))
            except (EngineMissing, ModelDamaged, TooLarge):  # it was to be loaded anew
                raise
            except EngineError as error:
                check_sees(answerer)  # a server may only now have told that it does not:
                raise _Failed(str(error)) from error
            check_sees(answerer)  # then what was said is made up
            return said

    def _store_captions(self, task: Task, said: Iterable[Caption]) -> None:
        """Stores captions as passages, unless the item was forgotten or described by another process meanwhile."""
        card = spaces.searched(self._store, self._governor).card
        with self._store.transaction():
            self._store.queue.done(task)
            rows = self._store.items.passage_rows(task.item)
            if not rows or self._store.items.is_described(task.item):
                return
            for ordinal, caption in enumerate(said, len(rows)):
                placed = PlacedText(caption.text)
                passage = self._store.items.add_passage(task.item, ordinal, placed, caption.lang, "generated")
                self._store.words.add(passage, caption.text, "")
            if any(caption.lang in card.languages for caption in said):
                self._store.queue.put("embed", task.item, task.handed_in)

    def _noted(self, failed: Iterable[tuple[Task, str]]) -> Iterator[Described]:
        """Marks pictures as failed; ``retry`` tries them again."""
        for task, reason in failed:
            again = replace(task, handed_in=0)  # whatever the setting says by then, a person asks for it
            with self._store.transaction():
                alive = bool(self._store.items.passage_rows(task.item))
                if alive:
                    self._store.queue.put(STAGE, task.item, again.handed_in)
                    self._store.queue.fail(again, reason)
            if alive:
                yield Described(task.item, reason)


def drop_unwanted(store: Store) -> None:
    """Takes away what was to be described as it was added, after the setting was switched off."""
    if store.queue.waiting().get(STAGE):
        with store.transaction():
            store.queue.drop(STAGE)


def _taken(pieces: Iterable[str]) -> str:
    """Gives what was said, and listens no longer than to a caption."""
    said, length = [], 0
    iterator = iter(pieces)
    try:
        for piece in iterator:
            said.append(piece)
            length += len(piece)
            if length > _MOST_SAID:
                break
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    return "".join(said)
