"""Drawn shifts: hours say what facts say, remedies do what they claim, and a run goes on where it ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.bench import drift, drift_account, results
from infra.bench.drift_remedies import ASK, MEND, RETRAIN, Remedies
from infra.bench.drift_worlds import NONE, Ground, World, drawn, first_values, hours_as_sent
from pipelines.clinical.sepsis.drift import FEED, FROZEN, POPULATION, UNIT_CHANGE, Cause, Report
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.stay_facts import facts_of
from tests.pipelines.clinical.sepsis.stays import SMALL, with_outcome

STAYS = 400


@pytest.fixture(scope="module")
def given() -> LearningSet:
    return with_outcome(STAYS, seed=50, longest=24)


@pytest.fixture(scope="module")
def ground(given: LearningSet) -> Ground:
    ward = np.array(["MICU-1", "SICU-1"])[np.arange(STAYS) % 2]
    device = np.char.add(np.char.add(ward, "/"), (np.arange(STAYS) % 3).astype(str))
    return Ground(given.panel, facts_of(given.panel, ward, device), first_values(given.panel))


@pytest.fixture(scope="module")
def remedies(ground: Ground, given: LearningSet) -> Remedies:
    return Remedies(ground, given.labels, SMALL, 200)


def shifted(ground: Ground, kind: str, wanted: str = "") -> World:
    """The first draw of this kind that changes something (in this item, if one is wanted)."""
    for seed in range(500):
        world = drawn(kind, ground, np.random.default_rng(seed))
        if kind in (NONE, POPULATION) or (world.touched.sum() > 20 and wanted in ("", world.shift.item)):
            return world
    raise AssertionError("nothing of the kind was drawn")


def look(*causes: Cause) -> Report:
    return Report(100, 1, 0, (), causes)


def cause(kind: str, *items: str) -> Cause:
    return Cause(kind, items, "all stays", 1.0, "it is a test")


@pytest.mark.parametrize("kind", [UNIT_CHANGE, FROZEN, POPULATION, NONE])
def test_hours_are_changed_as_facts_are(ground: Ground, kind: str) -> None:
    world = shifted(ground, kind)
    since = world.since()
    of_hours = facts_of(hours_as_sent(ground, world), world.facts.ward[since], world.facts.device[since])
    told = world.facts.take(since)
    np.testing.assert_allclose(of_hours.median, told.median, rtol=1e-5)
    assert np.array_equal(of_hours.equal, told.equal)
    assert np.array_equal(of_hours.measured, told.measured)


def test_a_mended_sender_brings_back_what_the_model_gave(ground: Ground, remedies: Remedies) -> None:
    world = shifted(ground, FROZEN, "HR")
    whole = replace(world, touched=np.zeros_like(world.touched))
    worse = remedies.act(world, look(cause(FROZEN, "HR")), 1)
    untouched = remedies.act(whole, look(cause(FROZEN, "HR")), 1)
    assert worse is not None
    assert untouched is not None
    assert (worse.remedy, worse.promoted) == (MEND, None)
    assert worse.after == untouched.before
    assert worse.after != worse.before


def test_mending_another_item_than_the_shifted_one_brings_nothing(ground: Ground, remedies: Remedies) -> None:
    done = remedies.act(shifted(ground, FROZEN, "HR"), look(cause(UNIT_CHANGE, "Lactate")), 1)
    assert done is not None
    assert done.after == done.before


def test_a_retraining_is_judged_by_the_gate_on_stays_no_challenger_knew(ground: Ground, remedies: Remedies) -> None:
    world = shifted(ground, POPULATION)
    done = remedies.act(world, look(cause(POPULATION)), 1)
    assert done is not None
    assert done.remedy == RETRAIN
    assert done.promoted is False
    assert "septic stays with an outcome, at least 50" in done.reason
    assert done.stays == world.since().sum()
    assert done == remedies.act(world, look(cause(POPULATION)), 1)


def test_what_is_asked_about_changes_nothing_and_silence_does_nothing(ground: Ground, remedies: Remedies) -> None:
    world = shifted(ground, UNIT_CHANGE)
    done = remedies.act(world, look(cause(FEED, "HR")), 1)
    assert done is not None
    assert (done.remedy, done.after) == (ASK, None)
    assert remedies.act(world, look(), 1) is None


@pytest.mark.parametrize("trial", [drift.ALL_KINDS, drift.YOUNG_HOSPITAL])
def test_a_run_that_ended_goes_on_and_draws_nothing_twice(
    ground: Ground, remedies: Remedies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: drift.Trial
) -> None:
    monkeypatch.setattr(drift, "prepared", lambda trial, path, seed, progress: (ground, remedies))
    monkeypatch.setattr(results, "RECORDS", tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    whole = drift_account.measure(trial, Path("stays"), 3, 11, "the command", lambda line: None)
    kept = tmp_path / f"{trial.name}-11.jsonl"
    lines = kept.read_text().splitlines()
    assert len(lines) == 3
    kept.write_text(lines[0] + "\n")
    told: list[str] = []
    again = drift_account.measure(trial, Path("stays"), 3, 11, "the command", told.append)
    assert len(told) == 2
    assert again.figures == whole.figures
    assert "3 of 3 draws of seed 11" in (tmp_path / "RESULTS.md").read_text()


def test_to_a_young_hospital_other_patients_come_in_every_draw(ground: Ground, remedies: Remedies) -> None:
    verdicts = drift.run(drift.YOUNG_HOSPITAL, ground, remedies, 4, 12, [], lambda line: None)
    assert [verdict.shift.kind for verdict in verdicts] == [POPULATION] * 4
