"""The judge of consent passes a right history and finds what is planted in a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from .consent import DUPLICATES, REGISTRY, REJECTS, WITHHELD, History, Message, judged, passed

STREAM, OWN = "patient.app.events", "app_events"


def consent(offset: int, patient: str, action: str, minute: int, **more: Any) -> Message:
    said = {"patientId": patient, "action": action, "category": "research", "scope": "all"}
    return Message(("c", 0, offset), minute * 60.0, patient, {**said, "timestamp": at(minute), **more})


def event(offset: int, patient: str, minute: int) -> Message:
    return Message(("e", 0, offset), minute * 60.0, patient, {"patient_id": patient, "event_time": at(minute)})


def at(minute: int) -> str:
    return f"1970-01-01T{minute // 60:02}:{minute % 60:02}:00Z"


def deletion(patient: str) -> Message:
    return Message(("d", 0, 0), 0.0, patient, {"patient_id": patient, "category": "research"})


def right() -> History:
    """P1 consents from minute 10 on; P2 from 10 to 30; P3 never. One message is unreadable, one a repeat."""
    consents = [consent(0, "P1", "GRANT", 10), consent(1, "P2", "GRANT", 10), consent(2, "P2", "REVOKE", 30)]
    events = [event(0, "P1", 5), event(1, "P1", 20), event(2, "P2", 20), event(3, "P2", 40), event(4, "P3", 20)]
    events += [Message(("e", 0, 5), 1260.0, "P1", None), event(6, "P1", 20)]
    places = {
        OWN: [("e", 0, 1), ("e", 0, 2)],
        WITHHELD: [("e", 0, 0), ("e", 0, 3), ("e", 0, 4)],
        REJECTS: [("e", 0, 5)],
        DUPLICATES: [("e", 0, 6)],
        REGISTRY: [("c", 0, n) for n in range(3)],
    }
    vectors = {name: {"e": {0: 7}} for name in (OWN, WITHHELD, REJECTS, DUPLICATES)}
    return History(consents, events, [deletion("P2")], places, vectors, {"e": {0: 7}}, OWN, "research", STREAM)


def moved(offset: int, source: str, target: str) -> Callable[[History], History]:
    def change(history: History) -> History:
        place = ("e", 0, offset)
        places = {name: [each for each in there if name != source or each != place] for name, there in
                  history.places.items()}  # fmt: skip
        return replace(history, places={**places, target: [*places[target], place]} if target else places)

    return change


WRONG: dict[str, tuple[str, Callable[[History], History]]] = {
    "a row of somebody who never consented": ("kept without consent", moved(4, WITHHELD, OWN)),
    "a row from before the consent": ("kept without consent", moved(0, WITHHELD, OWN)),
    "a row from after the revoke": ("kept without consent", moved(3, WITHHELD, OWN)),
    "a consented message withheld": ("withheld in spite of consent", moved(1, OWN, WITHHELD)),
    "a message nowhere": ("lost", moved(3, WITHHELD, "")),
    "a message in two places": ("doubled", moved(1, "", REJECTS)),
    "a place nobody sent": ("phantom", moved(99, "", OWN)),
    "a table behind": ("holes", lambda h: replace(h, vectors={**h.vectors, WITHHELD: {"e": {0: 6}}})),
    "a consent not kept": ("registry", lambda h: replace(h, places={**h.places, REGISTRY: [("c", 0, 0)]})),
    "a revoke without a request": ("requests", lambda h: replace(h, deletions=[])),
    "a request without a revoke": ("requests", lambda h: replace(h, deletions=[*h.deletions, deletion("P1")])),
}


def test_a_revoke_need_not_be_known_at_once_but_soon() -> None:
    def kept(seconds: float) -> bool:
        history = right()
        late = replace(history.consents[2], appended_s=2400.0 - seconds)
        return passed(judged(moved(3, WITHHELD, OWN)(replace(history, consents=[*history.consents[:2], late]))))

    assert [kept(4.0), kept(6.0)] == [True, False]


def test_a_right_history_passes_and_its_places_sum_up() -> None:
    verdict = judged(right())
    assert passed(verdict), verdict
    counts = {name: verdict[f"+{name}"] for name in (OWN, WITHHELD, REJECTS, DUPLICATES)}
    assert (verdict["+sent"], counts) == (7, {OWN: 2, WITHHELD: 3, REJECTS: 1, DUPLICATES: 1})


@pytest.mark.parametrize("what", WRONG)
def test_what_is_planted_is_found_under_its_heading(what: str) -> None:
    heading, change = WRONG[what]
    verdict = judged(change(right()))
    assert verdict[heading] > 0
    assert not passed(verdict)
