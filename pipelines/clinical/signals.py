"""The signals the rules look at: how finely each is charted and for how long a reading speaks for the patient.

Holds: one `Signal` a kind of reading that is scored, in a fixed order that the state's arrays share: `SIGNALS` of
`device.vitals`, `ANALYTES` of `lab.results`; and the drugs that SOFA asks for.
Does not hold: codes, units and plausible ranges (`warehouse/vocabulary.py`), limits and scores (the rules' files).

Diastolic pressure is not among them: no rule of this room reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from warehouse import vocabulary
from warehouse.vocabulary import ACVPU, AIR, CODES, OXYGEN


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of reading that rules look at.

    Attributes:
        code: LOINC.
        steps_per_unit: resolution of the chart: 1 for whole numbers, 10 for tenths.
        carry_forward: how old a reading may be, by the subject's own clock, and still count.
        words: the number each charted word stands for; empty where only numbers are charted.
    """

    code: str
    steps_per_unit: int
    carry_forward: timedelta
    words: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        return CODES[self.code].name

    @property
    def unit(self) -> str:
        """Canonical UCUM unit; empty where the reading is a word."""
        return "" if self.words else CODES[self.code].unit or ""

    def text(self, value: float) -> str:
        """The value as a person would write it, unit included."""
        for word, number in self.words:
            if number == value:
                return word
        return f"{value:g} {self.unit}"


# How long a reading counts. Royal College of Physicians, NEWS2 (2017), "clinical response": a patient who scores 5, or
# 3 in one parameter, is observed at least hourly; one who scores 1 to 4 at least every 4 to 6 hours. What monitors give
# all the time gets the hour, what nurses chart by hand gets the four.
_MONITORED = timedelta(hours=1)
_CHARTED = timedelta(hours=4)

SIGNALS = (
    Signal(vocabulary.RESPIRATORY_RATE, 1, _MONITORED),
    Signal(vocabulary.SPO2, 1, _MONITORED),
    Signal(vocabulary.SUPPLEMENTAL_OXYGEN, 1, _CHARTED, ((AIR, 0.0), (OXYGEN, 1.0))),
    Signal(vocabulary.SBP, 1, _MONITORED),
    Signal(vocabulary.HEART_RATE, 1, _MONITORED),
    Signal(vocabulary.CONSCIOUSNESS, 1, _CHARTED, tuple((word, float(i)) for i, word in enumerate(ACVPU))),
    Signal(vocabulary.TEMPERATURE, 10, _CHARTED),
    Signal(vocabulary.MAP, 1, _MONITORED),
)
INDEX = {signal.code: i for i, signal in enumerate(SIGNALS)}
LONGEST_CARRY_FORWARD = max(signal.carry_forward for signal in SIGNALS)

# How long a result counts, our choice: SOFA takes the worst of 24 hours, and what is not measured again within a day is
# not known any more; blood gases change within hours.
_RESULT = timedelta(hours=24)
_BLOOD_GAS = timedelta(hours=6)

ANALYTES = (
    Signal(vocabulary.LACTATE, 10, _RESULT),
    Signal(vocabulary.LEUKOCYTES, 10, _RESULT),
    Signal(vocabulary.PLATELETS, 1, _RESULT),
    Signal(vocabulary.BILIRUBIN, 10, _RESULT),
    Signal(vocabulary.CREATININE, 10, _RESULT),
    Signal(vocabulary.PACO2, 1, _BLOOD_GAS),
    Signal(vocabulary.PAO2, 1, _BLOOD_GAS),
    Signal(vocabulary.FIO2, 1, _BLOOD_GAS),
)
ANALYTE = {analyte.code: i for i, analyte in enumerate(ANALYTES)}


def charted(values: np.ndarray, steps_per_unit: np.ndarray | int) -> np.ndarray:
    """float64: the values in steps of the chart, halves up, NaN kept: 38.06 Cel -> 381, 90.5 /min -> 91.

    Published limits are for what a nurse writes down; between 90 and 91 they say nothing.
    """
    return np.floor(values * steps_per_unit + 0.5)
