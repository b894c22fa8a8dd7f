"""Days cool, leave and come back; what is counted stays what it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from tests.warehouse.fenced import TOPIC
from tests.warehouse.retention.made import FIRST, MadeLake, VaultOfDays, at, cold, days, digest
from warehouse.days import changes_since
from warehouse.identity import RejectedMessage, SealError, seal_rejects, unseal_reject
from warehouse.lake_session import open_session
from warehouse.retention.doer import UndoError
from warehouse.retention.plan import COOL, REMOVE
from warehouse.retention.receipts import ABANDONED, COOLED, KEY_DESTROYED, REMOVED, RESTORED
from warehouse.retention.undo import held_paths
from warehouse.settings import Settings
from warehouse.snapshots import vector_of
from warehouse.staging import stage
from warehouse.vault import open_vault


@pytest.fixture
def ward(folder_lake: Settings) -> MadeLake:
    """Twelve days of readings, and it is noon of the twelfth."""
    made = MadeLake(cold(folder_lake))
    made.ingest(days(FIRST, 12))
    made.now = at(FIRST + timedelta(days=11))
    return made


def test_days_cool_and_leave_by_their_class_and_every_row_is_somewhere(ward: MadeLake) -> None:
    before = digest(ward.rows())
    outcome = ward.run("vitals")
    told = {(receipt.act, receipt.day): receipt.rows for receipt in outcome.receipts}
    # Eleven days of the table are over: the first is 10 days old, those of the next seven 3 to 9.
    assert told == {(REMOVED, FIRST): 3} | {(COOLED, day): 3 for day in days(FIRST + timedelta(days=1), 7)}
    assert outcome.refused == ()
    assert ward.rows().num_rows + told[REMOVED, FIRST] == 36
    assert ward.days() == days(FIRST + timedelta(days=1), 11)
    assert [each.act for each in ward.doer().book.read()].count(COOLED) == 7
    (removed,) = [receipt for receipt in outcome.receipts if receipt.act == REMOVED]
    ward.doer().undo(removed.receipt, "test", "it was asked for again")
    assert digest(ward.rows()) == before


def test_a_second_run_has_nothing_to_do(ward: MadeLake) -> None:
    ward.run()
    snapshot = ward.table().current_snapshot().snapshot_id
    assert ward.plan("vitals").actions == ()
    assert ward.run().receipts == ()
    assert ward.table().current_snapshot().snapshot_id == snapshot


def test_positions_and_sources_are_as_they_were_after_each_act(ward: MadeLake) -> None:
    ward.derive(days(FIRST, 12))
    ward.run()
    assert vector_of(ward.table().metadata) == {TOPIC: {0: 36}}
    said = ward.table("vitals_by_hour").current_snapshot().summary.additional_properties
    assert said["wardstream.sources"] == '{"u": 1}'
    assert ward.days("vitals_by_hour") == days(FIRST + timedelta(days=3), 9)


def test_what_is_cold_is_read_as_before_by_pyiceberg_and_duckdb(store_lake: Settings) -> None:
    made = MadeLake(cold(store_lake))
    made.ingest(days(FIRST, 9))
    made.now = at(FIRST + timedelta(days=8))
    before = digest(made.rows())
    made.run("vitals")
    places = [live.file.file_path.startswith(made.settings.cold_warehouse) for live in made.files()]
    assert sorted(places) == [False] * 4 + [True] * 5
    assert digest(made.rows()) == before
    with open_session(made.settings) as session:
        counted = session.execute(
            "SELECT count(*), sum(kafka_offset) FROM iceberg_scan(?)", [made.table().metadata_location]
        ).fetchone()
    assert counted == (27, sum(range(27)))


def test_copies_bear_the_storage_class_of_the_site_and_lie_in_a_bucket_of_their_own(store_lake: Settings) -> None:
    settings = replace(store_lake, cold_warehouse="s3://coldbucket/lake", cold_storage_class="STANDARD_IA")
    made = MadeLake(settings)
    client = made.table().io._client()
    client.create_bucket(Bucket="coldbucket")
    made.ingest(days(FIRST, 5))
    made.now = at(FIRST + timedelta(days=4))
    made.run("vitals")
    (cold_file,) = [live for live in made.files() if not made.states("vitals")[0].is_warm(live)]
    key = cold_file.file.file_path.removeprefix("s3://coldbucket/")
    assert client.head_object(Bucket="coldbucket", Key=key).get("StorageClass") == "STANDARD_IA"
    assert made.rows().num_rows == 15
    held = held_paths(made.table(), made.now)
    assert cold_file.file.file_path in held


def test_a_session_reads_the_cold_place_and_nothing_else_beside_the_lake(folder_lake: Settings) -> None:
    settings = cold(folder_lake)
    other = Path(settings.warehouse.removeprefix("file://")).parent / "other.csv"
    place = Path(settings.cold_warehouse.removeprefix("file://"))
    place.mkdir(parents=True)
    for file in (other, place / "cold.csv"):
        file.write_text("a\n1\n")
    with open_session(settings) as session:
        assert session.execute(f"SELECT * FROM 'file://{place}/cold.csv'").fetchall() == [(1,)]
        with pytest.raises(duckdb.PermissionException):
            session.execute(f"SELECT * FROM 'file://{other}'")
    with open_session(folder_lake) as session, pytest.raises(duckdb.PermissionException):
        session.execute(f"SELECT * FROM 'file://{place}/cold.csv'")


def test_a_move_back_comes_when_the_class_keeps_it_warm_longer(ward: MadeLake) -> None:
    ward.run("vitals")
    longer = MadeLake(
        ward.settings, {"clinical_signals": ward.contracts.retention_classes["clinical_record"]}, new=False
    )
    longer.now, longer.names = ward.now, 100
    before = digest(longer.rows())
    longer.run("vitals")
    assert digest(longer.rows()) == before
    assert all(state.is_warm(live) for state in longer.states("vitals") for live in state.files)


def test_nothing_moves_without_a_cold_place(folder_lake: Settings) -> None:
    made = MadeLake(folder_lake)
    made.ingest(days(FIRST, 6))
    made.now = at(FIRST + timedelta(days=5))
    plan = made.plan("vitals")
    assert plan.actions == ()
    assert {spared.reason for spared in plan.spared} == {
        "due to cool, and there is no cold place: set WARDSTREAM_COLD_WAREHOUSE"
    }


def test_a_late_row_into_a_day_that_is_gone_lands_and_goes_at_the_next_run(ward: MadeLake) -> None:
    ward.run("vitals")
    ward.ingest([FIRST])
    assert FIRST in ward.days()
    (receipt,) = ward.run("vitals").receipts
    assert (receipt.act, receipt.day, receipt.rows) == (REMOVED, FIRST, 3)
    assert FIRST not in ward.days()
    assert vector_of(ward.table().metadata) == {TOPIC: {0: 39}}


def test_a_late_row_into_a_cold_day_makes_no_other_day_news(ward: MadeLake) -> None:
    late = FIRST + timedelta(days=4)
    ward.run("vitals")
    seen = changes_since(ward.table(), 0).sequence
    ward.ingest([late])
    ward.run("vitals")
    assert set(changes_since(ward.table(), seen).rows) <= {late}
    assert all(receipt.day == late for receipt in ward.doer().book.read() if receipt.receipt == f"r{ward.names}")


def test_an_undone_day_stays_until_its_hold_is_lifted(ward: MadeLake) -> None:
    first = ward.run("vitals", kinds=(REMOVE,)).receipts[0].receipt
    ward.doer().undo(first, "m.meyer", "the audit needs it")
    assert FIRST in ward.days()
    assert ward.run("vitals", kinds=(REMOVE,)).receipts == ()
    (hold,) = ward.doer().holds.in_force()
    assert (hold.hold, hold.first_day, hold.who) == (f"undo-{first}", FIRST, "m.meyer")
    ward.doer().holds.lift(hold.hold, "the audit is over", "m.meyer", ward.now)
    assert [receipt.act for receipt in ward.run("vitals", kinds=(REMOVE,)).receipts] == [REMOVED]


def test_undo_again_changes_nothing_and_doubles_nothing(ward: MadeLake) -> None:
    before = digest(ward.rows())
    first = ward.run("vitals", kinds=(REMOVE,)).receipts[0].receipt
    assert [each.act for each in ward.doer().undo(first, "test", "asked for again")] == [RESTORED]
    assert ward.doer().undo(first, "test", "asked for again") == []
    assert digest(ward.rows()) == before


def test_a_cooled_day_goes_back_to_the_same_objects(ward: MadeLake) -> None:
    before = {live.file.file_path for live in ward.files()}
    first = ward.run("vitals", kinds=(COOL,)).receipts[0].receipt
    ward.doer().undo(first, "test", "the cold store is slow")
    assert {live.file.file_path for live in ward.files()} == before


def test_undo_is_refused_after_its_window_and_without_a_record(ward: MadeLake) -> None:
    first = ward.run("vitals", kinds=(REMOVE,)).receipts[0].receipt
    with pytest.raises(UndoError, match="no record of r99"):
        ward.doer().undo("r99", "test", "asked for again")
    ward.now += timedelta(days=5)
    with pytest.raises(UndoError, match="window of r1 ended"):
        ward.doer().undo(first, "test", "asked for again")


def test_undo_is_refused_where_the_day_was_made_anew(ward: MadeLake) -> None:
    ward.derive(days(FIRST, 12))
    first = ward.run("vitals_by_hour").receipts[0].receipt
    ward.derive([FIRST])
    with pytest.raises(UndoError, match="already"):
        ward.doer().undo(first, "test", "asked for again")
    assert ward.rows("vitals_by_hour").num_rows == 20


def test_a_sweep_spares_what_can_be_undone_and_no_longer(ward: MadeLake) -> None:
    paths = {live.file.file_path for live in ward.files() if live.day == min(f.day for f in ward.files())}
    ward.run("vitals", kinds=(REMOVE,))
    assert paths <= held_paths(ward.table(), ward.now + timedelta(days=4))
    assert not paths & held_paths(ward.table(), ward.now + timedelta(days=5))


def test_rows_of_a_table_without_days_leave_by_their_time_and_come_back(ward: MadeLake) -> None:
    ward.judge(days(FIRST, 15))
    ward.judge(days(FIRST + timedelta(days=15), 10))
    before = digest(ward.rows("quality_results"))
    ward.now = at(FIRST + timedelta(days=24))
    receipts = ward.run("quality_results").receipts
    assert [(receipt.day, receipt.rows) for receipt in receipts] == [(day, 1) for day in days(FIRST, 4)]
    assert sorted(ward.rows("quality_results")["day"].to_pylist()) == days(FIRST + timedelta(days=4), 21)
    ward.doer().undo(receipts[0].receipt, "test", "asked for again")
    assert digest(ward.rows("quality_results")) == before


def test_keys_of_rejects_go_with_their_days_also_in_an_idle_table(ward: MadeLake) -> None:
    ward.reject(days(FIRST, 2))
    keys = VaultOfDays(ward.settings.home / "keys", *days(FIRST, 3))
    ward.now = at(FIRST + timedelta(days=12))
    receipts = ward.run("rejects", vault=keys).receipts
    assert [(each.act, each.day) for each in receipts] == [
        (REMOVED, FIRST),
        (REMOVED, FIRST + timedelta(days=1)),
        (KEY_DESTROYED, FIRST),
        (KEY_DESTROYED, FIRST + timedelta(days=1)),
    ]
    assert keys.reject_key_days() == [FIRST + timedelta(days=2)]
    assert ward.rows("rejects").num_rows == 0


def test_a_held_day_of_rejects_keeps_its_rows_and_its_key(ward: MadeLake) -> None:
    ward.reject(days(FIRST, 2))
    ward.hold("rejects", FIRST, FIRST)
    keys = VaultOfDays(ward.settings.home / "keys", *days(FIRST, 2))
    ward.now = at(FIRST + timedelta(days=30))
    ward.run("rejects", vault=keys)
    assert keys.reject_key_days() == [FIRST]
    assert ward.days("rejects") == [FIRST]


def test_a_hold_placed_after_the_plan_is_found_by_the_doer(ward: MadeLake) -> None:
    plan = ward.plan("vitals")
    ward.hold("vitals", FIRST, FIRST)
    outcome = ward.doer().apply(plan)
    assert [(refused.day, refused.kind) for refused in outcome.refused] == [(FIRST, REMOVE)]
    assert FIRST in ward.days()


def test_a_hold_placed_while_a_day_leaves_brings_it_back(ward: MadeLake) -> None:
    def late(step: str) -> None:
        if step == "done" and not placed:
            placed.append(ward.hold("vitals", FIRST, FIRST))

    placed: list[None] = []
    before = digest(ward.rows())
    outcome = ward.doer(progress=late).apply(ward.plan("vitals"), (REMOVE,))
    assert [receipt.act for receipt in outcome.receipts] == [REMOVED, RESTORED]
    assert digest(ward.rows()) == before


def test_files_that_were_rewritten_since_the_plan_are_planned_anew(ward: MadeLake) -> None:
    plan = ward.plan("vitals")
    (old,) = [live for live in ward.files() if live.day == min(file.day for file in ward.files())]
    table = ward.table()
    rows = table.scan("event_time < '2021-11-23T00:00:00+00:00'").to_arrow()
    ward.fenced("vitals").replace_files([old], stage(table, rows, table.io), {})
    outcome = ward.doer().apply(plan, (REMOVE,))
    assert [refused.day for refused in outcome.refused] == [FIRST]
    assert ward.rows().num_rows == 36
    assert [receipt.act for receipt in ward.run("vitals", kinds=(REMOVE,)).receipts] == [REMOVED]


def test_a_sealed_reject_never_opens_again_once_its_day_is_gone(ward: MadeLake) -> None:
    vault = open_vault(ward.settings.vault_uri, lambda: 0.0)
    message = RejectedMessage(b"k", b"who knows")
    (sealed,) = seal_rejects(vault, "device.vitals", [message], [None], [FIRST])
    assert unseal_reject(vault, "device.vitals", sealed.payload, sealed.under, None) == message
    ward.reject([FIRST])
    ward.now = at(FIRST + timedelta(days=11))
    ward.run("rejects", vault=vault)
    with pytest.raises(SealError):
        unseal_reject(vault, "device.vitals", sealed.payload, sealed.under, None)
    again = open_vault(ward.settings.vault_uri, lambda: 0.0)
    assert (again.reject_key(FIRST), again.reject_key_days()) == (None, [])
    again.close()
    vault.close()


def test_who_comes_later_than_an_hour_after_its_record_gives_the_act_up(ward: MadeLake) -> None:
    def paused(step: str) -> None:
        if step == "recorded":
            ward.now += timedelta(hours=2)

    snapshot = ward.table().current_snapshot().snapshot_id
    plan = ward.plan("vitals")
    outcome = ward.doer(progress=paused).apply(replace(plan, actions=plan.actions[:1]))
    assert ["given up" in each.reason for each in outcome.refused] == [True]
    assert ward.table().current_snapshot().snapshot_id == snapshot
    assert [each.act for each in ward.doer().settle(["vitals"])] == [ABANDONED]
    with pytest.raises(UndoError, match="changed nothing"):
        ward.doer().undo("r1", "test", "asked for again")


def test_a_removal_whose_snapshot_is_expired_is_told_by_where_its_rows_are(ward: MadeLake) -> None:
    class StoppedError(BaseException):
        """As a kill."""

    def stop(step: str) -> None:
        if step == "done":
            raise StoppedError

    with pytest.raises(StoppedError):
        ward.doer(progress=stop).apply(ward.plan("vitals"), (REMOVE,))
    ward.ingest([FIRST + timedelta(days=11)])
    head = ward.table().metadata.current_snapshot_id
    ward.fenced("vitals").expire([each.snapshot_id for each in ward.table().snapshots() if each.snapshot_id != head])
    ward.ingest([FIRST])
    assert [(each.act, each.day) for each in ward.doer().settle(["vitals"])] == [(REMOVED, FIRST)]


def test_files_that_somebody_rewrote_before_a_removal_are_told_as_abandoned(ward: MadeLake) -> None:
    class StoppedError(BaseException):
        """As a kill."""

    def stop(step: str) -> None:
        if step == "recorded":
            raise StoppedError

    with pytest.raises(StoppedError):
        ward.doer(progress=stop).apply(ward.plan("vitals"), (REMOVE,))
    old = min(ward.files(), key=lambda live: live.day or 0)
    table = ward.table()
    rows = table.scan("event_time < '2021-11-23T00:00:00+00:00'").to_arrow()
    ward.fenced("vitals").replace_files([old], stage(table, rows, table.io), {})
    ward.now += timedelta(hours=2)
    assert [each.act for each in ward.doer().settle(["vitals"])] == [ABANDONED]
    assert ward.rows().num_rows == 36
