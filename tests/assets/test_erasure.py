"""Dagster leads requests to their end, a partition each, and says loudly what erasure does not reach."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from assets.erasure import (
    KEY,
    PAGE,
    REQUESTS,
    VAULT,
    ErasureError,
    Together,
    coverage_check,
    erasure_asset,
    erasure_sensor,
    page_asset,
    vault_asset,
)


def request(name: str, state: str) -> dict[str, Any]:
    return {
        "request": name,
        "state": state,
        "scope": "all",
        "requested_at": "2026-11-22T01:00:00+00:00",
        "due_in_days": 30,
        "reason": "a stay of theirs has not ended",
    }


class Asked:
    """`wardstream erase` with answers of ours."""

    def __init__(self, *requests: dict[str, Any], complete: bool = True) -> None:
        self.requests, self.complete, self.calls = list(requests), complete, []

    def __call__(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self.calls.append(arguments)
        if arguments[0] == "coverage":
            uncovered = [] if self.complete else [{"place": "table:new", "why": "column subject_token"}]
            return 0, {"complete": self.complete, "covered": [{}], "uncovered": uncovered}
        if arguments[0] == "run":
            led = [request(name, "certified") for name in arguments[1:]]
            return 0, {"requests": led, "page": "/home/erasure/index.html"}
        if arguments[0] == "rotate":
            return 0, {"begun": True, "destroyed": 2, "next": None}
        if arguments[0] == "page":
            return 0, {"page": "/home/erasure/index.html"}
        return 0, {"requests": self.requests}


def evaluated(asked: Asked, instance: dg.DagsterInstance) -> Any:
    defs = dg.Definitions(assets=[erasure_asset(asked), page_asset(asked), vault_asset(asked)])
    context = dg.build_sensor_context(instance=instance, definitions=defs)
    return erasure_sensor(asked)(context)


def test_requests_that_can_go_on_get_one_run_and_those_kept_back_another_once_an_hour() -> None:
    asked = Asked(request("e-1", "verified"), request("e-2", "received"), request("e-3", "certified"))
    asked.requests += [request("e-4", "restricted"), request("e-5", "shredded")]
    with dg.DagsterInstance.ephemeral() as instance:
        result = evaluated(asked, instance)
        assert [each.partition_key for each in result.run_requests] == ["e-1", "e-4", None, None]
        assert [each.asset_selection for each in result.run_requests] == [[KEY], [KEY], [PAGE], [VAULT]]
        beside = [each.run_config["ops"]["erasure__request"]["config"]["beside"] for each in result.run_requests[:2]]
        assert beside == [["e-5"], []]
        assert result.dynamic_partitions_requests[0].partition_keys == ["e-1", "e-4", "e-5"]
        instance.add_dynamic_partitions(REQUESTS.name or "", ["e-1", "e-4", "e-5"])
        again = evaluated(asked, instance)
        assert not again.dynamic_partitions_requests
        assert [each.run_key for each in again.run_requests] == [each.run_key for each in result.run_requests]
        asked.requests[0]["state"] = "deleted"
        later = evaluated(asked, instance)
        assert later.run_requests[0].run_key != again.run_requests[0].run_key
        assert later.run_requests[1].run_key == again.run_requests[1].run_key
    assert asked.calls[0] == ("status", "--intake")


def test_a_thousand_requests_are_one_run_in_which_each_becomes_a_partition_of_its_own() -> None:
    names = [f"e-{n}" for n in range(1_000)]
    asked = Asked(*(request(name, "verified") for name in names))
    with dg.DagsterInstance.ephemeral() as instance:
        run, *_ = evaluated(asked, instance).run_requests
        instance.add_dynamic_partitions(REQUESTS.name or "", names)
        result = dg.materialize(
            [erasure_asset(asked)], instance=instance, partition_key=run.partition_key, run_config=run.run_config
        )
        assert set(instance.get_materialized_partitions(KEY)) == set(names)
    assert result.success
    assert asked.calls[-1] == ("run", *names)


def test_a_run_leads_its_request_and_shows_states_and_no_more() -> None:
    asked = Asked()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(REQUESTS.name or "", ["e-1"])
        result = dg.materialize([erasure_asset(asked)], instance=instance, partition_key="e-1")
    (event,) = result.get_asset_materialization_events()
    shown = {name: each.value for name, each in event.materialization.metadata.items()}
    assert (shown["state"], shown["page"]) == ("certified", "/home/erasure/index.html")
    assert asked.calls == [("run", "e-1")]


def test_a_request_that_stops_the_run_leaves_those_that_ended_materialized() -> None:
    class Stopped(Asked):
        def __call__(self, *arguments: str) -> tuple[int, dict[str, Any]]:
            if arguments[0] == "run":
                raise ErasureError("a tag keeps it")
            return super().__call__(*arguments)

    asked = Stopped(request("e-1", "models"), request("e-2", "certified"), request("e-9", "certified"))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(REQUESTS.name or "", ["e-1", "e-2"])
        config = dg.RunConfig(ops={KEY.to_python_identifier(): Together(beside=["e-2"])})
        result = dg.materialize(
            [erasure_asset(asked)], instance=instance, partition_key="e-1", run_config=config, raise_on_error=False
        )
        assert not result.success
        assert set(instance.get_materialized_partitions(KEY)) == {"e-2"}


def test_the_page_is_made_by_the_command_and_linked() -> None:
    asked = Asked()
    result = dg.materialize([page_asset(asked)])
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["page"].value == "/home/erasure/index.html"
    assert asked.calls == [("page",)]


def test_the_vault_turns_its_outer_key_by_the_command() -> None:
    asked = Asked()
    result = dg.materialize([vault_asset(asked)])
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["destroyed"].value == 2
    assert asked.calls == [("rotate",)]


def test_the_page_is_asked_for_though_no_request_is_open() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = evaluated(Asked(request("e-3", "certified")), instance)
    assert [each.asset_selection for each in result.run_requests] == [[PAGE], [VAULT]]


@pytest.mark.parametrize("complete", [True, False])
def test_what_erasure_does_not_reach_fails_the_check(complete: bool) -> None:
    asked = Asked(complete=complete)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(REQUESTS.name or "", ["e-1"])
        defs = dg.Definitions(assets=[erasure_asset(asked)], asset_checks=[coverage_check(asked)])
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, partition_key="e-1")
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.asset_key) == (complete, KEY)


def test_a_lake_that_is_away_is_a_reason_and_no_failure() -> None:
    def away(*arguments: str) -> tuple[int, dict[str, Any]]:
        raise ErasureError("nothing is up")

    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        assert "nothing is up" in str(erasure_sensor(away)(context).skip_reason)
