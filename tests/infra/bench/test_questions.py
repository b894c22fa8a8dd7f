"""P4 on a few rows, and its judgement on cases worked out by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from infra.bench.bedside import Size, fill
from infra.bench.check import CheckFailedError
from infra.bench.questions import QUESTIONS, Cost, _direct, _ours, _rounds, difference, slower_than_allowed
from infra.bench.report import Spread
from tests.warehouse.test_analytics import lake
from warehouse.analytics import Analytics, StatementFailed
from warehouse.lake_session import DoesNotFit
from warehouse.named_queries import NamedQuery, named_queries
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def settings(store: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = lake(store, tmp_path_factory.mktemp("p4"))
    fill(settings, Size(rows=1_000, files=4), seed=1)
    return settings


def test_twenty_kept_questions_are_asked():
    assert len(set(QUESTIONS)) == 20
    assert set(QUESTIONS) <= named_queries().keys()


def test_the_lake_has_the_rows_and_files_it_was_told(settings: Settings):
    with Analytics(settings) as analytics, _direct(settings) as (_, files):
        told = analytics.query("SELECT count(*) AS n, count(DISTINCT event_id) AS events FROM vitals").table
    assert told.to_pylist() == [{"n": 1_000, "events": 1_000}]
    assert files == 4


def test_both_readings_answer_alike(settings: Settings):
    with _ours(settings) as ours, _direct(settings) as (direct, _):
        times = _rounds(ours, direct, 1, lambda line: None, ("labs_latest", "vitals_latest"))
        assert direct(named_queries()["labs_latest"]).num_rows > 0
    assert all(cost.wall.least > 0 and cost.cpu.least > 0 for pair in times.values() for cost in pair)


def test_another_answer_is_an_error_and_no_figure(settings: Settings):
    with _ours(settings) as ours, pytest.raises(CheckFailedError, match="vitals_latest differ"):
        _rounds(ours, lambda query: ours(query).slice(1), 1, lambda line: None, ("vitals_latest",))


def test_a_question_that_does_not_fit_read_directly_is_left_out_and_one_that_fails_by_ours_alone_is_not(
    settings: Settings,
):
    def failing(query: NamedQuery) -> pa.Table:
        raise StatementFailed("it needs more memory than a session has")

    told: list[str] = []
    with _ours(settings) as ours, _direct(settings) as (direct, _):

        def tight(query: NamedQuery) -> pa.Table:
            if query.name == "labs_latest":
                raise DoesNotFit("more memory than a session has")
            return direct(query)

        times = _rounds(ours, tight, 2, told.append, ("labs_latest", "vitals_latest"))
        assert list(times) == ["vitals_latest"]
        assert "labs_latest: does not fit" in told
        with pytest.raises(StatementFailed):
            _rounds(failing, direct, 1, told.append, ("vitals_latest",))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"k": ["b", "a"], "x": [2.0, 1.0]}, ""),
        ({"k": ["a", "b"], "x": [1.0 + 1e-12, 2.0]}, ""),
        ({"k": ["a", "b"], "x": [1.001, 2.0]}, "column x"),
        ({"k": ["a", "a"], "x": [1.0, 2.0]}, "column k"),
        ({"k": ["a"], "x": [1.0]}, "2 and 1 rows"),
        ({"k": ["a", "b"], "y": [1.0, 2.0]}, "columns"),
    ],
)
def test_answers_are_alike_in_any_order_of_rows_and_down_to_rounding(other: dict, told: str):
    assert difference(pa.table({"k": ["a", "b"], "x": [1.0, 2.0]}), pa.table(other)) == told


def cost(wall: float) -> Cost:
    return Cost(Spread.of([wall]), Spread.of([wall]))


def test_a_question_is_too_slow_where_the_direct_reading_is_quick():
    spreads = {"slow": (2.5, 0.9), "both": (2.5, 1.1), "quick": (1.9, 0.1)}
    times = {name: (cost(ours), cost(direct)) for name, (ours, direct) in spreads.items()}
    assert slower_than_allowed(times) == ["slow"]
