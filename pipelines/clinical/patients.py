"""Who the patients of a shard are: a place for each pseudonym, and in memory alone the person and where they lie.

Holds: `Register` and `Whereabouts`. Does not hold: anything measured, or who has left (`pipelines/alerts/bedside.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipelines.clinical.readings import dictionary, null


class Register:
    """Places 0, 1, 2 … of patients, in the order in which they were first named. What is kept of them by place makes
    room when it is next used.

    Attributes:
        tokens: the patient of each place.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def slot(self, token: str) -> int:
        """The patient's place; one not seen before gets the next."""
        slot = self._slots.setdefault(token, len(self.tokens))
        if slot == len(self.tokens):
            self.tokens.append(token)
        return slot

    def find(self, token: str) -> int | None:
        """The patient's place; None for one never seen."""
        return self._slots.get(token)

    def named(self) -> list[str]:
        """Everybody who has a place."""
        return list(self._slots)

    def forget(self, tokens: Iterable[str]) -> np.ndarray:
        """These have no place any more, and their places stay empty; int64: which these were."""
        places = [place for token in tokens if (place := self._slots.pop(token, None)) is not None]
        for place in places:
            self.tokens[place] = ""
        return np.array(places, np.int64)

    def slots_of(self, tokens: list[str]) -> np.ndarray:
        """int64: the places of these patients; those not seen before get the next ones."""
        slots = list(map(self._slots.get, tokens))
        if None in slots:
            slots = list(map(self.slot, tokens))
        return np.array(slots, np.int64)

    def slots_in(self, rows: pa.Table) -> np.ndarray:
        """int64[n]: the patient of each row, -1 where it names none."""
        subject, tokens = dictionary(rows["subject_token"])
        if "patient_id" in rows.column_names:
            subject = np.where(null(rows["patient_id"]), -1, subject)
        return np.append(self.slots_of(tokens.to_pylist()), -1)[subject]


class Whereabouts:
    """Identifier and ward of each place, as rows since the start told them."""

    def __init__(self) -> None:
        self._told = np.full((2, 1024), None, object)

    def note(self, slots: np.ndarray, rows: pa.Table, row: np.ndarray) -> None:
        """The patients of the rows at `row`, in position order: of each the last row counts."""
        if not len(slots):
            return
        self._make_room(int(slots.max()))
        last = np.full(int(slots.max()) + 1, -1)
        last[slots] = row
        heard = np.flatnonzero(last >= 0)
        for at, name in enumerate(("patient_id", "ward")):
            if name in rows.column_names:
                told = rows[name].take(pa.array(last[heard])).cast(pa.string()).to_pylist()
                self._told[at, heard] = np.array(told, object)

    def name(self, slot: int, patient_id: str) -> None:
        """Who it is, where no row since the start told."""
        self._make_room(slot)
        if self._told[0, slot] is None:
            self._told[0, slot] = patient_id

    def of(self, slot: int) -> tuple[str | None, str | None]:
        """Identifier and ward, None where nobody told."""
        return tuple(self._told[:, slot]) if slot < self._told.shape[1] else (None, None)

    def forget(self, slots: np.ndarray) -> None:
        """Nobody told anything of these places."""
        self._told[:, slots[slots < self._told.shape[1]]] = None

    def wards(self, slots: np.ndarray) -> np.ndarray:
        """object[n]: the ward of each place, None where nobody told."""
        known = slots < self._told.shape[1]
        wards = self._told[1, np.where(known, slots, 0)]
        wards[~known] = None
        return wards

    def _make_room(self, slot: int) -> None:
        more = slot + 1 - self._told.shape[1]
        if more > 0:
            room = np.full((2, max(more, self._told.shape[1])), None, object)
            self._told = np.concatenate([self._told, room], axis=1)
