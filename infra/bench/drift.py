"""`python -m infra.bench drift`: shifts of known kind, drawn by chance, against the monitor that has to find them.

Holds: the simulated weeks, and what the monitor said of each draw, right or wrong.
Does not hold: the monitor (`pipelines/clinical/sepsis/drift.py`), the draws (`drift_worlds.py`), what is done of a look
(`drift_remedies.py`), the account (`drift_account.py`).

The monitor sees the reference's profile and the stays of the last days; kind, size and day are drawn from a seed that
nobody chose, and are told only after it has spoken. What its last look asks for is then done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from infra.bench.drift_remedies import LEARNT, Remedied, Remedies
from infra.bench.drift_worlds import (
    DAYS,
    EVERY,
    NONE,
    ONE_DEVICE,
    ONE_IN_TEN,
    ONE_WARD,
    WINDOW,
    Ground,
    Shift,
    World,
    drawn,
)
from pipelines.clinical.sepsis import drift
from pipelines.clinical.sepsis.drift import FROZEN, POPULATION, UNIT_CHANGE, Report
from pipelines.clinical.sepsis.drift_profile import DEVICE, WARD, profile_of
from pipelines.clinical.sepsis.learning_set import read_parquet

Progress = Callable[[str], None]
Cause = tuple[str, tuple[str, ...], str]
"""Kind, items, where."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A draw and what the monitor said of it.

    Attributes:
        alarm_day: of the first look that named a cause; None. false_alarms: looks that did before the shift.
        causes: (kind, items, where) of the first alarm after the shift, causes_at_end: of the last look.
        hit: alarmed from the shift's day on. right: with its kind and item. placed: and, at the end, where it is.
        retrains: whether the last look asked for a retraining. touched: live stays that the shift changed.
        remedied: what came of doing what the last look asked for; None where it asked for nothing.
    """

    draw: int
    shift: Shift
    alarm_day: int | None
    false_alarms: int
    causes: tuple[Cause, ...]
    causes_at_end: tuple[Cause, ...]
    hit: bool
    right: bool
    placed: bool
    retrains: bool
    touched: int
    remedied: Remedied | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Attributes:
        name, title: in records and on their page.
        learnt: stays of the reference that a draw's champion learns from.
        without: share of the draws that have no shift. kinds: the others have these in turn.
    """

    name: str
    title: str
    learnt: int
    without: float
    kinds: tuple[str, ...]


ALL_KINDS = Trial(
    name="drift",
    title="Drift found, its cause named, and what came of the remedy",
    learnt=LEARNT,
    without=0.4,
    kinds=(UNIT_CHANGE, UNIT_CHANGE, FROZEN, POPULATION),
)
YOUNG_HOSPITAL = Trial(
    name="drift_young",
    title="Other patients come to a hospital that has learnt from few: what retraining brings",
    learnt=1000,
    without=0.0,
    kinds=(POPULATION,),
)
"""The counterpart: stays to learn from are what is wanting here, so that a retraining can help."""


def run(
    trial: Trial, ground: Ground, remedies: Remedies, draws: int, seed: int, done: Iterable[int], progress: Progress
) -> Iterator[Verdict]:
    """All draws but those `done`, each as it is made."""
    without = int(draws * trial.without)
    kinds = [NONE] * without + [trial.kinds[n % len(trial.kinds)] for n in range(draws - without)]
    order, began = np.random.default_rng([seed, 1]).permutation(len(kinds)).tolist(), time.monotonic()
    left = set(range(draws)) - set(done)
    for number in sorted(left):
        verdict = one(ground, remedies, number, kinds[order[number]], seed)
        progress(f"{time.monotonic() - began:5.0f} s  draw {number + 1} of {draws}: {_told(verdict)}")
        yield verdict


def one(ground: Ground, remedies: Remedies, number: int, kind: str, seed: int) -> Verdict:
    """One draw, looked at every third day; what the last look asks for is done."""
    world = drawn(kind, ground, np.random.default_rng([seed, 2, number]))
    profile = profile_of(ground.facts.take(world.reference))
    looks = {
        end: drift.look(profile, world.facts.take((world.day >= end - WINDOW) & (world.day < end)))
        for end in range(WINDOW, DAYS + 1, EVERY)
    }
    verdict = _judged(number, world, looks)
    return replace(verdict, remedied=remedies.act(world, looks[max(looks)], seed + number))


def prepared(trial: Trial, path: Path, seed: int, progress: Progress) -> tuple[Ground, Remedies]:
    """The stays of a file, ready to be drawn from. Raises `LearningSetError`."""
    progress(f"reading {path}")
    ground, labels = Ground.of_file(path, seed), read_parquet(path).labels
    progress(f"features of {len(ground.facts):,} stays")
    return ground, Remedies(ground, labels, learnt=trial.learnt)


def _judged(number: int, world: World, looks: dict[int, Report]) -> Verdict:
    shift = world.shift
    alarms = [end for end, report in looks.items() if report.drifted]
    after = [end for end in alarms if end > shift.day]
    first = looks[after[0]] if after else None
    last = looks[max(looks)]
    right = first is not None and any(_names(cause, shift) for cause in first.causes)
    return Verdict(
        draw=number,
        shift=shift,
        alarm_day=alarms[0] if alarms else None,
        false_alarms=len(alarms) - len(after),
        causes=_said(first) if first else (),
        causes_at_end=_said(last),
        hit=bool(after),
        right=right,
        placed=right and any(_names(cause, shift) and _is_there(cause, shift) for cause in last.causes),
        retrains=last.retrains,
        touched=int(world.touched.sum()),
    )


def _said(report: Report) -> tuple[Cause, ...]:
    return tuple((cause.kind, cause.items, cause.where) for cause in report.causes)


def _names(cause: drift.Cause, shift: Shift) -> bool:
    return cause.kind == shift.kind and (not shift.item or cause.items == (shift.item,))


def _is_there(cause: drift.Cause, shift: Shift) -> bool:
    if shift.where in (ONE_WARD, ONE_DEVICE):
        return cause.where == (WARD if shift.where == ONE_WARD else DEVICE) + shift.name
    if shift.where == ONE_IN_TEN:
        return cause.where not in ("all stays",) and not cause.where.startswith((WARD, DEVICE))
    return shift.kind == POPULATION or cause.where == "all stays"


def _told(verdict: Verdict) -> str:
    shift = verdict.shift
    sent = " ".join(
        filter(None, (shift.kind, shift.where, shift.name, shift.item, shift.unit, shift.group, _way(shift)))
    )
    said = "; ".join(f"{kind} {','.join(items[:3])} {where}" for kind, items, where in verdict.causes) or "nothing"
    mark = "right" if verdict.right else "no shift" if shift.kind == NONE else "MISSED"
    false = f" FALSE ALARMS {verdict.false_alarms}" if verdict.false_alarms else ""
    return f"{sent} -> {said} [{mark}{false}]{_done(verdict.remedied)}"


def _done(remedied: Remedied | None) -> str:
    if remedied is None or remedied.before is None or remedied.after is None:
        return ""
    gate = "" if remedied.promoted is None else ", promoted" if remedied.promoted else ", not promoted"
    return f" {remedied.remedy}: utility {remedied.before:.3f} -> {remedied.after:.3f}{gate}"


def _way(shift: Shift) -> str:
    return "" if shift.kind != POPULATION else "arrives" if shift.arrives else f"leaves {shift.share:.0%}"
