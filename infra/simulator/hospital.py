"""The whole ward: monitors, waves, laboratory, admissions, pharmacy and wearables as one sequence of messages.

Holds: how the streams are put together.
Does not hold: any of them; what a sender does stands in its own file.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random

from infra.simulator.admissions import play_admissions
from infra.simulator.hazards import ADMISSIONS, LABORATORY, PHARMACY, VITALS, WEARABLES, Hazards, disturbed
from infra.simulator.laboratory import play_laboratory
from infra.simulator.pharmacy import play_pharmacy
from infra.simulator.script import plan_ward
from infra.simulator.ward import Event, Troubles, play_ward
from infra.simulator.waves import play_waves
from infra.simulator.wearables import play_wearables

STREAMS = (VITALS, WEARABLES, LABORATORY, ADMISSIONS, PHARMACY)
SENDERS = {
    "waves": play_waves,
    "wearables": play_wearables,
    "laboratory": play_laboratory,
    "admissions": play_admissions,
    "pharmacy": play_pharmacy,
}


def play_hospital(
    seed: int,
    start_ms: int,
    duration_ms: int,
    patients: int,
    troubles: Troubles | None = None,
    hazards: Hazards | None = None,
) -> Iterator[Event]:
    """All messages of all streams in the order of sending; the same arguments give the same messages.

    The monitors' numbers are those of `play_ward`, byte for byte. Times are milliseconds since 1970 UTC.
    """
    script, end_ms = plan_ward(seed, start_ms, duration_ms, patients), start_ms + duration_ms
    others = [
        disturbed(play(seed, script, start_ms, end_ms), Random(f"hazards/{name}/{seed}"), end_ms, hazards or Hazards())
        for name, play in SENDERS.items()
    ]
    numbers = play_ward(seed, start_ms, duration_ms, patients, troubles)
    return heapq.merge(numbers, *others, key=lambda event: event.due_ms)
