"""The contracts are in order by the standard and by the house; each way of being out of order is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from open_data_contract_standard.model import OpenDataContractStandard

from infra.planning.lint import lint
from warehouse.contract import FOLDER

VITALS = "device.vitals.odcs.yaml"


def test_the_contracts_are_in_order() -> None:
    assert lint() == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.odcs.yaml")), ids=lambda path: path.name)
def test_the_standards_own_package_reads_them(path: Path) -> None:
    assert OpenDataContractStandard.from_file(str(path)).name == path.name.removesuffix(".odcs.yaml")


@pytest.mark.parametrize(
    ("before", "after", "field", "remedy"),
    [
        ("status: active", "status: active\ncolour: red", "file", "the standard's schema wants"),
        ("logicalType: number", "logicalType: float", "schema", "the standard's schema wants enum"),
        ("transformSourceObjects: [device_id]", "deprecated: false", "device_id", "keep it, or mark it"),
        ("examples: [12345]", "examples: [many]", "seq", "the example is not a integer"),
        ("examples: [2]", "examples: [-2]", "kafka_partition", "within the column's bounds"),
        ("kwargs: {column: event_id}", "kwargs: {column: event}", "reading_once", "there is no event"),
        ("value: per code", "value: furlong", "value", "unit furlong is none the vocabulary knows"),
        ('value: "http://loinc.org"', 'value: "http://example.org"', "code", "code system must be a URN or one of"),
    ],
)
def test_a_fault_is_found_where_it_is(before: str, after: str, field: str, remedy: str, tmp_path: Path) -> None:
    shutil.copy(FOLDER / VITALS, tmp_path)
    text = (tmp_path / VITALS).read_text("utf-8")
    assert before in text
    (tmp_path / VITALS).write_text(text.replace(before, after), "utf-8")
    found = [finding for finding in lint(tmp_path) if field in finding.field and remedy in finding.remedy]
    assert found
    assert {finding.file for finding in found} == {VITALS}


def test_a_contract_that_is_refused_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / VITALS).write_text("a: [", "utf-8")
    assert [finding.field for finding in lint(tmp_path)] == ["file"]
