"""Broken builds of the committer, on a real store and catalog: what the library's retries, a hasty clean-up and upkeep
without a vector do to a table, and that it is seen. With the product the same steps leave nothing lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.broken_builds import builds
from tests.crash.committer import source
from tests.crash.committer.verdict import Verdict, judge
from tests.oracle.checks import check
from tests.oracle.history import History
from tests.oracle.lake import LakePlace, read_lake
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable, StoreUnavailableError, VectorMissingError
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings

pytestmark = pytest.mark.crash

INTERVAL = Interval(source.TOPIC, 0, 0, 60)
NEXT = Interval(source.TOPIC, 0, 60, 90)


def table_of(settings: Settings) -> tuple[str, str]:
    """`vitals`, made and told where its reading starts."""
    catalog = open_catalog(settings)
    create_table(catalog, settings.namespace, load_contracts().table("vitals"), table_lock(settings))
    identifier = (settings.namespace, "vitals")
    FencedTable(catalog, identifier, writer="test").establish(source.TOPIC, {0: 0})
    return identifier


def commit(table: FencedTable, interval: Interval) -> None:
    table.commit(source.rows(interval.partition, interval.start, interval.end), [interval])


def verdict_on(settings: Settings) -> Verdict:
    """What the committer harness says of the table, by pyiceberg's own reader."""
    store = {name: value for name, value in place_of(settings).properties().items() if name.startswith("s3.")}
    return judge(settings.catalog_uri, store, (settings.namespace, "vitals"), [])


def place_of(settings: Settings) -> LakePlace:
    s = settings
    return LakePlace(s.catalog_uri, s.namespace, s.s3_endpoint, s.s3_access_key, s.s3_secret_key, s.s3_region)


def just_before(catalog: Any, happens: Callable[[], None]) -> None:
    """Let something happen just before this catalog is first asked for a commit."""
    ask = catalog.commit_table

    def commit_table(*request: Any) -> Any:
        catalog.commit_table = ask
        happens()
        return ask(*request)

    catalog.commit_table = commit_table


@pytest.mark.parametrize("broken", [False, True], ids=["the product", "library retries on"])
def test_a_writer_that_is_overtaken_by_its_twin(settings, monkeypatch, broken):
    identifier, catalog = table_of(settings), open_catalog(settings)
    if broken:
        builds.library_retries_on(monkeypatch.setattr)
    twin = FencedTable(open_catalog(settings), identifier, writer="twin")
    just_before(catalog, lambda: commit(twin, INTERVAL))
    commit(FencedTable(catalog, identifier, writer="test"), INTERVAL)
    verdict = verdict_on(settings)
    rows = len(source.offsets_with_rows(0, 60))
    assert (verdict.doubled, verdict.clean) == ((rows, False) if broken else (0, True))


@pytest.mark.parametrize("broken", [False, True], ids=["the product", "files deleted after an unknown outcome"])
def test_a_commit_whose_answer_is_lost(settings, monkeypatch, broken):
    identifier = table_of(settings)
    builds.an_answer_is_lost(monkeypatch.setattr)
    if broken:
        builds.files_deleted_after_an_unknown_outcome(monkeypatch.setattr)
    table = FencedTable(open_catalog(settings), identifier, writer="test", patience_seconds=0.2)
    if not broken:
        commit(table, INTERVAL)
        assert verdict_on(settings).clean
        return
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        commit(table, INTERVAL)
    with pytest.raises(FileNotFoundError):
        verdict_on(settings)
    (finding,) = check(History({}, read_lake(place_of(settings), ["vitals"])))
    assert finding.heading == "lost"
    assert "cannot be read" in finding.what


@pytest.mark.parametrize("carrying", [True, False], ids=["with its vector", "vector not carried"])
def test_a_table_that_upkeep_has_rewritten(settings, carrying):
    identifier = table_of(settings)
    table = FencedTable(open_catalog(settings), identifier, writer="test")
    commit(table, INTERVAL)
    builds.compact_with_pyiceberg(settings, carrying)
    restarted = FencedTable(open_catalog(settings), identifier, writer="test")
    if carrying:
        commit(table, INTERVAL)
        commit(restarted, NEXT)
        assert verdict_on(settings).clean
        return
    for writer in (table, restarted):
        with pytest.raises(VectorMissingError):
            commit(writer, NEXT)
    with pytest.raises(VectorMissingError):
        restarted.establish(source.TOPIC, {0: 0})
    assert read_lake(place_of(settings), ["vitals"])["vitals"].vector == {}
