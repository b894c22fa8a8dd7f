"""MIMIC-III stays, replayed: charts as `device.vitals`, laboratory as `lab.results`, stays as `adt.events`.

Holds: the explicit tables of mapped items, and the order of sending.
Does not hold: the data (MIMIC-III Clinical Database Demo v1.4, 100 patients, ODbL 1.0; the full one is alike).

Charts leave in the order of `storetime` with `charttime` as event time: real lateness, and some are stored before they
are charted. `received_at` is the storetime. MIMIC's units are told in UCUM by the item's table; where a row names
another unit than its item has, it leaves under the row's own word, for the stream to refuse.

Not sent, and counted: rows without a number (but `<` and `>` of one, which become comparators), rows that the charting
system itself marked as errors, and pH, pO2 and pCO2 of a blood gas whose specimen (item 50800, of the same patient and
time) is not said to be arterial: their codes are those of arterial blood. Not mapped: 50804, calculated total CO2,
which is another quantity than bicarbonate and for which the vocabulary has no code.

A stay is one `hadm_id`; results without one (drawn outside of a stay) make one more stay of their patient. A patient's
stays follow each other with a day between them, the last one ending now.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from infra.loaders.loaded import (
    ADMISSIONS,
    HOUR_MS,
    RESULTS,
    VITALS,
    Item,
    Loaded,
    epoch_ms,
    event_id,
    existing,
    message,
    patient_id,
    reading,
    result,
    stay_end_ms,
)
from infra.simulator.reading import iso_utc
from infra.simulator.ward import Event

_PRESSURE, _RATE = "mm[Hg]", "/min"
CHARTS = {
    item: Item(VITALS, name, code, unit)
    for name, code, unit, items in (
        ("Heart Rate", "8867-4", _RATE, (211, 220045)),
        ("Respiratory Rate", "9279-1", _RATE, (615, 618, 220210, 224690)),
        ("SpO2", "59408-5", "%", (646, 220277)),
        ("Arterial BP systolic", "8480-6", _PRESSURE, (51, 6701, 220050, 225309)),
        ("NBP systolic", "8480-6", _PRESSURE, (442, 455, 220179)),
        ("Arterial BP diastolic", "8462-4", _PRESSURE, (8368, 8555, 220051, 225310)),
        ("NBP diastolic", "8462-4", _PRESSURE, (8440, 8441, 220180)),
        ("Arterial BP mean", "8478-0", _PRESSURE, (52, 6702, 220052, 225312)),
        ("NBP mean", "8478-0", _PRESSURE, (443, 456, 220181)),
        ("Temperature F", "8310-5", "[degF]", (678, 223761)),
        ("Temperature C", "8310-5", "Cel", (676, 223762)),
        ("O2 Flow", "3151-8", "L/min", (470, 223834)),
        ("FiO2", "3150-0", "%", (223835,)),
        ("FiO2 Set", "3150-0", "1", (190,)),
        ("EtCO2", "19891-1", _PRESSURE, (1817, 228640)),
        ("Daily Weight", "29463-7", "kg", (763, 224639)),
        ("Admit Weight (Kg)", "29463-7", "kg", (762, 226512)),
        ("Admit Weight (lbs.)", "29463-7", "[lb_av]", (226531,)),
    )
    for item in items
}
LABS = {
    item: Item(RESULTS, name, code, unit)
    for item, name, code, unit in (
        (50802, "Base Excess", "11555-0", "meq/L"),
        (50808, "Free Calcium", "1994-3", "mmol/L"),
        (50809, "Glucose, whole blood", "2339-0", "mg/dL"),
        (50813, "Lactate", "2524-7", "mmol/L"),
        (50816, "Oxygen (inspired)", "3150-0", "%"),
        (50818, "pCO2", "2019-8", _PRESSURE),
        (50820, "pH", "2744-1", "[pH]"),
        (50821, "pO2", "2703-7", _PRESSURE),
        (50861, "Alanine Aminotransferase (ALT)", "1742-6", "[IU]/L"),
        (50862, "Albumin", "1751-7", "g/dL"),
        (50863, "Alkaline Phosphatase", "6768-6", "[IU]/L"),
        (50868, "Anion Gap", "1863-0", "meq/L"),
        (50878, "Asparate Aminotransferase (AST)", "1920-8", "[IU]/L"),
        (50882, "Bicarbonate", "1963-8", "meq/L"),
        (50883, "Bilirubin, Direct", "1968-7", "mg/dL"),
        (50885, "Bilirubin, Total", "1975-2", "mg/dL"),
        (50889, "C-Reactive Protein", "1988-5", "mg/L"),
        (50893, "Calcium, Total", "17861-6", "mg/dL"),
        (50902, "Chloride", "2075-0", "meq/L"),
        (50912, "Creatinine", "2160-0", "mg/dL"),
        (50931, "Glucose", "2345-7", "mg/dL"),
        (50960, "Magnesium", "19123-9", "mg/dL"),
        (50970, "Phosphate", "2777-1", "mg/dL"),
        (50971, "Potassium", "2823-3", "meq/L"),
        (50983, "Sodium", "2951-2", "meq/L"),
        (51002, "Troponin I", "10839-9", "ng/mL"),
        (51003, "Troponin T", "6598-7", "ng/mL"),
        (51006, "Urea Nitrogen", "3094-0", "mg/dL"),
        (51214, "Fibrinogen, Functional", "3255-7", "mg/dL"),
        (51221, "Hematocrit", "4544-3", "%"),
        (51222, "Hemoglobin", "718-7", "g/dL"),
        (51237, "INR(PT)", "6301-6", "{INR}"),
        (51265, "Platelet Count", "777-3", "10*3/uL"),
        (51274, "PT", "5902-2", "s"),
        (51275, "PTT", "14979-9", "s"),
        (51279, "Red Blood Cells", "789-8", "10*6/uL"),
        (51301, "White Blood Cells", "6690-2", "10*3/uL"),
    )
}
ITEMS = CHARTS | LABS
SPECIMEN, ARTERIAL = 50800, "ART"
OF_ARTERIES = (50818, 50820, 50821)

# How MIMIC writes a UCUM unit; in lower case. A row without a unit has its item's.
WRITTEN = {
    "/min": ("bpm", "insp/min"),
    "%": ("%",),
    _PRESSURE: ("mmhg", "mm hg"),
    "[degF]": ("?f", "deg. f", "°f"),
    "Cel": ("?c", "deg. c", "°c"),
    "L/min": ("l/min", "lpm"),
    "kg": ("kg",),
    "[lb_av]": ("lbs", "lb"),
    "1": ("torr",),  # what CareVue writes behind a fraction of inspired oxygen
    "meq/L": ("meq/l",),
    "mmol/L": ("mmol/l",),
    "mg/dL": ("mg/dl",),
    "mg/L": ("mg/l",),
    "g/dL": ("g/dl",),
    "ng/mL": ("ng/ml",),
    "[IU]/L": ("iu/l",),
    "[pH]": ("units",),
    "s": ("sec", "seconds"),
    "10*3/uL": ("k/ul",),
    "10*6/uL": ("m/ul",),
}
_CHART_FILES = ("chartevents_1.csv.gz", "chartevents_2.csv.gz", "chartevents.csv.gz")
_BOUND = re.compile(r"\s*(<=?|>=?|LESS THAN|GREATER THAN)\s*(\d+(?:\.\d+)?)\s*", re.IGNORECASE)
_COMPARATORS = {"LESS THAN": "<", "GREATER THAN": ">"}
AGE_HIDDEN_DAYS = 150 * 365
"""MIMIC moves the birth of people over 89 by 300 years; then no date of birth is sent."""
BETWEEN_STAYS_MS = 24 * HOUR_MS


@dataclass(slots=True)
class _Stay:
    """Events of one stay, each as a function of the shift, with the earliest and last time among them."""

    rows: list[tuple[int, Any, dict[str, Any]]] = field(default_factory=list)
    first_ms: int = 1 << 62
    last_ms: int = -(1 << 62)

    def add(self, due_ms: int, make: Any, row: dict[str, Any], *times_ms: int) -> None:
        self.rows.append((due_ms, make, row))
        self.first_ms, self.last_ms = min(self.first_ms, due_ms, *times_ms), max(self.last_ms, due_ms, *times_ms)


def load(path: Path, end_ms: int, stays: int | None = None) -> Loaded:
    """The stays of the first `stays` patients by id (all without it) of a folder of MIMIC's CSV files.

    Raises `SourceMissingError`. `rows` and `mapped` count chart and laboratory rows of these patients.
    """
    existing(path, "the folder of MIMIC-III's csv.gz files")
    people = _read(path / "patients.csv.gz", ("subject_id", "gender", "dob"))
    subjects = sorted(people["subject_id"].to_pylist())[:stays]
    chosen = pa.array(subjects, pa.int64())
    rows, not_sent = 0, Counter()
    of_stay: dict[tuple[int, int | None], _Stay] = defaultdict(_Stay)
    mapped = 0
    for table, take in ((_charts(path, chosen), _take_chart), (_labs(path, chosen), _take_lab)):
        rows += table[0]
        mapped += len(table[1])
        for row in table[1].to_pylist():
            not_sent[take(of_stay[row["subject_id"], row["hadm_id"]], row)] += 1
    del not_sent["sent"]
    _take_movements(path, of_stay, chosen, {row["subject_id"]: row for row in people.to_pylist()})
    return Loaded(_shifted(of_stay, end_ms), {str(item): each for item, each in ITEMS.items()}, rows, mapped, not_sent)


def _read(file: Path, columns: Iterable[str]) -> pa.Table:
    types = {"value": pa.string(), "valueuom": pa.string(), "error": pa.string(), "curr_careunit": pa.string()}
    options = pv.ConvertOptions(include_columns=list(columns), column_types=types, strings_can_be_null=True)
    return pv.read_csv(existing(file, "the folder of MIMIC-III's csv.gz files"), convert_options=options)


def _of(table: pa.Table, subjects: pa.Array, items: Iterable[int]) -> tuple[int, pa.Table]:
    """How many rows these people have, and those of mapped items."""
    table = table.filter(pc.is_in(table["subject_id"].cast(pa.int64()), subjects))
    return len(table), table.filter(pc.is_in(table["itemid"].cast(pa.int64()), pa.array(list(items), pa.int64())))


_VALUE = ("row_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "valueuom")


def _charts(path: Path, subjects: pa.Array) -> tuple[int, pa.Table]:
    files = [path / name for name in _CHART_FILES if (path / name).exists()]
    existing(path / _CHART_FILES[0] if not files else files[0], "the folder of MIMIC-III's csv.gz files")
    parts = [_of(_read(file, (*_VALUE, "storetime", "error")), subjects, CHARTS) for file in files]
    return sum(rows for rows, _ in parts), pa.concat_tables([part for _, part in parts], promote_options="permissive")


def _labs(path: Path, subjects: pa.Array) -> tuple[int, pa.Table]:
    """Also of each row the specimens (`specimens`, distinct, in order) that were said for its patient and time."""
    table = _read(path / "labevents.csv.gz", _VALUE)
    _, of_gases = _of(table, subjects, [SPECIMEN])
    said: dict[tuple[int, datetime], set[str]] = defaultdict(set)
    for row in of_gases.to_pylist():
        said[row["subject_id"], row["charttime"]].add(row["value"] or "")
    rows, mapped = _of(table, subjects, LABS)
    when = zip(mapped["subject_id"].to_pylist(), mapped["charttime"].to_pylist(), strict=True)
    specimens = [sorted(said.get(at, ())) for at in when]
    return rows, mapped.append_column("specimens", pa.array(specimens, pa.list_(pa.string())))


def _take_chart(stay: _Stay, row: dict[str, Any]) -> str:
    if row["error"] == "1":
        return "marked as an error"
    if row["valuenum"] is None:
        return "no number"
    charted_ms = epoch_ms(row["charttime"])
    stored_ms = charted_ms if row["storetime"] is None else epoch_ms(row["storetime"])
    stay.add(stored_ms, _chart, row, charted_ms)
    return "sent"


def _take_lab(stay: _Stay, row: dict[str, Any]) -> str:
    if row["itemid"] in OF_ARTERIES and row["specimens"] != [ARTERIAL]:
        return "blood gas not said to be arterial" if not row["specimens"] else "blood gas of other than arterial blood"
    bound = None if row["valuenum"] is not None else _BOUND.fullmatch(row["value"] or "")
    if row["valuenum"] is None and bound is None:
        return "no number"
    if bound:
        word = bound[1].upper()
        row = row | {"valuenum": float(bound[2]), "comparator": _COMPARATORS.get(word, word)}
    stay.add(epoch_ms(row["charttime"]), _lab, row)
    return "sent"


def _unit(item: Item, row: dict[str, Any]) -> str:
    written = row["valueuom"]
    return item.unit if written is None or written.lower() in WRITTEN.get(item.unit, ()) else written


def _chart(row: dict[str, Any], due_ms: int, shift_ms: int) -> Event:
    item = CHARTS[row["itemid"]]
    said = {"unit": _unit(item, row), "device_id": f"CHART-{row['itemid']}"}
    at_ms = epoch_ms(row["charttime"]) + shift_ms
    return reading(
        item, event_id("mimic", "chart", row["row_id"]), _patient(row), row["valuenum"], at_ms, due_ms, **said
    )


def _lab(row: dict[str, Any], due_ms: int, _shift_ms: int) -> Event:
    item = LABS[row["itemid"]]
    said = {"unit": _unit(item, row)} | ({"comparator": row["comparator"]} if "comparator" in row else {})
    identity, order = (event_id("mimic", kind, row["row_id"]) for kind in ("lab", "order"))
    return result(item, identity, _patient(row), order, row["valuenum"], due_ms, due_ms, **said)


def _patient(row: dict[str, Any]) -> str:
    return patient_id("mimic", row["subject_id"])


# ------------------------------------------------------------------ admissions, transfers, discharges


def _take_movements(
    path: Path, of_stay: dict[tuple[int, int | None], _Stay], subjects: pa.Array, people: dict[int, dict[str, Any]]
) -> None:
    chosen = set(subjects.to_pylist())
    columns = ("row_id", "subject_id", "hadm_id", "admittime", "dischtime", "edregtime")
    moves = _read(
        path / "transfers.csv.gz",
        ("row_id", "subject_id", "hadm_id", "eventtype", "curr_careunit", "curr_wardid", "intime"),
    )
    first_ward = {row["hadm_id"]: _ward(row) for row in moves.to_pylist() if row["eventtype"] == "admit"}
    for row in _read(path / "admissions.csv.gz", columns).to_pylist():
        if row["subject_id"] in chosen:
            row |= {"person": people[row["subject_id"]]}
            stay, ward = of_stay[row["subject_id"], row["hadm_id"]], first_ward.get(row["hadm_id"])
            for trigger, column, where in (
                ("A04", "edregtime", None),
                ("A01", "admittime", ward),
                ("A03", "dischtime", None),
            ):
                if row[column] is not None:
                    stay.add(epoch_ms(row[column]), _movement, row | {"type": trigger, "ward": where})
    for row in moves.to_pylist():
        if row["subject_id"] in chosen and row["eventtype"] == "transfer":
            row |= {"person": people[row["subject_id"]], "type": "A02", "ward": _ward(row)}
            of_stay[row["subject_id"], row["hadm_id"]].add(epoch_ms(row["intime"]), _movement, row)


def _ward(row: dict[str, Any]) -> str:
    return row["curr_careunit"] or f"WARD-{row['curr_wardid']}"


def _movement(row: dict[str, Any], due_ms: int, shift_ms: int) -> Event:
    fields = {
        "event_id": event_id("mimic", row["type"], row["row_id"]), "stay_id": event_id("mimic", "stay", row["hadm_id"]),
        "type": row["type"], "ward": row["ward"], "event_time": iso_utc(due_ms), "sex": row["person"]["gender"],
    }  # fmt: skip
    born = _born(row["person"]["dob"], due_ms - shift_ms, shift_ms)
    return message(ADMISSIONS, row["type"], _patient(row), due_ms, fields | ({"birth_date": born} if born else {}))


def _born(dob: datetime | date, at_ms: int, shift_ms: int) -> str | None:
    """The date of birth, shifted like all else; None where MIMIC hides the age."""
    born = datetime(dob.year, dob.month, dob.day)  # noqa: DTZ001  (all of MIMIC is without zone)
    if at_ms - epoch_ms(born) > AGE_HIDDEN_DAYS * 24 * HOUR_MS:
        return None
    return (born + timedelta(milliseconds=shift_ms)).date().isoformat()


# ------------------------------------------------------------------ the shift


def _shifted(of_stay: dict[tuple[int, int | None], _Stay], end_ms: int) -> list[Event]:
    """All events in the order of sending, each stay by a shift of its own."""
    events: list[Event] = []
    ends = {subject: stay_end_ms(subject, end_ms) for subject, _ in of_stay}
    newest_first = sorted(of_stay.items(), key=lambda each: each[1].last_ms, reverse=True)
    for (subject, _), stay in newest_first:
        shift_ms = ends[subject] - stay.last_ms
        ends[subject] -= stay.last_ms - stay.first_ms + BETWEEN_STAYS_MS
        events += [make(row, due_ms + shift_ms, shift_ms) for due_ms, make, row in stay.rows]
    return sorted(events, key=lambda event: event.due_ms)
