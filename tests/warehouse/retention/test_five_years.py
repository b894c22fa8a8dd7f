"""Five years of made data in a real lake, under the house's own classes, with a clock moved by argument."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

from tests.warehouse.fenced import TOPIC
from tests.warehouse.retention.made import FIRST, MadeLake, VaultOfDays, at, cold, days, digest
from warehouse.contract import load_contracts
from warehouse.retention.purge import LONGEST_QUERY, purge
from warehouse.retention.receipts import COOLED, KEY_DESTROYED, REMOVED
from warehouse.retention.undo import held_paths
from warehouse.settings import Settings
from warehouse.snapshots import vector_of

STEP = 30
"""A day with rows in thirty: what counts is the span, not the number of files."""

DATA = ("vitals", "vitals_by_hour", "rejects", "quality_results")
YEAR = timedelta(days=365)


def test_five_years_and_the_years_after_under_the_classes_of_the_house(folder_lake: Settings) -> None:
    made = MadeLake(cold(folder_lake), load_contracts().retention_classes)
    keys = VaultOfDays(made.settings.home / "keys", FIRST)
    born, key_days = Counter[str](), {FIRST}
    for year in range(5):
        on = days(FIRST + year * YEAR, 365 // STEP, STEP)
        made.ingest(on)
        made.derive(on[::3], rows=1)
        made.reject(on)
        made.judge(on)
        born += Counter({"vitals": 3 * len(on), "vitals_by_hour": len(on[::3]), "rejects": len(on)})
        born += Counter({"quality_results": len(on)})
        key_days |= set(on)
        keys._write([*keys.reject_key_days(), *on])
        made.now = at(FIRST + (year + 1) * YEAR)
        outcome = made.run(*DATA, vault=keys)
        assert outcome.refused == ()
        _judge(made, born, keys, key_days)

    # The record of a patient is whole after five years, and most of it lies cold.
    assert made.rows("vitals").num_rows == born["vitals"]
    warm = [live for state in made.states("vitals") for live in state.files if state.is_warm(live)]
    assert len(warm) <= 110 // STEP + 1

    # A clock that runs on takes nothing more out of tables that got no row, but for rejects.
    before = {name: digest(made.rows(name)) for name in DATA}
    made.now = at(FIRST + 60 * YEAR)
    made.run(*DATA, vault=keys)
    assert {name: digest(made.rows(name)) for name in DATA if name != "rejects"} == {
        name: each for name, each in before.items() if name != "rejects"
    }
    assert made.rows("rejects").num_rows == 0

    # Ten years on the ward still sends: now the first of it goes, and comes back within the window.
    made.ingest([FIRST + 11 * YEAR])
    made.now = at(FIRST + 11 * YEAR)
    whole = digest(made.rows("vitals"))
    removed = [each for each in made.run("vitals").receipts if each.act == REMOVED]
    assert {each.day for each in removed} == {day for day in key_days if day + timedelta(days=3653) < FIRST + 11 * YEAR}
    for receipt in sorted({each.receipt for each in removed}):
        made.doer().undo(receipt, "test", "asked for again")
    assert digest(made.rows("vitals")) == whole
    assert vector_of(made.table().metadata) == {TOPIC: {0: made.offset}}


def _judge(made: MadeLake, born: Counter[str], keys: VaultOfDays, key_days: set[date]) -> None:
    """Each row is in its table or told as removed; no day is past its time, none left before it."""
    receipts = made.doer().book.read()
    gone = Counter[str]()
    for each in receipts:
        limit = {REMOVED: "gone_after_days", COOLED: "cold_after_days"}.get(each.act)
        if limit:
            age = getattr(made.contracts.retention_classes[each.retention_class], limit)
            assert at(each.day).replace(hour=0) + timedelta(days=age + 1) <= each.acted_at, each
        gone[each.table_name] += each.rows if each.act == REMOVED else 0
    assert {name: made.rows(name).num_rows + gone[name] for name in DATA} == dict(born)
    assert len({each.key for each in receipts}) == len(receipts)
    assert made.plan(*DATA, key_days=keys.reject_key_days()).actions == ()
    destroyed = {each.day for each in receipts if each.act == KEY_DESTROYED}
    assert set(keys.reject_key_days()) == key_days - destroyed
    over = made.now.date() - timedelta(days=31)
    assert destroyed == {day for day in key_days if day <= over}


def test_cold_objects_of_a_day_that_left_go_after_the_window_and_no_sooner(folder_lake: Settings) -> None:
    made = MadeLake(cold(folder_lake))
    made.ingest(days(FIRST, 9))
    made.now = at(FIRST + timedelta(days=8))
    made.run("vitals")
    lying = {live.file.file_path for live in made.files() if not made.states("vitals")[0].is_warm(live)}
    assert len(lying) == 5
    made.ingest([FIRST + timedelta(days=12)])
    made.now = at(FIRST + timedelta(days=12))
    (removal,) = {each.receipt for each in made.run("vitals").receipts if each.act == REMOVED}
    identifier = (made.settings.namespace, "vitals")

    made.now += timedelta(days=5)
    purge(made.catalog, identifier, made.doer().book, made.now)
    assert all(Path(path.removeprefix("file://")).exists() for path in lying)

    # The window is over, and old snapshots still name the objects: they stay until upkeep has expired these.
    made.now += LONGEST_QUERY
    purge(made.catalog, identifier, made.doer().book, made.now)
    assert all(Path(path.removeprefix("file://")).exists() for path in lying)
    head = made.table().metadata.current_snapshot_id
    made.fenced("vitals").expire([each.snapshot_id for each in made.table().snapshots() if each.snapshot_id != head])
    before = digest(made.rows())
    deleted = purge(made.catalog, identifier, made.doer().book, made.now)
    gone = {path for path in lying if not Path(path.removeprefix("file://")).exists()}
    assert gone
    assert gone <= set(deleted)
    assert any(removal in path for path in deleted)
    assert gone == lying - {live.file.file_path for live in made.files()}
    assert digest(made.rows()) == before
    assert not any(path in held_paths(made.table(), made.now) for path in deleted)
