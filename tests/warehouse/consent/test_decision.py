"""The decision: by provision time and not by arrival, a no before a yes, and no where nothing is understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.consent.long_form import check
from tests.warehouse.consent.made import STREAMS, at, registry
from warehouse.consent.decision import (
    ALL,
    CONTRADICTORY,
    GRANT,
    GRANTED,
    LAPSED,
    NEVER_SAID,
    NOT_UNDERSTOOD,
    REVOKE,
    REVOKED,
    Provision,
    canonical_category,
    canonical_scope,
    folded,
    in_force,
    permits,
    permits_use,
    ruled,
)
from warehouse.consent.histories import Histories, microseconds

VITALS = "device.vitals"
GRANTED_ON_1 = Provision(GRANT, "research", ALL, at(1), at(1))
REVOKED_ON_5 = Provision(REVOKE, "research", ALL, at(5), at(5))


def because(*told: Provision, when: int = 9, known: int = 9, category: str = "research", stream: str = VITALS) -> str:
    return ruled(told, category, stream, at(when), at(known)).because


def test_nothing_said_is_no() -> None:
    assert because() == NEVER_SAID
    assert because(GRANTED_ON_1, when=0) == NEVER_SAID
    assert because(GRANTED_ON_1, known=0) == NEVER_SAID
    assert because(GRANTED_ON_1, category="marketing") == NEVER_SAID


def test_a_grant_that_arrives_after_its_revoke_is_overruled_all_the_same() -> None:
    late = replace(GRANTED_ON_1, known_at=at(8))
    assert because(late, REVOKED_ON_5) == because(REVOKED_ON_5, late) == REVOKED
    assert because(late, REVOKED_ON_5, when=4) == GRANTED
    assert because(late, REVOKED_ON_5, when=4, known=7) == NEVER_SAID


def test_what_was_consented_then_may_not_be_used_once_it_is_revoked() -> None:
    told = [GRANTED_ON_1, REVOKED_ON_5]
    assert permits(told, "research", VITALS, at(3), at(9))
    assert not permits_use(told, "research", VITALS, at(3), at(9))
    again = replace(GRANTED_ON_1, at=at(7), known_at=at(7))
    assert permits_use([*told, again], "research", VITALS, at(3), at(9))
    assert not permits_use([*told, again], "research", VITALS, at(6), at(9))


def test_at_one_time_the_greater_sequence_decides_and_without_one_the_no() -> None:
    no, yes = replace(REVOKED_ON_5, at=at(1), sequence=1), replace(GRANTED_ON_1, sequence=2)
    assert because(no, yes) == GRANTED
    assert because(no, replace(yes, sequence=1)) == CONTRADICTORY
    assert because(no, replace(yes, sequence=None)) == CONTRADICTORY
    assert because(replace(no, sequence=3), yes) == REVOKED


def test_a_grant_for_a_time_lapses_and_its_renewal_does_not() -> None:
    until = replace(GRANTED_ON_1, until=at(4))
    assert [because(until, when=day) for day in (3, 4)] == [GRANTED, LAPSED]
    assert because(until, replace(GRANTED_ON_1, at=at(4)), when=4) == GRANTED
    assert because(until, replace(GRANTED_ON_1, at=at(2)), when=8) == GRANTED


def test_a_scope_nobody_knows_grants_nothing_and_revokes_everything() -> None:
    assert because(replace(GRANTED_ON_1, scope=NOT_UNDERSTOOD)) == NEVER_SAID
    assert because(GRANTED_ON_1, replace(REVOKED_ON_5, scope=NOT_UNDERSTOOD)) == REVOKED
    assert because(GRANTED_ON_1, replace(REVOKED_ON_5, scope="lab.results")) == GRANTED
    assert because(replace(GRANTED_ON_1, scope="lab.results")) == NEVER_SAID


def test_a_revoke_of_all_categories_is_one_of_each_and_a_grant_of_all_is_none() -> None:
    assert because(GRANTED_ON_1, replace(REVOKED_ON_5, category=ALL)) == REVOKED
    assert because(replace(GRANTED_ON_1, category=ALL)) == NEVER_SAID


def test_a_category_nobody_knows_grants_nothing_and_revokes_everything() -> None:
    told = canonical_category("Forschung")
    assert because(GRANTED_ON_1, replace(REVOKED_ON_5, category=told)) == REVOKED
    assert because(replace(GRANTED_ON_1, category=told)) == NEVER_SAID
    assert because(GRANTED_ON_1, replace(REVOKED_ON_5, category=canonical_category("Payment"))) == GRANTED


@pytest.mark.parametrize("word", ["research", " Research ", "RESEARCH", "research\u00a0", "\u2003research\n"])
def test_letters_and_blanks_of_a_category_say_nothing(word: str) -> None:
    assert folded(word) == "research"


def test_a_scope_is_all_or_a_stream() -> None:
    words = ("*", "ALL", " Device.Vitals", "genome", "")
    assert [canonical_scope(word, STREAMS) for word in words] == [ALL, ALL, VITALS, "", ""]


def test_two_thousand_random_histories_keep_every_property() -> None:
    checked = check(2_000, seed=7)
    assert (checked.wrong, checked.first) == (0, "")
    assert checked.yes > 200, "the histories must not all end in no"


def test_a_wrong_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The properties are able to fail: with the order of arrival in the place of the order of provisions."""
    from warehouse.consent import decision

    monkeypatch.setattr(decision, "_deciding", lambda known: [max(known, key=lambda p: p.known_at)])
    assert check(300, seed=7).wrong


def test_columns_answer_for_people_nobody_spoke_of_and_for_no_person_at_all() -> None:
    told = Histories(STREAMS)
    none = told.decisions("research", VITALS)
    assert not none.permits(pa.array(["t1", None], pa.string()), np.zeros(2, np.int64)).any()
    told.take(registry(("t1", [GRANTED_ON_1])))
    tokens = pa.array(["t1", "t2", None, "t1"], pa.string()).dictionary_encode()
    times = np.array([microseconds(at(day)) for day in (2, 2, 2, 0)])
    assert told.decisions("research", VITALS).permits(tokens, times).tolist() == [True, False, False, False]
    assert told.permits_use(tokens, times, "research", VITALS, microseconds(at(3))).tolist() == [True, *[False] * 3]


def test_a_revoke_of_a_clock_that_is_ahead_holds_at_once() -> None:
    ahead = replace(REVOKED_ON_5, at=at(5) + timedelta(minutes=40))
    assert not permits_use([GRANTED_ON_1, ahead], "research", VITALS, at(3), at(5))
    assert permits_use([GRANTED_ON_1, replace(ahead, at=at(6))], "research", VITALS, at(3), at(5))
    brief = replace(GRANTED_ON_1, until=at(5) + timedelta(minutes=10))
    assert permits_use([brief], "research", VITALS, at(3), at(5)), "nothing lapses early for it"


def test_a_grant_of_a_clock_that_is_ahead_waits_for_ours() -> None:
    history = [GRANTED_ON_1, REVOKED_ON_5, replace(GRANTED_ON_1, at=at(6) + timedelta(minutes=50), known_at=at(6))]
    tokens, row = pa.array(["t1"], pa.string()), np.array([microseconds(at(3))])
    told = Histories(STREAMS)
    told.take(registry(("t1", history)))
    for minutes, permitted in ((0, False), (49, False), (51, True)):
        now = at(6) + timedelta(minutes=minutes)
        assert in_force(history, "research", VITALS, now).permitted == permitted
        assert told.permits_use(tokens, row, "research", VITALS, microseconds(now)).tolist() == [permitted]
