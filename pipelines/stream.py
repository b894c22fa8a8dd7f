"""The one graph, and the long-lived process that runs it.

Holds: the graph, as a picture of the data's way, and start, status, drain and exit codes of the process.
Does not hold: any step (steps.py) or state (state.py). The step labels are fixed: runners hang state on them.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
import time

from pipelines.lean_beam import hide_data_frames  # before anything of Beam

if __name__ == "__main__":
    hide_data_frames()  # only where the stream is the whole process: others may want them

# isort: split
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.outages import NO_MESSAGES_FAULT, told
from pipelines.runner import EmbeddedRunner
from pipelines.source import Shard, SourceError
from pipelines.state import ProcessState, process_state
from pipelines.steps import Apply, DecideAndSendAlerts, Element, HandToLake, ReadPartitions
from warehouse.settings import SettingError, Settings
from warehouse.whole_file import write_whole

_LOG = logging.getLogger(__name__)

EXIT_DRAINED, EXIT_FAILED, EXIT_SETTINGS, EXIT_POSITIONS = 0, 1, 2, 3
"""3: positions or keys do not fit (loss, gap, missing vector, another vault): starting again does not help, a person
has to decide."""
DRAIN_S = 50.0


def build(pipeline: beam.Pipeline, settings: Settings, shards: list[Shard]) -> None:
    """The graph. Nothing shuffles after the source: a shard's batches stay in order and in one process."""
    batches = pipeline | "Shards" >> beam.Create(shards)
    if len(shards) > 1 and settings.runner != "embedded":
        batches = batches | "Spread shards" >> beam.Reshuffle()
    batches = (
        batches
        | "Read partitions" >> _step(ReadPartitions(settings))
        | "Pseudonymise key" >> _step(Apply(settings, "pseudonymise"))
        | "Decode" >> _step(Apply(settings, "decode"))
        | "Normalise" >> _step(Apply(settings, "normalise"))
        | "Validate" >> _step(Apply(settings, "validate"))
        | "Deduplicate" >> _step(Apply(settings, "deduplicate"))
    )
    if settings.branches in ("alerts", "all"):
        batches = batches | "Decide and send alerts" >> _step(DecideAndSendAlerts(settings))
    if settings.branches in ("lake", "all"):
        batches | "Hand to lake" >> beam.ParDo(HandToLake(settings))


def _step(step: beam.DoFn) -> beam.ParDo:
    """With its type, so that Beam takes our coder."""
    return beam.ParDo(step).with_output_types(Element)


def run(settings: Settings, shards: list[Shard]) -> None:
    """Run the graph until its sources end (drain, or `Shard.until`). Raises what ended it otherwise."""
    if settings.runner == "embedded":
        pipeline = beam.Pipeline(runner=EmbeddedRunner())
        build(pipeline, settings, shards)
        pipeline.run()
        return
    arguments = [
        "--runner=PortableRunner",
        f"--job_endpoint={settings.prism_endpoint}",
        "--environment_type=LOOPBACK",
        "--streaming",
    ]
    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    build(pipeline, settings, shards)
    pipeline.run().wait_until_finish()


class StatusFile:
    """Writes the process's state to `run/stream.json` each second, whole or not at all."""

    def __init__(self, settings: Settings, state: ProcessState) -> None:
        self._path = settings.home / "run" / "stream.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._state = state
        self._thread = threading.Thread(target=self._keep_writing, name="status", daemon=True)
        self._thread.start()

    def _keep_writing(self) -> None:
        while True:
            self.write()
            time.sleep(1.0)

    def write(self) -> None:
        """Once, now. Never raises: the stream, and the code it ends with, matter more than its report."""
        try:
            status = {"pid": os.getpid(), "at": time.time(), **self._state.status()}
            write_whole(self._path, json.dumps(status))
        except Exception as error:  # a full disk, say
            _LOG.warning("the status could not be written: %s", type(error).__name__)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.stream", description=__doc__)
    parser.add_argument("--until-end", action="store_true", help="end when what the topics hold now has been read")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    for chatty in ("apache_beam", "pyiceberg"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Thousands of messages live at a time: with its usual thresholds the collector would hardly ever rest. What has
    # been imported lives as long as the process, so it need not be looked through each time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # Committers and the lake's catch-up share the interpreter with the alerts: let them hand it over sooner.
    sys.setswitchinterval(0.001)
    try:
        settings = Settings.from_environment()
    except SettingError as error:
        print(error, file=sys.stderr)
        return EXIT_SETTINGS
    return _serve(settings, until_end=options.until_end)


def _serve(settings: Settings, until_end: bool) -> int:
    state = process_state(settings)
    signal.signal(signal.SIGTERM, lambda *_: state.drain())
    signal.signal(signal.SIGINT, lambda *_: state.drain())
    status = StatusFile(settings, state)
    try:
        run(settings, state.plan_shards(until_end))
        drained = state.close(DRAIN_S)
        return EXIT_DRAINED if drained else EXIT_FAILED
    except Exception as error:
        # Beam hands on only the text of what a step raised; the state kept the exception itself.
        cause = state.failure or error
        state.failed(cause)
        _LOG.error("the stream ends: %s", told(cause))
        if isinstance(cause, SourceError):
            state.keep_what_was_read(DRAIN_S)
        return EXIT_POSITIONS if isinstance(cause, NO_MESSAGES_FAULT) else EXIT_FAILED
    finally:
        status.write()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Threads of librdkafka and Beam must not hold a finished process back.
    os._exit(code)
