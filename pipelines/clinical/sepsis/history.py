"""The hours that the sepsis model sees of each patient: a bounded, columnar memory, fed by the rows of the streams.

Holds: `HourlyHistory`: the newest value of every variable and hour, results with their versions, when a stay began.
Does not hold: features, scores, who is alerted on (`stream_score.py`), nor what a restart asks
(`warehouse/score_history.py`).

**An hour is an hour of the clock (UTC).** A value stands in the hour of its effective time: event time, or when a
specimen was taken, never later than the broker's append (decision 9). An intensive-care hour is the number of such
hours since the one in which the stay began, from 1; so a beginning that is learnt late moves the numbers and no value.
A stay begins when admissions say that the patient came to intensive care, else when they say that the patient was
admitted, else with the first reading that no silence of `SILENCE_H` hours follows.

**In an hour the value of the latest effective time counts**, of two at the same time the larger. Of a laboratory
result only the version that holds counts (by `reported_at`, status, event id); one withdrawn, or flagged, counts as
none, and an earlier result of that hour stands again. Nothing of this depends on the order of arrival as long as what
arrives lies in the hours that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.clinical.patients import Register
from pipelines.clinical.readings import milliseconds
from pipelines.clinical.sepsis.intensive_care import IntensiveCare, facts_of
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.variables import BY_CODE, VARIABLES
from pipelines.clinical.stays import Stay, stays
from warehouse.vocabulary import BEDSIDE, CODES, WEARABLE

HOUR_MS = 3_600_000
REACH_H = 24
"""How many of a patient's newest hours are scored anew when something in them changes."""
SILENCE_H = 48
"""Where no admission is known: a reading after so many hours without any begins another stay."""
LONGEST_STAY_H = 336
"""Where no admission is known: the beginning is sought no further back than this many hours."""
ADMISSIONS_KEPT = timedelta(days=90)
"""How far behind a patient's newest admission others are kept, and asked for by a restart."""
UNCHANGED = np.iinfo(np.int32).max
NO_HOUR = np.iinfo(np.int32).min // 2

_CHARTED = tuple(
    at
    for at, variable in enumerate(VARIABLES)
    if any({BEDSIDE, WEARABLE} & set(CODES[code].value_sets) for code in variable.codes)
)
"""The variables that devices send: each hour of these has its place; results are kept as they come."""
_PLACE = np.full(len(VARIABLES), -1, np.int64)
_PLACE[list(_CHARTED)] = np.arange(len(_CHARTED))
_RANKS = {"P": 0, "F": 1, "C": 2, "X": 3}
_RESULT = np.dtype(
    [
        ("order", "u8"),
        ("variable", "i1"),
        ("collected_ms", "i8"),
        ("reported_ms", "i8"),
        ("rank", "i1"),
        ("event", "O"),
        ("value", "f4"),
    ]
)
_NO_RESULTS = np.empty(0, _RESULT)
_EMPTY = (
    ("newest", NO_HOUR),
    ("changed", UNCHANGED),
    ("_value", np.nan),
    ("_at_ms", -1),
    ("_measured", False),
    ("_began", NO_HOUR),
    ("_person", np.nan),
)


@dataclass(frozen=True, slots=True)
class PatientHours:
    """The hours of some patients as the model takes them, patient by patient.

    Attributes:
        panel: their hours, oldest first; no row of a stay lies before its beginning.
        slot: int64[n], each row's patient.
        at_hour: int64[n], each row's hour since 1970 UTC.
    """

    panel: Panel
    slot: np.ndarray
    at_hour: np.ndarray


@dataclass(frozen=True, slots=True)
class Latest:
    """How far rows go of each patient they tell something of: int64[k] each.

    Attributes:
        slot: the patients, each once.
        hour: the latest hour since 1970 UTC in which something of the patient was measured.
        row: that row.
    """

    slot: np.ndarray
    hour: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, chosen: np.ndarray) -> Latest:
        return Latest(self.slot[chosen], self.hour[chosen], self.row[chosen])


class HourlyHistory:
    """The patients of one shard. Memory grows by doubling with their number. Not thread-safe.

    A patient costs `bytes_per_patient` and 40 bytes and an event id a laboratory result of the hours kept.

    Attributes:
        patients: whose slot is which.
        changed: int32[capacity], the earliest hour of each patient that changed since `settle`; `UNCHANGED` = none.
        newest: int32[capacity], the newest hour in which something was measured.
    """

    def __init__(
        self, window_h: int, reach_h: int = REACH_H, capacity: int = 64, wards: IntensiveCare | None = None
    ) -> None:
        self._wards = wards or IntensiveCare()
        self.hours = window_h + reach_h
        self.window_h, self.reach_h = window_h, reach_h
        self._span = max(LONGEST_STAY_H, self.hours)
        self.patients = Register()
        self.newest = np.full(capacity, NO_HOUR, np.int32)
        self.changed = np.full(capacity, UNCHANGED, np.int32)
        self._value = np.full((capacity, self.hours, len(_CHARTED)), np.nan, np.float32)
        self._at_ms = np.full((capacity, self.hours, len(_CHARTED)), -1, np.int32)
        self._measured = np.zeros((capacity, self._span), bool)
        self._began = np.full(capacity, NO_HOUR, np.int32)
        self._person = np.full((capacity, 4), np.nan, np.float32)  # birth year, sex, admission_h, unit
        self._results: dict[int, np.ndarray] = {}
        self._events: dict[int, dict[str, Mapping[str, Any]]] = {}

    @property
    def capacity(self) -> int:
        return len(self.newest)

    @property
    def bytes_per_patient(self) -> int:
        """Of the arrays; results come on top."""
        arrays = (self.newest, self.changed, self._value, self._at_ms, self._measured, self._began, self._person)
        return sum(array.nbytes for array in arrays) // self.capacity

    def slot(self, token: str) -> int:
        """The patient's place, with room for what is kept of them; one not seen before gets the next."""
        slot = self.patients.slot(token)
        if slot >= self.capacity:
            self._double()
        return slot

    def forget(self, tokens: Iterable[str]) -> list[int]:
        """Nothing is known of these patients any more, and their places stay empty; which these were."""
        slots = self.patients.forget(tokens).tolist()
        for slot in slots:
            for name, empty in _EMPTY:
                getattr(self, name)[slot] = empty
            self._results.pop(slot, None)
            self._events.pop(slot, None)
        return slots

    # --- what comes in

    def take_readings(self, rows: pa.Table) -> np.ndarray:
        """Take in rows of `device.vitals` or `iot.patient`; int64[len(rows)]: each one's slot, -1 if it says nothing.

        Args:
            rows: columns `subject_token`, `code`, `numeric_value`, `quality_flag`, `event_time`, `kafka_time`, in any
                order of rows; `patient_id` where it is known.
        """
        slot, variable, value = self._charted(rows)
        row = np.flatnonzero(slot >= 0)
        at_ms = _effective_ms(rows, "event_time")[row]
        self._advance(slot[row], at_ms // HOUR_MS)
        self._chart(slot[row], _PLACE[variable[row]], at_ms, value[row])
        return slot

    def take_results(self, rows: pa.Table) -> np.ndarray:
        """Take in rows of `lab.results`; int64[len(rows)]: each one's slot, -1 where it says nothing.

        Args:
            rows: columns `subject_token`, `event_id`, `order_id`, `code`, `numeric_value`, `status`, `collected_at`,
                `reported_at`, `quality_flag`, `kafka_time`, in any order of rows; `patient_id` where it is known.
        """
        variable = _variables(rows["code"])
        slot = self._slots_of(rows, variable >= 0, flagged=True)
        row = np.flatnonzero(slot >= 0)
        new = _versions(rows, row, variable[row])
        self._advance(slot[row], new["collected_ms"] // HOUR_MS, counts=~np.isnan(new["value"]))
        self._file(slot[row], new)
        return slot

    def take_admissions(self, rows: pa.Table) -> None:
        """Take in rows of `adt.events`, with the year of birth or (before it is generalised) the date.

        Args:
            rows: columns `subject_token`, `stay_id`, `event_id`, `type`, `ward`, `bed`, `event_time`, `recorded_at`,
                `birth_year`, `sex`, in any order of rows.
        """
        known = rows.filter(rows["subject_token"].is_valid()) if rows["subject_token"].null_count else rows
        touched = set()
        for event in known.select(_ADMISSION_COLUMNS).to_pylist():  # admissions are few beside readings
            slot = self.slot(event["subject_token"])
            event["birth_year"] = getattr(event["birth_year"], "year", event["birth_year"])
            self._events.setdefault(slot, {})[event["event_id"]] = event
            touched.add(slot)
        for slot in touched:
            self._admit(slot)

    def until_readings(self, rows: pa.Table) -> Latest:
        """How far rows of readings go, before they are taken in."""
        slot, _, _ = self._charted(rows)
        return _latest(slot, _effective_ms(rows, "event_time") // HOUR_MS)

    def until_results(self, rows: pa.Table) -> Latest:
        """How far rows of results go that stand."""
        slot = self._slots_of(rows, _variables(rows["code"]) >= 0, flagged=True)
        return _latest(np.where(np.isnan(_standing(rows)), -1, slot), _effective_ms(rows, "collected_at") // HOUR_MS)

    def pass_hours(self, slots: np.ndarray, hours: np.ndarray) -> None:
        """Let time go on for these patients, up to these hours, though nothing was measured in them. Only ahead of a
        measurement that comes later than they are."""
        before = self.newest[slots].astype(np.int64)
        self.newest[slots] = hours
        self._clear(slots, before)

    def note_measured(self, tokens: list[str], hours: np.ndarray) -> None:
        """Hours since 1970 UTC in which something of these patients was measured that is not told otherwise: further
        back, or withdrawn since, which turns no time back."""
        known = [
            (slot, hour)
            for token, hour in zip(tokens, hours.tolist(), strict=True)
            if (slot := self.patients.find(token)) is not None
        ]
        if known:
            slot, hour = np.array(known, np.int64).T
            ahead = hour > self.newest[slot]
            self._advance(slot[ahead], hour[ahead])
            kept = (hour > self.newest[slot] - self._span) & (hour <= self.newest[slot])
            self._measured[slot[kept], hour[kept] % self._span] = True

    # --- what it says

    def is_admitted(self, slots: np.ndarray) -> np.ndarray:
        """bool[len(slots)]: whether an admission says when the patient's stay began."""
        return self._began[slots] > NO_HOUR

    def began(self, slots: np.ndarray) -> np.ndarray:
        """int64[len(slots)]: the hour in which each patient's stay began."""
        told = self._began[slots].astype(np.int64)
        return np.where(told > NO_HOUR, told, self._first_measured(slots))

    def settle(self, slots: np.ndarray) -> np.ndarray:
        """The first hour of each patient to score anew, within reach; their changes count as done."""
        first = np.maximum(self.changed[slots], self.newest[slots] - self.reach_h + 1)
        self.changed[slots] = UNCHANGED
        return first.astype(np.int64)

    def panel(self, slots: np.ndarray, first: np.ndarray) -> PatientHours:
        """What is known of the patients, from as many hours before `first` as features look back.

        Args:
            slots: int64[k], patients, each once; those whose stay begins after their newest hour are left out.
            first: int64[k], the first hour of each whose features are wanted.
        """
        newest, began = self.newest[slots].astype(np.int64), self.began(slots)
        low = np.maximum(np.maximum(began, first - self.window_h + 1), newest - self.hours + 1)
        known = np.flatnonzero(low <= newest)
        slots, newest, began, low = slots[known], newest[known], began[known], low[known]
        lengths = newest - low + 1
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        slot = np.repeat(slots, lengths)
        at_hour = np.arange(len(slot)) - np.repeat(starts[:-1] - low, lengths)
        values = self._values(slots, low, newest, starts, slot, at_hour)
        born, sex, admission_h, unit = self._person[slots].T
        age = (_year(began) - born).astype(np.float32)
        age, sex, admission_h, unit = (np.repeat(column, lengths) for column in (age, sex, admission_h, unit))
        return PatientHours(
            Panel(values, starts, at_hour - np.repeat(began, lengths) + 1, age, sex, admission_h, unit), slot, at_hour
        )

    def person(self, slot: int) -> dict[str, bool]:
        """Which of the model's items about the person are known."""
        born, sex, admission_h, _ = self._person[slot].tolist()
        return {"age": born == born, "sex": sex == sex, "admission": admission_h == admission_h}

    # --- within

    def _charted(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of rows of readings the slot, -1 for one that says nothing, the variable and the value."""
        variable, value = _variables(rows["code"]), rows["numeric_value"].to_numpy().astype(np.float32)
        return self._slots_of(rows, (variable >= 0) & (_PLACE[variable] >= 0) & ~np.isnan(value)), variable, value

    def _slots_of(self, rows: pa.Table, wanted: np.ndarray, flagged: bool = False) -> np.ndarray:
        """int64[n]: the slot of each wanted row that names a patient and, unless `flagged`, bears no flag; else -1."""
        for name in ("subject_token", "patient_id"):
            if name in rows.column_names and rows[name].null_count:
                wanted = wanted & rows[name].is_valid().to_numpy()
        if not flagged and rows["quality_flag"].null_count < len(rows):
            wanted = wanted & rows["quality_flag"].is_null().to_numpy()
        tokens = rows["subject_token"]
        encoded = (tokens if pa.types.is_dictionary(tokens.type) else tokens.dictionary_encode()).combine_chunks()
        index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        occurs = np.zeros(len(encoded.dictionary) + 1, bool)
        occurs[index[wanted]] = True
        slots = np.full(len(occurs), -1, np.int64)
        places = np.flatnonzero(occurs[:-1])
        slots[places] = [self.slot(token) for token in encoded.dictionary.take(pa.array(places)).to_pylist()]
        return np.where(wanted, slots[index], -1)

    def _advance(self, slot: np.ndarray, hour: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Make room for the newest hour of each patient and note in which hours something was measured."""
        if counts is not None:
            slot, hour = slot[counts], hour[counts]
        before = self.newest[slot]
        np.maximum.at(self.newest, slot, hour.astype(np.int32))
        ahead = np.flatnonzero(self.newest[slot] > before)
        if len(ahead):
            moved, first = np.unique(slot[ahead], return_index=True)
            self._clear(moved, before[ahead[first]].astype(np.int64))
        np.minimum.at(self.changed, slot, hour.astype(np.int32))
        kept = hour > self.newest[slot] - self._span
        self._measured[slot[kept], hour[kept] % self._span] = True

    def _clear(self, slots: np.ndarray, old: np.ndarray) -> None:
        """Empty the places of hours that these patients' newest hour has gone past."""
        new = self.newest[slots].astype(np.int64)[:, None]
        # The hours between count as changed too: each is a row, measured or not.
        self.changed[slots] = np.minimum(self.changed[slots], np.where(old > NO_HOUR, old + 1, new[:, 0]))
        for span, empty in ((self.hours, self._empty), (self._span, self._unmeasured)):
            place = np.arange(span)
            held = new - (new - place) % span
            stale = held > old[:, None]
            empty(slots, stale)

    def _empty(self, slots: np.ndarray, stale: np.ndarray) -> None:
        patient, place = np.nonzero(stale)
        self._value[slots[patient], place] = np.nan
        self._at_ms[slots[patient], place] = -1

    def _unmeasured(self, slots: np.ndarray, stale: np.ndarray) -> None:
        patient, place = np.nonzero(stale)
        self._measured[slots[patient], place] = False

    def _chart(self, slot: np.ndarray, place: np.ndarray, at_ms: np.ndarray, value: np.ndarray) -> None:
        """Let each value take its place where it is the latest of its hour."""
        hour = at_ms // HOUR_MS
        kept = np.flatnonzero(hour > self.newest[slot] - self.hours)
        if not len(kept):
            return
        slot, place, at_ms, value, hour = slot[kept], place[kept], at_ms[kept], value[kept], hour[kept]
        column = hour % self.hours
        cell = (slot * self.hours + column) * len(_CHARTED) + place
        within = (at_ms - hour * HOUR_MS).astype(np.int32)
        order = np.lexsort((value, cell * HOUR_MS + within))
        last = order[_ends(cell[order])]
        slot, column, place, within, value = slot[last], column[last], place[last], within[last], value[last]
        had_ms, had = self._at_ms[slot, column, place], self._value[slot, column, place]
        wins = (within > had_ms) | ((within == had_ms) & (value > had))
        at = slot[wins], column[wins], place[wins]
        self._at_ms[at], self._value[at] = within[wins], value[wins]

    def _file(self, slot: np.ndarray, new: np.ndarray) -> None:
        """Keep of each result the version that holds, unless specimen and report lie before the hours kept."""
        if not len(slot):
            return
        owners = np.unique(slot)
        old = [self._results.get(owner, _NO_RESULTS) for owner in owners.tolist()]
        owner = np.concatenate([np.repeat(owners, [len(of) for of in old]), slot])
        entries = np.concatenate([*old, new])
        is_new = np.arange(len(entries)) >= len(entries) - len(new)
        keys = ("event", "rank", "reported_ms", "order", "variable")
        order = np.lexsort((*(entries[key] for key in keys), owner))
        owner, entries, is_new = owner[order], entries[order], is_new[order]
        ends = _ends(owner, entries["variable"], entries["order"])
        self._note_changes(owner, entries, is_new, ends)
        owner, entries = owner[ends], entries[ends]
        last_ms = np.maximum(entries["collected_ms"], entries["reported_ms"])
        kept = last_ms // HOUR_MS > self.newest[owner] - self.hours
        owner, entries = owner[kept], entries[kept]
        parts = np.split(entries, np.searchsorted(owner, owners[1:]))
        self._results.update(zip(owners.tolist(), parts, strict=True))

    def _note_changes(self, owner: np.ndarray, entries: np.ndarray, is_new: np.ndarray, ends: np.ndarray) -> None:
        """A new version changes the hour it stands in and the hours its earlier ones stood in."""
        group = np.cumsum(np.r_[0, ends[:-1]])
        touched = np.bincount(group, is_new) > 0
        rows = touched[group]
        hour = np.maximum(entries["collected_ms"][rows] // HOUR_MS, NO_HOUR).astype(np.int32)
        np.minimum.at(self.changed, owner[rows], hour)

    def _values(
        self,
        slots: np.ndarray,
        low: np.ndarray,
        newest: np.ndarray,
        starts: np.ndarray,
        slot: np.ndarray,
        at_hour: np.ndarray,
    ) -> np.ndarray:
        """float32[rows, V]: what devices sent, and results where they are later."""
        values = np.full((len(slot), len(VARIABLES)), np.nan, np.float32)
        values[:, list(_CHARTED)] = self._value[slot, at_hour % self.hours]
        parts = [self._results.get(at, _NO_RESULTS) for at in slots.tolist()]
        owner = np.repeat(np.arange(len(slots)), [len(part) for part in parts])
        entries = np.concatenate([_NO_RESULTS, *parts])
        hour = entries["collected_ms"] // HOUR_MS
        counts = ~np.isnan(entries["value"]) & (hour >= low[owner]) & (hour <= newest[owner])
        owner, entries, hour = owner[counts], entries[counts], hour[counts]
        row = starts[owner] + hour - low[owner]
        variable = entries["variable"].astype(np.int64)
        order = np.lexsort((entries["value"], entries["collected_ms"], row * len(VARIABLES) + variable))
        last = order[_ends(row[order], variable[order])]
        self._overlay(values, row[last], variable[last], entries[last], slot, at_hour)
        return values

    def _overlay(
        self,
        values: np.ndarray,
        row: np.ndarray,
        variable: np.ndarray,
        entries: np.ndarray,
        slot: np.ndarray,
        at_hour: np.ndarray,
    ) -> None:
        within = entries["collected_ms"] % HOUR_MS
        place = _PLACE[variable]
        had_ms = np.where(place >= 0, self._at_ms[slot[row], at_hour[row] % self.hours, place], -1)
        value = entries["value"]
        with np.errstate(invalid="ignore"):
            wins = (within > had_ms) | ((within == had_ms) & (value > values[row, variable]))
        values[row[wins], variable[wins]] = value[wins]

    def _first_measured(self, slots: np.ndarray) -> np.ndarray:
        """The hour after the last long silence, among the hours in which something was measured."""
        newest = self.newest[slots].astype(np.int64)[:, None]
        age = np.arange(self._span)
        measured = self._measured[slots[:, None], (newest - age) % self._span]
        oldest = np.maximum.accumulate(np.where(measured, age, -1), axis=1)
        before = np.concatenate([np.zeros((len(slots), 1), np.int64), oldest[:, :-1]], axis=1)
        silent = measured & (age - np.maximum(before, 0) > SILENCE_H)
        cut = np.where(silent.any(axis=1), silent.argmax(axis=1), self._span)
        reached = oldest[np.arange(len(slots)), cut - 1]
        return newest[:, 0] - np.maximum(reached, 0)

    def _admit(self, slot: int) -> None:
        events = self._events[slot]
        stay = max(
            (stay for stay in stays(events.values()) if stay.stretches),
            key=lambda stay: (stay.stretches[-1].started_at, stay.stay_id),
            default=None,
        )
        before = self._began[slot], self._person[slot].tobytes()
        self._began[slot], self._person[slot] = NO_HOUR, np.nan
        if stay:
            began_at, self._person[slot] = facts_of(stay, self._wards)
            self._began[slot] = _hour(began_at)
        if before != (self._began[slot], self._person[slot].tobytes()) and self.newest[slot] > NO_HOUR:
            self.changed[slot] = NO_HOUR
        oldest = max(event["event_time"] for event in events.values()) - ADMISSIONS_KEPT
        self._events[slot] = {i: e for i, e in events.items() if _may_count(e, stay, oldest)}

    def _double(self) -> None:
        more = self.capacity
        for name, empty in _EMPTY:
            array = getattr(self, name)
            room = np.full((more, *array.shape[1:]), empty, array.dtype)
            setattr(self, name, np.concatenate([array, room]))


_ADMISSION_COLUMNS = (
    "subject_token", "stay_id", "event_id", "type", "ward", "bed", "event_time", "recorded_at", "birth_year", "sex",
)  # fmt: skip


def _may_count(event: Mapping[str, Any], stay: Stay | None, oldest: datetime) -> bool:
    """Whether an event may still matter. One of a stay before this one may: this one is taken back, say, as an
    admission of somebody else."""
    return event["event_time"] >= oldest or (stay is not None and event["stay_id"] == stay.stay_id)


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)


def _year(hour: np.ndarray) -> np.ndarray:
    return hour.astype("datetime64[h]").astype("datetime64[Y]").astype(np.int64) + 1970


def _variables(codes: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: each code's variable, -1 where the model has none."""
    encoded = (codes if pa.types.is_dictionary(codes.type) else codes.dictionary_encode()).combine_chunks()
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.array([*(BY_CODE.get(code, -1) for code in encoded.dictionary.to_pylist()), -1], np.int64)[index]


def _effective_ms(rows: pa.Table, column: str) -> np.ndarray:
    return np.minimum(milliseconds(rows[column]), milliseconds(rows["kafka_time"]))


def _versions(rows: pa.Table, row: np.ndarray, variable: np.ndarray) -> np.ndarray:
    """The chosen rows as entries."""
    chosen = rows.take(pa.array(row))
    entries: np.ndarray[Any, Any] = np.empty(len(row), _RESULT)
    entries["order"] = np.array(list(map(hash, chosen["order_id"].to_pylist())), np.int64).view(np.uint64)
    entries["variable"] = variable
    entries["collected_ms"] = _effective_ms(chosen, "collected_at")
    entries["reported_ms"] = milliseconds(chosen["reported_at"])
    entries["rank"] = [_RANKS.get(word, 0) for word in chosen["status"].to_pylist()]
    entries["event"] = chosen["event_id"].to_pylist()
    entries["value"] = _standing(chosen)
    return entries


def _standing(results: pa.Table) -> np.ndarray:
    """float32[n]: each result's number; NaN for one that is withdrawn, flagged or has none."""
    withdrawn = pc.fill_null(pc.equal(results["status"], "X"), False).to_numpy()
    value = results["numeric_value"].to_numpy().astype(np.float32)
    return np.where(withdrawn | results["quality_flag"].is_valid().to_numpy(), np.float32(np.nan), value)


def _latest(slot: np.ndarray, hour: np.ndarray) -> Latest:
    row = np.flatnonzero(slot >= 0)
    row = row[np.lexsort((hour[row], slot[row]))]
    row = row[_ends(slot[row])]
    return Latest(slot[row], hour[row].astype(np.int64), row)


def _ends(*keys: np.ndarray) -> np.ndarray:
    """bool[n]: the last of each run of equal keys."""
    if not len(keys[0]):
        return np.zeros(0, bool)
    differs = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.r_[differs, True]
