"""A look for drift over the lake's last days: the reigning model's reference against the stays that came since.

Holds: the order of the work, what is kept of it, and rows to and from profiles and reports.
Does not hold: the tests (`pipelines/clinical/sepsis/drift*.py`), when a look is due (`assets/drift.py`), the page.

A look judges the stays that began within its days against the profile of the model that reigned at their end, asks
outcomes that were said meanwhile, and leads the monitors on. Of a ward that the profile does not know, the first look
with stays enough becomes its reference, unless that look found something to be mended.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from pipelines.clinical.sepsis import drift_monitors, model_files
from pipelines.clinical.sepsis.drift import (
    DEVICE_SHIFT,
    FEED,
    FROZEN,
    LEAST_REFERENCE,
    UNIT_CHANGE,
    Cause,
    Report,
    look,
)
from pipelines.clinical.sepsis.drift_monitors import ERRORS, SCORES, Change, Stretch
from pipelines.clinical.sepsis.drift_outcomes import Performance, performance
from pipelines.clinical.sepsis.drift_profile import WARD, ItemProfile, Profile, profile_of, read_profile
from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.lake_set import CODES, learning_set
from pipelines.clinical.sepsis.model_files import NAME, ModelFiles
from pipelines.clinical.sepsis.promotion import outcome_of
from pipelines.clinical.sepsis.recent_stays import facts_of_rows
from pipelines.clinical.sepsis.stay_facts import StayFacts
from pipelines.clinical.sepsis.trees import importance
from pipelines.clinical.sepsis.variables import NAMES
from pipelines.model_source import model_of
from warehouse.analytics import Analytics
from warehouse.consent.filters import Purpose
from warehouse.contract import Contracts
from warehouse.days import day_bounds
from warehouse.models.looks import seen_until
from warehouse.models.recent_rows import RecentRows, read_recent
from warehouse.models.registry import Registry
from warehouse.models.score_stretches import first_days
from warehouse.models.training_rows import LONGEST_H, TrainingRows, read_training_rows
from warehouse.settings import Settings

PURPOSE = "operations"
"""What a look is for: keeping what serves care in order. Under a purpose that rests on consent only those who allow it
are read."""
WINDOW_DAYS = 14
OUTCOME_DAYS = 90
SEED = 0
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
BEGINNING = timedelta(days=14)
"""How far before its first look a monitor begins."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One monitor after a look."""

    monitor: str
    stretch: Stretch
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look saw.

    Attributes:
        look: its name in `drift_reports`; empty where nothing was kept.
        version, built_in: the model whose reference was looked at.
        first_day, last_day: stays that began from the one to the end of the other.
        report: with the causes that outcomes and monitors add. reference: None where the model has none.
        facts: of the stays; None where there was none.
        begun: scopes whose reference these stays became. withheld: patients who do not allow it.
    """

    look: str
    version: str
    built_in: bool
    first_day: date
    last_day: date
    report: Report
    reference: Profile | None
    facts: StayFacts | None
    outcomes: Performance
    monitors: tuple[Watched, ...]
    begun: tuple[str, ...]
    withheld: int
    snapshots: Mapping[str, int] = field(default_factory=dict)


class NotOverError(ValueError):
    """A look that is to be kept, at a day that is not over: what it did not see would never be seen."""

    def __init__(self, day: date, now: datetime) -> None:
        super().__init__(f"{day} is not over (it is {now:%Y-%m-%d %H:%M} UTC): look at a day that is, or keep nothing")


class DriftWatch:
    """Of one lake. `writer`: who commits; names no person."""

    def __init__(self, settings: Settings, contracts: Contracts, catalog: Any, writer: str) -> None:
        self._settings, self._contracts = settings, contracts
        self._wards = IntensiveCare(settings.intensive_care)
        self.registry = Registry(settings, contracts, catalog, writer)
        self.looks = self.registry.looks
        self._streams = [topic.stream for topic in contracts.topics()]

    def look(
        self,
        day: date,
        now: datetime,
        *,
        days: int = WINDOW_DAYS,
        purpose: str = PURPOSE,
        as_of: datetime | None = None,
        keep: bool = True,
    ) -> Looked:
        """Judge the `days` days that end with `day` (UTC). `as_of`: stays as they were known then. `keep`: whether
        reports, references and monitors are written, for which the day has to be over. Raises `NotOverError`,
        `LakeUnavailable` and what the store raises."""
        first = day - timedelta(days=days - 1)
        since, until = day_bounds(first)[0], day_bounds(day)[1]
        if keep and until > now:
            raise NotOverError(day, now)
        model, reigns_from = self._champion(min(until, now))
        reference = self.reference(model)
        with Analytics(self._settings) as analytics:
            rows = read_recent(
                analytics, self._streams, CODES, days=(since, until), purpose=purpose, now=now, as_of=as_of
            )
            heard = max(until - timedelta(days=OUTCOME_DAYS), reigns_from or LONG_AGO), until
            said = read_training_rows(analytics, CODES, Purpose(purpose, now), heard)
            outcome, known = self._outcome(model, said)
            watched = tuple(self._watch(analytics, each, model.version, until, known) for each in (SCORES, ERRORS))
        read_from = until - timedelta(hours=LONGEST_H)
        facts = facts_of_rows(_by_table(rows), rows.places, since, self._wards, read_from)
        outcomes = _performance(outcome, model)
        added = (*outcomes.causes, *(cause for each in watched for cause in _causes(each)))
        report = _with(_report(reference, facts, model), added)
        looked = Looked(
            look=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}" if keep else "",
            version=model.version, built_in=reigns_from is None, first_day=first, last_day=day,
            report=report, reference=reference, facts=facts, outcomes=outcomes, monitors=watched,
            begun=_fresh_scopes(reference, facts, report), withheld=rows.withheld + said.withheld,
            snapshots={**said.snapshots, **rows.snapshots},
        )  # fmt: skip
        if keep:
            self._keep(looked, until, now)
        return looked

    def reference(self, model: ModelFiles) -> Profile | None:
        """What stays looked like when a model was made, with the wards that became known since; None where nobody
        kept it. Of a model with risks fitted anew that is what those of the one before looked like."""
        items = dict(profile_of_rows(self.looks.profile(model.version)).items)
        if model.version == model_files.champion().version and (shipped := read_profile(model_files.CHAMPION)):
            return Profile({**shipped.items, **items})
        before = model.metadata.get("recalibrated", {}).get("of")
        if before is not None and (known := self.reference(self._model(before))):
            return Profile({**known.items, **items})
        return Profile(items) if items else None

    def _model(self, version: str) -> ModelFiles:
        built_in = model_files.champion()
        return built_in if version == built_in.version else model_of(self.registry.load(version))

    def _champion(self, at: datetime) -> tuple[ModelFiles, datetime | None]:
        role = self.registry.champion(NAME, at)
        if role is None:
            return model_files.champion(), None
        return model_of(self.registry.load(role.version)), role.in_force_at

    def _outcome(self, model: ModelFiles, said: TrainingRows) -> tuple[Outcome | None, list[tuple[datetime, float]]]:
        """What the model says of stays with an outcome; and of each, in order, when it was first known and the squared
        error: one that is said again is no other stay, and one that is told days later is no older news."""
        if not len(said.outcomes):
            return None, []
        tables = {"vitals": said.vitals, "wearables": said.wearables, "labs": said.results}
        try:
            given = learning_set({**tables, "adt_events": said.admissions}, said.outcomes, self._wards)
        except ValueError:  # nobody of them was measured
            return None, []
        outcome = outcome_of(model, given.panel, given.labels)
        squared = (outcome.risks - outcome.labels) ** 2
        error = np.add.reduceat(squared, outcome.starts[:-1]) / np.diff(outcome.starts)
        at = dict(zip(said.outcomes["subject_token"].to_pylist(), said.outcomes["known_at"].to_pylist(), strict=True))
        return outcome, sorted(zip((at[p] for p in given.patients.tolist()), error.tolist(), strict=True))

    def _watch(
        self, analytics: Analytics, monitor: str, version: str, until: datetime, errors: list[tuple[datetime, float]]
    ) -> Watched:
        row = self.looks.monitor(monitor, version)
        stretch = Stretch(tuple(row["values"]), row["stays"]) if row else Stretch()
        since = seen_until(row) if row else until - BEGINNING
        if since >= until:
            return Watched(monitor, stretch, ())
        if monitor == SCORES:
            new: Sequence[float] = first_days(analytics, version, since, until)
        else:
            new = [error for at, error in errors if since <= at < until]
        return Watched(monitor, *drift_monitors.lead_on(stretch, new))

    def _keep(self, looked: Looked, until: datetime, now: datetime) -> None:
        if looked.begun and looked.facts is not None:
            fresh = {key: each for key, each in profile_of(looked.facts).items.items() if key[0] in looked.begun}
            self.looks.keep_profile(looked.version, profile_rows(Profile(fresh), looked.version, now))
        for each in looked.monitors:
            before = self.looks.monitor(each.monitor, looked.version)
            if before is None or seen_until(before) < until:
                self.looks.keep_monitor(_monitor_row(each, looked.version, until, now))
        self.looks.report(report_rows(looked, now, until))


def weights(model: ModelFiles) -> dict[str, float]:
    """Item -> its share of what the model looks at: by it causes are ordered."""
    found: dict[str, float] = {}
    for feature, share in importance(model.text).items():
        item = next((name for name in NAMES if feature.startswith(f"{name}_")), feature)
        found[item] = found.get(item, 0.0) + share
    return found


def _report(reference: Profile | None, facts: StayFacts | None, model: ModelFiles) -> Report:
    if reference is None or facts is None or not len(facts):
        return Report(0 if facts is None else len(facts), 0, 0, (), ())
    return look(reference, facts, weights(model))


def _performance(outcome: Outcome | None, model: ModelFiles) -> Performance:
    if outcome is None:
        return Performance(0, 0, judged=False)
    return performance(outcome, model.metadata.get("figures", {}).get("all", {}), SEED)


def _with(report: Report, causes: tuple[Cause, ...]) -> Report:
    return replace(report, causes=(*report.causes, *causes))


def _causes(watched: Watched) -> tuple[Cause, ...]:
    return drift_monitors.causes(watched.monitor, watched.changes)


def _fresh_scopes(reference: Profile | None, facts: StayFacts | None, report: Report) -> tuple[str, ...]:
    """Wards with stays enough that the reference does not know; none where something is to be mended."""
    if (
        reference is None
        or facts is None
        or {UNIT_CHANGE, FROZEN, FEED, DEVICE_SHIFT} & {cause.kind for cause in report.causes}
    ):
        return ()
    known = {scope for scope, _ in reference.items}
    names, counts = np.unique(facts.ward[facts.ward != ""], return_counts=True)
    found = (WARD + name for name, n in zip(names.tolist(), counts.tolist(), strict=True) if n >= LEAST_REFERENCE)
    return tuple(scope for scope in found if scope not in known)


def _by_table(rows: RecentRows) -> dict[str, Any]:
    return {"vitals": rows.vitals, "wearables": rows.wearables, "labs": rows.results, "adt_events": rows.admissions}


def _monitor_row(each: Watched, version: str, until: datetime, now: datetime) -> dict[str, Any]:
    stretch = each.stretch
    return {
        "monitor": each.monitor, "version": version, "seen_until": until, "stays": stretch.stays,
        "values": list(stretch.values), "changes": len(each.changes), "mean": stretch.mean, "made_at": now,
    }  # fmt: skip


def profile_rows(profile: Profile, version: str, now: datetime) -> list[dict[str, Any]]:
    """The rows of `drift_profiles`."""
    return [
        {
            "version": version, "scope": scope, "item": item, "stays": each.stays, "of_stays": each.of_stays,
            "quantiles": each.quantiles.tolist(), "measured_mean": each.measured_mean,
            "measured_sd": each.measured_sd, "stuck": each.stuck.tolist(), "stuck_stays": each.stuck_stays,
            "made_at": now,
        }
        for (scope, item), each in profile.items.items()
    ]  # fmt: skip


def profile_of_rows(rows: list[dict[str, Any]]) -> Profile:
    """What `profile_rows` was given."""
    return Profile(
        {
            (row["scope"], row["item"]): ItemProfile(
                row["stays"], row["of_stays"], np.array(row["quantiles"], dtype=np.float64), row["measured_mean"],
                row["measured_sd"], np.array(row["stuck"], dtype=np.float64), row["stuck_stays"],
            )
            for row in rows
        }
    )  # fmt: skip


def report_rows(looked: Looked, now: datetime, until: datetime) -> list[dict[str, Any]]:
    """The rows of `drift_reports`: one a cause, or one that says none. `until`: the end of the last day."""
    report = looked.report
    every = {
        "look": looked.look, "version": looked.version, "stays": report.stays, "tests": report.tests, "made_at": now,
        "day": until - timedelta(days=1), "snapshots": json.dumps(dict(looked.snapshots), sort_keys=True),
    }  # fmt: skip
    nothing = {
        "kind": "none", "place": "all stays", "items": [], "share": 0.0, "because": no_cause(looked),
        "remedy": "nothing", "retrains": False,
    }  # fmt: skip
    causes = [
        {
            "kind": cause.kind, "place": cause.where, "items": list(cause.items), "share": cause.share,
            "because": cause.because, "remedy": cause.remedy, "retrains": cause.retrains,
        }
        for cause in report.causes
    ]  # fmt: skip
    return [{**every, **each} for each in causes or [nothing]]


def no_cause(looked: Looked) -> str:
    """What a look without a cause says."""
    if looked.reference is None:
        return "nobody kept what the model's stays looked like: register its folder again, with drift_profile.npz"
    return "no difference beyond chance" if looked.report.tests else "too few stays to judge anything by"
