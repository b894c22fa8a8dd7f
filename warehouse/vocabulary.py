"""The words of the data: observation codes, their units with conversions, and what a living patient can show.

Holds: one `VitalCode` a LOINC code that `device.vitals` may carry, with the source of each bound.
Does not hold: thresholds that alert (`pipelines/clinical/`), nor the columns of a stream (its contract).

A code or unit that is not here is rejected, never guessed. A value outside its plausible range is kept with a flag
and never scored: the bounds say what can be measured on a living person, not what is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
CODE_SYSTEMS = {LOINC: "LOINC", UCUM: "UCUM"}

HEART_RATE = "8867-4"
RESPIRATORY_RATE = "9279-1"
SPO2 = "59408-5"
SBP = "8480-6"
DBP = "8462-4"
MAP = "8478-0"
TEMPERATURE = "8310-5"
CONSCIOUSNESS = "80288-4"
SUPPLEMENTAL_OXYGEN = "3151-8"

AIR = "air"
OXYGEN = "oxygen"
ACVPU = ("A", "C", "V", "P", "U")

_BENCHMARK = "valid range of Harutyunyan et al., Scientific Data 6:96 (2019), variable_ranges.csv"


@dataclass(frozen=True, slots=True)
class Conversion:
    """canonical = value x factor + offset."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class VitalCode:
    """One kind of observation.

    Attributes:
        code: LOINC.
        name: the field's name for it, also the word alerts use.
        unit: canonical UCUM unit of `numeric_value`; None where only a word is charted.
        units: UCUM unit -> conversion to the canonical one. Case-sensitive. The canonical unit is among them.
        low, high: plausible range in the canonical unit, both ends plausible; None with `unit`.
        values: words allowed as `text_value`; None where only numbers are charted.
        source: whose range and whose code this is.
    """

    code: str
    name: str
    unit: str | None
    units: Mapping[str, Conversion]
    low: float | None
    high: float | None
    values: tuple[str, ...] | None
    source: str

    @property
    def numeric(self) -> bool:
        return self.unit is not None

    @property
    def coded(self) -> bool:
        return self.values is not None

    def plausible(self, value: float) -> bool:
        """Whether a living person can show this value (canonical unit). NaN is not plausible."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


def _rate(*annotated: str) -> dict[str, Conversion]:
    return {"/min": Conversion(), "1/min": Conversion()} | {f"{{{word}}}/min": Conversion() for word in annotated}


_PRESSURE = {"mm[Hg]": Conversion(), "kPa": Conversion(7.500616827)}  # conventional mmHg, 133.322387415 Pa
_TEMPERATURE = {"Cel": Conversion(), "[degF]": Conversion(5 / 9, -160 / 9), "K": Conversion(1.0, -273.15)}
_FLOW = {"L/min": Conversion(), "l/min": Conversion(), "mL/min": Conversion(0.001), "ml/min": Conversion(0.001)}

_ALL = (
    VitalCode(
        HEART_RATE, "heart_rate", "/min", _rate("beats", "beat"), 10.0, 350.0, None,
        f"{_BENCHMARK}; low bound ours: below it a monitor shows a lost signal or an arrest; neither is scored",
    ),
    VitalCode(
        RESPIRATORY_RATE, "respiratory_rate", "/min", _rate("breaths", "breath"), 1.0, 150.0, None,
        "ours: faster than anybody breathes; the benchmark's valid high of 300 lets artefacts through",
    ),
    VitalCode(SPO2, "spo2", "%", {"%": Conversion()}, 1.0, 100.0, None, f"{_BENCHMARK}; zero is a probe that is off"),
    VitalCode(SBP, "sbp", "mm[Hg]", _PRESSURE, 20.0, 375.0, None, f"{_BENCHMARK}; low bound ours"),
    VitalCode(DBP, "dbp", "mm[Hg]", _PRESSURE, 5.0, 375.0, None, f"{_BENCHMARK}; low bound ours"),
    VitalCode(MAP, "map", "mm[Hg]", _PRESSURE, 14.0, 330.0, None, _BENCHMARK),
    VitalCode(TEMPERATURE, "temperature", "Cel", _TEMPERATURE, 26.0, 45.0, None, _BENCHMARK),
    VitalCode(
        CONSCIOUSNESS, "level_of_consciousness", None, {}, None, None, ACVPU,
        "Royal College of Physicians, NEWS2 (2017): alert, new confusion, voice, pain, unresponsive; "
        "LOINC's own answers are AVPU, C is NEWS2's",
    ),
    VitalCode(
        SUPPLEMENTAL_OXYGEN, "supplemental_oxygen", "L/min", _FLOW, 0.0, 100.0, (AIR, OXYGEN),
        "LOINC 'Inhaled oxygen flow rate': litres a minute, 0 is air; or the word alone where no flow is charted; "
        "range ours: well above what nasal high flow gives",
    ),
)  # fmt: skip

CODES: Mapping[str, VitalCode] = MappingProxyType({vital.code: vital for vital in _ALL})
