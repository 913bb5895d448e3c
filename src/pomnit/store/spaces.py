"""Spaces: whose vectors lie side by side, which of them is searched, and which models this memory wants.

At most one space is *current*: every passage that its card knows has a vector there, or a task that will make one.
A space that is wanted instead is filled beside it and becomes current in one step, when nothing is missing in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pomnit.errors import ModelDamaged
from pomnit.store.database import Database

_COLUMNS = "id, card, precision, dimensions, vectors"


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors of one card at one precision."""

    id: int
    card: str
    precision: str
    dimensions: int
    vectors: int = field(compare=False)  # how many there were when it was looked at

    @property
    def name(self) -> str:
        """Gives how a person would name it."""
        return f"{self.card} {self.precision}"

    def refuse_other_width(self, dimensions: int) -> None:
        """Refuses vectors that cannot be put beside those that are stored.

        Raises:
            ModelDamaged: they have another number of dimensions.
        """
        if dimensions != self.dimensions:
            raise ModelDamaged(
                f"{self.name}: vectors of {dimensions} dimensions do not go with the stored ones of {self.dimensions}; "
                f"type: pomnit models drop {self.card}"
            )


class Spaces:
    """The spaces of one memory, and the choice among models that is kept with it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def all(self) -> list[Space]:
        """Gives all spaces, the oldest first."""
        return [Space(*row) for row in self._db.rows(f"SELECT {_COLUMNS} FROM space ORDER BY id")]  # noqa: S608

    def find(self, card: str, precision: str) -> Space | None:
        """Gives the space of a card at one precision; None when nothing was ever embedded with it."""
        row = self._db.row(
            f"SELECT {_COLUMNS} FROM space WHERE card = ? AND precision = ?",  # noqa: S608
            (card, precision),
        )
        return None if row is None else Space(*row)

    def make(self, card: str, precision: str, dimensions: int) -> Space:
        """Gives the space of a card at one precision, made when it is new.

        Raises:
            ModelDamaged: there is such a space, of vectors of another width.
        """
        found = self.find(card, precision)
        if found is not None:
            found.refuse_other_width(dimensions)
            return found
        row = self._db.insert(
            "INSERT INTO space (card, precision, dimensions) VALUES (?, ?, ?)", (card, precision, dimensions)
        )
        return Space(row, card, precision, dimensions, 0)

    def get(self, row: int) -> Space | None:
        """Gives a space by its row."""
        found = self._db.row(f"SELECT {_COLUMNS} FROM space WHERE id = ?", (row,))  # noqa: S608
        return None if found is None else Space(*found)

    def current(self) -> Space | None:
        """Gives the space that is searched; None before the first one is whole."""
        row = self._get("current")
        return None if row is None else self.get(int(row))

    def make_current(self, space: Space) -> None:
        """Lets a space be the one that is searched."""
        self._set("current", str(space.id))

    def remove(self, space: Space) -> None:
        """Takes a space away; its vectors must be gone, and it is not the current one."""
        self._db.write("DELETE FROM space WHERE id = ?", (space.id,))

    # What this memory wants

    def encoder(self) -> tuple[str, int | None] | None:
        """Gives the encoder that ``use`` asked for, and the bits of a weight if it named them."""
        name, bits = self._get("encoder"), self._get("encoder_bits")
        return None if name is None else (name, int(bits) if bits else None)

    def want_encoder(self, name: str, bits: int | None) -> None:
        """Keeps which encoder this memory shall use."""
        self._set("encoder", name)
        self._set("encoder_bits", str(bits or ""))

    def reranker(self) -> str | None:
        """Gives the reranker in use."""
        return self._get("reranker") or None

    def want_reranker(self, name: str | None) -> None:
        """Keeps which reranker this memory shall use; None: no one."""
        self._set("reranker", name or "")

    def _get(self, key: str) -> str | None:
        value: str | None = self._db.value("SELECT value FROM meta WHERE key = ?", (key,))
        return value

    def _set(self, key: str, value: str) -> None:
        self._db.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
