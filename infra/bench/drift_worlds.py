"""Worlds to look for drift in: a reference, and live stays of which a drawn shift changes some.

Holds: the kinds of shifts, their drawing, and what they do to stays: to the facts that drift is judged on, and to the
hours that a model scores.
Does not hold: looking for drift (`drift.py`), what is done of it (`drift_remedies.py`).

A draw parts the stays of a file anew into a reference (four fifths) and live stays, deals the live ones to days, and
from a drawn day on changes them: an assay's unit in all stays, in one ward or in every tenth stay; a sensor that stays
at a stay's first value, in all, in one ward or at one monitor; other patients; or nothing. Wards and monitors are made
up: the file knows kinds of units only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.drift import FROZEN, OTHER_UNITS, POPULATION, UNIT_CHANGE, OtherUnit
from pipelines.clinical.sepsis.drift_set import read_as_sent
from pipelines.clinical.sepsis.panel import Integers, Panel, of_stays
from pipelines.clinical.sepsis.stay_facts import CONTEXT, StayFacts, facts_of
from pipelines.clinical.sepsis.variables import INDEX

NONE = "none"
DAYS, WINDOW, EVERY = 20, 5, 3
LEAST_MEASURED = 0.02
"""Share of stays in which a variable must be measured to be drawn for a change of unit."""
SENSORS = ("HR", "O2Sat", "SBP", "MAP", "Resp")
MONITORS = 8
ALL_STAYS, ONE_WARD, ONE_IN_TEN, ONE_DEVICE = "all", "ward", "tenth", "device"
GROUPS = ("65_and_over", "women", "surgical")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shift:
    """What happens from `day` on. `where`: whom it concerns; `name`: that ward or monitor; `share`: of a group that
    leaves; `item`, `unit`: of a change of unit or a stuck sensor; `group`, `arrives`: of other patients."""

    kind: str
    day: int
    where: str = ""
    name: str = ""
    item: str = ""
    unit: str = ""
    group: str = ""
    arrives: bool = False
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Ground:
    """The stays all draws are made of: their facts, and the first value of each variable."""

    panel: Panel
    facts: StayFacts
    first: NDArray[np.float64]

    @classmethod
    def of_file(cls, path: Path, seed: int) -> Ground:
        panel, _, _ = read_as_sent(path)
        random = np.random.default_rng([seed, 0])
        unit = np.nan_to_num(panel.unit[panel.starts[:-1]]).astype(int)
        ward = np.array(["MIX", "MICU", "SICU"])[unit]
        ward = np.char.add(np.char.add(ward, "-"), random.integers(1, 4, panel.stays).astype(str))
        device = np.char.add(np.char.add(ward, "/"), random.integers(1, MONITORS + 1, panel.stays).astype(str))
        return cls(panel, facts_of(panel, ward, device), first_values(panel))

    def in_group(self, group: str) -> Mask:
        at = {"65_and_over": "age", "women": "sex", "surgical": "medical_unit"}[group]
        column = self.facts.context[:, CONTEXT.index(at)]
        with np.errstate(invalid="ignore"):
            return column >= 65 if group == "65_and_over" else column == 0


@dataclass(frozen=True, slots=True)
class World:
    """One draw.

    Attributes:
        shift: what happens, and when.
        reference, live: numbers of the ground's stays. day: of each live one, from 0.
        facts: of the live stays as they are sent. touched: which of them the shift changed.
    """

    shift: Shift
    reference: Integers
    live: Integers
    day: Integers
    facts: StayFacts
    touched: Mask

    def since(self) -> Mask:
        """Which live stays are of the shifted world; of a draw without a shift those of the last days."""
        return self.day >= min(self.shift.day, DAYS - WINDOW)


def first_values(panel: Panel) -> NDArray[np.float64]:
    """float64[stays, V]: each stay's first measurement."""
    out = np.full((panel.stays, panel.values.shape[1]), np.nan)
    stay = panel.stay_of_row()
    for at in range(panel.values.shape[1]):
        rows = np.flatnonzero(~np.isnan(panel.values[:, at]))
        owner, first = np.unique(stay[rows], return_index=True)
        out[owner, at] = panel.values[rows[first], at]
    return out


def drawn(kind: str, ground: Ground, random: np.random.Generator) -> World:
    """A world with a shift of this kind."""
    shift = _shift(kind, ground, random)
    reference, live, day = _parted(ground, shift, random)
    facts, touched = _changed(ground, live, day, shift, random)
    return World(shift, reference, live, day, facts, touched)


def hours_as_sent(ground: Ground, world: World, mended: frozenset[str] = frozenset()) -> Panel:
    """The hours of the live stays since the shift, as they are sent; `mended`: items whose sender was mended."""
    since = world.since()
    panel = of_stays(ground.panel, world.live[since])
    shift, touched = world.shift, world.touched[since]
    if shift.kind not in (UNIT_CHANGE, FROZEN) or shift.item in mended:
        return panel
    at, values = INDEX[shift.item], panel.values.copy()
    rows = touched[panel.stay_of_row()] & ~np.isnan(values[:, at])
    if shift.kind == UNIT_CHANGE:
        values[rows, at] = _other_unit(shift).sent_value(values[rows, at].astype(np.float64))
    else:
        values[rows, at] = ground.first[world.live[since], at][panel.stay_of_row()[rows]]
    return replace(panel, values=values)


def _parted(ground: Ground, shift: Shift, random: np.random.Generator) -> tuple[Integers, Integers, Integers]:
    """Stays of the reference, live stays, and the day of each of these, from 0; other patients come or stay away."""
    order = random.permutation(len(ground.facts))
    live, reference = order[: len(order) // 5], order[len(order) // 5 :]
    day = np.sort(random.integers(0, DAYS, len(live)))
    if shift.kind != POPULATION:
        return reference, live, day
    member = ground.in_group(shift.group)
    if shift.arrives:
        stays_away = member[live] & (day < shift.day)
        return reference[~member[reference]], live[~stays_away], day[~stays_away]
    leaves = member[live] & (day >= shift.day) & (random.random(len(live)) < shift.share)
    return reference, live[~leaves], day[~leaves]


def _changed(
    ground: Ground, live: Integers, day: Integers, shift: Shift, random: np.random.Generator
) -> tuple[StayFacts, Mask]:
    """The live stays' facts as they are sent after the shift, and which stays it touched."""
    facts = ground.facts.take(live)
    touched = (day >= shift.day) & _concerned(facts, shift, random)
    if shift.kind not in (UNIT_CHANGE, FROZEN):
        return facts, touched & (shift.kind == POPULATION)
    at = INDEX[shift.item]
    median, equal = facts.median.copy(), facts.equal.copy()
    if shift.kind == UNIT_CHANGE:
        median[touched, at] = _other_unit(shift).sent_value(median[touched, at])
    else:
        median[touched, at] = ground.first[live[touched], at]
        equal[touched, at] = facts.pairs[touched, at]
    return replace(facts, median=median, equal=equal), touched & (facts.measured[:, at] > 0)


def _other_unit(shift: Shift) -> OtherUnit:
    return next(each for each in OTHER_UNITS if (each.item, each.unit) == (shift.item, shift.unit))


def _concerned(facts: StayFacts, shift: Shift, random: np.random.Generator) -> Mask:
    if shift.where == ONE_WARD:
        return facts.ward == shift.name
    if shift.where == ONE_DEVICE:
        return facts.device == shift.name
    if shift.where == ONE_IN_TEN:
        return random.random(len(facts)) < 0.1
    return np.ones(len(facts), dtype=bool)


def _shift(kind: str, ground: Ground, random: np.random.Generator) -> Shift:
    day = int(random.integers(WINDOW, DAYS - WINDOW))
    facts = ground.facts
    if kind == UNIT_CHANGE:
        measured = (facts.measured > 0).mean(axis=0)
        other = random.choice([each for each in OTHER_UNITS if measured[INDEX[each.item]] >= LEAST_MEASURED])
        where = str(random.choice([ALL_STAYS, ONE_WARD, ONE_IN_TEN]))
        name = str(random.choice(np.unique(facts.ward))) if where == ONE_WARD else ""
        return Shift(kind, day, where, name, other.item, other.unit)
    if kind == FROZEN:
        where = str(random.choice([ALL_STAYS, ONE_WARD, ONE_DEVICE]))
        column = facts.ward if where == ONE_WARD else facts.device
        name = str(random.choice(np.unique(column))) if where != ALL_STAYS else ""
        return Shift(kind, day, where, name, str(random.choice(SENSORS)))
    if kind == POPULATION:
        share = float(random.choice([0.5, 1.0]))
        group, arrives = str(random.choice(GROUPS)), bool(random.random() < 0.5)
        return Shift(kind, day, group=group, arrives=arrives, share=share)
    return Shift(NONE, DAYS + 1)
