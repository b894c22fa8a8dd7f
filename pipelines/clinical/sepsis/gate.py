"""Whether another model takes the champion's place: both judged on the same stays, which neither has learned from.

Holds: the checks and the decision. Pure.
Does not hold: training, scoring, who approves, the register.

Differences are taken stay by stay and stays are drawn again (a paired bootstrap): chance that moves both models alike
moves no difference. A challenger is promoted where its utility or its calibration is better for certain, and nothing
is worse: utility and calibration not beyond a small margin, no subgroup for certain. All else leaves the champion in
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.utility import EARLIEST_H, LATEST_H, Bools, Doubles, hours_from_onset

RESAMPLES = 1000
SURE, SURER = 0.98, 0.99
"""Of intervals over all stays, of which either may promote, and of those of subgroups, of which there are many."""
UTILITY_MARGIN, BRIER_MARGIN = 0.02, 0.0005
LEAST_SEPTIC, LEAST_SEPTIC_OF_GROUP = 50, 20
BETTER, NO_WORSE, NOT_SHOWN, WORSE, TOO_FEW = "better", "no worse", "not shown to be no worse", "worse", "too few stays"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison, challenger less champion, greater is better. `low`, `high`: its interval."""

    name: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the challenger takes over, why in words, and the checks that say so."""

    promote: bool
    reason: str
    stays: int
    septic_stays: int
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(champion: Outcome, challenger: Outcome, groups: Mapping[str, Bools], seed: int) -> Decision:
    """Judge both on the same rows. `groups`: bool[stays] by name.

    Raises `ValueError` where the two are not of the same stays.
    """
    if not (np.array_equal(champion.labels, challenger.labels) and np.array_equal(champion.starts, challenger.starts)):
        raise ValueError("champion and challenger must be judged on the same stays")
    by_stay = _ByStay.of(champion, challenger)
    septic = int((by_stay.most > 0).sum())
    stays = len(by_stay.most)
    if septic < LEAST_SEPTIC:
        few = f"{septic} septic stays with an outcome, at least {LEAST_SEPTIC} are needed; the champion stays"
        return Decision(False, few, stays, septic, ())
    weights = _drawn(stays, seed)
    checks = [by_stay.utility(weights), by_stay.brier(weights)]
    for name, members in groups.items():
        part = by_stay.of_stays(members)
        if (part.most > 0).sum() >= LEAST_SEPTIC_OF_GROUP:
            checks.append(part.utility(weights[:, members], f"utility, {name}"))
    return Decision(*_verdict(checks), stays, septic, tuple(checks))


def _verdict(checks: list[Check]) -> tuple[bool, str]:
    worse = [each for each in checks if each.verdict in (WORSE, NOT_SHOWN)]
    better = [each for each in checks[:2] if each.verdict == BETTER]
    if worse:
        return False, "the champion stays: " + "; ".join(map(_said, worse))
    if not better:
        return False, "the champion stays: nothing is better for certain: " + "; ".join(map(_said, checks[:2]))
    groups = (
        "no subgroup is worse" if len(checks) > 2 else f"no subgroup had {LEAST_SEPTIC_OF_GROUP} septic stays to judge"
    )
    return True, "promoted: " + "; ".join(map(_said, better)) + "; " + groups


def _said(each: Check) -> str:
    return f"{each.name} {each.difference:+.4f} ({each.low:+.4f} to {each.high:+.4f}) {each.verdict}"


def _drawn(stays: int, seed: int) -> Doubles:
    """float64[RESAMPLES, stays]: how often each stay is drawn."""
    random = np.random.default_rng(seed)
    rows = [np.bincount(random.integers(0, stays, stays), minlength=stays) for _ in range(RESAMPLES)]
    return np.array(rows, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _ByStay:
    """Sums over each stay: utility won by either, the most there was, squared errors of either's risk, hours."""

    won: tuple[Doubles, Doubles]
    most: Doubles
    error: tuple[Doubles, Doubles]
    hours: Doubles

    @classmethod
    def of(cls, champion: Outcome, challenger: Outcome) -> _ByStay:
        first = champion.starts[:-1]
        gain, since = champion.gain(), hours_from_onset(champion.labels, champion.starts)
        best = (since >= EARLIEST_H) & (since <= LATEST_H)
        both = (champion, challenger)
        return cls(
            won=(_sums(gain * champion.alerts, first), _sums(gain * challenger.alerts, first)),
            most=_sums(np.where(best, gain, 0.0), first),
            error=(_sums(_squared(both[0]), first), _sums(_squared(both[1]), first)),
            hours=np.diff(champion.starts).astype(np.float64),
        )

    def of_stays(self, members: Bools) -> _ByStay:
        (a, b), (c, d) = self.won, self.error
        return _ByStay((a[members], b[members]), self.most[members], (c[members], d[members]), self.hours[members])

    def utility(self, weights: Doubles, name: str = "utility") -> Check:
        """Of all stays with a margin; of a subgroup only what is worse for certain counts."""
        sure, margin = (SURE, UTILITY_MARGIN) if name == "utility" else (SURER, np.inf)
        return _check(name, self.won, self.most, weights, sure, margin, 1)

    def brier(self, weights: Doubles) -> Check:
        return _check("calibration (Brier)", self.error, self.hours, weights, SURE, BRIER_MARGIN, -1)


def _check(
    name: str, sums: tuple[Doubles, Doubles], per: Doubles, weights: Doubles, sure: float, margin: float, sign: int
) -> Check:
    champion, challenger = (float(each.sum() / per.sum()) for each in sums)
    difference = sign * (sums[1] - sums[0])
    drawn = (weights @ difference) / np.maximum(weights @ per, 1e-12)
    low, high = np.quantile(drawn, [(1 - sure) / 2, (1 + sure) / 2])
    point = float(difference.sum() / per.sum())
    return Check(name, champion, challenger, point, float(low), float(high), _judged(point, low, high, margin))


def _judged(point: float, low: float, high: float, margin: float) -> str:
    if high < 0:
        return WORSE
    if low > 0:
        return BETTER
    return NO_WORSE if low >= -margin else NOT_SHOWN


def _sums(rows: Doubles, first: np.ndarray) -> Doubles:
    return np.add.reduceat(rows, first)


def _squared(outcome: Outcome) -> Doubles:
    return (outcome.risks - outcome.labels) ** 2
