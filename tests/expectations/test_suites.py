"""Contract to suite: what follows from what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from expectations.suites import DERIVED, Suite, suite_for
from warehouse.contract import QualityRule, TableContract, load_contracts
from warehouse.vocabulary import (
    BEDSIDE,
    CODES,
    CONSCIOUSNESS,
    HEART_RATE,
    LABORATORY,
    LACTATE,
    SUPPLEMENTAL_OXYGEN,
    codes_in,
)


@pytest.fixture(scope="module")
def vitals() -> TableContract:
    return load_contracts().table("vitals")


@pytest.fixture(scope="module")
def suite(vitals: TableContract) -> Suite:
    return suite_for(vitals, CODES)


def named(suite: Suite, prefix: str) -> set[str]:
    return {each.name for each in suite.expectations if each.name.startswith(prefix)}


def test_every_expectation_has_a_name_of_its_own(suite: Suite) -> None:
    assert len({each.name for each in suite.expectations}) == len(suite.expectations)


def test_required_columns_are_expected_to_be_given(suite: Suite, vitals: TableContract) -> None:
    required = {f"{column.name}_is_given" for column in vitals.columns if column.required}
    assert required <= {each.name for each in suite.expectations}


def test_every_measured_code_has_its_range_and_unit(suite: Suite) -> None:
    bedside = codes_in((BEDSIDE,))
    assert named(suite, "value_of") == {f"value_of[{known.code}]" for known in bedside if known.numeric}
    assert named(suite, "unit_of") == {f"unit_of[{known.code}]" for known in bedside if known.unit}


def test_only_codes_of_the_column_s_value_sets_have_expectations(suite: Suite) -> None:
    labs = suite_for(load_contracts().table("labs"))
    assert named(labs, "value_of") == {f"value_of[{known.code}]" for known in codes_in((LABORATORY,)) if known.numeric}
    assert f"value_of[{LACTATE}]" not in named(suite, "value_of")
    assert not named(labs, "answer_of")


def test_a_contract_may_make_a_derived_expectation_a_warning(vitals: TableContract) -> None:
    rule = QualityRule("kafka_time_rises", "", None, "warning", DERIVED, {})
    blocking = {e.name: e.blocking for e in suite_for(replace(vitals, quality=(rule,))).expectations}
    assert blocking["kafka_time_rises"] is False
    assert blocking["key_is_unique"] is True


def test_a_contract_that_speaks_of_no_derived_expectation_is_refused(vitals: TableContract) -> None:
    rule = QualityRule("kafka_time_falls", "", None, "warning", DERIVED, {})
    with pytest.raises(ValueError, match="kafka_time_falls"):
        suite_for(replace(vitals, quality=(rule,)))


def test_a_coded_observation_has_answers_and_no_number(suite: Suite) -> None:
    assert f"no_number[{CONSCIOUSNESS}]" in named(suite, "no_number")
    assert named(suite, "answer_of") == {f"answer_of[{CONSCIOUSNESS}]", f"answer_of[{SUPPLEMENTAL_OXYGEN}]"}


def test_a_range_speaks_of_unflagged_rows_only(suite: Suite) -> None:
    heart_rate = next(each for each in suite.expectations if each.name == f"value_of[{HEART_RATE}]")
    assert heart_rate.rows is not None
    assert "quality_flag" in heart_rate.rows.null


def test_the_contract_s_own_rules_are_in_the_suite_and_warnings_do_not_block(
    suite: Suite, vitals: TableContract
) -> None:
    blocking = {each.name: each.blocking for each in suite.expectations}
    assert {rule.name: rule.blocking for rule in vitals.quality}.items() <= blocking.items()
    assert not all(blocking.values())


def test_columns_named_only_in_a_row_condition_are_read(vitals: TableContract) -> None:
    rule = QualityRule(
        "r", "", None, "error", "expect_column_values_to_be_null", {"column": "ward", "row_condition": "seq > 3"}
    )
    bare = replace(vitals, columns=tuple(replace(c, required=False, minimum=None) for c in vitals.columns))
    suite = suite_for(replace(bare, quality=(rule,), primary_key=("event_id",), fed_by=()), {})
    assert {"seq", "ward"} <= set(suite.columns)


def test_the_version_changes_with_a_bound_and_with_nothing_else(vitals: TableContract, suite: Suite) -> None:
    moved = {**CODES, HEART_RATE: replace(CODES[HEART_RATE], high=349.0)}
    assert suite_for(vitals, dict(reversed(CODES.items()))).version == suite.version
    assert suite_for(vitals, moved).version != suite.version


def test_every_table_that_a_contract_declares_has_a_suite() -> None:
    for table in load_contracts().tables():
        assert suite_for(table, CODES).expectations
