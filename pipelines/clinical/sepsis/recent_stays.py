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

from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.lake_set import panel_of_rows
from pipelines.clinical.sepsis.stay_facts import StayFacts, facts_of


def facts_of_rows(
    rows: Mapping[str, pa.Table],
    places: pa.Table,
    since: datetime | None = None,
    wards: IntensiveCare | None = None,
) -> StayFacts | None:
    """The facts of the patients' stays that began from `since` on, of all where it is None; None where nobody was
    measured. `places`: `subject_token`, `ward`, `device`."""
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
    return facts.take(at_hour[first] - panel.hour[first] + 1 >= int(since.timestamp() // 3600))
