"""Of who was erased nothing stays in a running stream's memory; of everybody else everything does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import forgetting
from pipelines.alerts.bedside import UNKNOWN
from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.sepsis.scoring import OneModel
from pipelines.clinical.sepsis.stream_score import SepsisMonitor
from pipelines.forgetting import SETTLED_SECONDS, Forgetting
from pipelines.shards import OWN, ShardState
from pipelines.source import Shard
from tests.pipelines.alerts.test_bedside import SCHEMA, event
from tests.pipelines.clinical import streams
from tests.pipelines.clinical.sepsis import stream_rows
from tests.pipelines.clinical.sepsis.toy_model import ToyModel
from warehouse.consent.histories import NEEDED, Histories
from warehouse.identity import Tokenizer, subject_token

KEY = bytes(32)
GONE, OTHER = "P000001", "P000002"
RARE = 183.25
BORN = date(1961, 7, 9)


def token(patient: str) -> str:
    return subject_token(KEY, "urn:x", patient)


class Erased:
    """The list of the erased."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.number, self.asked = 0, 0

    def changes(self) -> int:
        return self.number

    def epoch_of(self, one: str) -> int | None:
        self.asked += 1
        return None if one in self.tokens else 0

    def add(self, patient: str) -> None:
        self.tokens.add(token(patient))
        self.number += 1


class Consents:
    """The part of a stream's steps that remembers people."""

    def __init__(self) -> None:
        self.histories = Histories(())
        self.people, self.forget = self.histories.people, self.histories.forget


def ward_rows(patient: str, value: float) -> Iterator[tuple[str, pa.Table]]:
    """Rows of every stream that rules look at: alerts, results, a drug, a sensor's glucose."""
    of, at = token(patient), iter(range(1000))

    def reading(code: str, number: float, minute: int) -> dict[str, Any]:
        return streams.reading(of, code, number, minute, next(at))

    vitals = [reading(code, value, minute) for minute in range(20) for code in ("8867-4", "8478-0")]
    yield streams.VITALS, streams.rows_of(streams.VITALS, vitals)
    results = [streams.result(of, streams.LACTATE, value, 21 + n, n, f"L-{n}") for n in range(2)]
    yield streams.LABS, streams.rows_of(streams.LABS, results)
    yield streams.MEDICATION, streams.rows_of(streams.MEDICATION, [streams.dose(of, "7512", value, 25, 0)])
    sugar = [streams.sample(of, value, 5 * n, n) for n in range(6)]
    yield streams.WEARABLES, streams.rows_of(streams.WEARABLES, sugar)


def hour_rows(patient: str, value: float) -> Iterator[tuple[str, pa.Table]]:
    """An admission, readings and a result, as the model of sepsis takes them."""
    of = token(patient)
    yield "adt.events", stream_rows.table([stream_rows.admission(of, "A01", 0.1, "ICU-1", f"a{of}", BORN.year)])
    readings = [stream_rows.reading(of, "8867-4", value, hour, offset=hour) for hour in range(1, 6)]
    yield "device.vitals", stream_rows.table(readings)
    yield "lab.results", stream_rows.table([stream_rows.result(of, f"o{of}", "2524-7", value, 5.5)])


def state_with(*people: tuple[str, float]) -> ShardState:
    """A shard's memory of these people and of a value of each."""
    state = ShardState(Shard(OWN, ()), frozenset({0}), {}, SimpleNamespace(positions={}))  # type: ignore[arg-type]
    state.monitor, state.scores = WardMonitor(), SepsisMonitor(OneModel(ToyModel()))
    consents = Consents()
    state.steps = {"patient.consent.updates": consents}  # type: ignore[dict-item]
    for patient, value in people:
        for stream, rows in ward_rows(patient, value):
            state.monitor.observe(rows, None, stream)
        for stream, rows in hour_rows(patient, value):
            state.scores.observe(stream, rows)
        state.bedsides.take(
            pa.Table.from_pylist([event("A01", 0, "ICU-1", "7", patient_id=patient, birth_year=BORN)], SCHEMA)
        )
        said = dict.fromkeys(NEEDED) | {"subject_token": token(patient), "action": "GRANT", "category": "research",
                                        "scope": "all", "provision_time": 1, "kafka_time": 1}  # fmt: skip
        consents.histories.take(pa.Table.from_pylist([said]))
    state.scores.settle()
    return state


def seen_in(memory: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Every text and array that an object holds, however deep."""
    seen = set() if seen is None else seen
    if id(memory) in seen or isinstance(memory, (int, float, bytes, type(None), type)):
        return
    seen.add(id(memory))
    if isinstance(memory, (str, date)):
        yield memory
    elif isinstance(memory, np.ndarray) and memory.dtype.names:
        for name in memory.dtype.names:
            yield from values_of(memory[name])
    elif isinstance(memory, np.ndarray):
        yield from values_of(memory)
    elif isinstance(memory, dict):
        for each in (*memory.keys(), *memory.values()):
            yield from seen_in(each, seen)
    elif isinstance(memory, (list, tuple, set, frozenset)):
        for each in memory:
            yield from seen_in(each, seen)
    else:
        slots = [name for kind in type(memory).__mro__ for name in getattr(kind, "__slots__", ())]
        names = [*slots, *getattr(memory, "__dict__", {})]
        for name in names:
            yield from seen_in(getattr(memory, name, None), seen)


def values_of(array: np.ndarray) -> list[Any]:
    return array.ravel().tolist() if array.dtype.kind in "OSU" else [array]


def traces(state: ShardState, patient: str, value: float) -> set[str]:
    """What of somebody is in a shard's memory."""
    found = set()
    for each in seen_in([state.monitor, state.scores, state.bedsides, [s.histories for s in state.steps.values()]]):
        if isinstance(each, np.ndarray):
            if np.issubdtype(each.dtype, np.floating) and (np.abs(each - value) < 1e-4).any():
                found.add("value")
        elif isinstance(each, str):
            found.update(name for name, word in (("token", token(patient)), ("patient", patient)) if word in each)
        elif each == BORN:
            found.add("birth date")
    return found


def forgetful(erased: Erased, clock: Any) -> Forgetting:
    return Forgetting(erased, Tokenizer(KEY, "urn:x", erased), clock)


def test_of_who_is_erased_nothing_stays_and_of_others_everything() -> None:
    state, erased, now = state_with((GONE, RARE), (OTHER, 171.5)), Erased(), [0.0]
    assert traces(state, GONE, RARE) == {"token", "patient", "value", "birth date"}
    forget = forgetful(erased, lambda: now[0])
    assert forget.turn(state) == 0
    others = traces(state, OTHER, 171.5)
    erased.add(GONE)
    assert forget.turn(state) == 2
    assert traces(state, GONE, RARE) <= {"birth date"}, "the birth date is the other one's too"
    assert state.bedsides.of(GONE) == UNKNOWN
    assert traces(state, OTHER, 171.5) == others == {"token", "patient", "value", "birth date"}
    assert state.bedsides.of(OTHER).birth_date == BORN


def test_others_are_scored_and_alerted_on_as_if_the_person_had_never_been_there() -> None:
    both, alone = state_with((GONE, RARE), (OTHER, 171.5)), state_with((OTHER, 171.5))
    assert both.monitor is not None
    assert alone.monitor is not None
    both.forget([token(GONE)])
    later = [streams.reading(token(OTHER), "8867-4", 40.0, 60 + n, 5000 + n) for n in range(40)]
    told = [each.monitor.observe(streams.rows_of(streams.VITALS, later)) for each in (both, alone)]
    assert told[0] == told[1] != []


def test_who_comes_back_under_the_same_token_begins_anew() -> None:
    state = state_with((GONE, RARE))
    assert state.monitor is not None
    state.forget([token(GONE)])
    assert state.monitor.people() == []
    again = state_with((GONE, RARE))
    for stream, rows in ward_rows(GONE, RARE):
        state.monitor.observe(rows, None, stream)
    assert again.monitor is not None
    assert state.monitor.people() == again.monitor.people() == [token(GONE)]


def test_it_is_looked_up_in_slices_and_once_more_when_every_reader_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 1)
    state, erased, now = state_with((GONE, RARE), (OTHER, 171.5)), Erased(), [0.0]
    forget = forgetful(erased, lambda: now[0])
    erased.add(GONE)
    assert sum(forget.turn(state) for _ in range(4)) == 2
    state.bedsides.take(pa.Table.from_pylist([event("A01", 0, "ICU-1", "7", patient_id=GONE)], SCHEMA))
    assert forget.turn(state) == 0
    now[0] = SETTLED_SECONDS
    assert sum(forget.turn(state) for _ in range(4)) == 1
    asked = erased.asked
    now[0] = 100 * SETTLED_SECONDS
    assert forget.turn(state) == 0
    assert erased.asked == asked, "nobody is looked up again while the list stays"
