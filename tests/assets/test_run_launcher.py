"""A run whose process is gone is known to be; asked of a real code server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.utils import make_new_run_id
from dagster._grpc.types import CanCancelExecutionResult
from dagster._serdes import serialize_value

from infra.services.dagster import DagsterServices
from infra.services.ports import LOOPBACK, port
from infra.services.processes import Child

NOTHING = "import dagster\ndefinitions = dagster.Definitions()\n"


@pytest.fixture
def services(tmp_path: Path, free_port_base: Callable[[], int]) -> DagsterServices:
    made = DagsterServices(tmp_path / "dagster", tmp_path, free_port_base(), "nothing")
    made.write_home()
    (made.home / "nothing.py").write_text(NOTHING)
    return made


@pytest.fixture
def server(services: DagsterServices) -> Iterator[Child]:
    child = Child.start(services.code_server({}))
    try:
        child.wait_ready()
        yield child
    finally:
        child.kill()


@pytest.fixture
def instance(services: DagsterServices) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(services.home)) as made:
        yield made


def started(instance: dg.DagsterInstance, services: DagsterServices | None) -> dg.DagsterRun:
    """A run that stands as started: by the code server of these services, or by somebody's command."""
    by = {"host": LOOPBACK, "port": port(services.port_base, "dagster_code")} if services else None
    tags = {GRPC_INFO_TAG: json.dumps(by)} if by else {}
    run = dg.DagsterRun(job_name="x", run_id=make_new_run_id(), tags=tags, status=dg.DagsterRunStatus.STARTED)
    return instance.add_run(run)


def test_the_home_asks_of_started_runs(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_launcher.supports_check_run_worker_health


def test_a_run_that_its_server_does_not_execute_has_failed(
    instance: dg.DagsterInstance, services: DagsterServices, server: Child
) -> None:
    found = instance.run_launcher.check_run_worker_health(started(instance, services))
    assert found.status == WorkerStatus.FAILED
    assert "process is gone" in str(found.msg)


def test_a_run_that_its_server_executes_goes_on(
    instance: dg.DagsterInstance, services: DagsterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(*asked: object, **how: object) -> str:
        return serialize_value(CanCancelExecutionResult(can_cancel=True))

    monkeypatch.setattr("dagster._grpc.client.DagsterGrpcClient.can_cancel_execution", says)
    found = instance.run_launcher.check_run_worker_health(started(instance, services))
    assert found.status == WorkerStatus.RUNNING


def test_where_nobody_can_say_a_run_goes_on(instance: dg.DagsterInstance, services: DagsterServices) -> None:
    for run in (started(instance, None), started(instance, services)):
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
