"""How many events the oracle's own readers would refuse."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow.compute as pc

from infra.simulator.ward import Event
from tests.oracle.oracle import READERS


def faults(events: Iterable[Event]) -> int:
    """How many of the messages can be no row, each appended when it is due."""
    wrong, of_stream = 0, {}
    for event in events:
        of_stream.setdefault(event.stream, []).append(event)
    for stream, mine in of_stream.items():
        appended_us = np.array([event.due_ms * 1000 for event in mine])
        said = READERS[stream]([event.key for event in mine], [event.value for event in mine], appended_us)
        wrong += pc.count(said["fault"]).as_py()
    return wrong
