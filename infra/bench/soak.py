"""P10: hours of load with a kill every few minutes: does memory stay flat, is nothing lost, does the lag go back to 0?

Holds: the run and the arithmetic. Does not hold: the data (`workload`), the judgement (`check`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench.measured import ProcessError
from infra.bench.report import Report, Spread
from infra.bench.surroundings import VITALS, Deployment, surroundings

RATE = 5_000.0
KILL_EVERY_S = 300.0
LOOKED_AT_S = 1_200.0
"""The slope of memory is told over the last so many seconds of the load."""
GROWN_UP_S = 60.0
"""A process younger than this is still filling its caches."""
LAG_S = 120.0
SAMPLE_S = 2.0
SEED = 41
PARTS = ("stream", "broker", "store")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the load began, resident bytes by part, which life of the stream, and its age (s)."""

    at_s: float
    resident: dict[str, int]
    life: int
    age_s: float


def measure(seconds: float, progress: Progress) -> Report:
    """Raises `ProcessError` where a part fails, the lag stays, or the tables are not what the ledger says."""
    with surroundings(progress) as around, Deployment(around.settings("soak")) as deployment:
        deployment.keep_producers_codec([VITALS])
        soak = _Soak(deployment, {"broker": around.broker.pid, "store": around.store.pid}, progress)
        address = ("--bootstrap", around.bootstrap, "--topic", deployment.settings.topic(VITALS))
        load = ("--rate", str(RATE), "--seconds", str(seconds), "--seed", str(SEED), "--ward")
        sender = deployment.run("infra.bench.send", *address, *load)
        soak.follow(seconds)
        sent = sender.answer(seconds + 300)
        soak.end()
        ledger = deployment.settings.home / "ledger.json"
        ledger.write_text(json.dumps(sent["ledger"]))
        found = deployment.run("infra.bench.check", "lake", "--ledger", str(ledger)).answer(1_800)
    return _report(seconds, soak, sent, found)


class _Soak:
    """The stream through its lives, and what was seen of it."""

    def __init__(self, deployment: Deployment, servers: dict[str, int], progress: Progress) -> None:
        self._deployment, self._servers, self._progress = deployment, servers, progress
        self.samples: list[Sample] = []
        self.recovered_s: list[float] = []
        self._life, self._stream = 0, deployment.start_stream()
        self._began = self._born = time.monotonic()

    def follow(self, seconds: float) -> None:
        """Sample for so long; kill the stream every `KILL_EVERY_S` and start it again."""
        kill_at = self._began + KILL_EVERY_S
        until = self._began + seconds
        while time.monotonic() < until:
            if time.monotonic() >= kill_at:
                self._kill()
                kill_at += KILL_EVERY_S
            self._sample()
            time.sleep(SAMPLE_S)

    def end(self) -> None:
        """Until the lake has everything."""
        self._wait_for_no_lag()
        self._deployment.drain(self._stream)

    def _kill(self) -> None:
        self._stream.kill()
        struck = time.monotonic()
        (self._deployment.settings.home / "run" / "stream.json").unlink()  # what the dead one said of itself
        self._life, self._stream, self._born = self._life + 1, self._deployment.start_stream(), time.monotonic()
        self._wait_for_no_lag()
        self.recovered_s.append(time.monotonic() - struck)
        self._progress(f"kill {self._life}: lag back to 0 after {self.recovered_s[-1]:.1f} s")

    def _wait_for_no_lag(self) -> None:
        """Until the lake is no further behind than what two seconds between commits leave."""
        self._deployment.wait_for("no lag", _no_lag, LAG_S, self._stream)

    def _sample(self) -> None:
        if (usage := self._stream.ended()) is not None:
            raise ProcessError(f"the stream ended with code {usage.exit_code}; see {self._stream.log}")
        now = time.monotonic()
        resident = {name: resident_bytes(pid) for name, pid in {"stream": self._stream.pid, **self._servers}.items()}
        self.samples.append(Sample(now - self._began, resident, self._life, now - self._born))


def _no_lag(status: dict[str, Any]) -> bool:
    return status.get("lag") is not None and status["lag"] < 4 * RATE


def resident_bytes(pid: int) -> int:
    """The resident set of a running process; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def slope_mib_a_minute(samples: Sequence[Sample], part: str) -> float:
    """Growth of a part's memory by least squares, the lives of the stream each with a level of their own.

    Young processes are left out. Raises `ValueError` where fewer than two samples of one life are left.
    """
    kept = [sample for sample in samples if part != "stream" or sample.age_s >= GROWN_UP_S]
    times, sizes = [], []
    for life in {sample.life if part == "stream" else 0 for sample in kept}:
        ours = [sample for sample in kept if part != "stream" or sample.life == life]
        at = np.array([sample.at_s for sample in ours]) / 60
        size = np.array([sample.resident[part] for sample in ours]) / (1 << 20)
        times.append(at - at.mean())
        sizes.append(size - size.mean())
    at, size = np.concatenate(times or [np.empty(0)]), np.concatenate(sizes or [np.empty(0)])
    if len(at) < 2 or not (at @ at):
        raise ValueError(f"too few samples of {part}")
    return float(at @ size / (at @ at))


def _report(seconds: float, soak: _Soak, sent: dict[str, Any], found: dict[str, int]) -> Report:
    last = [sample for sample in soak.samples if sample.at_s >= seconds - LOOKED_AT_S]
    slopes = {part: slope_mib_a_minute(last, part) for part in PARTS}
    peaks = {part: max(sample.resident[part] for sample in soak.samples) >> 20 for part in PARTS}
    recovered = Spread.of(soak.recovered_s) if soak.recovered_s else None
    rows = tuple((part, slopes[part], peaks[part]) for part in PARTS)
    kills = len(soak.recovered_s)
    return Report(
        name="p10",
        title=f"soak: {kills} kills, nothing lost or doubled; lag 0 again after {recovered or 'no kill'} s",
        data=f"a ward of 2,000 patients, {RATE:,.0f} messages/s for {seconds:g} s (seed {SEED}); the stream killed "
        f"every {KILL_EVERY_S:g} s and started again",
        columns=("part", "MiB a minute", "peak MiB"),
        rows=rows,
        figures={
            "slopes_mib_a_minute": slopes,
            "peak_mib": peaks,
            "recovered_s": soak.recovered_s,
            "found": found,
            "sent": sent["ledger"],
            "samples": [asdict(sample) for sample in soak.samples[:: max(1, len(soak.samples) // 600)]],
        },
        remarks=(
            f"slope over the last {min(seconds, LOOKED_AT_S):g} s; processes younger than {GROWN_UP_S:g} s left out",
            "lag 0: no further behind than four seconds of load, from the kill on, the start of the process included",
        ),
    )
