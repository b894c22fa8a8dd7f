"""One place knows which categories end by themselves: what rests on consent, in any letters, and nothing else."""

from __future__ import annotations

import pytest

from tests.warehouse.erasure.made import DAYS, PEOPLE, Ward
from tests.warehouse.retention.made import filled
from warehouse.contract import load_contracts
from warehouse.erasure.inventory import tables_for
from warehouse.erasure.scope import NOT_KNOWN, ScopeError, category_of
from warehouse.erasure.states import CERTIFIED, RECEIVED, REFUSED, VERIFIED
from warehouse.settings import Settings

REFUSED_WORDS = ("operations", "care", "payment", "all", "*", "", " ", "quality of care")


@pytest.fixture
def ward(folder_lake: Settings) -> Ward:
    return Ward(folder_lake)


def asked_by_message(ward: Ward, *categories: str | None) -> list[tuple[str, str | None]]:
    """A message each, by somebody who may write to the topic; (state, category) of each once they are taken in."""
    n = len(categories)
    rows = filled(
        "data_deletions",
        [DAYS[0]] * n,
        ward.contracts,
        request_id=[f"m-{at}" for at in range(n)],
        subject_token=[ward.token(PEOPLE[2])] * n,
        category=list(categories),
        reason=["consent revoked"] * n,
    )
    ward.fenced("data_deletions").append_derived(rows, {"u": 1})
    ward.erasure().intake()
    return [(each.state, each.category) for each in ward.erasure().book.current().values()]


@pytest.mark.parametrize("word", ["research", "Research", " research ", "RESEARCH\n"])
def test_a_category_is_the_same_in_any_letters(word: str) -> None:
    assert category_of(word) == "research"
    assert [table.name for table in tables_for(load_contracts(), word)] == ["research_cohort"]


@pytest.mark.parametrize("word", REFUSED_WORDS)
def test_what_rests_on_law_and_what_nobody_knows_ends_nothing(word: str) -> None:
    with pytest.raises(ScopeError, match="marketing and research are") as refused:
        tables_for(load_contracts(), word)
    assert not word.strip() or word in ("care", "operations", "payment", "all") or word not in str(refused.value)


def test_a_message_for_the_end_of_what_rests_on_law_is_refused_with_the_reason_and_deletes_nothing(ward: Ward) -> None:
    states = asked_by_message(ward, *REFUSED_WORDS)
    assert states == [(REFUSED, NOT_KNOWN)] * len(REFUSED_WORDS)
    assert all("rest on law" in each.reason for each in ward.erasure().book.current().values())
    assert {each.state for each in ward.erasure().run()} == {REFUSED}
    assert ward.of(PEOPLE[2], "data_deletions") == len(REFUSED_WORDS)
    assert ward.erasure().intake() == []


def test_a_message_in_other_letters_ends_the_category_it_means(ward: Ward) -> None:
    assert set(asked_by_message(ward, "Research ", None)) == {(VERIFIED, "research"), (RECEIVED, None)}
    assert {each.state for each in ward.erasure().run()} == {CERTIFIED, RECEIVED}


def test_nobody_can_ask_at_the_desk_for_the_end_of_what_rests_on_law(ward: Ward) -> None:
    with pytest.raises(ScopeError, match="rest on law"):
        ward.ask(PEOPLE[2], category="operations")
    assert ward.erasure().book.current() == {}
    request = ward.ask(PEOPLE[2], category="Research")
    assert ward.erasure().book.get(request).category == "research"
