"""What a table let go of may lie on in undo, in the cold store, in a writer's leavings: erasure reaches these too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.warehouse.erasure.made import DAYS, PEOPLE, Ward
from warehouse.commit import FencedTable
from warehouse.contract import Contracts, RetentionClass
from warehouse.erasure.states import CERTIFIED, RECEIVED, VERIFIED
from warehouse.erasure.stores import Subject
from warehouse.retention.doer import RetentionDoer, UndoError
from warehouse.retention.observe import observe
from warehouse.retention.plan import plan_retention
from warehouse.settings import Settings
from warehouse.staging import stage
from warehouse.table_session import store_of

GONE = PEOPLE[0]
TABLES = ("vitals", "erasure_requests", "erasure_receipts", "retention_holds", "retention_receipts", "data_deletions")


@pytest.fixture
def ward(folder_lake: Settings) -> Ward:
    settings = replace(folder_lake, cold_warehouse=folder_lake.warehouse.replace("/lake", "/cold"))
    made = Ward(settings, tables=TABLES)
    made.ingest()
    return made


def retained(ward: Ward) -> list[str]:
    """Retention moves the oldest day to the cold store; the receipts."""
    kept = RetentionClass("clinical_signals", "briefly", "it is a test", 7, None, 1, 99, "table", 5)
    streams = tuple(ward.contracts.values())
    contracts = Contracts(streams, {**ward.contracts.retention_classes, "clinical_signals": kept})
    doer = retention(ward, contracts)
    states = observe(ward.catalog, ward.settings.namespace, contracts, ["vitals"])
    plan = plan_retention(states, (), ward.clock(), True, [])
    return [each.receipt for each in doer.apply(plan).receipts]


def retention(ward: Ward, contracts: Contracts) -> RetentionDoer:
    return RetentionDoer(ward.settings, contracts, ward.catalog, writer="test", clock=ward.clock, new_id=ward.new_id)


def files_with(ward: Ward, person: str) -> list[str]:
    store = ward.erasure().tables()
    vitals = next(each for each in store if each.name == "table:vitals")
    return list(vitals.prove([Subject("r", (ward.token(person),))]).evidence["objects"])


def test_cold_files_and_what_could_be_taken_back_go_too(ward: Ward) -> None:
    (receipt,) = retained(ward)
    cold = Path(ward.settings.cold_warehouse.removeprefix("file://"))
    assert list(cold.rglob("*.parquet"))
    assert len(files_with(ward, GONE)) == 4, "three days, and the copy of one"
    ward.ask(GONE)
    assert [each.state for each in ward.erasure().run()] == [CERTIFIED]
    assert files_with(ward, GONE) == []
    assert ward.of(PEOPLE[1]) == 12
    with pytest.raises(UndoError):
        retention(ward, ward.contracts).undo(receipt, "test", "brought back by mistake")
    assert files_with(ward, GONE) == []


def test_rows_that_a_failed_run_staged_and_never_committed_go_too(ward: Ward) -> None:
    table = ward.table()
    stage(table, ward.readings([ward.token(GONE)], DAYS[0], 9_000), store_of(table))
    assert len(files_with(ward, GONE)) == 4
    ward.ask(GONE)
    ward.erasure().run()
    assert files_with(ward, GONE) == []


def test_rows_that_come_between_the_steps_are_found_by_the_proof_and_taken_out(ward: Ward) -> None:
    """As a writer would bring them that had read before the fence."""

    def late(step: str) -> None:
        if step == "done purged":
            rows = ward.readings([ward.token(GONE)] * 2, DAYS[1], ward.offset)
            from tests.warehouse.fenced import interval

            fenced = FencedTable(ward.catalog, (ward.settings.namespace, "vitals"), writer="late")
            fenced.commit(rows, [interval(ward.offset, ward.offset + 2)])

    ward.ask(GONE)
    assert [each.state for each in ward.erasure(progress=late).run()] == [CERTIFIED]
    assert files_with(ward, GONE) == []


def test_a_compaction_beside_it_changes_nothing(ward: Ward) -> None:
    others = ward.digest_without([GONE])
    from warehouse.erasure.tables import _files
    from warehouse.upkeep.compact import read_files

    def compacted(step: str) -> None:
        if step == "exchange" and not compacted.done:
            compacted.done = True
            table = ward.table()
            files = _files(table)[:2]
            staged = stage(table, read_files(table, files), store_of(table))
            fenced = FencedTable(ward.catalog, (ward.settings.namespace, "vitals"), writer="upkeep")
            fenced.replace_files(files, staged, {})

    compacted.done = False  # ty: ignore
    ward.ask(GONE)
    assert [each.state for each in ward.erasure(progress=compacted).run()] == [CERTIFIED]
    assert compacted.done  # ty: ignore
    assert files_with(ward, GONE) == []
    assert ward.digest_without([GONE]) == others


def test_requests_that_come_by_message_are_taken_once_and_the_end_of_a_category_needs_nobody(ward: Ward) -> None:
    from tests.warehouse.retention.made import filled

    rows = filled(
        "data_deletions",
        [DAYS[0]] * 3,
        ward.contracts,
        request_id=["m-1", "m-2", "m-1"],
        subject_token=[ward.token(GONE), ward.token(PEOPLE[1]), ward.token(GONE)],
        category=[None, "research", None],
        reason=["asked at the portal"] * 3,
    )
    ward.fenced("data_deletions").append_derived(rows, {"u": 1})
    assert len(ward.erasure().intake()) == 2
    assert ward.erasure().intake() == []
    states = {each.category: each.state for each in ward.erasure().book.current().values()}
    assert states == {None: RECEIVED, "research": VERIFIED}
    states = {each.category: each.state for each in ward.erasure().run()}
    assert states == {None: RECEIVED, "research": CERTIFIED}
    assert ward.of(PEOPLE[1]) == 12, "who takes a consent back stays a patient"
    assert ward.vault.erased() == {}
