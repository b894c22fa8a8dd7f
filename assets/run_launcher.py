"""Runs that died with the process above them, told from those that go on.

Holds: whether a run still lives, asked of the code server that launched it. Dagster's daemon asks each started run's
launcher so (`run_monitoring`), and Dagster's own launcher cannot say. Without this a run that was killed would count
for ever among those that may run at once, and keep every other in the queue, erasures among them.
Does not hold: launching and ending runs (Dagster).
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

_GONE = "its process is gone: killed, or the parts were stopped while it ran"


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs as Dagster's own does, and knows which of them still live."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """`FAILED` where the code server that was asked to execute the run does not. Of a run that a command executes
        in its own process nobody can say, and a server that does not answer may do so later: both count as running."""
        server = self._get_grpc_client_for_termination(run.run_id)
        if server is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = server.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        lives = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        return CheckRunHealthResult(WorkerStatus.RUNNING if lives else WorkerStatus.FAILED, None if lives else _GONE)
