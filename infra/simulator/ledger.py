"""The ledger: what the simulator meant to send and how each sending ended, on disk before it counts.

Holds: the append-only JSON-lines file and its format.
Does not hold: Kafka (`player`) or any judgement; the oracle reads the same file with a reader of its own.

One JSON object a line, of four kinds:

- the heading, first: `{"ledger":1,"title":…,"expected_alerts":[…], …}`;
- a plan, durable **before** its message is handed to the producer: `{"n":…,"stream":…,"event_id":…,"patient":…,
  "kind":…,"fate":…,"reason":…,"size":…,"sha256":…}`; `n` counts from 0; `size` is -1 for a tombstone; `sha256` is of
  the value;
- an outcome: `{"n":…,"result":"ok","partition":…,"offset":…}`, result `ok`, `failed` (Kafka does not have it) or
  `unknown`;
- the end: `{"finished":true,"planned":…,"ok":…,"failed":…,"unknown":…}`.

A plan without outcome (the process was killed) is `unknown` too: whether Kafka has it only Kafka can say. A last line
without a line feed was torn by a crash and holds for nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.simulator.ward import Event

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
ENDS = (OK, FAILED, UNKNOWN)


class Ledger:
    """Writes one ledger file. Not thread-safe: the player's thread owns it.

    `plan` is durable when it returns; outcomes are kept until the next `plan` or `close`. Raises `FileExistsError`
    where the file is there already: a ledger is never continued. Until `close` the file is locked, so that erasure does
    not write it anew under the writer.
    """

    def __init__(self, path: Path, heading: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._outcomes: list[str] = []
        self.counts = {"planned": 0, OK: 0, FAILED: 0, UNKNOWN: 0}
        self._write([json.dumps({"ledger": 1, **heading})])

    def plan(self, events: Iterable[Event]) -> int:
        """Record that these are about to be sent; returns the number `n` of the first."""
        first = self.counts["planned"]
        lines = [_plan_line(n, event) for n, event in enumerate(events, first)]
        self.counts["planned"] += len(lines)
        self._write(lines)
        return first

    def outcome(self, n: int, result: str, partition: int | None = None, offset: int | None = None) -> None:
        """Record how the sending of message `n` ended; its place in Kafka where the broker named one."""
        self.counts[result] += 1
        place = "" if partition is None else f',"partition":{partition},"offset":{offset}'
        self._outcomes.append(f'{{"n":{n},"result":"{result}"{place}}}')

    def close(self) -> None:
        """Record the end; whatever has no outcome by now is counted as unknown."""
        counts = dict(self.counts)
        counts[UNKNOWN] = counts["planned"] - counts[OK] - counts[FAILED]
        self._write([json.dumps({"finished": True, **counts})])
        self._file.close()

    def _write(self, lines: list[str]) -> None:
        lines = self._outcomes + lines
        self._outcomes = []
        self._file.write("".join(line + "\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _plan_line(n: int, event: Event) -> str:
    value = event.value or b""
    patient = f'"{event.patient}"' if event.patient else "null"
    reason = f'"{event.reason}"' if event.reason else "null"
    size = -1 if event.value is None else len(value)
    digest = hashlib.sha256(value).hexdigest()
    return (
        f'{{"n":{n},"stream":"{event.stream}","event_id":"{event.event_id}","patient":{patient},'
        f'"kind":"{event.kind}","fate":"{event.fate}","reason":{reason},"size":{size},"sha256":"{digest}"}}'
    )
