"""The 34 variables of the sepsis model: PhysioNet's names, the codes that carry them, and their units.

Holds: the one mapping between the columns of the PhysioNet/CinC Challenge 2019 and codes of `warehouse/vocabulary.py`.
Does not hold: demographics, and units' conversions (the vocabulary has them).

Source of names and order: Reyna et al., Critical Care Medicine 48(2):210-217, 2020. Of two columns the challenge's page
names a unit that the values cannot have, lactate in mg/dL (median 1.8) and magnesium in mmol/dL (median 2.0): they are
mmol/L and mg/dL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from warehouse.vocabulary import CODES

VITAL, LAB = "vital", "lab"


@dataclass(frozen=True, slots=True)
class Variable:
    """One column of the model's panel.

    Attributes:
        name: PhysioNet's column.
        kind: `VITAL` or `LAB`.
        codes: LOINC codes whose readings are this variable; the first is the one PhysioNet's column is sent under.
        given_in: UCUM unit of PhysioNet's column.
        label: for people.
    """

    name: str
    kind: str
    codes: tuple[str, ...]
    given_in: str
    label: str

    @property
    def unit(self) -> str:
        """The canonical UCUM unit, that of the panel and of the lake's `numeric_value`."""
        unit = CODES[self.codes[0]].unit
        assert unit is not None, self.name
        return unit

    @property
    def factor(self) -> float:
        """PhysioNet's number x factor is in the canonical unit."""
        return CODES[self.codes[0]].units[self.given_in].factor

    @property
    def bounds(self) -> tuple[float, float]:
        """What a living person can show, canonical unit, both ends plausible. Outside it nothing is scored."""
        known = CODES[self.codes[0]]
        assert known.low is not None, self.name
        assert known.high is not None, self.name
        return known.low, known.high


VARIABLES: tuple[Variable, ...] = (
    Variable("HR", VITAL, ("8867-4",), "/min", "heart rate"),
    Variable("O2Sat", VITAL, ("59408-5",), "%", "oxygen saturation (pulse oximetry)"),
    Variable("Temp", VITAL, ("8310-5",), "Cel", "temperature"),
    Variable("SBP", VITAL, ("8480-6",), "mm[Hg]", "systolic pressure"),
    Variable("MAP", VITAL, ("8478-0",), "mm[Hg]", "mean arterial pressure"),
    Variable("DBP", VITAL, ("8462-4",), "mm[Hg]", "diastolic pressure"),
    Variable("Resp", VITAL, ("9279-1",), "/min", "respiratory rate"),
    Variable("EtCO2", VITAL, ("19891-1",), "mm[Hg]", "end-tidal CO2"),
    Variable("BaseExcess", LAB, ("11555-0",), "mmol/L", "base excess"),
    Variable("HCO3", LAB, ("1963-8",), "mmol/L", "bicarbonate"),
    Variable("FiO2", LAB, ("3150-0",), "1", "inspired oxygen fraction"),
    Variable("pH", LAB, ("2744-1",), "[pH]", "pH"),
    Variable("PaCO2", LAB, ("2019-8",), "mm[Hg]", "PaCO2"),
    Variable("SaO2", LAB, ("2708-6",), "%", "oxygen saturation (blood gas)"),
    Variable("AST", LAB, ("1920-8",), "[IU]/L", "AST"),
    Variable("BUN", LAB, ("3094-0",), "mg/dL", "urea nitrogen"),
    Variable("Alkalinephos", LAB, ("6768-6",), "[IU]/L", "alkaline phosphatase"),
    Variable("Calcium", LAB, ("17861-6",), "mg/dL", "calcium"),
    Variable("Chloride", LAB, ("2075-0",), "mmol/L", "chloride"),
    Variable("Creatinine", LAB, ("2160-0",), "mg/dL", "creatinine"),
    Variable("Bilirubin_direct", LAB, ("1968-7",), "mg/dL", "direct bilirubin"),
    Variable("Glucose", LAB, ("2345-7", "2339-0"), "mg/dL", "glucose"),
    Variable("Lactate", LAB, ("2524-7",), "mmol/L", "lactate"),
    Variable("Magnesium", LAB, ("19123-9",), "mg/dL", "magnesium"),
    Variable("Phosphate", LAB, ("2777-1",), "mg/dL", "phosphate"),
    Variable("Potassium", LAB, ("2823-3",), "mmol/L", "potassium"),
    Variable("Bilirubin_total", LAB, ("1975-2",), "mg/dL", "total bilirubin"),
    Variable("TroponinI", LAB, ("10839-9",), "ng/mL", "troponin I"),
    Variable("Hct", LAB, ("4544-3",), "%", "haematocrit"),
    Variable("Hgb", LAB, ("718-7",), "g/dL", "haemoglobin"),
    Variable("PTT", LAB, ("14979-9",), "s", "partial thromboplastin time"),
    Variable("WBC", LAB, ("6690-2",), "10*3/uL", "leukocytes"),
    Variable("Fibrinogen", LAB, ("3255-7",), "mg/dL", "fibrinogen"),
    Variable("Platelets", LAB, ("777-3",), "10*3/uL", "platelets"),
)

NAMES: tuple[str, ...] = tuple(variable.name for variable in VARIABLES)
INDEX: Mapping[str, int] = MappingProxyType({name: at for at, name in enumerate(NAMES)})
"""Column of `Panel.values` by PhysioNet's name."""
BY_CODE: Mapping[str, int] = MappingProxyType(
    {code: at for at, variable in enumerate(VARIABLES) for code in variable.codes}
)
"""Column of `Panel.values` by LOINC code."""
