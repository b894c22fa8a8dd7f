"""What stays looked like when a model was made: the reference that drift is judged against.

Holds: `Profile`, per scope (all, a ward, a device) and item, as numbers that a table or a file can keep. Each item is
sorted by itself: whose number is whose, and which of two items' numbers are one stay's, is not in it. Up to
`MOST_POINTS` stays, each one's number is.
Does not hold: facts of stays (`stay_facts.py`), verdicts (`drift.py`), the table (`warehouse/models/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.stay_facts import JUDGED_CONTEXT, StayFacts
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES, VITAL

ALL, WARD, DEVICE = "all", "ward:", "device:"
MOST_POINTS = 1001
"""A distribution is kept as so many quantiles at most: its steps are then no coarser than a thousandth."""
LEAST_PAIRS = 8
"""Measurements in a row that a stay needs before its sensor can be called stuck."""
CHARTED = tuple(variable.name for variable in VARIABLES if variable.kind == VITAL)
ITEMS = (*NAMES, *JUDGED_CONTEXT)

FILE = "drift_profile.npz"
"""Beside a model's files in its folder."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ItemProfile:
    """One item of one scope.

    Attributes:
        stays: those that have it. of_stays: all of the scope.
        quantiles: of the stays' medians, evenly spaced from least to greatest.
        measured_mean, measured_sd: of the share of hours with a measurement; 0 for what is no measurement.
        stuck: quantiles of the share of measurements equal to the one before, of stays with `LEAST_PAIRS`; empty where
            it is not looked at. stuck_stays: how many these are.
    """

    stays: int
    of_stays: int
    quantiles: Doubles
    measured_mean: float = 0.0
    measured_sd: float = 0.0
    stuck: Doubles = field(default_factory=lambda: np.empty(0))
    stuck_stays: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """By (scope, item)."""

    items: Mapping[tuple[str, str], ItemProfile]

    @property
    def stays(self) -> int:
        return self.items[ALL, JUDGED_CONTEXT[0]].of_stays

    def get(self, scope: str, item: str) -> ItemProfile | None:
        return self.items.get((scope, item))


def profile_of(facts: StayFacts) -> Profile:
    """The profile of all stays, of each ward, and of each device (of a device: what is charted, and stuck values)."""
    items: dict[tuple[str, str], ItemProfile] = {}
    for scope, part in scopes(facts):
        wanted = CHARTED if scope.startswith(DEVICE) else ITEMS
        items |= {(scope, item): _item(part, item) for item in wanted}
    return Profile(items)


def write_profile(folder: Path, profile: Profile) -> None:
    """Keep a profile as a file beside a model's; the same profile gives the same bytes."""
    keys = sorted(profile.items)
    rows = [profile.items[key] for key in keys]
    np.savez_compressed(
        folder / FILE,
        names=np.array(["\t".join(key) for key in keys]),
        counts=np.array([(each.stays, each.of_stays, each.stuck_stays) for each in rows], dtype=np.int64),
        shares=np.array([(each.measured_mean, each.measured_sd) for each in rows]),
        lengths=np.array([(len(each.quantiles), len(each.stuck)) for each in rows], dtype=np.int64),
        quantiles=np.concatenate([each.quantiles for each in rows]).astype(np.float32),
        stuck=np.concatenate([each.stuck for each in rows]).astype(np.float32),
    )


def read_profile(folder: Path) -> Profile | None:
    """The profile beside a model's files; None where there is none."""
    if not (folder / FILE).exists():
        return None
    with np.load(folder / FILE, allow_pickle=False) as kept:
        cuts = np.cumsum(kept["lengths"], axis=0)[:-1]
        quantiles = np.split(kept["quantiles"].astype(np.float64), cuts[:, 0])
        stuck = np.split(kept["stuck"].astype(np.float64), cuts[:, 1])
        parts = zip(
            kept["names"].tolist(), quantiles, stuck, kept["counts"].tolist(), kept["shares"].tolist(), strict=True
        )
        items = {}
        for name, middle, still, (stays, of_stays, stuck_stays), (mean, spread) in parts:
            scope, item = name.split("\t")
            items[scope, item] = ItemProfile(stays, of_stays, middle, mean, spread, still, stuck_stays)
    return Profile(items)


def scopes(facts: StayFacts) -> Iterator[tuple[str, StayFacts]]:
    """Every scope that stays name, all first."""
    yield ALL, facts
    for prefix, column in ((WARD, facts.ward), (DEVICE, facts.device)):
        for name in np.unique(column[column != ""]).tolist():
            yield prefix + name, facts.take(column == name)


def values_of(facts: StayFacts, item: str) -> Doubles:
    """The item of those stays that have it."""
    column = facts.median[:, NAMES.index(item)] if item in NAMES else facts.context[:, JUDGED_CONTEXT.index(item)]
    return column[~np.isnan(column)]


def stuck_shares(facts: StayFacts, item: str) -> Doubles:
    """Of stays with enough measurements, the share that had the value before."""
    at = NAMES.index(item)
    enough = facts.pairs[:, at] >= LEAST_PAIRS
    return facts.equal[enough, at] / facts.pairs[enough, at]


def ecdf(quantiles: Doubles, at: Doubles) -> Doubles:
    """Share of the profiled stays at or below each value."""
    return np.searchsorted(quantiles, at, side="right") / len(quantiles)


def _item(facts: StayFacts, item: str) -> ItemProfile:
    value = values_of(facts, item)
    if item not in NAMES:
        return ItemProfile(len(value), len(facts), _quantiles(value))
    measured = facts.measured[:, NAMES.index(item)]
    stuck = stuck_shares(facts, item) if item in CHARTED else np.empty(0)
    mean, spread = (float(measured.mean()), float(measured.std())) if len(measured) else (0.0, 0.0)
    return ItemProfile(len(value), len(facts), _quantiles(value), mean, spread, _quantiles(stuck), len(stuck))


def _quantiles(values: Doubles) -> Doubles:
    if not len(values):
        return np.empty(0)
    ordered = np.sort(values)
    points = min(MOST_POINTS, len(ordered))
    return ordered[np.round(np.linspace(0, len(ordered) - 1, points)).astype(int)]
