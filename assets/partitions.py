"""The days that derived work is cut into.

Holds: the one partitioning all daily assets share, so that a day of one is a day of the next.
Does not hold: which day a row belongs to (its table's contract says by which time).
"""

from __future__ import annotations

from datetime import date

import dagster as dg

FIRST_DAY = date(2026, 1, 1)

# end_offset=1: today is a partition too. A day of device clocks before FIRST_DAY is kept in the tables but has no
# partition; `assets.gate` judges it by name.
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)


def is_partition(day: date, today: date) -> bool:
    """Whether `day` is a partition of `DAYS` when it is `today` (both UTC)."""
    return FIRST_DAY <= day <= today
