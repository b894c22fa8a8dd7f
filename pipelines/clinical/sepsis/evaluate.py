"""How good a set of scores is: what the challenge pays, what a ward would carry, and for whom it fails.

Holds: measures of scores, risks and alerts against labels, each for all stays and for subgroups.
Does not hold: training, plots.

A clock alone earns 0.31 of the official utility, so utility never stands without AUROC, AUPRC, calibration, burden,
lead time and the clock beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.clinical.sepsis.panel import FEMALE, MALE, MEDICAL, SURGICAL, Integers, Panel, rows_of
from pipelines.clinical.sepsis.utility import (
    EARLIEST_H,
    LATEST_H,
    NEVER_H,
    Bools,
    Doubles,
    gains,
    hours_from_onset,
    utility_by_threshold,
)

HOURS_A_DAY = 24
AGE_BANDS = ((0, 45), (45, 65), (65, 80), (80, 200))
CALIBRATION_BINS = 10
RESAMPLES = 400
BURDENS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Alert-hours a patient-day at which the burden curve is told in numbers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows with what happened and what was said of them.

    Attributes:
        labels, starts: as in a learning set.
        scores, risks: float64[n].
        alerts: bool[n].
    """

    labels: Bools
    starts: Integers
    scores: Doubles
    risks: Doubles
    alerts: Bools

    def gain(self) -> Doubles:
        return gains(self.labels, self.starts)

    def most(self) -> float:
        """The utility, over that of silence, of the best alerts."""
        since = hours_from_onset(self.labels, self.starts)
        return float(self.gain()[(since >= EARLIEST_H) & (since <= LATEST_H)].sum())

    def patient_days(self) -> float:
        return len(self.labels) / HOURS_A_DAY


def measures(outcome: Outcome) -> dict[str, Any]:
    """All measures of all rows, as JSON can keep them; None where there is nothing to measure on."""
    return {
        "stays": len(outcome.starts) - 1,
        "septic_stays": int(_septic(outcome).sum()),
        "patient_hours": len(outcome.labels),
        **ranking(outcome),
        **calibration(outcome),
        **burden(outcome),
        **lead_time(outcome),
    }


def ranking(outcome: Outcome) -> dict[str, float | None]:
    """Official utility (normalised), AUROC and AUPRC over hours, as the challenge's own scorer reckons them."""
    most, both = outcome.most(), 0 < outcome.labels.sum() < len(outcome.labels)
    return {
        "utility": float(outcome.gain()[outcome.alerts].sum() / most) if most else None,
        "auroc": float(roc_auc_score(outcome.labels, outcome.scores)) if both else None,
        "auprc": float(average_precision_score(outcome.labels, outcome.scores)) if both else None,
    }


def calibration(outcome: Outcome) -> dict[str, float]:
    """Mean risk and observed share, Brier score (beside that of a constant), expected calibration error in tenths."""
    observed = float(outcome.labels.mean())
    table = reliability(outcome)
    hours = sum(row["hours"] for row in table)
    return {
        "mean_risk": float(outcome.risks.mean()),
        "observed": observed,
        "brier": float(np.mean((outcome.risks - outcome.labels) ** 2)),
        "brier_of_constant": observed * (1 - observed),
        "calibration_error": sum(row["hours"] * abs(row["risk"] - row["observed"]) for row in table) / hours,
    }


def reliability(outcome: Outcome, bins: int = CALIBRATION_BINS) -> list[dict[str, float]]:
    """Hours in bins of equal number by risk: mean risk, observed share and its 95 % interval over stays."""
    order = np.argsort(outcome.risks, kind="stable")
    stay = np.repeat(np.arange(len(outcome.starts) - 1), np.diff(outcome.starts))
    return [_bin(outcome, part, stay) for part in np.array_split(order, bins) if len(part)]


def _bin(outcome: Outcome, rows: Integers, stay: Integers) -> dict[str, float]:
    labels = outcome.labels[rows]
    share = float(labels.mean())
    # Hours of one stay rise and fall together: the spread is that of sums over stays.
    residual = np.bincount(stay[rows], labels - share)
    spread = float(np.sqrt(np.sum(residual**2)) / len(rows))
    return {
        "hours": len(rows),
        "risk": float(outcome.risks[rows].mean()),
        "observed": share,
        "low": max(0.0, share - 1.96 * spread),
        "high": share + 1.96 * spread,
    }


def burden(outcome: Outcome) -> dict[str, float | None]:
    """What a ward carries: alert-hours and new alerts a patient-day, and who is alerted on."""
    septic, since = _septic(outcome), hours_from_onset(outcome.labels, outcome.starts)
    paid = (since >= EARLIEST_H) & (since <= LATEST_H)
    before = (since >= EARLIEST_H) & (since < 0)
    days = outcome.patient_days()
    return {
        "alert_hours_per_patient_day": float(outcome.alerts.sum() / days),
        "new_alerts_per_patient_day": float(_begun(outcome.alerts, outcome.starts).sum() / days),
        "alert_hours_that_pay": _share(paid[outcome.alerts]),
        "septic_stays_alerted": _share(_any(outcome.alerts & paid, outcome.starts)[septic]),
        "septic_stays_alerted_before_onset": _share(_any(outcome.alerts & before, outcome.starts)[septic]),
        "other_stays_alerted": _share(_any(outcome.alerts, outcome.starts)[~septic]),
    }


def lead_time(outcome: Outcome) -> dict[str, Any]:
    """Hours from alert to onset: of the first alert in the paid window, and of the first of the stay."""
    since = hours_from_onset(outcome.labels, outcome.starts)
    in_window = _first(outcome.alerts & (since >= EARLIEST_H) & (since <= LATEST_H), outcome.starts)
    septic_alerts = _first(outcome.alerts & (since != NEVER_H), outcome.starts)
    return {
        "lead_h_in_window": _quartiles(-since[in_window].astype(np.float64)),
        "lead_h_of_first_alert": _quartiles(-since[septic_alerts].astype(np.float64)),
    }


def lead_times(outcome: Outcome) -> list[int]:
    """Hours from the first alert in the paid window to onset, a number a septic stay that has one."""
    since = hours_from_onset(outcome.labels, outcome.starts)
    first = _first(outcome.alerts & (since >= EARLIEST_H) & (since <= LATEST_H), outcome.starts)
    return (-since[first]).tolist()


def burden_curve(outcome: Outcome, points: int = 60) -> list[dict[str, float]]:
    """Utility and alerts as the threshold falls: what is paid for each alert-hour a patient-day."""
    thresholds, summed = utility_by_threshold(outcome.gain(), outcome.scores)
    ordered = -np.sort(-outcome.scores)
    alerts = np.searchsorted(-ordered, -thresholds, side="right")
    per_day = alerts / outcome.patient_days()
    chosen = np.unique(np.searchsorted(per_day, np.linspace(per_day[0], min(HOURS_A_DAY / 2, per_day[-1]), points)))
    most = outcome.most() or float("nan")
    return [
        {
            "threshold": float(thresholds[at]),
            "alert_hours_per_patient_day": float(per_day[at]),
            "utility": float(summed[at] / most),
        }
        for at in chosen[chosen < len(thresholds)]
    ]


def alert_hours_for(outcome: Outcome, utility: float) -> float | None:
    """The fewest alert-hours a patient-day at which this utility is had by one threshold for all; None if it is not."""
    thresholds, summed = utility_by_threshold(outcome.gain(), outcome.scores)
    enough = np.flatnonzero(summed / outcome.most() >= utility) if outcome.most() else []
    if not len(enough):
        return None
    return float((outcome.scores >= thresholds[enough[0]]).sum() / outcome.patient_days())


def interval(outcome: Outcome, seed: int) -> tuple[float, float] | None:
    """The 95 % interval of the utility: stays drawn again with replacement, the model as it is."""
    since = hours_from_onset(outcome.labels, outcome.starts)
    best = (since >= EARLIEST_H) & (since <= LATEST_H)
    gain, first = outcome.gain(), outcome.starts[:-1]
    won, most = (np.add.reduceat(np.where(rows, gain, 0.0), first) for rows in (outcome.alerts, best))
    random, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        stays = random.integers(0, len(first), len(first))
        if reach := most[stays].sum():
            drawn.append(won[stays].sum() / reach)
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    return (float(low), float(high)) if drawn else None


def subgroups(panel: Panel) -> dict[str, Bools]:
    """bool[stays] by name: age bands, sex, kind of unit."""
    first = panel.starts[:-1]
    age, sex, unit = panel.age[first], panel.sex[first], panel.unit[first]
    with np.errstate(invalid="ignore"):
        bands = {_band(low, high): (age >= low) & (age < high) for low, high in AGE_BANDS}
    return bands | {
        "women": sex == FEMALE,
        "men": sex == MALE,
        "medical unit": unit == MEDICAL,
        "surgical unit": unit == SURGICAL,
        "unit not told": np.isnan(unit),
    }


def by_subgroup(outcome: Outcome, groups: Mapping[str, Bools], seed: int) -> dict[str, dict[str, Any]]:
    """Measures of each subgroup with the interval of its utility; groups without a stay are left out."""
    told = {}
    for name, stays in groups.items():
        if stays.any():
            part = of_stays(outcome, np.flatnonzero(stays))
            bounds = interval(part, seed)
            told[name] = measures(part) | {"utility_interval": list(bounds) if bounds else None}
    return told


def of_stays(outcome: Outcome, stays: Integers) -> Outcome:
    """The same of these stays only."""
    rows = rows_of(outcome.starts, stays)
    starts = np.concatenate([[0], np.cumsum(np.diff(outcome.starts)[stays])])
    return Outcome(outcome.labels[rows], starts, outcome.scores[rows], outcome.risks[rows], outcome.alerts[rows])


def _band(low: int, high: int) -> str:
    return f"under {high}" if low == 0 else f"{low} and over" if high >= 200 else f"{low} to {high - 1}"


def _septic(outcome: Outcome) -> Bools:
    return np.maximum.reduceat(outcome.labels, outcome.starts[:-1])


def _any(rows: Bools, starts: Integers) -> Bools:
    return np.maximum.reduceat(rows, starts[:-1])


def _begun(alerts: Bools, starts: Integers) -> Bools:
    before = np.append(False, alerts[:-1])
    before[starts[:-1]] = False
    return alerts & ~before


def _first(rows: Bools, starts: Integers) -> Integers:
    """The first row of each stay that has one."""
    number = np.where(rows, np.arange(len(rows)), len(rows))
    first = np.minimum.reduceat(number, starts[:-1])
    return first[first < len(rows)]


def _share(rows: Bools) -> float | None:
    return float(rows.mean()) if len(rows) else None


def _quartiles(hours: Doubles) -> list[float] | None:
    return np.quantile(hours, [0.25, 0.5, 0.75]).tolist() if len(hours) else None
