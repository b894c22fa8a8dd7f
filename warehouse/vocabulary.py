"""The words of the data: observation codes, their units with conversions, and what a living patient can show.

Holds: one `ObservationCode` a code that a stream may carry, with the source of each bound; which codes belong to which
value set; the units of doses.
Does not hold: thresholds that alert (`pipelines/clinical/`), nor the columns of a stream (its contract, which names the
value sets its `code` column takes from).

A code or unit that is not here is rejected, never guessed. A value outside its plausible range is kept with a flag
and never scored: the bounds say what can be measured on a living person, not what is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
MDC = "urn:iso:std:iso:11073:10101"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CODE_SYSTEMS = {LOINC: "LOINC", UCUM: "UCUM", MDC: "ISO/IEEE 11073 MDC", RXNORM: "RxNorm"}

BEDSIDE, WEARABLE, LABORATORY = "bedside", "wearable", "laboratory"
VALUE_SETS = {
    BEDSIDE: "what monitors at the bedside and nurses chart",
    WEARABLE: "what devices at home and on the body send",
    LABORATORY: "what laboratories and blood gas analysers report",
}

HEART_RATE = "8867-4"
RESPIRATORY_RATE = "9279-1"
SPO2 = "59408-5"
SBP = "8480-6"
DBP = "8462-4"
MAP = "8478-0"
TEMPERATURE = "8310-5"
CONSCIOUSNESS = "80288-4"
SUPPLEMENTAL_OXYGEN = "3151-8"
ETCO2 = "19891-1"
FIO2 = "3150-0"
CGM_GLUCOSE = "99504-3"
BODY_WEIGHT = "29463-7"
STEPS = "55423-8"
ECG_LEAD_II = "131330"
PLETHYSMOGRAM = "150452"
LACTATE = "2524-7"
CREATININE = "2160-0"
BILIRUBIN = "1975-2"
PLATELETS = "777-3"
LEUKOCYTES = "6690-2"
GLUCOSE = "2345-7"
PACO2 = "2019-8"
PAO2 = "2703-7"

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
class ObservationCode:
    """One kind of observation.

    Attributes:
        code: in `system`, LOINC unless it says otherwise; codes of the systems we use do not collide.
        name: the field's name for it, also the word alerts use.
        unit: canonical UCUM unit of `numeric_value`; None where only a word is charted.
        units: UCUM unit -> conversion to the canonical one. Case-sensitive. The canonical unit is among them.
        low, high: plausible range in the canonical unit, both ends plausible; None with `unit`.
        values: words allowed as `text_value`; None where only numbers are charted.
        source: whose range and whose code this is.
        value_sets: of `VALUE_SETS`.
        sampled: whether it comes as a wave (many values in one message) and never as one number.
    """

    code: str
    name: str
    unit: str | None
    units: Mapping[str, Conversion]
    low: float | None
    high: float | None
    values: tuple[str, ...] | None
    source: str
    value_sets: tuple[str, ...] = (BEDSIDE,)
    system: str = LOINC
    sampled: bool = False

    @property
    def numeric(self) -> bool:
        return self.unit is not None and not self.sampled

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

_GLUCOSE = {"mg/dL": Conversion(), "mmol/L": Conversion(18.016)}  # 180.16 g/mol
_BOTH = (BEDSIDE, WEARABLE)

_VITALS = (
    ObservationCode(
        HEART_RATE, "heart_rate", "/min", _rate("beats", "beat"), 10.0, 350.0, None,
        f"{_BENCHMARK}; low bound ours: below it a monitor shows a lost signal or an arrest; neither is scored", _BOTH,
    ),
    ObservationCode(
        RESPIRATORY_RATE, "respiratory_rate", "/min", _rate("breaths", "breath"), 1.0, 150.0, None,
        "ours: faster than anybody breathes; the benchmark's valid high of 300 lets artefacts through", _BOTH,
    ),
    ObservationCode(
        SPO2, "spo2", "%", {"%": Conversion()}, 1.0, 100.0, None, f"{_BENCHMARK}; zero is a probe that is off", _BOTH
    ),
    ObservationCode(SBP, "sbp", "mm[Hg]", _PRESSURE, 20.0, 375.0, None, f"{_BENCHMARK}; low bound ours", _BOTH),
    ObservationCode(DBP, "dbp", "mm[Hg]", _PRESSURE, 5.0, 375.0, None, f"{_BENCHMARK}; low bound ours", _BOTH),
    ObservationCode(MAP, "map", "mm[Hg]", _PRESSURE, 14.0, 330.0, None, _BENCHMARK, _BOTH),
    ObservationCode(TEMPERATURE, "temperature", "Cel", _TEMPERATURE, 26.0, 45.0, None, _BENCHMARK, _BOTH),
    ObservationCode(
        CONSCIOUSNESS, "level_of_consciousness", None, {}, None, None, ACVPU,
        "Royal College of Physicians, NEWS2 (2017): alert, new confusion, voice, pain, unresponsive; "
        "LOINC's own answers are AVPU, C is NEWS2's",
    ),
    ObservationCode(
        SUPPLEMENTAL_OXYGEN, "supplemental_oxygen", "L/min", _FLOW, 0.0, 100.0, (AIR, OXYGEN),
        "LOINC 'Inhaled oxygen flow rate': litres a minute, 0 is air; or the word alone where no flow is charted; "
        "range ours: well above what nasal high flow gives",
    ),
    ObservationCode(
        FIO2, "fio2", "%", {"%": Conversion(), "1": Conversion(100.0)}, 20.0, 100.0, None,
        "LOINC 'Inhaled oxygen concentration'; air has 21 %, nothing has more than all", (BEDSIDE, LABORATORY),
    ),
    ObservationCode(
        ETCO2, "etco2", "mm[Hg]", _PRESSURE, 1.0, 150.0, None, "ours: a capnograph's own range", (BEDSIDE,)
    ),
    ObservationCode(
        CGM_GLUCOSE, "interstitial_glucose", "mg/dL", _GLUCOSE, 20.0, 600.0, None,
        "ours: sensors report 40 to 400 mg/dL and show LOW or HIGH beyond; some research sensors go further",
        (WEARABLE,),
    ),
    ObservationCode(
        BODY_WEIGHT, "body_weight", "kg",
        {"kg": Conversion(), "g": Conversion(0.001), "[lb_av]": Conversion(0.45359237)}, 0.3, 500.0, None,
        "ours: from the smallest who survive to beyond what scales bear", _BOTH,
    ),
    ObservationCode(
        STEPS, "steps", "{steps}", {"{steps}": Conversion(), "1": Conversion()}, 0.0, 200_000.0, None,
        "LOINC 'Number of steps in unspecified time Pedometer'; range ours, a day's most", (WEARABLE,),
    ),
    ObservationCode(
        ECG_LEAD_II, "ecg_lead_ii", "mV", {"mV": Conversion(), "uV": Conversion(0.001)}, -20.0, 20.0, None,
        "MDC_ECG_ELEC_POTL_II; range ours: beyond what an amplifier at the bedside gives", _BOTH, MDC, True,
    ),
    ObservationCode(
        PLETHYSMOGRAM, "plethysmogram", "1", {"1": Conversion(), "%": Conversion(0.01)}, -1e6, 1e6, None,
        "MDC_PULS_OXIM_PLETH; counts of the device, of no unit", _BOTH, MDC, True,
    ),
)  # fmt: skip

_OURS = "ours: wider than what is reported of the living, so that what lies beyond is a slip of unit or of the finger"


def _lab(
    code: str, name: str, unit: str, low: float, high: float, also: Mapping[str, float] | None = None
) -> ObservationCode:
    """A laboratory analyte. `also`: further UCUM unit -> factor to the canonical one."""
    units = {unit: Conversion(), **{other: Conversion(factor) for other, factor in (also or {}).items()}}
    return ObservationCode(code, name, unit, units, low, high, None, _OURS, (LABORATORY,))


# Factors from molar masses, in g/mol: glucose 180.16, creatinine 113.12, bilirubin 584.66, lactic acid 90.08, urea's
# nitrogen 28.01, calcium 40.078, magnesium 24.305, phosphorus 30.974, haemoglobin's monomer 16,114.
_MOLAR, _CELLS = {"meq/L": 1.0}, {"10*9/L": 1.0, "/uL": 0.001}
_ENZYME = {"[IU]/L": 1.0}  # laboratories print IU where they mean UCUM's U, one micromole a minute

_LABS = (
    _lab(LACTATE, "lactate", "mmol/L", 0.05, 50.0, {"mg/dL": 1 / 9.008}),
    _lab(CREATININE, "creatinine", "mg/dL", 0.05, 60.0, {"umol/L": 1 / 88.40}),
    _lab(BILIRUBIN, "bilirubin_total", "mg/dL", 0.0, 100.0, {"umol/L": 1 / 17.10}),
    _lab("1968-7", "bilirubin_direct", "mg/dL", 0.0, 80.0, {"umol/L": 1 / 17.10}),
    _lab(PLATELETS, "platelets", "10*3/uL", 0.0, 3_000.0, _CELLS),
    _lab(LEUKOCYTES, "leukocytes", "10*3/uL", 0.0, 1_000.0, _CELLS),
    _lab("789-8", "erythrocytes", "10*6/uL", 0.1, 15.0, {"10*12/L": 1.0}),
    _lab("718-7", "haemoglobin", "g/dL", 0.5, 30.0, {"g/L": 0.1, "mmol/L": 1.6114}),
    _lab("4544-3", "haematocrit", "%", 1.0, 85.0, {"1": 100.0, "L/L": 100.0}),
    _lab(GLUCOSE, "glucose_serum", "mg/dL", 1.0, 3_000.0, {"mmol/L": 18.016}),
    _lab("2339-0", "glucose_blood", "mg/dL", 1.0, 3_000.0, {"mmol/L": 18.016}),
    _lab("2823-3", "potassium", "mmol/L", 0.5, 20.0, _MOLAR),
    _lab("2951-2", "sodium", "mmol/L", 60.0, 250.0, _MOLAR),
    _lab("2075-0", "chloride", "mmol/L", 30.0, 220.0, _MOLAR),
    _lab("1963-8", "bicarbonate", "mmol/L", 0.5, 80.0, _MOLAR),
    _lab("1863-0", "anion_gap", "mmol/L", -50.0, 100.0, _MOLAR),
    _lab("3094-0", "urea_nitrogen", "mg/dL", 0.5, 400.0, {"mmol/L": 2.801}),
    _lab("17861-6", "calcium", "mg/dL", 1.0, 30.0, {"mmol/L": 4.0078}),
    _lab("1994-3", "calcium_ionised", "mmol/L", 0.1, 8.0, {"mg/dL": 1 / 4.0078}),
    _lab("19123-9", "magnesium", "mg/dL", 0.1, 25.0, {"mmol/L": 2.4305, "meq/L": 1.21525}),
    _lab("2777-1", "phosphate", "mg/dL", 0.05, 40.0, {"mmol/L": 3.0974}),
    _lab("1920-8", "ast", "U/L", 0.0, 50_000.0, _ENZYME),
    _lab("1742-6", "alt", "U/L", 0.0, 50_000.0, _ENZYME),
    _lab("6768-6", "alkaline_phosphatase", "U/L", 0.0, 10_000.0, _ENZYME),
    _lab("1751-7", "albumin", "g/dL", 0.2, 10.0, {"g/L": 0.1}),
    _lab("1988-5", "c_reactive_protein", "mg/L", 0.0, 1_000.0, {"mg/dL": 10.0}),
    _lab("33959-8", "procalcitonin", "ng/mL", 0.0, 1_000.0, {"ug/L": 1.0}),
    _lab("10839-9", "troponin_i", "ng/mL", 0.0, 1_000.0, {"ug/L": 1.0, "ng/L": 0.001, "pg/mL": 0.001}),
    _lab("6598-7", "troponin_t", "ng/mL", 0.0, 1_000.0, {"ug/L": 1.0, "ng/L": 0.001, "pg/mL": 0.001}),
    _lab("14979-9", "aptt", "s", 1.0, 500.0),
    _lab("5902-2", "prothrombin_time", "s", 1.0, 500.0),
    _lab("6301-6", "inr", "{INR}", 0.1, 50.0, {"1": 1.0}),
    _lab("3255-7", "fibrinogen", "mg/dL", 5.0, 3_000.0, {"g/L": 100.0}),
    _lab("2744-1", "ph_arterial", "[pH]", 6.0, 8.5, {"1": 1.0}),
    _lab(PACO2, "paco2", "mm[Hg]", 3.0, 300.0, {"kPa": 7.500616827}),
    _lab(PAO2, "pao2", "mm[Hg]", 5.0, 800.0, {"kPa": 7.500616827}),
    _lab("2708-6", "sao2", "%", 1.0, 100.0, {"1": 100.0}),
    _lab("11555-0", "base_excess", "mmol/L", -60.0, 60.0, _MOLAR),
)

CODES: Mapping[str, ObservationCode] = MappingProxyType({known.code: known for known in (*_VITALS, *_LABS)})


def codes_in(value_sets: tuple[str, ...]) -> tuple[ObservationCode, ...]:
    """The codes of any of these value sets, in the order of `CODES`."""
    wanted = set(value_sets)
    return tuple(known for known in CODES.values() if wanted & set(known.value_sets))


@dataclass(frozen=True, slots=True)
class DoseUnit:
    """A UCUM unit of doses and rates: amount x factor is in the canonical unit of its kind."""

    canonical: str
    factor: float


def _doses(canonical: str, **factors: float) -> dict[str, DoseUnit]:
    return {canonical: DoseUnit(canonical, 1.0)} | {unit: DoseUnit(canonical, by) for unit, by in factors.items()}


# One canonical unit a kind; kinds are not turned into each other (a millilitre of what?).
DOSE_UNITS: Mapping[str, DoseUnit] = MappingProxyType(
    {
        **_doses("mg", **{"g": 1_000.0, "ug": 0.001, "kg": 1e6, "ng": 1e-6}),
        **_doses("mL", **{"L": 1_000.0, "ml": 1.0, "l": 1_000.0, "dL": 100.0, "uL": 0.001}),
        **_doses("[IU]", **{"k[IU]": 1_000.0}),
        **_doses("mmol", **{"mol": 1_000.0, "umol": 0.001}),
        **_doses("meq", **{"eq": 1_000.0}),
        **_doses("mg/h", **{"g/h": 1_000.0, "ug/h": 0.001, "mg/min": 60.0, "ug/min": 0.06}),
        **_doses("mL/h", **{"L/h": 1_000.0, "ml/h": 1.0, "mL/min": 60.0}),
        **_doses("[IU]/h", **{"[IU]/min": 60.0}),
        **_doses("ug/kg/min", **{"mg/kg/min": 1_000.0, "ug/kg/h": 1 / 60, "mg/kg/h": 1_000 / 60}),
        **_doses("meq/h"),
        **_doses("1", **{"{tablet}": 1.0, "{capsule}": 1.0, "{puff}": 1.0, "[drp]": 1.0, "{dose}": 1.0}),
    }
)
