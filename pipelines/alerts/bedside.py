"""Who a patient is and where they lie, as admissions tell it: what an alert names beside the patient's id.

Holds: `Bedsides`, a map in memory, fed by the rows of `adt.events` while they still bear the date of birth.
Does not hold: stays (`pipelines/clinical/stays.py` folds them, for questions), nor anything that outlives the process:
identities are kept by Kafka and by memory alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa

ADMISSIONS = "adt.events"
LEAVING = frozenset({"A03", "A11"})
"""Discharge, and admission cancelled: the patient lies nowhere."""
UPDATE = "A08"

# On its way to the table the date of birth bears the name of the column in which only its year is left.
_BORN = "birth_year"
_COLUMNS = ("patient_id", "type", "ward", "bed", _BORN, "event_time")


@dataclass(frozen=True, slots=True)
class Bedside:
    """What is known of a patient. `since`: when what was said last of ward and bed happened."""

    birth_date: date | None = None
    ward: str | None = None
    bed: str | None = None
    since: datetime | None = None

    def bed_in(self, ward: str | None) -> str | None:
        """The bed, where the patient lies in that ward: a bed's number says nothing in another one."""
        return self.bed if self.ward == ward else None


UNKNOWN = Bedside()


class Bedsides:
    """The patients of one shard. Not thread-safe."""

    def __init__(self) -> None:
        self._of: dict[str, Bedside] = {}

    def of(self, patient_id: str) -> Bedside:
        return self._of.get(patient_id, UNKNOWN)

    def has_left(self, patient_id: str) -> bool:
        """Whether admissions said last that the patient lies nowhere. Of whom they said nothing nobody knows."""
        known = self.of(patient_id)
        return known.since is not None and known.ward is None

    def patients(self) -> list[str]:
        """Everybody of whom something is known."""
        return list(self._of)

    def forget(self, patients: Iterable[str]) -> None:
        """Nothing is known of these any more."""
        for patient in patients:
            self._of.pop(patient, None)

    def take(self, rows: pa.Table) -> None:
        """Take in rows of `adt.events`, those of a patient in the order of their messages.

        The date of birth told last holds. Of ward and bed what happened last holds, whatever was told last; an update
        moves nobody, but may name the bed.
        """
        for row in rows.select(_COLUMNS).to_pylist():
            self._of[row["patient_id"]] = _after(self.of(row["patient_id"]), row)


def _after(known: Bedside, row: dict[str, Any]) -> Bedside:
    known = replace(known, birth_date=row[_BORN] or known.birth_date)
    if known.since is not None and row["event_time"] < known.since:
        return known
    if row["type"] in LEAVING:
        return replace(known, ward=None, bed=None, since=row["event_time"])
    if row["type"] == UPDATE:
        return replace(known, ward=row["ward"] or known.ward, bed=row["bed"] or known.bed)
    return replace(known, ward=row["ward"], bed=row["bed"], since=row["event_time"])
