"""Stays of the lake with their outcome, as a model learns from them: hours by the very memory that the stream has.

Holds: rows and outcomes to a learning set; stays that no model of this lake ever learns from.
Does not hold: the questions (`warehouse/models/training_rows.py`), features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.clinical.readings import milliseconds
from pipelines.clinical.sepsis.history import HOUR_MS, LONGEST_STAY_H, HourlyHistory
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.learning_set import LearningSet, digest_of
from pipelines.clinical.sepsis.panel import Panel, of_stays, rows_of
from pipelines.clinical.sepsis.utility import LABEL_AHEAD_H
from pipelines.clinical.sepsis.variables import BY_CODE

CODES = tuple(BY_CODE)
HELD_OUT = 5
"""One patient of so many, by a hash of the pseudonym, is learnt from by no model: on them models are held against each
other."""
READINGS, WEARABLES, RESULTS, ADMISSIONS = "vitals", "wearables", "labs", "adt_events"


class NoStayError(ValueError):
    """There is no stay to learn from or to judge by. Says what is missing; names no patient."""


def panel_of_rows(
    rows: Mapping[str, pa.Table], wards: IntensiveCare | None = None
) -> tuple[Panel, list[str], NDArray[np.int64]]:
    """The hours of all patients in rows of `READINGS`, `WEARABLES`, `RESULTS` and `ADMISSIONS`; the pseudonym of each
    stay, and of each row the hour since 1970 UTC. Raises `NoStayError` where there is no hour at all."""
    history = HourlyHistory(LONGEST_STAY_H, 1, wards=wards)
    history.take_admissions(rows[ADMISSIONS])
    for name in (READINGS, WEARABLES):
        if len(rows[name]):
            history.take_readings(rows[name])
    if len(rows[RESULTS]):
        history.take_results(rows[RESULTS])
    slots = np.arange(len(history.patients.tokens))
    slots = slots[history.newest[slots] > 0]
    if not len(slots):
        raise NoStayError("no measurement of any patient with an outcome")
    hours = history.panel(slots, history.newest[slots].astype(np.int64))
    tokens = [history.patients.tokens[slot] for slot in hours.slot[hours.panel.starts[:-1]].tolist()]
    return hours.panel, tokens, hours.at_hour


def learning_set(rows: Mapping[str, pa.Table], outcomes: pa.Table, wards: IntensiveCare | None = None) -> LearningSet:
    """Stays with labels: 1 from six hours before the onset that was told, as the challenge has it.

    Labels say when the onset was by their first hour. So a stay whose onset lies before its seventh hour is left out
    (septic on the ward before intensive care, or longer than hours are kept): it would be taught, and judged, as one
    whose sepsis begins six hours later. Raises `NoStayError` where none is left.
    """
    panel, tokens, at_hour = panel_of_rows(rows, wards)
    onset = dict(zip(outcomes["subject_token"].to_pylist(), onset_hours(outcomes).tolist(), strict=True))
    onset_hour = np.array([onset[token] for token in tokens], dtype=np.int64)
    stays = np.flatnonzero(onset_hour - at_hour[panel.starts[:-1]] >= LABEL_AHEAD_H)
    if not len(stays):
        raise NoStayError("no measurement of any patient before their sepsis")
    labels = at_hour >= np.repeat(onset_hour - LABEL_AHEAD_H, np.diff(panel.starts))
    early = panel.stays - len(stays)
    return replace(part(LearningSet(panel, labels, np.array(tokens), ""), stays), early_onsets=early)


def onset_hours(outcomes: pa.Table) -> NDArray[np.int64]:
    """int64[n]: the hour since 1970 UTC of each onset; of who had no sepsis one that never comes."""
    onset_ms = milliseconds(outcomes["onset_at"].fill_null(pa.scalar(0, pa.timestamp("us", "UTC"))))
    septic = np.array([word == "sepsis" for word in outcomes["outcome"].to_pylist()], dtype=bool)
    return np.where(septic, onset_ms // HOUR_MS, np.iinfo(np.int64).max // 2)


def held_out(tokens: Sequence[str]) -> NDArray[np.bool_]:
    """bool[stays]: whose stays are kept for the gate. The same patient is always on the same side."""
    return np.array([hashlib.sha256(token.encode()).digest()[0] % HELD_OUT == 0 for token in tokens], dtype=bool)


def part(given: LearningSet, stays: NDArray[np.int64]) -> LearningSet:
    """The same with these stays only."""
    panel, rows = of_stays(given.panel, stays), rows_of(given.panel.starts, stays)
    labels, patients = given.labels[rows], given.patients[stays]
    digest = digest_of(panel, labels.astype(np.float64), patients)
    return LearningSet(panel, labels, patients, digest, given.early_onsets)
