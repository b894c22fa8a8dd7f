"""P3: how long an alert takes, append to append, before, while and after the object store stands still.

Holds: the run, its three phases and the arithmetic. Does not hold: the ward (`ward`) or the watching (`watch`).

Append to append: from the broker's append time of the triggering reading to that of the alert. Beside it, from the
sending of the reading to the moment a reader has the alert. Both by one machine's clock, in whole milliseconds. Of a
sepsis alert the reading is the patient's newest when the model looked: it looks once a minute at new vital signs, so up
to a minute of waiting stands before what is measured (decision 22).
Afterwards every message must stand in the lake exactly once and every patient who fell ill must have been alerted on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.bench.freshness import rows_committed, sightings
from infra.bench.measured import MeasuredProcess, ProcessError, cpu_seconds, peak_bytes
from infra.bench.report import Report, percentiles
from infra.bench.surroundings import ALERTS, VITALS, Deployment, Surroundings, surroundings, topic_length
from infra.bench.workload import Ledger

RATES = (2_000.0, 10_000.0)
WARM_UP_S = 5.0
RUN_OUT_S = 5.0
"""Of load behind the last phase: what a stream tells as it ends belongs to no phase."""
CAUGHT_UP_S = 300.0
NEAR_S = 6.0
"""The lake has caught up when it is no further behind the reader than this many seconds of load: three commits."""
SEED = 33
WITHHELD = "clinical.alerts.withheld"
TABLES = {VITALS: "vitals", ALERTS: "alerts", WITHHELD: "alerts_withheld"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of load before the store stops, of its standstill, and after it goes on."""

    before: float
    stopped: float
    after: float

    @property
    def total(self) -> float:
        return self.before + self.stopped + self.after


def measure(times: Times, rates: tuple[float, ...], queue_bytes: int | None, progress: Progress) -> Report:
    """`queue_bytes` overrides the lake's queue, so that a short standstill fills it.

    Raises `ProcessError` where a part fails, a message is not in the lake exactly once, or an alert is missing.
    """
    with surroundings(progress) as around:
        runs = {rate: _run(around, rate, times, queue_bytes, progress) for rate in rates}
    rows = [row for rate, run in runs.items() for row in _rows(rate, run)]
    return Report(
        name="p3",
        title="milliseconds from a reading's append to its alert's",
        data=f"a ward of 2,000 patients, {'/'.join(f'{rate:,.0f}' for rate in rates)} messages/s, 0.1 % malformed, 1 % "
        f"repeated (seed {SEED}); {times.before:g} s, the store stopped for {times.stopped:g} s, {times.after:g} s",
        columns=("", "alerts", "p50", "p95", "p99", "max", "to reader p50", "to reader p99"),
        rows=tuple(rows),
        figures={f"rate_{rate:g}": run for rate, run in runs.items()},
        remarks=tuple(_remark(rate, run) for rate, run in runs.items()),
    )


def _run(
    around: Surroundings, rate: float, times: Times, queue_bytes: int | None, progress: Progress
) -> dict[str, Any]:
    progress(f"{rate:,.0f} messages/s for {times.total:g} s; the store stops for {times.stopped:g} s of them")
    variables = {"WARDSTREAM_LAKE_QUEUE_BYTES": str(queue_bytes)} if queue_bytes else {}
    settings = around.settings(f"ward{rate:g}", **variables)
    with Deployment(settings) as deployment:
        deployment.keep_producers_codec([VITALS])
        stream = deployment.start_stream()
        watcher = deployment.start_watcher("alerts")
        address = ("--bootstrap", around.bootstrap, "--topic", settings.topic(VITALS))
        load = ("--rate", str(rate), "--seconds", str(times.total + RUN_OUT_S), "--seed", str(SEED), "--ward")
        sender = deployment.run("infra.bench.send", *address, *load)
        course = Course(deployment, stream, near=int(rate * NEAR_S))
        phases = _play(around, times, course)
        sent = sender.answer(times.total + RUN_OUT_S + 120)
        cores = (cpu_seconds(stream.pid) - course.used) / (time.monotonic() - course.began)
        course.follow_until_committed(Ledger(**sent["ledger"]).distinct)
        peak = peak_bytes(stream.pid)
        deployment.drain(stream)
        deployment.run_to_the_end()
        watcher.stop(10)
        alerts = sightings(watcher)
        found = _check(deployment, sent, alerts)
    return {
        "phases": {name: _phase(alerts, *span) for name, span in phases.items()},
        "alerts": len(alerts),
        "cores": cores,
        "peak_bytes": peak,
        "caught_up_s": max(0.0, (course.near_since or time.time()) - phases["after"][0]),
        "rate": sent["ledger"]["messages"] / (sent["ended"] - sent["began"]),
        "most_held_bytes": course.most_held_bytes,
        "times_let_go": course.times_let_go,
        "found": found,
    }


class Course:
    """What the stream says of itself, again and again while something else goes on."""

    def __init__(self, deployment: Deployment, stream: MeasuredProcess, near: int) -> None:
        self._deployment, self._stream, self._near = deployment, stream, near
        self.most_held_bytes = self.times_let_go = 0
        self.near_since: float | None = None
        self.began, self.used = time.monotonic(), cpu_seconds(stream.pid)

    def follow(self, seconds: float) -> None:
        """Look for so long. Raises `ProcessError` if the stream ends."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._look()
            time.sleep(min(0.5, left))

    def follow_until_committed(self, rows: int) -> None:
        """Until the lake has so many rows of vitals. Raises `ProcessError`."""
        deadline = time.monotonic() + CAUGHT_UP_S
        while rows_committed(status := self._look()) < rows:
            if time.monotonic() > deadline:
                raise ProcessError(f"the lake did not catch up in {CAUGHT_UP_S:.0f} s: {status}")
            time.sleep(0.2)

    def _look(self) -> dict[str, Any]:
        if (usage := self._stream.ended()) is not None:
            raise ProcessError(f"the stream ended with code {usage.exit_code}; see {self._stream.log}")
        status = self._deployment.status()
        lake = status["lake"]
        self.most_held_bytes = max(self.most_held_bytes, lake["held_bytes"])
        self.times_let_go = max(self.times_let_go, lake["times_let_go"])
        if lake["apart"] or _behind(status) > self._near:
            self.near_since = None
        elif self.near_since is None:
            self.near_since = status["at"]
        return status


def _behind(status: dict[str, Any]) -> int:
    """Messages of vitals that were read and are not in the lake."""
    read, done = status["read"][VITALS], status["next"].get(VITALS, {})
    return sum(offset - done.get(partition, 0) for partition, offset in read.items())


def _play(around: Surroundings, times: Times, course: Course) -> dict[str, tuple[float, float]]:
    """Wait through the phases; returns their spans in UTC epoch seconds."""
    course.follow(WARM_UP_S)
    began = time.time()
    course.follow(times.before - WARM_UP_S)
    with _standing_still(around.store.pid):
        stopped = time.time()
        course.follow(times.stopped)
    going_on = time.time()
    course.follow(times.after)
    return {"before": (began, stopped), "store stopped": (stopped, going_on), "after": (going_on, time.time())}


@contextmanager
def _standing_still(pid: int) -> Generator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _check(deployment: Deployment, sent: dict[str, Any], alerts: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Every message in the lake exactly once, every patient who fell ill alerted on, no alert twice."""
    settings, found = deployment.settings, {}
    for stream, table in TABLES.items():
        length = topic_length(settings, settings.topic(stream))
        options = ("--stream", stream, "--table", table, "--messages", str(length))
        found[stream] = deployment.run("infra.bench.check", "positions", *options).answer(300)
    if found[VITALS]["positions"] != sent["ledger"]["messages"]:
        raise ProcessError("the topic is not as long as its ledger says")
    if unheard := set(sent["ill"]) - {alert["patient"] for alert in alerts}:
        raise ProcessError(f"{len(unheard)} of {len(sent['ill'])} patients who fell ill were not alerted on")
    if len({alert["alert_id"] for alert in alerts}) != len(alerts):
        raise ProcessError("an alert is on its topic twice")
    if len(alerts) != found[ALERTS]["positions"]:
        raise ProcessError(f"the watcher saw {len(alerts)} of {found[ALERTS]['positions']} alerts")
    return found


def _phase(alerts: list[dict[str, Any]], from_s: float, until_s: float) -> dict[str, Any]:
    """Milliseconds, of the alerts whose reading was appended in the span: of all, and of each rule."""
    ours = [alert for alert in alerts if from_s * 1000 <= alert["appended_ms"] < until_s * 1000]
    rules = sorted({alert["rule"] for alert in ours})
    return {**_waits(ours), "by_rule": {rule: _waits([a for a in ours if a["rule"] == rule]) for rule in rules}}


def _waits(ours: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "alerts": len(ours),
        "append_to_append_ms": percentiles(np.array([a["alerted_ms"] - a["appended_ms"] for a in ours])),
        "sent_to_read_ms": percentiles(np.array([a["read_ms"] - a["device_ms"] for a in ours])),
    }


def _rows(rate: float, run: dict[str, Any]) -> Iterator[tuple[float | int | str, ...]]:
    for name, phase in run["phases"].items():
        yield _row(f"{rate:,.0f}/s, {name}", phase)
        for rule, waits in phase["by_rule"].items():
            yield _row(f"  of {rule}", waits)


def _row(name: str, waits: dict[str, Any]) -> tuple[float | int | str, ...]:
    appended, read = waits["append_to_append_ms"], waits["sent_to_read_ms"]
    shown = [round(appended[point]) if appended else "-" for point in ("p50", "p95", "p99", "max")]
    to_reader = [round(read[point]) if read else "-" for point in ("p50", "p99")]
    return name, waits["alerts"], *shown, *to_reader


def _remark(rate: float, run: dict[str, Any]) -> str:
    let_go = "never" if not run["times_let_go"] else f"{run['times_let_go']} times"
    return (
        f"{rate:,.0f}/s: {run['rate']:,.0f}/s reached; {run['cores']:.2f} cores; peak {run['peak_bytes'] >> 20} MiB; "
        f"the lake held at most {run['most_held_bytes'] >> 20} MiB, let go {let_go}, and had caught up "
        f"{run['caught_up_s']:.0f} s after the store went on"
    )
