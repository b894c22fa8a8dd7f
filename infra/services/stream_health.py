"""Whether the stream gets on, judged by its offsets and not by its process being there.

Holds: reading `run/stream.json`, the verdict, and the count of deaths without progress. Pure but for `read_report`.
Does not hold: starting or ending the stream (supervisor).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SILENT_SECONDS = 15.0
"""A stream writes its report each second; after this long without one it does not get on."""

STARTING_SECONDS = 1_800.0
"""A start reads days of the lake into memory, more in a larger hospital, and says so meanwhile: long is not dead."""

STALLED_SECONDS = 90.0
DEATHS_IN_PLACE = 3
STREAM_DEATHS_IN_PLACE = 6
"""The stream looks for a message that ends it after three; each time it narrows the search counts as progress."""

READ = "read of "
"""Marks the positions that were read, beside those that are settled in the lake."""

Positions = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What the stream last said. `at` is UTC epoch seconds; `positions` the next offset by (stream, partition)."""

    at: float
    state: str
    reason: str
    lag: int | None
    positions: Positions


@dataclass(frozen=True, slots=True)
class Verdict:
    """`starting`, `healthy`, `waiting` (it says for what), `draining` or `stalled`, with the reason for people."""

    state: str
    reason: str = ""


def read_report(path: Path) -> StreamReport | None:
    """The report, or None when there is none that can be read (yet)."""
    try:
        return parse_report(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def parse_report(said: Mapping[str, object]) -> StreamReport:
    """Raises `ValueError`, `TypeError` or `AttributeError` for what is no report."""
    lag = said.get("lag")
    return StreamReport(
        at=float(str(said["at"])) if "at" in said else 0.0,
        state=str(said.get("state", "")),
        reason=str(said.get("reason") or ""),
        lag=lag if isinstance(lag, int) else None,
        positions={
            **_positions(said.get("next")),
            **_positions(said.get("read"), READ),
            **_narrowed(said.get("poison")),
        },
    )


@dataclass(slots=True)
class ProgressWatch:
    """Judges one run of the stream from its reports. `started_at` and every `now` are UTC epoch seconds."""

    started_at: float
    _highest: dict[tuple[str, str], int] = field(default_factory=dict)
    _advanced_at: float = 0.0

    def judge(self, report: StreamReport | None, now: float) -> Verdict:
        """The verdict at `now`. Progress is any position above the highest seen in this run."""
        if report is None or report.at < self.started_at:
            return self._starting(now, "no word from the stream yet")
        if now - report.at > SILENT_SECONDS:
            return Verdict("stalled", f"the stream has been silent for {now - report.at:.0f} s")
        if advance(self._highest, report.positions):
            self._advanced_at = now
        if report.state == "starting":
            return self._starting(now, report.reason)
        if report.state in ("waiting", "draining"):
            self._advanced_at = now
            return Verdict(report.state, report.reason)
        return self._running(report, now)

    def _starting(self, now: float, reason: str) -> Verdict:
        late = now - self.started_at > STARTING_SECONDS
        return (
            Verdict("stalled", f"not running {STARTING_SECONDS:.0f} s after its start")
            if late
            else Verdict("starting", reason)
        )

    def _running(self, report: StreamReport, now: float) -> Verdict:
        if report.lag == 0:
            # With nothing to read, nothing can advance: the time counts from the first message that waits.
            self._advanced_at = now
        if now - max(self._advanced_at, self.started_at) <= STALLED_SECONDS:
            return Verdict("healthy")
        behind = "unknown" if report.lag is None else f"{report.lag} messages"
        return Verdict("stalled", f"no offset has advanced for {STALLED_SECONDS:.0f} s, lag {behind}")


@dataclass(slots=True)
class DeathCount:
    """How many runs in a row ended without any position above the highest of all runs before."""

    deaths: int = 0
    _highest: dict[tuple[str, str], int] = field(default_factory=dict)

    def died(self, report: StreamReport | None) -> int:
        """Count one more death; one after progress is the first again."""
        # What was read and not committed is read again: only what stands in the lake is progress.
        settled = {at: n for at, n in report.positions.items() if not at[0].startswith(READ)} if report else {}
        progressed = advance(self._highest, settled)
        self.deaths = 1 if progressed else self.deaths + 1
        return self.deaths


def advance(highest: dict[tuple[str, str], int], positions: Positions) -> bool:
    """Raise `highest` to `positions` where those are higher, and say whether any was."""
    higher = {key: offset for key, offset in positions.items() if offset > highest.get(key, -1)}
    highest.update(higher)
    return bool(higher)


def _narrowed(poison: object) -> dict[tuple[str, str], int]:
    """How far the search for a message that ends the stream has come, as a position that rises."""
    if not isinstance(poison, Mapping) or not poison.get("suspected"):
        return {}
    return {("poison", str(poison.get("convicted"))): (1 << 40) - int(poison["suspected"])}


def _positions(nested: object, mark: str = "") -> dict[tuple[str, str], int]:
    if not isinstance(nested, Mapping):
        return {}
    return {
        (f"{mark}{stream}", str(partition)): int(offset)
        for stream, partitions in nested.items()
        for partition, offset in partitions.items()
    }
