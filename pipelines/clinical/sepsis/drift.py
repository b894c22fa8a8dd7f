"""Whether patients, sensors or laboratories are still those a model was made with, and what is to be done where not.

Holds: tests of stays against a profile, each with limits that follow from the number of stays; the causes they point
to; the remedy of each cause. Pure.
Does not hold: profiles, performance once outcomes are known (`drift_outcomes.py`), changes along the stream of scores
(`drift_monitors.py`), when a look is taken.

Every look makes some hundred tests; together they call a false alarm in one of `1 / FALSE_ALARM` looks, so each is held
to its share (Bonferroni). A difference that is sure but small is none: each test has a least effect too. What has too
few stays is not judged, and said so.

**Units.** A laboratory that changes its unit in one stay of ten moves no distribution far. But its stays then lie where
the unit's factor puts them: a stay's median is weighed under the profile's density and under that density moved by the
factor, and the share of moved stays is what makes the stays most likely (a mixture of the two).

**Devices** are held against themselves, where they had stays enough: one transducer that reads low moves no ward far.
What moved at a device and not in the house or a ward is the device's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from scipy import special

from pipelines.clinical.sepsis.drift_profile import (
    ALL,
    CHARTED,
    DEVICE,
    ITEMS,
    WARD,
    Doubles,
    ItemProfile,
    Profile,
    ecdf,
    scopes,
    stuck_shares,
    values_of,
)
from pipelines.clinical.sepsis.stay_facts import JUDGED_CONTEXT, StayFacts
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES
from warehouse.vocabulary import CODES

FALSE_ALARM = 0.001
"""Of looks without any drift."""
LEAST_STAYS, LEAST_REFERENCE = 30, 100
LEAST_STUCK, LEAST_UNIT = 4, 3
LEAST_UNIT_REFERENCE = 300
LEAST_KS, LEAST_PSI, LEAST_MISSING = 0.08, 0.1, 0.1
LEAST_SHARE = 0.02
"""Of stays in another unit, or with a stuck sensor."""
WHOLE, HARDLY = 0.6, 0.05
"""A scope is hit as a whole from the first share on; up to the second it is spared."""
STUCK_FROM = 0.9
MOST_OF_A_WARD, MARGIN = 0.75, 1.5
"""A device makes up for what moved in its ward where it has no more than this share of the stays, and moved so far that
its share of them accounts for it, within the margin of chance."""

SHIFT, MISSING, STUCK, UNIT = "shift", "missing", "stuck", "unit"
UNIT_CHANGE, FROZEN, POPULATION, FEED, UNEXPLAINED, DEVICE_SHIFT = (
    "unit_change", "frozen_sensor", "new_population", "missing_feed", "unexplained_shift", "device_shift",
)  # fmt: skip
PERFORMANCE, SCORE_CHANGE = "performance", "score_change"
REMEDY = {
    UNIT_CHANGE: "mend the unit: have the sender name the unit it sends, or map its code; then replay. Do not retrain.",
    FROZEN: "mend the sensor: look at the device and its connection. Do not retrain.",
    FEED: "mend the feed: values stopped or began to come. Retrain only if it is to stay so.",
    UNEXPLAINED: "ask the laboratory, look at the devices: one variable moved, nothing says why. Do not retrain yet.",
    DEVICE_SHIFT: "look at the device, calibrate it: its values moved, those of others did not. Do not retrain.",
    SCORE_CHANGE: "look for what moved: scores rose or fell, no outcome says yet whether rightly. Do not retrain yet.",
    PERFORMANCE: "retrain: outcomes say the model is no longer as good as it was judged. The gate decides.",
    POPULATION: "retrain: other patients come than the model was made with. The gate decides whether it helps.",
}
RETRAINS = (POPULATION, PERFORMANCE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One test that found a difference.

    Attributes:
        kind: `SHIFT`, `MISSING`, `STUCK` or `UNIT`. scope, item: of what.
        effect: KS distance, difference of measured shares, or share of stays that are stuck or in another unit.
        psi: population stability index, of a shift.
        p: chance of it where nothing drifted. limit: what p had to stay under.
        stays, reference: how many there were.
        unit: the unit that values seem to be in.
    """

    kind: str
    scope: str
    item: str
    effect: float
    p: float
    limit: float
    stays: int
    reference: int
    psi: float = 0.0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """What the findings point to. `where`: `all stays`, `ward:…`, `device:…`, or a share of stays."""

    kind: str
    items: tuple[str, ...]
    where: str
    share: float
    because: str
    unit: str = ""

    @property
    def remedy(self) -> str:
        return REMEDY[self.kind]

    @property
    def retrains(self) -> bool:
        return self.kind in RETRAINS


@dataclass(frozen=True, slots=True)
class Report:
    """One look.

    Attributes:
        stays: that were looked at. tests: how many were made; not_judged: (scope, item) that had too few stays.
        findings, causes: what was found; causes ordered by harm.
    """

    stays: int
    tests: int
    not_judged: int
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]

    @property
    def drifted(self) -> bool:
        return bool(self.causes)

    @property
    def retrains(self) -> bool:
        return any(cause.retrains for cause in self.causes)


@dataclass(frozen=True, slots=True)
class OtherUnit:
    """A unit that a sender may slip into: canonical = sent x factor + offset."""

    item: str
    unit: str
    factor: float
    offset: float

    def true_value(self, sent: Doubles) -> Doubles:
        return sent * self.factor + self.offset

    def sent_value(self, true: Doubles) -> Doubles:
        return (true - self.offset) / self.factor


def _other_units() -> tuple[OtherUnit, ...]:
    """Those of the vocabulary that change a number, each once a factor."""
    found: dict[tuple[str, float, float], OtherUnit] = {}
    for variable in VARIABLES:
        for unit, by in CODES[variable.codes[0]].units.items():
            if (by.factor, by.offset) != (1.0, 0.0):
                each = OtherUnit(variable.name, unit, by.factor, by.offset)
                found.setdefault((variable.name, round(by.factor, 6), by.offset), each)
    return tuple(found.values())


OTHER_UNITS = _other_units()


@dataclass(slots=True)
class _Tests:
    """All that were made: what each gave, found or not."""

    made: list[Finding] = field(default_factory=list)
    not_judged: int = 0


def look(profile: Profile, facts: StayFacts, harm: Mapping[str, float] | None = None) -> Report:
    """Judge stays against a profile. `harm`: item -> its weight in the model, by which causes are ordered."""
    tests, densities = _Tests(), _densities(profile)
    parts = dict(scopes(facts))
    for scope, part in parts.items():
        for item in CHARTED if scope.startswith(DEVICE) else ITEMS:
            reference = profile.get(scope, item)
            if reference is None or reference.of_stays < LEAST_REFERENCE:
                tests.not_judged += 1
            else:
                _judge(tests, scope, item, part, reference)
        _judge_stuck(tests, scope, part, profile)
        if not scope.startswith(DEVICE):
            _judge_units(tests, scope, part, densities)
    limit = FALSE_ALARM / max(1, len(tests.made))
    findings = tuple(_with_limit(each, limit) for each in tests.made if each.p <= limit and _is_large(each))
    causes = sorted(_causes(findings, tests.made), key=lambda cause: -_harm(cause, harm or {}))
    return Report(len(facts), len(tests.made), tests.not_judged, findings, tuple(causes))


def _with_limit(each: Finding, limit: float) -> Finding:
    return replace(each, limit=limit)


def _is_large(each: Finding) -> bool:
    if each.kind == SHIFT:
        return each.effect >= LEAST_KS or each.psi >= LEAST_PSI
    if each.kind == MISSING:
        return abs(each.effect) >= LEAST_MISSING
    least = LEAST_STUCK if each.kind == STUCK else LEAST_UNIT
    return each.effect >= LEAST_SHARE and each.effect * each.stays >= least


# --- distributions and missing values


def _judge(tests: _Tests, scope: str, item: str, part: StayFacts, reference: ItemProfile) -> None:
    value = values_of(part, item)
    if min(len(value), reference.stays) < LEAST_STAYS:
        tests.not_judged += 1
    else:
        tests.made.append(_shift(scope, item, value, reference))
    # Shares of hours lie at their ends in many stays: of a device's few, Welch's test is sure too soon.
    if item in NAMES and len(part) >= (LEAST_REFERENCE if scope.startswith(DEVICE) else LEAST_STAYS):
        tests.made.append(_missing(scope, item, part, reference))


def _shift(scope: str, item: str, value: Doubles, reference: ItemProfile) -> Finding:
    """Kolmogorov and Smirnov's distance of two samples, and the population stability index with its chi-squared."""
    live, at = np.sort(value), np.unique(np.concatenate([value, reference.quantiles]))
    n, m = len(live), reference.stays
    distance = float(np.abs(np.searchsorted(live, at, side="right") / n - ecdf(reference.quantiles, at)).max())
    p_ks = float(special.kolmogorov(np.sqrt(n * m / (n + m)) * distance))
    psi, p_psi = _psi(live, reference)
    return Finding(SHIFT, scope, item, distance, min(1.0, 2 * min(p_ks, p_psi)), 0.0, n, m, psi)


def _psi(live: Doubles, reference: ItemProfile) -> tuple[float, float]:
    edges = np.unique(reference.quantiles[np.linspace(0, len(reference.quantiles) - 1, 11).astype(int)[1:-1]])
    n, m = len(live), reference.stays
    here = np.diff(np.r_[0.0, np.searchsorted(live, edges, side="right") / n, 1.0])
    then = np.diff(np.r_[0.0, ecdf(reference.quantiles, edges), 1.0])
    kept = np.maximum(here, 0.5 / n), np.maximum(then, 0.5 / m)
    psi = float(((kept[0] - kept[1]) * np.log(kept[0] / kept[1])).sum())
    pooled = (here * n + then * m) / (n + m)
    filled = pooled > 0
    chi = float((n * m / (n + m) * (here - then)[filled] ** 2 / pooled[filled]).sum())
    return psi, float(special.chdtrc(max(1, filled.sum() - 1), chi))


def _missing(scope: str, item: str, part: StayFacts, reference: ItemProfile) -> Finding:
    """Welch's test of the stays' shares of measured hours; the effect in spreads of the reference."""
    measured = part.measured[:, NAMES.index(item)]
    n, m = len(measured), reference.of_stays
    difference = float(measured.mean()) - reference.measured_mean
    # A share that is all or nothing in every stay has no spread to be seen: as if one stay more of each side had half.
    error = np.sqrt(measured.var() / n + reference.measured_sd**2 / m + 0.25 / (n + 1) ** 2 + 0.25 / (m + 1) ** 2)
    p = float(2 * special.ndtr(-abs(difference) / error))
    return Finding(MISSING, scope, item, difference, p, 0.0, n, m)


# --- stuck sensors


def _judge_stuck(tests: _Tests, scope: str, part: StayFacts, profile: Profile) -> None:
    for item in CHARTED:
        reference = profile.get(ALL, item)
        shares = stuck_shares(part, item)
        if reference is None or reference.stuck_stays < LEAST_REFERENCE or len(shares) < LEAST_STUCK:
            tests.not_judged += 1
            continue
        often = (1.0 - ecdf(reference.stuck, np.array([STUCK_FROM - 1e-9])))[0]
        # The chance of a stuck stay is an estimate too: its upper end, by the rule of three where none was seen.
        chance = min(1.0, often + 3.0 / reference.stuck_stays + 3 * np.sqrt(often / reference.stuck_stays))
        stuck = int((shares >= STUCK_FROM).sum())
        p = float(special.bdtrc(stuck - 1, len(shares), chance)) if stuck else 1.0
        effect = max(0.0, stuck / len(shares) - often)
        tests.made.append(Finding(STUCK, scope, item, effect, p, 0.0, len(shares), reference.stuck_stays))


# --- units


def _judge_units(
    tests: _Tests, scope: str, part: StayFacts, densities: Mapping[str, tuple[ItemProfile, Density]]
) -> None:
    for other in OTHER_UNITS:
        value = values_of(part, other.item)
        if other.item not in densities or len(value) < LEAST_UNIT:
            tests.not_judged += 1
            continue
        reference, density = densities[other.item]
        share, p = moved_share(value, density, other)
        tests.made.append(Finding(UNIT, scope, other.item, share, p, 0.0, len(value), reference.stays, unit=other.unit))


def _densities(profile: Profile) -> dict[str, tuple[ItemProfile, Density]]:
    """Of the items that have another unit, all stays of the profile."""
    items = dict.fromkeys(other.item for other in OTHER_UNITS)
    found = {item: each for item in items if (each := profile.get(ALL, item)) is not None}
    return {
        item: (each, Density(each.quantiles, each.stays))
        for item, each in found.items()
        if each.stays >= LEAST_UNIT_REFERENCE
    }


MOST_STEPS, NEAR, NOTHING = 60, 1e-4, 1e-5
_STEP, _SMOOTH, _SMOOTHED_FROM, _FLOOR = 0.02, 0.08, 2000, 2e-4
"""Of the density over the logarithm of values: step, bandwidth (wider for fewer stays than that), and what is left
everywhere for slips of one stay."""


class Density:
    """The density of a profile over the logarithm of values, smoothed, nowhere zero."""

    def __init__(self, quantiles: Doubles, stays: int) -> None:
        smooth = _SMOOTH * max(1.0, (_SMOOTHED_FROM / stays) ** 0.2)
        self.stays = stays
        self.tiny = _tiny(quantiles)
        logs = np.log(np.maximum(quantiles, self.tiny))
        self._low = logs[0] - 8 * smooth
        edges = np.arange(self._low, logs[-1] + 8 * smooth, _STEP)
        weight = np.histogram(logs, edges)[0] / len(logs)
        reach = int(4 * smooth / _STEP)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _STEP / smooth) ** 2)
        self._density = np.convolve(weight, kernel / kernel.sum(), mode="same") / _STEP

    def at(self, logs: Doubles) -> Doubles:
        place = np.floor((logs - self._low) / _STEP)
        inside = (place >= 0) & (place < len(self._density))
        found = np.where(inside, self._density[np.where(inside, place, 0).astype(int)], 0.0)
        return (1 - _FLOOR) * found + _FLOOR / 10


def moved_share(value: Doubles, density: Density, other: OtherUnit) -> tuple[float, float]:
    """The most likely share of stays whose values are in another unit, and the chance of such a gain without any."""
    tiny = density.tiny
    true = other.true_value(value)
    possible = (true > 0) & (value > 0)
    here, there = np.maximum(value, tiny), np.maximum(true, tiny)
    bent = np.where(possible, other.factor * here / there, 1.0)  # of logarithms, where a unit has an offset
    moved = np.where(possible, density.at(np.log(there)) * bent, _FLOOR / 10)
    ratio = moved / density.at(np.log(here))
    share = 0.5
    for _ in range(MOST_STEPS):
        before, weight = share, share * ratio / (1 - share + share * ratio)
        share = float(np.clip(weight.mean(), 1e-9, 1 - 1e-9))
        if abs(share - before) < NEAR * share or share < NOTHING:
            break
    # The density is itself an estimate: the fewer stays it rests on, the less a gain over it is worth.
    worth = density.stays / (density.stays + len(value))
    gain = worth * float(np.log(1 - share + share * ratio).sum())
    return share, float(special.chdtrc(1, max(0.0, 2 * gain)) / 2)


def _tiny(quantiles: Doubles) -> float:
    """Where zero lies on the axis of logarithms: half of the least value above it."""
    above = quantiles[quantiles > 0]
    return float(above[0]) / 2 if len(above) else 1e-3


# --- causes


def _causes(findings: Sequence[Finding], made: Sequence[Finding]) -> Iterable[Cause]:
    units = list(_unit_causes(findings, made))
    frozen = list(_frozen_causes(findings, made))
    told = {item for cause in (*units, *frozen) for item in cause.items}
    shifts = [each for each in findings if each.kind == SHIFT and each.item not in told]
    of_devices, shifts = _parted_by_device(shifts)
    population = list(_population_causes(shifts))
    feeds = [] if population else list(_feed_causes(findings, told))
    return chain(units, frozen, population, feeds, _device_causes(of_devices))


def _unit_causes(findings: Sequence[Finding], made: Sequence[Finding]) -> Iterable[Cause]:
    items = dict.fromkeys(each.item for each in findings if each.kind == UNIT)
    for item in items:
        best = min((each for each in findings if (each.kind, each.item) == (UNIT, item)), key=lambda each: each.p)
        shares = {e.scope: e for e in made if (e.kind, e.item, e.unit) == (UNIT, item, best.unit)}
        where, share = _where(shares)
        because = f"{share:.0%} of stays have {item} as if in {best.unit} (p {best.p:.1g}, {best.stays} stays)"
        yield Cause(UNIT_CHANGE, (item,), where, share, because, best.unit)


def _frozen_causes(findings: Sequence[Finding], made: Sequence[Finding]) -> Iterable[Cause]:
    items = dict.fromkeys(each.item for each in findings if each.kind == STUCK)
    for item in items:
        shares = {e.scope: e for e in made if (e.kind, e.item) == (STUCK, item)}
        where, share = _where(shares)
        devices = [e for e in findings if (e.kind, e.item) == (STUCK, item) and e.scope.startswith(DEVICE)]
        if devices and where == _some(shares):
            worst = max(devices, key=lambda each: each.effect * each.stays)
            where, share = worst.scope, worst.effect
        best = min((e for e in findings if (e.kind, e.item) == (STUCK, item)), key=lambda each: each.p)
        because = f"{share:.0%} of stays have {item} equal hour after hour (p {best.p:.1g}, {best.stays} stays)"
        yield Cause(FROZEN, (item,), where, share, because)


def _where(shares: Mapping[str, Finding]) -> tuple[str, float]:
    """The whole house, one ward, or some stays everywhere; and the share of stays there."""
    if ALL in shares and shares[ALL].effect >= WHOLE:
        return "all stays", shares[ALL].effect
    wards = [each for scope, each in shares.items() if scope.startswith(WARD)]
    hit = [each for each in wards if each.effect >= WHOLE and each.stays >= LEAST_UNIT]
    others = [each for each in wards if each not in hit]
    stays = sum(each.stays for each in others)
    spared = sum(each.effect * each.stays for each in others) <= max(HARDLY * stays, 1.0)
    if len(hit) == 1 and spared:
        return hit[0].scope, hit[0].effect
    return _some(shares), shares[ALL].effect if ALL in shares else max(each.effect for each in shares.values())


def _some(shares: Mapping[str, Finding]) -> str:
    return f"{shares[ALL].effect:.0%} of stays" if ALL in shares else "some stays"


def _population_causes(shifts: Sequence[Finding]) -> Iterable[Cause]:
    """Other people come where what is known of persons moved, or many measurements did; else one thing moved alone."""
    items = tuple(dict.fromkeys(each.item for each in sorted(shifts, key=lambda each: each.p)))
    if not items:
        return
    best = min(shifts, key=lambda each: each.p)
    where = "all stays" if any(each.scope == ALL for each in shifts) else best.scope
    because = f"{', '.join(items[:6])} moved (most: {best.item}, KS {best.effect:.2f}, PSI {best.psi:.2f})"
    many = set(items) & set(JUDGED_CONTEXT) or len(items) >= 3
    yield Cause(POPULATION if many else UNEXPLAINED, items, where, best.effect, because)


def _parted_by_device(shifts: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """What moved at one device alone, and what moved in the house or a ward. A device's share of the stays times how
    far it moved is as far as it moves these; what moved farther, or at several devices, is not a device's."""
    of_devices, others = [], []
    for item in dict.fromkeys(each.item for each in shifts):
        mine = [each for each in shifts if each.item == item]
        here = [each for each in mine if each.scope.startswith(DEVICE)]
        beyond = [each for each in mine if not each.scope.startswith(DEVICE)]
        if len(here) == 1 and all(_makes_up_for(here[0], each) for each in beyond):
            of_devices += here
        else:
            others += beyond
    return of_devices, others


def _makes_up_for(device: Finding, beyond: Finding) -> bool:
    share = device.stays / beyond.stays
    return share <= MOST_OF_A_WARD and beyond.effect <= MARGIN * share * device.effect


def _device_causes(shifts: Sequence[Finding]) -> Iterable[Cause]:
    """A cause a device, whatever of its values moved."""
    for device in dict.fromkeys(each.scope for each in shifts):
        mine = sorted((each for each in shifts if each.scope == device), key=lambda each: each.p)
        items, best = tuple(each.item for each in mine), mine[0]
        because = f"{', '.join(items)} moved there (most: {best.item}, KS {best.effect:.2f}, {best.stays} stays)"
        yield Cause(DEVICE_SHIFT, items, device, best.effect, because)


def _feed_causes(findings: Sequence[Finding], told: set[str]) -> Iterable[Cause]:
    gone = [each for each in findings if each.kind == MISSING and each.item not in told]
    for item in dict.fromkeys(each.item for each in gone):
        best = min((each for each in gone if each.item == item), key=lambda each: each.p)
        where = "all stays" if best.scope == ALL else best.scope
        because = f"{item} is measured in {best.effect:+.0%} of hours (p {best.p:.1g})"
        yield Cause(FEED, (item,), where, abs(best.effect), because)


def _harm(cause: Cause, weights: Mapping[str, float]) -> float:
    """How much of what the model looks at is touched, times in how many stays."""
    return sum(weights.get(item, 0.01) for item in cause.items) * (0.2 + cause.share)
