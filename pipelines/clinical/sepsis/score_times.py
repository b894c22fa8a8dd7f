"""When scores were made, so told that of two of one hour the one made last bears the later time.

Holds: `ScoreTimes`. Does not hold: scores, or any clock.

Of an hour's scores the one made last holds, by `scored_at`, which is told by the millisecond. One look may score an
hour twice (when it was about to leave reach, and when the next row changed it), and the next look may come within the
millisecond; a hash of the score would then say which of them holds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.clinical.sepsis.score_message import Score

_STEP = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Look:
    """The times of one look.

    Attributes:
        at: of the look, and of what is decided by it: behind all looks before.
        scored_at: of each of its scores: `at`, or as little before as leaves one of the same hour behind it.
        before: of what was told by then: behind the looks before, and ahead of these scores.
    """

    at: datetime
    scored_at: tuple[datetime, ...]
    before: datetime


class ScoreTimes:
    """Of one process, all its shards. Thread-safe."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def look(self, scores: Sequence[Score], now: datetime) -> Look:
        """The times of a look `now` that told these scores, in the order in which they were made."""
        later: Counter[tuple[str, int]] = Counter()
        followed = []
        for score in reversed(scores):
            followed.append(later[score.subject_token, score.hour_ms])
            later[score.subject_token, score.hour_ms] += 1
        room = (max(followed, default=0) + 1) * _STEP
        with self._lock:
            at = self._last = max(now, self._last + room)
        return Look(at, tuple(at - many * _STEP for many in reversed(followed)), at - room)
