"""Rows that were reckoned before an erasure and are committed after it have nobody who was erased."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from assets.gate import Lake
from tests.warehouse.erasure.made import DAYS, PEOPLE, TABLES, Ward
from tests.warehouse.retention.made import filled
from warehouse.erasure.derived_rows import await_derived, writing_derived
from warehouse.erasure.states import CERTIFIED
from warehouse.settings import Settings

GONE = PEOPLE[2]


def hours(ward: Ward) -> pa.Table:
    return filled(
        "vitals_by_hour", [DAYS[0]] * len(PEOPLE), ward.contracts, subject_token=[ward.token(each) for each in PEOPLE]
    )


def test_a_roll_up_that_read_before_an_erasure_brings_nobody_back_after_it(folder_lake: Settings) -> None:
    ward = Ward(folder_lake)
    ward.ingest()
    reckoned = hours(ward)
    ward.ask(GONE)
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    with Lake(folder_lake) as lake:
        lake.replace("vitals_by_hour", reckoned, {"u": 1}, [DAYS[0]])
    assert [ward.of(person, "vitals_by_hour") for person in PEOPLE] == [int(person != GONE) for person in PEOPLE]


def test_an_erasure_waits_for_who_looked_before_its_fence(tmp_path, settings_of: Callable[..., Settings]) -> None:
    settings, order = settings_of(tmp_path), []
    waiting = threading.Thread(target=lambda: (await_derived(settings), order.append("erasure")))
    with writing_derived(settings) as of_those_who_stay:
        rows = pa.table({"subject_token": ["t1", None, "t2"]})
        assert of_those_who_stay(rows, "subject_token").num_rows == of_those_who_stay(rows, None).num_rows == 3
        waiting.start()
        time.sleep(0.3)
        with writing_derived(settings):
            order.append("another that derives")
        order.append("committed")
    waiting.join(10)
    assert order == ["another that derives", "committed", "erasure"]


def test_the_end_of_a_category_waits_for_who_is_committing_derived_rows(folder_lake: Settings) -> None:
    ward, order = Ward(folder_lake, tables=(*TABLES, "research_cohort")), []
    ward.ask(GONE, category="research")
    ending = threading.Thread(target=lambda: order.append([each.state for each in ward.erasure().run()]))
    with writing_derived(folder_lake):
        ending.start()
        time.sleep(1)
        rows = filled("research_cohort", [DAYS[0]], ward.contracts, subject_token=[ward.token(GONE)])
        ward.fenced("research_cohort").append_derived(rows, {"u": 1})
        order.append("committed")
    ending.join(60)
    assert order == ["committed", [CERTIFIED]]
    assert ward.of(GONE, "research_cohort") == 0


@pytest.fixture
def settings_of() -> Callable[..., Settings]:
    return lambda folder: Settings.from_environment({"WARDSTREAM_HOME": str(folder)})
