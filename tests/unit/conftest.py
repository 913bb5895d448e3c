"""What the unit tests share: a real encrypted store in a temporary folder, and a bounded hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from pomnit.records import Original
from pomnit.store import Store
from pomnit.text.split import PlacedText
from support import processes
from support.keychains import cheap, keychain, runtime, sessions  # noqa: F401 fixtures

hypothesis.settings.register_profile("unit", deadline=None, derandomize=True, max_examples=100, database=None)
hypothesis.settings.load_profile("unit")

DATABASE_KEY, FILES_KEY = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(scope="session")
def cache_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def built(cache_of_all: Path, isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of the real encoder is built once for all tests; engine children are refused the network."""
    monkeypatch.setenv("POMNIT_CACHE", str(cache_of_all))
    monkeypatch.setenv("PYTHONPATH", processes.environment()["PYTHONPATH"])


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens the store of this test's home, as often as wanted; all are closed at the end."""
    home = tmp_path / "home"
    home.mkdir()
    opened: list[Store] = []

    def open_(*, key: bytes = DATABASE_KEY, busy_s: int = 10) -> Store:
        opened.append(Store(home, key, FILES_KEY, busy_s=busy_s))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()


@pytest.fixture
def remember(store: Store) -> Callable[..., int]:
    """Stores an item with one passage for each text, indexed by its words; gives the item's row."""

    def remember_(*texts: str, title: str = "", digest: str | None = None) -> int:
        number = store.database.value("SELECT count(*) FROM original") + 1
        with store.transaction():
            original = Original(digest or f"blake2b:{number:064x}", 10, "text/plain")
            item = store.items.insert(original, kind="note", title=title, time="2026-11-03T09:41:07.000Z")
            for ordinal, text in enumerate(texts):
                passage = store.items.add_passage(item, ordinal, PlacedText(text), "en")
                store.words.add(passage, text, title if ordinal == 0 else "")
        return item

    return remember_
