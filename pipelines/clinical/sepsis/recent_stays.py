"""Facts of the lake's stays of late: what drift is judged on in the running product.

Holds: which stays a look takes, and the facts of them with ward and monitor.
Does not hold: the questions (`warehouse/models/recent_rows.py`), verdicts (`drift.py`).

A look takes the stays that began within its days. All who lie there now would be another sample than the one a model
was made with: of those present at a moment more are long stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from pipelines.clinical.sepsis.history import SILENCE_H
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.lake_set import panel_of_rows
from pipelines.clinical.sepsis.stay_facts import StayFacts, facts_of


def facts_of_rows(
    rows: Mapping[str, pa.Table],
    places: pa.Table,
    since: datetime | None = None,
    wards: IntensiveCare | None = None,
    read_from: datetime | None = None,
) -> StayFacts | None:
    """The facts of the patients' stays that began from `since` on, of all where it is None; None where nobody was
    measured.

    Args:
        places: `subject_token`, `ward`, `device`.
        read_from: the rows of before were not read, so that of a stay without an admission nobody knows whether it
            began at its first hour, unless a silence is known to have gone before it.
    """
    try:
        panel, tokens, at_hour = panel_of_rows(rows, wards)
    except ValueError:
        return None
    known = {
        token: (ward or "", device or "")
        for token, ward, device in zip(*(places[name].to_pylist() for name in places.column_names), strict=True)
    }
    where = [known.get(token, ("", "")) for token in tokens]
    ward, device = (np.array([each[at] for each in where], dtype=np.str_) for at in (0, 1))
    facts = facts_of(panel, ward, device)
    if since is None:
        return facts
    first = panel.starts[:-1]
    began = at_hour[first] - panel.hour[first] + 1
    wanted = began >= _hour(since)
    if read_from is not None:
        is_admitted = ~np.isnan([panel.admission_h[first], panel.age[first], panel.sex[first]]).all(axis=0)
        wanted &= is_admitted | (began >= _hour(read_from) + SILENCE_H)
    return facts.take(wanted)


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)
