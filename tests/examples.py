"""How many examples a property is tried with: few in the suite, many times as many in its long form, which is
`WARDSTREAM_EXAMPLES=25 .venv/bin/pytest -n 2 -m hypothesis`."""

from __future__ import annotations

import os
from typing import Any

import hypothesis

TIMES = int(os.environ.get("WARDSTREAM_EXAMPLES", "1"))
USUAL = 40


def tried(examples: int, **options: Any) -> hypothesis.settings:
    """So many examples in the short form, each without a deadline: what else runs on the machine is not its fault."""
    return hypothesis.settings(max_examples=examples * TIMES, deadline=None, **options)


def by_default() -> None:
    """For properties that name no number."""
    hypothesis.settings.register_profile("suite", max_examples=USUAL * TIMES, deadline=None)
    hypothesis.settings.load_profile("suite")
