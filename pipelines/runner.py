"""The embedded runner: Beam's own in-process runner, made to stream.

Holds: one subclass of `FnApiRunner`, and every use of Beam's private interface that the product makes.
Does not hold: anything of our graph. `tests/pipelines/test_runner.py` is the contract with Beam 2.77.

The stock runner is made for bounded tests: it ignores the delay a splittable DoFn asks for, keeps the metrics of
every bundle for ever, and cannot be stopped. This one honours the delay, keeps nothing, and stops between bundles.
It runs one bundle at a time in the caller's thread, with one worker; timers are refused (our graph has none).
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Any

from apache_beam.runners import runner as beam_runner
from apache_beam.runners.portability.fn_api_runner import execution, fn_runner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandlerManager

_LONGEST_WAIT_S = 0.05


class EmbeddedRunner(fn_runner.FnApiRunner):
    """Runs an unbounded pipeline in this process until its sources end or `stop` is set.

    An exception in a step ends the run and is raised by `Pipeline.run()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.bundles = 0
        self._residuals: list[tuple[float, int, str, str, bytes, Any]] = []
        self._order = itertools.count()

    def run_stages(self, stage_context, stages):
        workers = WorkerHandlerManager(stage_context.components.environments, self._provision_info)
        context = execution.FnApiRunnerExecutionContext(
            stages,
            workers,
            stage_context.components,
            stage_context.safe_coders,
            stage_context.data_channel_coders,
            self._num_workers,
            split_managers=[],
        )
        _refuse_timers(stages)
        try:
            context.setup()
            while not self.stop.is_set() and self._run_next_bundle(context):
                pass
        finally:
            workers.close_all()
        return fn_runner.RunnerResult(beam_runner.PipelineState.DONE, {})

    def _run_next_bundle(self, context) -> bool:
        """Run one bundle, or wait a little for one. False when nothing is left that could ever run."""
        ready = context.queues.ready_inputs
        if not len(ready):
            self._schedule_ready_bundles(context)
        self._resume_due_residuals(ready)
        if not len(ready):
            return self._wait_for_residual()
        stage_name, bundle_input = ready.deque()
        manager = context.bundle_manager_for(context.stages[stage_name])
        self._execute_bundle(context, manager, bundle_input)
        self.bundles += 1
        return True

    def _resume_due_residuals(self, ready) -> None:
        now = time.monotonic()
        while self._residuals and self._residuals[0][0] <= now:
            _, _, stage_name, input_name, element, coder = heapq.heappop(self._residuals)
            buffer: Any = execution.ListBuffer(coder_impl=coder)
            buffer.append(element)
            ready.enque((stage_name, fn_runner.DataInput({input_name: buffer}, {})))

    def _wait_for_residual(self) -> bool:
        if not self._residuals:
            return False
        self.stop.wait(min(_LONGEST_WAIT_S, max(0.0, self._residuals[0][0] - time.monotonic())))
        return True

    def _add_sdk_delayed_applications_to_deferred_inputs(self, bundle_context_manager, bundle_result, deferred_inputs):
        """Keep what a splittable DoFn deferred until its delay is over; the stock runner resumes at once."""
        now = time.monotonic()
        for delayed in bundle_result.process_bundle.residual_roots:
            application = delayed.application
            name = bundle_context_manager.input_for(application.transform_id, application.input_id)
            delay = delayed.requested_time_delay.seconds + delayed.requested_time_delay.nanos / 1e9
            residual = (
                now + delay,
                next(self._order),
                bundle_context_manager.stage.name,
                name,
                application.element,
                bundle_context_manager.get_input_coder_impl(name),
            )
            heapq.heappush(self._residuals, residual)
        return set()


def _refuse_timers(stages) -> None:
    with_timers = [stage.name for stage in stages if stage.timers]
    if with_timers:
        raise NotImplementedError(f"the embedded runner has no timers; found in {with_timers}")
