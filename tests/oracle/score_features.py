"""What a sepsis model reads of an hour, feature by feature, by the names that the model gives them.

Holds: each feature restated as plain arithmetic in float32 over one patient's hours, asked for by name.
Does not hold: the hours (`score_hours`), any model, or whole columns: an hour at a time, slow on purpose.

Sums of a window are added up by doubling (1, 2, 4, 8 … hours), as the product says that it does: float32 depends on it.
Sources: SIRS, Bone et al. 1992; qSOFA, Sepsis-3, JAMA 2016; SOFA, Vincent et al. 1996, its respiratory part by SpO2 to
FiO2, Pandharipande et al. 2009; NEWS2, Royal College of Physicians 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from .score_hours import CODES, Hours

NAN = np.float32(np.nan)
VARIABLES = tuple(dict.fromkeys(CODES.values()))
CENTRE = {"HR": 80, "O2Sat": 97, "Temp": 37, "SBP": 120, "MAP": 80, "DBP": 60, "Resp": 18, "EtCO2": 35}


class Hour:
    """One hour of one patient, with the hours before it that count. `window_h`: so many, its own among them."""

    def __init__(self, of: Hours, at: int, window_h: int) -> None:
        self._of, self._at, self._window_h = of, at, window_h
        self._earliest = max(of.began, at - window_h + 1)

    def features(self, names: Sequence[str]) -> np.ndarray:
        """float32[len(names)]; NaN where there is nothing to say. Raises `ValueError` for a name that nobody knows."""
        with np.errstate(all="ignore"):
            return np.array([self._feature(name) for name in names], np.float32)

    def _feature(self, name: str) -> np.float32:
        if name in _PERSON:
            return np.float32(_PERSON[name](self._of, self._at))
        if name in _RATIOS:
            ratio = _RATIOS[name](self._last)
            return ratio if np.isfinite(ratio) else NAN
        if name in _SCORES:
            return np.float32(_SCORES[name](self._last))
        variable = next((v for v in VARIABLES if name.startswith(f"{v}_")), None)
        word = name.removeprefix(f"{variable}_")
        if variable is None or word not in _WORDS:
            raise ValueError(f"no feature is called {name}")
        return _WORDS[word](self, variable)

    def value(self, variable: str, back: int) -> np.float32:
        """The value `back` hours ago; NaN where there is none or the stay had not begun."""
        hour = self._at - back
        told = self._of.values.get(hour, {}).get(variable) if hour >= self._earliest else None
        return NAN if told is None else told[1]

    def newest(self, variable: str) -> list[int]:
        """How many hours back each measurement in the window lies, the newest first."""
        return [back for back in range(self._window_h) if not np.isnan(self.value(variable, back))]

    @cached_property
    def _last(self) -> dict[str, np.float32]:
        return {variable: last(self, variable) for variable in VARIABLES}

    @property
    def window_h(self) -> int:
        return self._window_h


def last(hour: Hour, variable: str) -> np.float32:
    found = hour.newest(variable)
    return hour.value(variable, found[0]) if found else NAN


def since(hour: Hour, variable: str) -> np.float32:
    found = hour.newest(variable)
    return np.float32(found[0] if found else hour.window_h)


def change(hour: Hour, variable: str) -> np.float32:
    found = hour.newest(variable)
    return hour.value(variable, found[0]) - hour.value(variable, found[1]) if len(found) > 1 else NAN


def count(hour: Hour, variable: str, hours: int) -> np.float32:
    return np.float32(len([back for back in hour.newest(variable) if back < hours]))


def extreme(hour: Hour, variable: str, hours: int, choose: Callable) -> np.float32:
    told = [hour.value(variable, back) for back in hour.newest(variable) if back < hours]
    return choose(told) if told else NAN


def total(hour: Hour, variable: str, hours: int, squared: bool = False) -> np.float32:
    """Sum over the last so many hours of the distance (or its square) from the middle of what is usual."""

    def doubled(back: int, length: int) -> np.float32:
        if length > 1:
            return doubled(back, length // 2) + doubled(back + length // 2, length // 2)
        value = hour.value(variable, back) if back < hour.window_h else NAN
        if np.isnan(value):
            return np.float32(0)
        off = value - np.float32(CENTRE[variable])
        return off * off if squared else off

    length = 1 << (hours.bit_length() - 1)
    sum_, back = doubled(0, length), length
    while back < hours:
        length = 1 << ((hours - back).bit_length() - 1)
        sum_, back = sum_ + doubled(back, length), back + length
    return sum_


def mean(hour: Hour, variable: str, hours: int) -> np.float32:
    return total(hour, variable, hours) / count(hour, variable, hours) + np.float32(CENTRE[variable])


def spread(hour: Hour, variable: str) -> np.float32:
    many = count(hour, variable, 24)
    offset = total(hour, variable, 24) / many
    return np.sqrt(np.maximum(total(hour, variable, 24, squared=True) / many - offset * offset, np.float32(0)))


_WORDS: dict[str, Callable[[Hour, str], np.float32]] = {
    "last": last,
    "since_h": since,
    "change": change,
    "min": lambda hour, v: extreme(hour, v, hour.window_h, min),
    "max": lambda hour, v: extreme(hour, v, hour.window_h, max),
    "count": lambda hour, v: count(hour, v, hour.window_h),
    "mean_6h": lambda hour, v: mean(hour, v, 6),
    "min_6h": lambda hour, v: extreme(hour, v, 6, min),
    "max_6h": lambda hour, v: extreme(hour, v, 6, max),
    "mean_24h": lambda hour, v: mean(hour, v, 24),
    "min_24h": lambda hour, v: extreme(hour, v, 24, min),
    "max_24h": lambda hour, v: extreme(hour, v, 24, max),
    "spread_24h": spread,
    "count_24h": lambda hour, v: count(hour, v, 24),
    "from_mean_24h": lambda hour, v: last(hour, v) - mean(hour, v, 24),
}

_PERSON: dict[str, Callable[[Hours, int], float]] = {
    "age": lambda of, _: of.start.age if of.start else np.nan,
    "sex": lambda of, _: of.start.sex if of.start else np.nan,
    "admission_h": lambda of, _: of.start.admission_h if of.start else np.nan,
    "hour": lambda of, at: at - of.began + 1,
}

Known = dict[str, np.float32]
_RATIOS: dict[str, Callable[[Known], np.float32]] = {
    "shock_index": lambda of: of["HR"] / of["SBP"],
    "pulse_pressure": lambda of: of["SBP"] - of["DBP"],
    "pulse_pressure_to_map": lambda of: (of["SBP"] - of["DBP"]) / of["MAP"],
    "spo2_to_fio2": lambda of: of["O2Sat"] / of["FiO2"],
    "rox_index": lambda of: of["O2Sat"] / of["FiO2"] / of["Resp"],
    "bun_to_creatinine": lambda of: of["BUN"] / of["Creatinine"],
    "direct_to_total_bilirubin": lambda of: of["Bilirubin_direct"] / of["Bilirubin_total"],
    "wbc_to_platelets": lambda of: of["WBC"] / of["Platelets"],
    "heart_rate_to_temperature": lambda of: of["HR"] / of["Temp"],
}


def _steps(value: np.float32, *steps: tuple[float, int], falling: bool = False) -> int:
    """The points of the furthest step that the value has reached, upwards from it or (falling) below it."""
    reached = [
        points for limit, points in steps if (value < np.float32(limit) if falling else value >= np.float32(limit))
    ]
    return max(reached, default=0)


def _sirs(of: Known) -> int:
    heat = of["Temp"] > np.float32(38) or of["Temp"] < np.float32(36)
    breathing = of["Resp"] > np.float32(20) or of["PaCO2"] < np.float32(32)
    cells = of["WBC"] > np.float32(12) or of["WBC"] < np.float32(4)
    return int(heat) + int(of["HR"] > np.float32(90)) + int(breathing) + int(cells)


def _qsofa(of: Known) -> int:
    return int(of["Resp"] >= np.float32(22)) + int(of["SBP"] <= np.float32(100))


def _respiratory(of: Known) -> int:
    ratio = _RATIOS["spo2_to_fio2"](of)
    return _steps(ratio, (5.12, 1), (3.57, 2), (2.14, 3), (0.89, 4), falling=True) if np.isfinite(ratio) else 0


_SOFA: dict[str, Callable[[Known], int]] = {
    "sofa_respiratory": _respiratory,
    "sofa_coagulation": lambda of: _steps(of["Platelets"], (150, 1), (100, 2), (50, 3), (20, 4), falling=True),
    "sofa_liver": lambda of: _steps(of["Bilirubin_total"], (1.2, 1), (2, 2), (6, 3), (12, 4)),
    "sofa_cardiovascular": lambda of: _steps(of["MAP"], (70, 1), falling=True),
    "sofa_renal": lambda of: _steps(of["Creatinine"], (1.2, 1), (2, 2), (3.5, 3), (5, 4)),
}


def _at_most(value: np.float32, *steps: tuple[float, int]) -> int:
    return max((points for limit, points in steps if value <= np.float32(limit)), default=0)


def _over(value: np.float32, *steps: tuple[float, int]) -> int:
    return max((points for limit, points in steps if value > np.float32(limit)), default=0)


def _news2(of: Known) -> int:
    return (
        max(_at_most(of["Resp"], (11, 1), (8, 3)), _steps(of["Resp"], (21, 2), (25, 3)))
        + _at_most(of["O2Sat"], (95, 1), (93, 2), (91, 3))
        + _over(of["FiO2"], (21, 2))
        + max(_at_most(of["SBP"], (110, 1), (100, 2), (90, 3)), _steps(of["SBP"], (220, 3)))
        + max(_at_most(of["HR"], (50, 1), (40, 3)), _steps(of["HR"], (91, 1), (111, 2), (131, 3)))
        + max(_at_most(of["Temp"], (36, 1), (35, 3)), _over(of["Temp"], (38, 1), (39, 2)))
    )


_SCORES: dict[str, Callable[[Known], int]] = {
    "sirs": _sirs,
    "qsofa_partial": _qsofa,
    **_SOFA,
    "sofa_partial": lambda of: sum(score(of) for score in _SOFA.values()),
    "news2_partial": _news2,
}
