"""The data dictionary that is checked in says what the contracts say."""

from __future__ import annotations

import re

from infra.planning.dictionary import PATH, dictionary
from warehouse.contract import load_contracts
from warehouse.vocabulary import CODES

TEXT = dictionary(load_contracts())


def test_the_checked_in_dictionary_is_current() -> None:
    assert PATH.read_text("utf-8") == TEXT, "run `wardstream contracts docs`"


def test_every_column_of_every_table_is_in_it_with_its_meaning() -> None:
    for table in load_contracts().tables():
        section = TEXT.split(f"### Table `{table.name}`")[1].split("\n## ")[0]
        for column in table.columns:
            row = next(line for line in section.splitlines() if line.startswith(f"| `{column.name}` |"))
            assert column.description in row


def test_every_code_is_in_it() -> None:
    for vital in CODES.values():
        assert f"| {vital.code} | {vital.name} |" in TEXT


def test_its_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).replace(" ", "-") for line in TEXT.splitlines() if line[:1] == "#"
    }
    anchors = headings | set(re.findall(r'<a id="([^"]+)">', TEXT))
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
    for file in re.findall(r"\]\(([^#)]+)\)", TEXT):
        assert (PATH.parent / file).exists()


def test_every_table_has_as_many_cells_as_its_head() -> None:
    rows = [re.findall(r"(?<!\\)\|", line) for line in TEXT.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in rows} <= {3, 4, 8}
