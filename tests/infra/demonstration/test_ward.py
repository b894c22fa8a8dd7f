"""Who of the played ward went home, and so may be erased at the end of the demonstration."""

from __future__ import annotations

from pathlib import Path
from random import Random

from infra.demonstration.ward import DURATION_MS, PATIENTS, WardPlay
from infra.simulator.admissions import play_admissions
from infra.simulator.hazards import Hazards, disturbed
from infra.simulator.script import plan_ward
from warehouse.settings import Settings

START_MS = 1_795_000_000_000


def test_only_those_are_at_home_whose_discharge_stands(tmp_path: Path) -> None:
    play = WardPlay(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)}), 7)
    patients, end_ms = plan_ward(7, START_MS, DURATION_MS, PATIENTS), START_MS + DURATION_MS
    admissions = play_admissions(7, patients, START_MS, end_ms)
    events = disturbed(admissions, Random(7), end_ms, Hazards())
    assert list(play._noticed(events)) == events
    # Every fifth is discharged, and so is the fourth, whose discharge is cancelled.
    numbers = [int(patient.patient_id[1:]) for patient in patients]
    assert [int(patient[1:]) for patient in play.at_home] == sorted(n for n in numbers if n % 5 == 0)
    assert play.at_home
