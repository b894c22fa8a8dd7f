"""When a stay began, as the model counts its hours, and in which kind of intensive care: from a patient's admissions.

Holds: which wards are intensive care, by a site's own list or by usual names, and what that says of a stay.
Does not hold: stays themselves (`pipelines/clinical/stays.py`), or hours (`history.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase

import numpy as np

from pipelines.clinical.sepsis.panel import FEMALE, MALE, MEDICAL, SURGICAL
from pipelines.clinical.stays import Stay

USUAL = {
    "MICU": "medical", "MICU[!A-Z]*": "medical", "SICU": "surgical", "SICU[!A-Z]*": "surgical", "ICU": "",
    "ICU[!A-Z]*": "", "[A-Z]ICU": "", "[A-Z]ICU[!A-Z]*": "", "CCU": "", "CCU[!A-Z]*": "", "ITU": "", "ITU[!A-Z]*": "",
}  # fmt: skip
"""Names by which intensive care is known where a site names none: ICU, MICU-1, CCU, ITU 3 and the like."""
_UNITS = {"medical": MEDICAL, "surgical": SURGICAL}
_SEXES = {"F": FEMALE, "M": MALE}


class IntensiveCare:
    """Wards that are intensive care. The first pattern that fits a ward says which kind, if it says one.

    Args:
        wards: name or pattern (`*`, `?`, `[…]`) -> `medical`, `surgical` or nothing; without any, `USUAL`.
    """

    def __init__(self, wards: Mapping[str, str] | None = None) -> None:
        self._wards = wards or USUAL
        self._known: dict[str, str | None] = {}

    def has(self, ward: str | None) -> bool:
        return self._kind(ward) is not None

    def unit(self, ward: str | None) -> float:
        """The model's number for the kind of intensive care; NaN where it is not told."""
        return _UNITS.get(self._kind(ward) or "", np.nan)

    def _kind(self, ward: str | None) -> str | None:
        if not ward:
            return None
        if ward not in self._known:  # a house has few wards
            fits = (kind for pattern, kind in self._wards.items() if fnmatchcase(ward, pattern))
            self._known[ward] = next(fits, None)
        return self._known[ward]


def facts_of(stay: Stay, wards: IntensiveCare) -> tuple[datetime, np.ndarray]:
    """When the stay in intensive care (else in hospital) began; birth year, sex, admission_h, unit (float32[4])."""
    hospital_at = stay.stretches[0].started_at
    intensive_at, ward = _arrival(stay, wards)
    admission_h = np.nan if intensive_at is None else (hospital_at - intensive_at).total_seconds() / 3600
    sex = _SEXES.get(stay.sex or "", np.nan)
    born = np.nan if stay.birth_year is None else stay.birth_year
    return intensive_at or hospital_at, np.array([born, sex, admission_h, wards.unit(ward)], np.float32)


def _arrival(stay: Stay, wards: IntensiveCare) -> tuple[datetime | None, str | None]:
    """When the patient last came to intensive care from elsewhere, and to which ward first."""
    came, ward = None, None
    was_in = False
    for stretch in stay.stretches:
        is_in = wards.has(stretch.ward)
        if is_in and not was_in:
            came, ward = stretch.started_at, stretch.ward
        was_in = is_in
    return came, ward
