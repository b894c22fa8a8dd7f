"""The numerics of one bedside monitor in a WFDB record of format 16, replayed as `device.vitals`.

Holds: the reader of such a header and its data file, and which signals are mapped.
Does not hold: the data, other formats than 16 with one data file, or waves.

Zeros while a probe is off are sent as they are: it is the stream's matter to flag them. Samples that the record marks
as invalid (-32768) were never measured and are not sent. PULSE, the oximeter's pulse, is not mapped: it is another
quantity than the heart rate from the ECG, and the vocabulary has no code for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra.loaders.loaded import VITALS, Item, Loaded, event_id, existing, patient_id, reading
from infra.simulator.ward import Event

SIGNALS = {
    name: Item(VITALS, name, code, unit)
    for name, code, unit in (
        ("HR", "8867-4", "/min"),
        ("ABPSys", "8480-6", "mm[Hg]"),
        ("ABPDias", "8462-4", "mm[Hg]"),
        ("ABPMean", "8478-0", "mm[Hg]"),
        ("RESP", "9279-1", "/min"),
        ("SpO2", "59408-5", "%"),
        ("NBPSys", "8480-6", "mm[Hg]"),
        ("NBPDias", "8462-4", "mm[Hg]"),
        ("NBPMean", "8478-0", "mm[Hg]"),
    )
}
INVALID = -32_768
PATIENT = patient_id("icu", 1)


@dataclass(frozen=True, slots=True)
class Record:
    """A record: signal names, milliseconds between samples, values float64[samples, signals], NaN where invalid."""

    names: tuple[str, ...]
    period_ms: float
    values: np.ndarray


def read_record(header: Path) -> Record:
    """The record of a WFDB header. Raises `SourceMissingError`, and ValueError for a format that is not read here.

    A physical value is (sample - baseline) / gain; the baseline is the ADC's zero where the header names none.
    """
    lines = [line for line in existing(header, "a WFDB header (.hea)").read_text().splitlines() if line[:1] != "#"]
    _, signals, frequency = lines[0].split()[:3]
    specifications = [line.split() for line in lines[1 : 1 + int(signals)]]
    files = {specification[0] for specification in specifications}
    if len(files) != 1 or any(specification[1] != "16" for specification in specifications):
        raise ValueError(f"{header}: only records with one data file of format 16 are read")
    samples = np.fromfile(existing(header.parent / files.pop(), "its data file"), "<i2").reshape(-1, int(signals))
    scales = np.array([_scale(specification) for specification in specifications])
    values = np.where(samples == INVALID, np.nan, (samples - scales[:, 1]) / scales[:, 0])
    period_ms = 1000 / float(frequency.split("/")[0])
    return Record(tuple(specification[8] for specification in specifications), period_ms, values)


def _scale(specification: list[str]) -> tuple[float, float]:
    """(gain, baseline) of a signal's line: `gain(baseline)/units`, the baseline in brackets only where it is not the
    ADC's zero, two fields further on."""
    gain, _, baseline = specification[2].split("/")[0].rstrip(")").partition("(")
    return float(gain), float(baseline or specification[4])


def load(path: Path, end_ms: int, stays: int | None = None) -> Loaded:
    """The record's mapped signals, its last sample at `end_ms`. `stays` is of no effect: there is one."""
    record = read_record(path)
    columns = [(record.names.index(name), item) for name, item in SIGNALS.items() if name in record.names]
    mapped = len(record.values) * len(columns)
    invalid = int(np.isnan(record.values[:, [column for column, _ in columns]]).sum())
    return Loaded(_events(record, columns, end_ms), SIGNALS, record.values.size, mapped, {"invalid": invalid})


def _events(record: Record, columns: list[tuple[int, Item]], end_ms: int) -> Iterator[Event]:
    first_ms, seq = end_ms - round((len(record.values) - 1) * record.period_ms), 0
    for number, row in enumerate(record.values):
        at_ms = first_ms + round(number * record.period_ms)
        for column, item in columns:
            if not np.isnan(row[column]):
                seq += 1
                device = "NBP-0100" if item.name.startswith("NBP") else "MON-0100"
                identity, value = event_id("icu", item.name, number), round(float(row[column]), 4)
                yield reading(item, identity, PATIENT, value, at_ms, device_id=device, ward="ICU-1", seq=seq)
